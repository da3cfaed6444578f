//! Pages of the Ogg container (RFC 3533): written with any number, so that a file goes on after a restart, and read up to
//! the last whole one.

use std::io::{self, Read};

/// Bytes of a page before its table of lengths.
const HEADER_BYTES: usize = 27;
/// Entries in the table of a page.
const MAX_LACES: usize = 255;

/// The first page of a stream.
pub(super) const FIRST: u8 = 2;
/// The last page of a stream.
pub(super) const LAST: u8 = 4;

/// One page of whole packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// [`FIRST`], [`LAST`] or 0.
    pub(super) flags: u8,
    /// Granules up to the end of its last packet.
    pub(super) granule: u64,
    pub(super) serial: u32,
    pub(super) sequence: u32,
    pub(super) packets: Vec<Vec<u8>>,
}

impl Page {
    /// Entries that a packet takes in the table: a packet of 255 bytes ends with a length of 0.
    pub(super) fn n_laces(packet: &[u8]) -> usize {
        packet.len() / 255 + 1
    }

    /// Whether a page that has `n_laces` entries has room for another packet.
    pub(super) fn has_room(n_laces: usize, packet: &[u8]) -> bool {
        n_laces + Self::n_laces(packet) <= MAX_LACES
    }

    /// The page as it lies in a file.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let at = into.len();
        into.extend(b"OggS\0");
        into.push(self.flags);
        into.extend(self.granule.to_le_bytes());
        into.extend(self.serial.to_le_bytes());
        into.extend(self.sequence.to_le_bytes());
        into.extend([0; 4]);
        let n_laces: usize = self.packets.iter().map(|packet| Self::n_laces(packet)).sum();
        into.push(u8::try_from(n_laces).expect("the writer asks for room before it adds a packet"));
        for packet in &self.packets {
            into.extend(std::iter::repeat_n(255, packet.len() / 255));
            into.push((packet.len() % 255) as u8);
        }
        self.packets.iter().for_each(|packet| into.extend(packet));
        let sum = checksum(0, &into[at..]);
        into[at + 22..at + 26].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads one page; `None` where no whole, undamaged page begins.
    ///
    /// # Errors
    /// Faults of the reader other than its end.
    pub(super) fn read(reader: &mut impl Read) -> io::Result<Option<(Self, u64)>> {
        let Some(header) = Header::read(reader)? else { return Ok(None) };
        let n_bytes = header.n_bytes();
        Ok(header.read_page(reader)?.map(|page| (page, n_bytes)))
    }
}

/// What stands before the packets of a page.
#[derive(Debug)]
pub(super) struct Header {
    bytes: Vec<u8>,
    laces: Vec<u8>,
}

impl Header {
    /// Reads what stands before the packets; `None` where no page of whole packets begins.
    pub(super) fn read(reader: &mut impl Read) -> io::Result<Option<Self>> {
        let Some(bytes) = take(reader, HEADER_BYTES)? else { return Ok(None) };
        if !bytes.starts_with(b"OggS\0") {
            return Ok(None);
        }
        let Some(laces) = take(reader, usize::from(bytes[26]))? else { return Ok(None) };
        // A packet that goes on in another page is none of ours.
        let is_whole = bytes[5] & 1 == 0 && laces.last().is_none_or(|n| *n < 255);
        Ok(is_whole.then_some(Self { bytes, laces }))
    }

    /// Reads the packets; `None` where they are not whole or damaged.
    pub(super) fn read_page(mut self, reader: &mut impl Read) -> io::Result<Option<Page>> {
        let Some(body) = take(reader, self.body_bytes())? else { return Ok(None) };
        let sum = self.word(22);
        self.bytes[22..26].fill(0);
        if sum != checksum(checksum(checksum(0, &self.bytes), &self.laces), &body) {
            return Ok(None);
        }
        Ok(Some(Page {
            flags: self.flags(),
            granule: self.granule(),
            serial: self.serial(),
            sequence: self.sequence(),
            packets: packets_of(&self.laces, &body),
        }))
    }

    pub(super) fn flags(&self) -> u8 {
        self.bytes[5]
    }

    pub(super) fn granule(&self) -> u64 {
        u64::from(self.word(6)) | u64::from(self.word(10)) << 32
    }

    pub(super) fn serial(&self) -> u32 {
        self.word(14)
    }

    pub(super) fn sequence(&self) -> u32 {
        self.word(18)
    }

    /// Bytes of its packets.
    pub(super) fn body_bytes(&self) -> usize {
        self.laces.iter().map(|n| usize::from(*n)).sum()
    }

    /// Bytes of the whole page.
    fn n_bytes(&self) -> u64 {
        (self.bytes.len() + self.laces.len() + self.body_bytes()) as u64
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }
}

fn packets_of(laces: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut start, mut end) = (Vec::new(), 0, 0);
    for lace in laces {
        end += usize::from(*lace);
        if *lace < 255 {
            packets.push(body[start..end].to_vec());
            start = end;
        }
    }
    packets
}

/// `n` bytes; `None` where there are fewer.
fn take(reader: &mut impl Read, n: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; n];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The container's CRC-32: polynomial 0x04c11db7, not reflected, begun with 0.
fn checksum(sum: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(sum, |sum, byte| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(*byte)])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut idx = 0;
    while idx < 256 {
        let (mut sum, mut bit) = ((idx as u32) << 24, 0);
        while bit < 8 {
            sum = if sum & 1 << 31 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[idx] = sum;
        idx += 1;
    }
    table
}
