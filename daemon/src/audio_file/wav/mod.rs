//! Wav and its kin (RIFX, RF64, BW64, Wave64, AU), whole or with wrong sizes, as one plain wav stream.
//!
//! The header is parsed and rewritten, so that every encoding meets its decoder the same way: from a file, a
//! pipe or memory, with whatever sizes the recorder left behind.

mod au;
mod chunks;
mod format;
mod reorder;
mod walk;

use std::io::{self, Cursor, ErrorKind, Read};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use super::Fault;
use format::Format;
use reorder::Reorder;
use walk::Walk;

/// Bytes that identify one of these kinds.
const MAGIC_BYTES: usize = 16;

/// A size that the header of an endless stream holds: the most that fits, or nearly so. It promises nothing.
const ENDLESS_BYTES: u64 = 0x7fff_0000;

/// How a header orders the bytes of its numbers and samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// Format of the samples after a header.
struct Head {
    format: Format,
    order: Order,
    size: DataSize,
}

/// How much audio there is behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DataSize {
    /// Bytes that belong to the audio at most.
    limit: u64,
    /// Bytes that the header promises, where that is a promise.
    promised: Option<u64>,
    /// The header promises nothing and data follows.
    is_unfinished: bool,
}

impl DataSize {
    /// All that follows, without a promise.
    const ENDLESS: Self = Self { limit: u64::MAX, promised: None, is_unfinished: false };

    /// What a field of `n_bytes` means where `n_left` bytes follow it, if that is known; `n_max` is the largest number
    /// that the field holds.
    fn of_field(n_bytes: u64, n_max: u64, n_left: Option<u64>) -> Self {
        const WRAP: u64 = 1 << 32;
        match n_left {
            _ if n_bytes == 0 => Self { is_unfinished: true, ..Self::ENDLESS },
            _ if n_bytes == n_max => Self::ENDLESS,
            Some(n_left) if n_bytes >= ENDLESS_BYTES && n_bytes > n_left => Self::ENDLESS,
            // A recorder that went on past 4 GiB kept the low 32 bits only; a byte of padding may follow.
            Some(n_left) if n_left >= WRAP && n_max < WRAP && (n_left - n_bytes) % WRAP <= 1 => {
                Self { limit: n_left, promised: Some(n_left), is_unfinished: false }
            }
            None if n_bytes >= ENDLESS_BYTES && n_max < WRAP => Self { limit: n_bytes, ..Self::ENDLESS },
            _ => Self { limit: n_bytes, promised: Some(n_bytes), is_unfinished: false },
        }
    }
}

/// A stream of this family as the decoder takes it.
pub(super) struct Wav {
    /// A plain wav stream, or bare MPEG audio where a wav file holds that.
    pub(super) source: Box<dyn MediaSource>,
    /// Frames that the header promises, where it does and one sample has a size.
    pub(super) n_promised_frames: Option<u64>,
    /// Whether the header promises nothing though data follows.
    pub(super) is_unfinished: bool,
}

/// Whether a stream that begins with `magic` belongs to this family.
pub(super) fn is_wav(magic: &[u8]) -> bool {
    let is_riff = [b"RIFF", b"RIFX", b"RF64", b"BW64"].iter().any(|id| magic.starts_with(*id));
    (is_riff && magic.get(8..12) == Some(b"WAVE")) || chunks::is_wave64(magic) || au::is_au(magic)
}

/// Reads the header of a stream for which [`is_wav`] holds.
///
/// # Errors
/// The header is damaged, or names an encoding that nothing here decodes.
pub(super) fn open(source: Box<dyn MediaSource>) -> Result<Wav, Fault> {
    let mut walk = Walk::new(source);
    let magic = walk.peek(MAGIC_BYTES).map_err(read_fault)?.to_vec();
    let head = match () {
        () if au::is_au(&magic) => au::read(&mut walk)?,
        () if chunks::is_wave64(&magic) => chunks::read_wave64(&mut walk)?,
        () => chunks::read_riff(&mut walk)?,
    };
    let Head { format, order, size } = head;
    if size.is_unfinished && walk.peek(1).map_err(read_fault)?.is_empty() {
        return Err(Fault::NoSamples);
    }
    let data = walk.into_rest().take(size.limit);
    let data: Box<dyn Read + Send + Sync> = match format.reorder(order) {
        Reorder::NONE => Box::new(data),
        reorder => Box::new(reorder::Reordered::new(data, reorder)),
    };
    let n_promised_frames = size.promised.and_then(|n_bytes| format.n_frames(n_bytes));
    let source: Box<dyn MediaSource> = if format.is_mpeg() {
        Box::new(ReadOnlySource::new(data))
    } else {
        let header = plain_header(&format.to_chunk(), size.promised);
        Box::new(ReadOnlySource::new(Cursor::new(header).chain(data)))
    };
    Ok(Wav { source, n_promised_frames, is_unfinished: size.is_unfinished })
}

/// The header of a wav stream with this `fmt ` chunk; sizes that do not fit are left open.
fn plain_header(fmt: &[u8], n_data: Option<u64>) -> Vec<u8> {
    let n_data = n_data.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
    let n_fmt = u32::try_from(fmt.len()).expect("a format chunk is cut to 4 KiB");
    [
        &b"RIFF"[..],
        &u32::MAX.to_le_bytes(),
        b"WAVEfmt ",
        &n_fmt.to_le_bytes(),
        fmt,
        b"data",
        &n_data.to_le_bytes(),
    ]
    .concat()
}

fn read_fault(source: io::Error) -> Fault {
    match source.kind() {
        ErrorKind::UnexpectedEof => damaged("its header ends early"),
        _ => Fault::Read { source },
    }
}

fn damaged(reason: &str) -> Fault {
    Fault::Damaged { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
