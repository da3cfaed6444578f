//! Names by voiceprint, a person's word over them, and splits that clustering does not undo.

use std::sync::Arc;

use super::*;
use crate::corrections::Restoration;
use crate::events::Change;
use crate::voiceprint::{
    Gallery, KnownVoice, MatchRules, ModelId, Print, PrintCalibration, PrintCalibrations, Recording,
};

/// A card whose calibration fits the synthetic voices: cosines of means about 0.95 within one, about 0 between two.
fn people_card() -> ModelCard {
    let mut card = card();
    let cell = PrintCalibration { enrol_s: 10.0, test_s: 10.0, scale: 25.0, offset: -12.0 };
    card.print_calibrations = PrintCalibrations::try_new(&[cell]).unwrap();
    card
}

/// Everybody of `voices`, by the names `P0`, `P1`, ….
fn gallery(voices: &[usize]) -> Arc<Gallery> {
    let card = people_card();
    let mut gallery = Gallery::new(&card, MatchRules { min_speech_s: 2.0, ..MatchRules::default() });
    for &voice in voices {
        let embedding = Embedding::from_raw(&direction(voice)).unwrap();
        let recording = Recording { embedding, seconds: 30.0, weight: 1.0 };
        let print = Print::try_new(ModelId::of(&card), vec![recording]).unwrap();
        let (id, name) = (Arc::from(format!("v{voice}")), Arc::from(format!("P{voice}")));
        gallery.add(KnownVoice { id, name, print }).unwrap();
    }
    Arc::new(gallery)
}

struct Live {
    diarizer: Diarizer,
    script: Script,
    samples: Vec<f32>,
    n_pushed: usize,
    replayed: SessionState,
}

impl Live {
    fn start(script: Script, known: &[usize]) -> Self {
        let end_s = script.last().map_or(0.0, |turn| turn.1) + 1.0;
        let samples = audio(&script, end_s);
        let params = DiarizerParams::try_new(options()).unwrap();
        let mut diarizer = Diarizer::new(params, &people_card());
        diarizer.set_gallery(gallery(known));
        Self { diarizer, script, samples, n_pushed: 0, replayed: SessionState::new() }
    }

    /// Pushes the audio up to `seconds`, or all of it and the end.
    fn hear(&mut self, seconds: f64) {
        let end = ((seconds * 16_000.0) as usize).min(self.samples.len());
        let block = self.samples[self.n_pushed..end].to_vec();
        self.n_pushed = end;
        self.diarizer.push(&block).unwrap();
        if end == self.samples.len() {
            self.diarizer.finish();
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(request) = self.diarizer.poll_work() {
            let embedding = embedding(&self.script, request.range);
            self.diarizer.provide(request.id, Ok(embedding)).unwrap();
        }
        while let Some(emitted) = self.diarizer.poll_event() {
            self.replayed.apply(&emitted.event).unwrap();
        }
        assert_eq!(&self.replayed, self.diarizer.state(), "the events tell the state");
    }

    /// Label and name of the segment in the middle of turn `n`.
    fn who(&self, n: usize) -> (SpeakerId, Option<String>) {
        let (start, end, _) = self.script[n];
        let middle = SampleIndex::from_seconds((start + end) / 2.0);
        let state = self.diarizer.state();
        let segment = state.segments().find(|s| s.range.start() <= middle && middle < s.range.end());
        let speaker = segment.unwrap_or_else(|| panic!("turn {n} has a label")).speaker;
        (speaker, state.speaker(speaker).unwrap().name.clone())
    }

    fn segments_of(&self, speaker: SpeakerId) -> Vec<SegmentId> {
        self.diarizer.state().segments().filter(|s| s.speaker == speaker).map(|s| s.id).collect()
    }
}

fn talk(turns: &[(usize, f64)]) -> Script {
    let mut at = 0.5;
    let mut script = Vec::new();
    for &(voice, length) in turns {
        script.push((at, at + length, voice));
        at += length + 0.8;
    }
    script
}

const TALK: [(usize, f64); 6] = [(0, 5.0), (1, 5.0), (2, 5.0), (0, 4.0), (1, 4.0), (2, 4.0)];

#[test]
fn known_voices_get_their_names_and_a_stranger_does_not() {
    let mut live = Live::start(talk(&TALK), &[0, 1, 7]);
    live.hear(f64::INFINITY);
    for n in 0..6 {
        let expected = [Some("P0"), Some("P1"), None][TALK[n].0];
        assert_eq!(live.who(n).1.as_deref(), expected, "turn {n}");
    }
    let named: Vec<_> = live.diarizer.state().speakers().filter_map(|s| s.voice.clone()).collect();
    assert!(named.iter().all(|v| v.probability >= 0.8) && named.len() == 2, "{named:?}");
}

#[test]
fn a_name_comes_while_the_stream_runs_and_goes_with_its_voiceprint() {
    let mut live = Live::start(talk(&TALK), &[]);
    live.hear(12.0);
    let (speaker, name) = live.who(0);
    assert_eq!(name, None);
    live.diarizer.set_gallery(gallery(&[0]));
    live.settle();
    assert_eq!(live.who(0), (speaker, Some("P0".to_owned())), "enrolled in the middle of the session");
    live.diarizer.set_gallery(gallery(&[]));
    live.settle();
    assert_eq!(live.who(0), (speaker, None), "deleted in the middle of the session");
    let voice = live.diarizer.voice_of(speaker).unwrap();
    let like = |other: usize| voice.embedding.cosine(&Embedding::from_raw(&direction(other)).unwrap());
    assert!(voice.speech_s >= 2.0, "{}", voice.speech_s);
    assert!(like(0) > 0.6 && like(0) > like(1) + 0.3, "{} {}", like(0), like(1));
    assert!(live.diarizer.voice_of(SpeakerId(99)).is_none());
}

#[test]
fn the_word_of_a_person_wins_over_recognition() {
    let mut live = Live::start(talk(&TALK), &[0, 1]);
    live.hear(12.0);
    let (first, second) = (live.who(0).0, live.who(1).0);
    live.diarizer.rename(first, "Zoe").unwrap();
    // An empty name says that it is nobody known.
    live.diarizer.rename(second, "").unwrap();
    live.hear(f64::INFINITY);
    assert_eq!(live.who(3).1.as_deref(), Some("Zoe"));
    assert_eq!(live.who(4).1, None);
    let named = live.diarizer.state().speaker(live.who(3).0).unwrap();
    assert_eq!(named.voice, None, "the name is a person's, not a voiceprint's");

    let mut live = Live::start(talk(&TALK), &[0]);
    live.hear(f64::INFINITY);
    let stranger = live.who(2).0;
    live.diarizer.set_voice(stranger, "v2", "Cem").unwrap();
    live.settle();
    let voice = live.diarizer.state().speaker(stranger).unwrap().voice.clone().unwrap();
    assert_eq!((&*voice.id, voice.probability, live.who(5).1.as_deref()), ("v2", 1.0, Some("Cem")));
}

#[test]
fn what_a_person_said_outlives_a_merger() {
    let mut live = Live::start(talk(&TALK), &[0, 1]);
    live.hear(f64::INFINITY);
    let (stranger, known) = (live.who(2).0, live.who(0).0);
    live.diarizer.rename(stranger, "Zoe").unwrap();
    live.diarizer.merge(stranger, known).unwrap();
    live.settle();
    assert_eq!(live.who(2), (known, Some("Zoe".to_owned())));
}

/// Voices 0 and 1 merged by hand, then parted again: nothing that follows joins them.
#[test]
fn a_split_survives_every_clustering_that_follows() {
    for name_the_segments in [true, false] {
        let mut live =
            Live::start(talk(&[(0, 5.0), (1, 5.0), (0, 5.0), (1, 5.0), (0, 5.0), (1, 5.0)]), &[0, 1]);
        live.hear(24.0);
        let (one, other) = (live.who(0).0, live.who(1).0);
        assert_ne!(one, other);
        live.diarizer.merge(other, one).unwrap();
        live.settle();
        assert_eq!(live.who(1).0, one);
        let of_other: Vec<SegmentId> = match name_the_segments {
            true => {
                let (start, end, _) = live.script[1];
                let turn = SampleRange::new(SampleIndex::from_seconds(start), SampleIndex::from_seconds(end));
                let state = live.diarizer.state();
                let inside = |s: &&crate::Segment| s.is_final && s.range.intersection(&turn).is_some();
                state.segments().filter(inside).map(|s| s.id).collect()
            }
            false => Vec::new(),
        };
        let new = live.diarizer.split(one, &of_other).unwrap();
        live.settle();
        let parted = |live: &Live, n: usize| live.who(n).0;
        assert_ne!(parted(&live, 0), parted(&live, 1), "named: {name_the_segments}");
        assert!([parted(&live, 0), parted(&live, 1)].contains(&new));
        live.hear(f64::INFINITY);
        assert_ne!(parted(&live, 0), parted(&live, 1), "after the last pass");
        assert_eq!(parted(&live, 4), parted(&live, 0), "later speech goes to whom it sounds like");
        assert_eq!(parted(&live, 5), parted(&live, 1));
        if !name_the_segments {
            assert_eq!(live.who(5).1.as_deref(), Some("P1"), "each half is recognised by itself");
        }
    }
}

/// A merge that is undone leaves two people whom no later clustering joins, with their names.
#[test]
fn a_merge_is_undone_while_the_talk_goes_on() {
    let mut live = Live::start(talk(&[(0, 5.0), (1, 5.0), (0, 5.0), (1, 5.0), (0, 5.0), (1, 5.0)]), &[]);
    live.hear(14.0);
    let (one, other) = (live.who(0).0, live.who(1).0);
    live.diarizer.rename(other, "Bob").unwrap();
    let before = live.diarizer.state().clone();
    live.diarizer.merge(other, one).unwrap();
    live.settle();
    assert_eq!(live.who(1), (one, Some("Bob".to_owned())));
    let moved = before.segments().filter(|s| s.speaker == other);
    let undo = Restoration {
        missing: vec![before.speaker(other).unwrap().clone()],
        named: vec![before.speaker(one).unwrap().clone()],
        changes: moved.map(|s| Change { segment: s.id, from: one, to: other }).collect(),
        merged: None,
    };
    live.diarizer.restore(&undo).unwrap();
    live.settle();
    assert_eq!((live.who(0), live.who(1)), ((one, None), (other, Some("Bob".to_owned()))));
    assert_eq!(live.diarizer.restore(&undo), Err(CorrectionError::Changed), "it is undone already");
    live.hear(f64::INFINITY);
    for n in [2, 4] {
        assert_eq!(live.who(n), (one, None), "turn {n}");
    }
    for n in [3, 5] {
        assert_eq!(live.who(n), (other, Some("Bob".to_owned())), "turn {n}");
    }
    let redo = Restoration { merged: Some((other, one)), ..Restoration::default() };
    live.diarizer.restore(&redo).unwrap();
    live.settle();
    assert!((0..6).all(|n| live.who(n).0 == one));
}

#[test]
fn splits_that_make_no_sense_change_nothing() {
    let mut live = Live::start(talk(&TALK), &[]);
    live.hear(f64::INFINITY);
    let (speaker, other) = (live.who(0).0, live.who(1).0);
    let before = live.diarizer.state().clone();
    let own = live.segments_of(speaker);
    let foreign = live.segments_of(other)[0];
    let no_speaker = SpeakerId(99);
    let mut refused = |speaker, segments: &[SegmentId]| live.diarizer.split(speaker, segments).unwrap_err();
    assert_eq!(refused(no_speaker, &[]), CorrectionError::NoSuchSpeaker(no_speaker));
    assert_eq!(refused(speaker, &[SegmentId(999)]), CorrectionError::NoSuchSegment(SegmentId(999)));
    assert_eq!(
        refused(speaker, &[foreign]),
        CorrectionError::NotOfSpeaker { segment: foreign, speaker: other }
    );
    assert_eq!(refused(speaker, &own), CorrectionError::NothingToSplit(speaker), "nothing would stay");
    live.settle();
    assert_eq!(live.diarizer.state(), &before);
}
