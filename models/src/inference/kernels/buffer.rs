//! Memory of activations and weights: floats from the start of a cache line, and rows whose stride spreads over the cache.

use std::ops::{Deref, DerefMut};

use fearless_simd::prelude::*;

/// Floats of a cache line.
const LINE: usize = 16;

/// Zeroed floats of which the first begins a cache line, so that no vector load crosses into a second one.
#[derive(Debug)]
pub(crate) struct Buffer {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    pub(crate) fn zeros(len: usize) -> Self {
        let values = vec![0.0; len + LINE];
        // The offset is unknown to an interpreter only; any start within the spare line is right.
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { values, start, len }
    }

    pub(crate) fn of(values: impl ExactSizeIterator<Item = f32>) -> Self {
        let mut buffer = Self::zeros(values.len());
        for (to, from) in buffer.iter_mut().zip(values) {
            *to = from;
        }
        buffer
    }
}

impl Clone for Buffer {
    /// The copy begins a cache line, too.
    fn clone(&self) -> Self {
        Self::of(self.iter().copied())
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

/// Floats from one row of `n_columns` to the next: room for whole panels, and an odd number of cache lines. With an even
/// one a column's rows would share few sets of the first-level cache, and a wide depthwise convolution would evict its
/// own input.
pub(crate) fn stride(n_columns: usize) -> usize {
    n_columns.next_multiple_of(2 * LINE) + LINE
}

/// Rows of floats, each `stride` from the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
}

impl<'a> Rows<'a> {
    /// `n` columns of `row` from `column` on.
    #[inline(always)]
    pub(crate) fn at(&self, row: usize, column: usize, n: usize) -> &'a [f32] {
        &self.values[row * self.stride + column..][..n]
    }

    /// The rows without their first columns.
    pub(crate) fn skip_columns(&self, column: usize) -> Self {
        Self { values: &self.values[column..], stride: self.stride }
    }
}

/// Rows to write to. The columns of a vector lie side by side; from one such column to the next it is `column_step`
/// floats for each column of the vector.
#[derive(Debug)]
pub(crate) struct RowsMut<'a> {
    values: &'a mut [f32],
    stride: usize,
    column_step: usize,
}

impl<'a> RowsMut<'a> {
    /// Rows as [`Rows`] has them.
    pub(crate) fn new(values: &'a mut [f32], stride: usize) -> Self {
        Self { values, stride, column_step: 1 }
    }

    /// [`Planes`], from a row on.
    pub(crate) fn planes<S: Simd>(_: S, values: &'a mut [f32], n_rows: usize, row: usize) -> Self {
        Self { values: &mut values[row * S::f32s::LEN..], stride: S::f32s::LEN, column_step: n_rows }
    }

    /// The rows without their first columns.
    pub(crate) fn skip_columns(self, column: usize) -> Self {
        Self { values: &mut self.values[column * self.column_step..], ..self }
    }

    /// `n` columns of `row` from `column` on, which are those of one vector or lie in plain rows.
    #[inline(always)]
    pub(crate) fn at(&mut self, row: usize, column: usize, n: usize) -> &mut [f32] {
        &mut self.values[row * self.stride + column * self.column_step..][..n]
    }
}

/// A table of activations, with room for whole panels in each row.
#[derive(Debug)]
pub(crate) struct Table {
    values: Buffer,
    stride: usize,
}

impl Table {
    pub(crate) fn new(n_rows: usize, n_columns: usize) -> Self {
        let stride = stride(n_columns);
        Self { values: Buffer::zeros(n_rows * stride), stride }
    }

    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, stride: self.stride }
    }

    pub(crate) fn rows_mut(&mut self) -> RowsMut<'_> {
        RowsMut::new(&mut self.values, self.stride)
    }
}

/// Columns of one vector after the other, each with all its rows of `S::f32s::LEN` floats: what goes along the rows reads
/// memory in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) n_rows: usize,
}

impl<'a> Planes<'a> {
    /// `n` rows from `row` on of the vector that begins at `column`.
    #[inline(always)]
    pub(crate) fn at<S: Simd>(&self, _: S, row: usize, column: usize, n: usize) -> &'a [f32] {
        &self.values[column * self.n_rows + row * S::f32s::LEN..][..n * S::f32s::LEN]
    }
}
