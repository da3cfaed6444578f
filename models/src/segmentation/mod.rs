//! A network that writes down who speaks when: the Whisper layout over tokens of time and speaker, for recordings.
//!
//! Chunks of 30 s are each decoded for themselves, token by token, and every segment comes with an embedding. Made by
//! `training/diarized_train/import_segmentation.py`; the layout is VoicePersonification's.

mod card;
mod decode;
mod features;
mod network;
mod speakers;
#[cfg(test)]
mod tests;

use std::path::Path;

use diarized_dsp::log_mel::LogMel;
use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex, SampleRange};

use crate::embedding::Embedding;
pub use card::SegmentationError;
use card::{Card, read, read_checked};
use network::Network;
pub use speakers::{Assigned, SpeakerLimits, assign};

/// Samples of a chunk, 30 s.
pub const CHUNK_SAMPLES: usize = 30 * SAMPLE_RATE_HZ as usize;

/// A segment of a chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSegment {
    /// Where it is, from the start of the chunk.
    pub range: SampleRange,
    /// The speaker of the training that it resembles most; equal ones in a chunk are one person.
    pub speaker: u32,
    /// Of its voice.
    pub embedding: Embedding,
}

/// Reads and checks the text of a segmentation model's `model.toml`.
///
/// # Errors
/// [`SegmentationError::Card`] or [`SegmentationError::Value`].
pub fn check_card(text: &str) -> Result<(), SegmentationError> {
    Card::parse(text).map(|_| ())
}

/// The loaded network. `Send + Sync`; one serves all files.
pub struct Segmentation {
    card: Card,
    network: Network,
}

impl std::fmt::Debug for Segmentation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segmentation").field("name", &self.card.name).finish_non_exhaustive()
    }
}

impl Segmentation {
    /// Loads a folder of `model.toml`, `encoder.onnx` and `decoder.onnx`. Takes seconds for a network of usual size.
    ///
    /// # Errors
    /// [`SegmentationError`] names the file, key or operator that is wrong.
    pub fn load(folder: &Path) -> Result<Self, SegmentationError> {
        let card = Card::parse(&String::from_utf8_lossy(&read(&folder.join("model.toml"))?))?;
        let encoder = read_checked(folder, "encoder.onnx", &card.encoder_sha256)?;
        let decoder = read_checked(folder, "decoder.onnx", &card.decoder_sha256)?;
        let network = Network::load(&encoder, &decoder, card.shape)?;
        Ok(Self { card, network })
    }

    /// Cosine of two segments' embeddings above which they count as one speaker's.
    #[must_use]
    pub fn same_speaker_cosine(&self) -> f32 {
        self.card.same_speaker_cosine
    }

    /// Values of an embedding.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.card.shape.state
    }

    /// The segments of at most [`CHUNK_SAMPLES`] samples (mono, 16 kHz, full scale ±1), as decoded: ordered by nothing but
    /// the network. Longer audio is cut off. Allocates, and takes seconds: call it on a worker thread.
    ///
    /// # Errors
    /// [`SegmentationError::Run`] with tract's words; the network stays usable.
    pub fn segment(&self, samples: &[f32]) -> Result<Vec<FoundSegment>, SegmentationError> {
        let samples = &samples[..samples.len().min(CHUNK_SAMPLES)];
        let n_frames = 2 * self.card.shape.n_audio_ctx;
        let mut mel = LogMel::new(features::params(self.card.shape.n_mels)?);
        let Some(features) = features::of_chunk(&mut mel, samples, n_frames) else { return Ok(Vec::new()) };
        let found = decode::sentence(&self.network, &features)?;
        let at = |token: usize| {
            let sample = (token * CHUNK_SAMPLES / self.card.shape.n_timestamps).min(samples.len());
            SampleIndex(sample as u64)
        };
        Ok(found
            .into_iter()
            // What ends before it begins, or lies behind the audio, is nothing.
            .filter(|segment| at(segment.start) < at(segment.end))
            .map(|segment| FoundSegment {
                range: SampleRange::new(at(segment.start), at(segment.end)),
                speaker: segment.speaker as u32,
                embedding: segment.embedding,
            })
            .collect())
    }
}
