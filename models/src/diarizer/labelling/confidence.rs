//! Confidence: the probability that a label is right, from what is known of it.
//!
//! A logistic model of a few measures, with one set of weights for labels while speech goes on and one for the labels of
//! the last pass. The command `fit-confidence` fits them on simulated conversations that fit nothing else.

use crate::calibration::sigmoid;
use crate::embedding::dot;

/// Number of features; the last one is constant.
pub const N_FEATURES: usize = 9;

/// Weights of [`LabelMeasures::features`].
const LIVE: [f32; N_FEATURES] = [0.4917, -0.0144, 0.1803, 0.1452, 0.1505, 0.3715, 0.0743, -0.5882, -1.4377];
const LAST: [f32; N_FEATURES] = [3.6892, 1.2874, 0.7016, -0.5140, 1.1064, 0.1994, -0.5167, -1.8064, -1.2304];

/// Signal-to-noise ratio that stands for an unknown one.
const USUAL_SNR_DB: f32 = 15.0;

/// What is measured of one label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelMeasures {
    /// By how much the label's speech fits its speaker better than anybody else. While speech goes on: log-likelihood
    /// ratio to the best other voice or a new one. In the last pass: difference of mean cosines, see `leads`.
    pub lead: f32,
    /// Speech of the label, in seconds.
    pub label_s: f32,
    /// Speech of the speaker, in seconds.
    pub speaker_s: f32,
    /// Speech of the session so far, in seconds.
    pub session_s: f32,
    /// Speakers of the session so far.
    pub n_speakers: usize,
    /// Signal-to-noise ratio in dB, where it is known.
    pub snr_db: Option<f32>,
    /// Whether the last pass has made the label.
    pub is_last: bool,
}

impl LabelMeasures {
    /// What the model weighs: the logarithm of the lead, with its sign; logarithms of the three lengths and of the number
    /// of speakers; the signal-to-noise ratio in units of 10 dB, bounded; the speaker's share of the session, times the
    /// number of speakers; the label's share of the speaker's speech; 1.
    #[must_use]
    pub fn features(&self) -> [f32; N_FEATURES] {
        let n_speakers = self.n_speakers as f32;
        let snr_db = self.snr_db.unwrap_or(USUAL_SNR_DB).clamp(0.0, 30.0);
        let share = |part: f32, whole: f32| (part / whole.max(SHORTEST_S)).min(1.0);
        [
            self.lead.signum() * self.lead.abs().ln_1p(),
            self.label_s.ln_1p(),
            self.speaker_s.ln_1p(),
            self.session_s.ln_1p(),
            n_speakers.ln_1p(),
            snr_db / 10.0,
            n_speakers * share(self.speaker_s, self.session_s),
            share(self.label_s, self.speaker_s),
            1.0,
        ]
    }

    /// Probability that the label is right, in `[0, 1]`, to three decimals.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        let weights = if self.is_last { &LAST } else { &LIVE };
        (sigmoid(dot(weights, &self.features())) * 1000.0).round() / 1000.0
    }
}

/// Less speech than this is no whole to take shares of, in seconds.
const SHORTEST_S: f32 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: LabelMeasures = LabelMeasures {
        lead: 0.3,
        label_s: 4.0,
        speaker_s: 60.0,
        session_s: 150.0,
        n_speakers: 3,
        snr_db: Some(20.0),
        is_last: true,
    };

    #[test]
    fn a_clear_label_is_surer_than_a_doubtful_one() {
        let clear = CLEAR.confidence();
        assert!((0.8..1.0).contains(&clear), "{clear}");
        for doubtful in [
            LabelMeasures { lead: -0.1, ..CLEAR },
            LabelMeasures { label_s: 0.5, ..CLEAR },
            LabelMeasures { snr_db: Some(0.0), ..CLEAR },
        ] {
            assert!(doubtful.confidence() < clear, "{doubtful:?}");
        }
        let live = LabelMeasures { is_last: false, ..CLEAR };
        assert!(
            LabelMeasures { lead: 20.0, ..live }.confidence()
                > LabelMeasures { lead: -20.0, ..live }.confidence()
        );
    }

    #[test]
    fn confidence_is_a_probability_whatever_is_measured() {
        for lead in [0.0, -1e9, 1e9] {
            for (label_s, speaker_s, session_s) in [(0.0, 0.0, 0.0), (1e6, 1.0, 1e9)] {
                for is_last in [false, true] {
                    let snr_db = Some(-100.0);
                    let odd =
                        LabelMeasures { lead, label_s, speaker_s, session_s, n_speakers: 0, snr_db, is_last };
                    assert!((0.0..=1.0).contains(&odd.confidence()), "{odd:?}");
                }
            }
        }
    }
}
