//! Runs of equally labelled windows: where they begin and end, and what is published of them.

use diarized_dsp::{SampleIndex, SampleRange};

use super::confidence::LabelMeasures;
use super::publisher::Draft;
use super::scores::Scores;
use super::zone::{Run, Zone};
use crate::events::{Segment, SegmentId, SessionState};

/// Frames each side over which the level is averaged in the search for a pause: 50 ms.
pub(super) const SMOOTH_FRAMES: usize = 5;
/// Pull of a boundary to the middle between two windows, in dB a frame.
const PULL_DB_PER_FRAME: f32 = 0.2;

/// Runs over the whole unsettled part, up to `end`. Boundaries lie at most `reach` samples from the middle between two
/// windows.
pub(super) fn runs(zone: &Zone, end: SampleIndex, reach: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut start = zone.unsettled_start;
    let mut first = 0;
    for (idx, window) in zone.windows.iter().enumerate() {
        let Some(speaker) = window.label else { continue };
        let is_last = idx + 1 == zone.windows.len();
        if is_last || zone.windows[idx + 1].label != window.label {
            let until = if is_last { end } else { boundary(zone, idx, reach) }.max(start);
            runs.push(Run { windows: first..idx + 1, speaker, range: SampleRange::new(start, until) });
            start = until;
            first = idx + 1;
        }
    }
    runs
}

/// The part of `runs` before `published_until`.
pub(super) fn cut_at(mut runs: Vec<Run>, published_until: SampleIndex) -> Vec<Run> {
    runs.retain(|run| run.range.start() < published_until);
    if let Some(last) = runs.last_mut() {
        last.range = SampleRange::new(last.range.start(), last.range.end().min(published_until));
    }
    runs
}

/// Where the speaker changes between windows `idx` and `idx + 1`: at the quietest frame within `reach` samples of the
/// middle between their centres, since speakers change in pauses.
fn boundary(zone: &Zone, idx: usize, reach: u64) -> SampleIndex {
    let middle = u64::midpoint(zone.windows[idx].centre(), zone.windows[idx + 1].centre());
    let frame = |sample: u64| zone.frames.index(SampleIndex(sample));
    let n_frames = zone.frames.db.len();
    let smooth = |i: usize| {
        let around = i.saturating_sub(SMOOTH_FRAMES)..(i + SMOOTH_FRAMES + 1).min(n_frames);
        let n = around.len().max(1) as f32;
        zone.frames.db[around].iter().sum::<f32>() / n
    };
    let mut best: Option<(usize, f32)> = None;
    for i in frame(middle.saturating_sub(reach))..frame(middle + reach).min(n_frames) {
        // The pull keeps a boundary in the middle where the level is even.
        let distance = i.abs_diff(frame(middle)) as f32;
        let cost = smooth(i) + PULL_DB_PER_FRAME * distance;
        if best.is_none_or(|(_, b)| cost < b) {
            best = Some((i, cost));
        }
    }
    let at = best.map_or(middle, |(i, _)| zone.frames.position(i).0);
    SampleIndex(at.clamp(zone.unsettled_start.0, zone.windows[idx + 1].support.end().0))
}

/// End of the first `n` windows' part: the boundary of a run where one ends there, or else the middle between two
/// windows. `None` if no window follows.
pub(super) fn end_of_first(zone: &Zone, runs: &[Run], n: usize) -> Option<SampleIndex> {
    let (before, after) = (zone.windows.get(n.checked_sub(1)?)?, zone.windows.get(n)?);
    let changed = runs.iter().find(|r| r.windows.start == n).map(|r| r.range.start());
    Some(changed.unwrap_or(SampleIndex(u64::midpoint(before.centre(), after.centre()))))
}

/// The published segment that shows the `n`th run.
pub(super) fn segment_of(zone: &Zone, state: &SessionState, n: usize, run: &Run) -> Option<SegmentId> {
    let of_speaker = |id: SegmentId| state.segment(id).filter(|s| s.speaker == run.speaker);
    zone.open_segment.filter(|id| n == 0 && of_speaker(*id).is_some()).or_else(|| {
        let overlaps = |s: &Segment| s.range.intersection(&run.range).is_some();
        zone.unsettled_segments.iter().copied().find(|id| of_speaker(*id).is_some_and(overlaps))
    })
}

/// What to publish of `runs`, with a noise floor of `noise_db`.
pub(super) fn drafts(
    zone: &Zone,
    state: &SessionState,
    runs: &[Run],
    scores: &Scores<'_>,
    noise_db: Option<f32>,
) -> Vec<Draft> {
    let draft = |(n, run): (usize, &Run)| {
        let open = zone.open_segment.filter(|_| n == 0).and_then(|id| state.segment(id));
        let continued = open.filter(|s| s.speaker == run.speaker);
        let (snr_db, c50_db) = zone.quality_db(run.range, continued.is_some(), noise_db);
        Draft {
            continues: continued.map(|s| s.id),
            speaker: run.speaker,
            start: continued.map_or_else(|| start_of_turn(zone, state, run), |s| s.range.start()),
            range: run.range,
            confidence: LabelMeasures { snr_db, ..scores.measures(run) }.confidence(),
            snr_db,
            c50_db,
        }
    };
    runs.iter().enumerate().map(draft).collect()
}

/// Start of the turn that begins with `run`. The first turn of a region begins at the end of the segment before where
/// its speaker paused for a short time only.
fn start_of_turn(zone: &Zone, state: &SessionState, run: &Run) -> SampleIndex {
    let is_first = zone.open_segment.is_none() && run.windows.start == 0;
    let before = zone.previous_segment.filter(|_| is_first).and_then(|id| state.segment(id));
    let before = before.filter(|s| s.speaker == run.speaker);
    before.map_or(run.range.start(), |s| s.range.end().min(run.range.start()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diarizer::labelling::made::{ANN, BOB, at, memory, params, range, state, zone};
    use crate::events::SpeakerId;

    const REACH: u64 = 4000;

    /// Two windows of speaker 1, then two of speaker 2; their centres are at 0.5, 0.75, 1 and 1.25 s.
    fn two_turns() -> Zone {
        zone(&[(ANN, Some(1)), (ANN, Some(1)), (BOB, Some(2)), (BOB, Some(2))])
    }

    fn ranges(runs: &[Run]) -> Vec<(u32, SampleRange)> {
        runs.iter().map(|run| (run.speaker.0, run.range)).collect()
    }

    #[test]
    fn a_run_ends_in_the_pause_or_else_in_the_middle() {
        let mut zone = two_turns();
        let even = runs(&zone, at(1.75), REACH);
        // The middle is 0.875 s; a boundary lies on a frame.
        assert_eq!(ranges(&even), [(1, range(0.0, 0.87)), (2, range(0.87, 1.75))]);
        zone.frames.db[90..101].fill(-60.0);
        let paused = runs(&zone, at(1.75), REACH);
        assert_eq!(ranges(&paused), [(1, range(0.0, 0.95)), (2, range(0.95, 1.75))]);
        assert_eq!((paused[0].windows.clone(), paused[1].windows.clone()), (0..2, 2..4));
    }

    #[test]
    fn runs_are_cut_where_publishing_ends() {
        let runs = runs(&two_turns(), at(1.75), REACH);
        assert_eq!(ranges(&cut_at(runs.clone(), at(1.0))), [(1, range(0.0, 0.87)), (2, range(0.87, 1.0))]);
        assert_eq!(ranges(&cut_at(runs.clone(), at(0.5))), [(1, range(0.0, 0.5))]);
        assert_eq!(cut_at(runs, at(0.0)), []);
    }

    #[test]
    fn the_settled_part_ends_at_a_boundary_or_between_two_windows() {
        let zone = two_turns();
        let runs = runs(&zone, at(1.75), REACH);
        assert_eq!(end_of_first(&zone, &runs, 2), Some(at(0.87)));
        assert_eq!(end_of_first(&zone, &runs, 1), Some(at(0.625)));
        assert_eq!((end_of_first(&zone, &runs, 0), end_of_first(&zone, &runs, 4)), (None, None));
    }

    #[test]
    fn the_first_draft_goes_on_with_the_segment_of_its_speaker() {
        let (memory, opened) = (memory(&[(1, ANN), (2, BOB)]), BTreeSet::new());
        let mut zone = two_turns();
        zone.unsettled_start = at(0.25);
        let runs = runs(&zone, at(1.75), REACH);
        let drafts = |zone: &Zone, state: &SessionState| {
            let scores = Scores::new(&memory, &opened, zone, &params());
            drafts(zone, state, &runs, &scores, None)
        };
        zone.open_segment = Some(SegmentId(5));
        let same = drafts(&zone, &state(&[(5, 1, 0.0, 0.5)]));
        assert_eq!((same[0].continues, same[0].start), (Some(SegmentId(5)), at(0.0)));
        assert_eq!((same[1].continues, same[1].start), (None, at(0.87)));
        let other = drafts(&zone, &state(&[(5, 2, 0.0, 0.5)]));
        assert_eq!((other[0].continues, other[0].start), (None, at(0.25)));
        assert!((0.5..1.0).contains(&other[0].confidence), "{other:?}");
    }

    #[test]
    fn a_turn_begins_where_the_segment_before_the_region_ended() {
        let (memory, opened) = (memory(&[(1, ANN), (2, BOB)]), BTreeSet::new());
        let mut zone = zone(&[(ANN, Some(1))]);
        (zone.unsettled_start, zone.previous_segment) = (at(0.25), Some(SegmentId(5)));
        let runs = runs(&zone, at(1.0), REACH);
        let scores = Scores::new(&memory, &opened, &zone, &params());
        let start = |state: &SessionState| drafts(&zone, state, &runs, &scores, None)[0].start;
        assert_eq!(start(&state(&[(5, 1, 0.0, 0.1)])), at(0.1));
        assert_eq!(start(&state(&[(5, 2, 0.0, 0.1)])), at(0.25), "another speaker's turn is over");
    }

    #[test]
    fn a_run_is_shown_by_a_segment_of_its_speaker() {
        let mut zone = two_turns();
        let runs = runs(&zone, at(1.75), REACH);
        zone.unsettled_segments = vec![SegmentId(6), SegmentId(7)];
        let state = state(&[(6, 1, 0.0, 0.87), (7, 2, 0.87, 1.5)]);
        assert_eq!(segment_of(&zone, &state, 0, &runs[0]), Some(SegmentId(6)));
        assert_eq!(segment_of(&zone, &state, 1, &runs[1]), Some(SegmentId(7)));
        let stranger = Run { speaker: SpeakerId(3), ..runs[1].clone() };
        assert_eq!(segment_of(&zone, &state, 1, &stranger), None);
    }
}
