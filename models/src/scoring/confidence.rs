//! Whether confidence is a probability: reliability by tenths, expected calibration error and Brier score.
//!
//! Guo et al., "On Calibration of Modern Neural Networks" (2017), define reliability and the expected calibration error.

use super::timeline::{Span, Turn, total_ns, union};

/// Labels with a confidence in one tenth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tenth {
    /// Number of labels.
    pub n_labels: usize,
    confidence_sum: f64,
    n_right: usize,
}

impl Tenth {
    /// Mean confidence, in `[0, 1]`; NaN without labels.
    #[must_use]
    pub fn mean_confidence(&self) -> f64 {
        self.confidence_sum / self.n_labels as f64
    }

    /// Share of right labels, in `[0, 1]`; NaN without labels.
    #[must_use]
    pub fn right_share(&self) -> f64 {
        self.n_right as f64 / self.n_labels as f64
    }
}

/// How far confidence is a probability. Add labels, then read the measures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reliability {
    tenths: [Tenth; 10],
    squared_error_sum: f64,
}

impl Reliability {
    /// Adds a label. A confidence outside `[0, 1]` counts as the nearer end.
    pub fn add(&mut self, confidence: f64, is_right: bool) {
        let confidence = confidence.clamp(0.0, 1.0);
        let tenth = &mut self.tenths[((confidence * 10.0) as usize).min(9)];
        tenth.n_labels += 1;
        tenth.confidence_sum += confidence;
        tenth.n_right += usize::from(is_right);
        self.squared_error_sum += (confidence - if is_right { 1.0 } else { 0.0 }).powi(2);
    }

    /// The tenths from 0 to 0.1 up to 0.9 to 1.
    #[must_use]
    pub fn tenths(&self) -> &[Tenth; 10] {
        &self.tenths
    }

    /// All labels as one.
    #[must_use]
    pub fn total(&self) -> Tenth {
        self.tenths.iter().fold(Tenth::default(), |sum, tenth| Tenth {
            n_labels: sum.n_labels + tenth.n_labels,
            confidence_sum: sum.confidence_sum + tenth.confidence_sum,
            n_right: sum.n_right + tenth.n_right,
        })
    }

    /// Number of labels.
    #[must_use]
    pub fn n_labels(&self) -> usize {
        self.total().n_labels
    }

    /// Expected calibration error: mean distance between confidence and share of right labels, in `[0, 1]`.
    #[must_use]
    pub fn ece(&self) -> f64 {
        let off = |tenth: &Tenth| (tenth.confidence_sum - tenth.n_right as f64).abs();
        self.tenths.iter().map(off).sum::<f64>() / self.n_labels() as f64
    }

    /// Mean squared error of the confidence, in `[0, 1]`.
    #[must_use]
    pub fn brier(&self) -> f64 {
        self.squared_error_sum / self.n_labels() as f64
    }

    /// The same for a confidence that is the share of right labels for each of them.
    #[must_use]
    pub fn constant_brier(&self) -> f64 {
        let right = self.total().right_share();
        right * (1.0 - right)
    }
}

/// Whether a label is right: the reference speaker that `mapping`, pairs of label and reference speaker, gives to
/// `speaker` speaks in at least half of `speech`. `None` if the scored `regions` hold nothing of it.
#[must_use]
pub fn is_right(
    reference: &[Turn],
    mapping: &[(String, String)],
    speaker: &str,
    speech: &[Span],
    regions: Option<&[Span]>,
) -> Option<bool> {
    let scored = match regions {
        Some(regions) => shared(speech, &union(regions.to_vec())),
        None => union(speech.to_vec()),
    };
    let length_ns = total_ns(&scored);
    if length_ns == 0 {
        return None;
    }
    let Some((_, person)) = mapping.iter().find(|(label, _)| label == speaker) else { return Some(false) };
    let own = reference.iter().filter(|turn| turn.speaker == *person).map(|turn| turn.span);
    Some(2 * total_ns(&shared(&scored, &union(own.collect()))) >= length_ns)
}

/// What two lists of spans share. The spans of each lie apart.
fn shared(a: &[Span], b: &[Span]) -> Vec<Span> {
    let pairs = a.iter().flat_map(|a| b.iter().map(|b| a.intersection(b)));
    pairs.filter(|span| !span.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rttm::Nanos;

    fn span(start_s: f64, end_s: f64) -> Span {
        Span::new(Nanos::from_seconds(start_s), Nanos::from_seconds(end_s))
    }

    fn turn(start_s: f64, end_s: f64, speaker: &str) -> Turn {
        Turn { span: span(start_s, end_s), speaker: speaker.to_owned() }
    }

    #[test]
    fn a_label_is_right_where_its_person_speaks_in_half_of_it() {
        let reference = [turn(0.0, 2.0, "ann"), turn(1.0, 2.0, "bob"), turn(2.0, 3.0, "bob")];
        let mapping = [("S1".to_owned(), "ann".to_owned())];
        let judged = |speaker: &str, start_s, end_s| {
            is_right(&reference, &mapping, speaker, &[span(start_s, end_s)], None)
        };
        assert_eq!(judged("S1", 0.0, 4.0), Some(true), "just half");
        assert_eq!(judged("S1", 1.0, 4.1), Some(false));
        assert_eq!(judged("S2", 0.0, 1.0), Some(false), "nobody is mapped to it");
        assert_eq!(judged("S1", 1.0, 1.0), None);
        let regions = [span(0.0, 1.5)];
        assert_eq!(is_right(&reference, &mapping, "S1", &[span(1.0, 3.0)], Some(&regions)), Some(true));
        assert_eq!(is_right(&reference, &mapping, "S1", &[span(2.0, 3.0)], Some(&regions)), None);
    }

    #[test]
    fn a_probability_has_no_calibration_error() {
        let mut reliability = Reliability::default();
        for n in 0..10 {
            reliability.add(0.3, n < 3);
            reliability.add(1.0, true);
        }
        assert!(reliability.ece() < 1e-9);
        assert!((reliability.brier() - 0.105).abs() < 1e-9, "{}", reliability.brier());
        assert!((reliability.constant_brier() - 0.65 * 0.35).abs() < 1e-9);
        assert_eq!((reliability.tenths()[3].n_labels, reliability.tenths()[9].n_labels), (10, 10));
        for _ in 0..20 {
            reliability.add(0.9, false);
        }
        assert!((reliability.ece() - 0.45).abs() < 1e-9, "{}", reliability.ece());
    }
}
