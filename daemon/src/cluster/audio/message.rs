//! What the messages of a session's audio hold: a line of JSON that says what follows and where on the session's clock, then the
//! bytes of the client's frames as they came.

use bytes::Bytes;
use diarized_models::events::GapReason;
use serde::{Deserialize, Serialize};

use crate::cluster::node::FORMAT;
use crate::protocol::AudioFormat;
use crate::protocol::server_message::EndReason;
use crate::protocol::view::gap_reason;

/// Bytes of audio in one message at most, well below what NATS takes unless it is configured otherwise (1 MiB).
pub(super) const MAX_BYTES: usize = 256 << 10;
/// Samples on a session's clock at most, so that sums of two stay in range.
const MAX_SAMPLES: u64 = 1 << 56;

/// One message: what comes on the clock of a session, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioMessage {
    /// Name of the node that takes the audio in.
    pub intake: String,
    /// Samples of each channel before it, at the declared rate.
    pub first: u64,
    /// What comes.
    pub piece: Piece,
}

/// What comes next on the clock of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// From here on this node takes the audio in: another one can write no more.
    Taken,
    /// The session gets a title.
    Title(String),
    /// Whole samples of every channel, in the declared encoding.
    Audio(Bytes),
    /// A stretch without audio.
    Gap {
        /// Its length, in samples at the declared rate.
        n: u64,
        /// Why.
        reason: GapReason,
    },
    /// The end.
    End(EndReason),
}

/// The first line of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    format: u32,
    kind: Kind,
    intake: String,
    first: u64,
    /// Samples of each channel that follow.
    #[serde(default)]
    n: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<EndReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Taken,
    Title,
    Audio,
    Gap,
    End,
}

/// A message makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of audio cannot be read: {0}")]
pub struct AudioMessageError(String);

impl AudioMessage {
    /// The message as it goes to NATS.
    #[must_use]
    pub fn to_bytes(&self, format: AudioFormat) -> Bytes {
        let (intake, first) = (self.intake.clone(), self.first);
        let mut head = Head {
            format: FORMAT,
            kind: Kind::Taken,
            intake,
            first,
            n: 0,
            gap: None,
            title: None,
            end: None,
        };
        head.n = self.n_samples(format);
        let mut body = &Bytes::new();
        match &self.piece {
            Piece::Taken => {}
            Piece::Title(title) => (head.kind, head.title) = (Kind::Title, Some(title.clone())),
            Piece::Audio(bytes) => (head.kind, body) = (Kind::Audio, bytes),
            Piece::Gap { reason, .. } => {
                (head.kind, head.gap) = (Kind::Gap, Some(reason.as_str().to_owned()));
            }
            Piece::End(reason) => (head.kind, head.end) = (Kind::End, Some(*reason)),
        }
        let mut message = serde_json::to_vec(&head).expect("texts and numbers have a JSON form");
        message.push(b'\n');
        message.extend_from_slice(body);
        message.into()
    }

    /// Reads a message of a session with audio of this format.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &Bytes, format: AudioFormat) -> Result<Self, AudioMessageError> {
        let wrong = |reason: &str| AudioMessageError(reason.to_owned());
        let end = message.iter().position(|byte| *byte == b'\n').ok_or_else(|| wrong("it has no end"))?;
        let head: Head =
            serde_json::from_slice(&message[..end]).map_err(|error| wrong(&error.to_string()))?;
        if head.format != FORMAT {
            let got = head.format;
            return Err(wrong(&format!("it is of format {got}, and this version reads {FORMAT}")));
        }
        if head.first > MAX_SAMPLES || head.n > MAX_SAMPLES {
            return Err(wrong("its numbers are out of range"));
        }
        let body = message.slice(end + 1..);
        let missing = || wrong("its first line does not say what it is");
        let piece = match head.kind {
            Kind::Taken => Piece::Taken,
            Kind::Title => Piece::Title(head.title.ok_or_else(missing)?),
            Kind::Audio => Piece::Audio(body.clone()),
            Kind::Gap => {
                let reason = gap_reason(&head.gap.ok_or_else(missing)?);
                Piece::Gap { n: head.n, reason: reason.map_err(|error| wrong(&error.to_string()))? }
            }
            Kind::End => Piece::End(head.end.ok_or_else(missing)?),
        };
        let is_whole = body.len().is_multiple_of(format.step_bytes());
        if !is_whole || (head.kind != Kind::Audio && !body.is_empty()) {
            return Err(wrong("what follows its first line does not fit"));
        }
        let read = Self { intake: head.intake, first: head.first, piece };
        if read.n_samples(format) != head.n {
            return Err(wrong("its number of samples is another one"));
        }
        Ok(read)
    }

    fn n_samples(&self, format: AudioFormat) -> u64 {
        match &self.piece {
            Piece::Audio(bytes) => (bytes.len() / format.step_bytes()) as u64,
            Piece::Gap { n, .. } => *n,
            Piece::Taken | Piece::Title(_) | Piece::End(_) => 0,
        }
    }

    /// Samples of each channel up to its end, at the declared rate.
    #[must_use]
    pub fn end(&self, format: AudioFormat) -> u64 {
        self.first + self.n_samples(format)
    }

    /// The part of it after `position` samples; `None` if there is none. Titles and ends have no length and are always given.
    #[must_use]
    pub fn after(self, position: u64, format: AudioFormat) -> Option<Piece> {
        let n_known = position.saturating_sub(self.first);
        match self.piece {
            Piece::Audio(bytes) => {
                let n_known = usize::try_from(n_known).unwrap_or(usize::MAX);
                let from = n_known.saturating_mul(format.step_bytes()).min(bytes.len());
                (from < bytes.len()).then(|| Piece::Audio(bytes.slice(from..)))
            }
            Piece::Gap { n, reason } => {
                let n = n.saturating_sub(n_known);
                (n > 0).then_some(Piece::Gap { n, reason })
            }
            other => Some(other),
        }
    }
}

/// Audio in pieces that a message takes, whole samples each.
pub(super) fn cut(bytes: &Bytes, format: AudioFormat) -> Vec<Bytes> {
    let most = MAX_BYTES - MAX_BYTES % format.step_bytes();
    (0..bytes.len()).step_by(most).map(|from| bytes.slice(from..bytes.len().min(from + most))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(first: u64, piece: Piece) -> AudioMessage {
        AudioMessage { intake: "one".to_owned(), first, piece }
    }

    #[test]
    fn what_is_written_is_read() {
        let format = AudioFormat { channels: 2, ..AudioFormat::default() };
        let pieces = [
            Piece::Taken,
            Piece::Title("Weekly \n meeting".to_owned()),
            Piece::Audio(Bytes::from_static(&[10, 1, 2, 3, 4, 5, 6, 10])),
            Piece::Gap { n: 7, reason: GapReason::Declared },
            Piece::End(EndReason::Closed),
        ];
        for piece in pieces {
            let written = message(5, piece);
            assert_eq!(AudioMessage::parse(&written.to_bytes(format), format), Ok(written));
        }
        assert_eq!(message(5, Piece::Audio(Bytes::from_static(&[0; 8]))).end(format), 7);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |text: &'static str| {
            let bytes = Bytes::from_static(text.as_bytes());
            AudioMessage::parse(&bytes, AudioFormat::default()).unwrap_err().to_string()
        };
        let head = r#"{"format":1,"kind":"audio","intake":"a","first":0,"n":1}"#;
        assert!(refused(head).contains("no end"));
        assert!(refused("{}\n").contains("format"));
        assert!(
            refused("{\"format\":9,\"kind\":\"taken\",\"intake\":\"a\",\"first\":0}\n").contains("format 9")
        );
        assert!(
            refused("{\"format\":1,\"kind\":\"gap\",\"intake\":\"a\",\"first\":0,\"n\":3}\n")
                .contains("first line")
        );
        assert!(
            refused("{\"format\":1,\"kind\":\"audio\",\"intake\":\"a\",\"first\":0,\"n\":1}\nabc")
                .contains("fit")
        );
        assert!(
            refused("{\"format\":1,\"kind\":\"audio\",\"intake\":\"a\",\"first\":0,\"n\":1}\nabcd")
                .contains("number")
        );
        assert!(
            refused("{\"format\":1,\"kind\":\"end\",\"intake\":\"a\",\"first\":18446744073709551615,\"end\":\"closed\"}\n")
                .contains("range")
        );
    }

    /// What a labelling node has that begins after `position`, and whether anything was missing.
    fn read(messages: &[Bytes], mut position: u64, format: AudioFormat) -> (Vec<u8>, bool) {
        let (mut heard, mut is_whole) = (Vec::new(), true);
        for bytes in messages {
            let message = AudioMessage::parse(bytes, format).unwrap();
            is_whole &= message.first <= position;
            let end = message.end(format);
            match message.after(position, format) {
                Some(Piece::Audio(bytes)) => heard.extend_from_slice(&bytes),
                Some(Piece::Gap { n, .. }) => heard.extend(vec![0xAA; n as usize * format.step_bytes()]),
                _ => {}
            }
            position = position.max(end);
        }
        (heard, is_whole)
    }

    proptest! {
        /// However audio is cut into messages, and wherever somebody begins to read: the same samples.
        #[test]
        fn any_cut_gives_the_same_samples(
            cuts in prop::collection::vec((0_usize..40, any::<bool>()), 0..12),
            from in 0_u64..200,
            again in 0_usize..12,
        ) {
            let format = AudioFormat { channels: 3, ..AudioFormat::default() };
            let (mut messages, mut whole, mut first) = (Vec::new(), Vec::<u8>::new(), 0_u64);
            for (n, is_gap) in cuts {
                let n_bytes = n * format.step_bytes();
                let bytes: Vec<u8> = (0..n_bytes).map(|i| (whole.len() + i) as u8).collect();
                let piece = match is_gap {
                    true => Piece::Gap { n: n as u64, reason: GapReason::Declared },
                    false => Piece::Audio(bytes.clone().into()),
                };
                whole.extend(if is_gap { vec![0xAA; n_bytes] } else { bytes });
                messages.push(message(first, piece).to_bytes(format));
                first += n as u64;
            }
            // A reader that begins again a few messages earlier gets nothing twice.
            let again = again.min(messages.len());
            let twice = [&messages[..again], &messages[..]].concat();
            let from = from.min(first);
            let wanted = &whole[from as usize * format.step_bytes()..];
            for messages in [&messages, &twice] {
                let (heard, is_whole) = read(messages, from, format);
                prop_assert_eq!(&heard[..], wanted);
                prop_assert!(is_whole);
            }
        }

        #[test]
        fn large_frames_are_cut_into_whole_samples(n in 0_usize..200_000, channels in 1_u16..8) {
            let format = AudioFormat { channels, ..AudioFormat::default() };
            let whole: Bytes = (0..n * format.step_bytes()).map(|i| i as u8).collect::<Vec<_>>().into();
            let pieces = cut(&whole, format);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= MAX_BYTES && piece.len() % format.step_bytes() == 0));
            prop_assert_eq!(pieces.concat(), whole);
        }
    }
}
