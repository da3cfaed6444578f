//! The mean of all channels, or one of them where the channels cancel each other, as with one that is inverted.

/// Most input channels.
pub const MAX_CHANNELS: u16 = 8;

/// Windows in which channels are compared, a second.
const WINDOWS_PER_S: u32 = 20;
/// Windows in a row after which it is believed: a fifth of a second of sound.
const N_WINDOWS: u32 = 4;
/// Least mean energy of a sample that counts as sound, −50 dBFS.
const SOUND_ENERGY: f64 = 1e-5;
/// Channels cancel each other where the mean keeps less than this share of their energy: two of which one is not the
/// other inverted keep a half, and the same sound keeps all.
const CANCELLED_SHARE: f64 = 0.02;
/// They do not any longer from this share on.
const SOUND_SHARE: f64 = 0.2;

/// What becomes of the channels of each frame.
#[derive(Debug, Clone)]
pub(crate) struct ChannelMix {
    window_frames: u32,
    n_frames: u32,
    mix_energy: f64,
    energies: [f64; MAX_CHANNELS as usize],
    /// Windows in a row that speak for a change.
    n_windows: u32,
    /// The channel that is listened to in the place of the mean.
    only: Option<u16>,
    /// The first one that ever was.
    first_only: Option<u16>,
}

impl ChannelMix {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self {
            window_frames: rate_hz / WINDOWS_PER_S,
            n_frames: 0,
            mix_energy: 0.0,
            energies: [0.0; MAX_CHANNELS as usize],
            n_windows: 0,
            only: None,
            first_only: None,
        }
    }

    /// The channel that was listened to because the mean of all is silent, if that was so.
    pub(crate) fn first_only(&self) -> Option<u16> {
        self.first_only
    }

    /// One sample of a frame of two channels or more.
    pub(crate) fn take(&mut self, frame: &[f32]) -> f32 {
        let mean = frame.iter().sum::<f32>() / frame.len() as f32;
        self.mix_energy += f64::from(mean * mean);
        for (energy, sample) in self.energies.iter_mut().zip(frame) {
            *energy += f64::from(sample * sample);
        }
        let sample = self.only.map_or(mean, |channel| frame[usize::from(channel)]);
        self.n_frames += 1;
        if self.n_frames >= self.window_frames {
            self.judge(frame.len());
        }
        sample
    }

    fn judge(&mut self, n_channels: usize) {
        let energies = &self.energies[..n_channels];
        let energy = energies.iter().sum::<f64>() / n_channels as f64;
        if energy >= SOUND_ENERGY * f64::from(self.n_frames) {
            let share = self.mix_energy / energy;
            let speaks = if self.only.is_some() { share >= SOUND_SHARE } else { share < CANCELLED_SHARE };
            self.n_windows = if speaks { self.n_windows + 1 } else { 0 };
        }
        if self.n_windows >= N_WINDOWS {
            self.n_windows = 0;
            let loudest = (0..n_channels).max_by(|a, b| energies[*a].total_cmp(&energies[*b]).then(b.cmp(a)));
            self.only = if self.only.is_some() { None } else { loudest.map(|idx| idx as u16) };
            self.first_only = self.first_only.or(self.only);
        }
        (self.n_frames, self.mix_energy) = (0, 0.0);
        self.energies = [0.0; MAX_CHANNELS as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_signal::noise;

    const RATE: u32 = 8000;

    /// Energy of these channels in each second.
    fn heard(frames: impl Iterator<Item = [f32; 2]>) -> (Vec<f32>, Option<u16>) {
        let mut mix = ChannelMix::new(RATE);
        let samples: Vec<f32> = frames.map(|frame| mix.take(&frame)).collect();
        let energies = samples.chunks(RATE as usize).map(|s| s.iter().map(|s| s * s).sum::<f32>());
        (energies.collect(), mix.first_only())
    }

    #[test]
    fn an_inverted_channel_is_noticed_within_a_quarter_of_a_second() {
        let sound = noise(5 * RATE as usize, 0.3, 1);
        let whole: f32 = sound[..RATE as usize].iter().map(|s| s * s).sum();
        for other in [-1.0, -0.9, -1.1] {
            let (energies, only) = heard(sound.iter().map(|s| [*s, s * other]));
            assert_eq!(only, Some(if other < -1.0 { 1 } else { 0 }));
            assert!(energies[0] > 0.7 * whole && energies[1] > 0.9 * whole, "{energies:?} of {whole}");
        }
    }

    #[test]
    fn the_mean_comes_back_with_sound_that_is_not_cancelled() {
        let sound = noise(8 * RATE as usize, 0.3, 2);
        let (energies, only) =
            heard(sound.iter().enumerate().map(|(n, s)| [*s, if n < 3 * RATE as usize { -s } else { 0.0 }]));
        assert_eq!(only, Some(0));
        let ratio = energies[6] / energies[2];
        assert!((ratio - 0.25).abs() < 0.02, "half of the level is the mean of both: {ratio}");
    }

    #[test]
    fn two_people_on_two_channels_and_quiet_hum_are_mixed() {
        let (a, b) = (noise(4 * RATE as usize, 0.3, 3), noise(4 * RATE as usize, 0.3, 4));
        for (left, right) in [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 0.05)] {
            assert_eq!(heard(a.iter().zip(&b).map(|(a, b)| [a * left, b * right])).1, None);
        }
        assert_eq!(heard(a.iter().map(|s| [s * 0.005, -s * 0.005])).1, None);
    }
}
