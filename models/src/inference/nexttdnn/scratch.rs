//! The memory that a run of the network works in, kept from one run to the next.

use fearless_simd::prelude::*;

use super::super::kernels::{Buffer, Planes, Rows, RowsMut, TILE, Table, Weights, stride};

/// Sizes of a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) n_mels: usize,
    /// Frames of one row of the stem.
    pub(super) n_taps: usize,
    pub(super) n_channels: usize,
    pub(super) n_expanded: usize,
    /// Channels of all stages together.
    pub(super) n_joined: usize,
    pub(super) n_wide: usize,
    pub(super) n_hidden: usize,
    pub(super) n_embedding: usize,
    /// Rows of zeros that the longest depthwise convolution needs on each side.
    pub(super) pad: usize,
}

impl Shape {
    /// Rows of a window after the stem.
    pub(super) fn n_rows(&self, n_frames: usize) -> usize {
        n_frames + 1 - self.n_taps
    }
}

/// The input of depthwise convolutions, with zeros before and after the rows of a window.
#[derive(Debug)]
pub(super) struct Padded {
    values: Buffer,
    /// Those of zeros among them.
    n_rows: usize,
    /// Rows of zeros before the window.
    pad: usize,
}

impl Padded {
    fn new(n_whole: usize, shape: &Shape) -> Self {
        let n_rows = n_whole + 2 * shape.pad;
        Self { values: Buffer::zeros(n_rows * stride(shape.n_channels)), n_rows, pad: shape.pad }
    }

    pub(super) fn planes(&self) -> Planes<'_> {
        Planes { values: &self.values, n_rows: self.n_rows }
    }

    /// The rows of the window.
    pub(super) fn window_mut<S: Simd>(&mut self, simd: S) -> RowsMut<'_> {
        RowsMut::planes(simd, &mut self.values, self.n_rows, self.pad)
    }
}

/// Features by frame, without room between the frames.
#[derive(Debug)]
pub(super) struct Frames(Buffer);

impl Frames {
    /// Takes features `(n_mels, n_frames)`.
    pub(super) fn transpose(&mut self, features: &[f32], n_mels: usize, n_frames: usize) {
        for (mel, row) in features.chunks_exact(n_frames).enumerate() {
            for (frame, value) in row.iter().enumerate() {
                self.0[frame * n_mels + mel] = *value;
            }
        }
    }

    /// Rows that begin with one frame after the other, and go on over those after it.
    pub(super) fn overlapping(&self, n_mels: usize) -> Rows<'_> {
        Rows { values: &self.0, stride: n_mels }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Frames of the longest window that there is room for.
    capacity: usize,
    pub(super) frames: Frames,
    pub(super) stem: Table,
    /// The input of the depthwise convolutions, between rows of zeros.
    pub(super) padded: Padded,
    pub(super) narrow: Table,
    pub(super) middle: Table,
    pub(super) expanded: Table,
    pub(super) energy: Buffer,
    pub(super) scaled: Weights,
    pub(super) joined: Table,
    pub(super) wide: Table,
    pub(super) hidden: Table,
    pub(super) logits: Table,
    pub(super) pooled: Buffer,
    pub(super) embedding: Table,
}

impl Scratch {
    /// Memory for windows of up to `capacity` frames; `shrink` is a matrix as large as those that are scaled.
    pub(super) fn new(shape: &Shape, capacity: usize, shrink: &Weights) -> Self {
        let n_rows = shape.n_rows(capacity);
        let n_whole = n_rows.next_multiple_of(TILE);
        Self {
            capacity,
            frames: Frames(Buffer::zeros(capacity * shape.n_mels)),
            stem: Table::new(n_rows, shape.n_channels),
            padded: Padded::new(n_whole, shape),
            narrow: Table::new(n_whole, shape.n_channels),
            middle: Table::new(n_rows, shape.n_channels),
            expanded: Table::new(n_rows, shape.n_expanded),
            energy: Buffer::zeros(stride(shape.n_expanded)),
            scaled: shrink.clone(),
            joined: Table::new(n_rows, shape.n_joined),
            wide: Table::new(n_rows, shape.n_wide),
            hidden: Table::new(n_rows, shape.n_hidden),
            logits: Table::new(n_rows, shape.n_wide),
            pooled: Buffer::zeros(2 * shape.n_wide),
            embedding: Table::new(1, shape.n_embedding),
        }
    }

    /// Whether there is room for windows of `n_frames`.
    pub(super) fn has_room(&self, n_frames: usize) -> bool {
        self.capacity >= n_frames
    }

    /// Makes the memory ready for a window of `n_frames`: a longer one may have left rows where zeros belong.
    pub(super) fn prepare(&mut self, shape: &Shape, n_frames: usize) {
        self.padded.n_rows = shape.n_rows(n_frames).next_multiple_of(TILE) + 2 * self.padded.pad;
        self.padded.values.fill(0.0);
    }
}
