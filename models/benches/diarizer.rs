//! Cost of one window of each length, in our kernels, in tract with our operators and in tract alone; of a second of the
//! voice activity network, in our kernels and in tract; and of a session's next ten seconds after an hour, eight, a day.
//!
//! The sessions hear synthetic voices and get stand-in embeddings, so that what is measured is the diarizer's own
//! work: voice activity, features, clustering, labels. Its cost must not grow with the length of the session.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use diarized_dsp::SampleRange;
use diarized_models::diarizer::SpeechDetector;
use diarized_models::segmenter::Scores;
use diarized_models::{
    Diarizer, DiarizerOptions, DiarizerParams, Embedder, Embedding, Engine, ModelSource, Segmenter,
};
use tract_onnx::prelude::*;

/// Length of a turn, in samples: four seconds, of which the last half is a pause.
const TURN: u64 = 4 * 16_000;
const N_VOICES: u64 = 6;
/// Audio of one iteration, in samples.
const PIECE: u64 = 10 * 16_000;
const BLOCK: usize = 1600;

fn windows(c: &mut Criterion) {
    let lengths = [100, 150, 200, 300];
    let load = |engine, lengths: &[usize]| {
        Embedder::load_in(engine, &ModelSource::Builtin, lengths).expect("the built-in model can be loaded")
    };
    let (embedder, tract) = (load(Engine::Best, &lengths), load(Engine::Tract, &lengths));
    assert_eq!(embedder.engine(), Engine::Best, "our kernels are made for the built-in model");
    let n_mels = embedder.card().front_end.n_mels();
    let any_length = load(Engine::Tract, &[]);
    let mut group = c.benchmark_group("window");
    group.throughput(Throughput::Elements(1));
    for n_frames in lengths {
        let features: Vec<f32> =
            (0..n_mels * n_frames).map(|n| ((n * 37 % 101) as f32 - 50.0) / 25.0).collect();
        group.bench_function(format!("{n_frames}_frames"), |b| {
            b.iter(|| embedder.embed(black_box(&features), n_frames).expect("the features fit"));
        });
        group.bench_function(format!("{n_frames}_frames_in_tract"), |b| {
            b.iter(|| tract.embed(black_box(&features), n_frames).expect("the features fit"));
        });
        group.bench_function(format!("{n_frames}_frames_in_tract_without_a_plan_of_their_own"), |b| {
            b.iter(|| any_length.embed(black_box(&features), n_frames).expect("the features fit"));
        });
        let plan = plain_plan(n_mels, n_frames).expect("tract runs the built-in model");
        let input = Tensor::from_shape(&[1, n_mels, n_frames], &features).expect("the features fit");
        group.bench_function(format!("{n_frames}_frames_by_tract_alone"), |b| {
            b.iter(|| plan.run(tvec!(black_box(&input).clone().into())).expect("the input fits"));
        });
    }
    group.finish();
}

/// A second of the voice activity network, in our kernels and in tract.
fn voice_activity(c: &mut Criterion) {
    let mut group = c.benchmark_group("segmenter");
    group.throughput(Throughput::Elements(1));
    for (name, engine) in [("a_second", Engine::Best), ("a_second_in_tract", Engine::Tract)] {
        let segmenter = Segmenter::builtin_in(engine).expect("the built-in network can be loaded");
        let rows: Vec<f32> =
            (0..segmenter.n_mels() * 100).map(|n| 9.0 + ((n * 37 % 101) as f32 - 50.0) / 12.0).collect();
        let (mut stream, mut scores) = (Arc::new(segmenter).stream(), Scores::default());
        group.bench_function(name, |b| {
            b.iter(|| {
                scores.clear();
                stream.push(black_box(&rows), &mut scores);
            });
        });
    }
    group.finish();
}

/// The built-in network as tract runs it without `operators.rs`.
fn plain_plan(n_mels: usize, n_frames: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let onnx = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/nexttdnn-c128-b122/model.onnx");
    tract_onnx::onnx()
        .model_for_path(onnx)?
        .with_input_fact(0, f32::fact([1, n_mels, n_frames]).into())?
        .into_optimized()?
        .into_runnable()
}

/// Deterministic noise in `[-0.5, 0.5]`.
fn noise(seed: u64) -> f32 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
}

/// One round of turns: pulse trains through two resonances, which webrtc-vad takes for voices, and pauses.
fn round() -> Vec<f32> {
    let mut state = [0.0_f32; 4];
    (0..N_VOICES * TURN)
        .map(|n| {
            let t = n as f64 / 16_000.0;
            let pitch = 100.0 + 25.0 * (n / TURN) as f64;
            let is_pause = n % TURN >= TURN - 8_000;
            let pulse = if (t * pitch).fract() < pitch / 16_000.0 { 0.5 } else { 0.0 };
            let syllable = 0.55 + 0.45 * (t * 4.0 * std::f64::consts::TAU).sin() as f32;
            let mut x = noise(n) * 2e-4 + if is_pause { 0.0 } else { pulse * syllable };
            for (k, (hz, r)) in [(600.0_f32, 0.97_f32), (1700.0, 0.95)].into_iter().enumerate() {
                let (a, b) = (state[2 * k], state[2 * k + 1]);
                let y = x * 0.4 + 2.0 * r * (std::f32::consts::TAU * hz / 16_000.0).cos() * a - r * r * b;
                (state[2 * k], state[2 * k + 1]) = (y, a);
                x += y * 0.3;
            }
            x.clamp(-1.0, 1.0)
        })
        .collect()
}

/// The embedding of a window: the direction of its voice, and noise that depends on its place.
fn embedding(range: SampleRange, dim: usize) -> Embedding {
    let voice = range.start().0 / TURN % N_VOICES;
    let value = |d: usize| {
        noise(voice * 1_000 + d as u64 + 1_000_003) + 0.5 * noise(range.start().0 * 1_000 + d as u64)
    };
    Embedding::from_raw(&(0..dim).map(value).collect::<Vec<_>>()).expect("noise has a direction")
}

/// A session under way.
struct Session {
    diarizer: Diarizer,
    dim: usize,
    round: Vec<f32>,
    at: u64,
}

impl Session {
    fn new() -> Self {
        let embedder =
            Embedder::load(&ModelSource::Builtin, &[100]).expect("the built-in model can be loaded");
        // The synthetic voices are speech to webrtc-vad alone.
        let options = DiarizerOptions {
            vad_mode: SpeechDetector::WebRtc { mode: 3 },
            vad_onset: 0.6,
            vad_offset: 0.35,
            ..DiarizerOptions::default()
        };
        let params = DiarizerParams::try_new(options).expect("the options are in range");
        let dim = embedder.card().embedding_dim;
        Self { diarizer: Diarizer::new(params, embedder.card()), dim, round: round(), at: 0 }
    }

    /// Processes `n_samples`, a multiple of the block; returns the time without that of the stand-in embeddings.
    fn hear(&mut self, n_samples: u64) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..n_samples / BLOCK as u64 {
            let start = (self.at % self.round.len() as u64) as usize;
            let began = Instant::now();
            self.diarizer
                .push(&self.round[start..start + BLOCK])
                .expect("finite samples of a stream that goes on");
            spent += began.elapsed();
            while let Some(request) = self.diarizer.poll_work() {
                let embedding = embedding(request.range, self.dim);
                let began = Instant::now();
                self.diarizer.provide(request.id, Ok(embedding)).expect("the diarizer asked for it");
                spent += began.elapsed();
            }
            while let Some(emitted) = self.diarizer.poll_event() {
                black_box(emitted);
            }
            self.at += BLOCK as u64;
        }
        spent
    }
}

fn sessions(c: &mut Criterion) {
    let mut group = c.benchmark_group("session_10s");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    // One session for all, made and aged where a measurement asks for it.
    let mut session: Option<Session> = None;
    for hours in [0_u64, 1, 8, 24] {
        group.bench_function(format!("after_{hours}_h"), |b| {
            let session = session.get_or_insert_with(Session::new);
            let until = hours * 3600 * 16_000;
            session.hear(until.saturating_sub(session.at) / PIECE * PIECE);
            b.iter_custom(|n| (0..n).map(|_| session.hear(PIECE)).sum());
        });
    }
    group.finish();
    if let Some(session) = session {
        let (state, hours) = (session.diarizer.state(), session.at as f64 / 3600.0 / 16_000.0);
        println!(
            "{} speakers in {} segments after {hours:.1} h",
            state.speakers().len(),
            state.segments().len()
        );
    }
}

criterion_group!(benches, windows, voice_activity, sessions);
criterion_main!(benches);
