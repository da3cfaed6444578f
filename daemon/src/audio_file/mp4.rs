//! The audio tracks of an ISO media file (ISO/IEC 14496-12): their flags, codecs, edit lists and fragments.

use std::io::{self, SeekFrom};

use symphonia::core::io::MediaSource;

use super::fragments::{Fragments, TrackDefault};
use super::mp4_boxes::{BoxHeader, boxes, u32_at, u64_at};
use super::source::read_up_to;
use super::track_layout::{Edit, Found, Layout, TrackLayout};

/// Edits of a track that are followed at most; a longer list is cut to its first part.
const MAX_EDITS: usize = 1000;
/// What an edit list leaves out at the end of a track is left out if it is longer than this, in seconds: shorter, it is
/// padding of the encoder or rounding.
const MIN_CUT_S: f64 = 0.1;
/// Largest index that is read; that of a film is some megabytes long.
const MAX_INDEX_BYTES: u64 = 128 << 20;
/// Boxes of a file that are gone through at most.
const MAX_BOXES: usize = 1_000_000;

pub(super) fn is_mp4(first: &[u8]) -> bool {
    first.get(4..8) == Some(b"ftyp")
}

fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(body).find(|(got, _)| got == kind).map(|(_, body)| body)
}

/// A number that is 4 bytes long in version 0 of a box and 8 in later ones; `at` counts the fields before it, of
/// which `n_wide` are as long as it is.
fn wide_at(body: &[u8], at: usize, n_wide: usize) -> Option<u64> {
    match body.first()? {
        0 => u32_at(body, at + 4 * n_wide).map(u64::from),
        _ => u64_at(body, at + 8 * n_wide),
    }
}

/// Content of a `moov` box.
#[derive(Debug, Default)]
pub(super) struct Movie {
    tracks: Vec<MovieTrack>,
    defaults: Vec<TrackDefault>,
    is_fragmented: bool,
}

#[derive(Debug, Default)]
struct MovieTrack {
    layout: TrackLayout,
    is_audio: bool,
}

impl Movie {
    fn read(moov: &[u8]) -> Self {
        // Version and flags, two dates, then the ticks of a second.
        let timescale = child(moov, b"mvhd").and_then(|mvhd| {
            let at = if mvhd.first() == Some(&0) { 12 } else { 20 };
            u32_at(mvhd, at)
        });
        let tracks = boxes(moov).filter(|(kind, _)| kind == b"trak");
        let tracks = tracks.filter_map(|(_, trak)| MovieTrack::read(trak, timescale.unwrap_or(0)));
        let extends = child(moov, b"mvex");
        let defaults = extends.into_iter().flat_map(boxes).filter(|(kind, _)| kind == b"trex");
        let defaults = defaults.filter_map(|(_, trex)| {
            Some(TrackDefault { id: u32_at(trex, 4)?, sample_ticks: u32_at(trex, 12)? })
        });
        Self { tracks: tracks.collect(), defaults: defaults.collect(), is_fragmented: extends.is_some() }
    }

    pub(super) fn is_fragmented(&self) -> bool {
        self.is_fragmented
    }

    pub(super) fn defaults(&self) -> Vec<TrackDefault> {
        self.defaults.clone()
    }

    pub(super) fn audio_tracks(&self) -> Vec<TrackLayout> {
        self.tracks.iter().filter(|track| track.is_audio).map(|track| track.layout.clone()).collect()
    }
}

impl MovieTrack {
    fn read(trak: &[u8], movie_ticks_hz: u32) -> Option<Self> {
        const ENABLED: u8 = 1;
        let tkhd = child(trak, b"tkhd")?;
        let mdia = child(trak, b"mdia")?;
        let mdhd = child(mdia, b"mdhd")?;
        let is_wide = mdhd.first() != Some(&0);
        let ticks_hz = u32_at(mdhd, if is_wide { 20 } else { 12 })?;
        let len = wide_at(mdhd, 8, 2)?;
        let is_audio = child(mdia, b"hdlr").and_then(|hdlr| hdlr.get(8..12)) == Some(b"soun");
        let stsd = child(mdia, b"minf").and_then(|minf| child(minf, b"stbl")).and_then(|s| child(s, b"stsd"));
        let codec = stsd.and_then(|stsd| stsd.get(12..16));
        let elst = child(trak, b"edts").and_then(|edts| child(edts, b"elst"));
        Some(Self {
            layout: TrackLayout {
                id: u32_at(tkhd, if tkhd.first() == Some(&0) { 12 } else { 20 })?,
                is_default: tkhd.get(3)? & ENABLED != 0,
                header: stsd.and_then(alac_header).map(Box::from),
                codec: codec.map(|code| String::from_utf8_lossy(code).into_owned()).unwrap_or_default(),
                edits: elst.and_then(|elst| edits(elst, movie_ticks_hz, ticks_hz, len)).unwrap_or_default(),
            },
            is_audio,
        })
    }
}

/// The header of ALAC in a sample description of QuickTime, which wraps it in a box `wave`; without version and flags.
fn alac_header(stsd: &[u8]) -> Option<&[u8]> {
    const ENTRY: usize = 8;
    // Up to the sample rate, and what version 1 has behind it.
    const FIELDS: [usize; 2] = [28, 16];
    let (kind, entry) = boxes(stsd.get(ENTRY..)?).next()?;
    let n_fields = match entry.get(8..10)? {
        [0, 1] => FIELDS[0] + FIELDS[1],
        _ => FIELDS[0],
    };
    let wave = child(entry.get(n_fields..)?, b"wave").filter(|_| kind == *b"alac")?;
    child(wave, b"alac")?.get(4..)
}

/// Reads an edit list; nothing if it is damaged, or plays a track in another order than it is stored.
fn edits(elst: &[u8], movie_ticks_hz: u32, ticks_hz: u32, track_len: u64) -> Option<Vec<Edit>> {
    let n_entries = u32_at(elst, 4)? as usize;
    let is_wide = *elst.first()? != 0;
    let n_bytes = if is_wide { 20 } else { 12 };
    let mut edits: Vec<Edit> = Vec::new();
    let mut at = 0_i64;
    for entry in elst.get(8..)?.chunks_exact(n_bytes).take(n_entries.min(MAX_EDITS)) {
        let (len, media) = match is_wide {
            true => (u64_at(entry, 0)?, u64_at(entry, 8)? as i64),
            false => (u64::from(u32_at(entry, 0)?), i64::from(u32_at(entry, 4)? as i32)),
        };
        let ticks = u128::from(len) * u128::from(ticks_hz) / u128::from(movie_ticks_hz.max(1));
        let ticks = i64::try_from(ticks).ok()?;
        if media >= 0 {
            if edits.last().is_some_and(|last| media < last.media.saturating_add(last.len)) {
                return None;
            }
            // Without a length it goes to the end, as in files whose length was not known when it was written.
            let len = if len == 0 { i64::MAX } else { ticks };
            edits.push(Edit { at, media, len });
        }
        at = at.checked_add(ticks)?;
    }
    let last = edits.last_mut()?;
    let track_len = i64::try_from(track_len).unwrap_or(i64::MAX);
    let n_cut = track_len.saturating_sub(last.media.saturating_add(last.len));
    if (n_cut as f64) < MIN_CUT_S * f64::from(ticks_hz) {
        last.len = i64::MAX;
    }
    Some(edits)
}

/// The movie at the beginning of a stream, if it stands before the data.
pub(super) fn first_movie(first: &[u8]) -> Found<Movie> {
    let mut at = 0_usize;
    loop {
        let rest = first.get(at..).unwrap_or_default();
        let Some(header) = BoxHeader::read(rest) else {
            return if rest.len() < BoxHeader::MAX_BYTES { Found::Further } else { Found::Nothing };
        };
        let Some(len) = header.len.and_then(|len| usize::try_from(len).ok()) else { return Found::Nothing };
        match &header.kind {
            b"mdat" | b"moof" => return Found::Nothing,
            b"moov" => match rest.get(header.n_header as usize..len) {
                Some(body) => return Found::Here(Movie::read(body)),
                None => return Found::Further,
            },
            _ => at = at.saturating_add(len),
        }
    }
}

/// Goes through the boxes of a file; the position afterwards is not defined.
pub(super) fn scan(source: &mut dyn MediaSource) -> io::Result<Layout> {
    let mut at = source.stream_position()?;
    let mut movie: Option<Movie> = None;
    let mut fragments = None;
    for _ in 0..MAX_BOXES {
        source.seek(SeekFrom::Start(at))?;
        let first = read_up_to(source, BoxHeader::MAX_BYTES as u64)?;
        let Some(header) = BoxHeader::read(&first) else { break };
        let body_at = at + header.n_header;
        let Some(end) = header.len.and_then(|len| at.checked_add(len)) else { break };
        if matches!(&header.kind, b"moov" | b"moof") {
            source.seek(SeekFrom::Start(body_at))?;
            if end - body_at > MAX_INDEX_BYTES {
                break;
            }
            let body = read_up_to(source, end - body_at)?;
            if &header.kind == b"moov" && movie.is_none() {
                let read = Movie::read(&body);
                let is_fragmented = read.is_fragmented();
                fragments = is_fragmented.then(|| Fragments::new(read.defaults()));
                movie = Some(read);
                if !is_fragmented {
                    break;
                }
            } else if let Some(fragments) = &fragments {
                fragments.add(&body);
            }
        }
        at = end;
    }
    let tracks = movie.map(|movie| movie.audio_tracks()).unwrap_or_default();
    Ok(Layout { tracks, fragments })
}
