//! Part of a file as a file of its own, exact to the sample; a file that is still written, or was cut off, is read up to
//! its last whole page.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use diarized_dsp::SAMPLE_RATE_HZ;

use super::layout::{FRAME_GRANULES, GRANULES_PER_SAMPLE, head, n_frames_of, pre_skip_of, tags};
use super::page::{FIRST, Header, LAST, Page};

/// Longest part, in seconds: it is made in memory.
const MAX_S: f64 = 3600.0;
/// Longer than any file, in seconds.
const LONGEST_S: f64 = 1e9;
/// Frames before a part that are decoded and not played, so that the decoder is in step (RFC 7845, 4.6: 80 ms).
const PREROLL_FRAMES: u64 = 4;
/// Granules in a second.
const GRANULES_PER_S: f64 = (SAMPLE_RATE_HZ as u64 * GRANULES_PER_SAMPLE) as f64;
/// A pre-skip has 16 bits.
const MAX_PRE_SKIP: u64 = u16::MAX as u64;

/// Why a part cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// The file cannot be read.
    #[error("the file of kept audio cannot be read")]
    Io(#[from] io::Error),
    /// No file of kept audio.
    #[error(
        "the file of kept audio is damaged at its start; delete the session, or restore it from a backup"
    )]
    Damaged,
    /// Times that make no part.
    #[error("end ({end}) must be after start ({start}), both 0 or above, at most {MAX_S} s apart")]
    Times {
        /// Start, in seconds.
        start: f64,
        /// End, in seconds.
        end: f64,
    },
    /// A part behind the end.
    #[error("the kept audio ends at {duration_s:.3} s, before start ({start})")]
    Beyond {
        /// Start, in seconds.
        start: f64,
        /// Length of the file, in seconds.
        duration_s: f64,
    },
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// An Ogg Opus file.
    pub bytes: Vec<u8>,
    /// Its length in seconds.
    pub duration_s: f64,
}

/// Length of a file in seconds, up to its last whole page. Reads all of it.
///
/// # Errors
/// [`CutError`]
pub fn duration_s(path: &Path) -> Result<f64, CutError> {
    let mut pages = Pages::open(File::open(path)?)?;
    while pages.next(u64::MAX)?.is_some() {}
    Ok(pages.end as f64 / GRANULES_PER_S)
}

/// The part from `start` to `end`, in seconds; the end of the file is the end where it comes first, or where none is given.
///
/// # Errors
/// [`CutError`]
pub fn cut(file: impl Read + Seek, start: f64, end: Option<f64>) -> Result<Cut, CutError> {
    let upper = end.unwrap_or(start + MAX_S);
    let is_part = end.is_none_or(|end| (1.0 / f64::from(SAMPLE_RATE_HZ)..=MAX_S).contains(&(end - start)));
    if !(start >= 0.0 && start.is_finite() && is_part) {
        return Err(CutError::Times { start, end: upper });
    }
    // No file is so long, and sums of what is below do not overflow.
    let granule = |s: f64| (s.min(LONGEST_S) * GRANULES_PER_S).round() as u64;
    let mut pages = Pages::open(file)?;
    let (from, to) = (granule(start), granule(upper) + u64::from(pages.pre_skip));
    // What is decoded begins here; the file's own pre-skip lies before second 0.
    let needed = (from + u64::from(pages.pre_skip)).saturating_sub(PREROLL_FRAMES * FRAME_GRANULES);
    let mut part = Packets::new();
    while let Some(page) = pages.next(needed)? {
        for (begin, packet) in page {
            let n_granules = n_frames_of(&packet).unwrap_or(0) * FRAME_GRANULES;
            if begin + n_granules > needed && begin < to {
                part.push((begin, packet));
            }
        }
        if pages.begin >= to {
            break;
        }
    }
    let pre_skip = u64::from(pages.pre_skip);
    let last =
        part.last().map_or(0, |(begin, packet)| begin + n_frames_of(packet).unwrap_or(0) * FRAME_GRANULES);
    let last = last.min(to).min(pages.end + pre_skip);
    let begin = part.first().map_or(0, |(begin, _)| *begin);
    let skipped = (from + pre_skip).saturating_sub(begin);
    if part.is_empty() || last <= from + pre_skip || skipped > MAX_PRE_SKIP {
        let duration_s = pages.end as f64 / GRANULES_PER_S;
        return Err(CutError::Beyond { start, duration_s });
    }
    let bytes = write(&part, skipped as u16, last - begin, pages.serial);
    Ok(Cut { bytes, duration_s: (last - from - pre_skip) as f64 / GRANULES_PER_S })
}

/// A file of packets that lie one behind the other and end at granule `end` of it.
fn write(part: &[(u64, Vec<u8>)], pre_skip: u16, end: u64, serial: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut page = Page { flags: FIRST, granule: 0, serial, sequence: 0, packets: vec![head(pre_skip)] };
    page.write(&mut bytes);
    page = Page { flags: 0, granule: 0, serial, sequence: 1, packets: vec![tags()] };
    page.write(&mut bytes);
    page = Page { sequence: 2, packets: Vec::new(), ..page };
    let (mut n_laces, mut granule) = (0, 0);
    for (_, packet) in part {
        // A page for each second, as in the file.
        if !Page::has_room(n_laces, packet) || granule >= page.granule + GRANULES_PER_S as u64 {
            page.granule = granule;
            page.write(&mut bytes);
            page = Page { sequence: page.sequence + 1, packets: Vec::new(), ..page };
            n_laces = 0;
        }
        n_laces += Page::n_laces(packet);
        granule += n_frames_of(packet).unwrap_or(0) * FRAME_GRANULES;
        page.packets.push(packet.clone());
    }
    Page { flags: LAST, granule: end, ..page }.write(&mut bytes);
    bytes
}

/// Packets, each with the granule at which it begins.
type Packets = Vec<(u64, Vec<u8>)>;

/// The pages of audio of a file, in order.
struct Pages<R: Read + Seek> {
    file: BufReader<R>,
    serial: u32,
    pre_skip: u16,
    sequence: u32,
    /// Granule at the end of the packets so far, pre-skip included.
    begin: u64,
    /// Granule at which the audio so far ends, without the pre-skip.
    end: u64,
}

impl<R: Read + Seek> Pages<R> {
    fn open(file: R) -> Result<Self, CutError> {
        let mut file = BufReader::new(file);
        file.seek(SeekFrom::Start(0))?;
        let (first, _) = Page::read(&mut file)?.ok_or(CutError::Damaged)?;
        let pre_skip =
            first.packets.first().and_then(|packet| pre_skip_of(packet)).ok_or(CutError::Damaged)?;
        let serial = first.serial;
        Page::read(&mut file)?.filter(|(tags, _)| tags.serial == serial).ok_or(CutError::Damaged)?;
        Ok(Self { file, serial, pre_skip, sequence: 2, begin: 0, end: 0 })
    }

    /// The packets of the next page with the granules at which they begin; those of a page that ends before `needed` are
    /// not read.
    fn next(&mut self, needed: u64) -> Result<Option<Packets>, CutError> {
        let Some(header) = Header::read(&mut self.file)? else { return Ok(None) };
        if header.serial() != self.serial || header.sequence() != self.sequence {
            return Ok(None);
        }
        self.sequence += 1;
        if header.granule() <= needed {
            return Ok(self.skip(&header)?.then(Vec::new));
        }
        let Some(page) = header.read_page(&mut self.file)? else { return Ok(None) };
        let mut packets = Vec::new();
        for packet in page.packets {
            // No file of this module holds other packets.
            let Some(n_frames) = n_frames_of(&packet) else { return Ok(None) };
            let begin = self.begin;
            self.begin += n_frames * FRAME_GRANULES;
            packets.push((begin, packet));
        }
        let end = if page.flags & LAST == 0 { self.begin } else { self.begin.min(page.granule) };
        self.end = end.saturating_sub(u64::from(self.pre_skip)).max(self.end);
        Ok(Some(packets))
    }

    /// Passes over the packets of a page. Whether they are all there, and it lies behind the page before.
    fn skip(&mut self, header: &Header) -> Result<bool, CutError> {
        let n_bytes = header.body_bytes() as u64;
        let is_whole = header.granule() >= self.begin
            && io::copy(&mut (&mut self.file).take(n_bytes), &mut io::sink())? == n_bytes;
        if is_whole {
            self.begin = header.granule();
            self.end = self.begin.saturating_sub(u64::from(self.pre_skip)).max(self.end);
        }
        Ok(is_whole)
    }
}
