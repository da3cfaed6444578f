//! The services of VoicePersonification that look at a clip with a network of this server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ, SampleIndex, SampleRange};
use diarized_models::diarizer::activity;
use diarized_models::voiceprint::{ClipRefusal, MAX_CLIP_S};
use diarized_models::{Embedder, Embedding, Segment as Labelled, Segmenter};
use tonic::{Request, Response, Status};

use super::messages::voicepersonification as vp;
use super::messages::voicepersonification::AudioRequest;
use crate::audio_file::{MonoFile, Opening};
use crate::batch_embedder::{BatchEmbedder, BatchError};
use crate::engine::LiveEngines;
use crate::labelling::{LabelError, Progress, label_file};
use crate::protocol::ErrorCode;
use crate::server::analyses::Analyses;
use crate::server::fault::Fault;
use crate::server::upload::{Share, Upload};
use crate::voices::{ClipError, samples_of_clip};

/// Seconds of a frame of the segmenter.
const FRAME_S: f32 = 0.01;
/// Audio of one embedding of a segment at least, as far as the clip has it: half a second.
const MIN_EMBEDDED: u64 = SAMPLE_RATE_HZ as u64 / 2;
/// The same at most: two minutes, after which an embedding changes no more.
const MAX_EMBEDDED: usize = 120 * SAMPLE_RATE_HZ as usize;

/// The services.
#[derive(Debug)]
pub(super) struct Clips {
    pub(super) analyses: Analyses,
    pub(super) engines: Arc<LiveEngines>,
    pub(super) ecapa: Option<Arc<Embedder>>,
    pub(super) large: Option<Arc<Embedder>>,
}

/// The audio of a request.
pub(super) struct Clip {
    /// As the client calls it.
    pub(super) filename: String,
    /// The same for messages.
    pub(super) name: String,
    pub(super) upload: Upload,
}

impl Clip {
    /// # Errors
    /// The request did not come through the guard.
    pub(super) fn of(request: Request<AudioRequest>) -> Result<Self, Status> {
        let share = request.extensions().get::<Share>().cloned();
        let share = share.ok_or_else(|| Status::internal("the request is not counted"))?;
        let AudioRequest { filename, audio } = request.into_inner();
        Ok(Self { name: shown(&filename), filename, upload: Upload::of(audio, share) })
    }
}

/// A name for messages: on one line, and not long.
fn shown(filename: &str) -> String {
    let name: String = filename.chars().filter(|c| !c.is_control()).take(100).collect();
    if name.trim().is_empty() { "the clip".to_owned() } else { name }
}

/// The samples of a clip, mono at 16 kHz.
pub(super) fn samples(name: &str, upload: &Upload, opening: &Opening) -> Result<Vec<f32>, ClipError> {
    let opened = opening.memory(name, upload.bytes.clone())?;
    samples_of_clip(opened, ChannelSelect::Mix)
}

fn internal(reason: String) -> Fault {
    tracing::error!(reason, "a clip could not be analysed");
    Fault(axum::http::StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, reason)
}

fn unusable(name: &str, error: &BatchError) -> Fault {
    Fault(axum::http::StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadClip, format!("{name}: {error}"))
}

fn prediction(embedding: &[f32]) -> vp::EmbeddingPrediction {
    let dimension = i32::try_from(embedding.len()).unwrap_or(i32::MAX);
    vp::EmbeddingPrediction { values: embedding.to_vec(), dimension }
}

impl Clips {
    /// Where somebody speaks, and how clearly.
    pub(super) async fn predict(
        self: Arc<Self>,
        request: Request<AudioRequest>,
    ) -> Result<Response<vp::BrouhahaResponse>, Status> {
        let Clip { filename, name, upload } = Clip::of(request)?;
        let params = self.engines.params().clone();
        let work = move |upload: &Upload, opening: Opening| {
            let samples = samples(&name, upload, &opening)?;
            let segmenter = Segmenter::builtin().map_err(|error| internal(error.to_string()))?;
            let frames = activity(&params, &segmenter, &samples);
            Ok(vp::BrouhahaPrediction {
                speech: frames.iter().map(|frame| f32::from(u8::from(frame.is_speech))).collect(),
                snr: frames.iter().map(|frame| frame.snr_db).collect(),
                c50: frames.iter().map(|frame| frame.c50_db).collect(),
                sample_rate: SAMPLE_RATE_HZ.cast_signed(),
                chunk_size_seconds: segmenter.chunk_frames() as f32 * FRAME_S,
            })
        };
        let prediction = self.analyses.of_clip(upload, work).await?;
        Ok(Response::new(vp::BrouhahaResponse { filename, prediction: Some(prediction) }))
    }

    /// The embedding of a whole clip by the ECAPA-TDNN.
    pub(super) async fn embed_ecapa(
        self: Arc<Self>,
        request: Request<AudioRequest>,
    ) -> Result<Response<vp::EmbeddingResponse>, Status> {
        self.embed(request, self.ecapa.as_ref(), "grpc.ecapa").await
    }

    /// The same by the large model.
    pub(super) async fn embed_large(
        self: Arc<Self>,
        request: Request<AudioRequest>,
    ) -> Result<Response<vp::EmbeddingResponse>, Status> {
        self.embed(request, self.large.as_ref(), "grpc.large").await
    }

    async fn embed(
        &self,
        request: Request<AudioRequest>,
        model: Option<&Arc<Embedder>>,
        key: &str,
    ) -> Result<Response<vp::EmbeddingResponse>, Status> {
        let model = model.cloned().ok_or_else(|| {
            let reason = format!(
                "no model is configured for this service: set {key} to a folder with model.onnx and model.toml, or to \
                 \"same\" for the model that labels"
            );
            Status::unimplemented(reason)
        })?;
        let Clip { filename, name, upload } = Clip::of(request)?;
        let work = move |upload: &Upload, opening: Opening| {
            let samples = samples(&name, upload, &opening)?;
            BatchEmbedder::new(model).whole(&samples).map_err(|error| unusable(&name, &error))
        };
        let embedding = self.analyses.of_clip(upload, work).await?;
        let embedding = Some(prediction(embedding.as_slice()));
        Ok(Response::new(vp::EmbeddingResponse { filename, embedding }))
    }

    /// Who speaks when, with an embedding of each segment.
    pub(super) async fn segment(
        self: Arc<Self>,
        request: Request<AudioRequest>,
    ) -> Result<Response<vp::SegmentationResponse>, Status> {
        let Clip { filename, name, upload } = Clip::of(request)?;
        let engines = Arc::clone(&self.engines);
        // A client that hangs up drops this future, and with it the wish for labels.
        let stop = StopWhenDropped::default();
        let is_stopped = Arc::clone(&stop.0);
        let work = move |upload: &Upload, opening: Opening| {
            let segments = labels(&name, upload, &engines, &is_stopped)?;
            let samples = samples(&name, upload, &opening)?;
            let mut embedder = BatchEmbedder::new(Arc::clone(engines.embedder()));
            segmentation(&segments, &samples, &mut embedder).map_err(|error| unusable(&name, &error))
        };
        let result = self.analyses.of_clip(upload, work).await?;
        Ok(Response::new(vp::SegmentationResponse { filename, result: Some(result) }))
    }
}

#[derive(Default)]
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The final segments of a clip, by their start.
fn labels(
    name: &str,
    upload: &Upload,
    engines: &LiveEngines,
    stop: &AtomicBool,
) -> Result<Vec<Labelled>, Fault> {
    // The labels take longer than the decoding may: the time of the request limits them.
    let opened = Opening::default().memory(name, upload.bytes.clone()).map_err(ClipError::from)?;
    let mut file = MonoFile::new(opened, ChannelSelect::Mix).map_err(ClipError::from)?;
    let longest = SampleIndex::from_seconds(f64::from(MAX_CLIP_S));
    let labelled = label_file(&mut file, &mut *engines.engine_of_clip(), stop, |progress| {
        if let Progress::Processed(at) = progress
            && at > longest
        {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let labelled = labelled.map_err(|error| match error {
        LabelError::File(error) => ClipError::from(error).into(),
        other => internal(crate::error_chain::error_chain(&other)),
    })?;
    if labelled.heard > longest {
        let refusal = ClipRefusal::TooLong { clip_s: labelled.heard.seconds() as f32, max_s: MAX_CLIP_S };
        return Err(ClipError::Refused { name: name.to_owned(), refusal }.into());
    }
    let mut segments: Vec<Labelled> = labelled.state.segments().cloned().collect();
    segments.sort_by_key(|segment| (segment.range.start(), segment.range.end()));
    Ok(segments)
}

fn segmentation(
    segments: &[Labelled],
    samples: &[f32],
    embedder: &mut BatchEmbedder,
) -> Result<vp::SegmentationPrediction, BatchError> {
    let mut sum: Vec<f32> = Vec::new();
    let mut embedded = Vec::with_capacity(segments.len());
    for segment in segments {
        let embedding = embedder.whole(&speech_of(segment, samples))?;
        let weight = segment.speech.iter().map(|part| part.len()).sum::<u64>() as f32;
        sum.resize(embedding.dim(), 0.0);
        sum.iter_mut().zip(embedding.as_slice()).for_each(|(sum, value)| *sum += weight * value);
        embedded.push(vp::Segment {
            start: segment.range.start().seconds() as f32,
            end: segment.range.end().seconds() as f32,
            embedding: embedding.as_slice().to_vec(),
        });
    }
    // Voices that cancel each other have no mean.
    let mean = Embedding::from_raw(&sum).ok();
    let mean = prediction(mean.as_ref().map_or(&[], |mean| mean.as_slice()));
    Ok(vp::SegmentationPrediction { mean_embedding: Some(mean), segments: embedded })
}

/// The speech of a segment; where there is little of it, with the audio around it.
fn speech_of(segment: &Labelled, samples: &[f32]) -> Vec<f32> {
    let of = |range: SampleRange| {
        let place = |at: SampleIndex| usize::try_from(at.0).unwrap_or(usize::MAX).min(samples.len());
        &samples[place(range.start())..place(range.end())]
    };
    let mut speech: Vec<f32> = segment.speech.iter().flat_map(|part| of(*part)).copied().collect();
    speech.truncate(MAX_EMBEDDED);
    if speech.len() as u64 >= MIN_EMBEDDED {
        return speech;
    }
    let middle = u64::midpoint(segment.range.start().0, segment.range.end().0);
    let latest = (samples.len() as u64).saturating_sub(MIN_EMBEDDED);
    let start = middle.saturating_sub(MIN_EMBEDDED / 2).min(latest);
    of(SampleRange::with_len(SampleIndex(start), MIN_EMBEDDED)).to_vec()
}

#[cfg(test)]
mod tests {
    use diarized_models::{SegmentId, SpeakerId};

    use super::*;

    fn segment(parts: &[(u64, u64)]) -> Labelled {
        let range = |(start, end): (u64, u64)| SampleRange::new(SampleIndex(start), SampleIndex(end));
        Labelled {
            id: SegmentId(1),
            range: range((parts[0].0, parts[parts.len() - 1].1)),
            speech: parts.iter().copied().map(range).collect(),
            speaker: SpeakerId(1),
            confidence: 1.0,
            is_final: true,
            overlap: false,
            snr_db: None,
            c50_db: None,
        }
    }

    #[test]
    fn a_segment_is_embedded_by_its_speech_and_a_short_one_by_what_is_around_it() {
        let samples: Vec<f32> = (0..32_000).map(|n| n as f32).collect();
        let speech = speech_of(&segment(&[(0, 6000), (10_000, 14_000)]), &samples);
        assert_eq!((speech.len(), speech[5999], speech[6000]), (10_000, 5999.0, 10_000.0));
        for (parts, first) in
            [([(16_000, 16_200)], 12_100.0), ([(0, 100)], 0.0), ([(31_900, 32_000)], 24_000.0)]
        {
            let speech = speech_of(&segment(&parts), &samples);
            assert_eq!((speech.len() as u64, speech[0]), (MIN_EMBEDDED, first));
        }
        assert_eq!(speech_of(&segment(&[(0, 100)]), &samples[..4000]).len(), 4000, "no more than there is");
    }

    #[test]
    fn a_name_is_one_short_line() {
        assert_eq!(shown("a\r\nb.wav"), "ab.wav");
        assert_eq!(shown(" \n"), "the clip");
        assert_eq!(shown(&"ä".repeat(200)).chars().count(), 100);
    }
}
