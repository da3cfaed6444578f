//! Segments that hold two people become two.

use super::*;

/// Nobody but the first speaker is opened while a region is open, so that clustering has to find the second.
fn reluctant() -> DiarizerOptions {
    DiarizerOptions { new_speaker_llr: 50.0, ..options() }
}

fn script() -> (Script, Vec<f32>) {
    let script = vec![(0.5, 6.5, 0), (6.5, 12.5, 1), (14.0, 20.0, 0), (20.0, 26.0, 1)];
    let samples = audio(&script, 28.0);
    (script, samples)
}

#[test]
fn a_segment_that_holds_two_people_is_divided_where_they_change() {
    let (script, samples) = script();
    let (emitted, state) = run_with(reluctant(), &script, &samples, || 1600, |_| 0);
    assert_eq!(state.speakers().count(), 2, "{state:#?}");
    let purity = purity(&script, &state);
    assert!(purity > 0.93, "{purity}: {state:#?}");
    for change in [6.5, 20.0] {
        let starts = state.segments().map(|s| s.range.start().seconds());
        let nearest = starts.map(|start| (start - change).abs()).fold(f64::INFINITY, f64::min);
        assert!(nearest < 0.5, "the change at {change} s is missed by {nearest} s");
    }
    // The events say it in an order that holds: a final segment ends earlier, its rest is new and bears its label, and
    // then the label changes.
    let mut held = SessionState::new();
    let mut divided = 0;
    for s in &emitted {
        if let Event::Segment(new) = &s.event
            && let Some(old) = held.segment(new.id).filter(|old| old.is_final)
        {
            assert!(new.range.end() <= old.range.end() && new.range.start() == old.range.start());
            assert_eq!((new.speaker, new.is_final), (old.speaker, true));
            // The last pass may change the confidence alone.
            assert!(new.range != old.range || new.confidence != old.confidence);
            divided += usize::from(new.range != old.range);
        }
        held.apply(&s.event).unwrap();
    }
    assert!(divided > 0);
    assert_eq!(held, state);
}
