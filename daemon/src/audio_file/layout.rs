//! The audio tracks of a container beyond what the demuxer passes on: which is the default one, and where
//! its packets lie in time.

use std::io::{self, SeekFrom};

use symphonia::core::io::MediaSource;

use super::fragments::{Fragments, Watched};
use super::matroska;
use super::mp4;
use super::source::first_bytes;
use super::track_layout::{Found, Layout};

/// Bytes of the beginning that are looked at first.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes of the beginning that are looked at most: headers with covers are smaller.
const MAX_BYTES: usize = 32 << 20;

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
