//! Detects files of other kinds by their first bytes, so that the refusal names the kind.

/// What a file is, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// What it is, with its article.
    pub what: &'static str,
    /// What to do.
    pub advice: &'static str,
}

const CONVERT: &str = "convert it, for example with `ffmpeg -i FILE out.wav`";
const UNPACK: &str = "unpack it first";
const NAME_ANOTHER: &str = "name an audio file";

/// Where a mark stands, the mark, the kind of file that has it, and the remedy.
type Mark = (usize, &'static [u8], &'static str, &'static str);

const MARKS: [Mark; 28] = [
    (28, b"Speex   ", "a Speex recording", CONVERT),
    (8, b"AVI ", "an AVI video", CONVERT),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (wma, wmv)", CONVERT),
    (0, b"#!AMR", "an AMR file", CONVERT),
    (0, b".RMF", "a RealMedia file", CONVERT),
    (0, b".ra\xfd", "a RealAudio file", CONVERT),
    (0, b"FLV\x01", "a Flash video", CONVERT),
    (0, b"MAC ", "a Monkey's Audio file", CONVERT),
    (0, b"wvpk", "a WavPack file", CONVERT),
    (0, b"MPCK", "a Musepack file", CONVERT),
    (0, b"MP+", "a Musepack file", CONVERT),
    (0, b"TTA1", "a True Audio file", CONVERT),
    (0, b"DSD ", "a DSD file", CONVERT),
    (0, b"FRM8", "a DSD file", CONVERT),
    (0, b"\x0b\x77", "an AC-3 file", CONVERT),
    (0, b"\x7f\xfe\x80\x01", "a DTS file", CONVERT),
    (0, b"Creative Voice File", "a Creative Voice file", CONVERT),
    (0, b"NIST_1A", "a NIST SPHERE file", "convert it, for example with `sox FILE out.wav`"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream", CONVERT),
    (0, b"MThd", "a MIDI file, which holds notes and no sound", NAME_ANOTHER),
    (0, b"\x1f\x8b", "compressed with gzip", UNPACK),
    (0, b"BZh", "compressed with bzip2", UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed with xz", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK),
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"%PDF-", "a PDF document", NAME_ANOTHER),
    (0, b"\x89PNG", "a picture (PNG)", NAME_ANOTHER),
    (0, b"\xff\xd8\xff\xe0", "a picture (JPEG)", NAME_ANOTHER),
];

/// Packets of an MPEG transport stream begin so, every 188 bytes.
const TRANSPORT_SYNC: u8 = 0x47;
const TRANSPORT_PACKET_BYTES: usize = 188;
/// Bytes that are looked at.
pub(super) const LOOK_BYTES: usize = 3 * TRANSPORT_PACKET_BYTES + 1;

/// What a file is that begins with `first`, if it is known and no audio that is read here.
pub(super) fn foreign(first: &[u8]) -> Option<Foreign> {
    let is_marked = |(at, mark, ..): &&Mark| first.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    if let Some((_, _, what, advice)) = MARKS.iter().find(is_marked) {
        return Some(Foreign { what, advice });
    }
    if is_loud_mono(first) {
        let what = "MPEG audio of layer 2 in mono with a bit rate that the standard keeps for stereo";
        return Some(Foreign { what, advice: CONVERT });
    }
    let is_transport = (0..=3).all(|n| first.get(n * TRANSPORT_PACKET_BYTES) == Some(&TRANSPORT_SYNC));
    is_transport.then_some(Foreign { what: "an MPEG transport stream", advice: CONVERT })
}

/// A frame of layer 2 with one channel and more than 192 kbit/s (ISO/IEC 11172-3, section 2.4.2.3). ffmpeg writes it by default;
/// the decoder here refuses it.
fn is_loud_mono(first: &[u8]) -> bool {
    let [0xff, 0xfc | 0xfd, rate, mode, ..] = first else { return false };
    (11..15).contains(&(rate >> 4)) && mode & 0xc0 == 0xc0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_files_are_named() {
        let what = |first: &[u8]| foreign(first).map(|f| f.what);
        assert_eq!(what(b"RIFF\x00\x00\x00\x00AVI LIST"), Some("an AVI video"));
        assert_eq!(what(b"NIST_1A\n   1024\n"), Some("a NIST SPHERE file"));
        assert_eq!(what(b"\x1f\x8b\x08"), Some("compressed with gzip"));
        assert_eq!(what(&[b"OggS".as_slice(), &[0; 24], b"Speex   "].concat()), Some("a Speex recording"));
        assert!(
            what(b"\xff\xfd\xe0\xc4").is_some_and(|what| what.starts_with("MPEG audio of layer 2 in mono"))
        );
        let mut transport = vec![0; LOOK_BYTES];
        transport.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        assert_eq!(what(&transport), Some("an MPEG transport stream"));
        for audio in [
            &b"RIFF\x00\x00\x00\x00WAVEfmt "[..],
            b"OggS",
            b"fLaC",
            b"\xff\xfb\x90\x64",
            b"\xff\xfd\xa0\xc4",
            b"\xff\xfd\xe0\x04",
            b"",
            b"G",
        ] {
            assert_eq!(what(audio), None);
        }
    }

    #[test]
    fn no_mark_is_longer_than_what_is_looked_at() {
        assert!(MARKS.iter().all(|(at, mark, ..)| at + mark.len() <= LOOK_BYTES));
    }
}
