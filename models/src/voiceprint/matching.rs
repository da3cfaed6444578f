//! Open-set matching: how likely a voice is each of the known ones, or a stranger.

use std::sync::Arc;

use super::{ModelId, Print};
use crate::calibration::Calibration;
use crate::embedding::Embedding;
use crate::model_card::ModelCard;

/// The map from cosine to log-likelihood ratio for one length of print and one of the voice it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrintCalibration {
    /// Speech behind the print, in seconds.
    pub enrol_s: f32,
    /// Speech behind the voice, in seconds.
    pub test_s: f32,
    /// Factor of the cosine; positive.
    pub scale: f32,
    /// Constant added.
    pub offset: f32,
}

/// Calibrations over a grid of lengths. Longer speech gives steadier means: cosines of one person rise, those of two
/// do not, so the same cosine says less and less for "one person" as the lengths grow.
#[derive(Debug, Clone, PartialEq)]
pub struct PrintCalibrations {
    enrol_s: Vec<f32>,
    test_s: Vec<f32>,
    /// Shape `(n_enrol, n_test)`, row-major.
    cells: Vec<(f32, f32)>,
}

impl PrintCalibrations {
    /// The grid that `cells` span; each length of print must be given with each length of voice, once.
    ///
    /// # Errors
    /// What is missing, doubled or out of range.
    pub fn try_new(cells: &[PrintCalibration]) -> Result<Self, &'static str> {
        let axis = |of: fn(&PrintCalibration) -> f32| {
            let mut values: Vec<f32> = cells.iter().map(of).collect();
            values.sort_by(f32::total_cmp);
            values.dedup();
            values
        };
        let (enrol_s, test_s) = (axis(|c| c.enrol_s), axis(|c| c.test_s));
        let fine = |c: &PrintCalibration| {
            let numbers = [c.enrol_s, c.test_s, c.scale];
            numbers.iter().all(|v| v.is_finite() && *v > 0.0) && c.offset.is_finite()
        };
        if cells.is_empty() || !cells.iter().all(fine) {
            return Err("lengths and scale must be positive and finite");
        }
        if cells.len() != enrol_s.len() * test_s.len() {
            return Err("every enrol_s must be given once with every test_s");
        }
        let mut grid = Vec::with_capacity(cells.len());
        for &e in &enrol_s {
            for &t in &test_s {
                let mut here = cells.iter().filter(|c| c.enrol_s == e && c.test_s == t);
                match (here.next(), here.next()) {
                    (Some(cell), None) => grid.push((cell.scale, cell.offset)),
                    _ => return Err("every enrol_s must be given once with every test_s"),
                }
            }
        }
        Ok(Self { enrol_s, test_s, cells: grid })
    }

    /// One calibration for all lengths, for a model that was not calibrated for prints.
    #[must_use]
    pub fn flat(calibration: Calibration) -> Self {
        Self { enrol_s: vec![1.0], test_s: vec![1.0], cells: vec![(calibration.scale, calibration.offset)] }
    }

    /// Natural-log likelihood ratio of "one person" for the cosine of a print of `enrol_s` seconds and a voice of
    /// `test_s`. Between the lengths of the grid it is interpolated over their logarithms, outside of it the edge
    /// holds.
    #[must_use]
    pub fn llr(&self, cosine: f32, enrol_s: f32, test_s: f32) -> f32 {
        let (e, e_part) = place(&self.enrol_s, enrol_s);
        let (t, t_part) = place(&self.test_s, test_s);
        let n_test = self.test_s.len();
        let at = |e: usize, t: usize| {
            let (scale, offset) = self.cells[e.min(self.enrol_s.len() - 1) * n_test + t.min(n_test - 1)];
            scale.mul_add(cosine, offset)
        };
        let along = |e: usize| (1.0 - t_part) * at(e, t) + t_part * at(e, t + 1);
        (1.0 - e_part) * along(e) + e_part * along(e + 1)
    }
}

/// The cell of `axis` that `value` lies in and how far into it, on a logarithmic scale, in `[0, 1]`.
fn place(axis: &[f32], value: f32) -> (usize, f32) {
    let above = axis.partition_point(|&edge| edge <= value);
    match (above.checked_sub(1), axis.get(above)) {
        (None, _) => (0, 0.0),
        (Some(below), None) => (below, 0.0),
        (Some(below), Some(&high)) => {
            let low = axis[below];
            (below, ((value / low).ln() / (high / low).ln()).clamp(0.0, 1.0))
        }
    }
}

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
    /// A voice is not named before this much of its speech was heard, in seconds.
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
