//! The audio tracks of a Matroska or WebM file (RFC 9559): their order, flags and codecs.

use super::track_layout::{Found, TrackLayout};

const EBML: u64 = 0x1a45_dfa3;
const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK_ENTRY: u64 = 0xae;
const TRACK_NUMBER: u64 = 0xd7;
const TRACK_TYPE: u64 = 0x83;
const FLAG_ENABLED: u64 = 0xb9;
const FLAG_DEFAULT: u64 = 0x88;
const CODEC_ID: u64 = 0x86;

const AUDIO: u64 = 2;
/// Elements that are looked at before the tracks at most.
const MAX_ELEMENTS: usize = 1000;

pub(super) fn is_matroska(first: &[u8]) -> bool {
    first.starts_with(&(EBML as u32).to_be_bytes())
}

/// The audio tracks that the beginning of a file declares.
pub(super) fn tracks(first: &[u8]) -> Found<Vec<TrackLayout>> {
    let mut at = 0;
    for _ in 0..MAX_ELEMENTS {
        let Some(element) = Element::at(first, at) else {
            return if first.len() < at + 12 { Found::Further } else { Found::Nothing };
        };
        match element.id {
            // Its children follow.
            SEGMENT => at = element.start,
            CLUSTER => return Found::Nothing,
            id => {
                let Some(end) = element.len.and_then(|len| element.start.checked_add(len)) else {
                    return Found::Nothing;
                };
                match first.get(element.start..end) {
                    Some(body) if id == TRACKS => return Found::Here(read_tracks(body)),
                    None if id == TRACKS => return Found::Further,
                    _ => at = end,
                }
            }
        }
    }
    Found::Nothing
}

fn read_tracks(body: &[u8]) -> Vec<TrackLayout> {
    let entries = children(body).filter(|(id, _)| *id == TRACK_ENTRY);
    let audio = entries.filter_map(|(_, entry)| {
        let number = |wanted: u64| children(entry).find(|(id, _)| *id == wanted).map(|(_, n)| unsigned(n));
        if number(TRACK_TYPE) != Some(AUDIO) {
            return None;
        }
        let codec = children(entry).find(|(id, _)| *id == CODEC_ID);
        let codec = codec.map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        Some(TrackLayout {
            header: None,
            id: u32::try_from(number(TRACK_NUMBER)?).ok()?,
            // Both flags are set where they are not written.
            is_default: number(FLAG_DEFAULT).unwrap_or(1) != 0 && number(FLAG_ENABLED).unwrap_or(1) != 0,
            codec: codec.unwrap_or_default(),
            edits: Vec::new(),
        })
    });
    audio.collect()
}

/// The elements of a body, up to the first that does not fit into it.
fn children(body: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let element = Element::at(body, at)?;
        let end = element.start.checked_add(element.len?)?;
        let data = body.get(element.start..end)?;
        at = end;
        Some((element.id, data))
    })
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |n, byte| (n << 8) | u64::from(*byte))
}

/// The header of an element.
struct Element {
    id: u64,
    /// Where its body begins.
    start: usize,
    /// Bytes of its body, where they are known.
    len: Option<usize>,
}

impl Element {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let (id, n_id) = number(bytes.get(at..)?, 4, false)?;
        let (len, n_len) = number(bytes.get(at + n_id..)?, 8, true)?;
        // All ones mean that the length is not known.
        let is_unknown = len == (1 << (7 * n_len)) - 1;
        let len = if is_unknown { None } else { Some(usize::try_from(len).ok()?) };
        Some(Self { id, start: at + n_id + n_len, len })
    }
}

/// A number of variable length and its bytes (RFC 8794, section 4); ids keep the mark of their length.
fn number(bytes: &[u8], max_bytes: usize, drops_mark: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let n = first.leading_zeros() as usize + 1;
    if n > max_bytes {
        return None;
    }
    let value = unsigned(bytes.get(..n)?);
    let mark = 1_u64 << (7 * n);
    Some((if drops_mark { value & (mark - 1) } else { value }, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: u64, body: &[u8]) -> Vec<u8> {
        let n_id = (8 - id.leading_zeros() as usize / 8).max(1);
        let mut bytes = id.to_be_bytes()[8 - n_id..].to_vec();
        bytes.extend((0x1000_0000 | body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn entry(number: u8, kind: u8, flags: &[(u64, u8)]) -> Vec<u8> {
        let mut body = [element(TRACK_NUMBER, &[number]), element(TRACK_TYPE, &[kind])].concat();
        for (id, value) in flags {
            body.extend(element(*id, &[*value]));
        }
        body.extend(element(CODEC_ID, b"A_OPUS"));
        element(TRACK_ENTRY, &body)
    }

    fn file(before: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
        let segment = [before, &element(TRACKS, &entries.concat())].concat();
        [element(EBML, &[0; 20]), element(SEGMENT, &segment)].concat()
    }

    #[test]
    fn flags_that_are_not_written_are_set() {
        let entries = [
            entry(1, 1, &[]),
            entry(2, 2, &[(FLAG_DEFAULT, 0)]),
            entry(3, 2, &[]),
            entry(4, 2, &[(FLAG_DEFAULT, 1), (FLAG_ENABLED, 0)]),
        ];
        let Found::Here(found) = tracks(&file(&[], &entries)) else { panic!("there are tracks") };
        let found: Vec<_> = found.iter().map(|t| (t.id, t.is_default, t.codec.as_str())).collect();
        assert_eq!(found, [(2, false, "A_OPUS"), (3, true, "A_OPUS"), (4, false, "A_OPUS")]);
    }

    #[test]
    fn tracks_behind_much_else_are_waited_for() {
        let bytes = file(&element(0xec, &[0; 5000]), &[entry(7, 2, &[])]);
        for n in [3, 30, 2000, bytes.len() - 1] {
            assert!(matches!(tracks(&bytes[..n]), Found::Further), "{n}");
        }
        assert!(matches!(tracks(&bytes), Found::Here(found) if found.len() == 1));
        assert!(matches!(tracks(&file(&element(CLUSTER, &[0; 9]), &[])), Found::Nothing));
    }
}
