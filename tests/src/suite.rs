//! Scores the events of a recording in three views: as first emitted, as they stand 5 s later, and at the end.
//!
//! - **First**: a moment counts as labelled if a segment covered it when no more than
//!   [`FIRST_LATENCY_S`] of audio had come after it, with its first speaker. Another speaker
//!   counts beside the first if they were named in time while the first still stood, as in overlap; who took the
//!   first one's place does not. What came later is missed; what was later withdrawn is a false alarm.
//! - **5 s later**: the labels after 5 s more of audio (at the end: what was left of them).
//! - **At the end**: after the last event.
//!
//! Moments are frames of 10 ms; the view at the end is exact.

mod collar;
mod events;
mod returns;

use std::collections::{BTreeMap, BTreeSet};

use diarized_models::rttm::Nanos;
use diarized_models::scoring::{DerParams, FileScore, Span, Turn, score_recording};

use crate::peers::PeerScore;
use crate::recordings::Reference;
pub use collar::collared;
pub use events::{Kind, Part, ScoredEvent, parse_events};
use events::{State, apply, turns_after};
pub use returns::{AWAY_S, RETURN_SPEECH_S, Returns, main_label};

/// Audio after a moment within which its label is a first one, in seconds.
pub const FIRST_LATENCY_S: f64 = 1.2;
/// The delay of the second view, in seconds.
pub const LATER_S: f64 = 5.0;

const FRAME_S: f64 = 0.01;
const FRAME_NS: i64 = 10_000_000;

/// The three views as turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Views {
    /// As first emitted.
    pub first: Vec<Turn>,
    /// As it stands 5 s later.
    pub later: Vec<Turn>,
    /// At the end.
    pub last: Vec<Turn>,
}

/// Builds the views of the events of `duration_s` seconds of audio.
#[must_use]
pub fn views(events: &[ScoredEvent], duration_s: f64) -> Views {
    Views {
        first: first_view(events, duration_s),
        later: later_view(events, duration_s),
        last: turns_after(events.iter()),
    }
}

fn n_frames(duration_s: f64) -> usize {
    (duration_s / FRAME_S).ceil() as usize
}

fn frames_of(start_s: f64, end_s: f64, n_frames: usize) -> std::ops::Range<usize> {
    let at = |s: f64| ((s / FRAME_S).round().max(0.0) as usize).min(n_frames);
    at(start_s)..at(end_s)
}

fn first_view(events: &[ScoredEvent], duration_s: f64) -> Vec<Turn> {
    let n = n_frames(duration_s);
    let mut labels: Vec<BTreeSet<String>> = vec![BTreeSet::new(); n];
    let mut state = State::new();
    // The labels of one moment come in several events: a label that makes room for another is gone before it.
    for events in events.chunk_by(|a, b| a.at_s.total_cmp(&b.at_s).is_eq()) {
        let at_s = events[0].at_s;
        let touched = events.iter().filter_map(|event| match event.kind {
            Kind::Segment { id, .. } => Some(id),
            _ => None,
        });
        let touched: BTreeSet<u64> = touched.collect();
        events.iter().for_each(|event| apply(&mut state, &event.kind));
        let shown = touched.iter().filter_map(|id| state.get(id));
        for ((start, end), speaker) in
            shown.flat_map(|(speech, who)| speech.iter().map(move |part| (part, who)))
        {
            let in_time = ((at_s - FIRST_LATENCY_S - 1e-9) / FRAME_S).ceil().max(0.0) as usize;
            let frames = frames_of(*start, *end, n);
            let n_late = in_time.saturating_sub(frames.start);
            for (frame, first) in frames.clone().zip(&mut labels[frames]).skip(n_late) {
                if first.iter().all(|first| first == speaker || covers(&state, frame, first)) {
                    first.insert(speaker.clone());
                }
            }
        }
    }
    turns_of(&labels)
}

/// Whether a segment of `speaker` covers the middle of `frame`.
fn covers(state: &State, frame: usize, speaker: &str) -> bool {
    let middle = (frame as f64 + 0.5) * FRAME_S;
    state.values().any(|(speech, who)| who == speaker && holds(speech, middle))
}

/// Whether one of these parts holds the moment.
fn holds(speech: &[Part], at_s: f64) -> bool {
    speech.iter().any(|(start, end)| *start <= at_s && at_s < *end)
}

fn later_view(events: &[ScoredEvent], duration_s: f64) -> Vec<Turn> {
    let mut labels: Vec<BTreeSet<String>> = vec![BTreeSet::new(); n_frames(duration_s)];
    let mut state = State::new();
    let mut next = 0;
    for (frame, label) in labels.iter_mut().enumerate() {
        let t = frame as f64 * FRAME_S;
        while events.get(next).is_some_and(|event| event.at_s <= t + LATER_S + 1e-9) {
            apply(&mut state, &events[next].kind);
            next += 1;
        }
        let middle = t + FRAME_S / 2.0;
        let covering = state.values().filter(|(speech, _)| holds(speech, middle));
        label.extend(covering.map(|(_, speaker)| speaker.clone()));
    }
    turns_of(&labels)
}

/// Runs of frames with a speaker.
fn turns_of(labels: &[BTreeSet<String>]) -> Vec<Turn> {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut turns = Vec::new();
    let none = BTreeSet::new();
    for frame in 0..=labels.len() {
        let now = labels.get(frame).unwrap_or(&none);
        let ended: Vec<&str> = open.keys().copied().filter(|who| !now.contains(*who)).collect();
        for who in ended {
            let start = open.remove(who).unwrap_or(frame);
            turns.push(Turn::new(Nanos(start as i64 * FRAME_NS), Nanos(frame as i64 * FRAME_NS), who));
        }
        for who in now {
            open.entry(who).or_insert(frame);
        }
    }
    turns
}

/// All that is measured of one recording. Arrays are the views in their order: first, later, last.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name of the recording.
    pub name: String,
    /// Length in seconds.
    pub duration_s: f64,
    /// Scores with collar 0.
    pub strict: [FileScore; 3],
    /// Scores with collar 0.25 s.
    pub collared: [FileScore; 3],
    /// Speakers too many, or too few if negative, in the labels that stand when the stream ends, before the last pass:
    /// what a listener sees then. The view *5 s later* counts everybody whom it ever showed.
    pub standing_count_error: i64,
    /// Revision events before the last pass.
    pub n_revisions: usize,
    /// For each reference speaker with a label of their own at the end: seconds of audio from their first speech
    /// until that label was emitted for it.
    pub label_delays_s: Vec<f64>,
    /// Whether people kept their labels.
    pub returns: Returns,
    /// How right the labels of others are, in the order in which they were asked for.
    pub peers: Vec<PeerScore>,
}

/// Measures the events of one recording against its reference; peers are for the caller to add.
#[must_use]
pub fn measure(name: &str, events: &[ScoredEvent], reference: &Reference, duration_s: f64) -> Measured {
    let Reference { turns: reference, uem } = reference;
    let views = views(events, duration_s);
    let scores = |params| {
        [&views.first, &views.later, &views.last]
            .map(|view| score_recording(reference, view, uem.as_deref(), params))
    };
    let strict = scores(DerParams::STRICT);
    let standing = score_recording(reference, &standing(events), uem.as_deref(), DerParams::STRICT);
    Measured {
        name: name.to_owned(),
        duration_s,
        standing_count_error: standing.speaker_count_error(),
        n_revisions: events
            .iter()
            .filter(|e| matches!(e.kind, Kind::Revision { is_final_pass: false, .. }))
            .count(),
        label_delays_s: label_delays(events, reference, &strict[2].mapping),
        returns: returns::returns(events, reference, &views.later),
        collared: scores(collared()),
        strict,
        peers: Vec::new(),
    }
}

/// See [`Measured::label_delays_s`]; `mapping` is (hypothesis, reference).
fn label_delays(events: &[ScoredEvent], reference: &[Turn], mapping: &[(String, String)]) -> Vec<f64> {
    let delay = |(label, speaker): &(String, String)| {
        let own: Vec<Span> = reference.iter().filter(|t| t.speaker == *speaker).map(|t| t.span).collect();
        let first = own.iter().map(|span| span.start).min()?;
        let says = |event: &&ScoredEvent| match &event.kind {
            Kind::Segment { speech, speaker, .. } if speaker == label => {
                let span =
                    |(start, end): &Part| Span::new(Nanos::from_seconds(*start), Nanos::from_seconds(*end));
                speech.iter().map(span).any(|span| own.iter().any(|own| !own.intersection(&span).is_empty()))
            }
            // A speaker who is split off later gets the label by a revision.
            Kind::Revision { changes, .. } => changes.iter().any(|(_, to)| to == label),
            _ => false,
        };
        Some((events.iter().find(says)?.at_s - first.seconds()).max(0.0))
    };
    mapping.iter().filter_map(delay).collect()
}

/// The labels as they stand before the last pass.
fn standing(events: &[ScoredEvent]) -> Vec<Turn> {
    let is_last_pass =
        |event: &&ScoredEvent| matches!(event.kind, Kind::Revision { is_final_pass: true, .. });
    turns_after(events.iter().take_while(|event| !is_last_pass(event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn turn(start: f64, end: f64, who: &str) -> Turn {
        Turn::new(Nanos::from_seconds(start), Nanos::from_seconds(end), who)
    }

    const EVENTS: &str = r#"
        {"file":"x","at":0.5,"type":"speaker","id":"S1","first_s":0.0}
        {"file":"x","at":1.0,"type":"segment","id":1,"start":0.0,"end":1.0,"speaker":"S1"}
        {"file":"x","at":2.0,"type":"segment","id":1,"start":0.0,"end":2.0,"speaker":"S1"}
        {"file":"x","at":4.0,"type":"segment","id":2,"start":2.0,"end":4.0,"speaker":"S1"}
        {"file":"x","at":6.0,"type":"revision","changes":[{"id":2,"from":"S1","to":"S2"}],"reason":"split"}
        {"file":"x","at":20.0,"type":"revision","changes":[{"id":1,"from":"S1","to":"S3"}],"reason":"final_pass"}
    "#;

    #[test]
    fn the_views_show_what_was_known_when() {
        let events = parse_events(EVENTS).unwrap();
        assert_eq!(events.len(), 5);
        let views = views(&events, 20.0);
        // What segment 2 says of 2.0 to 2.8 s came more than 1.2 s late.
        assert_eq!(views.first, [turn(0.0, 2.0, "S1"), turn(2.8, 4.0, "S1")]);
        let mut later = views.later;
        later.sort_by_key(|t| t.span.start);
        assert_eq!(later, [turn(0.0, 2.0, "S1"), turn(2.0, 4.0, "S2")]);
        assert_eq!(views.last, [turn(0.0, 2.0, "S3"), turn(2.0, 4.0, "S2")]);
    }

    #[test]
    fn the_first_label_of_a_moment_stays_its_first() {
        let first = |lines: &[&str]| {
            let text: String = lines.iter().map(|l| format!("{{\"file\":\"x\",{l}}}\n")).collect();
            let mut turns = views(&parse_events(&text).unwrap(), 5.0).first;
            turns.sort_by(|a, b| (a.span.start, &a.speaker).cmp(&(b.span.start, &b.speaker)));
            turns
        };
        let opens = r#""at":2.0,"type":"segment","id":1,"start":0.8,"end":2.0,"speaker":"S1""#;
        // A boundary that moves back: the last half second had S1's label first.
        let moved = [
            opens,
            r#""at":2.5,"type":"segment","id":1,"start":0.8,"end":1.5,"speaker":"S1""#,
            r#""at":2.5,"type":"segment","id":2,"start":1.5,"end":2.5,"speaker":"S2""#,
        ];
        assert_eq!(first(&moved), [turn(0.8, 2.0, "S1"), turn(2.0, 2.5, "S2")]);
        // A second voice beside the first.
        let beside = [opens, r#""at":2.5,"type":"segment","id":2,"start":1.5,"end":2.0,"speaker":"S2""#];
        assert_eq!(first(&beside), [turn(0.8, 2.0, "S1"), turn(1.5, 2.0, "S2")]);
        // The same segment under another label changes nothing of the first labels.
        let renamed = [
            opens,
            r#""at":2.2,"type":"revision","changes":[{"id":1,"from":"S1","to":"S2"}],"reason":"reassign""#,
            r#""at":2.5,"type":"segment","id":1,"start":0.8,"end":2.5,"speaker":"S2""#,
        ];
        assert_eq!(first(&renamed), [turn(0.8, 2.0, "S1"), turn(2.0, 2.5, "S2")]);
    }

    #[test]
    fn a_recording_is_measured_in_all_respects() {
        let turns = vec![turn(0.0, 2.0, "A"), turn(2.0, 4.0, "B"), turn(100.0, 101.0, "A")];
        let reference = Reference { turns, uem: None };
        let text = format!(
            "{EVENTS}\n{}",
            r#"{"file":"x","at":101.0,"type":"segment","id":9,"start":100.0,"end":101.0,"speaker":"S1"}"#
        );
        let measured = measure("x", &parse_events(&text).unwrap(), &reference, 101.0);
        assert_eq!(measured.n_revisions, 1);
        assert_eq!(measured.returns, Returns::default(), "two seconds are too little to be known by");
        // First labels: 0.8 s missed, 1.2 s of B called S1.
        assert_eq!(measured.strict[0].der.missed, Nanos::from_seconds(0.8));
        assert_eq!(measured.strict[0].der.confusion, Nanos::from_seconds(1.2));
        assert_eq!(measured.strict[1].der.rate(), 0.0);
        // At the end A is S3 before and S1 after.
        assert_eq!(measured.strict[2].der.confusion, Nanos::from_seconds(1.0));
        assert_eq!(measured.strict[2].speaker_count_error(), 1);
        assert_eq!(measured.standing_count_error, 0, "S1 and S2 before the last pass makes an S3");
        assert_eq!(measured.label_delays_s.len(), 2);
    }

    #[test]
    fn lines_that_are_no_events_are_named() {
        let error = |text: &str| format!("{:#}", parse_events(text).unwrap_err());
        assert_eq!(
            error("{\"at\":1,\"type\":\"segment\",\"id\":1}"),
            "line 1 of the events: no number `start`"
        );
        let back = "{\"at\":2,\"type\":\"segment_removed\",\"id\":1}\n{\"at\":1,\"type\":\"segment_removed\",\"id\":1}";
        assert_eq!(error(back), "the events' `at` goes backwards");
    }
}
