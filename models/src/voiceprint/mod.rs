//! Voiceprints: people known by their voices, matched against clips and against the speakers of a session.
//!
//! A [`Print`] is the model of one person's voice from a few recordings. A [`Gallery`] holds everybody's print and decides
//! of a voice how likely it is each of them or a stranger. A [`ClipAnalyser`] turns a clip into what a print is made
//! of, and refuses clips that would spoil one. Pure: no file, clock or thread.

mod clip;
mod clip_rules;
mod fit;
mod matching;
mod model_id;
mod print;
mod speech_share;

#[cfg(test)]
mod tests;

pub use crate::calibration::{PrintCalibration, PrintCalibrations};
pub use clip::{Clip, ClipAnalyser, ClipRefusal, MAX_CLIP_S};
pub use clip_rules::ClipRules;
pub use fit::fit_calibration;
pub use matching::{Candidate, Gallery, GalleryError, KnownVoice, MatchRules, Ranking};
pub use model_id::ModelId;
pub use print::{Print, PrintError, Recording};
