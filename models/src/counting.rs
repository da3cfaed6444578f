//! How many people speak in a recording, and the probability that this number is right.
//!
//! A logistic model of what the final labels show. The command `fit-count` fits its weights on simulated conversations;
//! `docs/experiments/counting.md` has the data and how well calibrated the result is.

use std::collections::BTreeMap;

use crate::calibration::sigmoid;
use crate::embedding::dot;
use crate::events::SessionState;

/// Number of features; the last one is constant.
pub const N_COUNT_FEATURES: usize = 2;

/// Weights of [`CountMeasures::features`].
const WEIGHTS: [f32; N_COUNT_FEATURES] = [2.6400, 1.4960];

/// A speaker's confidence counts as no less, so that its logarithm stays finite.
const LEAST_SURE: f32 = 0.05;

/// How many people speak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeakerCount {
    /// Speakers with at least one label.
    pub n_speakers: usize,
    /// Probability that the number is right, in `[0, 1]`, to two decimals. `None` where nobody speaks: nothing was measured.
    pub confidence: Option<f32>,
}

impl SpeakerCount {
    /// Of the labels at the end of a recording. Cost: `O(n_segments)`.
    #[must_use]
    pub fn of(state: &SessionState) -> Self {
        let labels = state.segments().filter(|segment| !segment.speech.is_empty());
        let labels = labels.map(|segment| (segment.speaker, segment.confidence));
        let measures = CountMeasures::of(labels);
        Self {
            n_speakers: measures.map_or(0, |measures| measures.n_speakers),
            confidence: measures.map(|measures| measures.confidence()),
        }
    }
}

/// What is measured of all labels of a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountMeasures {
    /// Speakers with at least one label.
    pub n_speakers: usize,
    /// Sum over the speakers of the logarithm of the confidence of each one's surest label: were labels independent, the
    /// logarithm of the probability that every speaker has a right one.
    pub all_real: f32,
}

impl CountMeasures {
    /// Of labels given as speaker and confidence. `None` without any.
    pub fn of<S: Ord>(labels: impl IntoIterator<Item = (S, f32)>) -> Option<Self> {
        let mut surest = BTreeMap::<S, f32>::new();
        for (speaker, confidence) in labels {
            let known = surest.entry(speaker).or_default();
            *known = known.max(confidence);
        }
        let all_real = surest.values().map(|confidence| confidence.clamp(LEAST_SURE, 1.0).ln()).sum();
        (!surest.is_empty()).then_some(Self { n_speakers: surest.len(), all_real })
    }

    /// What the model weighs: [`Self::all_real`] and 1.
    #[must_use]
    pub fn features(&self) -> [f32; N_COUNT_FEATURES] {
        [self.all_real, 1.0]
    }

    /// Probability that the number of speakers is right, in `[0, 1]`, to two decimals.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        (sigmoid(dot(&WEIGHTS, &self.features())) * 100.0).round() / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of speakers that are as sure as given, one each.
    fn sure(confidences: &[f32]) -> f32 {
        CountMeasures::of(confidences.iter().copied().enumerate()).unwrap().confidence()
    }

    #[test]
    fn a_clear_number_is_surer_than_a_doubtful_one() {
        let clear = sure(&[0.97, 0.96]);
        assert!((0.6..1.0).contains(&clear), "{clear}");
        assert!(sure(&[0.97, 0.6]) < clear, "one speaker is doubtful");
        assert!(sure(&[0.96; 8]) < clear, "of many speakers it is likelier that one is not real");
    }

    #[test]
    fn the_surest_label_of_each_speaker_counts() {
        let measures = CountMeasures::of([("a", 0.5), ("b", 0.8), ("a", 0.9), ("a", 0.1)]).unwrap();
        assert_eq!(measures.n_speakers, 2);
        assert!((measures.all_real - (0.9_f32 * 0.8).ln()).abs() < 1e-6);
        assert_eq!(CountMeasures::of::<u8>([]), None);
        assert_eq!(SpeakerCount::of(&SessionState::new()), SpeakerCount { n_speakers: 0, confidence: None });
    }

    #[test]
    fn confidence_is_a_probability_whatever_is_measured() {
        for odd in [&[-1.0][..], &[0.0; 1000], &[2.0], &[1.0; 1000]] {
            assert!((0.0..=1.0).contains(&sure(odd)), "{odd:?}");
        }
    }
}
