//! The messages of `proto/voice_personification.proto`.

use axum::body::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AudioRequest {
    /// A name for messages about the file; comes back in the response.
    #[prost(string, tag = "1")]
    pub(crate) filename: String,
    /// A whole audio file of any kind that `diarized label` reads.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) audio: Bytes,
}

/// One value for every frame of 10 ms in each list.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BrouhahaPrediction {
    /// 1 where somebody speaks, else 0.
    #[prost(float, repeated, tag = "1")]
    pub(crate) speech: Vec<f32>,
    /// Signal-to-noise ratio in dB; means something where somebody speaks.
    #[prost(float, repeated, tag = "2")]
    pub(crate) snr: Vec<f32>,
    /// Clarity in dB, early against late reflections at 50 ms; means something where somebody speaks.
    #[prost(float, repeated, tag = "3")]
    pub(crate) c50: Vec<f32>,
    /// Rate of the audio that was looked at, in Hz.
    #[prost(int32, tag = "4")]
    pub(crate) sample_rate: i32,
    /// Audio that the network takes at once.
    #[prost(float, tag = "5")]
    pub(crate) chunk_size_seconds: f32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BrouhahaResponse {
    #[prost(string, tag = "1")]
    pub(crate) filename: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) prediction: Option<BrouhahaPrediction>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EmbeddingPrediction {
    /// A vector of length 1; the cosine of two is their inner product.
    #[prost(float, repeated, tag = "1")]
    pub(crate) values: Vec<f32>,
    /// Number of values.
    #[prost(int32, tag = "2")]
    pub(crate) dimension: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EmbeddingResponse {
    #[prost(string, tag = "1")]
    pub(crate) filename: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) embedding: Option<EmbeddingPrediction>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Segment {
    /// In seconds from the start of the audio.
    #[prost(float, tag = "1")]
    pub(crate) start: f32,
    #[prost(float, tag = "2")]
    pub(crate) end: f32,
    #[prost(float, repeated, tag = "3")]
    pub(crate) embedding: Vec<f32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SegmentationPrediction {
    /// Mean of the embeddings of the segments, weighted by their length, of length 1; empty without segments.
    #[prost(message, optional, tag = "1")]
    pub(crate) mean_embedding: Option<EmbeddingPrediction>,
    /// In the order of their start.
    #[prost(message, repeated, tag = "2")]
    pub(crate) segments: Vec<Segment>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SegmentationResponse {
    #[prost(string, tag = "1")]
    pub(crate) filename: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) result: Option<SegmentationPrediction>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TranscriptSegment {
    /// In seconds from the start of the audio.
    #[prost(float, tag = "1")]
    pub(crate) start: f32,
    #[prost(float, tag = "2")]
    pub(crate) end: f32,
    #[prost(string, tag = "3")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TranscriptionResult {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) segments: Vec<TranscriptSegment>,
    /// The configured one (asr.language); empty where the recogniser chooses.
    #[prost(string, tag = "3")]
    pub(crate) language: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TranscriptionResponse {
    #[prost(string, tag = "1")]
    pub(crate) filename: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) transcription: Option<TranscriptionResult>,
}
