//! Products of rows with a matrix of weights that is packed once: sums stay in registers, and what follows a product is
//! done to them before they are stored.

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use super::buffer::{Buffer, Rows, RowsMut};
use super::functions::{gelu, relu, tanh};

/// Vectors side by side in a panel.
const VECTORS: usize = 2;
/// Rows that are computed together at most.
const MAX_ROWS: usize = 8;

/// Rows computed together: with [`VECTORS`] sums for each, some of 32 registers or of 16.
#[inline(always)]
const fn n_rows<S: Simd>() -> usize {
    if S::f32s::LEN == 16 || cfg!(target_arch = "aarch64") { MAX_ROWS } else { 6 }
}

/// Columns of a panel.
#[inline(always)]
const fn panel_columns<S: Simd>() -> usize {
    VECTORS * S::f32s::LEN
}

/// Weights `(n_in, n_out)` with a bias for each output, in panels of columns as wide as the processor's vectors. A
/// panel holds its columns of the first row, then of the second and so on; the last one is filled up with zeros.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    values: Buffer,
    bias: Buffer,
    n_in: usize,
    /// Columns of a panel.
    panel: usize,
}

impl Weights {
    /// Packs `weight(input, output)`.
    pub(crate) fn pack(
        level: Level,
        n_in: usize,
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let panel = dispatch!(level, simd => columns_of(simd));
        let n_out = bias.len();
        let n_columns = n_out.next_multiple_of(panel);
        let mut values = Buffer::zeros(n_in * n_columns);
        for (idx, row) in values.chunks_exact_mut(panel).enumerate() {
            let (first, input) = (idx / n_in * panel, idx % n_in);
            for (output, value) in (first..n_out).zip(row) {
                *value = weight(input, output);
            }
        }
        let mut padded = Buffer::zeros(n_columns);
        padded[..n_out].copy_from_slice(bias);
        Self { values, bias: padded, n_in, panel }
    }

    /// Writes these weights to `scaled`, which has their shape, each row times its `scale`.
    #[inline(always)]
    pub(crate) fn scale_into<S: Simd>(&self, simd: S, scale: &[f32], scaled: &mut Self) {
        scaled.bias.copy_from_slice(&self.bias);
        simd.vectorize(
            #[inline(always)]
            || {
                let (len, panel) = (S::f32s::LEN, panel_columns::<S>());
                let size = self.n_in * panel;
                for (from, to) in self.values.chunks_exact(size).zip(scaled.values.chunks_exact_mut(size)) {
                    let rows = from.chunks_exact(panel).zip(to.chunks_exact_mut(panel));
                    for ((from, to), &scale) in rows.zip(scale) {
                        for (from, to) in from.chunks_exact(len).zip(to.chunks_exact_mut(len)) {
                            (S::f32s::from_slice(simd, from) * scale).store_slice(to);
                        }
                    }
                }
            },
        );
    }
}

#[inline(always)]
fn columns_of<S: Simd>(_: S) -> usize {
    panel_columns::<S>()
}

/// What is done to the sums of a few rows in the columns of one vector before they are stored.
pub(crate) trait Finish<S: Simd> {
    /// `sums` are those of the rows from `row` on in the columns from `column` on.
    fn finish(&mut self, simd: S, row: usize, column: usize, sums: &mut [S::f32s]);
}

/// Nothing.
pub(crate) struct Plain;

impl<S: Simd> Finish<S> for Plain {
    #[inline(always)]
    fn finish(&mut self, _: S, _: usize, _: usize, _: &mut [S::f32s]) {}
}

/// [`relu`].
pub(crate) struct Relu;

impl<S: Simd> Finish<S> for Relu {
    #[inline(always)]
    fn finish(&mut self, simd: S, _: usize, _: usize, sums: &mut [S::f32s]) {
        for sum in sums {
            *sum = relu(simd, *sum);
        }
    }
}

/// [`relu`], and adds other rows to it.
pub(crate) struct ReluAdd<'a> {
    pub(crate) to: Rows<'a>,
}

impl<S: Simd> Finish<S> for ReluAdd<'_> {
    #[inline(always)]
    fn finish(&mut self, simd: S, row: usize, column: usize, sums: &mut [S::f32s]) {
        Relu.finish(simd, row, column, sums);
        Add { to: self.to }.finish(simd, row, column, sums);
    }
}

/// [`tanh`].
pub(crate) struct Tanh;

impl<S: Simd> Finish<S> for Tanh {
    #[inline(always)]
    fn finish(&mut self, simd: S, _: usize, _: usize, sums: &mut [S::f32s]) {
        for sum in sums {
            *sum = tanh(simd, *sum);
        }
    }
}

/// [`gelu`], and the sum of its squares over the rows for each column.
pub(crate) struct GeluEnergy<'a> {
    pub(crate) energy: &'a mut [f32],
}

impl<S: Simd> Finish<S> for GeluEnergy<'_> {
    #[inline(always)]
    fn finish(&mut self, simd: S, _: usize, column: usize, sums: &mut [S::f32s]) {
        let place = &mut self.energy[column..][..S::f32s::LEN];
        let mut energy = S::f32s::from_slice(simd, place);
        for sum in sums {
            *sum = gelu(simd, *sum);
            energy = sum.mul_add(*sum, energy);
        }
        energy.store_slice(place);
    }
}

/// Adds other rows.
pub(crate) struct Add<'a> {
    pub(crate) to: Rows<'a>,
}

impl<S: Simd> Finish<S> for Add<'_> {
    #[inline(always)]
    fn finish(&mut self, simd: S, row: usize, column: usize, sums: &mut [S::f32s]) {
        for (idx, sum) in sums.iter_mut().enumerate() {
            *sum += S::f32s::from_slice(simd, self.to.at(row + idx, column, S::f32s::LEN));
        }
    }
}

/// Writes the products of the first `n_rows` rows of `input` with `weights`, and their bias, to `output`, finished.
/// Rows of the output have room for whole panels.
#[inline(always)]
pub(crate) fn product<S: Simd>(
    simd: S,
    input: Rows<'_>,
    n_rows: usize,
    weights: &Weights,
    mut output: RowsMut<'_>,
    mut finish: impl Finish<S>,
) {
    simd.vectorize(
        #[inline(always)]
        || all_panels(simd, input, n_rows, weights, &mut output, &mut finish),
    );
}

/// Bytes of a panel that stay in the first-level cache beside some rows of the input.
const NEAR_BYTES: usize = 20 * 1024;

#[inline(always)]
fn all_panels<S: Simd>(
    simd: S,
    input: Rows<'_>,
    n_all: usize,
    weights: &Weights,
    output: &mut RowsMut<'_>,
    finish: &mut impl Finish<S>,
) {
    let width = panel_columns::<S>();
    assert_eq!(weights.panel, width, "weights are packed for this processor");
    let (n_panels, n_tiles) = (weights.bias.len() / width, n_all.div_ceil(n_rows::<S>()));
    // A panel that stays near meets all rows in turn; larger ones go by while a few rows stay.
    let is_near = weights.n_in * width * size_of::<f32>() <= NEAR_BYTES;
    let mut sums = [[S::f32s::splat(simd, 0.0); MAX_ROWS]; VECTORS];
    for step in 0..n_panels * n_tiles {
        let (idx, tile) =
            if is_near { (step / n_tiles, step % n_tiles) } else { (step % n_panels, step / n_panels) };
        let row = tile * n_rows::<S>();
        let n = n_rows::<S>().min(n_all - row);
        let panel = &weights.values[idx * weights.n_in * width..][..weights.n_in * width];
        let bias = &weights.bias[idx * width..][..width];
        sums_of(simd, (input, row, n, weights.n_in), panel, bias, &mut sums);
        for (vector, sums) in sums.iter_mut().enumerate() {
            let column = idx * width + vector * S::f32s::LEN;
            finish.finish(simd, row, column, &mut sums[..n]);
            for (idx, sum) in sums[..n].iter().enumerate() {
                sum.store_slice(output.at(row + idx, column, S::f32s::LEN));
            }
        }
    }
}

/// Sums of a panel's columns, by vector and row.
type Sums<S> = [[<S as Simd>::f32s; MAX_ROWS]; VECTORS];

/// Some rows of an input: the first one, their number, and the columns that are read.
type Tile<'a> = (Rows<'a>, usize, usize, usize);

#[inline(always)]
fn sums_of<S: Simd>(simd: S, tile: Tile<'_>, panel: &[f32], bias: &[f32], sums: &mut Sums<S>) {
    match tile.2 {
        1 => tile_of::<S, 1>(simd, tile, panel, bias, sums),
        2 => tile_of::<S, 2>(simd, tile, panel, bias, sums),
        3 => tile_of::<S, 3>(simd, tile, panel, bias, sums),
        4 => tile_of::<S, 4>(simd, tile, panel, bias, sums),
        5 => tile_of::<S, 5>(simd, tile, panel, bias, sums),
        6 => tile_of::<S, 6>(simd, tile, panel, bias, sums),
        7 => tile_of::<S, 7>(simd, tile, panel, bias, sums),
        _ => tile_of::<S, 8>(simd, tile, panel, bias, sums),
    }
}

/// One function for each number of rows: their sums then stay in registers, whatever follows.
#[inline(always)]
fn tile_of<S: Simd, const ROWS: usize>(
    simd: S,
    (input, row, _, n_in): Tile<'_>,
    panel: &[f32],
    bias: &[f32],
    by_vector: &mut Sums<S>,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let len = S::f32s::LEN;
            let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
            for (idx, values) in rows.iter_mut().enumerate() {
                *values = input.at(row + idx, 0, n_in);
            }
            let (left, right) = bias.split_at(len);
            let mut sums = [[S::f32s::from_slice(simd, left), S::f32s::from_slice(simd, right)]; ROWS];
            for (k, weights) in (0..n_in).zip(panel.chunks_exact(2 * len)) {
                let (left, right) = weights.split_at(len);
                let (left, right) = (S::f32s::from_slice(simd, left), S::f32s::from_slice(simd, right));
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let value = S::f32s::splat(simd, row[k]);
                    sums[0] = value.mul_add(left, sums[0]);
                    sums[1] = value.mul_add(right, sums[1]);
                }
            }
            for (idx, sums) in sums.into_iter().enumerate() {
                by_vector[0][idx] = sums[0];
                by_vector[1][idx] = sums[1];
            }
        },
    );
}
