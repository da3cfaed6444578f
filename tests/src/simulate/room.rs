//! Simulated rooms: a direct path, early reflections, and a decaying noise as the tail.

use realfft::RealFftPlanner;

use super::rng::Rng;

const RATE: f64 = diarized_dsp::SAMPLE_RATE_HZ as f64;

/// A room that all speakers of a conversation share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// Time in which the tail falls by 60 dB, in seconds; 0 is no room at all (headsets).
    pub rt60_s: f64,
}

/// The way from one speaker to the microphone.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Impulse response at 16 kHz; the direct path is its first sample and has gain 1.
    taps: Vec<f32>,
    /// Energy of the direct path over all other, in dB.
    pub direct_to_reverberant_db: f64,
}

impl Room {
    /// Draws a room: one in four is dry, the others have 0.15 to 0.8 s.
    pub fn draw(rng: &mut Rng) -> Self {
        Self { rt60_s: if rng.chance(0.25) { 0.0 } else { rng.between(0.15, 0.8) } }
    }

    /// Draws a place in the room for one speaker.
    pub fn path(&self, rng: &mut Rng) -> Path {
        if self.rt60_s <= 0.0 {
            return Path { taps: vec![1.0], direct_to_reverberant_db: f64::INFINITY };
        }
        let mut taps = vec![0.0f64; (self.rt60_s * RATE) as usize];
        let tail_from = (0.02 * RATE) as usize;
        let mut low_passed = 0.0;
        for (idx, tap) in taps.iter_mut().enumerate() {
            let fall = (-6.908 * idx as f64 / (self.rt60_s * RATE)).exp();
            // Walls take more of the high frequencies.
            low_passed += 0.6 * (rng.normal() - low_passed);
            let onset = (idx as f64 / tail_from as f64).min(1.0);
            *tap = low_passed * fall * onset;
        }
        for _ in 0..6 + rng.below(9) {
            let at = (rng.between(0.002, 0.045) * RATE) as usize;
            let gain = 2.5 * (-(at as f64) / (0.02 * RATE)).exp() * rng.between(0.4, 1.0);
            if let Some(tap) = taps.get_mut(at) {
                *tap += if rng.chance(0.5) { gain } else { -gain };
            }
        }
        let direct_to_reverberant_db = rng.between(-3.0, 12.0);
        let energy: f64 = taps.iter().map(|tap| tap * tap).sum();
        let gain = (10f64.powf(-direct_to_reverberant_db / 10.0) / energy).sqrt();
        taps.iter_mut().for_each(|tap| *tap *= gain);
        taps[0] = 1.0;
        Path { taps: taps.into_iter().map(|tap| tap as f32).collect(), direct_to_reverberant_db }
    }
}

impl Path {
    /// What the microphone gets of `dry`: as long as both together, less one sample.
    #[must_use]
    pub fn apply(&self, dry: &[f32]) -> Vec<f32> {
        convolve(dry, &self.taps)
    }
}

/// `dry` through an impulse response: as long as both together, less one sample.
pub(super) fn convolve(dry: &[f32], taps: &[f32]) -> Vec<f32> {
    if taps.len() == 1 || dry.is_empty() {
        return dry.iter().map(|sample| sample * taps[0]).collect();
    }
    let n_out = dry.len() + taps.len() - 1;
    let n_fft = n_out.next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(n_fft), planner.plan_fft_inverse(n_fft));
    let spectrum = |samples: &[f32]| {
        let mut padded = samples.to_vec();
        padded.resize(n_fft, 0.0);
        let mut bins = forward.make_output_vec();
        forward.process(&mut padded, &mut bins).expect("both buffers are made for this plan");
        bins
    };
    let mut product = spectrum(dry);
    let scale = 1.0 / n_fft as f32;
    product.iter_mut().zip(spectrum(taps)).for_each(|(a, b)| *a = *a * b * scale);
    // The first and last bin of a real signal are real; rounding may leave a trace.
    for end in [0, product.len() - 1] {
        product[end].im = 0.0;
    }
    let mut wet = inverse.make_output_vec();
    inverse.process(&mut product, &mut wet).expect("both buffers are made for this plan");
    wet.truncate(n_out);
    wet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_convolution_is_the_convolution() {
        let path = Room { rt60_s: 0.02 }.path(&mut Rng::new(1, 2));
        let mut rng = Rng::new(3, 4);
        let dry: Vec<f32> = (0..500).map(|_| rng.normal() as f32).collect();
        let wet = path.apply(&dry);
        assert_eq!(wet.len(), dry.len() + path.taps.len() - 1);
        for at in [0, 7, 250, 499, 600, wet.len() - 1] {
            let term = |(k, tap): (usize, &f32)| at.checked_sub(k).and_then(|i| dry.get(i)).map(|x| x * tap);
            let expected: f32 = path.taps.iter().enumerate().filter_map(term).sum();
            assert!((wet[at] - expected).abs() < 1e-3, "{at}: {} {expected}", wet[at]);
        }
    }

    #[test]
    fn the_tail_falls_by_60_db_in_the_time_asked_for_and_the_direct_path_comes_first() {
        let path = Room { rt60_s: 0.5 }.path(&mut Rng::new(5, 6));
        assert_eq!(path.taps[0], 1.0);
        let energy_db = |from_s: f64| {
            let from = (from_s * RATE) as usize;
            let slice = &path.taps[from..from + 800];
            10.0 * f64::from(slice.iter().map(|t| t * t).sum::<f32>()).log10()
        };
        let fall = energy_db(0.1) - energy_db(0.4);
        assert!((fall - 36.0).abs() < 3.0, "{fall} dB in 0.3 s");
        let reverberant: f64 = path.taps[1..].iter().map(|t| f64::from(t * t)).sum();
        assert!((-10.0 * reverberant.log10() - path.direct_to_reverberant_db).abs() < 0.2);
        assert_eq!(Room { rt60_s: 0.0 }.path(&mut Rng::new(1, 1)).apply(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
