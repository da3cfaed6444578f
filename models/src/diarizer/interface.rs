//! What goes into a diarizer and comes out of it.

use diarized_dsp::{SampleIndex, SampleRange};

use crate::embedding::Embedding;
use crate::events::Event;

/// Identity of a request for an embedding; ids rise in the order of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A window that the diarizer wants embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// To be given back with the result.
    pub id: WorkId,
    /// The speech that the window covers.
    pub range: SampleRange,
    /// Mean-normalised log-mel features, shape `(n_mels, n_frames)`, row-major.
    pub features: Vec<f32>,
    /// Number of frames; one of `Diarizer::window_frames`.
    pub n_frames: usize,
}

/// How the embeddings of a second voice model keep up with the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondPace {
    /// Labels wait for them, so that events do not depend on when an embedding comes back: for recordings.
    InStep,
    /// Labels never wait, and windows are left out where too many wait: for live streams.
    Behind,
}

/// An event, and the audio that it needed.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedEvent {
    /// Stream position up to which audio had to be known for this event.
    pub at: SampleIndex,
    /// The event.
    pub event: Event,
}

/// A call that does not fit the diarizer's state. The state is unchanged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiarizerError {
    /// Audio after the end of the stream.
    #[error("the stream has been finished; no more audio can be pushed")]
    Finished,
    /// A sample is not a finite number. Nothing of the block was taken.
    #[error("sample {index} of the block is not finite")]
    NonFinite {
        /// Position in the block.
        index: usize,
    },
    /// A result for work that was not asked for, or was answered before.
    #[error("no work with id {} is waiting for a result", .0.0)]
    UnknownWork(WorkId),
    /// The model's embeddings change size.
    #[error("the embedding has {got} values, the model promises {expected}")]
    Dimension {
        /// Size that the model promises.
        expected: usize,
        /// Size given.
        got: usize,
    },
}

/// The voice of one speaker of a session, as a voiceprint is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeakerVoice {
    /// Direction of the mean of the window embeddings.
    pub embedding: Embedding,
    /// Speech that it was made from, in seconds.
    pub speech_s: f32,
    /// Signal-to-noise ratio in dB, where it could be measured.
    pub snr_db: Option<f32>,
}
