//! Source of the bytes of a file, with a look at the first of them.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};

use symphonia::core::io::{MediaSource, ReadOnlySource};

/// Bytes of the header of an ID3v2 tag, and of its footer.
const TAG_HEADER_BYTES: usize = 10;
/// Tags that stand one behind the other at most.
const MAX_TAGS: usize = 16;

/// A source that begins later in another one.
struct Shifted {
    inner: Box<dyn MediaSource>,
    start: u64,
}

impl Read for Shifted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Seek for Shifted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(at.saturating_add(self.start)),
            other => other,
        };
        let at = self.inner.seek(to)?;
        at.checked_sub(self.start).ok_or_else(|| ErrorKind::InvalidInput.into())
    }
}

impl MediaSource for Shifted {
    fn is_seekable(&self) -> bool {
        self.inner.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.inner.byte_len().map(|len| len.saturating_sub(self.start))
    }
}

/// The first `n` bytes, fewer if there are no more; the source given back begins with them.
pub(super) fn first_bytes(
    mut source: Box<dyn MediaSource>,
    n: usize,
) -> io::Result<(Vec<u8>, Box<dyn MediaSource>)> {
    let mut bytes = Vec::new();
    source.as_mut().take(n as u64).read_to_end(&mut bytes)?;
    if source.is_seekable() {
        source.seek(SeekFrom::Current(-(bytes.len() as i64)))?;
        return Ok((bytes, source));
    }
    let again = Cursor::new(bytes.clone()).chain(source);
    Ok((bytes, Box::new(ReadOnlySource::new(again))))
}

/// The next `n` bytes, fewer at the end.
pub(super) fn read_up_to(source: &mut dyn MediaSource, n: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(n).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The source without the ID3v2 tags at its beginning. Covers make them larger than a search for audio reaches.
pub(super) fn without_tags(mut source: Box<dyn MediaSource>) -> io::Result<Box<dyn MediaSource>> {
    let mut start = 0;
    for _ in 0..MAX_TAGS {
        let header;
        (header, source) = first_bytes(source, TAG_HEADER_BYTES)?;
        let Some(n_bytes) = tag_bytes(&header) else { break };
        if source.is_seekable() {
            // A tag that claims to reach beyond the file is damaged, and the audio is somewhere inside it.
            if source.byte_len().is_some_and(|len| start + n_bytes >= len) {
                break;
            }
            start += n_bytes;
            source.seek(SeekFrom::Start(start))?;
        } else {
            io::copy(&mut source.as_mut().take(n_bytes), &mut io::sink())?;
        }
    }
    Ok(if start > 0 { Box::new(Shifted { inner: source, start }) } else { source })
}

/// Length of the ID3v2 tag that begins so, with header and footer (ID3v2.4, section 3.1).
fn tag_bytes(header: &[u8]) -> Option<u64> {
    const HAS_FOOTER: u8 = 0x10;
    let header: &[u8; TAG_HEADER_BYTES] = header.try_into().ok()?;
    let (id, version, flags, size) = (&header[..3], header[3], header[5], &header[6..]);
    if id != b"ID3" || version == 0xff || size.iter().any(|byte| *byte >= 0x80) {
        return None;
    }
    let n_body = size.iter().fold(0, |n, byte| (n << 7) | u64::from(*byte));
    let n_ends = if flags & HAS_FOOTER == 0 { 1 } else { 2 };
    Some(n_body + n_ends * TAG_HEADER_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n_body: usize, flags: u8) -> Vec<u8> {
        let size = [21, 14, 7, 0].map(|shift| (n_body >> shift) as u8 & 0x7f);
        let mut bytes = [&b"ID3\x04\x00"[..], &[flags], &size].concat();
        bytes.resize(bytes.len() + n_body + if flags & 0x10 == 0 { 0 } else { 10 }, 0xff);
        bytes
    }

    fn rest(source: Box<dyn MediaSource>) -> Vec<u8> {
        let mut bytes = Vec::new();
        without_tags(source).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn tags_of_any_size_and_number_are_left_out() {
        let audio = b"audio";
        for tags in
            [vec![], tag(0, 0), tag(300, 0x10), tag(2_000_000, 0), [tag(7, 0), tag(1_500_000, 0)].concat()]
        {
            let bytes = [&tags[..], audio].concat();
            assert_eq!(rest(Box::new(Cursor::new(bytes.clone()))), audio);
            assert_eq!(rest(Box::new(ReadOnlySource::new(Cursor::new(bytes)))), audio);
        }
        // What claims to be longer than the file is no tag to leave out.
        let mut cut = tag(500, 0);
        cut.truncate(400);
        assert_eq!(rest(Box::new(Cursor::new(cut.clone()))), cut);
    }

    #[test]
    fn a_later_beginning_is_the_beginning() {
        let bytes = [tag(100, 0), b"0123456789".to_vec()].concat();
        let mut source = without_tags(Box::new(Cursor::new(bytes))).unwrap();
        assert_eq!((source.byte_len(), source.is_seekable()), (Some(10), true));
        let mut read_at = |to| {
            let at = source.seek(to).unwrap();
            let mut byte = [0];
            source.read_exact(&mut byte).unwrap();
            (at, byte[0])
        };
        assert_eq!(read_at(SeekFrom::Start(4)), (4, b'4'));
        assert_eq!(read_at(SeekFrom::End(-1)), (9, b'9'));
        assert_eq!(read_at(SeekFrom::Current(-3)), (7, b'7'));
        assert!(source.seek(SeekFrom::End(-11)).is_err());
    }
}
