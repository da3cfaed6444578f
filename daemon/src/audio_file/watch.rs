//! Watches what a decoder reads: somebody must still wait for it, and the fragments of an MP4 must not promise more samples
//! than the file can hold, since the reader counts through all of them before it looks for the first.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::io::MediaSource;

use super::budget::Patience;

/// The name of the atom that lists the samples of a fragment ("track fragment run", ISO 14496-12, 8.8.8).
const TRUN: &[u8; 4] = b"trun";
/// Bits of its flags that stand for a field of each sample; without any of them it is as long whatever it promises.
const FIELDS_OF_SAMPLES: u32 = 0xf00;
/// From its size to its count: size, name, the size in 64 bits, version and flags, count.
const HEAD_BYTES: usize = 4 + 4 + 8 + 4 + 4;
/// An atom of this name that is longer than this is the sound by chance.
const MAX_TRUN_BYTES: u32 = 1 << 24;
/// Samples that fragments may promise beside one a byte: to count through them takes some milliseconds.
const SPARE_SAMPLES: u64 = 1 << 20;

/// Why a read fails where the file promises too much.
pub(super) const TOO_MUCH: &str = "its index promises more samples than its bytes can hold";

/// A source of bytes that is watched.
pub(super) struct Watched {
    source: Box<dyn MediaSource>,
    patience: Patience,
    pos: u64,
    /// Up to here it was looked through.
    seen: u64,
    /// The last bytes before `seen`: an atom may lie across two reads.
    tail: Vec<u8>,
    n_promised: u64,
    /// Whether it declares too much: a decoder's own error of a failed read has no reason.
    is_too_much: Arc<AtomicBool>,
}

impl Watched {
    /// The source, and the flag for one that declares too much.
    pub(super) fn new(source: Box<dyn MediaSource>, patience: Patience) -> (Self, Arc<AtomicBool>) {
        let is_too_much = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_too_much);
        (Self { source, patience, pos: 0, seen: 0, tail: Vec::new(), n_promised: 0, is_too_much }, flag)
    }

    /// Looks through the bytes that were read at `pos`, as far as they are new.
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.pos + bytes.len() as u64;
        if self.pos > self.seen {
            // What was passed over is seen when it is read.
            self.tail.clear();
            self.seen = self.pos;
        }
        let n_known = usize::try_from(self.seen - self.pos).unwrap_or(usize::MAX).min(bytes.len());
        self.seen = self.seen.max(end);
        self.tail.extend_from_slice(&bytes[n_known..]);
        let n_whole = self.tail.len().saturating_sub(HEAD_BYTES - 1);
        for start in 0..n_whole {
            self.n_promised += promised(&self.tail[start..start + HEAD_BYTES]);
        }
        self.tail.drain(..n_whole);
        let n_bytes = self.source.byte_len().unwrap_or(self.seen);
        if self.n_promised > n_bytes + SPARE_SAMPLES {
            self.is_too_much.store(true, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::InvalidData, TOO_MUCH));
        }
        Ok(())
    }
}

/// Samples without a field of their own that the atom which begins here promises; none if none begins here.
fn promised(head: &[u8]) -> u64 {
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if head[4..8] != *TRUN {
        return 0;
    }
    let (size, at) = match word(0) {
        1 => (word(12), 16),
        size => (size, 8),
    };
    if size > MAX_TRUN_BYTES || word(at) & FIELDS_OF_SAMPLES != 0 { 0 } else { u64::from(word(at + 4)) }
}

impl Read for Watched {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.patience.check().is_err() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let n = self.source.read(buf)?;
        self.look(&buf[..n])?;
        self.pos += n as u64;
        Ok(n)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.pos = self.source.seek(to)?;
        Ok(self.pos)
    }
}

impl MediaSource for Watched {
    fn is_seekable(&self) -> bool {
        self.source.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.source.byte_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trun(flags: u32, count: u32) -> Vec<u8> {
        [&16_u32.to_be_bytes(), TRUN.as_slice(), &flags.to_be_bytes(), &count.to_be_bytes()].concat()
    }

    fn long_trun(count: u32) -> Vec<u8> {
        let size = [1_u32.to_be_bytes().as_slice(), TRUN, &24_u64.to_be_bytes()].concat();
        [size, 0_u32.to_be_bytes().to_vec(), count.to_be_bytes().to_vec()].concat()
    }

    /// Whether all of `bytes` can be read in blocks.
    fn passes(bytes: &[u8], step: usize) -> bool {
        let source = io::Cursor::new(bytes.to_vec());
        let (mut watched, too_much) = Watched::new(Box::new(source), Patience::default());
        let mut buf = vec![0; step];
        loop {
            match watched.read(&mut buf) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    assert!(error.kind() == io::ErrorKind::InvalidData && too_much.load(Ordering::Relaxed));
                    return false;
                }
            }
        }
    }

    #[test]
    fn promises_are_seen_wherever_the_reads_are_cut() {
        let filler = vec![0_u8; 100];
        let wrap = |atoms: &[Vec<u8>]| [&filler[..], &atoms.concat(), &filler].concat();
        for step in [1, 3, 16, 23, 24, 25, 1000] {
            assert!(passes(&wrap(&[trun(0, 1000), trun(1, 5000)]), step));
            assert!(
                passes(&wrap(&[trun(0x100, u32::MAX)]), step),
                "each sample has a field: the reader runs dry"
            );
            assert!(!passes(&wrap(&[trun(0, u32::MAX)]), step));
            assert!(!passes(&wrap(&[long_trun(u32::MAX)]), step));
            assert!(!passes(&wrap(&vec![trun(0, 100_000); 20]), step), "they add up");
        }
    }

    #[test]
    fn what_is_read_twice_counts_once_and_what_is_passed_over_counts_when_it_is_read() {
        let bytes = [vec![0; 500], trun(0, 700_000), vec![0; 500]].concat();
        let (mut watched, _) = Watched::new(Box::new(io::Cursor::new(bytes)), Patience::default());
        let mut rest = Vec::new();
        for start in [800, 0, 505, 0] {
            watched.seek(SeekFrom::Start(start)).unwrap();
            rest.clear();
            watched.read_to_end(&mut rest).unwrap();
        }
        assert!(watched.n_promised <= 700_000);
    }
}
