//! What must hold for any words and labels, and examples.

use std::collections::BTreeMap;

use diarized_dsp::{SampleIndex, SampleRange};
use proptest::prelude::*;

use super::*;
use crate::events::{
    Change, Event, RevisionReason, Segment, SegmentId, SessionState, SpeakerId, SpeakerInfo, SpokenBy, WordId,
};

fn range(start_ms: u64, end_ms: u64) -> SampleRange {
    SampleRange::new(SampleIndex(start_ms * 16), SampleIndex(end_ms * 16))
}

fn segment(id: u64, start_ms: u64, end_ms: u64, speaker: u32, confidence: f32) -> Segment {
    Segment {
        id: SegmentId(id),
        range: range(start_ms, end_ms),
        speech: vec![range(start_ms, end_ms)],
        speaker: SpeakerId(speaker),
        confidence,
        is_final: true,
        overlap: false,
        snr_db: None,
        c50_db: None,
    }
}

fn label(id: u64, start_ms: u64, end_ms: u64, speaker: u32, confidence: f32) -> Label {
    (&segment(id, start_ms, end_ms, speaker, confidence)).into()
}

fn word(start_ms: u64, end_ms: u64, text: &str) -> NewWord {
    NewWord { range: range(start_ms, end_ms), text: text.into(), confidence: None }
}

fn by(speaker: u32, segment: u64, confidence: f32) -> Option<SpokenBy> {
    Some(SpokenBy { speaker: SpeakerId(speaker), segment: SegmentId(segment), confidence })
}

#[test]
fn a_word_belongs_to_the_speaker_with_the_most_of_it() {
    let two = &[label(1, 0, 1000, 1, 0.9), label(2, 1000, 2000, 2, 0.9)];
    assert_eq!(attribute(range(200, 400), two), by(1, 1, 0.9));
    assert_eq!(attribute(range(900, 1300), two), by(2, 2, 0.675), "three quarters of it, times 0.9");
    assert_eq!(attribute(range(900, 1100), two), by(1, 1, 0.45), "of equal shares the earlier one");
    assert_eq!(attribute(range(500, 500), two), by(1, 1, 0.9), "a word without length");
    let overlap = &[label(1, 0, 1000, 1, 0.5), label(2, 0, 1000, 2, 1.0)];
    assert_eq!(attribute(range(200, 400), overlap), by(2, 2, 0.5), "both speak, one label is surer");
    let parts = &[label(1, 0, 500, 1, 1.0), label(2, 500, 800, 2, 1.0), label(3, 800, 1000, 1, 1.0)];
    assert_eq!(
        attribute(range(400, 1000), parts),
        by(1, 3, 0.5),
        "two segments of one speaker count together"
    );
    // Speaker 2 answers in a pause of speaker 1.
    let pause = Label { speech: vec![range(0, 400), range(700, 1000)], ..label(1, 0, 1000, 1, 0.9) };
    assert_eq!(attribute(range(450, 600), [&pause]), by(1, 1, 0.9));
    assert_eq!(attribute(range(450, 600), [&pause, &label(2, 450, 650, 2, 0.5)]), by(2, 2, 0.455));
    assert_eq!(attribute(range(350, 650), [&pause, &label(2, 450, 650, 2, 0.5)]), by(2, 2, 0.364));
}

#[test]
fn a_word_beside_speech_belongs_to_the_nearest_and_one_far_away_to_nobody() {
    let one = &[label(1, 1000, 2000, 1, 0.8)];
    assert_eq!(attribute(range(2100, 2300), one), by(1, 1, 0.64));
    assert_eq!(attribute(range(750, 750), one), by(1, 1, 0.4));
    assert_eq!(attribute(range(2500, 2600), one), None);
    assert_eq!(attribute(range(0, 400), one), None);
    assert_eq!(attribute(range(0, 400), &[]), None);
}

#[test]
fn words_are_joined_as_they_are_written() {
    assert_eq!(join(["hello", ",", "there", "!"]), "hello, there!");
    assert_eq!(join(["今日", "は", "。", "OK"]), "今日は。 OK");
    assert_eq!(join([]), "");
}

/// A session: its state, and the book that keeps its words.
#[derive(Default)]
struct Session {
    state: SessionState,
    book: Book,
    n_events: usize,
}

impl Session {
    fn say(&mut self, event: Event) {
        self.state.apply(&event).unwrap();
        for event in self.book.observe(&event) {
            self.n_events += 1;
            self.state.apply(&event).unwrap();
        }
    }

    fn add(&mut self, words: &[NewWord], is_final: bool) {
        for event in self.book.add(words, is_final).unwrap() {
            self.n_events += 1;
            self.state.apply(&event).unwrap();
        }
    }

    fn spoken(&self) -> Vec<(u64, &str, Option<u32>)> {
        let words = self.state.words();
        words.map(|w| (w.id.0, &*w.text, w.spoken_by.map(|by| by.speaker.0))).collect()
    }
}

fn meeting() -> Session {
    let mut session = Session::default();
    for id in 1..=3 {
        session.say(Event::Speaker(SpeakerInfo::new(SpeakerId(id), SampleIndex::ZERO)));
    }
    session
}

#[test]
fn words_may_come_before_and_after_their_labels() {
    let mut session = meeting();
    session.add(&[word(100, 300, "hello"), word(1100, 1300, "you")], true);
    assert_eq!(session.spoken(), [(1, "hello", None), (2, "you", None)]);
    session.say(Event::Segment(segment(1, 0, 1000, 1, 0.9)));
    assert_eq!(session.spoken(), [(1, "hello", Some(1)), (2, "you", Some(1))], "100 ms beside the segment");
    session.say(Event::Segment(segment(2, 1050, 2000, 2, 0.9)));
    assert_eq!(session.spoken(), [(1, "hello", Some(1)), (2, "you", Some(2))]);
    session.add(&[word(1500, 1700, "there")], true);
    assert_eq!(session.spoken()[2], (3, "there", Some(2)));
    let changes = vec![Change { segment: SegmentId(2), from: SpeakerId(2), to: SpeakerId(3) }];
    session.say(Event::Revision { changes, reason: RevisionReason::Split });
    assert_eq!(session.spoken(), [(1, "hello", Some(1)), (2, "you", Some(3)), (3, "there", Some(3))]);
    session.say(Event::SegmentRemoved { id: SegmentId(2) });
    assert_eq!(session.spoken()[2], (3, "there", None));
}

#[test]
fn provisional_words_are_replaced_and_a_repeated_message_does_no_harm() {
    let mut session = meeting();
    session.add(&[word(0, 200, "hell")], false);
    session.add(&[word(0, 200, "hello"), word(200, 400, "their")], false);
    session.add(&[word(0, 200, "hello"), word(200, 400, "there")], true);
    assert_eq!(session.spoken(), [(1, "hello", None), (2, "there", None)]);
    assert!(session.state.words().all(|word| word.is_final));
    session.add(&[word(400, 500, "a"), word(500, 600, "b"), word(600, 700, "c")], false);
    let n_events = session.n_events;
    session.add(&[word(400, 500, "a"), word(500, 600, "b"), word(600, 700, "c")], false);
    assert_eq!(session.n_events, n_events, "nothing changed");
    session.add(&[word(0, 200, "hello"), word(200, 400, "there")], true);
    assert_eq!(
        session.spoken(),
        [(1, "hello", None), (2, "there", None)],
        "held already; the rest is withdrawn"
    );
    session.add(&[word(0, 200, "hello"), word(700, 900, "friend")], true);
    assert_eq!(session.spoken().last(), Some(&(6, "friend", None)), "no id is used again");
}

#[test]
fn a_session_takes_so_many_words_and_no_more() {
    let mut book = Book::default();
    let dense: Vec<_> = (0..501).map(|n| word(0, 100, &n.to_string())).collect();
    assert!(matches!(book.add(&dense, true), Err(Full::Here { .. })));
    assert_eq!(book.add(&dense[..500], true).unwrap().len(), 1);
    assert!(matches!(book.add(&dense[500..], true), Err(Full::Here { .. })));
    for n in 1..100 {
        let words: Vec<_> = (0..1000).map(|k| word(n * 60_000 + k * 40, n * 60_000 + k * 40, "a")).collect();
        assert_eq!(book.add(&words, true).unwrap().len(), 2, "events are cut");
    }
    let more: Vec<_> = (0..501).map(|k| word(6_000_000 + k * 100, 6_000_000 + k * 100, "a")).collect();
    assert_eq!(book.add(&more, true), Err(Full::InAll { held: 99_500 }));
    assert!(book.add(&more[..500], true).is_ok());
    assert_eq!(book.add(&more[500..], true), Err(Full::InAll { held: MAX_WORDS }));
}

#[test]
fn lines_end_where_the_speaker_changes_after_a_pause_and_when_they_are_long() {
    let mut session = meeting();
    session.say(Event::Segment(segment(1, 0, 1000, 1, 0.9)));
    session.say(Event::Segment(segment(2, 1000, 9000, 2, 0.9)));
    let texts = ["one", "two", "three", "four", "five", "six"];
    let starts = [0, 500, 1000, 1500, 4000, 4500];
    let words: Vec<_> =
        starts.iter().zip(texts).map(|(start, text)| word(*start, start + 400, text)).collect();
    session.add(&words, true);
    let shown = |max_pause_ms: u64, max_len_ms: u64, max_chars| {
        let params = LineParams { max_pause: max_pause_ms * 16, max_len: max_len_ms * 16, max_chars };
        let all = lines(&session.state, params);
        all.into_iter().map(|line| (line.speaker.map(|s| s.0), line.text)).collect::<Vec<_>>()
    };
    let line = |speaker, text: &str| (Some(speaker), text.to_owned());
    assert_eq!(shown(1000, 60_000, 1000), [line(1, "one two"), line(2, "three four"), line(2, "five six")]);
    assert_eq!(shown(5000, 60_000, 1000), [line(1, "one two"), line(2, "three four five six")]);
    assert_eq!(shown(5000, 60_000, 12), [line(1, "one two"), line(2, "three four"), line(2, "five six")]);
    assert_eq!(shown(5000, 700, 1000).len(), 6);
}

/// One step of a session.
#[derive(Debug, Clone)]
enum Step {
    Segment { id: u64, start: u64, len: u64, speaker: u32, confidence: f32, is_final: bool },
    Remove(u64),
    Revise { id: u64, to: u32 },
    Words { starts: Vec<(u64, u64)>, is_final: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let times = (0..60_u64, 0..8_u64);
    prop_oneof![
        4 => (0..12_u64, times.clone(), 1..4_u32, 0..=20_u8, any::<bool>()).prop_map(
            |(id, (start, len), speaker, confidence, is_final)| Step::Segment {
                id, start, len, speaker, confidence: f32::from(confidence) / 20.0, is_final,
            }
        ),
        1 => (0..12_u64).prop_map(Step::Remove),
        2 => (0..12_u64, 1..4_u32).prop_map(|(id, to)| Step::Revise { id, to }),
        3 => (proptest::collection::vec(times, 0..6), any::<bool>())
            .prop_map(|(starts, is_final)| Step::Words { starts, is_final }),
    ]
}

impl Step {
    /// Carries the step out, as far as it fits.
    fn take(self, session: &mut Session, n: usize) {
        match self {
            Self::Segment { id, start, len, speaker, confidence, is_final } => {
                let held = session.state.segment(SegmentId(id)).map(|held| held.speaker.0);
                let new = segment(id, start * 250, (start + len) * 250, held.unwrap_or(speaker), confidence);
                session.say(Event::Segment(Segment { is_final, ..new }));
            }
            Self::Remove(id) if session.state.segment(SegmentId(id)).is_some() => {
                session.say(Event::SegmentRemoved { id: SegmentId(id) });
            }
            Self::Revise { id, to } => {
                let Some(from) = session.state.segment(SegmentId(id)).map(|held| held.speaker) else {
                    return;
                };
                let changes = vec![Change { segment: SegmentId(id), from, to: SpeakerId(to) }];
                session.say(Event::Revision { changes, reason: RevisionReason::Reassign });
            }
            Self::Words { starts, is_final } => {
                let words = starts.iter().enumerate();
                let words: Vec<_> = words
                    .map(|(k, (start, len))| word(start * 250, (start + len) * 250, &format!("{n}-{k}")))
                    .collect();
                session.add(&words, is_final);
            }
            Self::Remove(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn words_are_always_attributed_to_the_labels_as_they_stand(steps in proptest::collection::vec(step(), 0..60)) {
        let mut session = meeting();
        for (n, step) in steps.into_iter().enumerate() {
            step.take(&mut session, n);
            let state = &session.state;
            let by_segment: BTreeMap<SegmentId, &Segment> = state.segments().map(|s| (s.id, s)).collect();
            for word in state.words() {
                let Some(by) = word.spoken_by else { continue };
                let held = by_segment.get(&by.segment).expect("the segment of a word is there");
                prop_assert_eq!(held.speaker, by.speaker, "a word has the speaker of its segment");
            }
        }
        // Once all labels are final, the words of a session are a function of its labels.
        let open: Vec<Segment> = session.state.segments().filter(|s| !s.is_final).cloned().collect();
        for segment in open {
            session.say(Event::Segment(Segment { is_final: true, ..segment }));
        }
        let labels: Vec<Label> = session.state.segments().map(Label::from).collect();
        for word in session.state.words() {
            prop_assert_eq!(word.spoken_by, attribute(word.range, &labels), "{:?}", word);
        }
        // A book made of the state goes on like the one that saw everything.
        let mut other = Book::of(&session.state);
        prop_assert_eq!(other.observe(&Event::Words { words: vec![], removed: vec![] }), vec![]);
        let last = session.state.words().map(|word| word.id).max().unwrap_or(WordId(0));
        let event = other.add(&[word(0, 100_000, "last")], true).unwrap();
        let [Event::Words { words, .. }] = &event[..] else { panic!("{event:?}") };
        prop_assert!(words[0].id > last || !session.state.words().all(|w| w.is_final));
    }

    #[test]
    fn the_decision_depends_on_the_labels_in_reach_and_not_on_their_order(
        times in (0..40_u64, 0..8_u64),
        pieces in proptest::collection::vec((0..80_u64, 0..12_u64, 1..4_u32, 0..=20_u8), 0..12),
        turn in 0..12_usize,
    ) {
        let word = range(times.0 * 100, (times.0 + times.1) * 100);
        let mut labels: Vec<Label> = pieces.iter().enumerate()
            .map(|(id, (start, len, who, c))| label(id as u64, start * 100, (start + len) * 100, *who, f32::from(*c) / 20.0))
            .collect();
        let decided = attribute(word, &labels);
        let near = labels.iter().filter(|l| {
            l.range.end().0 + REACH > word.start().0 && l.range.start().0 < word.end().0.max(word.start().0 + 1) + REACH
        });
        prop_assert_eq!(decided, attribute(word, near.collect::<Vec<_>>()));
        if !labels.is_empty() {
            let by = turn % labels.len();
            labels.rotate_left(by);
        }
        prop_assert_eq!(decided, attribute(word, &labels));
        if let Some(by) = decided {
            prop_assert!((0.0..=1.0).contains(&by.confidence));
        }
        // A word inside one person's speech, where nobody else speaks, is that person's.
        if let [only] = &labels[..] && only.range.start() <= word.start() && word.end() < only.range.end() {
            prop_assert_eq!(decided.map(|by| by.speaker), Some(only.speaker));
        }
    }
}
