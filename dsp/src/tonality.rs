//! How much of a sound is one pure tone: speech has harmonics and noise beside its strongest one.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// Points of the Fourier transform: bins of 31.25 Hz at 16 kHz.
const N_POINTS: usize = 512;
/// Bins each side of the strongest one that a tone fills through the window, its movement in 25 ms included.
const N_BESIDE: usize = 2;

/// Measures frames of 25 ms at 16 kHz. One thread; allocates when it is made and not afterwards.
pub struct Tonality {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    windowed: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Tonality {
    /// Samples of a frame.
    pub const FRAME_SAMPLES: usize = 400;

    /// Computes tables.
    #[must_use]
    pub fn new() -> Self {
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(N_POINTS);
        // Hann's window.
        let turn = |n: usize| std::f32::consts::TAU * n as f32 / Self::FRAME_SAMPLES as f32;
        Self {
            window: (0..Self::FRAME_SAMPLES).map(|n| 0.5 - 0.5 * turn(n).cos()).collect(),
            windowed: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    /// Share of the power of a frame that is in its strongest tone, in `[0, 1]`; 0 for silence. Takes the first
    /// [`Self::FRAME_SAMPLES`] of `frame`; missing ones are silent.
    pub fn share(&mut self, frame: &[f32]) -> f32 {
        self.windowed.fill(0.0);
        for ((windowed, sample), weight) in self.windowed.iter_mut().zip(frame).zip(&self.window) {
            *windowed = sample * weight;
        }
        let done = self.fft.process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch);
        done.expect("the buffers have the lengths of the plan");
        // A constant offset is no sound.
        let powers = |range: std::ops::Range<usize>| self.spectrum[range].iter().map(Complex32::norm_sqr);
        let n_bins = self.spectrum.len();
        let strongest =
            powers(1..n_bins).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(1, |(n, _)| n + 1);
        let all: f32 = powers(1..n_bins).sum();
        let near = strongest.saturating_sub(N_BESIDE).max(1)..(strongest + N_BESIDE + 1).min(n_bins);
        if all > 0.0 { powers(near).sum::<f32>() / all } else { 0.0 }
    }
}

impl Default for Tonality {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Tonality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tonality").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32) -> impl Fn(usize) -> f32 {
        move |n| 0.3 * (std::f32::consts::TAU * hz * n as f32 / 16_000.0).sin()
    }

    #[test]
    fn a_tone_is_one_and_a_chord_and_noise_are_not() {
        let mut tonality = Tonality::new();
        let mut share = |sound: &dyn Fn(usize) -> f32| {
            tonality.share(&(0..Tonality::FRAME_SAMPLES).map(sound).collect::<Vec<_>>())
        };
        for hz in [60.0, 217.0, 1000.0, 4567.8, 7900.0] {
            assert!(share(&tone(hz)) > 0.99, "{hz} Hz");
        }
        let sweep = |n: usize| tone(300.0 + n as f32 * 0.05)(n);
        assert!(share(&sweep) > 0.98);
        let chord = |n: usize| tone(700.0)(n) + tone(1200.0)(n);
        assert!((share(&chord) - 0.5).abs() < 0.05);
        assert_eq!(share(&|_| 0.0), 0.0);
        assert!(share(&|_| 0.5) <= 1.0, "an offset is no tone of its own");
        let noise = crate::test_signal::noise(Tonality::FRAME_SAMPLES, 0.5, 1);
        assert!(tonality.share(&noise) < 0.6);
    }
}
