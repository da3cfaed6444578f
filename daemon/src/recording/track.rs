//! The file of one session while it is written: whole pages only, and nothing behind the last one that counts.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use diarized_dsp::SampleIndex;

use super::encoder::{Packet, n_frames_to};
use super::layout::{
    FRAME_GRANULES, GRANULES_PER_SAMPLE, LONG_FRAMES, LONG_SILENCE, SHORT_SILENCE, head, n_frames_of,
    pre_skip_of, tags,
};
use super::page::{FIRST, LAST, Page};
use crate::private_file::{OWNER, with_mode};

/// Bytes that are made before they are written, so that a long silence needs little memory.
const MAX_UNWRITTEN: usize = 1 << 18;

/// Why a file is not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrackError {
    #[error("the file cannot be written")]
    Io(#[from] io::Error),
    /// The file would be larger than it may be.
    #[error("the limit of all kept audio is reached (storage.audio_max_bytes)")]
    Full,
    #[error("the file does not begin as kept audio does")]
    Foreign,
}

/// A file that is written to.
#[derive(Debug)]
pub(super) struct Track {
    file: File,
    /// Bytes of its whole pages.
    n_bytes: u64,
    serial: u32,
    pre_skip: u16,
    /// Number of the next page.
    sequence: u32,
    /// Frames of 20 ms that it holds.
    n_frames: u64,
    /// The two numbers above as the file has them.
    written: (u32, u64),
    /// What is not written yet: pages, and the packets of the next one.
    unwritten: Vec<u8>,
    page: Vec<Vec<u8>>,
    n_laces: usize,
}

impl Track {
    /// Makes the file, which must not be there, for its owner alone.
    pub(super) fn create(path: &Path, serial: u32, pre_skip: u16) -> Result<Self, TrackError> {
        let mut track = Self::of(options().create_new(true).open(path)?, serial, pre_skip);
        for (flags, packet) in [(FIRST, head(pre_skip)), (0, tags())] {
            track.page.push(packet);
            track.end_page(flags, 0);
        }
        track.write_out(u64::MAX)?;
        Ok(track)
    }

    /// Opens the file to go on behind its last whole page; what lies behind that is cut off.
    pub(super) fn resume(path: &Path) -> Result<Self, TrackError> {
        let file = options().open(path)?;
        let mut pages = BufReader::new(&file);
        let first = Page::read(&mut pages)?.ok_or(TrackError::Foreign)?;
        let pre_skip = first.0.packets.first().and_then(|packet| pre_skip_of(packet));
        let (serial, pre_skip) = (first.0.serial, pre_skip.ok_or(TrackError::Foreign)?);
        let (mut n_bytes, mut sequence, mut n_frames) = (first.1, 1, 0);
        while let Some((page, n)) = Page::read(&mut pages)? {
            // A session that goes on has no last page yet.
            if page.serial != serial || page.sequence != sequence || page.flags & LAST != 0 {
                break;
            }
            n_bytes += n;
            sequence += 1;
            n_frames += page.packets.iter().filter_map(|packet| n_frames_of(packet)).sum::<u64>();
        }
        drop(pages);
        if sequence < 2 {
            return Err(TrackError::Foreign);
        }
        file.set_len(n_bytes)?;
        let written = (sequence, n_frames);
        Ok(Self { n_bytes, sequence, n_frames, written, ..Self::of(file, serial, pre_skip) })
    }

    fn of(file: File, serial: u32, pre_skip: u16) -> Self {
        Self {
            file,
            n_bytes: 0,
            serial,
            pre_skip,
            sequence: 0,
            n_frames: 0,
            written: (0, 0),
            unwritten: Vec::new(),
            page: Vec::new(),
            n_laces: 0,
        }
    }

    /// Bytes of its whole pages.
    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Frames of 20 ms that it holds.
    pub(super) fn n_frames(&self) -> u64 {
        self.n_frames
    }

    /// Writes packets in order, with silence where frames are missing; those that it has already are passed over. `room`:
    /// bytes that may be added. What could be written of them stays when this fails, [`Self::n_frames`] says how much.
    pub(super) fn append(&mut self, packets: &[Packet], room: u64) -> Result<(), TrackError> {
        let end = self.n_bytes.saturating_add(room);
        let outcome = self.add_all(packets, end).and_then(|()| self.flush(0, None, end));
        outcome.inspect_err(|_| self.give_up())
    }

    /// Ends the file behind the last packets, at this position.
    pub(super) fn finish(
        &mut self,
        packets: &[Packet],
        at: SampleIndex,
        room: u64,
    ) -> Result<(), TrackError> {
        let end = self.n_bytes.saturating_add(room);
        let outcome = self.add_all(packets, end);
        let outcome = outcome.and_then(|()| self.fill_to(n_frames_to(at, self.pre_skip), end));
        let granule = at.0 * GRANULES_PER_SAMPLE + u64::from(self.pre_skip);
        let granule = granule.min(self.n_frames * FRAME_GRANULES);
        outcome.and_then(|()| self.flush(LAST, Some(granule), end)).inspect_err(|_| self.give_up())
    }

    fn add_all(&mut self, packets: &[Packet], end: u64) -> Result<(), TrackError> {
        packets.iter().try_for_each(|(frame, packet)| {
            self.fill_to(*frame, end)?;
            if *frame == self.n_frames { self.add(packet, 1, end) } else { Ok(()) }
        })
    }

    fn fill_to(&mut self, frame: u64, end: u64) -> Result<(), TrackError> {
        while self.n_frames + LONG_FRAMES <= frame {
            self.add(&LONG_SILENCE, LONG_FRAMES, end)?;
        }
        while self.n_frames < frame {
            self.add(&SHORT_SILENCE, 1, end)?;
        }
        Ok(())
    }

    fn add(&mut self, packet: &[u8], n_frames: u64, end: u64) -> Result<(), TrackError> {
        if !Page::has_room(self.n_laces, packet) {
            self.end_page(0, self.n_frames * FRAME_GRANULES);
            if self.unwritten.len() >= MAX_UNWRITTEN {
                self.write_out(end)?;
            }
        }
        self.n_laces += Page::n_laces(packet);
        self.page.push(packet.to_vec());
        self.n_frames += n_frames;
        Ok(())
    }

    fn end_page(&mut self, flags: u8, granule: u64) {
        let packets = std::mem::take(&mut self.page);
        self.n_laces = 0;
        let page = Page { flags, granule, serial: self.serial, sequence: self.sequence, packets };
        page.write(&mut self.unwritten);
        self.sequence += 1;
    }

    fn flush(&mut self, flags: u8, granule: Option<u64>, end: u64) -> Result<(), TrackError> {
        if !self.page.is_empty() || flags != 0 {
            self.end_page(flags, granule.unwrap_or(self.n_frames * FRAME_GRANULES));
        }
        self.write_out(end)
    }

    /// Writes whole pages at the end of those that are there. Part of a page that a full disk took is written over later.
    fn write_out(&mut self, end: u64) -> Result<(), TrackError> {
        let n = self.unwritten.len() as u64;
        if self.n_bytes + n > end {
            return Err(TrackError::Full);
        }
        self.file.seek(SeekFrom::Start(self.n_bytes))?;
        self.file.write_all(&self.unwritten)?;
        self.unwritten.clear();
        self.n_bytes += n;
        self.written = (self.sequence, self.n_frames);
        Ok(())
    }

    /// Forgets what could not be written, and goes back to the last whole page in the file.
    fn give_up(&mut self) {
        self.unwritten.clear();
        self.page.clear();
        self.n_laces = 0;
        (self.sequence, self.n_frames) = self.written;
        // Where this fails, the next page is written over what is there.
        let _ = self.file.set_len(self.n_bytes);
    }
}

/// For its owner alone: audio is as private as labels.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    with_mode(options.read(true).write(true), OWNER);
    options
}
