//! When labels are published: after the delay, and at once before a pause.

use super::*;

#[test]
fn the_newest_speech_waits_for_its_label_and_nothing_else_changes() {
    let (script, samples) = dialogue();
    let said = |hold_back_ms| {
        let options = DiarizerOptions { hold_back_ms, ..options() };
        run_with(options, &script, &samples, || 1600, |_| 0)
    };
    let (at_once, state_at_once) = said(0);
    let (late, state_late) = said(500);
    // How long after its end a running segment is said, in samples and in the median: a region's first label does not
    // wait, nor does its last.
    let wait = |said: &[Said]| -> u64 {
        let running = said.iter().filter_map(|said| match &said.event {
            Event::Segment(s) if !s.is_final && s.range.len() > 4000 => Some(said.at.0 - s.range.end().0),
            _ => None,
        });
        let mut waits: Vec<u64> = running.collect();
        waits.sort_unstable();
        waits[waits.len() / 2]
    };
    // What is told of a tick is known when its frame is whole, 15 ms after its end.
    assert_eq!((wait(&at_once), wait(&late)), (240, 8000));
    let labels = |state: &SessionState| -> Vec<_> {
        state.segments().map(|s| (s.range, s.speaker, s.is_final)).collect()
    };
    assert_eq!(labels(&state_at_once), labels(&state_late));
}

#[test]
fn speech_before_a_pause_does_not_wait_for_the_speech_after_it() {
    let script = vec![(0.5, 4.0, 0), (5.2, 8.0, 0)];
    let options = DiarizerOptions { hold_back_ms: 500, min_silence_ms: 1500, ..options() };
    let (said, _) = run_with(options, &script, &audio(&script, 9.0), || 160, |_| 0);
    // When all up to a little before the pause had a label.
    let told = said.iter().find_map(|said| match &said.event {
        Event::Segment(s) if s.range.end().seconds() >= 3.8 => Some(said.at.seconds()),
        _ => None,
    });
    assert!((3.8..4.7).contains(&told.unwrap()), "{told:?}");
}
