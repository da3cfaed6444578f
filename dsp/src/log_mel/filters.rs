//! The tables of the log-mel features: window and mel filters, computed in double precision.

use std::f64::consts::TAU;

use super::choices::{MelTriangles, Window};
use super::params::LogMelRecipe;

/// The window's samples, `frame_length_samples` of them.
pub(super) fn window_samples(recipe: &LogMelRecipe) -> Vec<f64> {
    let length = recipe.frame_length_samples;
    let period = match recipe.window {
        Window::HammingPeriodic | Window::HannPeriodic => length,
        Window::Hamming | Window::Hann | Window::Povey | Window::Rectangular => length - 1,
    };
    (0..length)
        .map(|n| {
            let cos = (TAU * n as f64 / period as f64).cos();
            match recipe.window {
                Window::Hamming | Window::HammingPeriodic => 0.54 - 0.46 * cos,
                Window::Hann | Window::HannPeriodic => 0.5 - 0.5 * cos,
                Window::Povey => (0.5 - 0.5 * cos).powf(0.85),
                Window::Rectangular => 1.0,
            }
        })
        .collect()
}

/// HTK mel of a frequency in Hz.
fn hz_to_mel(hz: f64) -> f64 {
    2_595.0 * (1.0 + hz / 700.0).log10()
}

/// Frequency in Hz of an HTK mel.
fn mel_to_hz(mel: f64) -> f64 {
    700.0 * (10f64.powf(mel / 2_595.0) - 1.0)
}

/// Slaney's mel: 3 for 200 Hz up to 1 kHz, then 27 for each factor of 6.4.
fn hz_to_slaney(hz: f64) -> f64 {
    if hz < 1_000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1_000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn slaney_to_hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1_000.0 * (6.4f64.ln() / 27.0 * (mel - 15.0)).exp() }
}

/// Triangular filters with peak 1, or of one area, kept as the weights that are not 0.
pub(super) struct MelFilters {
    /// Per filter: its first bin, and the end of its weights in `weights`.
    spans: Vec<(usize, usize)>,
    weights: Vec<f64>,
}

impl MelFilters {
    pub(super) fn new(recipe: &LogMelRecipe) -> Self {
        let n_bins = recipe.n_fft / 2 + 1;
        let bin_hz = f64::from(recipe.sample_rate_hz) / recipe.n_fft as f64;
        let is_slaney = recipe.mel_triangles == MelTriangles::Slaney;
        let to_mel = if is_slaney { hz_to_slaney } else { hz_to_mel };
        let (low, high) = (to_mel(recipe.low_hz.into()), to_mel(recipe.high_hz.into()));
        let corner = |n: usize| low + (high - low) * n as f64 / (recipe.n_mels + 1) as f64;
        let (mut spans, mut weights) = (Vec::with_capacity(recipe.n_mels), Vec::new());
        for mel_idx in 0..recipe.n_mels {
            let corners = [corner(mel_idx), corner(mel_idx + 1), corner(mel_idx + 2)];
            let weight = |bin: usize| {
                let hz = bin as f64 * bin_hz;
                let (at, [left, centre, mut right]) = match recipe.mel_triangles {
                    // Kaldi's spectrum stops before the Nyquist bin.
                    MelTriangles::Mel if bin + 1 == n_bins => return 0.0,
                    MelTriangles::Mel => (hz_to_mel(hz), corners),
                    MelTriangles::Hz | MelTriangles::HzEven => (hz, corners.map(mel_to_hz)),
                    MelTriangles::Slaney => (hz, corners.map(slaney_to_hz)),
                };
                if recipe.mel_triangles == MelTriangles::HzEven {
                    right = 2.0 * centre - left;
                }
                let peak = if is_slaney { 2.0 / (right - left) } else { 1.0 };
                peak * ((at - left) / (centre - left)).min((right - at) / (right - centre)).max(0.0)
            };
            let first = (0..n_bins).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            weights.extend((first..n_bins).map(weight).take_while(|&weight| weight > 0.0));
            spans.push((first, weights.len()));
        }
        Self { spans, weights }
    }

    /// The filters' sums over `energies`, one per filter.
    pub(super) fn apply(&self, energies: &[f64]) -> impl Iterator<Item = f64> {
        let mut from = 0;
        self.spans.iter().map(move |&(first, to)| {
            let weights = &self.weights[from..to];
            from = to;
            weights.iter().zip(&energies[first..]).map(|(weight, energy)| weight * energy).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_their_known_values() {
        let window = |window, length| {
            window_samples(&LogMelRecipe { window, frame_length_samples: length, ..LogMelRecipe::default() })
        };
        let near = |got: Vec<f64>, expected: &[f64]| {
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
        };
        near(window(Window::Hamming, 5), &[0.08, 0.54, 1.0, 0.54, 0.08]);
        near(window(Window::HammingPeriodic, 4), &[0.08, 0.54, 1.0, 0.54]);
        near(window(Window::Hann, 5), &[0.0, 0.5, 1.0, 0.5, 0.0]);
        near(window(Window::HannPeriodic, 4), &[0.0, 0.5, 1.0, 0.5]);
        near(window(Window::Povey, 5), &[0.0, 0.554_784_7, 1.0, 0.554_784_7, 0.0]);
        near(window(Window::Rectangular, 3), &[1.0; 3]);
    }

    #[test]
    fn mel_and_hertz_are_inverse() {
        for hz in [0.0, 20.0, 1_000.0, 7_600.0] {
            assert!((mel_to_hz(hz_to_mel(hz)) - hz).abs() < 1e-9);
        }
        assert!((hz_to_mel(1_000.0) - 999.985_5).abs() < 1e-3);
    }

    #[test]
    fn slaneys_mel_and_hertz_are_inverse_and_areas_equal() {
        for hz in [0.0, 20.0, 999.0, 1_000.0, 7_600.0] {
            assert!((slaney_to_hz(hz_to_slaney(hz)) - hz).abs() < 1e-9);
        }
        assert!((hz_to_slaney(1_000.0) - 15.0).abs() < 1e-12 && (hz_to_slaney(6_400.0) - 42.0).abs() < 1e-12);
        let recipe = LogMelRecipe {
            mel_triangles: MelTriangles::Slaney,
            n_fft: 8_192,
            low_hz: 0.0,
            high_hz: 8_000.0,
            ..LogMelRecipe::default()
        };
        let bin_hz = 16_000.0 / 8_192.0;
        for area in MelFilters::new(&recipe).apply(&[1.0; 4_097]) {
            assert!((area * bin_hz - 1.0).abs() < 0.02, "{area}");
        }
    }

    /// Neighbouring triangles over mel add up to 1 between the outermost peaks.
    #[test]
    fn filters_cover_the_band_evenly() {
        let filters = MelFilters::new(&LogMelRecipe::default());
        for bin in 4..230 {
            let mut energies = vec![0.0; 257];
            energies[bin] = 1.0;
            let sum: f64 = filters.apply(&energies).sum();
            assert!((sum - 1.0).abs() < 1e-5, "bin {bin}: {sum}");
        }
    }

    #[test]
    fn a_filter_narrower_than_a_bin_is_empty_and_harmless() {
        let recipe = LogMelRecipe { n_mels: 300, ..LogMelRecipe::default() };
        let filters = MelFilters::new(&recipe);
        let sums: Vec<f64> = filters.apply(&[1.0; 257]).collect();
        assert_eq!(sums.len(), 300);
        assert!(sums.contains(&0.0) && sums.iter().any(|&sum| sum > 0.5));
    }
}
