//! Tests of the hysteresis: against a batch reference written from its definition, and case by case.

use super::*;
use proptest::prelude::*;

fn params(onset: f32, offset: f32, ms: [u32; 4]) -> HysteresisParams {
    let [hangover_ms, min_speech_ms, min_silence_ms, pad_ms] = ms;
    HysteresisParams::try_new(HysteresisRecipe {
        onset,
        offset,
        hangover_ms,
        min_speech_ms,
        min_silence_ms,
        pad_ms,
    })
    .unwrap()
}

/// Scores of 1 where `pattern` has `#`, else 0.
fn scores(pattern: &str) -> Vec<f32> {
    pattern.chars().map(|c| f32::from(u8::from(c == '#'))).collect()
}

/// Regions in frames.
fn regions(params: HysteresisParams, scores: &[f32]) -> Vec<(u64, u64)> {
    speech_regions(params, scores).iter().map(|r| (r.start().0 / FRAME, r.end().0 / FRAME)).collect()
}

/// The definition, in passes over the whole recording.
fn batch(params: HysteresisParams, scores: &[f32]) -> Vec<(u64, u64)> {
    let n = scores.len() as u64;
    // Runs of active frames.
    let (mut runs, mut active): (Vec<(u64, u64)>, bool) = (Vec::new(), false);
    for (frame, &score) in (0..).zip(scores) {
        let threshold = if active { params.recipe.offset } else { params.recipe.onset };
        let was_active = std::mem::replace(&mut active, score >= threshold);
        match runs.last_mut() {
            Some(run) if active && was_active => run.1 = frame + 1,
            _ if active => runs.push((frame, frame + 1)),
            _ => {}
        }
    }
    // Bridged where the silence after the hangover is short.
    let mut merged: Vec<(u64, u64, u64)> = Vec::new();
    for (start, end) in runs {
        match merged.last_mut() {
            Some(last) if start < last.1 + (params.hangover + params.min_silence).max(1) => {
                last.1 = end;
                last.2 += end - start;
            }
            _ => merged.push((start, end, end - start)),
        }
    }
    // Short ones dropped, the rest held on and padded.
    let mut last_end = 0;
    merged
        .into_iter()
        .filter(|&(_, _, n_active)| n_active >= params.min_speech)
        .map(|(start, end, _)| {
            let start = start.saturating_sub(params.pad).max(last_end);
            last_end = (end + params.hangover + params.pad).min(n);
            (start, last_end)
        })
        .collect()
}

/// Stretches of speech, silence and doubt of any length.
fn any_scores() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((0usize..5, 1usize..30), 0..40).prop_map(|stretches| {
        let levels = [0.0, 0.35, 0.5, 1.0, f32::NAN];
        stretches.into_iter().flat_map(|(level, n)| std::iter::repeat_n(levels[level], n)).collect()
    })
}

fn any_params() -> impl Strategy<Value = HysteresisParams> {
    (0u32..15, 0u32..25, 0u32..40, 0u32..40).prop_map(|(hangover, speech, silence, pad)| {
        params(0.5, 0.3, [hangover * 10, speech * 10, silence * 10, pad.min(silence) * 10])
    })
}

proptest! {
    #[test]
    fn streaming_equals_batch(params in any_params(), scores in any_scores()) {
        prop_assert_eq!(regions(params, &scores), batch(params, &scores));
    }

    #[test]
    fn transitions_are_in_order_and_never_of_the_future(params in any_params(), scores in any_scores()) {
        let mut hysteresis = Hysteresis::new(params);
        let (mut last, mut open) = (SampleIndex::ZERO, false);
        let mut earliest = SampleIndex::ZERO;
        for (n, score) in scores.iter().map(Some).chain([None]).enumerate() {
            let said = match score {
                Some(&score) => hysteresis.push(score),
                None => hysteresis.finish(),
            };
            match said {
                Some(Transition::Start(at)) => {
                    prop_assert!(!open && at >= last && at >= earliest);
                    (last, open) = (at, true);
                }
                Some(Transition::End(at)) => {
                    prop_assert!(open && at > last);
                    (last, open) = (at, false);
                }
                None => {}
            }
            prop_assert!(last <= hysteresis.now());
            prop_assert_eq!(hysteresis.in_speech(), open);
            prop_assert_eq!(hysteresis.end_so_far().is_some(), open);
            prop_assert!(hysteresis.earliest_start() >= earliest);
            earliest = hysteresis.earliest_start();
            prop_assert_eq!(hysteresis.now().0, FRAME * (n as u64 + 1).min(scores.len() as u64));
        }
    }

    #[test]
    fn restart_equals_new_moved_in_time(params in any_params(), first in any_scores(), second in any_scores()) {
        let at = SampleIndex(1_234_567);
        let mut fresh = Hysteresis::new(params);
        let mut used = Hysteresis::new(params);
        for &score in &first {
            used.push(score);
        }
        used.restart(at);
        let moved = |transition| match transition {
            Transition::Start(from) => Transition::Start(at.plus(from.0)),
            Transition::End(from) => Transition::End(at.plus(from.0)),
        };
        for &score in &second {
            prop_assert_eq!(used.push(score), fresh.push(score).map(moved));
        }
        prop_assert_eq!(used.finish(), fresh.finish().map(moved));
        used.reset();
        prop_assert_eq!(used, Hysteresis::new(params));
    }

    #[test]
    fn the_smoother_gives_the_share_of_its_span(
        n_frames in 1u32..=64,
        decisions in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let mut smoother = DecisionSmoother::new(n_frames);
        for end in 1..=decisions.len() {
            let span = &decisions[end.saturating_sub(n_frames as usize)..end];
            let expected = span.iter().filter(|&&d| d).count() as f32 / n_frames as f32;
            prop_assert_eq!(smoother.push(decisions[end - 1]), expected);
        }
        smoother.reset();
        prop_assert_eq!(smoother, DecisionSmoother::new(n_frames));
    }
}

#[test]
fn a_start_is_said_when_enough_speech_was_heard() {
    let mut hysteresis = Hysteresis::new(params(0.5, 0.5, [0, 30, 40, 20]));
    let said: Vec<_> = scores("...#####......").into_iter().map(|score| hysteresis.push(score)).collect();
    assert_eq!(said[5], Some(Transition::Start(SampleIndex(160))), "3 frames of speech, 2 of padding before");
    assert_eq!(said[11], Some(Transition::End(SampleIndex(10 * 160))), "4 frames of silence, 2 of padding");
    assert_eq!(said.iter().flatten().count(), 2);
    assert_eq!((hysteresis.params().start_latency_ms(), hysteresis.params().end_latency_ms()), (30, 40));
}

#[test]
fn two_thresholds_hold_on_through_doubt() {
    let held = params(0.6, 0.3, [0; 4]);
    assert_eq!(regions(held, &[0.5, 0.6, 0.4, 0.3, 0.29, 0.5, 0.7]), [(1, 4), (6, 7)]);
}

#[test]
fn hangover_belongs_to_the_region() {
    assert_eq!(regions(params(0.5, 0.5, [30, 0, 0, 0]), &scores("##......##.")), [(0, 5), (8, 11)]);
}

#[test]
fn short_silence_is_bridged_and_long_is_not() {
    let bridging = params(0.5, 0.5, [0, 0, 30, 0]);
    assert_eq!(regions(bridging, &scores("##..##...##...")), [(0, 6), (9, 11)]);
}

#[test]
fn scattered_clicks_are_no_speech() {
    let strict = params(0.5, 0.5, [0, 50, 100, 0]);
    assert_eq!(regions(strict, &scores("#....#....#..............................")), []);
    assert_eq!(regions(strict, &scores("#....##...##.............................")), [(0, 12)]);
}

#[test]
fn padding_meets_the_neighbour_and_does_not_cross_it() {
    assert_eq!(
        regions(params(0.5, 0.5, [0, 0, 30, 30]), &scores("##....##...#")),
        [(0, 5), (5, 11), (11, 12)]
    );
}

#[test]
fn an_open_region_ends_with_the_audio() {
    assert_eq!(regions(params(0.5, 0.5, [50, 0, 50, 50]), &scores("..##.")), [(0, 5)]);
}

#[test]
fn the_default_is_good_and_faults_are_all_named() {
    let defaults = HysteresisParams::default();
    assert_eq!((defaults.start_latency_ms(), defaults.end_latency_ms()), (100, 500));
    let faults = HysteresisParams::try_new(HysteresisRecipe {
        onset: 0.0,
        offset: 1.5,
        hangover_ms: 60_001,
        min_speech_ms: 0,
        min_silence_ms: 10,
        pad_ms: 20,
    })
    .unwrap_err();
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "onset (0) must be above 0 and at most 1",
            "offset (1.5) must be above 0 and at most 1",
            "offset (1.5) must be <= onset (0)",
            "hangover_ms (60001 ms) must be at most 60000 ms",
            "pad_ms (20) must be <= min_silence_ms (10)",
        ]
    );
    let nan = HysteresisRecipe { onset: f32::NAN, ..HysteresisRecipe::default() };
    assert_eq!(HysteresisParams::try_new(nan).unwrap_err().len(), 1);
}
