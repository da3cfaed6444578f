//! Samples in another order of bytes, as little-endian ones.

use std::io::{self, ErrorKind, Read};

/// Bytes that are turned at a time; every width of a sample divides it.
const BLOCK_BYTES: usize = 24 * 512;

/// What becomes of each sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reorder {
    /// Bytes of a sample, 1 to 8; they change their order.
    pub(super) width: usize,
    /// The sample's sign is turned, as 8-bit samples of wav have none.
    pub(super) flips_sign: bool,
}

impl Reorder {
    /// Nothing changes.
    pub(super) const NONE: Self = Self { width: 1, flips_sign: false };
}

/// A stream whose samples are turned; half a sample at its end is left out.
pub(super) struct Reordered<R> {
    inner: R,
    reorder: Reorder,
    block: Vec<u8>,
    /// Bytes of the block that were handed out, are ready, and were read.
    n_out: usize,
    n_ready: usize,
    n_read: usize,
}

impl<R: Read> Reordered<R> {
    pub(super) fn new(inner: R, reorder: Reorder) -> Self {
        Self { inner, reorder, block: vec![0; BLOCK_BYTES], n_out: 0, n_ready: 0, n_read: 0 }
    }

    /// Reads until there is a whole sample or the end.
    fn fill(&mut self) -> io::Result<()> {
        self.block.copy_within(self.n_ready..self.n_read, 0);
        self.n_read -= self.n_ready;
        (self.n_out, self.n_ready) = (0, 0);
        while self.n_ready == 0 {
            match self.inner.read(&mut self.block[self.n_read..]) {
                Ok(0) => return Ok(()),
                Ok(n) => self.n_read += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.n_ready = self.n_read - self.n_read % self.reorder.width;
        }
        for sample in self.block[..self.n_ready].chunks_exact_mut(self.reorder.width) {
            sample.reverse();
            if self.reorder.flips_sign {
                sample[self.reorder.width - 1] ^= 0x80;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Reordered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_out == self.n_ready {
            self.fill()?;
        }
        let n = buffer.len().min(self.n_ready - self.n_out);
        buffer[..n].copy_from_slice(&self.block[self.n_out..self.n_out + n]);
        self.n_out += n;
        Ok(n)
    }
}
