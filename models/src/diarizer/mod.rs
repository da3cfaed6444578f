//! The diarizer: a sans-I/O state machine from samples to labelled segments.
//!
//! The caller pushes audio, runs the network on what [`Diarizer::poll_work`] asks for, hands the embeddings back
//! in any order, and takes the events. Neither the sizes of the blocks nor the moment at which an embedding comes
//! back changes the events: facts about the stream are handled strictly in its order.

mod activity;
mod clustering;
mod front_end;
mod interface;
mod labelling;
mod ordering;
mod params;
mod second_work;
mod speech;
mod state_machine;
mod viterbi;
mod voice_memory;

#[cfg(test)]
mod tests;

pub use crate::corrections::CorrectionError;
pub use activity::{FrameActivity, activity};
pub use clustering::{GroupPair, VoiceGroups};
pub use interface::{DiarizerError, EmbedRequest, SecondPace, SpeakerVoice, TimedEvent, WorkId};
pub use labelling::{LabelMeasures, N_FEATURES};
pub use params::{DiarizerOptions, DiarizerParams, Fault as ParamError, SpeechDetector};
pub use state_machine::Diarizer;
pub use voice_memory::{Continuation, VoiceMemory, VoiceMemoryError, VoicesMark};
