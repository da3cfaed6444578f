//! When labels are published: after the delay, and at once before a pause.

use super::*;

#[test]
fn the_newest_speech_waits_for_its_label_and_nothing_else_changes() {
    let (script, samples) = dialogue();
    let emitted = |label_delay_ms| {
        let options = DiarizerOptions { label_delay_ms, ..options() };
        run_with(options, &script, &samples, || 1600, |_| 0)
    };
    let (at_once, state_at_once) = emitted(0);
    let (late, state_late) = emitted(500);
    // Median delay in samples from the end of a running segment to its event: a region's first label does not
    // wait, nor does its last.
    let wait = |emitted: &[TimedEvent]| -> u64 {
        let running = emitted.iter().filter_map(|emitted| match &emitted.event {
            Event::Segment(s) if !s.is_final && s.range.len() > 4000 => Some(emitted.at.0 - s.range.end().0),
            _ => None,
        });
        let mut waits: Vec<u64> = running.collect();
        waits.sort_unstable();
        waits[waits.len() / 2]
    };
    // The decision of a tick is known when its frame is whole, 15 ms after its end.
    assert_eq!((wait(&at_once), wait(&late)), (240, 8000));
    let labels = |state: &SessionState| -> Vec<_> {
        state.segments().map(|s| (s.range, s.speaker, s.is_final)).collect()
    };
    assert_eq!(labels(&state_at_once), labels(&state_late));
}

#[test]
fn speech_before_a_pause_does_not_wait_for_the_speech_after_it() {
    let script = vec![(0.5, 4.0, 0), (5.2, 8.0, 0)];
    let options = DiarizerOptions { label_delay_ms: 500, min_silence_ms: 1500, ..options() };
    let (emitted, _) = run_with(options, &script, &audio(&script, 9.0), || 160, |_| 0);
    // When all up to a little before the pause had a label.
    let at = emitted.iter().find_map(|emitted| match &emitted.event {
        Event::Segment(s) if s.range.end().seconds() >= 3.8 => Some(emitted.at.seconds()),
        _ => None,
    });
    assert!((3.8..4.7).contains(&at.unwrap()), "{at:?}");
}
