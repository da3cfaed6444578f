//! The chunks of RIFF, RIFX, RF64, BW64 and Wave64 files up to the samples.

use super::faults::{damaged, read_fault};
use super::format::Format;
use super::head::{DataSize, Head};
use super::order::Order;
use super::walk::Walk;
use crate::audio_file::error::Fault;

/// Most that stands before the samples: covers, transcripts and reserved room are far smaller.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// Bytes of a `fmt ` chunk that are read.
const MAX_FORMAT_BYTES: u64 = 4096;

/// Chunks that programs write; one of these is surely the beginning of a chunk.
const KNOWN_IDS: [&[u8; 4]; 40] = [
    b"data", b"fmt ", b"fact", b"LIST", b"list", b"JUNK", b"junk", b"PAD ", b"FLLR", b"bext", b"iXML",
    b"id3 ", b"ID3 ", b"cue ", b"smpl", b"inst", b"PEAK", b"levl", b"axml", b"chna", b"ds64", b"acid",
    b"strc", b"umid", b"minf", b"elm1", b"regn", b"DISP", b"afsp", b"LGWV", b"plst", b"note", b"labl",
    b"CSET", b"_PMX", b"cart", b"link", b"aXML", b"MEXT", b"qlty",
];

/// The tail that the GUIDs of Wave64 share, but for that of the file itself.
const WAVE64_TAIL: [u8; 12] = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
const WAVE64_FILE: [u8; 16] =
    [b'r', b'i', b'f', b'f', 0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0x00, 0x00];

pub(super) fn is_wave64(magic: &[u8]) -> bool {
    magic.starts_with(&WAVE64_FILE)
}

/// Reads up to the samples of RIFF, RIFX, RF64 or BW64.
pub(super) fn read_riff(walk: &mut Walk) -> Result<Head, Fault> {
    let header = walk.take(12).map_err(read_fault)?;
    let order = if header.starts_with(b"RIFX") { Order::Big } else { Order::Little };
    let mut format = None;
    let mut wide_size = None;
    loop {
        let header = walk.take(8).map_err(no_data)?;
        let (id, size) = (&header[..4], u64::from(order.u32(&header[4..])));
        match id {
            b"fmt " => {
                let n = size.min(MAX_FORMAT_BYTES);
                let chunk = walk.peek(n as usize).map_err(read_fault)?.to_vec();
                format = Some(Format::of_chunk(&chunk, order)?);
            }
            b"ds64" if size >= 16 => {
                let sizes = walk.peek(16).map_err(read_fault)?;
                wide_size = sizes.get(8..16).and_then(|n| n.try_into().ok()).map(u64::from_le_bytes);
            }
            b"data" => {
                let size = data_size(size, wide_size, walk);
                if size.is_unfinished && next_is_chunk(walk, order)? {
                    continue;
                }
                let format = format.ok_or_else(|| damaged("its samples come before its fmt chunk"))?;
                return Ok(Head { format, order, size, has_chunks: true });
            }
            _ => {}
        }
        check_room(walk, size)?;
        skip_body(walk, size)?;
    }
}

fn check_room(walk: &Walk, n_bytes: u64) -> Result<(), Fault> {
    match walk.at().saturating_add(n_bytes) {
        end if end <= MAX_HEADER_BYTES => Ok(()),
        _ => Err(damaged("its samples do not begin within 64 MiB")),
    }
}

/// What the `data` chunk's own size means beside that of a `ds64` chunk before it.
fn data_size(size: u64, wide_size: Option<u64>, walk: &Walk) -> DataSize {
    let n_left = walk.len().map(|len| len.saturating_sub(walk.at()));
    match wide_size {
        Some(wide) if size == 0 || size == u64::from(u32::MAX) => {
            // Nobody has so much; a recorder that is still writing has put the most there.
            let wide = if wide >= 1 << 62 { u64::MAX } else { wide };
            DataSize::of_field(wide, u64::MAX, n_left)
        }
        _ => DataSize::of_field(size, u64::from(u32::MAX), n_left),
    }
}

/// Whether an empty `data` chunk is followed by another chunk, and so is empty indeed.
fn next_is_chunk(walk: &mut Walk, order: Order) -> Result<bool, Fault> {
    let (n_left, at) = (walk.len(), walk.at());
    let next = walk.peek(8).map_err(read_fault)?;
    if next.len() < 8 || !is_known(&next[..4]) {
        return Ok(false);
    }
    let size = u64::from(order.u32(&next[4..]));
    Ok(n_left.is_none_or(|len| at + 8 + size <= len))
}

/// Goes over a chunk's body to the next chunk. An odd body is padded, but not by every program, and some count a byte
/// too many or too few.
fn skip_body(walk: &mut Walk, size: u64) -> Result<(), Fault> {
    let n_kept = size.min(1);
    walk.skip(size - n_kept).map_err(read_fault)?;
    let regular = (n_kept + size % 2) as usize;
    let kept = n_kept as usize;
    let ahead = walk.peek(kept + 6).map_err(read_fault)?;
    let id_at = |at: usize| ahead.get(at..at + 4);
    let places = [regular, kept, kept + 1, 0, kept + 2];
    let known = places.into_iter().find(|&at| id_at(at).is_some_and(is_known));
    let at = match known {
        Some(at) => at,
        None if id_at(regular).is_none_or(|id| id.iter().all(|b| (b' '..=b'~').contains(b))) => regular,
        None => return Err(damaged("a chunk in its header has a wrong size")),
    };
    walk.skip(at as u64).map_err(read_fault)?;
    Ok(())
}

/// Goes to the samples of the next `data` chunk behind one of `n_before` bytes, over at most `n_most` bytes of other chunks.
/// `None` where there is none: what is no known chunk is the end.
pub(super) fn next_data(
    walk: &mut Walk,
    order: Order,
    n_before: u64,
    n_most: u64,
) -> std::io::Result<Option<DataSize>> {
    let begin = walk.at();
    let mut is_odd = n_before % 2 == 1;
    loop {
        // An odd body is padded, but not by every program.
        let ahead = walk.peek(9)?;
        let is_header = |at: usize| ahead.len() >= at + 8 && is_known(&ahead[at..at + 4]);
        let places = if is_odd { [1, 0] } else { [0, 0] };
        let Some(at) = places.into_iter().find(|&at| is_header(at)) else { return Ok(None) };
        walk.skip(at as u64)?;
        let header = walk.take(8)?;
        let size = u64::from(order.u32(&header[4..]));
        if header.starts_with(b"data") {
            let size = data_size(size, None, walk);
            // An empty one may stand before another one.
            let is_empty = size.is_unfinished && walk.peek(8)?.get(..4).is_none_or(is_known);
            if !is_empty {
                return Ok(Some(size));
            }
            is_odd = false;
            continue;
        }
        if walk.at() - begin + size > n_most || walk.skip(size)? < size {
            return Ok(None);
        }
        is_odd = size % 2 == 1;
    }
}

fn is_known(id: &[u8]) -> bool {
    KNOWN_IDS.iter().any(|known| &known[..] == id)
}

/// Reads up to the samples of a Wave64 file: chunks with GUIDs and 64-bit sizes, which count their header.
pub(super) fn read_wave64(walk: &mut Walk) -> Result<Head, Fault> {
    const HEADER_BYTES: u64 = 24;
    walk.take(40).map_err(read_fault)?;
    let mut format = None;
    loop {
        let header = walk.take(HEADER_BYTES as usize).map_err(no_data)?;
        let (guid, size) = header.split_at(16);
        let size = u64::from_le_bytes(size.try_into().expect("24 bytes less 16 are 8"));
        let is_ours = guid[4..] == WAVE64_TAIL;
        let body = size.saturating_sub(HEADER_BYTES);
        match &guid[..4] {
            b"fmt " if is_ours => {
                let n = body.min(MAX_FORMAT_BYTES);
                let chunk = walk.peek(n as usize).map_err(read_fault)?.to_vec();
                format = Some(Format::of_chunk(&chunk, Order::Little)?);
            }
            b"data" if is_ours => {
                let n_left = walk.len().map(|len| len.saturating_sub(walk.at()));
                let body = if size >= 1 << 62 { u64::MAX } else { body };
                let size = DataSize::of_field(body, u64::MAX, n_left);
                let format = format.ok_or_else(|| damaged("its samples come before its fmt chunk"))?;
                return Ok(Head { format, order: Order::Little, size, has_chunks: false });
            }
            _ => {}
        }
        check_room(walk, body)?;
        walk.skip(body.next_multiple_of(8)).map_err(read_fault)?;
    }
}

fn no_data(source: std::io::Error) -> Fault {
    match source.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged("it has no data chunk"),
        _ => Fault::Read { source },
    }
}
