//! Start times of the fragments of an ISO media file. The demuxer ignores them and joins the fragments.

use std::io::{self, Read};
use std::sync::Arc;

use parking_lot::Mutex;

use super::mp4_boxes::{BoxHeader, boxes, u32_at, u64_at};

/// Largest `moof` box that is looked at.
const MAX_MOOF_BYTES: u64 = 16 << 20;

/// Defaults of a `trex` box for the samples of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrackDefault {
    pub(super) id: u32,
    /// Length of a sample, in ticks.
    pub(super) sample_ticks: u32,
}

/// The fragments of one track.
#[derive(Debug, Default)]
struct TrackSeen {
    id: u32,
    /// Where a fragment begins: one behind the other, and by the file. In order of the first.
    starts: Vec<(i64, i64)>,
    /// Where the next fragment begins if one stands behind the other.
    end: i64,
}

/// When the fragments begin that were seen so far; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Fragments(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    defaults: Vec<TrackDefault>,
    tracks: Vec<TrackSeen>,
}

impl Fragments {
    pub(super) fn new(defaults: Vec<TrackDefault>) -> Self {
        Self(Arc::new(Mutex::new(Seen { defaults, ..Seen::default() })))
    }

    /// Takes the body of a `moof` box.
    pub(super) fn add(&self, moof: &[u8]) {
        let mut seen = self.0.lock();
        for (_, traf) in boxes(moof).filter(|(kind, _)| kind == b"traf") {
            // A damaged fragment changes nothing: its samples come behind those before it.
            let _ = seen.add(traf);
        }
    }

    /// The time that the file gives a sample of a track whose packed time is `ts`.
    pub(super) fn file_ts(&self, track_id: u32, ts: i64) -> i64 {
        let seen = self.0.lock();
        let Some(track) = seen.tracks.iter().find(|track| track.id == track_id) else { return ts };
        let n_before = track.starts.partition_point(|(packed, _)| *packed <= ts);
        let start = n_before.checked_sub(1).map(|idx| track.starts[idx]);
        start.map_or(ts, |(packed, file_ts)| file_ts.saturating_add(ts - packed))
    }
}

impl Seen {
    fn add(&mut self, traf: &[u8]) -> Option<()> {
        const BASE_OFFSET: u32 = 0x01;
        const DESCRIPTION: u32 = 0x02;
        const DURATION: u32 = 0x08;
        let find = |wanted: &[u8; 4]| boxes(traf).find(|(kind, _)| kind == wanted).map(|(_, body)| body);
        let tfhd = find(b"tfhd")?;
        let flags = u32_at(tfhd, 0)? & 0x00ff_ffff;
        let track_id = u32_at(tfhd, 4)?;
        let mut at = 8;
        at += if flags & BASE_OFFSET != 0 { 8 } else { 0 };
        at += if flags & DESCRIPTION != 0 { 4 } else { 0 };
        let default = self.defaults.iter().find(|default| default.id == track_id);
        let default = default.map_or(0, |default| default.sample_ticks);
        let sample_ticks = if flags & DURATION != 0 { u32_at(tfhd, at)? } else { default };
        let runs = boxes(traf).filter(|(kind, _)| kind == b"trun");
        let n_ticks = runs.filter_map(|(_, trun)| run_ticks(trun, sample_ticks)).fold(0, i64::saturating_add);

        let known = self.tracks.iter().position(|track| track.id == track_id);
        let idx = known.unwrap_or_else(|| {
            self.tracks.push(TrackSeen { id: track_id, ..TrackSeen::default() });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[idx];
        let packed = track.end;
        track.end = packed.saturating_add(n_ticks);
        let tfdt = find(b"tfdt");
        let file_ts = tfdt.and_then(|tfdt| match tfdt.first()? {
            0 => u32_at(tfdt, 4).map(i64::from),
            _ => u64_at(tfdt, 4).and_then(|file_ts| i64::try_from(file_ts).ok()),
        });
        // A fragment without a time continues the one before it.
        if let Some(file_ts) = file_ts {
            track.starts.push((packed, file_ts));
        }
        Some(())
    }
}

/// Ticks of a run of samples.
fn run_ticks(trun: &[u8], default_ticks: u32) -> Option<i64> {
    const DATA_OFFSET: u32 = 0x001;
    const FIRST_FLAGS: u32 = 0x004;
    const DURATION: u32 = 0x100;
    let flags = u32_at(trun, 0)? & 0x00ff_ffff;
    let n_samples = u32_at(trun, 4)?;
    if flags & DURATION == 0 {
        return Some(i64::from(n_samples) * i64::from(default_ticks));
    }
    let mut at = 8;
    at += if flags & DATA_OFFSET != 0 { 4 } else { 0 };
    at += if flags & FIRST_FLAGS != 0 { 4 } else { 0 };
    // Duration, size, flags and composition offset, as far as they are there.
    let n_bytes = 4 * (flags & 0xf00).count_ones() as usize;
    let samples = trun.get(at..)?.chunks_exact(n_bytes).take(n_samples as usize);
    Some(samples.filter_map(|sample| u32_at(sample, 0)).map(i64::from).sum())
}

/// A stream of an ISO media file whose fragments are noted as they pass.
pub(super) struct Watched<R> {
    inner: R,
    fragments: Fragments,
    /// What was seen of the header or `moof` box that is passing.
    bytes: Vec<u8>,
    state: Passing,
}

/// What passes.
enum Passing {
    Header,
    /// Remaining bytes of a `moof` box.
    Moof(u64),
    /// Remaining bytes of another box.
    Other(u64),
    /// The rest of the file is of no interest.
    Rest,
}

impl<R> Watched<R> {
    pub(super) fn new(inner: R, fragments: Fragments) -> Self {
        Self { inner, fragments, bytes: Vec::new(), state: Passing::Header }
    }

    fn watch(&mut self, mut passed: &[u8]) {
        while !passed.is_empty() {
            match &mut self.state {
                Passing::Rest => return,
                Passing::Other(n_left) => {
                    let n = passed.len().min(usize::try_from(*n_left).unwrap_or(usize::MAX));
                    passed = &passed[n..];
                    *n_left -= n as u64;
                    if *n_left == 0 {
                        self.state = Passing::Header;
                    }
                }
                Passing::Moof(n_left) => {
                    let n = passed.len().min(usize::try_from(*n_left).unwrap_or(usize::MAX));
                    self.bytes.extend(&passed[..n]);
                    passed = &passed[n..];
                    *n_left -= n as u64;
                    if *n_left == 0 {
                        self.fragments.add(&self.bytes);
                        self.bytes.clear();
                        self.state = Passing::Header;
                    }
                }
                Passing::Header => {
                    self.bytes.push(passed[0]);
                    passed = &passed[1..];
                    self.begin_box();
                }
            }
        }
    }

    /// Goes over to the body once the header is whole.
    fn begin_box(&mut self) {
        let Some(header) = BoxHeader::read(&self.bytes) else {
            if self.bytes.len() >= BoxHeader::MAX_BYTES {
                self.state = Passing::Rest;
            }
            return;
        };
        self.bytes.clear();
        self.state = match header.len.map(|len| len - header.n_header) {
            None => Passing::Rest,
            Some(0) => Passing::Header,
            Some(n) if &header.kind == b"moof" && n <= MAX_MOOF_BYTES => Passing::Moof(n),
            Some(n) => Passing::Other(n),
        };
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.watch(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A fragment of track 1 whose samples have these lengths.
    fn moof(file_ts: Option<u32>, sample_ticks: &[u32]) -> Vec<u8> {
        let samples: Vec<u32> = sample_ticks.iter().flat_map(|ticks| [*ticks, 100]).collect();
        let run = [&[0x301, sample_ticks.len() as u32, 0][..], &samples].concat();
        let mut traf = boxed(b"tfhd", &words(&[0, 1]));
        traf.extend(file_ts.map(|file_ts| boxed(b"tfdt", &words(&[0, file_ts]))).unwrap_or_default());
        traf.extend(boxed(b"trun", &words(&run)));
        boxed(b"moof", &boxed(b"traf", &traf))
    }

    #[test]
    fn fragments_tell_when_their_samples_are() {
        let stream = [
            boxed(b"ftyp", b"isom"),
            moof(Some(5000), &[10, 20, 30]),
            boxed(b"mdat", &[7; 3000]),
            moof(None, &[40]),
            boxed(b"mdat", &[]),
            moof(Some(9000), &[50, 50]),
        ]
        .concat();
        for step in [1, 7, 5000] {
            let fragments = Fragments::new(Vec::new());
            let mut watched = Watched::new(&stream[..], fragments.clone());
            let mut buffer = vec![0; step];
            while watched.read(&mut buffer).unwrap() > 0 {}
            let file_ts = [0, 10, 59, 60, 99, 100, 150].map(|ts| fragments.file_ts(1, ts));
            assert_eq!(file_ts, [5000, 5010, 5059, 5060, 5099, 9000, 9050]);
            assert_eq!(fragments.file_ts(2, 60), 60);
        }
    }
}
