//! Non-fatal problems of a session's audio; each is reported once.

use diarized_dsp::Intake;
use serde::de::IgnoredAny;

use crate::protocol::server_message::Warning;

/// Longest frame that is looked at for JSON: messages of clients are shorter.
const MAX_JSON_BYTES: usize = 64 << 10;

/// What files begin with: where, the mark, and what it is.
const MARKS: [(usize, &[u8], &str); 14] = [
    (0, b"RIFF", "a wav file"),
    (0, b"RIFX", "a wav file"),
    (0, b"RF64", "a wav file"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska, as a browser's MediaRecorder writes"),
    (0, b"OggS", "an Ogg file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"ID3\x03", "an mp3 file"),
    (0, b"ID3\x04", "an mp3 file"),
    (4, b"ftyp", "an mp4 file"),
    (0, b"caff\0\x01", "a CAF file"),
    (8, b"AIFF", "an AIFF file"),
    (8, b"AIFC", "an AIFF file"),
    (0, b".snd\0", "an AU file"),
    (0, b"riff\x2e\x91\xcf\x11", "a Wave64 file"),
];

/// Problems reported so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    reported: Vec<&'static str>,
}

impl Health {
    /// What is wrong with a binary frame, going by its first bytes; samples begin so once in billions.
    pub(super) fn of_frame(&mut self, frame: &[u8]) -> Option<Warning> {
        const CODE: &str = "not_raw_audio";
        if self.reported.contains(&CODE) {
            return None;
        }
        let (holds, advice) = what_it_holds(frame)?;
        let reason =
            format!("a binary frame {holds}; it is taken as raw samples, which have no header: {advice}");
        self.once(CODE, reason)
    }

    /// What the front end has noticed.
    pub(super) fn of_intake(&mut self, intake: &Intake) -> impl Iterator<Item = Warning> + use<> {
        let non_finite = (intake.n_non_finite() > 0).then(|| {
            self.once(
                "non_finite_samples",
                "the audio holds NaN or infinite samples; they count as silence".to_owned(),
            )
        });
        let scaled = intake.scaled_from_bits().map(|bits| {
            let reason = format!(
                "the samples are far above full scale, which is 1, as of {bits}-bit integers; they are scaled down"
            );
            self.once("samples_scaled", reason)
        });
        let cancelled = intake.only_channel().map(|channel| {
            let reason = format!(
                "the channels cancel each other, as where one is inverted; only channel {channel} is used there: choose one \
                 with `channel`"
            );
            self.once("channels_cancel", reason)
        });
        [non_finite, scaled, cancelled].into_iter().flatten().flatten()
    }

    fn once(&mut self, code: &'static str, reason: String) -> Option<Warning> {
        if self.reported.contains(&code) {
            return None;
        }
        self.reported.push(code);
        Some(Warning { code: code.to_owned(), reason })
    }
}

/// What a binary frame holds in place of samples, going by its first bytes, and what to do about it.
pub(crate) fn what_it_holds(frame: &[u8]) -> Option<(String, &'static str)> {
    const DECODE: &str = "decode the audio and send its samples (`encoding`)";
    let begins =
        |(at, mark, _): &&(usize, &[u8], &str)| frame.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    let holds = |what: &str| format!("holds {what}");
    match MARKS.iter().find(begins) {
        Some((_, _, what)) => Some((format!("begins like {what}"), DECODE)),
        None if is_json_object(frame) => Some((holds("a JSON object"), "send messages as text frames")),
        None if is_adts(frame) => Some((holds("AAC in ADTS frames"), DECODE)),
        None if is_base64(frame) => {
            Some((holds("text, such as Base64"), "send the bytes of the samples as they are"))
        }
        None => None,
    }
}

fn is_json_object(frame: &[u8]) -> bool {
    frame.len() <= MAX_JSON_BYTES
        && frame.first() == Some(&b'{')
        && frame.trim_ascii_end().last() == Some(&b'}')
        && serde_json::from_slice::<IgnoredAny>(frame).is_ok()
}

/// Two frames of ADTS, one behind the other (ISO/IEC 13818-7, section 6.2).
fn is_adts(frame: &[u8]) -> bool {
    let is_header = |bytes: &[u8]| matches!(bytes, [0xff, sync, ..] if sync & 0xf6 == 0xf0);
    let Some(&[_, _, _, high, middle, low]) = frame.first_chunk::<6>() else { return false };
    let length = (usize::from(high & 0x03) << 11) | (usize::from(middle) << 3) | usize::from(low >> 5);
    is_header(frame) && length > 7 && frame.get(length..).is_some_and(is_header)
}

/// Characters of Base64, of which 64 that follow each other are samples of no sound: each would be loud and positive. µ-law has
/// other bytes for loud sounds; its samples of one half of a wave are as many different ones.
fn is_base64(frame: &[u8]) -> bool {
    const LOOK: usize = 64;
    let is_of_it = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_');
    let Some(first) = frame.get(..LOOK) else { return false };
    let has = |is: fn(&u8) -> bool| first.iter().any(is);
    first.iter().all(is_of_it)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && frame.iter().all(|b| is_of_it(b) || b.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use diarized_dsp::{ChannelSelect, IntakeParams};

    #[test]
    fn frames_that_are_no_samples_are_named_once() {
        for (frame, what) in [
            (&b"RIFF\x24\x00\x00\x00WAVEfmt "[..], "wav"),
            (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81", "WebM"),
            (b"OggS\x00\x02", "Ogg"),
            (b"fLaC\x00\x00", "FLAC"),
            (b"ID3\x04\x00\x00", "mp3"),
            (b"\x00\x00\x00\x1cftypisom", "mp4"),
            (b"{\"type\": \"close\"}\n", "JSON object"),
            (b"caff\x00\x01\x00\x00desc", "CAF"),
            (b"FORM\x00\x00\x01\x00AIFFCOMM", "AIFF"),
            (b".snd\x00\x00\x00\x18", "AU"),
            (&[&[0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 1, 2][..], &[0xff, 0xf1, 0x50]].concat(), "ADTS"),
            (&b"UklGRiQAAABXQVZFZm10IBAA".repeat(4), "Base64"),
        ] {
            let mut health = Health::default();
            let warning = health.of_frame(frame).unwrap();
            assert_eq!(warning.code, "not_raw_audio");
            assert!(warning.reason.contains(what), "{}", warning.reason);
            assert!(health.of_frame(frame).is_none());
        }
        // A loud constant, and the first half of a wave in µ-law.
        let half_wave: Vec<u8> = (0..80_u8).map(|n| 0x20 + n.min(79 - n)).collect();
        for samples in [&[b'A'; 640][..], &half_wave, &[0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 1, 2, 3]] {
            assert!(Health::default().of_frame(samples).is_none(), "{samples:?}");
        }
        for samples in [&[0; 640][..], b"{\x01\x02\x03}", b"{", b"", b"RIF", b"{}x"] {
            assert!(Health::default().of_frame(samples).is_none(), "{samples:?}");
        }
    }

    #[test]
    fn what_the_front_end_notices_is_told_once() {
        let params = IntakeParams { sample_rate_hz: 16_000, n_channels: 2, channel: ChannelSelect::Mix };
        let mut intake = Intake::new(params).unwrap();
        let mut health = Health::default();
        let tone = (0..16_000).map(|n| (n as f32 * 0.1).sin() * 9000.0);
        let inverted: Vec<f32> = tone.flat_map(|s| [s, -s]).chain([f32::NAN, 0.0]).collect();
        intake.push(&inverted, &mut Vec::new()).unwrap();
        let codes: Vec<String> = health.of_intake(&intake).map(|warning| warning.code).collect();
        assert_eq!(codes, ["non_finite_samples", "samples_scaled", "channels_cancel"]);
        assert_eq!(health.of_intake(&intake).count(), 0);
    }
}
