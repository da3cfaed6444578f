//! AU files (`.au`, `.snd`): a header of six numbers, big endian, or little endian where they were written by DEC.

use super::faults::{damaged, read_fault};
use super::format::Format;
use super::head::{DataSize, Head};
use super::order::Order;
use super::walk::Walk;
use crate::audio_file::error::Fault;

/// Bytes of the six numbers.
const HEADER_BYTES: usize = 24;
/// A text of any length stands between header and samples; nobody writes one as long as this.
const MAX_OFFSET: u32 = 1 << 24;

pub(super) fn is_au(magic: &[u8]) -> bool {
    magic.starts_with(b".snd") || magic.starts_with(b"dns.")
}

pub(super) fn read(walk: &mut Walk) -> Result<Head, Fault> {
    let header = walk.take(HEADER_BYTES).map_err(read_fault)?;
    let order = if header.starts_with(b".snd") { Order::Big } else { Order::Little };
    let number = |idx: usize| order.u32(&header[4 * idx..]);
    let offset = number(1);
    if !(HEADER_BYTES as u32..=MAX_OFFSET).contains(&offset) {
        return Err(damaged(
            "its AU header says that the samples begin inside the header or beyond the file",
        ));
    }
    let format = Format::of_au(number(3), number(5), number(4))?;
    walk.skip(u64::from(offset) - HEADER_BYTES as u64).map_err(read_fault)?;
    let n_left = walk.len().map(|len| len.saturating_sub(walk.at()));
    let size = DataSize::of_field(u64::from(number(2)), u64::from(u32::MAX), n_left);
    Ok(Head { format, order, size, has_chunks: false })
}
