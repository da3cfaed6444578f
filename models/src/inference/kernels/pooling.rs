//! Mean and deviation of each column over the rows, weighted by an attention of its own.

use fearless_simd::prelude::*;

use super::buffer::Rows;
use super::functions::exp;

/// Writes for each column the mean of `values` to `mean`, and their deviation to `deviation`: weights are the softmax of
/// `logits` over the first `n_rows` rows, and the variance is at least `floor` (Okabe et al., "Attentive statistics
/// pooling", 2018, with an attention for each channel). The number of columns is a multiple of the vectors' length.
#[inline(always)]
pub(crate) fn attentive_statistics<S: Simd>(
    simd: S,
    values: Rows<'_>,
    logits: Rows<'_>,
    n_rows: usize,
    floor: f32,
    (mean, deviation): (&mut [f32], &mut [f32]),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let len = S::f32s::LEN;
            let columns = mean.chunks_exact_mut(len).zip(deviation.chunks_exact_mut(len));
            for (idx, (mean, deviation)) in columns.enumerate() {
                let column = idx * len;
                let mut highest = S::f32s::splat(simd, f32::MIN);
                for row in 0..n_rows {
                    highest = highest.max(S::f32s::from_slice(simd, logits.at(row, column, len)));
                }
                let zero = S::f32s::splat(simd, 0.0);
                let (mut total, mut sum, mut squares) = (zero, zero, zero);
                for row in 0..n_rows {
                    let value = S::f32s::from_slice(simd, values.at(row, column, len));
                    let weight = exp(simd, S::f32s::from_slice(simd, logits.at(row, column, len)) - highest);
                    let weighted = value * weight;
                    total += weight;
                    sum += weighted;
                    squares = value.mul_add(weighted, squares);
                }
                let average = sum / total;
                let variance = squares / total - average * average;
                average.store_slice(mean);
                let is_nan = variance.is_nan();
                is_nan.select(variance, variance.max(floor).sqrt()).store_slice(deviation);
            }
        },
    );
}
