//! From log-mel rows to what a voice model takes.

use diarized_dsp::log_mel::{Layout, MeanNormalisation, subtract_mean, to_mel_major};

/// Features of a window of `n_frames` from its rows, frame-major: shape `(n_mels, n_frames)`, with the mean subtracted. Too
/// short a stretch is repeated: the network's statistics over time hardly change by that.
pub(in crate::diarizer) fn window_features(
    rows: &[f32],
    n_mels: usize,
    n_frames: usize,
    mean: MeanNormalisation,
) -> Vec<f32> {
    let mut frames: Vec<f32> = Vec::with_capacity(n_frames * n_mels);
    while frames.len() < n_frames * n_mels {
        let room = n_frames * n_mels - frames.len();
        frames.extend(&rows[..room.min(rows.len())]);
    }
    let mut features = Vec::with_capacity(frames.len());
    to_mel_major(&frames, n_mels, &mut features).expect("whole rows were taken");
    subtract_mean(&mut features, n_mels, Layout::MelMajor, mean).expect("whole rows were taken");
    features
}
