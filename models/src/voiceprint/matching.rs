//! Open-set matching: how likely a voice is each of the known ones, or a stranger.

use std::sync::Arc;

use super::model_id::ModelId;
use super::print::Print;
use crate::calibration::PrintCalibrations;
use crate::embedding::Embedding;
use crate::model_card::ModelCard;

/// When a voice gets a name. What is not sure enough stays a stranger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatchRules {
    /// Probability beforehand that a voice is nobody known; the rest is shared by all known voices alike, so that a
    /// larger gallery asks for more evidence. Above 0, below 1.
    pub stranger_prior: f32,
    /// Probability from which on a voice gets the name, with enough speech: see [`Self::accept_after`]. In `[0.5, 1)`.
    pub accept: f32,
    /// A name that was given is taken back below this probability. At most `accept`.
    pub release: f32,
    /// Speech of a voice before it may be named, in seconds.
    pub min_speech_s: f32,
}

impl Default for MatchRules {
    fn default() -> Self {
        Self { stranger_prior: 0.5, accept: 0.8, release: 0.5, min_speech_s: 3.0 }
    }
}

/// From this much speech on [`MatchRules::accept`] is enough, in seconds.
const SURE_SPEECH_S: f32 = 10.0;

impl MatchRules {
    /// Probability that a name asks for after `speech_s` of speech: [`Self::accept`] from 10 s on. Before, the odds asked
    /// for grow with the square of what is missing, because strangers come close to somebody more often in short speech
    /// than an affine map from cosine to evidence tells.
    #[must_use]
    pub fn accept_after(&self, speech_s: f32) -> f32 {
        let odds = self.accept / (1.0 - self.accept) * (SURE_SPEECH_S / speech_s.max(0.1)).max(1.0).powi(2);
        odds / (1.0 + odds)
    }
}

/// A person in a [`Gallery`].
#[derive(Debug, Clone, PartialEq)]
pub struct KnownVoice {
    /// Identity that outlives sessions and changes of name.
    pub id: Arc<str>,
    /// Name to show.
    pub name: Arc<str>,
    /// The voice.
    pub print: Print,
}

/// Prints of another model than the gallery's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the voiceprint of {voice} was made by the model {got}, and {expected} is in use: enrol {voice} again"
)]
pub struct GalleryError {
    /// Name of the person.
    pub voice: String,
    /// The gallery's model.
    pub expected: ModelId,
    /// The print's model.
    pub got: ModelId,
}

/// Everybody who is known to one model, as data that a diarizer can be given.
#[derive(Debug, Clone, PartialEq)]
pub struct Gallery {
    model: ModelId,
    calibrations: PrintCalibrations,
    rules: MatchRules,
    voices: Vec<KnownVoice>,
}

/// One known person's share in what a voice may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Index into [`Gallery::voices`].
    pub voice_idx: usize,
    /// Cosine to the print.
    pub cosine: f32,
    /// Natural-log likelihood ratio of "this person" against "somebody else".
    pub llr: f32,
    /// Probability that the voice is this person, given all candidates and the chance of a stranger.
    pub probability: f32,
}

/// All candidates, the likeliest first, and the stranger.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// One a known voice, the likeliest first.
    pub candidates: Vec<Candidate>,
    /// Probability that the voice is nobody of the gallery.
    pub stranger: f32,
    /// Probability that a name asks for after this much speech.
    pub accept: f32,
}

impl Gallery {
    /// Nobody is known yet to the model that `card` describes.
    #[must_use]
    pub fn new(card: &ModelCard, rules: MatchRules) -> Self {
        let calibrations = card.print_calibrations.clone();
        Self { model: ModelId::of(card), calibrations, rules, voices: Vec::new() }
    }

    /// Adds a person.
    ///
    /// # Errors
    /// [`GalleryError`] if the print is of another model; nothing is added.
    pub fn add(&mut self, voice: KnownVoice) -> Result<(), GalleryError> {
        if *voice.print.model() != self.model {
            let (expected, got) = (self.model.clone(), voice.print.model().clone());
            return Err(GalleryError { voice: voice.name.to_string(), expected, got });
        }
        self.voices.push(voice);
        Ok(())
    }

    /// Everybody.
    #[must_use]
    pub fn voices(&self) -> &[KnownVoice] {
        &self.voices
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voices.is_empty()
    }

    /// When a voice gets a name.
    #[must_use]
    pub fn rules(&self) -> MatchRules {
        self.rules
    }

    /// Natural-log likelihood ratio of "one person" for a print of `enrol_s` seconds and a voice of `test_s`.
    #[must_use]
    pub fn llr(&self, cosine: f32, enrol_s: f32, test_s: f32) -> f32 {
        self.calibrations.llr(cosine, enrol_s, test_s)
    }

    /// How likely the voice with this mean `embedding` over `seconds` of speech is each of the known ones. Bayes'
    /// rule over all of them and a stranger; the likelihood ratios are [`Candidate::llr`]. Cost: one dot product a
    /// voice.
    #[must_use]
    pub fn rank(&self, embedding: &Embedding, seconds: f32) -> Ranking {
        let prior = (1.0 - self.rules.stranger_prior) / self.voices.len().max(1) as f32;
        let log_stranger = self.rules.stranger_prior.ln();
        let mut candidates: Vec<Candidate> = (0..self.voices.len())
            .map(|voice_idx| {
                let print = &self.voices[voice_idx].print;
                let cosine = print.centre().cosine(embedding);
                let llr = self.llr(cosine, print.seconds(), seconds);
                Candidate { voice_idx, cosine, llr, probability: llr + prior.ln() }
            })
            .collect();
        let largest = candidates.iter().map(|c| c.probability).fold(log_stranger, f32::max);
        let total = candidates.iter().map(|c| (c.probability - largest).exp()).sum::<f32>()
            + (log_stranger - largest).exp();
        for candidate in &mut candidates {
            candidate.probability = (candidate.probability - largest).exp() / total;
        }
        candidates
            .sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.voice_idx.cmp(&b.voice_idx)));
        Ranking {
            candidates,
            stranger: (log_stranger - largest).exp() / total,
            accept: self.rules.accept_after(seconds),
        }
    }
}

impl Ranking {
    /// The likeliest candidate, if it is likely enough.
    #[must_use]
    pub fn accepted(&self) -> Option<&Candidate> {
        self.candidates.first().filter(|c| c.probability >= self.accept)
    }
}
