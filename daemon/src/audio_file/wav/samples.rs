//! The bytes of the samples after a header: those of one `data` chunk, or of several.

use std::io::{self, Read};

use super::chunks;
use super::head::Head;
use super::order::Order;
use super::walk::Walk;

/// Most that is gone over between two `data` chunks, in bytes.
const MAX_BETWEEN_BYTES: u64 = 64 << 20;

/// A stream of samples. Some recorders begin another `data` chunk after every interruption; all of them are read as one.
pub(super) struct Samples {
    walk: Walk,
    order: Order,
    /// Bytes of the present chunk that are left.
    n_left: u64,
    /// Bytes of the present chunk that were read.
    n_read: u64,
    /// Bytes of one frame, or of one block where samples have no size of their own; at least 1.
    frame_bytes: u64,
    /// Zeros that complete the last frame of a chunk before the next one.
    n_padding: u64,
    /// Whether another chunk may follow the present one.
    may_go_on: bool,
}

impl Samples {
    /// What follows `head` in `walk`.
    pub(super) fn new(walk: Walk, head: &Head) -> Self {
        let frame_bytes = u64::from(head.format.frame_bytes().max(1));
        Self {
            walk,
            order: head.order,
            n_left: head.size.limit,
            n_read: 0,
            frame_bytes,
            n_padding: 0,
            may_go_on: head.has_chunks && head.size.promised.is_some(),
        }
    }

    /// Goes to the next `data` chunk, if there is one.
    fn go_on(&mut self) -> io::Result<()> {
        let found = chunks::next_data(&mut self.walk, self.order, self.n_read, MAX_BETWEEN_BYTES)?;
        let Some(size) = found else {
            self.may_go_on = false;
            return Ok(());
        };
        let n_over = self.n_read % self.frame_bytes;
        self.n_padding = if n_over == 0 { 0 } else { self.frame_bytes - n_over };
        self.n_left = size.limit;
        self.n_read = 0;
        self.may_go_on = size.promised.is_some();
        Ok(())
    }
}

impl Read for Samples {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let room = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(buffer.len());
            if self.n_padding > 0 {
                let n = room(self.n_padding);
                buffer[..n].fill(0);
                self.n_padding -= n as u64;
                return Ok(n);
            }
            if self.n_left > 0 {
                let n = room(self.n_left);
                let n = self.walk.read(&mut buffer[..n])?;
                self.n_left -= n as u64;
                self.n_read += n as u64;
                // The end of the stream.
                if n == 0 {
                    (self.n_left, self.may_go_on) = (0, false);
                }
                return Ok(n);
            }
            if !self.may_go_on {
                return Ok(0);
            }
            self.go_on()?;
        }
    }
}
