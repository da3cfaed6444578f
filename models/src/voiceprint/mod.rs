//! Voiceprints: people known by their voices, matched against clips and against the speakers of a session.
//!
//! A [`Print`] is what was heard of one person in a few recordings. A [`Gallery`] holds everybody's print and says
//! of a voice how likely it is each of them or a stranger. A [`ClipAnalyser`] turns a clip into what a print is made
//! of, and refuses clips that would spoil one. Pure: no file, clock or thread.

mod clip;
mod fit;
mod matching;
mod print;
mod two_voices;

#[cfg(test)]
mod tests;

pub use crate::calibration::{PrintCalibration, PrintCalibrations};
pub use clip::{Clip, ClipAnalyser, ClipRefusal, ClipRules};
pub use fit::fit_calibration;
pub use matching::{Candidate, Gallery, GalleryError, KnownVoice, MatchRules, Ranking};
pub use print::{Print, PrintError, Recording};
pub use two_voices::{SecondVoice, second_voice};

use crate::model_card::ModelCard;

/// Which voice model made an embedding: embeddings of different models have nothing in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId {
    /// Name of the model, for people.
    pub name: String,
    /// SHA-256 of its weights in lower-case hexadecimal, which tells models apart.
    pub sha256: String,
}

impl ModelId {
    /// The identity of the model that `card` describes.
    #[must_use]
    pub fn of(card: &ModelCard) -> Self {
        Self { name: card.name.clone(), sha256: card.onnx_sha256.clone() }
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}…)", self.name, self.sha256.get(..8).unwrap_or(&self.sha256))
    }
}
