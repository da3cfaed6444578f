//! Whisper's log-mel features of one chunk.

use diarized_dsp::log_mel::{
    Framing, LogMel, LogMelFaults, LogMelParams, LogMelRecipe, MelTriangles, Window, WindowPosition,
    to_mel_major,
};

use super::CHUNK_SAMPLES;

/// How far below the largest feature is too far, in powers of ten.
const RANGE: f32 = 8.0;

/// The recipe: frames of 25 ms without pre-emphasis, filters of Slaney's scale up to 8 kHz.
pub(super) fn params(n_mels: usize) -> Result<LogMelParams, LogMelFaults> {
    LogMelParams::try_new(LogMelRecipe {
        scale: 1.0,
        n_fft: 400,
        framing: Framing::CenterReflect,
        window: Window::HannPeriodic,
        window_position: WindowPosition::Center,
        remove_dc: false,
        pre_emphasis: 0.0,
        n_mels,
        low_hz: 0.0,
        high_hz: 8_000.0,
        mel_triangles: MelTriangles::Slaney,
        log_floor: 1e-10,
        ..LogMelRecipe::default()
    })
}

/// Features `(n_mels, n_frames)` of `samples`, which are first freed of their mean, divided by the largest, and followed by
/// zeros up to 30 s. Nothing where all samples are alike.
pub(super) fn of_chunk(mel: &mut LogMel, samples: &[f32], n_frames: usize) -> Option<Vec<f32>> {
    let mean = samples.iter().map(|&v| f64::from(v)).sum::<f64>() / samples.len().max(1) as f64;
    let largest = samples.iter().map(|&v| f64::from(v) - mean).fold(0.0, f64::max);
    if largest <= 0.0 || !largest.is_finite() {
        return None;
    }
    let mut scaled: Vec<f32> = samples.iter().map(|&v| ((f64::from(v) - mean) / largest) as f32).collect();
    scaled.resize(CHUNK_SAMPLES, 0.0);
    let n_mels = mel.params().n_mels();
    let mut rows = Vec::new();
    mel.transform(&scaled, &mut rows);
    // The last frame, which lies behind the end, is left out.
    rows.truncate(n_frames * n_mels);
    let ln_to_log10 = std::f32::consts::LOG10_E;
    let floor = rows.iter().copied().fold(f32::NEG_INFINITY, f32::max) * ln_to_log10 - RANGE;
    rows.iter_mut().for_each(|v| *v = ((*v * ln_to_log10).max(floor) + 4.0) / 4.0);
    let mut features = Vec::new();
    to_mel_major(&rows, n_mels, &mut features).ok()?;
    Some(features)
}
