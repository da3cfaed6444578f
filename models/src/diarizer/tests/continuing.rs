//! A session goes on in another diarizer: the same people keep their labels, ids and speech of before stay.

use super::*;
use crate::diarizer::{Continuation, VoiceMemory, VoiceMemoryError};

/// Three people; two of them speak on both sides of 30 s.
fn script() -> Script {
    vec![(1.0, 8.0, 0), (9.0, 16.0, 1), (17.0, 24.0, 2), (31.0, 38.0, 1), (39.0, 46.0, 0), (47.0, 54.0, 3)]
}

fn diarize(diarizer: &mut Diarizer, script: &Script, samples: &[f32], finishes: bool) -> Vec<TimedEvent> {
    let mut events = Vec::new();
    for block in samples.chunks(1600) {
        diarizer.push(block).unwrap();
        answer(diarizer, script);
        events.extend(std::iter::from_fn(|| diarizer.poll_event()));
    }
    if finishes {
        diarizer.finish();
        answer(diarizer, script);
        events.extend(std::iter::from_fn(|| diarizer.poll_event()));
    }
    events
}

fn answer(diarizer: &mut Diarizer, script: &Script) {
    while let Some(request) = diarizer.poll_work() {
        let embedding = embedding(script, request.range);
        diarizer.provide(request.id, Ok(embedding)).unwrap();
    }
}

fn before(diarizer: &Diarizer, voices: Option<VoiceMemory>) -> Continuation {
    let state = diarizer.state().clone();
    let last_segment = state.segments().map(|s| s.id).max().unwrap();
    let last_speaker = state.speakers().map(|s| s.id).max().unwrap();
    Continuation { at: diarizer.labelled_until(), state, last_segment, last_speaker, voices }
}

fn params_of(options: DiarizerOptions) -> DiarizerParams {
    DiarizerParams::try_new(options).unwrap()
}

fn speaker_at(state: &SessionState, seconds: f64) -> SpeakerId {
    let at = SampleIndex::from_seconds(seconds);
    state.segments().find(|s| s.range.start() <= at && at < s.range.end()).unwrap().speaker
}

#[test]
fn the_same_people_go_on_in_another_diarizer() {
    let (script, audio) = (script(), audio(&script(), 56.0));
    // In the middle of a pause, and in the middle of a turn.
    for stop_s in [27.0, 35.2] {
        let n = (stop_s * 16_000.0) as usize;
        let mut first = Diarizer::new(params_of(options()), &card());
        diarize(&mut first, &script, &audio[..n], false);
        let bytes = first.voice_memory().to_bytes();
        let voices = VoiceMemory::parse(&bytes, &card(), None).unwrap();
        assert_eq!(voices.to_bytes(), bytes);
        let before = before(&first, Some(voices));
        let at = before.at;
        assert!(at.0 <= n as u64 && stop_s - at.seconds() < 4.0, "{} of {stop_s}", at.seconds());
        let mut state = before.state.clone();
        let mut second = Diarizer::continuing(params_of(options()), &card(), before);
        assert_eq!(second.heard(), at);
        let events = diarize(&mut second, &script, &audio[at.0 as usize..], true);
        events.iter().for_each(|timed| state.apply(&timed.event).unwrap());
        assert_eq!(&state, second.state());
        assert!(state.segments().all(|s| s.is_final));
        let speakers = [3.0, 11.0, 20.0, 33.0, 37.0, 42.0, 50.0].map(|s| speaker_at(&state, s));
        let [a, b, c, again_b, still_b, again_a, d] = speakers;
        assert_eq!((again_a, again_b, still_b), (a, b, b), "{speakers:?}");
        assert!(![a, b, c].contains(&d) && a != b && b != c, "{speakers:?}");
        // The speech of before is as it was.
        let old: Vec<_> =
            first.state().segments().filter(|s| s.is_final && s.range.end().seconds() < 25.0).collect();
        assert!(old.len() >= 3);
        for segment in old {
            assert_eq!(state.segment(segment.id).unwrap().speech, segment.speech);
        }
    }
}

#[test]
fn without_voices_people_get_new_labels_and_the_limit_leaves_room_for_them() {
    let (script, audio) = (script(), audio(&script(), 56.0));
    let limited = || params_of(DiarizerOptions { max_speakers: Some(3), ..options() });
    let mut first = Diarizer::new(limited(), &card());
    diarize(&mut first, &script, &audio[..27 * 16_000], false);
    let before = before(&first, None);
    let (at, last) = (before.at, before.last_speaker);
    let mut second = Diarizer::continuing(limited(), &card(), before);
    diarize(&mut second, &script, &audio[at.0 as usize..], true);
    let state = second.state();
    for seconds in [3.0, 11.0, 20.0] {
        assert_eq!(speaker_at(state, seconds), speaker_at(first.state(), seconds));
    }
    let later = [33.0, 42.0, 50.0].map(|s| speaker_at(state, s));
    assert!(later.iter().all(|s| *s > last), "{later:?} after {last}");
    assert!(later[0] != later[1] && later[1] != later[2], "{later:?}");
}

#[test]
fn a_users_names_hold_after_it() {
    let (script, audio) = (script(), audio(&script(), 56.0));
    let mut first = Diarizer::new(params_of(options()), &card());
    diarize(&mut first, &script, &audio[..27 * 16_000], false);
    let (a, b) = (speaker_at(first.state(), 3.0), speaker_at(first.state(), 11.0));
    first.rename(a, "Ann").unwrap();
    first.merge(speaker_at(first.state(), 20.0), b).unwrap();
    let before = before(&first, Some(first.voice_memory()));
    let at = before.at;
    let mut second = Diarizer::continuing(params_of(options()), &card(), before);
    diarize(&mut second, &script, &audio[at.0 as usize..], true);
    let state = second.state();
    assert_eq!(state.speaker(a).unwrap().name.as_deref(), Some("Ann"));
    assert_eq!((speaker_at(state, 11.0), speaker_at(state, 20.0), speaker_at(state, 33.0)), (b, b, b));
}

#[test]
fn bytes_of_others_are_refused() {
    let (script, audio) = (script(), audio(&script(), 20.0));
    let mut diarizer = Diarizer::new(params_of(options()), &card());
    diarize(&mut diarizer, &script, &audio, false);
    let bytes = diarizer.voice_memory().to_bytes();
    let mut later = bytes.clone();
    later[0] = 2;
    assert_eq!(VoiceMemory::parse(&later, &card(), None), Err(VoiceMemoryError::Version { got: 2 }));
    let mut other = card();
    other.onnx_sha256 = "0".repeat(64);
    let fault = VoiceMemory::parse(&bytes, &other, None).unwrap_err();
    assert!(
        matches!(fault, VoiceMemoryError::Model { .. }) && fault.to_string().contains("00000000"),
        "{fault}"
    );
    for n in (0..bytes.len()).step_by(97) {
        let fault = VoiceMemory::parse(&bytes[..n], &card(), None).unwrap_err();
        assert!(matches!(fault, VoiceMemoryError::Damaged { .. }), "{n} bytes: {fault}");
    }
    let longer = [bytes, vec![0]].concat();
    assert!(VoiceMemory::parse(&longer, &card(), None).unwrap_err().to_string().contains("1 bytes follow"));
}
