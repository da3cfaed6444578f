//! RTTM and UEM: what is accepted, what is refused and with which words, and the round trip.

use proptest::prelude::*;

use super::*;

#[test]
fn a_meeting_line_is_read_to_the_nanosecond() {
    let text = "SPEAKER ES2003a 1 13.24 3.570000001 <NA> <NA> Zoë <NA> <NA>\n";
    let turns = parse_rttm("x.rttm", text.as_bytes()).unwrap();
    assert_eq!(turns.len(), 1);
    assert_eq!(turns[0].start, Nanos(13_240_000_000));
    assert_eq!(turns[0].duration, Nanos(3_570_000_001));
    assert_eq!(turns[0].end(), Nanos(16_810_000_001));
    assert_eq!((turns[0].recording.as_str(), turns[0].speaker.as_str()), ("ES2003a", "Zoë"));
    assert_eq!(turns[0].confidence, None);
}

#[test]
fn comments_blank_lines_other_types_and_nine_fields_are_accepted() {
    let text = "\u{feff};; a comment\r\n\r\nSPKR-INFO f 1 <NA> <NA> <NA> unknown A <NA> <NA>\r\n\
                SPEAKER f 1 0 1 <NA> <NA> A 0.5\r\n  ; indented comment\nLEXEME f 1 0 1 word lex A <NA>\n";
    let turns = parse_rttm("x", text.as_bytes()).unwrap();
    assert_eq!(turns.len(), 1);
    assert_eq!(turns[0].confidence, Some(0.5));
}

#[test]
fn bad_lines_are_named_by_file_and_line() {
    let line = |bytes: &[u8]| parse_rttm("dir/x.rttm", bytes).unwrap_err().to_string();
    assert_eq!(
        line(b"SPEAKER f 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER f 1 0 one <NA> <NA> A <NA> <NA>\n"),
        "dir/x.rttm:2: time \"one\" is not a number of seconds from 0 to 1000000000"
    );
    assert_eq!(line(b"\n\nSPEAKER f 1 0 1 A\n"), "dir/x.rttm:3: 6 fields, expected 9 or 10");
    assert_eq!(
        line(b"SPEAKERS f 1 0 1 <NA> <NA> A <NA> <NA>"),
        "dir/x.rttm:1: \"SPEAKERS\" is not an RTTM object type such as SPEAKER"
    );
    assert_eq!(line(b"SPEAKER f 1 0 1 <NA> <NA> \xff <NA> <NA>"), "dir/x.rttm:1: the line is not UTF-8");
    assert_eq!(
        line(b"SPEAKER f 1 0 1 <NA> <NA> A high <NA>"),
        "dir/x.rttm:1: confidence \"high\" is neither a finite number nor <NA>"
    );
    for time in ["-1", "nan", "inf", "<NA>", ".", "1,5", "1e300", "10000000000", "0x10", "--1", "infinity"] {
        let text = format!("SPEAKER f 1 {time} 1 <NA> <NA> A <NA> <NA>");
        let error = parse_rttm("x", text.as_bytes()).unwrap_err();
        assert_eq!(error.fault, LineFault::Time { got: time.to_owned() });
    }
}

#[test]
fn times_are_exact_where_the_text_is() {
    for (text, nanos) in [
        ("0.1", 100_000_000),
        (".5", 500_000_000),
        ("7.", 7_000_000_000),
        ("0.0000000004", 0),
        ("0.0000000005", 1),
        ("0.9999999996", 1_000_000_000),
        ("1e-05", 10_000),
        ("1000000000", MAX_TIME.0),
    ] {
        assert_eq!(text.parse::<Nanos>(), Ok(Nanos(nanos)), "{text}");
    }
    assert_eq!(Nanos::from(SampleIndex(1)), Nanos(62_500));
    assert_eq!(Nanos(62_500).to_string(), "0.0000625");
    assert_eq!(Nanos(3_000_000_000).to_string(), "3.000");
    assert_eq!(Nanos(-1_500_000_000).to_string(), "-1.500");
}

#[test]
fn uem_regions_are_read_and_empty_ones_refused() {
    let regions = parse_uem("u", b";; c\namiA 1 0.000 120.000\n").unwrap();
    assert_eq!(
        regions,
        [UemRegion {
            recording: "amiA".into(),
            channel: "1".into(),
            start: Nanos::ZERO,
            end: Nanos(120_000_000_000)
        }]
    );
    assert_eq!(
        parse_uem("u.uem", b"amiA 1 5 5\n").unwrap_err().to_string(),
        "u.uem:1: the region's end (5.000) must be after its start (5.000)"
    );
    assert_eq!(parse_uem("u", b"amiA 1 5\n").unwrap_err().to_string(), "u:1: 3 fields, expected 4");
}

#[test]
fn names_that_are_no_field_are_made_one() {
    assert_eq!(field("Ann Lee"), "Ann_Lee");
    assert_eq!(field(" \t"), "<NA>");
    assert_eq!(field("Åsa\u{a0}Öst\n"), "Åsa_Öst");
    assert_eq!(field("名前"), "名前");
}

fn turn() -> impl Strategy<Value = SpeakerTurn> {
    let name = "[^\\s\\p{C}]{1,12}";
    let confidence = proptest::option::of(-1.0e3f32..1.0e3);
    (name, "[0-9A-Z]{1,3}", 0..=MAX_TIME.0, 0..=MAX_TIME.0, name, confidence).prop_map(
        |(recording, channel, start, duration, speaker, confidence)| SpeakerTurn {
            recording,
            channel,
            start: Nanos(start),
            duration: Nanos(duration),
            speaker,
            confidence,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(turns in proptest::collection::vec(turn(), 0..20)) {
        let text = write_rttm(&turns);
        prop_assert_eq!(parse_rttm("x", text.as_bytes()).unwrap(), turns);
    }

    #[test]
    fn any_name_is_written_as_a_line_that_is_read_back(name in "\\PC*|[\\s\\x00-\\x20a]*", mut turn in turn()) {
        turn.speaker = name;
        let read = parse_rttm("x", format!("{turn}\n").as_bytes()).unwrap();
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(&read[0].speaker, &field(&turn.speaker));
        prop_assert_eq!(read[0].start, turn.start);
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_rttm("x", &bytes);
        let _ = parse_uem("x", &bytes);
    }

    #[test]
    fn no_fields_make_the_parsers_panic(
        fields in proptest::collection::vec("SPEAKER|<NA>|;|[0-9.eE+-]{0,24}|\\PC{0,4}", 0..24)
    ) {
        let text = fields.join(" ");
        let _ = parse_rttm("x", text.as_bytes());
        let _ = parse_uem("x", text.as_bytes());
    }
}
