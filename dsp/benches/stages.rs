//! Cost of each stage per second of audio, in blocks of 20 ms as they come from a device.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use diarized_dsp::log_mel::{Layout, subtract_mean};
use diarized_dsp::{
    ChannelSelect, Comparison, Hysteresis, HysteresisParams, Intake, IntakeParams, LogMel, LogMelParams,
    LogMelRecipe, MeanNormalisation, Vad, VadMode,
};

/// Noise whose level swells four times a second: what no stage can skip.
fn one_second(rate_hz: u32, n_channels: u16) -> Vec<f32> {
    let mut state = 1u32;
    (0..rate_hz)
        .flat_map(|n| {
            let swell = (std::f32::consts::PI * 4.0 * n as f32 / rate_hz as f32).sin();
            (0..n_channels)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    0.3 * swell * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn intake(c: &mut Criterion) {
    let mut group = c.benchmark_group("intake");
    group.throughput(Throughput::Elements(1));
    for (name, sample_rate_hz, n_channels) in [
        ("16k_mono", 16_000, 1),
        ("8k_mono", 8_000, 1),
        ("44k1_stereo", 44_100, 2),
        ("48k_mono", 48_000, 1),
        ("48k_stereo", 48_000, 2),
        ("48k_8ch", 48_000, 8),
        ("192k_stereo", 192_000, 2),
        ("44101_sinc", 44_101, 1),
    ] {
        let samples = one_second(sample_rate_hz, n_channels);
        let block = (sample_rate_hz / 50) as usize * usize::from(n_channels);
        let params = IntakeParams { sample_rate_hz, n_channels, channel: ChannelSelect::Mix };
        let mut intake = Intake::new(params).expect("the rates and channels are allowed");
        let mut out = Vec::with_capacity(20_000);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for block in samples.chunks(block) {
                    intake.push(block, &mut out).expect("blocks hold whole frames");
                }
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn features(c: &mut Criterion) {
    let samples = one_second(16_000, 1);
    let mut group = c.benchmark_group("log_mel");
    for (name, recipe) in [
        ("ours", LogMelRecipe::default()),
        ("official", LogMelRecipe::official_next_tdnn()),
        ("mirrored", LogMelRecipe::voice_personification()),
    ] {
        let mut extractor = LogMel::new(LogMelParams::try_new(recipe).expect("the recipes offered are good"));
        let mut out = Vec::with_capacity(10_000);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for block in samples.chunks(320) {
                    extractor.push(block, &mut out);
                }
                black_box(&out);
            });
        });
    }
    let mut window = Vec::new();
    LogMel::new(LogMelParams::default()).transform(&[&samples[..], &samples[..8_240]].concat(), &mut window);
    for (name, how) in [
        ("window_mean_150_frames", MeanNormalisation::Window),
        ("sliding_mean_150_frames", MeanNormalisation::Sliding { frames: 100 }),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| subtract_mean(black_box(&mut window), 80, Layout::FrameMajor, how));
        });
    }
    group.finish();
}

fn speech(c: &mut Criterion) {
    let samples = one_second(16_000, 1);
    let mut group = c.benchmark_group("speech");
    let mut vad = Vad::new(VadMode::Aggressive);
    group.bench_function("vad", |b| {
        b.iter(|| {
            for block in samples.chunks(320) {
                vad.push(block, |is_speech| {
                    black_box(is_speech);
                });
            }
        });
    });
    let mut hysteresis = Hysteresis::new(HysteresisParams { min_active: 10, min_inactive: 40, pad: 5 });
    let mut tick = 0u64;
    group.bench_function("hysteresis", |b| {
        b.iter(|| {
            for _ in 0..100 {
                let is_speech = tick % 50 < 30;
                tick += 1;
                let score = Comparison { begins: is_speech, ends: !is_speech, resumes: is_speech };
                black_box(hysteresis.push(tick, score, || tick - 1, || tick - 1));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, intake, features, speech);
criterion_main!(benches);
