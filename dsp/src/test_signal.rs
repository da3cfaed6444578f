//! Deterministic signals for the tests of this crate.

/// White noise of the given amplitude from a 32-bit linear congruential generator.
pub(crate) fn noise(n_samples: usize, amplitude: f32, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n_samples)
        .map(|_| {
            // Numerical Recipes' constants; the high bits are the good ones.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            amplitude * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
        })
        .collect()
}

/// A sine at 16 kHz.
pub(crate) fn sine(n_samples: usize, hz: f64, rate_hz: u32, amplitude: f64) -> Vec<f32> {
    let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
    (0..n_samples).map(|n| (amplitude * (step * n as f64).sin()) as f32).collect()
}

/// Harmonics of a gliding 120 Hz pitch, loud around three formants: four syllables of 250 ms, a pause of 200 ms,
/// and so on.
pub(crate) fn speech_like(n_samples: usize, amplitude: f32) -> Vec<f32> {
    let mut phase = 0.0f64;
    let mut samples = vec![0.0f64; n_samples];
    for (n, sample) in samples.iter_mut().enumerate() {
        let t = n as f64 / 16_000.0;
        let pitch_hz = 120.0 + 20.0 * (std::f64::consts::TAU * 0.7 * t).sin();
        phase += std::f64::consts::TAU * pitch_hz / 16_000.0;
        let in_phrase = t % 1.2;
        let syllable =
            if in_phrase < 1.0 { (std::f64::consts::PI * in_phrase / 0.25).sin().abs() } else { 0.0 };
        for harmonic in 1..30 {
            let hz = pitch_hz * f64::from(harmonic);
            let gain: f64 = [(500.0, 1.0), (1_500.0, 0.5), (2_500.0, 0.25)]
                .iter()
                .map(|(formant, height)| height / (1.0 + ((hz - formant) / 120.0f64).powi(2)))
                .sum();
            *sample += syllable * gain * (phase * f64::from(harmonic)).sin();
        }
    }
    let peak = samples.iter().fold(1e-9f64, |peak, s| peak.max(s.abs()));
    samples.into_iter().map(|s| (s / peak * f64::from(amplitude)) as f32).collect()
}

/// Random cuts of `0..len` into consecutive blocks, made from proptest's numbers.
pub(crate) fn blocks(mut cuts: Vec<usize>, len: usize) -> Vec<std::ops::Range<usize>> {
    cuts.iter_mut().for_each(|cut| *cut %= len + 1);
    cuts.extend([0, len]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}
