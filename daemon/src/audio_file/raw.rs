//! PCM without a header.

use std::io::{ErrorKind, Read};

use super::error::{AudioProblem, Fault};
use super::step::Step;
use crate::pcm::Encoding;

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Format in place of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFormat {
    /// How one sample is written.
    pub encoding: Encoding,
    /// Samples of one channel a second, in Hz.
    pub sample_rate_hz: u32,
    /// Interleaved channels, at least 1.
    pub n_channels: u16,
}

pub(super) struct RawReader {
    reader: Box<dyn Read + Send>,
    format: RawFormat,
    /// The first `n_left` bytes are the beginning of a frame whose rest is still to come.
    bytes: Vec<u8>,
    n_left: usize,
}

impl RawReader {
    pub(super) fn new(reader: Box<dyn Read + Send>, format: RawFormat) -> Self {
        Self { reader, format, bytes: vec![0; READ_BYTES], n_left: 0 }
    }

    pub(super) fn format(&self) -> &RawFormat {
        &self.format
    }

    pub(super) fn step(&mut self, block: &mut Vec<f32>) -> Result<Step, Fault> {
        let frame_bytes = self.format.encoding.sample_bytes() * usize::from(self.format.n_channels.max(1));
        let n_read = match self.reader.read(&mut self.bytes[self.n_left..]) {
            Ok(n_read) => n_read,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Step::Samples),
            Err(source) => return Err(Fault::Read { source }),
        };
        if n_read == 0 {
            let partial = AudioProblem::PartialFrame { n_bytes: self.n_left };
            return Ok(Step::End((self.n_left > 0).then_some(partial)));
        }
        let n_bytes = self.n_left + n_read;
        let n_whole = n_bytes - n_bytes % frame_bytes;
        self.format.encoding.decode(&self.bytes[..n_whole], block);
        self.bytes.copy_within(n_whole..n_bytes, 0);
        self.n_left = n_bytes - n_whole;
        Ok(Step::Samples)
    }
}
