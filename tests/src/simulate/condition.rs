//! What happens to speech between a speaker and the recording, by kind of conversation.

use std::f64::consts::TAU;

use super::kind::Kind;
use super::rng::Rng;

const RATE: f64 = diarized_dsp::SAMPLE_RATE_HZ as f64;

/// The condition of one conversation, drawn once.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// Nothing changes.
    Plain,
    /// One line for each speaker.
    Telephone(Vec<Line>),
    /// A delayed copy follows one speaker.
    Echo { speaker_idx: usize, delay_s: f64, gain: f32 },
    /// Another microphone from `from_s` on.
    Microphone { from_s: f64, line: Line },
    /// One speaker is far away.
    Far { speaker_idx: usize, level_db: f64, tail: Vec<f32> },
    /// Music `below_db` under the loudest speech.
    Music { below_db: f64 },
    /// Speakers change their effort with every turn.
    Effort,
}

/// A band, a level and a codec.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    low_hz: f64,
    high_hz: f64,
    level_db: f64,
    mu_law: bool,
}

impl Condition {
    /// Draws what a conversation of this kind needs.
    pub(super) fn draw(kind: Kind, n_speakers: usize, duration_s: f64, rng: &mut Rng) -> Self {
        match kind {
            Kind::Meeting | Kind::Quick => Self::Plain,
            Kind::Telephone => Self::Telephone((0..n_speakers).map(|_| Line::draw(rng)).collect()),
            Kind::Echo => Self::Echo {
                speaker_idx: rng.below(n_speakers),
                delay_s: rng.between(0.06, 0.4),
                gain: rng.between(0.15, 0.5) as f32,
            },
            Kind::Microphone => {
                Self::Microphone { from_s: duration_s * rng.between(0.4, 0.6), line: Line::draw(rng) }
            }
            Kind::Far => Self::Far {
                speaker_idx: rng.below(n_speakers),
                level_db: rng.between(-18.0, -10.0),
                tail: tail(rng),
            },
            Kind::Music => Self::Music { below_db: rng.between(8.0, 22.0) },
            Kind::Effort => Self::Effort,
        }
    }

    /// What is recorded of one turn.
    pub(super) fn of_turn(&self, who: usize, start_s: f64, mut wet: Vec<f32>, rng: &mut Rng) -> Vec<f32> {
        match self {
            Self::Telephone(lines) => lines[who].pass(&mut wet),
            Self::Echo { speaker_idx, delay_s, gain } if *speaker_idx == who => {
                let delay = (delay_s * RATE) as usize;
                wet.resize(wet.len() + delay, 0.0);
                for at in (delay..wet.len()).rev() {
                    wet[at] += gain * wet[at - delay];
                }
            }
            Self::Microphone { from_s, line } if start_s >= *from_s => line.pass(&mut wet),
            Self::Far { speaker_idx, level_db, tail } if *speaker_idx == who => {
                let gain = 10f64.powf(level_db / 20.0) as f32;
                let echoes = super::room::convolve(&wet, tail);
                wet = echoes.into_iter().map(|sample| sample * gain).collect();
            }
            Self::Effort => wet = with_effort(&wet, rng),
            _ => {}
        }
        wet
    }

    /// What is added to the whole.
    pub(super) fn of_mixture(&self, samples: &mut [f32], rng: &mut Rng) {
        let Self::Music { below_db } = self else { return };
        let peak = samples.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        let gain = peak * 10f64.powf(-below_db / 20.0) as f32;
        for (sample, note) in samples.iter_mut().zip(music(rng)) {
            *sample += gain * note;
        }
    }
}

impl Line {
    /// A telephone line, a wide-band call or a cheap headset.
    fn draw(rng: &mut Rng) -> Self {
        let (low_hz, high_hz, mu_law) = match rng.below(3) {
            0 => (rng.between(200.0, 350.0), rng.between(3_000.0, 3_600.0), true),
            1 => (rng.between(80.0, 150.0), rng.between(5_000.0, 7_000.0), false),
            _ => (rng.between(100.0, 300.0), rng.between(3_500.0, 5_000.0), false),
        };
        Self { low_hz, high_hz, level_db: rng.between(-8.0, 4.0), mu_law }
    }

    fn pass(&self, samples: &mut [f32]) {
        for _ in 0..2 {
            Biquad::high_pass(self.low_hz).run(samples);
            Biquad::low_pass(self.high_hz).run(samples);
        }
        let gain = 10f64.powf(self.level_db / 20.0) as f32;
        samples.iter_mut().for_each(|sample| *sample *= gain);
        if self.mu_law {
            samples.iter_mut().for_each(|sample| *sample = mu_law(*sample));
        }
    }
}

/// A sample after µ-law coding with 8 bits (ITU-T G.711, the continuous curve).
fn mu_law(sample: f32) -> f32 {
    const MU: f32 = 255.0;
    let magnitude = sample.abs().min(1.0);
    let code = ((1.0 + MU * magnitude).ln() / (1.0 + MU).ln() * 127.0).round() / 127.0;
    sample.signum() * ((1.0 + MU).powf(code) - 1.0) / MU
}

/// A second-order filter (Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients").
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
}

impl Biquad {
    fn low_pass(hz: f64) -> Self {
        let (cos, alpha) = Self::angle(hz);
        let b = (1.0 - cos) / 2.0;
        Self::normalised([b, 1.0 - cos, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    fn high_pass(hz: f64) -> Self {
        let (cos, alpha) = Self::angle(hz);
        let b = f64::midpoint(1.0, cos);
        Self::normalised([b, -1.0 - cos, b], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    /// Cosine of the corner's angle, and its width at a quality of 0.707.
    fn angle(hz: f64) -> (f64, f64) {
        let angle = TAU * hz / RATE;
        (angle.cos(), angle.sin() / std::f64::consts::SQRT_2)
    }

    fn normalised(b: [f64; 3], a: [f64; 3]) -> Self {
        Self { b: b.map(|b| b / a[0]), a: [a[1] / a[0], a[2] / a[0]] }
    }

    fn run(&self, samples: &mut [f32]) {
        let (mut s1, mut s2) = (0.0, 0.0);
        for sample in samples {
            let x = f64::from(*sample);
            let y = self.b[0] * x + s1;
            s1 = self.b[1] * x - self.a[0] * y + s2;
            s2 = self.b[2] * x - self.a[1] * y;
            *sample = y as f32;
        }
    }
}

/// A large room's response without a clear direct path: 0.5 to 1 s, the direct sound 3 to 9 dB under the rest.
fn tail(rng: &mut Rng) -> Vec<f32> {
    let rt60_s = rng.between(0.5, 1.0);
    let n = (rt60_s * RATE) as usize;
    let mut taps: Vec<f64> = (0..n).map(|i| rng.normal() * (-6.908 * i as f64 / n as f64).exp()).collect();
    let energy: f64 = taps.iter().map(|tap| tap * tap).sum();
    taps.iter_mut().for_each(|tap| *tap /= energy.sqrt());
    taps[0] = 10f64.powf(-rng.between(3.0, 9.0) / 20.0);
    taps.into_iter().map(|tap| tap as f32).collect()
}

/// Louder speech is higher, faster and brighter; calmer speech the contrary.
fn with_effort(samples: &[f32], rng: &mut Rng) -> Vec<f32> {
    let effort = rng.normal().clamp(-1.5, 1.5);
    let rate = 1.0 + 0.05 * effort;
    let n = (samples.len() as f64 / rate) as usize;
    let mut out: Vec<f32> = (0..n)
        .map(|i| {
            let at = i as f64 * rate;
            let (low, part) = (at as usize, at.fract() as f32);
            let next = samples.get(low + 1).copied().unwrap_or(0.0);
            samples[low] * (1.0 - part) + next * part
        })
        .collect();
    // A first difference tilts the spectrum up, a sum of neighbours down.
    let tilt = (0.3 * effort) as f32;
    let mut before = 0.0;
    for sample in &mut out {
        let here = *sample;
        *sample = here - tilt * before;
        before = here;
    }
    let gain = 10f64.powf(4.0 * effort / 20.0) as f32;
    out.iter_mut().for_each(|sample| *sample *= gain);
    out
}

/// Chords of plucked harmonics without end; the loudest sample is about 1.
fn music(rng: &mut Rng) -> impl Iterator<Item = f32> + use<> {
    const BEAT_S: f64 = 0.5;
    let mut rng = rng.clone();
    let root = rng.between(110.0, 220.0);
    let mut notes: Vec<(f64, f64)> = Vec::new();
    let beat = (BEAT_S * RATE) as usize;
    (0_usize..).map(move |n| {
        if n.is_multiple_of(beat) {
            let chord = [0, 3, 5, 7][rng.below(4)];
            notes = [0, if rng.chance(0.5) { 3 } else { 4 }, 7, 12]
                .iter()
                .map(|step| (root * 2f64.powf(f64::from(chord + step) / 12.0), rng.unit()))
                .collect();
        }
        let t = (n % beat) as f64 / RATE;
        let envelope = (1.0 - (-t * 200.0).exp()) * (-t * 3.0).exp();
        let wave = |(hz, phase): &(f64, f64)| {
            (1..=4).map(|k| (TAU * (f64::from(k) * hz * t + phase)).sin() / f64::from(k)).sum::<f64>()
        };
        (notes.iter().map(wave).sum::<f64>() * envelope / 6.0) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64) -> Vec<f32> {
        (0..16_000).map(|n| (0.1 * (TAU * hz * f64::from(n) / RATE).sin()) as f32).collect()
    }

    fn level_db(samples: &[f32]) -> f64 {
        let settled = &samples[samples.len() / 4..];
        10.0 * (settled.iter().map(|s| f64::from(s * s)).sum::<f64>() / settled.len() as f64).log10()
    }

    #[test]
    fn a_line_passes_its_band_alone() {
        let line = Line { low_hz: 300.0, high_hz: 3_400.0, level_db: 0.0, mu_law: true };
        let change = |hz: f64| {
            let mut samples = tone(hz);
            line.pass(&mut samples);
            level_db(&samples) - level_db(&tone(hz))
        };
        assert!(change(1_000.0).abs() < 1.0, "{}", change(1_000.0));
        assert!(change(60.0) < -25.0 && change(6_800.0) < -15.0, "{} {}", change(60.0), change(6_800.0));
    }

    #[test]
    fn an_echo_is_a_delayed_copy_of_one_speaker_alone() {
        let echo = Condition::Echo { speaker_idx: 1, delay_s: 0.1, gain: 0.5 };
        let click = || vec![1.0_f32, 0.0, 0.0, 0.0];
        let mut rng = Rng::new(1, 1);
        assert_eq!(echo.of_turn(0, 0.0, click(), &mut rng), click());
        let heard = echo.of_turn(1, 0.0, click(), &mut rng);
        assert_eq!((heard.len(), heard[0], heard[1_600]), (1_604, 1.0, 0.5));
        assert!((heard.iter().sum::<f32>() - 1.5).abs() < 1e-6);
    }

    #[test]
    fn effort_changes_length_and_level_and_music_is_bounded() {
        let mut rng = Rng::new(3, 0);
        let lengths: Vec<usize> = (0..8).map(|_| with_effort(&tone(200.0), &mut rng).len()).collect();
        assert!(lengths.iter().any(|n| *n > 16_100) && lengths.iter().any(|n| *n < 15_900), "{lengths:?}");
        let loudest = music(&mut rng).take(160_000).fold(0.0_f32, |m, s| m.max(s.abs()));
        assert!((0.3..=1.5).contains(&loudest), "{loudest}");
    }
}
