//! Every format on one small session, and what must hold for all sessions.

use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::events::{SegmentId, SpokenBy, Word, WordId};
use diarized_models::rttm::parse_rttm;
use diarized_models::{Event, Segment, SessionState, SpeakerId, SpeakerInfo};
use proptest::prelude::*;

use super::*;

fn segment(id: u64, start_ms: u64, end_ms: u64, speaker: u32, confidence: f32) -> Event {
    let range = SampleRange::new(SampleIndex(start_ms * 16), SampleIndex(end_ms * 16));
    Event::Segment(Segment {
        id: SegmentId(id),
        range,
        speech: vec![range],
        speaker: SpeakerId(speaker),
        confidence,
        is_final: true,
        overlap: id == 3,
        snr_db: (id == 1).then_some(17.345),
        c50_db: (id == 1).then_some(8.06),
    })
}

fn speaker(id: u32, name: Option<&str>) -> Event {
    let info = SpeakerInfo::new(SpeakerId(id), SampleIndex::ZERO);
    Event::Speaker(SpeakerInfo { name: name.map(str::to_owned), ..info })
}

fn state(events: &[Event]) -> SessionState {
    let mut state = SessionState::new();
    for event in events {
        state.apply(event).unwrap();
    }
    state
}

/// Anna, a short pause, Anna, S2 into whom Anna speaks, and an empty segment.
fn small() -> SessionState {
    state(&[
        speaker(1, Some("Anna <b> Li")),
        speaker(2, None),
        segment(1, 500, 2000, 1, 0.9),
        segment(2, 2250, 2750, 1, 0.5),
        segment(3, 3_600_125, 3_602_000, 2, 0.99996),
        segment(4, 3_601_000, 3_601_500, 1, 1.0),
        segment(5, 10, 10, 2, 1.0),
    ])
}

fn render(state: &SessionState, format: OutputFormat) -> String {
    Labels { recording: "board room", state, duration_s: 3700.04 }.render(format)
}

#[test]
fn rttm_reads_back_as_the_segments() {
    let text = render(&small(), OutputFormat::Rttm);
    assert_eq!(
        text.lines().next().unwrap(),
        "SPEAKER board_room 1 0.500 1.500 <NA> <NA> Anna_<b>_Li 0.9 <NA>"
    );
    let turns = parse_rttm("test", text.as_bytes()).unwrap();
    let speakers: Vec<&str> = turns.iter().map(|turn| turn.speaker.as_str()).collect();
    assert_eq!(speakers, ["Anna_<b>_Li", "Anna_<b>_Li", "S2", "Anna_<b>_Li"]);
    assert_eq!((turns[2].start.seconds(), turns[2].end().seconds()), (3600.125, 3602.0));
}

#[test]
fn json_lines_hold_every_field_that_is_known() {
    let text = render(&small(), OutputFormat::Json);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        text.lines().next().unwrap(),
        r#"{"file":"board room","id":1,"start":0.5,"end":2.0,"speaker":"S1","name":"Anna <b> Li","confidence":0.9,"snr_db":17.3,"c50_db":8.1}"#
    );
    let third = serde_json::json!({"file": "board room", "id": 3, "start": 3600.125, "end": 3602.0, "speaker": "S2",
        "confidence": 1.0, "overlap": true});
    assert_eq!(lines[2], third);
}

#[test]
fn pauses_are_left_out_of_rttm_and_named_in_json() {
    let at = |ms: u64| SampleIndex(ms * 16);
    let Event::Segment(mut paused) = segment(1, 500, 3000, 1, 0.9) else { panic!("a segment") };
    paused.speech = vec![SampleRange::new(at(500), at(1250)), SampleRange::new(at(2000), at(3000))];
    let state = state(&[speaker(1, None), Event::Segment(paused)]);
    let turns = parse_rttm("test", render(&state, OutputFormat::Rttm).as_bytes()).unwrap();
    let turns: Vec<_> = turns.iter().map(|turn| (turn.start.seconds(), turn.end().seconds())).collect();
    assert_eq!(turns, [(0.5, 1.25), (2.0, 3.0)]);
    let json: serde_json::Value = serde_json::from_str(&render(&state, OutputFormat::Json)).unwrap();
    assert_eq!(json["speech"], serde_json::json!([[0.5, 1.25], [2.0, 3.0]]));
    assert!(render(&state, OutputFormat::Srt).contains("00:00:00,500 --> 00:00:03,000"));
}

#[test]
fn subtitles_have_one_cue_a_turn() {
    assert_eq!(
        render(&small(), OutputFormat::Srt),
        "1\n00:00:00,500 --> 00:00:02,750\nAnna &lt;b&gt; Li:\n\n\
         2\n01:00:00,125 --> 01:00:02,000\nS2:\n\n\
         3\n01:00:01,000 --> 01:00:01,500\nAnna &lt;b&gt; Li:\n\n"
    );
    assert_eq!(
        render(&small(), OutputFormat::Vtt),
        "WEBVTT\n\
         \n00:00:00.500 --> 00:00:02.750\n<v Anna &lt;b&gt; Li>Anna &lt;b&gt; Li:</v>\n\
         \n01:00:00.125 --> 01:00:02.000\n<v S2>S2:</v>\n\
         \n01:00:01.000 --> 01:00:01.500\n<v Anna &lt;b&gt; Li>Anna &lt;b&gt; Li:</v>\n"
    );
}

#[test]
fn words_are_in_subtitles_and_transcripts_with_their_speakers() {
    let mut state = small();
    let word = |(id, start_ms, end_ms, text): (u64, u64, u64, &str), by: Option<(u32, u64)>| Word {
        id: WordId(id),
        range: SampleRange::new(SampleIndex(start_ms * 16), SampleIndex(end_ms * 16)),
        text: text.into(),
        confidence: None,
        is_final: true,
        spoken_by: by.map(|(speaker, segment)| SpokenBy {
            speaker: SpeakerId(speaker),
            segment: SegmentId(segment),
            confidence: 0.9,
        }),
    };
    let words = vec![
        word((1, 600, 900, "well"), Some((1, 1))),
        word((2, 900, 900, ","), Some((1, 1))),
        word((3, 1000, 2600, "<b>no --> yes"), Some((1, 2))),
        word((4, 9000, 9500, "who"), None),
    ];
    state.apply(&Event::Words { words, removed: vec![] }).unwrap();
    assert_eq!(
        render(&state, OutputFormat::Srt),
        "1\n00:00:00,600 --> 00:00:02,600\nAnna &lt;b&gt; Li: well, &lt;b&gt;no --&gt; yes\n\n\
         2\n00:00:09,000 --> 00:00:09,500\nwho\n\n\
         3\n01:00:00,125 --> 01:00:02,000\nS2:\n\n\
         4\n01:00:01,000 --> 01:00:01,500\nAnna &lt;b&gt; Li:\n\n"
    );
    let vtt = render(&state, OutputFormat::Vtt);
    assert!(vtt.contains("\n<v Anna &lt;b&gt; Li>Anna &lt;b&gt; Li: well, &lt;b&gt;no"), "{vtt}");
    let labels = Labels { recording: "board room", state: &state, duration_s: 3700.0 };
    assert_eq!(labels.transcript(), "0:00.6  Anna <b> Li: well, <b>no --> yes\n0:09.0  ?: who\n");
    assert_eq!(render(&state, OutputFormat::Rttm), render(&small(), OutputFormat::Rttm), "RTTM has no words");
    let labels = Labels { state: &small(), ..labels };
    assert_eq!(
        labels.transcript(),
        "0:00.5  Anna <b> Li\n1:00:00.1  S2\n1:00:01.0  Anna <b> Li\n",
        "no words"
    );
}

#[test]
fn people_of_one_name_stay_apart_and_voices_of_one_person_do_not() {
    let voice = |event: Event| {
        let Event::Speaker(info) = event else { panic!("a speaker") };
        let voice = diarized_models::events::VoiceMatch { id: "v1".into(), probability: 0.9 };
        Event::Speaker(SpeakerInfo { voice: Some(voice), ..info })
    };
    let segments = (1..=5).map(|n| segment(n, 5000 * n, 5000 * n + 1000, n as u32, 1.0));
    let shown = |people: Vec<Event>| {
        let state = state(&people.into_iter().chain(segments.clone()).collect::<Vec<_>>());
        let rttm = parse_rttm("test", render(&state, OutputFormat::Rttm).as_bytes()).unwrap();
        let srt = render(&state, OutputFormat::Srt);
        let cues: Vec<_> =
            srt.lines().skip(2).step_by(4).map(|l| l.trim_end_matches(':').to_owned()).collect();
        (rttm.into_iter().map(|turn| turn.speaker).collect::<Vec<_>>(), cues)
    };
    let ann = |id| speaker(id, Some("Ann"));
    // Names that one RTTM field makes one count as one, and a label that somebody has as a name stays another's.
    let people =
        vec![ann(1), ann(2), speaker(3, Some("Bo Li")), speaker(4, Some("Bo\tLi")), speaker(5, Some("S1"))];
    let (rttm, cues) = shown(people);
    assert_eq!(rttm, ["Ann_(S1)", "Ann_(S2)", "Bo_Li_(S3)", "Bo_Li_(S4)", "S1"]);
    assert_eq!(cues, ["Ann (S1)", "Ann (S2)", "Bo Li (S3)", "Bo Li (S4)", "S1"]);
    let people =
        vec![voice(ann(1)), voice(ann(2)), speaker(3, None), speaker(4, Some("S3")), speaker(5, None)];
    let (rttm, _) = shown(people);
    assert_eq!(rttm, ["Ann", "Ann", "S3", "S3_(S4)", "S5"]);
}

#[test]
fn no_name_is_markup_or_ends_a_cue() {
    let name = "<i>A --> B</i> & {c}";
    let state = state(&[speaker(1, Some(name)), segment(1, 0, 1000, 1, 1.0)]);
    for format in [OutputFormat::Srt, OutputFormat::Vtt] {
        let text = render(&state, format);
        assert!(text.contains("&lt;i&gt;A --&gt; B&lt;/i&gt; &amp; {c}:"), "{text}");
        assert_eq!((text.matches("-->").count(), text.matches("<i>").count()), (1, 0), "{text}");
    }
}

#[test]
fn the_table_tells_turns_and_totals() {
    let expected = "\
board room  1:01:40.0, 2 speakers

     start         end   speech   sure  speaker
    0:00.5      0:02.8    2.0 s   80 %  Anna <b> Li
 1:00:00.1   1:00:02.0    1.9 s  100 %  S2
 1:00:01.0   1:00:01.5    0.5 s  100 %  Anna <b> Li

Anna <b> Li       2.5 s   57.1 %  2 turns
        S2       1.9 s   42.9 %  1 turn
";
    assert_eq!(render(&small(), OutputFormat::Table), expected);
}

#[test]
fn a_session_without_speech_has_a_form_in_every_format() {
    let empty = SessionState::new();
    assert_eq!(render(&empty, OutputFormat::Rttm), "");
    assert_eq!(render(&empty, OutputFormat::Json), "");
    assert_eq!(render(&empty, OutputFormat::Srt), "");
    assert_eq!(render(&empty, OutputFormat::Vtt), "WEBVTT\n");
    assert_eq!(render(&empty, OutputFormat::Table), "board room  1:01:40.0, no speech\n");
}

proptest! {
    #[test]
    fn turns_keep_all_speech_and_never_join_two_speakers(
        pieces in proptest::collection::vec((0..40_u64, 0..6_u64, 1..4_u32), 0..30),
    ) {
        let mut events: Vec<Event> = (1..4).map(|id| speaker(id, None)).collect();
        for (id, (start, length, who)) in pieces.iter().enumerate() {
            events.push(segment(id as u64, start * 250, (start + length) * 250, *who, 0.5));
        }
        let state = state(&events);
        let turns = turns(&state);
        let n_speech: u64 = state.segments().map(|segment| segment.range.len()).sum();
        prop_assert_eq!(turns.iter().map(|turn| turn.n_speech_samples).sum::<u64>(), n_speech);
        prop_assert!(turns.is_sorted_by_key(|turn| turn.range.start()));
        for segment in state.segments().filter(|segment| !segment.range.is_empty()) {
            let holds = |turn: &&Turn| {
                turn.speaker == segment.speaker && turn.range.intersection(&segment.range) == Some(segment.range)
            };
            prop_assert!(turns.iter().any(|turn| holds(&turn)), "{:?} is in no turn of its speaker", segment);
        }
        for format in [OutputFormat::Rttm, OutputFormat::Json, OutputFormat::Srt, OutputFormat::Vtt, OutputFormat::Table] {
            render(&state, format);
        }
    }
}
