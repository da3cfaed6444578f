//! Limits on the number of speakers hold at every event, and the last pass reaches an expected number.

use std::collections::BTreeSet;

use super::*;

/// The most speakers with a segment after any event, and the number at the end.
fn counts(options: DiarizerOptions) -> (usize, usize) {
    let (script, samples) = dialogue();
    let (events, state) = run_with(options, &script, &samples, || 1600, |_| 0);
    let mut replayed = SessionState::new();
    let mut most = 0;
    for emitted in &events {
        replayed.apply(&emitted.event).expect("events follow each other");
        most = most.max(n_labelled(&replayed));
    }
    assert_eq!(replayed, state);
    (most, n_labelled(&state))
}

fn n_labelled(state: &SessionState) -> usize {
    state.segments().map(|segment| segment.speaker).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_limit_holds_at_every_event() {
    for max in 1..=4 {
        let (most, at_the_end) = counts(DiarizerOptions { max_speakers: Some(max), ..options() });
        assert!(most <= max, "{most} speakers, at most {max} allowed");
        assert_eq!(at_the_end, max.min(3), "three people speak, at most {max} allowed");
    }
}

#[test]
fn an_expected_number_is_reached_at_the_end() {
    for expected in 1..=5 {
        let (most, at_the_end) = counts(DiarizerOptions { expected_speakers: Some(expected), ..options() });
        assert!(most <= expected, "{most} speakers, {expected} expected");
        assert_eq!(at_the_end, expected);
    }
}
