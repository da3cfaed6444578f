//! Depthwise convolutions over rows, the channels side by side in a vector.

use fearless_simd::prelude::*;

use super::buffer::{Buffer, Planes, RowsMut};
use super::functions::{gelu, relu};

/// Rows that are computed together; their sums stay in registers.
pub(crate) const TILE: usize = 8;

/// The kernel of each channel, and its bias.
#[derive(Debug)]
pub(crate) struct Kernels {
    /// By tap, then channel.
    taps: Buffer,
    bias: Buffer,
    n_taps: usize,
}

impl Kernels {
    /// `taps` has shape `(channels, n_taps)`, row-major; `bias` a value for each channel.
    pub(crate) fn new(taps: &[f32], bias: &[f32]) -> Self {
        let (n_channels, n_taps) = (bias.len(), taps.len() / bias.len());
        let by_tap = (0..taps.len()).map(|idx| taps[idx % n_channels * n_taps + idx / n_channels]);
        Self { taps: Buffer::of(by_tap), bias: Buffer::of(bias.iter().copied()), n_taps }
    }

    pub(crate) fn n_taps(&self) -> usize {
        self.n_taps
    }

    pub(crate) fn n_channels(&self) -> usize {
        self.bias.len()
    }
}

/// The rows before the next one, as far back as a causal convolution reaches. A ring: the newest row takes the place of
/// the oldest.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    values: Buffer,
    n_rows: usize,
    n_channels: usize,
    oldest: usize,
}

impl Past {
    /// Rows of zeros for `n_channels`; `n_rows` is above 0.
    pub(crate) fn silent(n_rows: usize, n_channels: usize) -> Self {
        Self { values: Buffer::zeros(n_rows * n_channels), n_rows, n_channels, oldest: 0 }
    }

    /// The `idx`-th row, the oldest being 0.
    #[inline(always)]
    fn row(&self, idx: usize) -> &[f32] {
        let place = self.oldest + idx;
        let place = if place >= self.n_rows { place - self.n_rows } else { place };
        &self.values[place * self.n_channels..][..self.n_channels]
    }

    #[inline(always)]
    fn push(&mut self, row: &[f32]) {
        self.values[self.oldest * self.n_channels..][..self.n_channels].copy_from_slice(row);
        self.oldest = (self.oldest + 1) % self.n_rows;
    }
}

/// Writes the [`relu`] of a causal depthwise convolution at `row` to `output`, and appends `row` to `past`. The taps are
/// `dilation` rows apart; `past` holds `(n_taps - 1) · dilation` rows.
#[inline(always)]
pub(crate) fn depthwise_relu_next<S: Simd>(
    simd: S,
    past: &mut Past,
    row: &[f32],
    kernels: &Kernels,
    dilation: usize,
    output: &mut [f32],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (len, n_channels) = (S::f32s::LEN, kernels.n_channels());
            let last = kernels.n_taps - 1;
            for channel in (0..n_channels).step_by(len) {
                let mut sum = S::f32s::from_slice(simd, &kernels.bias[channel..][..len]);
                for tap in 0..=last {
                    let row = if tap == last { row } else { past.row(tap * dilation) };
                    let weight = &kernels.taps[tap * n_channels + channel..][..len];
                    let value = S::f32s::from_slice(simd, &row[channel..][..len]);
                    sum = value.mul_add(S::f32s::from_slice(simd, weight), sum);
                }
                relu(simd, sum).store_slice(&mut output[channel..][..len]);
            }
        },
    );
    past.push(row);
}

/// Writes [`gelu`] of the convolution to the first rows of `output`: row `t` from the rows `first + t` to
/// `first + t + n_taps - 1` of `input`, of which `column` is the first one's. Whole tiles of [`TILE`] rows are read and
/// written.
#[inline(always)]
pub(crate) fn depthwise_gelu<S: Simd>(
    simd: S,
    (input, first, column): (Planes<'_>, usize, usize),
    n_rows: usize,
    kernels: &Kernels,
    mut output: RowsMut<'_>,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (len, n_channels) = (S::f32s::LEN, kernels.n_channels());
            for channel in (0..n_channels).step_by(len) {
                let bias = S::f32s::from_slice(simd, &kernels.bias[channel..][..len]);
                for row in (0..n_rows).step_by(TILE) {
                    let n_read = TILE + kernels.n_taps - 1;
                    let values = input.at(simd, first + row, column + channel, n_read);
                    let mut sums = [bias; TILE];
                    for tap in 0..kernels.n_taps {
                        let weight = &kernels.taps[tap * n_channels + channel..][..len];
                        let weight = S::f32s::from_slice(simd, weight);
                        let values = values[tap * len..][..TILE * len].chunks_exact(len);
                        for (sum, value) in sums.iter_mut().zip(values) {
                            *sum = S::f32s::from_slice(simd, value).mul_add(weight, *sum);
                        }
                    }
                    for (idx, sum) in sums.into_iter().enumerate() {
                        gelu(simd, sum).store_slice(output.at(row + idx, channel, len));
                    }
                }
            }
        },
    );
}
