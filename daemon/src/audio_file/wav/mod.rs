//! Wav and its kin (RIFX, RF64, BW64, Wave64, AU), whole or with wrong sizes, as one plain wav stream.
//!
//! The header is parsed and rewritten, so that every encoding meets its decoder the same way: from a file, a
//! pipe or memory, with whatever sizes the recorder left behind.

mod au;
mod chunks;
mod faults;
mod format;
mod head;
mod order;
mod reorder;
mod samples;
mod walk;

use std::io::{Cursor, Read};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use super::error::Fault;
use faults::read_fault;
use reorder::Reorder;
use samples::Samples;
use walk::Walk;

/// Bytes that identify one of these kinds.
const MAGIC_BYTES: usize = 16;

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
    if head.size.is_unfinished && walk.peek(1).map_err(read_fault)?.is_empty() {
        return Err(Fault::NoSamples);
    }
    let data = Samples::new(walk, &head);
    let head::Head { format, order, size, .. } = head;
    let data: Box<dyn Read + Send + Sync> = match format.reorder(order) {
        Reorder::NONE => Box::new(data),
        reorder => Box::new(reorder::Reordered::new(data, reorder)),
    };
    let n_promised_frames = size.promised.and_then(|n_bytes| format.n_frames(n_bytes));
    let source: Box<dyn MediaSource> = if format.is_mpeg() {
        Box::new(ReadOnlySource::new(data))
    } else {
        let header = plain_header(&format.to_chunk());
        Box::new(ReadOnlySource::new(Cursor::new(header).chain(data)))
    };
    Ok(Wav { source, n_promised_frames, is_unfinished: size.is_unfinished })
}

/// The header of a wav stream with this `fmt ` chunk. Its sizes are left open: the stream ends where the samples do.
fn plain_header(fmt: &[u8]) -> Vec<u8> {
    let n_fmt = u32::try_from(fmt.len()).expect("a format chunk is cut to 4 KiB");
    [
        &b"RIFF"[..],
        &u32::MAX.to_le_bytes(),
        b"WAVEfmt ",
        &n_fmt.to_le_bytes(),
        fmt,
        b"data",
        &u32::MAX.to_le_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
