//! From one rate to another, one channel at a time, with the filter's delay taken out.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Resampler, SincInterpolationParameters, WindowFunction,
    calculate_cutoff,
};

/// Lowest input rate, in Hz.
pub const MIN_INPUT_RATE_HZ: u32 = 8_000;
/// Highest input rate, in Hz: what recorders write at most.
pub const MAX_INPUT_RATE_HZ: u32 = 192_000;
/// Blocks of the FFT resampler that are aimed at, a second: 20 ms.
const FFT_BLOCKS_TARGET: usize = 50;
/// Fewest blocks of the FFT resampler a second: 40 ms. Rates that need a longer one are left to the sinc resampler.
const FFT_BLOCKS_MIN: usize = 25;
/// Length of the sinc resampler's filter, in samples of the slower side.
const SINC_LENGTH: usize = 192;
/// Block of the sinc resampler, in input samples.
const SINC_BLOCK: usize = 256;
/// −92 dB side lobes: below what 16-bit audio carries.
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Turns one channel of one rate into the same of another, streaming: see [`Intake`](crate::Intake) for what it keeps.
pub struct RateConverter {
    from_hz: u32,
    to_hz: u32,
    resampling: Resampling,
    n_in: u64,
    n_out: u64,
}

impl RateConverter {
    /// A converter at the start of a stream; `None` unless both rates are from 8 to 192 kHz.
    #[must_use]
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Self> {
        let rates = MIN_INPUT_RATE_HZ..=MAX_INPUT_RATE_HZ;
        let is_good = rates.contains(&from_hz) && rates.contains(&to_hz);
        is_good.then(|| Self {
            from_hz,
            to_hz,
            resampling: Resampling::new(from_hz, to_hz),
            n_in: 0,
            n_out: 0,
        })
    }

    /// Takes samples and appends those that are ready to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        for &sample in samples {
            self.n_out += self.resampling.push(sample, out);
        }
        self.n_in += samples.len() as u64;
    }

    /// Ends the stream: appends what is held back, so that there are `round(n_in × to / from)` samples in all.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let n_total = output_len(self.n_in, self.from_hz, self.to_hz);
        self.resampling.finish(n_total.saturating_sub(self.n_out), out);
        (self.n_in, self.n_out) = (0, 0);
    }
}

impl std::fmt::Debug for RateConverter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateConverter")
            .field("from_hz", &self.from_hz)
            .field("to_hz", &self.to_hz)
            .finish_non_exhaustive()
    }
}

/// Length at `to_hz` of `n_frames` at `from_hz`, halves rounded up.
pub(crate) fn output_len(n_frames: u64, from_hz: u32, to_hz: u32) -> u64 {
    let (from, twice) = (u128::from(from_hz), 2 * u128::from(n_frames) * u128::from(to_hz));
    ((twice + from) / (2 * from)) as u64
}

pub(crate) struct Resampling {
    resampler: Box<dyn Resampler<f32> + Send>,
    /// Exactly one block of input, filled up to `n_block`.
    block: Vec<f32>,
    n_block: usize,
    resampled: Vec<f32>,
    /// Output samples that still stand for the filter's delay.
    n_skip: usize,
    delay: usize,
}

impl Resampling {
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Self {
        let made = match fft_block(from_hz, to_hz) {
            Some(n_block) => Self::fft(from_hz, to_hz, n_block),
            None => Self::sinc(from_hz, to_hz),
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

    fn fft(from_hz: u32, to_hz: u32, n_block: usize) -> (Box<dyn Resampler<f32> + Send>, usize) {
        let (from, to) = (from_hz as usize, to_hz as usize);
        let resampler = Fft::<f32>::new_custom(from, to, n_block, 1, 1, WINDOW, FixedSync::Both)
            .expect("the rates are positive and the block is a common one");
        // Exact, because the block is even on the input side: the filter's peak stands in its middle.
        let delay = resampler.output_delay();
        (Box::new(resampler), delay)
    }

    fn sinc(from_hz: u32, to_hz: u32) -> (Box<dyn Resampler<f32> + Send>, usize) {
        let ratio = f64::from(to_hz) / f64::from(from_hz);
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
    pub(crate) fn push(&mut self, sample: f32, out: &mut Vec<f32>) -> u64 {
        self.block[self.n_block] = sample;
        self.n_block += 1;
        if self.n_block < self.block.len() {
            return 0;
        }
        let before = out.len();
        self.run(out);
        (out.len() - before) as u64
    }

    /// Appends the last `n_missing` samples and goes back to the start of a stream.
    pub(crate) fn finish(&mut self, n_missing: u64, out: &mut Vec<f32>) {
        let mut n_missing = n_missing as usize;
        while n_missing > 0 {
            let before = out.len();
            self.block[self.n_block..].fill(0.0);
            self.run(out);
            let n_new = (out.len() - before).min(n_missing);
            out.truncate(before + n_new);
            n_missing -= n_new;
        }
        self.reset();
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

    pub(crate) fn reset(&mut self) {
        self.resampler.reset();
        self.n_block = 0;
        self.n_skip = self.delay;
    }
}

/// Input samples in a block of the FFT resampler, if a short one exists that is even: a block of an odd length
/// would put the filter's peak half a sample off the delay that is taken out.
fn fft_block(from_hz: u32, to_hz: u32) -> Option<usize> {
    let divisor = gcd(from_hz, to_hz);
    let (unit_in, unit_out) = ((from_hz / divisor) as usize, (to_hz / divisor) as usize);
    let (target, max) = (to_hz as usize / FFT_BLOCKS_TARGET, to_hz as usize / FFT_BLOCKS_MIN);
    let fits = |n_units: &usize| (n_units * unit_in).is_multiple_of(2) && n_units * unit_out <= max;
    let first = target.div_ceil(unit_out).max(1);
    [first, first + 1].into_iter().find(fits).map(|n_units| n_units * unit_in)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
