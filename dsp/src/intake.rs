//! The way in: interleaved audio of any rate and channel count becomes mono at 16 kHz.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Resampler, SincInterpolationParameters, WindowFunction,
    calculate_cutoff,
};

use crate::clock::SAMPLE_RATE_HZ;

/// Lowest input rate, in Hz.
pub const MIN_INPUT_RATE_HZ: u32 = 8_000;
/// Highest input rate, in Hz: what recorders write at most.
pub const MAX_INPUT_RATE_HZ: u32 = 192_000;
/// Most input channels.
pub const MAX_CHANNELS: u16 = 8;

/// Largest magnitude that passes, 12 dB above full scale. Decoders overshoot full scale a little and that may
/// pass; anything near the end of the `f32` range would overflow in the resampler's transform.
const SAMPLE_LIMIT: f32 = 4.0;

/// Block of the FFT resampler that is aimed at, in output samples: 20 ms.
const FFT_BLOCK_TARGET: usize = 320;
/// Longest block of the FFT resampler, in output samples: 40 ms. Rates that need a longer one are left to the
/// sinc resampler.
const FFT_BLOCK_MAX: usize = 640;
/// Length of the sinc resampler's filter, in samples of the slower side.
const SINC_LENGTH: usize = 192;
/// Block of the sinc resampler, in input samples.
const SINC_BLOCK: usize = 256;
/// −92 dB side lobes: below what 16-bit audio carries.
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

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
/// Non-finite samples become 0 and are counted; magnitudes above 4 (12 dB over full scale) are clipped to it
/// and counted. No allocation after [`Intake::new`] but for the growth of the caller's `out`.
pub struct Intake {
    params: IntakeParams,
    resampling: Option<Resampling>,
    n_in: u64,
    n_out: u64,
    n_non_finite: u64,
    n_over_range: u64,
}

struct Resampling {
    resampler: Box<dyn Resampler<f32> + Send>,
    /// Exactly one block of input, filled up to `n_block`.
    block: Vec<f32>,
    n_block: usize,
    resampled: Vec<f32>,
    /// Output samples that still stand for the filter's delay.
    n_skip: usize,
    delay: usize,
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
        let resampling = (rate != SAMPLE_RATE_HZ).then(|| Resampling::new(rate));
        Ok(Self { params, resampling, n_in: 0, n_out: 0, n_non_finite: 0, n_over_range: 0 })
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
        let scale = 1.0 / f32::from(self.params.n_channels);
        for frame in interleaved.chunks_exact(n_channels) {
            let sample = match self.params.channel {
                ChannelSelect::One(idx) => self.checked(frame[usize::from(idx)]),
                ChannelSelect::Mix if n_channels == 1 => self.checked(frame[0]),
                ChannelSelect::Mix => frame.iter().map(|&sample| self.checked(sample)).sum::<f32>() * scale,
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
        let n_total = output_len(self.n_in, self.params.sample_rate_hz);
        if let Some(resampling) = &mut self.resampling {
            let mut n_missing = n_total.saturating_sub(self.n_out) as usize;
            while n_missing > 0 {
                let before = out.len();
                resampling.push_silence(out);
                let n_new = (out.len() - before).min(n_missing);
                out.truncate(before + n_new);
                n_missing -= n_new;
            }
            resampling.reset();
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
    }

    fn checked(&mut self, sample: f32) -> f32 {
        if !sample.is_finite() {
            self.n_non_finite += 1;
            return 0.0;
        }
        if sample.abs() > SAMPLE_LIMIT {
            self.n_over_range += 1;
        }
        sample.clamp(-SAMPLE_LIMIT, SAMPLE_LIMIT)
    }
}

/// Length at 16 kHz of `n_frames` at `rate_hz`, halves rounded up.
fn output_len(n_frames: u64, rate_hz: u32) -> u64 {
    let (rate, twice) = (u128::from(rate_hz), 2 * u128::from(n_frames) * u128::from(SAMPLE_RATE_HZ));
    ((twice + rate) / (2 * rate)) as u64
}

impl Resampling {
    fn new(rate_hz: u32) -> Self {
        let made = match fft_block(rate_hz) {
            Some(n_block) => Self::fft(rate_hz, n_block),
            None => Self::sinc(rate_hz),
        };
        let (resampler, delay) = made;
        Self {
            block: vec![0.0; resampler.input_frames_max()],
            n_block: 0,
            resampled: vec![0.0; resampler.output_frames_max()],
            n_skip: delay,
            delay,
            resampler,
        }
    }

    fn fft(rate_hz: u32, n_block: usize) -> (Box<dyn Resampler<f32> + Send>, usize) {
        let (from, to) = (rate_hz as usize, SAMPLE_RATE_HZ as usize);
        let resampler = Fft::<f32>::new_custom(from, to, n_block, 1, 1, WINDOW, FixedSync::Both)
            .expect("the rates are positive and the block is a common one");
        // Exact, because the block is even on the input side: the filter's peak stands in its middle.
        let delay = resampler.output_delay();
        (Box::new(resampler), delay)
    }

    fn sinc(rate_hz: u32) -> (Box<dyn Resampler<f32> + Send>, usize) {
        let ratio = f64::from(SAMPLE_RATE_HZ) / f64::from(rate_hz);
        // The filter counts in input samples; the cut-off belongs to its length on the slower side.
        let length = (SINC_LENGTH as f64 / ratio.min(1.0)).ceil() as usize;
        let params =
            SincInterpolationParameters::new(length, WINDOW).f_cutoff(calculate_cutoff(SINC_LENGTH, WINDOW));
        let resampler = Async::<f32>::new_sinc(ratio, 1.0, &params, SINC_BLOCK, 1, FixedAsync::Input)
            .expect("the ratio is finite and positive and the block is not empty");
        // Half the filter, less the output sample that rubato computes at the first input sample instead of
        // before it, less one step of its table of 128 filters: measured with tones, and held by a test.
        let half = length.next_multiple_of(8) as f64 / 2.0;
        let delay = ((half - 1.0 / 128.0) * ratio - 1.0).round() as usize;
        (Box::new(resampler), delay)
    }

    /// Takes one input sample; returns how many output samples it completed.
    fn push(&mut self, sample: f32, out: &mut Vec<f32>) -> u64 {
        self.block[self.n_block] = sample;
        self.n_block += 1;
        if self.n_block < self.block.len() {
            return 0;
        }
        let before = out.len();
        self.run(out);
        (out.len() - before) as u64
    }

    /// Fills the block that is under way with silence.
    fn push_silence(&mut self, out: &mut Vec<f32>) {
        self.block[self.n_block..].fill(0.0);
        self.run(out);
    }

    fn run(&mut self, out: &mut Vec<f32>) {
        let (n_in, n_out) = (self.block.len(), self.resampled.len());
        let from = SequentialSlice::new(&self.block, 1, n_in).expect("one channel is as long as its slice");
        let mut to = SequentialSlice::new_mut(&mut self.resampled, 1, n_out)
            .expect("one channel is as long as its slice");
        let (_, n_made) = self
            .resampler
            .process_into_buffer(&from, &mut to, None)
            .expect("both buffers have the resampler's maximum size");
        self.n_block = 0;
        let n_skip = self.n_skip.min(n_made);
        self.n_skip -= n_skip;
        out.extend_from_slice(&self.resampled[n_skip..n_made]);
    }

    fn reset(&mut self) {
        self.resampler.reset();
        self.n_block = 0;
        self.n_skip = self.delay;
    }
}

/// Input samples in a block of the FFT resampler, if a short one exists that is even: a block of an odd length
/// would put the filter's peak half a sample off the delay that is taken out.
fn fft_block(rate_hz: u32) -> Option<usize> {
    let divisor = gcd(rate_hz, SAMPLE_RATE_HZ);
    let (unit_in, unit_out) = ((rate_hz / divisor) as usize, (SAMPLE_RATE_HZ / divisor) as usize);
    let fits = |n_units: &usize| (n_units * unit_in).is_multiple_of(2) && n_units * unit_out <= FFT_BLOCK_MAX;
    let first = FFT_BLOCK_TARGET.div_ceil(unit_out).max(1);
    [first, first + 1].into_iter().find(fits).map(|n_units| n_units * unit_in)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
