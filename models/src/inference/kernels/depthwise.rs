//! Depthwise convolutions over rows, the channels side by side in a vector.

use fearless_simd::prelude::*;

use super::buffer::{Buffer, Planes, RowsMut};
use super::functions::gelu;

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
