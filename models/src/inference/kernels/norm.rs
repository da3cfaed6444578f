//! Normalisation of each row by its mean and deviation.

use fearless_simd::prelude::*;

use super::buffer::{Buffer, Rows, RowsMut};

/// Gain and offset of each column, where a normalisation has them.
#[derive(Debug)]
pub(crate) struct Affine {
    pub(crate) gain: Buffer,
    pub(crate) offset: Buffer,
}

/// Writes `(x - mean) / sqrt(variance + eps)` of the first `n_columns` of each row to `output`, times the gain and with
/// the offset. `n_columns` is a multiple of the vectors' length.
#[inline(always)]
pub(crate) fn normalise<S: Simd>(
    simd: S,
    input: Rows<'_>,
    (n_rows, n_columns): (usize, usize),
    eps: f32,
    affine: Option<&Affine>,
    mut output: RowsMut<'_>,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let len = S::f32s::LEN;
            for row in 0..n_rows {
                let values = input.at(row, 0, n_columns);
                let written = output.at(row, 0, n_columns);
                let (mean, scale) = mean_and_scale(simd, values, eps);
                for (idx, (from, to)) in
                    values.chunks_exact(len).zip(written.chunks_exact_mut(len)).enumerate()
                {
                    let mut value = (S::f32s::from_slice(simd, from) - mean) * scale;
                    if let Some(affine) = affine {
                        let gain = S::f32s::from_slice(simd, &affine.gain[idx * len..][..len]);
                        let offset = S::f32s::from_slice(simd, &affine.offset[idx * len..][..len]);
                        value = value.mul_add(gain, offset);
                    }
                    value.store_slice(to);
                }
            }
        },
    );
}

/// Normalises rows where they lie, as [`normalise`] does.
#[inline(always)]
pub(crate) fn normalise_in_place<S: Simd>(
    simd: S,
    rows: RowsMut<'_>,
    (n_rows, n_columns): (usize, usize),
    eps: f32,
    affine: &Affine,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let len = S::f32s::LEN;
            let mut rows = rows;
            for row in 0..n_rows {
                let values = rows.at(row, 0, n_columns);
                let (mean, scale) = mean_and_scale(simd, values, eps);
                for (idx, value) in values.chunks_exact_mut(len).enumerate() {
                    let gain = S::f32s::from_slice(simd, &affine.gain[idx * len..][..len]);
                    let offset = S::f32s::from_slice(simd, &affine.offset[idx * len..][..len]);
                    let normalised = (S::f32s::from_slice(simd, value) - mean) * scale;
                    normalised.mul_add(gain, offset).store_slice(value);
                }
            }
        },
    );
}

/// The mean of a row, and the reciprocal of its deviation.
#[inline(always)]
fn mean_and_scale<S: Simd>(simd: S, row: &[f32], eps: f32) -> (f32, f32) {
    let len = S::f32s::LEN;
    let share = 1.0 / row.len() as f32;
    let mut sum = S::f32s::splat(simd, 0.0);
    for values in row.chunks_exact(len) {
        sum += S::f32s::from_slice(simd, values);
    }
    let mean = sum.reduce_sum() * share;
    let mut energy = S::f32s::splat(simd, 0.0);
    for values in row.chunks_exact(len) {
        let centred = S::f32s::from_slice(simd, values) - mean;
        energy = centred.mul_add(centred, energy);
    }
    (mean, 1.0 / (energy.reduce_sum() * share + eps).sqrt())
}
