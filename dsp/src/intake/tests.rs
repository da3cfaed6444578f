//! Tests of the intake: timing, length, quality and block-size independence over a matrix of rates.

use super::*;
use crate::test_signal::{blocks, noise, sine};
use proptest::prelude::*;

/// Usual rates, and some that no common block fits.
const RATES: [u32; 21] = [
    8_000, 8_001, 9_600, 11_025, 12_000, 12_345, 16_000, 16_001, 22_050, 24_000, 32_000, 44_100, 44_101,
    47_250, 47_999, 48_000, 88_200, 96_000, 176_400, 191_999, 192_000,
];
/// Those of them whose band above 8 kHz must be stopped.
const HIGH_RATES: [u32; 11] =
    [22_050, 24_000, 32_000, 44_100, 44_101, 47_999, 48_000, 88_200, 96_000, 191_999, 192_000];

fn mono(rate_hz: u32) -> Intake {
    Intake::new(IntakeParams { sample_rate_hz: rate_hz, n_channels: 1, channel: ChannelSelect::Mix }).unwrap()
}

fn whole(intake: &mut Intake, interleaved: &[f32]) -> Vec<f32> {
    let mut out = Vec::new();
    intake.push(interleaved, &mut out).unwrap();
    intake.finish(&mut out);
    out
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

#[test]
fn the_length_is_exact_at_every_rate() {
    for rate in RATES {
        for n_frames in [0usize, 1, 2, 3, 159, 441, 1_000, 12_345, 48_001] {
            let got = whole(&mut mono(rate), &vec![0.25; n_frames]).len();
            let expected = (n_frames as f64 * 16_000.0 / f64::from(rate)).round() as usize;
            assert_eq!(got, expected, "{n_frames} frames at {rate} Hz");
        }
    }
}

#[test]
fn an_impulse_stays_where_it_was() {
    for rate in RATES {
        for at in [rate as usize / 10, rate as usize / 2 + 7, rate as usize - 3] {
            let mut input = vec![0.0; rate as usize];
            input[at] = 1.0;
            let out = whole(&mut mono(rate), &input);
            let peak = (0..out.len()).max_by(|&a, &b| out[a].abs().total_cmp(&out[b].abs())).unwrap();
            let expected = at as f64 * 16_000.0 / f64::from(rate);
            assert!((peak as f64 - expected).abs() <= 1.0, "{rate} Hz: {expected} came out at {peak}");
        }
    }
}

/// The phase of a tone gives the delay to a fraction of a sample.
#[test]
fn the_delay_is_taken_out_to_a_fraction_of_a_sample() {
    for rate in RATES {
        let out = whole(&mut mono(rate), &sine(rate as usize, 500.0, rate, 0.5));
        let step = std::f64::consts::TAU * 500.0 / 16_000.0;
        let (mut re, mut im) = (0.0, 0.0);
        for (n, &sample) in out.iter().enumerate().take(14_400).skip(1_600) {
            re += f64::from(sample) * (step * n as f64).sin();
            im += f64::from(sample) * (step * n as f64).cos();
        }
        let off = im.atan2(re) / step;
        assert!(off.abs() < 0.51, "{rate} Hz: {off} samples off");
    }
}

#[test]
fn a_tone_keeps_its_level() {
    for rate in RATES {
        let out = whole(&mut mono(rate), &sine(rate as usize, 1_000.0, rate, 0.5));
        let change = db(rms(&out[1_600..14_400]) / (0.5 / 2.0f64.sqrt()));
        assert!(change.abs() < 0.1, "{rate} Hz: level changed by {change} dB");
    }
}

/// Neither images of the input's spectrum, nor aliases, nor steps where blocks meet.
#[test]
fn a_tone_stays_clean() {
    for rate in RATES {
        for hz in [300.0, 1_000.0, 3_400.0] {
            let out = whole(&mut mono(rate), &sine(rate as usize, hz, rate, 0.5));
            let middle = &out[1_600..14_400];
            // The best fit of the tone; 12 800 samples hold a whole number of its periods.
            let step = std::f64::consts::TAU * hz / 16_000.0;
            let project = |wave: &dyn Fn(f64) -> f64| {
                let sum: f64 =
                    (0..).zip(middle).map(|(n, &s)| f64::from(s) * wave(step * f64::from(n))).sum();
                2.0 * sum / middle.len() as f64
            };
            let (a, b) = (project(&f64::sin), project(&f64::cos));
            let rest: Vec<f32> = (0..)
                .zip(middle)
                .map(|(n, &s)| s - (a * (step * f64::from(n)).sin() + b * (step * f64::from(n)).cos()) as f32)
                .collect();
            let left = db(rms(&rest) / rms(middle));
            assert!(left < -90.0, "{hz} Hz at {rate} Hz leaves {left} dB");
        }
    }
}

#[test]
fn the_upper_mel_bands_survive() {
    for rate in HIGH_RATES {
        let out = whole(&mut mono(rate), &sine(rate as usize, 7_400.0, rate, 0.5));
        let change = db(rms(&out[1_600..14_400]) / (0.5 / 2.0f64.sqrt()));
        assert!(change.abs() < 0.1, "{rate} Hz: 7.4 kHz changed by {change} dB");
    }
}

#[test]
fn what_would_alias_is_stopped() {
    for rate in HIGH_RATES {
        for hz in [8_010.0, 8_500.0, 10_000.0] {
            let out = whole(&mut mono(rate), &sine(rate as usize, hz, rate, 0.5));
            let left = db(rms(&out[1_600..14_400]) / (0.5 / 2.0f64.sqrt()));
            assert!(left < -100.0, "{hz} Hz at {rate} Hz leaves {left} dB");
        }
    }
}

#[test]
fn channels_are_mixed_or_chosen() {
    let params = |channel| IntakeParams { sample_rate_hz: 16_000, n_channels: 3, channel };
    let input = [0.3, 0.6, -0.3, 0.0, 0.1, 0.2];
    let mix = whole(&mut Intake::new(params(ChannelSelect::Mix)).unwrap(), &input);
    for (got, expected) in mix.iter().zip([0.2, 0.1]) {
        assert!((got - expected).abs() < 1e-6, "{mix:?}");
    }
    assert_eq!(whole(&mut Intake::new(params(ChannelSelect::One(2))).unwrap(), &input), [-0.3, 0.2]);
}

#[test]
fn sixteen_kilohertz_pass_untouched() {
    let input = noise(5_000, 1.0, 3);
    assert!(whole(&mut mono(16_000), &input) == input);
}

#[test]
fn faulty_samples_are_replaced_and_counted() {
    for rate in RATES {
        let mut input = noise(rate as usize, 0.5, 5);
        for (n, fault) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN].iter().enumerate()
        {
            input[1_000 + 37 * n] = *fault;
        }
        let mut intake = mono(rate);
        let out = whole(&mut intake, &input);
        assert!(out.iter().all(|s| s.is_finite()), "{rate} Hz");
        assert_eq!((intake.n_non_finite(), intake.n_over_range()), (3, 2));
        intake.reset();
        assert_eq!((intake.n_non_finite(), intake.n_over_range()), (0, 0));
    }
}

#[test]
fn reset_and_finish_equal_new() {
    for rate in RATES {
        let input = noise(7_777, 0.5, 9);
        let fresh = whole(&mut mono(rate), &input);
        let mut used = mono(rate);
        used.push(&noise(5_432, 1.0, 11), &mut Vec::new()).unwrap();
        used.reset();
        assert!(whole(&mut used, &input) == fresh, "{rate} Hz after reset");
        assert!(whole(&mut used, &input) == fresh, "{rate} Hz after finish");
    }
}

#[test]
fn faults_name_value_and_range() {
    let fault = |sample_rate_hz, n_channels, channel| {
        Intake::new(IntakeParams { sample_rate_hz, n_channels, channel }).unwrap_err().to_string()
    };
    assert_eq!(fault(1, 1, ChannelSelect::Mix), "sample rate (1 Hz) must be from 8000 to 192000 Hz");
    assert_eq!(
        fault(10_000_000, 1, ChannelSelect::Mix),
        "sample rate (10000000 Hz) must be from 8000 to 192000 Hz"
    );
    assert_eq!(fault(16_000, 0, ChannelSelect::Mix), "number of channels (0) must be from 1 to 8");
    assert_eq!(fault(16_000, 9, ChannelSelect::Mix), "number of channels (9) must be from 1 to 8");
    assert_eq!(
        fault(16_000, 2, ChannelSelect::One(2)),
        "channel (2, counted from 0) must be below the number of channels (2)"
    );
}

#[test]
fn a_block_that_cuts_a_frame_is_refused_and_leaves_no_trace() {
    let mut intake =
        Intake::new(IntakeParams { sample_rate_hz: 48_000, n_channels: 2, channel: ChannelSelect::Mix })
            .unwrap();
    let mut out = Vec::new();
    let fault = intake.push(&[0.5; 9_601], &mut out).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "block length (9601 samples) must be a multiple of the number of channels (2)"
    );
    assert!(out.is_empty());
    assert_eq!(intake.n_frames_in(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn output_does_not_depend_on_block_size(
        rate_idx in 0..RATES.len(),
        n_channels in 1u16..=3,
        n_frames in 0usize..9_000,
        cuts in prop::collection::vec(any::<usize>(), 0..25),
    ) {
        let params = IntakeParams { sample_rate_hz: RATES[rate_idx], n_channels, channel: ChannelSelect::Mix };
        let input = noise(n_frames * usize::from(n_channels), 0.7, 21);
        let expected = whole(&mut Intake::new(params).unwrap(), &input);
        let (mut intake, mut got) = (Intake::new(params).unwrap(), Vec::new());
        for block in blocks(cuts, n_frames) {
            let wide = usize::from(n_channels);
            intake.push(&input[block.start * wide..block.end * wide], &mut got).unwrap();
            prop_assert_eq!(intake.n_samples_out() as usize, got.len());
            // The output is never ahead of the input.
            prop_assert!(got.len() as u64 <= output_len(intake.n_frames_in(), params.sample_rate_hz, 16_000));
        }
        intake.finish(&mut got);
        prop_assert!(got == expected);
    }
}
