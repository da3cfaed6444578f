//! PCM without a header, and wav files whose header was never finished.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::{AudioProblem, Fault, Step};
use crate::pcm::Encoding;

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;

/// What a header would say.
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

/// Recorders that lose power leave a wav header that promises no data, with all data behind it. Gives the format
/// and where the data begins, if `file` of `n_bytes` is such a file in an encoding that needs no decoder.
///
/// Only the header is read; where the file stands afterwards is not defined.
pub(super) fn unfinished_wav(file: &mut (impl Read + Seek), n_bytes: u64) -> Option<(RawFormat, u64)> {
    const MAX_CHUNKS: usize = 64;
    let mut riff = [0; 12];
    file.read_exact(&mut riff).ok()?;
    if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
        return None;
    }
    let mut format = None;
    let mut at: u64 = 12;
    for _ in 0..MAX_CHUNKS {
        let mut header = [0; 8];
        file.read_exact(&mut header).ok()?;
        let (id, sizes) = header.split_at(4);
        let size = u32::from_le_bytes(sizes.try_into().ok()?);
        at += 8;
        match id {
            b"fmt " => {
                let mut fmt = [0; 16];
                file.read_exact(&mut fmt).ok()?;
                let field = |from: usize| u16::from_le_bytes([fmt[from], fmt[from + 1]]);
                let encoding = match (field(0), field(14)) {
                    (1, 16) => Encoding::PcmS16le,
                    (3, 32) => Encoding::PcmF32le,
                    _ => return None,
                };
                let sample_rate_hz = u32::from_le_bytes([fmt[4], fmt[5], fmt[6], fmt[7]]);
                format = Some(RawFormat { encoding, sample_rate_hz, n_channels: field(2) });
            }
            b"data" => {
                let format = format.filter(|format| format.n_channels > 0)?;
                return (size == 0 && at < n_bytes).then_some((format, at));
            }
            _ => {}
        }
        // Chunks are padded to an even length.
        at += u64::from(size) + u64::from(size % 2);
        file.seek(SeekFrom::Start(at)).ok()?;
    }
    None
}
