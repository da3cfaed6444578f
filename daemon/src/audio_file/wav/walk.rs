//! Reading ahead in a stream that may not be able to seek.

use std::io::{self, ErrorKind, Read};

use symphonia::core::io::MediaSource;

/// Bytes that are thrown away at a time.
const SKIP_BYTES: usize = 16 * 1024;

/// A stream and the bytes of it that were read but not used.
pub(super) struct Walk {
    source: Box<dyn MediaSource>,
    ahead: Vec<u8>,
    /// Bytes used so far.
    at: u64,
}

impl Walk {
    pub(super) fn new(source: Box<dyn MediaSource>) -> Self {
        Self { source, ahead: Vec::new(), at: 0 }
    }

    /// Bytes used since the walk began.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes from the beginning of the walk to the end of the stream, if that is known.
    pub(super) fn len(&self) -> Option<u64> {
        self.source.byte_len()
    }

    /// The next `n` bytes, fewer at the end; they stay unused.
    pub(super) fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.ahead.len() < n {
            let n_before = self.ahead.len();
            self.ahead.resize(n, 0);
            let n_read = match self.source.read(&mut self.ahead[n_before..]) {
                Ok(n_read) => n_read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.ahead.truncate(n_before);
                    continue;
                }
                Err(error) => {
                    self.ahead.truncate(n_before);
                    return Err(error);
                }
            };
            self.ahead.truncate(n_before + n_read);
            if n_read == 0 {
                break;
            }
        }
        Ok(&self.ahead[..n.min(self.ahead.len())])
    }

    /// Uses `n` bytes; the number of bytes that there were.
    pub(super) fn skip(&mut self, n: u64) -> io::Result<u64> {
        let mut n_skipped = 0;
        while n_skipped < n {
            let want = usize::try_from(n - n_skipped).unwrap_or(usize::MAX).min(SKIP_BYTES);
            let got = self.peek(want)?.len();
            if got == 0 {
                break;
            }
            self.ahead.drain(..got);
            n_skipped += got as u64;
        }
        self.at += n_skipped;
        Ok(n_skipped)
    }

    /// Uses exactly `n` bytes.
    ///
    /// # Errors
    /// The end comes first, or the system failed.
    pub(super) fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        let bytes = self.peek(n)?.to_vec();
        if bytes.len() < n {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.ahead.drain(..n);
        self.at += n as u64;
        Ok(bytes)
    }
}

impl Read for Walk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match self.ahead.len().min(buffer.len()) {
            0 => self.source.read(buffer)?,
            n => {
                buffer[..n].copy_from_slice(&self.ahead[..n]);
                self.ahead.drain(..n);
                n
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}
