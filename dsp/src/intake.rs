//! The way in: interleaved audio of any rate and channel count becomes mono at 16 kHz.

pub use crate::channel_mix::MAX_CHANNELS;
pub use crate::resampling::{MAX_INPUT_RATE_HZ, MIN_INPUT_RATE_HZ};

use crate::channel_mix::ChannelMix;
use crate::clock::SAMPLE_RATE_HZ;
use crate::float_scale::FloatScale;
use crate::resampling::{Resampling, output_len};

/// Which channel of the input is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChannelSelect {
    /// The mean of all channels.
    #[default]
    Mix,
    /// One channel, counted from 0.
    One(u16),
}

/// What arrives: see [`Intake::new`] for the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntakeParams {
    /// Rate of the input, 8 000 to 192 000 Hz; any integer in between.
    pub sample_rate_hz: u32,
    /// Interleaved channels of the input, 1 to 8.
    pub n_channels: u16,
    /// The channel that is used.
    pub channel: ChannelSelect,
}

/// Why an [`Intake`] could not be made or did not take a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The input rate is out of range.
    #[error("sample rate ({got} Hz) must be from {MIN_INPUT_RATE_HZ} to {MAX_INPUT_RATE_HZ} Hz")]
    SampleRate {
        /// The rate that was asked for, in Hz.
        got: u32,
    },
    /// The number of channels is out of range.
    #[error("number of channels ({got}) must be from 1 to {MAX_CHANNELS}")]
    Channels {
        /// The number that was asked for.
        got: u16,
    },
    /// The chosen channel does not exist.
    #[error("channel ({got}, counted from 0) must be below the number of channels ({n_channels})")]
    ChannelIndex {
        /// The channel that was asked for.
        got: u16,
        /// Channels of the input.
        n_channels: u16,
    },
    /// A block does not hold whole frames of all channels. Nothing of it was taken; the intake is unchanged
    /// and the next block may be pushed.
    #[error("block length ({got} samples) must be a multiple of the number of channels ({n_channels})")]
    PartialFrame {
        /// Samples in the block.
        got: usize,
        /// Channels of the input.
        n_channels: u16,
    },
}

/// Turns interleaved input into mono at 16 kHz, streaming.
///
/// The resampler's delay is taken out: what happens at `t` in the input is at `t` in the output, to less than
/// one output sample. The output does not depend on how the input was cut into blocks, and is
/// `round(frames × 16 000 / rate)` samples long once [`finish`](Self::finish) has been called.
///
/// Three ways, chosen by the rate: 16 kHz passes through (no look-ahead); rates with a short common block (all
/// usual ones, 8, 22.05, 24, 32, 44.1, 48, 96, 192 kHz among them) go through an FFT filter (look-ahead 30 ms for most,
/// at most 60 ms; under 1 ms of one core per second of audio); all others through a windowed sinc
/// (look-ahead under 45 ms; under 10 ms per second of audio). The band is flat to 0.1 dB up to 7.4 kHz, at an input
/// rate of 8 kHz up to 3.6 kHz, and what would alias is stopped by more than 100 dB.
///
/// Non-finite samples become 0 and are counted, and so are magnitudes above 4 (12 dB over full scale). Where a quarter of
/// the samples is out of range, all that follow are scaled down like the integers that they are
/// ([`scaled_from_bits`](Self::scaled_from_bits)). Where channels that are to be mixed cancel each other for a fifth of a
/// second, one of them is listened to until they do no longer ([`only_channel`](Self::only_channel)). No allocation after [`Intake::new`] but for the growth of the caller's `out`.
pub struct Intake {
    params: IntakeParams,
    resampling: Option<Resampling>,
    n_in: u64,
    n_out: u64,
    n_non_finite: u64,
    n_over_range: u64,
    scale: FloatScale,
    mix: ChannelMix,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake")
            .field("params", &self.params)
            .field("n_in", &self.n_in)
            .field("n_out", &self.n_out)
            .field("n_non_finite", &self.n_non_finite)
            .field("n_over_range", &self.n_over_range)
            .finish_non_exhaustive()
    }
}

impl Intake {
    /// An intake at the start of a stream. Plans the transform, so it allocates and takes up to milliseconds.
    ///
    /// # Errors
    /// The rate must lie in 8 000 to 192 000 Hz, the channels in 1 to 8, a chosen channel below their number.
    pub fn new(params: IntakeParams) -> Result<Self, IntakeError> {
        let IntakeParams { sample_rate_hz: rate, n_channels, channel } = params;
        if !(MIN_INPUT_RATE_HZ..=MAX_INPUT_RATE_HZ).contains(&rate) {
            return Err(IntakeError::SampleRate { got: rate });
        }
        if !(1..=MAX_CHANNELS).contains(&n_channels) {
            return Err(IntakeError::Channels { got: n_channels });
        }
        if let ChannelSelect::One(got) = channel
            && got >= n_channels
        {
            return Err(IntakeError::ChannelIndex { got, n_channels });
        }
        let resampling = (rate != SAMPLE_RATE_HZ).then(|| Resampling::new(rate, SAMPLE_RATE_HZ));
        Ok(Self {
            params,
            resampling,
            n_in: 0,
            n_out: 0,
            n_non_finite: 0,
            n_over_range: 0,
            scale: FloatScale::new(),
            mix: ChannelMix::new(rate),
        })
    }

    /// What the intake was made for.
    #[must_use]
    pub fn params(&self) -> IntakeParams {
        self.params
    }

    /// Takes one block of interleaved samples, full scale ±1, and appends the 16 kHz mono samples that are
    /// ready to `out`. Any length that holds whole frames is good, 0 included.
    ///
    /// # Errors
    /// [`IntakeError::PartialFrame`] when the length is no multiple of the number of channels; nothing of the
    /// block was taken.
    pub fn push(&mut self, interleaved: &[f32], out: &mut Vec<f32>) -> Result<(), IntakeError> {
        let n_channels = usize::from(self.params.n_channels);
        if !interleaved.len().is_multiple_of(n_channels) {
            return Err(IntakeError::PartialFrame {
                got: interleaved.len(),
                n_channels: self.params.n_channels,
            });
        }
        let n_frames = interleaved.len() / n_channels;
        let mut checked = [0.0; MAX_CHANNELS as usize];
        for frame in interleaved.chunks_exact(n_channels) {
            let sample = match self.params.channel {
                ChannelSelect::One(idx) => self.checked(frame[usize::from(idx)]),
                ChannelSelect::Mix if n_channels == 1 => self.checked(frame[0]),
                ChannelSelect::Mix => {
                    for (checked, sample) in checked.iter_mut().zip(frame) {
                        *checked = self.checked(*sample);
                    }
                    self.mix.take(&checked[..n_channels])
                }
            };
            match &mut self.resampling {
                None => {
                    out.push(sample);
                    self.n_out += 1;
                }
                Some(resampling) => self.n_out += resampling.push(sample, out),
            }
        }
        self.n_in += n_frames as u64;
        Ok(())
    }

    /// Ends the stream: appends what the resampler still holds to `out`, so that all output together is
    /// `round(frames × 16 000 / rate)` samples. The intake then stands at the start of a new stream; the
    /// counts of faulty samples go on.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let n_total = output_len(self.n_in, self.params.sample_rate_hz, SAMPLE_RATE_HZ);
        if let Some(resampling) = &mut self.resampling {
            resampling.finish(n_total.saturating_sub(self.n_out), out);
        }
        self.n_in = 0;
        self.n_out = 0;
    }

    /// Samples that were NaN or infinite, of the channels that are used.
    #[must_use]
    pub fn n_non_finite(&self) -> u64 {
        self.n_non_finite
    }

    /// Finite samples beyond ±4, of the channels that are used.
    #[must_use]
    pub fn n_over_range(&self) -> u64 {
        self.n_over_range
    }

    /// Bits of the integers on whose scale the samples came, if that was noticed.
    #[must_use]
    pub fn scaled_from_bits(&self) -> Option<u32> {
        self.scale.bits()
    }

    /// The channel that was listened to because the channels cancel each other, if they do somewhere.
    #[must_use]
    pub fn only_channel(&self) -> Option<u16> {
        self.mix.first_only()
    }

    /// Input frames (one sample of every channel) taken since the start of the stream.
    #[must_use]
    pub fn n_frames_in(&self) -> u64 {
        self.n_in
    }

    /// Output samples given since the start of the stream.
    #[must_use]
    pub fn n_samples_out(&self) -> u64 {
        self.n_out
    }

    /// Goes back to the state after [`Intake::new`]; what was not yet given out is lost.
    pub fn reset(&mut self) {
        if let Some(resampling) = &mut self.resampling {
            resampling.reset();
        }
        (self.n_in, self.n_out, self.n_non_finite, self.n_over_range) = (0, 0, 0, 0);
        self.scale = FloatScale::new();
        self.mix = ChannelMix::new(self.params.sample_rate_hz);
    }

    fn checked(&mut self, sample: f32) -> f32 {
        if !sample.is_finite() {
            self.n_non_finite += 1;
            return 0.0;
        }
        self.scale.take(sample).unwrap_or_else(|| {
            self.n_over_range += 1;
            0.0
        })
    }
}

#[cfg(test)]
mod tests;
