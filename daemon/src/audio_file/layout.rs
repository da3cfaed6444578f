//! What a container says of its audio tracks beyond what the demuxer passes on: which is the default one, and where
//! its packets lie in time.

use std::io::{self, Read as _, SeekFrom};

use symphonia::core::io::MediaSource;

use super::fragments::{Fragments, Watched};
use super::matroska;
use super::mp4;
use super::source::first_bytes;

/// Bytes of the beginning that are looked at first.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes of the beginning that are looked at most: headers with covers are smaller.
const MAX_BYTES: usize = 32 << 20;

/// One audio track.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct TrackLayout {
    /// The container's number for it.
    pub(super) id: u32,
    /// Whether players play it unless another is asked for.
    pub(super) is_default: bool,
    /// The container's word for its codec.
    pub(super) codec: String,
    /// Which part of it is played when; if there is none, all of it from the beginning.
    pub(super) edits: Vec<Edit>,
}

/// A part of a track that is played, in ticks of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// When it is played.
    pub(super) at: i64,
    /// Where it begins in the track.
    pub(super) media: i64,
    /// How long it is; the largest number where it goes to the end.
    pub(super) len: i64,
}

/// Where a packet is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// When what is left of it is played, in ticks.
    pub(super) at: i64,
    /// Ticks at its start that are not played.
    pub(super) n_cut: i64,
}

impl TrackLayout {
    /// Where a packet of `len` ticks that begins at `ts` is played, or `None` where it is not.
    pub(super) fn place(&self, ts: i64, len: i64) -> Option<Place> {
        if self.edits.is_empty() {
            return Some(Place { at: ts, n_cut: 0 });
        }
        let end = ts.saturating_add(len.max(1));
        let edit = self.edits.iter().find(|e| ts < e.media.saturating_add(e.len) && end > e.media)?;
        let n_cut = (edit.media - ts).max(0);
        Some(Place { at: edit.at.saturating_add(ts + n_cut - edit.media), n_cut })
    }
}

/// The audio tracks of a container, in its order, and its fragments; nothing where the container tells nothing.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) tracks: Vec<TrackLayout>,
    pub(super) fragments: Option<Fragments>,
}

/// Reads the tracks of a source; the returned source is at its old position.
pub(super) fn read(mut source: Box<dyn MediaSource>) -> io::Result<(Layout, Box<dyn MediaSource>)> {
    let first;
    (first, source) = first_bytes(source, 12)?;
    if matroska::is_matroska(&first) {
        let found;
        (found, source) = grown(source, matroska::tracks)?;
        return Ok((Layout { tracks: found.unwrap_or_default(), fragments: None }, source));
    }
    if !mp4::is_mp4(&first) {
        return Ok((Layout::default(), source));
    }
    if source.is_seekable() {
        let start = source.stream_position()?;
        let layout = mp4::scan(&mut *source);
        source.seek(SeekFrom::Start(start))?;
        return Ok((layout?, source));
    }
    let movie;
    (movie, source) = grown(source, mp4::first_movie)?;
    let Some(movie) = movie else { return Ok((Layout::default(), source)) };
    if !movie.is_fragmented() {
        return Ok((Layout { tracks: movie.audio_tracks(), fragments: None }, source));
    }
    let fragments = Fragments::new(movie.defaults());
    let watched = Watched::new(source, fragments.clone());
    let source = Box::new(symphonia::core::io::ReadOnlySource::new(watched));
    Ok((Layout { tracks: movie.audio_tracks(), fragments: Some(fragments) }, source))
}

/// What a reader of the first bytes finds.
pub(super) enum Found<T> {
    /// This.
    Here(T),
    /// There is nothing to find.
    Nothing,
    /// More bytes are needed.
    Further,
}

/// Gives `look` more and more of the beginning until it has what it looks for.
fn grown<T>(
    mut source: Box<dyn MediaSource>,
    look: impl Fn(&[u8]) -> Found<T>,
) -> io::Result<(Option<T>, Box<dyn MediaSource>)> {
    let mut n_bytes = FIRST_BYTES;
    loop {
        let first;
        (first, source) = first_bytes(source, n_bytes)?;
        match look(&first) {
            Found::Here(found) => return Ok((Some(found), source)),
            Found::Further if first.len() == n_bytes && n_bytes < MAX_BYTES => n_bytes *= 4,
            Found::Further | Found::Nothing => return Ok((None, source)),
        }
    }
}

/// The next `n` bytes, fewer at the end.
pub(super) fn read_up_to(source: &mut dyn MediaSource, n: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(n).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_place_what_they_hold_and_leave_out_the_rest() {
        let place = |edits: &[Edit], ts, len| {
            let layout = TrackLayout { edits: edits.to_vec(), ..TrackLayout::default() };
            layout.place(ts, len).map(|place| (place.at, place.n_cut))
        };
        assert_eq!(place(&[], 700, 10), Some((700, 0)));
        // Three seconds of nothing, then all but the priming.
        let late = [Edit { at: 3000, media: 1024, len: i64::MAX }];
        assert_eq!(place(&late, 0, 1024), None);
        assert_eq!(place(&late, 1000, 1024), Some((3000, 24)));
        assert_eq!(place(&late, 2048, 1024), Some((4024, 0)));
        // A second is cut out of the middle.
        let cut = [Edit { at: 0, media: 0, len: 500 }, Edit { at: 500, media: 1500, len: 300 }];
        assert_eq!(place(&cut, 490, 20), Some((490, 0)));
        assert_eq!(place(&cut, 900, 100), None);
        assert_eq!(place(&cut, 1490, 20), Some((500, 10)));
        assert_eq!(place(&cut, 1800, 20), None);
    }
}
