//! Float samples on the scale of integers: noticed, and brought back to full scale at ±1.

/// Finite samples above this magnitude, 12 dB above full scale, are none of a signal whose full scale is 1.
pub(crate) const SAMPLE_LIMIT: f32 = 4.0;
/// Integers from here on are no samples of a signal whose full scale is 1 either.
const INTEGER_LIMIT: f32 = 2.0;
/// Samples that are judged together.
const WINDOW_SAMPLES: u32 = 800;
/// Number of samples out of range before all later ones are scaled: single ones are damage.
const FAR_SAMPLES: u32 = WINDOW_SAMPLES / 4;
/// Bits of the integers that samples may have been. Those of 8 bits are missing: the noise of a quiet room has the same values
/// on the scale of 16 bits, which is met, while no program is known to store 8 bits as floats. Such samples come out far too
/// quiet.
const BITS: [u32; 3] = [16, 24, 32];

/// The scale of a stream of samples; it is judged sample by sample, so that blocks do not matter.
#[derive(Debug, Clone)]
pub(crate) struct FloatScale {
    bits: Option<u32>,
    gain: f32,
    n_window: u32,
    n_far: u32,
    peak: f32,
}

impl FloatScale {
    pub(crate) fn new() -> Self {
        Self { bits: None, gain: 1.0, n_window: 0, n_far: 0, peak: 0.0 }
    }

    /// Bits of the integers that the samples were scaled like, once that is known.
    pub(crate) fn bits(&self) -> Option<u32> {
        self.bits
    }

    /// A finite sample on the scale of ±1; `None` if it is out of range.
    #[inline]
    pub(crate) fn take(&mut self, sample: f32) -> Option<f32> {
        let scaled = sample * self.gain;
        let magnitude = scaled.abs();
        if magnitude < INTEGER_LIMIT && self.n_far == 0 {
            return Some(scaled);
        }
        self.judge(scaled, magnitude)
    }

    fn judge(&mut self, scaled: f32, magnitude: f32) -> Option<f32> {
        self.n_window += 1;
        let is_integer = self.bits.is_none() && magnitude >= INTEGER_LIMIT && scaled.fract() == 0.0;
        let is_far = magnitude > SAMPLE_LIMIT || is_integer;
        if is_far {
            self.n_far += 1;
            self.peak = self.peak.max(magnitude / self.gain);
        }
        if self.n_far >= FAR_SAMPLES {
            // A peak of the first samples is rarely the highest; it tells the number of bits all the same.
            let bits = BITS.into_iter().find(|bits| self.peak <= full_scale(*bits) * 1.5).unwrap_or(32);
            self.bits = Some(bits);
            self.gain = 1.0 / full_scale(bits);
        }
        if self.n_far >= FAR_SAMPLES || self.n_window >= WINDOW_SAMPLES {
            (self.n_window, self.n_far, self.peak) = (0, 0, 0.0);
        }
        (!is_far).then_some(scaled)
    }
}

fn full_scale(bits: u32) -> f32 {
    (1_u64 << (bits - 1)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_signal::noise;

    /// What is left of noise of this amplitude in the second half, and the bits that were found.
    fn heard(amplitude: f32, rounds: bool) -> (f32, Option<u32>) {
        let mut scale = FloatScale::new();
        let samples = noise(8000, 1.0, 4);
        let samples = samples.iter().map(|s| s * amplitude).map(|s| if rounds { s.round() } else { s });
        let heard: Vec<f32> = samples.map(|s| scale.take(s).unwrap_or(0.0)).collect();
        (heard[4000..].iter().fold(0.0, |peak, s| s.abs().max(peak)), scale.bits())
    }

    #[test]
    fn samples_on_the_scale_of_integers_are_brought_back() {
        for (amplitude, full, bits) in [
            (3000.0, 32_768.0, 16),
            (32_767.0, 32_768.0, 16),
            (4e6, 8_388_608.0, 24),
            (1.2e9, 2_147_483_648.0, 32),
        ] {
            for rounds in [false, true] {
                let (peak, found) = heard(amplitude, rounds);
                assert_eq!(found, Some(bits), "{amplitude}");
                assert!((peak / (amplitude / full) - 1.0).abs() < 0.05, "{amplitude}: {peak}");
            }
        }
        // The noise of a quiet room, in steps of the last bit.
        assert_eq!(heard(6.0, true).1, Some(16));
    }

    #[test]
    fn samples_of_full_scale_one_stay_and_single_wild_ones_are_left_out() {
        for amplitude in [0.001, 0.9, 1.9, 3.9] {
            let (peak, found) = heard(amplitude, false);
            assert!(found.is_none() && (peak / amplitude - 1.0).abs() < 0.05, "{amplitude}");
        }
        let mut scale = FloatScale::new();
        for n in 0..100_000 {
            let wild = n % 10 == 0;
            let heard = scale.take(if wild { 3e8 } else { 0.25 });
            assert_eq!(heard, (!wild).then_some(0.25), "{n}");
        }
    }
}
