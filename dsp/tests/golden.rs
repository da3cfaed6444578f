//! Log-mel features against golden arrays made by `golden/generate.py` in double precision.

use std::path::PathBuf;

use diarized_dsp::log_mel::{
    Framing, Layout, LogMel, LogMelParams, LogMelRecipe, MeanNormalisation, MelTriangles, PreEmphasisAt,
    Window, subtract_mean,
};

/// Largest absolute difference that is allowed, in natural-log units. The features' own rounding to `f32` is
/// 1e-6; what is seen is 1e-5.
const TOLERANCE: f32 = 1e-4;
const N_MELS: usize = 80;
/// Samples of all but `mirrored.f32`, as in the generator.
const N_ONE_SECOND: usize = 16_123;

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{} must be there: {e}", path.display()))
}

/// `signal.i16`, to full scale ±1.
fn signal() -> Vec<f32> {
    let samples: Vec<f32> = bytes("signal.i16")
        .as_chunks()
        .0
        .iter()
        .map(|&b| f32::from(i16::from_le_bytes(b)) / 32_768.0)
        .collect();
    assert_eq!(samples.len(), 64_077, "the fixture is broken");
    samples
}

fn features(name: &str, n_frames: usize) -> Vec<f32> {
    let rows: Vec<f32> = bytes(name).as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    assert_eq!(rows.len(), n_frames * N_MELS, "the fixture is broken");
    rows
}

/// Streams `samples` in uneven blocks, normalises, and returns the largest absolute difference to `golden`.
fn difference(recipe: LogMelRecipe, how: MeanNormalisation, samples: &[f32], golden: &[f32]) -> f32 {
    let mut extractor = LogMel::new(LogMelParams::try_new(recipe).unwrap());
    let mut got = Vec::new();
    for block in samples.chunks(1_237) {
        extractor.push(block, &mut got);
    }
    extractor.finish(&mut got);
    assert_eq!(got.len(), golden.len());
    subtract_mean(&mut got, N_MELS, Layout::FrameMajor, how).unwrap();
    let off = got.iter().zip(golden).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap();
    println!("largest difference {off:.1e}");
    off
}

#[test]
fn our_front_end_agrees() {
    let golden = features("ours.f32", 99);
    let recipe = LogMelRecipe::default();
    assert!(difference(recipe, MeanNormalisation::Window, &signal()[..N_ONE_SECOND], &golden) <= TOLERANCE);
}

#[test]
fn the_official_front_end_agrees() {
    let golden = features("official.f32", 101);
    let recipe = LogMelRecipe::official_next_tdnn();
    assert!(difference(recipe, MeanNormalisation::Window, &signal()[..N_ONE_SECOND], &golden) <= TOLERANCE);
}

#[test]
fn the_mirrored_front_end_with_a_sliding_mean_agrees() {
    let golden = features("mirrored.f32", 400);
    let recipe = LogMelRecipe::voice_personification();
    assert!(difference(recipe, MeanNormalisation::Sliding { frames: 300 }, &signal(), &golden) <= TOLERANCE);
}

#[test]
fn the_speech_brain_front_end_agrees() {
    let golden = features("speechbrain.f32", 101);
    let (recipe, samples) = (LogMelRecipe::speech_brain(), &signal()[..N_ONE_SECOND]);
    let how = MeanNormalisation::ClippedWindow { range_db: 80 };
    assert!(difference(recipe, how, samples, &golden) <= TOLERANCE);
    // The digital silence in it is clipped, so the clip is exercised.
    assert!(difference(recipe, MeanNormalisation::Window, samples, &golden) > 1.0);
    for wrong in [
        LogMelRecipe { mel_triangles: MelTriangles::Hz, ..recipe },
        LogMelRecipe { framing: Framing::CenterReflect, ..recipe },
    ] {
        assert!(difference(wrong, how, samples, &golden) > 10.0 * TOLERANCE, "{wrong:?}");
    }
}

#[test]
fn the_standardised_front_end_agrees() {
    let golden = features("seamless.f32", 99);
    let recipe = LogMelRecipe { window: Window::Povey, high_hz: 8_000.0, ..LogMelRecipe::default() };
    let (samples, how) = (&signal()[..N_ONE_SECOND], MeanNormalisation::StandardisedWindow);
    assert!(difference(recipe, how, samples, &golden) <= TOLERANCE);
    assert!(difference(recipe, MeanNormalisation::Window, samples, &golden) > 1.0);
    let wrong = LogMelRecipe { window: Window::Hamming, ..recipe };
    assert!(difference(wrong, how, samples, &golden) > 10.0 * TOLERANCE);
}

/// One wrong choice anywhere shows, so that agreement means something.
#[test]
fn one_wrong_choice_is_noticed() {
    let (signal, golden) = (signal(), features("official.f32", 101));
    let right = LogMelRecipe::official_next_tdnn();
    for wrong in [
        LogMelRecipe { window: Window::Hamming, ..right },
        LogMelRecipe { mel_triangles: MelTriangles::Mel, ..right },
        LogMelRecipe { pre_emphasis_at: PreEmphasisAt::Frame, ..right },
        LogMelRecipe { remove_dc: true, ..right },
        LogMelRecipe { log_offset: 1e-5, ..right },
        LogMelRecipe { low_hz: 0.0, ..right },
    ] {
        let off = difference(wrong, MeanNormalisation::Window, &signal[..N_ONE_SECOND], &golden);
        assert!(off > 10.0 * TOLERANCE, "{wrong:?} is off by {off} only");
    }
}
