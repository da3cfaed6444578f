//! Tests of the gain: bounds, block-size independence, and what it does for the detector.

use super::*;
use crate::level::LevelMeter;
use crate::test_signal::{blocks, noise, speech_like};
use crate::vad::{Vad, VadMode};
use proptest::prelude::*;

fn amplified(samples: &[f32]) -> (Vec<f32>, AutoGain) {
    let (mut samples, mut gain) = (samples.to_vec(), AutoGain::new(AutoGainParams::default()));
    gain.apply(&mut samples);
    (samples, gain)
}

/// One second of noise, then `seconds` of talk over it.
fn talk(seconds: usize, amplitude: f32, noise_amplitude: f32) -> Vec<f32> {
    let mut samples = noise(16_000 * (seconds + 1), noise_amplitude, 3);
    for (to, from) in samples[16_000..].iter_mut().zip(speech_like(16_000 * seconds, amplitude)) {
        *to += from;
    }
    samples
}

/// Share of the frames from sample `from` on that the detector, which hears everything, calls speech.
fn speech_share(samples: &[f32], from: usize) -> f32 {
    let mut decisions = Vec::new();
    Vad::new(VadMode::Aggressive).push(samples, |is_speech| decisions.push(is_speech));
    let late = &decisions[from / FRAME_SAMPLES..];
    late.iter().filter(|&&is_speech| is_speech).count() as f32 / late.len() as f32
}

/// Talkers that the detector does not hear at all: one far below its threshold, one in noise.
#[test]
fn a_quiet_talker_is_brought_up_and_then_heard() {
    for (amplitude, noise_amplitude) in [(0.001, 0.000_1), (0.004, 0.000_5)] {
        let quiet = talk(8, amplitude, noise_amplitude);
        let (loud, gain) = amplified(&quiet);
        assert!(gain.gain_db() > 15.0, "{} dB", gain.gain_db());
        let (before, after) = (speech_share(&quiet, 64_000), speech_share(&loud, 64_000));
        assert!(before < 0.1 && after > 0.7, "speech in {before} of the frames before, {after} after");
    }
}

#[test]
fn amplified_noise_is_not_heard_as_speech() {
    for noise_amplitude in [0.000_02, 0.000_1, 0.000_5, 0.002] {
        let samples =
            [talk(6, 4.0 * noise_amplitude, noise_amplitude), noise(64_000, noise_amplitude, 7)].concat();
        let (out, _) = amplified(&samples);
        let share = speech_share(&out, 7 * 16_000 + 4_800);
        assert!(share < 0.05, "speech in {share} of the noise of {noise_amplitude}");
    }
}

#[test]
fn a_loud_talker_is_left_alone() {
    let loud = talk(5, 0.5, 0.000_5);
    let mut gain = AutoGain::new(AutoGainParams::default());
    for block in loud.chunks(160) {
        gain.apply(&mut block.to_vec());
        assert!(gain.gain_db() < 2.0, "{} dB", gain.gain_db());
    }
}

#[test]
fn noise_alone_is_left_alone() {
    for amplitude in [0.0, 0.000_1, 0.003, 0.1] {
        let hiss = noise(16_000 * 5, amplitude, 9);
        assert!(amplified(&hiss).0 == hiss, "noise of {amplitude}");
    }
}

#[test]
fn the_noise_floor_stays_below_the_ceiling() {
    // A talker 12 dB above loud noise: the target would need 20 dB, the ceiling allows about 4.
    let samples = [talk(8, 0.02, 0.002), noise(16_000 * 2, 0.002, 4)].concat();
    let (out, gain) = amplified(&samples);
    assert!(gain.gain_db() < 5.0, "{} dB", gain.gain_db());
    let mut meter = LevelMeter::new(1_000);
    meter.push(&out);
    assert!(meter.rms_dbfs() < -54.0, "{} dBFS", meter.rms_dbfs());
}

#[test]
fn a_loud_talker_after_a_quiet_one_is_clipped_only_briefly() {
    let samples = [talk(8, 0.004, 0.000_05), talk(3, 0.5, 0.000_05)].concat();
    let (out, gain) = amplified(&samples);
    assert!(gain.gain_db() < 3.0, "{} dB", gain.gain_db());
    let n_clipped = out.iter().filter(|s| s.abs() >= 1.0).count();
    assert!(n_clipped < 16_000 / 2, "{n_clipped} samples");
    assert_eq!(out.iter().filter(|s| s.abs() > 1.0).count(), 0);
}

#[test]
fn the_gain_moves_no_faster_than_it_says() {
    let samples = talk(4, 0.004, 0.000_05);
    let mut gain = AutoGain::new(AutoGainParams::default());
    let mut before = gain.gain_db();
    for block in samples.chunks(160) {
        gain.apply(&mut block.to_vec());
        assert!(gain.gain_db() - before <= 0.12 + 1e-4 && before - gain.gain_db() <= 1.0 + 1e-4);
        assert!((0.0..=30.0).contains(&gain.gain_db()));
        before = gain.gain_db();
    }
}

#[test]
fn reset_equals_new() {
    let samples = talk(3, 0.004, 0.000_05);
    let (expected, mut used) = amplified(&samples);
    used.reset();
    let mut got = samples;
    used.apply(&mut got);
    assert!(got == expected);
}

#[test]
fn faults_are_all_named() {
    let faults = AutoGainParams::try_new(AutoGainRecipe {
        target_dbfs: 1.0,
        max_gain_db: f32::NAN,
        noise_ceiling_dbfs: -130.0,
        rise_db_per_s: 0.0,
    })
    .unwrap_err();
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "target_dbfs (1) must be from -60 to 0",
            "max_gain_db (NaN) must be from 0 to 60",
            "noise_ceiling_dbfs (-130) must be from -120 to 0",
            "rise_db_per_s (0) must be above 0 and at most 100",
        ]
    );
    assert_eq!(AutoGainParams::default().recipe(), &AutoGainRecipe::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn output_does_not_depend_on_block_size(cuts in prop::collection::vec(any::<usize>(), 0..40)) {
        let samples = talk(2, 0.004, 0.000_05);
        let (expected, _) = amplified(&samples);
        let (mut got, mut gain) = (samples, AutoGain::new(AutoGainParams::default()));
        for block in blocks(cuts, got.len()) {
            gain.apply(&mut got[block]);
        }
        prop_assert!(got == expected);
    }
}
