//! Boxes of MP4 (ISO/IEC 14496-12): headers, bodies and big-endian numbers.

/// The header of a box: its kind, where its body begins, and where it ends, if that is before the end of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoxHeader {
    pub(super) kind: [u8; 4],
    pub(super) n_header: u64,
    /// Bytes with the header; `None` to the end of the file.
    pub(super) len: Option<u64>,
}

impl BoxHeader {
    /// Bytes that a header has at most.
    pub(super) const MAX_BYTES: usize = 16;

    /// Reads the header that `bytes` begin with; `None` if there are too few or it cannot be.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let size = u32_at(bytes, 0)?;
        let kind = bytes.get(4..8)?.try_into().ok()?;
        let (n_header, len) = match size {
            0 => (8, None),
            1 => (16, Some(u64_at(bytes, 8)?)),
            size => (8, Some(u64::from(size))),
        };
        len.is_none_or(|len| len >= n_header).then_some(Self { kind, n_header, len })
    }
}

/// The boxes of a body.
pub(super) fn boxes(body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let header = BoxHeader::read(rest)?;
        let len = header.len.map_or(Some(rest.len()), |len| usize::try_from(len).ok())?;
        let inner = rest.get(header.n_header as usize..len)?;
        rest = &rest[len..];
        Some((header.kind, inner))
    })
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
