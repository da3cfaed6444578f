//! Speakers of the unsettled windows: the most likely path through the known speakers and the state "new speaker".

use std::ops::Range;

use super::scores::Scores;
use crate::diarizer::params::DiarizerParams;
use crate::diarizer::viterbi::best_path;
use crate::events::SpeakerId;

/// Neighbouring windows of one state of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LabelRun {
    /// Indices of the windows in the zone.
    pub(super) windows: Range<usize>,
    /// The speaker, or `None` for one to be opened.
    pub(super) speaker: Option<SpeakerId>,
}

/// When a run of windows is a new speaker's.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewSpeakerRules {
    /// Log-likelihood ratio by which a new speaker must beat the best known one.
    pub(super) min_llr: f32,
    /// Runs with fewer windows need more evidence at the end of a region, and are never new before it.
    pub(super) min_windows: usize,
    /// Cost of a change of speaker on the path, natural log.
    pub(super) switch_cost: f32,
    /// At most this many speakers may be opened.
    pub(super) max_new: usize,
}

impl NewSpeakerRules {
    /// The rules while `n_shown` speakers are shown.
    pub(super) fn of(params: &DiarizerParams, n_shown: usize) -> Self {
        Self {
            min_llr: params.new_speaker_llr(),
            min_windows: params.new_speaker_windows(),
            switch_cost: params.switch_cost(),
            max_new: params.max_shown_speakers().saturating_sub(n_shown),
        }
    }

    /// Log-likelihood ratio that a run of `n_windows` needs; none where it cannot be new. `closing`: no window follows in
    /// this region. `is_unknown`: the path has it in the state "new speaker".
    fn needed_llr(&self, n_windows: usize, is_unknown: bool, closing: bool) -> Option<Needed> {
        let is_long = n_windows >= self.min_windows;
        // A short run is left to the clustering while windows follow.
        (is_long || closing).then_some(Needed {
            handicap: if is_unknown { 0.0 } else { self.switch_cost },
            llr: self.min_llr + if is_long { 0.0 } else { self.switch_cost },
        })
    }
}

/// What the evidence for a new speaker must exceed once `handicap` is taken off.
#[derive(Debug, Clone, Copy)]
struct Needed {
    handicap: f32,
    llr: f32,
}

/// Labels the unsettled windows. `previous` is the speaker before them. With `closing` no window follows in this region.
/// Runs are in order of time and cover every window; none without windows.
pub(super) fn decode(
    scores: &Scores<'_>,
    rules: NewSpeakerRules,
    previous: Option<SpeakerId>,
    closing: bool,
) -> Vec<LabelRun> {
    let speakers = scores.speakers();
    let previous = previous.and_then(|speaker| speakers.iter().position(|s| *s == speaker));
    let path = best_path(&scores.of_windows(), speakers.len() + 1, rules.switch_cost, previous);
    let mut rules = rules;
    state_runs(&path)
        .map(|(windows, state)| {
            let speaker = label(scores, rules, windows.clone(), speakers.get(state).copied(), closing);
            rules.max_new = rules.max_new.saturating_sub(usize::from(speaker.is_none()));
            LabelRun { windows, speaker }
        })
        .collect()
}

/// The speaker of a run that the path gives to `state`, or to a new speaker with `None`. The new speaker gives way to
/// the best known one where its evidence is too weak; a known one gives way to a new one where that is clear.
fn label(
    scores: &Scores<'_>,
    rules: NewSpeakerRules,
    windows: Range<usize>,
    state: Option<SpeakerId>,
    closing: bool,
) -> Option<SpeakerId> {
    if state.is_some_and(|speaker| scores.is_opened(speaker)) {
        return state;
    }
    let (best, gain) = scores.best_known(windows.clone())?;
    let is_new = rules.needed_llr(windows.len(), state.is_none(), closing).is_some_and(|needed| {
        let lead = scores.evidence_discount() * (scores.evidence_of_one(windows) - gain) - needed.handicap;
        lead > needed.llr
    });
    if is_new && rules.max_new > 0 { None } else { state.or(Some(best)) }
}

/// Runs of equal states and their state, in order.
fn state_runs(path: &[usize]) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
    let mut start = 0;
    path.chunk_by(|a, b| a == b).map(move |run| {
        let windows = start..start + run.len();
        start = windows.end;
        (windows, run[0])
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diarizer::labelling::made::{ANN, BOB, DIM, memory, params, zone};

    const RULES: NewSpeakerRules =
        NewSpeakerRules { min_llr: 2.0, min_windows: 3, switch_cost: 1.0, max_new: 10 };
    /// Opposite to both known voices.
    const NEW: [f32; DIM] = [-4.0, -4.0];

    fn labels(
        windows: &[[f32; DIM]],
        opened: &[u32],
        previous: Option<u32>,
        closing: bool,
    ) -> Vec<(Range<usize>, Option<u32>)> {
        labels_by(RULES, windows, opened, previous, closing)
    }

    fn labels_by(
        rules: NewSpeakerRules,
        windows: &[[f32; DIM]],
        opened: &[u32],
        previous: Option<u32>,
        closing: bool,
    ) -> Vec<(Range<usize>, Option<u32>)> {
        let memory = memory(&[(1, ANN), (2, BOB)]);
        let opened: BTreeSet<SpeakerId> = opened.iter().copied().map(SpeakerId).collect();
        let label = opened.first().map(|speaker| speaker.0);
        let windows: Vec<_> = windows.iter().map(|w| (*w, label.filter(|_| *w == NEW))).collect();
        let zone = zone(&windows);
        let scores = Scores::new(&memory, &opened, &zone, &params());
        let runs = decode(&scores, rules, previous.map(SpeakerId), closing);
        runs.into_iter().map(|run| (run.windows, run.speaker.map(|s| s.0))).collect()
    }

    #[test]
    fn known_voices_are_labelled_in_runs() {
        let got = labels(&[ANN, ANN, ANN, BOB, BOB, ANN], &[], None, false);
        assert_eq!(got, [(0..3, Some(1)), (3..5, Some(2)), (5..6, Some(1))]);
        assert_eq!(labels(&[], &[], None, true), []);
    }

    #[test]
    fn a_long_run_of_another_voice_is_a_new_speaker() {
        let got = labels(&[ANN, ANN, NEW, NEW, NEW, NEW], &[], None, false);
        assert_eq!(got, [(0..2, Some(1)), (2..6, None)]);
    }

    #[test]
    fn no_more_speakers_are_opened_than_may_be() {
        let windows = [ANN, ANN, ANN, NEW, NEW, NEW, BOB, BOB, BOB, NEW, NEW, NEW];
        for max_new in 0..3 {
            let runs = labels_by(NewSpeakerRules { max_new, ..RULES }, &windows, &[], None, false);
            let n_new = runs.iter().filter(|run| run.1.is_none()).count();
            assert_eq!(n_new, max_new, "{runs:?}");
        }
    }

    #[test]
    fn a_short_run_is_new_at_the_end_of_a_region_only() {
        let speakers = |closing| {
            let runs = labels(&[BOB, BOB, BOB, NEW, NEW], &[], None, closing);
            runs.iter().map(|run| run.1).collect::<Vec<_>>()
        };
        assert!(!speakers(false).contains(&None), "it waits for the clustering");
        assert_eq!(speakers(true), [Some(2), None]);
    }

    #[test]
    fn a_speaker_opened_before_is_not_opened_again() {
        let got = labels(&[ANN, ANN, NEW, NEW, NEW, NEW], &[7], None, false);
        assert_eq!(got, [(0..2, Some(1)), (2..6, Some(7))]);
    }

    #[test]
    fn the_speaker_before_decides_where_the_windows_do_not() {
        for before in [1, 2] {
            let got = labels(&[[1.4, 1.4]; 2], &[], Some(before), false);
            assert_eq!(got, [(0..2, Some(before))]);
        }
    }
}
