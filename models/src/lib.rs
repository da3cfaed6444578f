//! Everything `diarized` has learned or infers: voice models, embeddings, clustering, the diarizer, scoring.
//!
//! Pure after load: no sockets, devices, threads or clocks. The [`diarizer`] is a sans-I/O state machine that
//! serves live audio, WebSocket audio and files alike.

mod builtin;
pub mod calibration;
pub mod corrections;
pub mod counting;
pub mod diarizer;
pub mod embedder;
pub mod embedding;
pub mod events;
mod inference;
pub mod logistic;
pub mod model_card;
pub mod names;
mod operators;
pub mod plda;
pub mod rttm;
pub mod scoring;
pub mod segmentation;
pub mod segmenter;
pub mod voiceprint;
pub mod words;

pub use calibration::Calibration;
pub use diarizer::{
    Diarizer, DiarizerOptions, DiarizerParams, EmbedRequest, SpeechDetector, TimedEvent, WorkId,
};
pub use embedder::{EmbedError, Embedder, LoadError, ModelSource};
pub use embedding::Embedding;
pub use events::{Event, Segment, SegmentId, SessionState, SpeakerId, SpeakerInfo};
pub use inference::Engine;
pub use model_card::ModelCard;
pub use plda::Plda;
pub use segmentation::Segmentation;
pub use segmenter::Segmenter;
