//! Tests of the log-mel features: streaming equals batch, golden arrays, and the edges.

use super::*;
use crate::test_signal::{blocks, noise, sine};
use proptest::prelude::*;

fn params(recipe: LogMelRecipe) -> LogMelParams {
    LogMelParams::try_new(recipe).unwrap()
}

/// A recipe of every framing and place of pre-emphasis, from small numbers.
fn recipe(framing: Framing, at: PreEmphasisAt, length: usize, hop: usize) -> LogMelRecipe {
    LogMelRecipe {
        framing,
        window_position: match framing {
            Framing::CenterReflect | Framing::CenterZero => WindowPosition::Center,
            _ => WindowPosition::Left,
        },
        pre_emphasis_at: at,
        frame_length_samples: length,
        hop_samples: hop,
        n_mels: 20,
        ..LogMelRecipe::default()
    }
}

const FRAMINGS: [Framing; 4] =
    [Framing::SnipEdges, Framing::CenterReflect, Framing::CenterZero, Framing::KaldiMirror];

fn any_recipe() -> impl Strategy<Value = LogMelRecipe> {
    (0..FRAMINGS.len(), any::<bool>(), 2usize..=512, 1usize..700).prop_map(
        |(framing, signal, length, hop)| {
            let framing = FRAMINGS[framing];
            let at = if signal { PreEmphasisAt::Signal } else { PreEmphasisAt::Frame };
            // Short hops over long signals only cost time.
            recipe(framing, at, length, hop.max(20))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streaming_equals_batch_bit_for_bit(
        recipe in any_recipe(),
        n_samples in 0usize..12_000,
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let samples = noise(n_samples, 0.3, 7);
        let params = params(recipe);
        let (expected, n_frames) = log_mel(params, &samples);
        prop_assert_eq!(n_frames as u64, params.n_frames(n_samples as u64));
        prop_assert_eq!(expected.len(), n_frames * params.n_mels());
        let (mut extractor, mut got, mut n_rows) = (LogMel::new(params), Vec::new(), 0);
        for block in blocks(cuts, n_samples) {
            n_rows += extractor.push(&samples[block], &mut got);
            prop_assert_eq!(got.len(), n_rows * params.n_mels());
        }
        n_rows += extractor.finish(&mut got);
        prop_assert_eq!(n_rows, n_frames);
        prop_assert!(got == expected);
    }

    /// What a frame holds follows from the signal alone: the same as from the mirrored signal cut by hand.
    #[test]
    fn frames_lie_where_the_parameters_say(recipe in any_recipe(), n_samples in 1usize..3_000) {
        let samples = noise(n_samples, 0.3, 7);
        let params = params(LogMelRecipe { pre_emphasis: 0.0, ..recipe });
        let (got, n_frames) = log_mel(params, &samples);
        let snip = LogMel::new(self::params(LogMelRecipe {
            framing: Framing::SnipEdges,
            window_position: WindowPosition::Left,
            ..*params.recipe()
        }));
        let mut snip = snip;
        for frame_idx in 0..n_frames {
            let start = params.frame_start(frame_idx as u64);
            let end = start + params.frame_length_samples() as i64;
            let by_hand: Vec<f32> = (start..end)
                .map(|at| {
                    let (mut at, n) = (at, n_samples as i64);
                    if recipe.framing == Framing::CenterZero && !(0..n).contains(&at) {
                        return 0.0;
                    }
                    // Reflected at one end, then at the other, until inside.
                    let once = i64::from(recipe.framing == Framing::CenterReflect && n > 1);
                    while at < 0 || at >= n {
                        at = if n == 1 { 0 } else if at < 0 { -at - 1 + once } else { 2 * n - 1 - once - at };
                    }
                    samples[at as usize]
                })
                .collect();
            let mut row = Vec::new();
            prop_assert_eq!(snip.transform(&by_hand, &mut row), 1);
            prop_assert_eq!(&got[frame_idx * 20..(frame_idx + 1) * 20], &row[..]);
        }
    }
}

#[test]
fn a_long_stream_is_held_in_bounded_memory() {
    for framing in FRAMINGS {
        let mut extractor = LogMel::new(params(recipe(framing, PreEmphasisAt::Signal, 400, 160)));
        let before = extractor.history.samples.capacity();
        let (samples, mut out) = (noise(50_000, 0.3, 7), Vec::new());
        for _ in 0..20 {
            out.clear();
            extractor.push(&samples, &mut out);
        }
        assert_eq!(extractor.history.samples.capacity(), before, "{framing:?}");
    }
}

#[test]
fn a_tone_is_loudest_in_its_own_band() {
    let (features, n_frames) = log_mel(LogMelParams::default(), &sine(16_000, 1_000.0, 16_000, 0.5));
    assert_eq!(n_frames, 98);
    let row = &features[50 * 80..51 * 80];
    let loudest = (0..80).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    // 1 000 Hz is 1 000 mel; the peaks stand at 31.7 + 34.0 (k + 1) mel.
    assert_eq!(loudest, 27);
}

#[test]
fn silence_gives_the_floor() {
    let (features, _) = log_mel(LogMelParams::default(), &[0.0; 16_000]);
    assert!(features.iter().all(|&f| f == f32::EPSILON.ln()));
    let official = params(LogMelRecipe::official_next_tdnn());
    let (features, _) = log_mel(official, &[0.0; 16_000]);
    assert!(features.iter().all(|&f| (f - 1e-6f32.ln()).abs() < 1e-6));
}

#[test]
fn a_broken_sample_harms_only_the_frames_that_cover_it() {
    let mut samples = noise(16_000, 0.3, 7);
    let (clean, n_frames) = log_mel(LogMelParams::default(), &samples);
    samples[8_000] = f32::NAN;
    let (features, _) = log_mel(LogMelParams::default(), &samples);
    for frame_idx in 0..n_frames {
        let covers = (frame_idx * 160..frame_idx * 160 + 400).contains(&8_000);
        let row = frame_idx * 80..(frame_idx + 1) * 80;
        if covers {
            assert!(features[row].iter().any(|f| f.is_nan()));
        } else {
            assert_eq!(features[row.clone()], clean[row]);
        }
    }
}

#[test]
fn reset_and_finish_equal_new() {
    let samples = noise(5_000, 0.3, 7);
    for recipe in [
        LogMelRecipe::default(),
        LogMelRecipe::official_next_tdnn(),
        LogMelRecipe::speech_brain(),
        LogMelRecipe::voice_personification(),
    ] {
        let (expected, _) = log_mel(params(recipe), &samples);
        let mut used = LogMel::new(params(recipe));
        used.push(&noise(777, 1.0, 3), &mut Vec::new());
        used.reset();
        let mut got = Vec::new();
        used.push(&samples, &mut got);
        used.finish(&mut got);
        assert!(got == expected);
        got.clear();
        used.transform(&samples, &mut got);
        assert!(got == expected);
    }
}

#[test]
fn magnitude_is_half_the_logarithm_of_power_in_one_bin() {
    // One filter over one bin: the sum has one term, so the root can be taken outside.
    let one_bin = LogMelRecipe {
        n_mels: 1,
        low_hz: 970.0,
        high_hz: 1_030.0,
        mel_triangles: MelTriangles::Hz,
        ..LogMelRecipe::default()
    };
    let samples = noise(4_000, 0.3, 7);
    let (power, _) = log_mel(params(one_bin), &samples);
    let (magnitude, _) = log_mel(params(LogMelRecipe { spectrum: Spectrum::Magnitude, ..one_bin }), &samples);
    // What is left is the logarithm of the filter's weight at that bin, the same in all frames and near 0.
    let left = magnitude[0] * 2.0 - power[0];
    assert!(left.abs() < 0.02, "{left}");
    for (power, magnitude) in power.iter().zip(&magnitude) {
        assert!((2.0 * magnitude - power - left).abs() < 1e-4, "{power} {magnitude}");
    }
}
