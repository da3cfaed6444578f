//! What must hold of any score; figures against pyannote.metrics are in the conformance tests.

use proptest::prelude::*;

use super::*;

fn turns(list: &[(f64, f64, &str)]) -> Vec<Turn> {
    let at = Nanos::from_seconds;
    list.iter().map(|(start, end, who)| Turn::new(at(*start), at(*end), *who)).collect()
}

fn percent(reference: &[Turn], hypothesis: &[Turn], params: DerParams) -> f64 {
    score_recording(reference, hypothesis, None, params).der.rate() * 100.0
}

#[test]
fn the_parts_of_a_small_case_are_as_counted_by_hand() {
    let reference = turns(&[(0.0, 10.0, "A"), (10.0, 14.0, "B")]);
    let hypothesis = turns(&[(1.0, 12.0, "x"), (12.0, 15.0, "y")]);
    let score = score_recording(&reference, &hypothesis, None, DerParams::STRICT);
    let seconds = |part: Nanos| part.seconds();
    assert_eq!(seconds(score.der.total), 14.0);
    assert_eq!(seconds(score.der.missed), 1.0);
    assert_eq!(seconds(score.der.false_alarm), 1.0);
    assert_eq!(seconds(score.der.confusion), 2.0);
    assert_eq!(seconds(score.der.correct), 11.0);
    // A: 1 − 9/12, B: 1 − 2/5.
    assert!((score.jer.rate() - (0.25 + 0.6) / 2.0).abs() < 1e-12);
    assert_eq!(score.mapping, [("x".to_owned(), "A".to_owned()), ("y".to_owned(), "B".to_owned())]);
    assert_eq!(score.speaker_count_error(), 0);
}

#[test]
fn the_collar_is_counted_on_each_side_of_a_boundary() {
    let reference = turns(&[(0.0, 10.0, "A")]);
    let hypothesis = turns(&[(0.2, 9.7, "x")]);
    let params = DerParams::try_new(0.25, false).unwrap();
    let score = score_recording(&reference, &hypothesis, None, params);
    assert_eq!(score.der.total, Nanos::from_seconds(9.5));
    assert_eq!(score.der.missed, Nanos::from_seconds(0.05));
}

#[test]
fn the_mapping_is_the_best_one_not_the_greedy_one() {
    // Greedy would take x → A (5 s) and leave y, which only spoke with A, unmapped: 5 s right instead of 8.
    let reference = turns(&[(0.0, 9.0, "A"), (9.0, 13.0, "B")]);
    let hypothesis = turns(&[(0.0, 5.0, "x"), (5.0, 9.0, "y"), (9.0, 13.0, "x")]);
    let score = score_recording(&reference, &hypothesis, None, DerParams::STRICT);
    assert_eq!(score.der.correct, Nanos::from_seconds(8.0));
}

#[test]
fn one_reference_speaker_too_many_on_either_side_is_mapped_all_the_same() {
    let two = turns(&[(0.0, 4.0, "A"), (4.0, 6.0, "B")]);
    let one = turns(&[(0.0, 6.0, "x")]);
    let rate = |r: &[Turn], h: &[Turn]| percent(r, h, DerParams::STRICT);
    assert!((rate(&two, &one) - 100.0 * 2.0 / 6.0).abs() < 1e-9);
    assert!((rate(&one, &two) - 100.0 * 2.0 / 6.0).abs() < 1e-9);
}

#[test]
fn empty_sides_have_defined_rates() {
    let some = turns(&[(0.0, 4.0, "A")]);
    assert_eq!(percent(&some, &[], DerParams::STRICT), 100.0);
    assert_eq!(percent(&[], &some, DerParams::STRICT), 100.0);
    assert_eq!(percent(&[], &[], DerParams::STRICT), 0.0);
}

#[test]
fn collars_that_are_no_length_are_refused() {
    for collar in [-0.1, f64::NAN, f64::INFINITY, 61.0] {
        assert!(matches!(DerParams::try_new(collar, false), Err(DerParamsError::Collar { .. })));
    }
}

#[test]
fn totals_weigh_by_time_and_count_speakers() {
    let long = turns(&[(0.0, 90.0, "A")]);
    let short = turns(&[(0.0, 10.0, "A")]);
    let wrong_count = turns(&[(0.0, 5.0, "x"), (5.0, 10.0, "y")]);
    let files = [
        score_recording(&long, &long, None, DerParams::STRICT),
        score_recording(&short, &wrong_count, None, DerParams::STRICT),
    ];
    let total: TotalScore = files.iter().collect();
    assert!((total.der.rate() - 0.05).abs() < 1e-12);
    assert_eq!((total.n_recordings, total.n_exact_counts, total.count_error_sum), (2, 1, 1));
    assert!((total.mean_count_error() - 0.5).abs() < 1e-12);
}

fn some_turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0i64..60_000, 0i64..8_000, 0usize..5).prop_map(|(start, len, who)| {
        let ms = |n: i64| Nanos(n * 1_000_000);
        Turn::new(ms(start), ms(start + len), ["A", "B", "C", "D", "E"][who])
    });
    proptest::collection::vec(turn, 0..30)
}

/// Parameters and a set of regions.
fn some_settings() -> impl Strategy<Value = (DerParams, Option<Vec<Span>>)> {
    let region = (0i64..60_000, 0i64..30_000)
        .prop_map(|(start, len)| Span::new(Nanos(start * 1_000_000), Nanos((start + len) * 1_000_000)));
    let uem = proptest::option::of(proptest::collection::vec(region, 0..4));
    (prop::sample::select(vec![0.0, 0.1, 0.25]), any::<bool>(), uem)
        .prop_map(|(collar, skip, uem)| (DerParams::try_new(collar, skip).unwrap(), uem))
}

/// The same turns with every speaker's overlapping and touching ones joined.
fn joined(turns: &[Turn]) -> Vec<Turn> {
    let names: BTreeSet<&str> = turns.iter().map(|turn| turn.speaker.as_str()).collect();
    let spans_of = |name: &str| union(turns.iter().filter(|t| t.speaker == name).map(|t| t.span).collect());
    let turn = |name: &str, span: Span| Turn { span, speaker: name.to_owned() };
    names.iter().flat_map(|name| spans_of(name).into_iter().map(|span| turn(name, span))).collect()
}

proptest! {
    #[test]
    fn labels_equal_to_the_reference_have_no_error(
        turns in some_turns(), (params, uem) in some_settings(), prefix in "[a-z]{0,3}"
    ) {
        let turns = joined(&turns);
        let renamed: Vec<Turn> =
            turns.iter().map(|t| Turn { speaker: format!("{prefix}{}", t.speaker), ..t.clone() }).collect();
        let score = score_recording(&turns, &renamed, uem.as_deref(), params);
        prop_assert_eq!(score.der.rate(), 0.0);
        prop_assert_eq!(score.jer.error_sum, 0.0);
        prop_assert_eq!(score.speaker_count_error(), 0);
    }

    #[test]
    fn the_parts_add_up(
        reference in some_turns(), hypothesis in some_turns(), (params, uem) in some_settings()
    ) {
        let der = score_recording(&reference, &hypothesis, uem.as_deref(), params).der;
        prop_assert_eq!(der.correct.0 + der.missed.0 + der.confusion.0, der.total.0);
        prop_assert!(der.false_alarm.0 >= 0 && der.missed.0 >= 0 && der.confusion.0 >= 0 && der.correct.0 >= 0);
    }

    #[test]
    fn order_and_cuts_within_turns_do_not_matter(
        reference in some_turns(), hypothesis in some_turns(), (params, uem) in some_settings(),
        cut in 0.0f64..1.0,
    ) {
        let whole = score_recording(&reference, &hypothesis, uem.as_deref(), params);
        let mut pieces: Vec<Turn> = hypothesis
            .iter()
            .flat_map(|turn| {
                let at = Nanos(turn.span.start.0 + (turn.span.len_ns() as f64 * cut) as i64);
                [(turn.span.start, at), (at, turn.span.end)].map(|(a, b)| Turn::new(a, b, turn.speaker.clone()))
            })
            .collect();
        pieces.reverse();
        prop_assert_eq!(score_recording(&reference, &pieces, uem.as_deref(), params), whole);
    }

    #[test]
    fn missing_reference_is_false_alarm_the_other_way_round(
        reference in some_turns(), hypothesis in some_turns(), uem in some_settings().prop_map(|s| s.1)
    ) {
        // Without a collar nothing depends on whose boundaries are the reference's.
        let score = |r, h| score_recording(r, h, uem.as_deref(), DerParams::STRICT).der;
        let (ours, swapped) = (score(&reference, &hypothesis), score(&hypothesis, &reference));
        prop_assert_eq!(ours.missed, swapped.false_alarm);
        prop_assert_eq!(ours.false_alarm, swapped.missed);
    }
}
