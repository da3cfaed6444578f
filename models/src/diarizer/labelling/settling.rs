//! From settled windows to exemplars of the memory.

use diarized_dsp::{SampleIndex, SampleRange};

use super::zone::{Run, Window, Zone};
use crate::diarizer::clustering::{Constraint, Exemplar, SecondView};
use crate::diarizer::params::DiarizerParams;
use crate::plda::Plda;

/// Weight of a mixed window's evidence: one that reaches into another turn or holds much overlap.
const MIXED_WINDOW_TRUST: f32 = 0.3;

/// How exemplars are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExemplarRules {
    /// Windows in one exemplar; at least 1.
    pub(super) n_windows: usize,
    /// Samples that a clean window may reach out of its turn.
    pub(super) max_straddle: u64,
    /// Log odds of overlap above which two people speak in a frame.
    pub(super) overlap_onset: f32,
}

impl ExemplarRules {
    pub(super) fn of(params: &DiarizerParams) -> Self {
        Self {
            n_windows: params.exemplar_windows(),
            max_straddle: params.straddle_samples(),
            overlap_onset: params.overlap_onset(),
        }
    }
}

/// Exemplars of the run's windows before `until`, each with the range between the centres of its first and last
/// window. `turn` is the range of the whole segment, `second_plda` that of a second model.
pub(super) fn exemplars(
    zone: &Zone,
    run: &Run,
    turn: SampleRange,
    until: usize,
    rules: ExemplarRules,
    second_plda: Option<&Plda>,
) -> Vec<(SampleRange, Exemplar)> {
    let clean = |w: &Window| {
        w.support.start().plus(rules.max_straddle) >= turn.start()
            && w.support.end() <= turn.end().plus(rules.max_straddle)
            && !zone.is_mixed(w.support, rules.overlap_onset)
    };
    let windows: Vec<&Window> = zone.windows.range(run.windows.start..until).collect();
    let exemplar = |(n, part): (usize, &[&Window])| {
        let strong = part.iter().all(|w| w.full && clean(w));
        let factor = if part.iter().all(|w| clean(w)) { 1.0 } else { MIXED_WINDOW_TRUST };
        let (first, last) = (part[0], part[part.len() - 1]);
        let mut sum = vec![0.0_f32; first.embedding.dim()];
        let mut projected = vec![0.0_f32; first.projected.len()];
        for window in part {
            sum.iter_mut().zip(window.embedding.as_slice()).for_each(|(mine, other)| *mine += other);
            projected.iter_mut().zip(&window.projected).for_each(|(mine, other)| *mine += factor * other);
        }
        let exemplar = Exemplar {
            sum,
            weight: part.len() as f32,
            projected,
            trust: factor * part.iter().map(|w| w.trust).sum::<f32>(),
            continues: n > 0 || zone.has_exemplars,
            strong,
            speaker: run.speaker,
            former: None,
            constraint: Constraint::Free,
            second: SecondView::of(part.iter().map(|w| &w.second), second_plda),
        };
        (SampleRange::new(SampleIndex(first.centre()), SampleIndex(last.centre())), exemplar)
    };
    windows.chunks(rules.n_windows).enumerate().map(exemplar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{ANN, range, zone};
    use crate::events::SpeakerId;

    const RULES: ExemplarRules = ExemplarRules { n_windows: 2, max_straddle: 1600, overlap_onset: 0.0 };

    fn made(zone: &Zone, turn: SampleRange) -> Vec<(SampleRange, Exemplar)> {
        let run = Run { windows: 0..zone.windows.len(), speaker: SpeakerId(3), range: turn };
        exemplars(zone, &run, turn, zone.windows.len(), RULES, None)
    }

    #[test]
    fn windows_are_added_up_in_pairs() {
        let zone = zone(&[(ANN, Some(3)); 3]);
        let made = made(&zone, range(0.0, 2.0));
        assert_eq!(
            made.iter().map(|(span, _)| *span).collect::<Vec<_>>(),
            [range(0.5, 0.75), range(1.0, 1.0)]
        );
        let first = &made[0].1;
        assert_eq!((first.weight, first.trust, first.speaker), (2.0, 2.0, SpeakerId(3)));
        assert_eq!(first.projected, [6.0, 0.0]);
        assert!((first.sum[0] - 1.2).abs() < 1e-5 && (first.sum[1] - 1.6).abs() < 1e-5, "{:?}", first.sum);
        assert!(first.strong && !first.continues && made[1].1.continues);
    }

    #[test]
    fn windows_that_hold_another_voice_count_for_less() {
        let mut zone = zone(&[(ANN, Some(3)); 2]);
        zone.has_exemplars = true;
        // The second window reaches 0.25 s out of the turn.
        let straddling = &made(&zone, range(0.0, 1.0))[0].1;
        assert!(!straddling.strong && straddling.continues);
        assert!((straddling.trust - 2.0 * MIXED_WINDOW_TRUST).abs() < 1e-6, "{straddling:?}");
        zone.frames.overlap = vec![3.0; 60];
        let overlapped = &made(&zone, range(0.0, 2.0))[0].1;
        assert!(!overlapped.strong && overlapped.trust < 1.0, "{overlapped:?}");
    }

    #[test]
    fn short_windows_make_no_voiceprint() {
        let mut zone = zone(&[(ANN, Some(3)); 2]);
        zone.windows[1].full = false;
        let made = &made(&zone, range(0.0, 2.0))[0].1;
        assert!(!made.strong && made.trust == 2.0);
    }
}
