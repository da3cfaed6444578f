//! Levels: RMS and peak over a running window, and the noise floor with the signal-to-noise ratio it gives.
//!
//! dBFS here: 0 dB is full scale ±1, so a full-scale square wave has an RMS of 0 dBFS and a full-scale sine
//! one of −3 dBFS. Energies are mean squares: 1 is 0 dBFS.

use crate::frame_cutter::{FRAME_SAMPLES, Frame, FrameCutter};

/// The level of digital silence, in dBFS: below the least bit of 16-bit audio by 30 dB.
pub const SILENCE_DBFS: f32 = -120.0;

/// The level of a mean square, in dBFS, at least [`SILENCE_DBFS`].
#[must_use]
pub fn energy_dbfs(mean_square: f32) -> f32 {
    (10.0 * mean_square.log10()).max(SILENCE_DBFS)
}

/// Mean square of a 10 ms frame.
#[must_use]
pub fn frame_energy(frame: &Frame) -> f32 {
    frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME_SAMPLES as f32
}

/// RMS and peak level over the last frames of a stream.
///
/// Works in whole frames of 10 ms, so that what it says after a number of samples does not depend on how they
/// came. Look-ahead: 10 ms. 8 bytes per frame of the window; no allocation after [`LevelMeter::new`].
#[derive(Debug, Clone)]
pub struct LevelMeter {
    cutter: FrameCutter,
    recent: RecentFrames,
}

/// Energy and peak of the last frames.
#[derive(Debug, Clone)]
struct RecentFrames {
    frames: Box<[(f32, f32)]>,
    n_seen: usize,
    next: usize,
}

impl LevelMeter {
    /// A meter over `window_ms`, rounded up to whole frames of 10 ms, at least one. Allocates.
    #[must_use]
    pub fn new(window_ms: u32) -> Self {
        let n_frames = window_ms.div_ceil(10).max(1) as usize;
        let frames = vec![(0.0, 0.0); n_frames].into_boxed_slice();
        Self { cutter: FrameCutter::new(), recent: RecentFrames { frames, n_seen: 0, next: 0 } }
    }

    /// Takes `samples` (mono, 16 kHz, full scale ±1, finite).
    pub fn push(&mut self, samples: &[f32]) {
        let Self { cutter, recent } = self;
        cutter.push(samples, |frame| recent.push(frame));
    }

    /// RMS level over the window, or over what was heard if that is less, in dBFS.
    #[must_use]
    pub fn rms_dbfs(&self) -> f32 {
        let seen = self.recent.seen();
        if seen.is_empty() {
            return SILENCE_DBFS;
        }
        energy_dbfs(seen.iter().map(|(energy, _)| energy).sum::<f32>() / seen.len() as f32)
    }

    /// Level of the largest magnitude in the window, in dBFS.
    #[must_use]
    pub fn peak_dbfs(&self) -> f32 {
        let peak = self.recent.seen().iter().fold(0.0f32, |peak, &(_, frame_peak)| peak.max(frame_peak));
        energy_dbfs(peak * peak)
    }

    /// Goes back to the start of a stream.
    pub fn reset(&mut self) {
        self.cutter.reset();
        self.recent.n_seen = 0;
        self.recent.next = 0;
    }
}

impl RecentFrames {
    fn push(&mut self, frame: &Frame) {
        let peak = frame.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        self.frames[self.next] = (frame_energy(frame), peak);
        self.next = (self.next + 1) % self.frames.len();
        self.n_seen = (self.n_seen + 1).min(self.frames.len());
    }

    fn seen(&self) -> &[(f32, f32)] {
        &self.frames[..self.n_seen]
    }
}

/// Follows the energy of the background noise under speech and pauses alike.
///
/// Minimum statistics (Martin 2001) on the energy of the whole band instead of each bin of a spectrum: energies
/// are averaged over 50 ms, and the minimum of the last 3 s, which hold a pause in all but the most breathless
/// speech, is the noise less a constant bias, which is put back. Martin's smoothing varies with the energy and
/// his bias with its variance; here both are constants, since the energy of 800 samples varies little in noise.
/// Noise that rises is followed after 3 s, noise that falls within 50 ms.
///
/// Within 0.5 dB in steady noise; it reads low in noise that comes in bursts. Constant time per frame, no
/// allocation.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseFloor {
    /// The last energies, newest last.
    recent: [f32; N_AVERAGED],
    n_recent: usize,
    /// Minimum of each finished part of the window, newest last, and of the part under way.
    parts: [f32; N_PARTS],
    part: f32,
    n_in_part: u32,
}

/// Frames that are averaged: a pause of 50 ms is enough to be seen.
const N_AVERAGED: usize = 5;
/// Parts of the window: it slides in steps of 380 ms.
const N_PARTS: usize = 8;
/// Frames of a part.
const PART_FRAMES: u32 = 38;
/// Mean over minimum of averaged white noise in the window. The average of 800 squares has a relative deviation
/// of 3 % (uniform noise) to 5 % (Gaussian), and the least of 300 overlapping ones lies 2.5 deviations down:
/// 8 to 13 %. The test `white_noise_is_read_right` holds the value.
const BIAS: f32 = 1.1;
/// The lowest floor, −100 dBFS: under digital silence everything would be infinitely loud.
const MIN_ENERGY: f32 = 1e-10;
/// What [`NoiseFloor::snr_db`] can say, in dB.
const SNR_RANGE_DB: (f32, f32) = (-10.0, 60.0);

impl Default for NoiseFloor {
    fn default() -> Self {
        Self::new()
    }
}

impl NoiseFloor {
    /// A floor that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            recent: [0.0; N_AVERAGED],
            n_recent: 0,
            parts: [f32::INFINITY; N_PARTS],
            part: f32::INFINITY,
            n_in_part: 0,
        }
    }

    /// Takes the mean square of the next 10 ms frame, at least 0; what is no number is passed over.
    pub fn push(&mut self, frame_energy: f32) {
        if !frame_energy.is_finite() {
            return;
        }
        self.recent.rotate_left(1);
        self.recent[N_AVERAGED - 1] = frame_energy;
        self.n_recent = (self.n_recent + 1).min(N_AVERAGED);
        let average = self.recent[N_AVERAGED - self.n_recent..].iter().sum::<f32>() / self.n_recent as f32;
        self.part = self.part.min(average);
        self.n_in_part += 1;
        if self.n_in_part == PART_FRAMES {
            self.parts.rotate_left(1);
            self.parts[N_PARTS - 1] = self.part;
            self.part = f32::INFINITY;
            self.n_in_part = 0;
        }
    }

    /// Mean square of the noise, at least 1e-10; `None` before the first frame.
    #[must_use]
    pub fn energy(&self) -> Option<f32> {
        if self.n_recent == 0 {
            return None;
        }
        let least = self.parts.iter().fold(self.part, |least, &part| least.min(part));
        Some((least * BIAS).max(MIN_ENERGY))
    }

    /// Level of the noise, in dBFS; `None` before the first frame.
    #[must_use]
    pub fn dbfs(&self) -> Option<f32> {
        self.energy().map(energy_dbfs)
    }

    /// Signal-to-noise ratio of a region with this mean square, in dB from −10 to 60: the noise is taken out of
    /// the region's energy first. `None` before the first frame.
    #[must_use]
    pub fn snr_db(&self, region_energy: f32) -> Option<f32> {
        let noise = self.energy()?;
        let ratio = (region_energy - noise).max(0.0) / noise;
        Some((10.0 * ratio.log10()).clamp(SNR_RANGE_DB.0, SNR_RANGE_DB.1))
    }

    /// Forgets everything heard.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_signal::{blocks, noise, sine, speech_like};
    use proptest::prelude::*;

    fn energies(samples: &[f32]) -> Vec<f32> {
        let mut got = Vec::new();
        FrameCutter::new().push(samples, |frame| got.push(frame_energy(frame)));
        got
    }

    fn heard(samples: &[f32]) -> NoiseFloor {
        let mut floor = NoiseFloor::new();
        energies(samples).into_iter().for_each(|energy| floor.push(energy));
        floor
    }

    fn near(got: f32, expected: f32, tolerance: f32) {
        assert!((got - expected).abs() <= tolerance, "{got} is not {expected}");
    }

    #[test]
    fn levels_of_known_signals() {
        let mut meter = LevelMeter::new(1_000);
        assert_eq!((meter.rms_dbfs(), meter.peak_dbfs()), (SILENCE_DBFS, SILENCE_DBFS));
        meter.push(&sine(16_000, 1_000.0, 16_000, 1.0));
        near(meter.rms_dbfs(), -3.01, 0.01);
        near(meter.peak_dbfs(), 0.0, 0.01);
        meter.push(&sine(16_000, 1_000.0, 16_000, 0.1));
        near(meter.rms_dbfs(), -23.01, 0.01);
        meter.push(&[0.0; 16_000]);
        assert_eq!((meter.rms_dbfs(), meter.peak_dbfs()), (SILENCE_DBFS, SILENCE_DBFS));
        meter.push(&[0.5; 1_600]);
        near(meter.rms_dbfs(), -16.02, 0.01);
        meter.reset();
        assert_eq!(meter.rms_dbfs(), SILENCE_DBFS);
        meter.push(&[0.5; 160]);
        near(meter.rms_dbfs(), -6.02, 0.01);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn levels_do_not_depend_on_block_size(
            n_samples in 0usize..20_000,
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let samples = noise(n_samples, 0.4, 3);
            let mut whole = LevelMeter::new(300);
            whole.push(&samples);
            let mut cut = LevelMeter::new(300);
            blocks(cuts, n_samples).into_iter().for_each(|block| cut.push(&samples[block]));
            prop_assert_eq!(whole.rms_dbfs(), cut.rms_dbfs());
            prop_assert_eq!(whole.peak_dbfs(), cut.peak_dbfs());
        }
    }

    #[test]
    fn white_noise_is_read_right() {
        for (seed, amplitude) in (1..8).zip([0.000_1, 0.001, 0.003, 0.01, 0.03, 0.1, 0.5]) {
            let samples = noise(16_000 * 10, amplitude, seed);
            let true_dbfs = energy_dbfs(amplitude * amplitude / 3.0);
            near(heard(&samples).dbfs().unwrap(), true_dbfs, 0.5);
        }
    }

    #[test]
    fn the_floor_stays_under_speech() {
        let mut samples = noise(16_000 * 12, 0.003, 5);
        let floor_before = heard(&samples).dbfs().unwrap();
        for (to, from) in samples[32_000..160_000].iter_mut().zip(speech_like(128_000, 0.3)) {
            *to += from;
        }
        near(heard(&samples[..160_000]).dbfs().unwrap(), floor_before, 1.0);
    }

    #[test]
    fn noise_that_rises_or_falls_is_followed() {
        let samples = [noise(48_000, 0.003, 5), noise(64_000, 0.03, 6), noise(3_200, 0.003, 7)].concat();
        near(heard(&samples[..112_000]).dbfs().unwrap(), -35.2, 1.0);
        near(heard(&samples).dbfs().unwrap(), -55.2, 1.0);
    }

    #[test]
    fn the_ratio_of_a_known_mixture() {
        let floor = heard(&noise(16_000 * 5, 0.01, 5));
        let noise_energy = 0.01f32 * 0.01 / 3.0;
        for snr_db in [0.0f32, 10.0, 30.0] {
            let region = noise_energy * (1.0 + 10f32.powf(snr_db / 10.0));
            near(floor.snr_db(region).unwrap(), snr_db, 0.7);
        }
        assert_eq!(floor.snr_db(0.0), Some(-10.0));
        assert_eq!(heard(&[0.0; 16_000]).snr_db(0.1), Some(60.0));
        assert_eq!(heard(&[0.0; 16_000]).snr_db(0.0), Some(-10.0));
        assert_eq!(NoiseFloor::new().snr_db(0.1), None);
    }

    #[test]
    fn what_is_no_number_is_passed_over_and_reset_equals_new() {
        let mut floor = heard(&noise(16_000, 0.01, 5));
        let before = floor.clone();
        floor.push(f32::NAN);
        floor.push(f32::INFINITY);
        assert_eq!(floor, before);
        floor.reset();
        assert_eq!(floor, NoiseFloor::new());
    }
}
