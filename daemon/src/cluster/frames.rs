//! What the messages of a session's subject hold: a line of JSON that says what follows, then events, corrections, or a
//! snapshot, a line each. What is larger than a message is cut into several.

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::node::FORMAT;
use crate::session::Entry;

/// Bytes of one message at most, well below what NATS takes unless it is configured otherwise (1 MiB).
const MAX_MESSAGE: usize = 512 << 10;
/// Bytes of what is put together again at most.
const MAX_WHOLE: usize = 256 << 20;

/// What one or more messages hold together.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Events one after the other, as the session's node encoded them.
    Events {
        /// Number of the first.
        first_seq: u64,
        /// The events.
        events: Vec<ByteString>,
    },
    /// Corrections with what undoes them.
    Corrections {
        /// Number of the last event before them.
        seq: u64,
        /// The corrections.
        entries: Vec<Entry>,
    },
    /// From here on another node writes: events of the node before that are not here are void.
    Taken {
        /// Number of the last event that is still good.
        seq: u64,
    },
    /// The session as it stands, for readers that begin here.
    Snapshot {
        /// Number of the last event in it.
        seq: u64,
        /// Highest label of a speaker.
        last_speaker: u32,
        /// Highest id of a segment.
        last_segment: u64,
        /// Where it does not continue the events before it: the last number that is still good.
        kept: Option<u64>,
        /// The message `snapshot`.
        json: ByteString,
    },
}

/// The first line of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    format: u32,
    kind: Kind,
    /// Number of the first event, or of the last one before corrections and in a snapshot.
    #[serde(default)]
    seq: u64,
    /// Number of events.
    #[serde(default)]
    n: u64,
    #[serde(default)]
    speaker: u32,
    #[serde(default)]
    segment: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<u64>,
    /// Which part of what was cut this is, from 0.
    #[serde(default)]
    part: u32,
    /// Whether the next message goes on with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Events,
    Corrections,
    Taken,
    Snapshot,
}

/// A message makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first line cannot be read.
    #[error("its first line cannot be read: {0}")]
    Head(String),
    /// A node of another version wrote it.
    #[error("it is of format {got}, and this version reads {FORMAT}; give all nodes the same version")]
    Format {
        /// The format.
        got: u32,
    },
    /// What follows does not fit the first line.
    #[error("what follows its first line does not fit: {0}")]
    Body(String),
    /// The parts together are too large.
    #[error("its parts are larger than {MAX_WHOLE} bytes")]
    TooLarge,
}

impl Content {
    /// The messages, in order.
    #[must_use]
    pub fn to_messages(&self) -> Vec<Vec<u8>> {
        let head = |kind| Head {
            format: FORMAT,
            kind,
            seq: 0,
            n: 0,
            speaker: 0,
            segment: 0,
            kept: None,
            part: 0,
            more: false,
        };
        let (head, body) = match self {
            Self::Events { first_seq, events } => {
                let head = Head { seq: *first_seq, n: events.len() as u64, ..head(Kind::Events) };
                (head, lines(events.iter().map(|event| event.as_bytes().to_vec())))
            }
            Self::Corrections { seq, entries } => {
                let json = |entry| serde_json::to_vec(entry).expect("entries have a JSON form");
                (Head { seq: *seq, ..head(Kind::Corrections) }, lines(entries.iter().map(json)))
            }
            Self::Taken { seq } => (Head { seq: *seq, ..head(Kind::Taken) }, Vec::new()),
            Self::Snapshot { seq, last_speaker, last_segment, kept, json } => {
                let (speaker, segment) = (*last_speaker, *last_segment);
                let head = Head { seq: *seq, speaker, segment, kept: *kept, ..head(Kind::Snapshot) };
                (head, json.as_bytes().to_vec())
            }
        };
        let n_parts = body.len().div_ceil(MAX_MESSAGE).max(1);
        let part = |n: usize| {
            let part = &body[n * MAX_MESSAGE..body.len().min((n + 1) * MAX_MESSAGE)];
            let head = Head { part: n as u32, more: n + 1 < n_parts, ..head.clone() };
            let mut message = serde_json::to_vec(&head).expect("numbers have a JSON form");
            message.push(b'\n');
            message.extend_from_slice(part);
            message
        };
        (0..n_parts).map(part).collect()
    }
}

fn lines(lines: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    lines.collect::<Vec<_>>().join(&b'\n')
}

/// Number of the last event up to this message; `None` where it makes no sense, or the next one goes on with it.
#[must_use]
pub(super) fn last_event(message: &[u8]) -> Option<u64> {
    let (head, _) = split(message).ok().filter(|(head, _)| !head.more)?;
    match head.kind {
        Kind::Events => (head.seq + head.n).checked_sub(1),
        Kind::Snapshot | Kind::Corrections | Kind::Taken => Some(head.seq),
    }
}

fn split(message: &[u8]) -> Result<(Head, &[u8]), FrameError> {
    let end = message.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| FrameError::Head("it has no end".to_owned()))?;
    let head: Head =
        serde_json::from_slice(&message[..end]).map_err(|error| FrameError::Head(error.to_string()))?;
    if head.format != FORMAT {
        return Err(FrameError::Format { got: head.format });
    }
    // Numbers near the end of their range have no successors.
    if head.seq.checked_add(head.n).is_none_or(|end| end > u64::MAX / 2) {
        return Err(FrameError::Head("its numbers are out of range".to_owned()));
    }
    Ok((head, &message[end + 1..]))
}

/// Puts messages together again.
#[derive(Debug, Default)]
pub struct Assembler {
    body: Vec<u8>,
    /// Parts of it.
    n_parts: u32,
}

impl Assembler {
    /// Takes the next message and gives what is complete with it.
    ///
    /// # Errors
    /// `FrameError`; what was begun is dropped.
    pub fn take(&mut self, message: &[u8]) -> Result<Option<Content>, FrameError> {
        let (mut body, n_parts) = (std::mem::take(&mut self.body), std::mem::take(&mut self.n_parts));
        let (head, part) = split(message)?;
        if head.part == 0 {
            // What was begun before is never completed: its node has ended.
            body.clear();
        } else if head.part != n_parts {
            return Err(FrameError::Body("a part of it is missing".to_owned()));
        }
        if body.len() + part.len() > MAX_WHOLE {
            return Err(FrameError::TooLarge);
        }
        body.extend_from_slice(part);
        if head.more {
            (self.body, self.n_parts) = (body, head.part.saturating_add(1));
            return Ok(None);
        }
        let unfit = |error: &dyn std::fmt::Display| FrameError::Body(error.to_string());
        let text = String::from_utf8(body).map_err(|error| unfit(&error))?;
        Ok(Some(match head.kind {
            Kind::Events => {
                let events: Vec<ByteString> = text.split('\n').map(ByteString::from).collect();
                if events.len() as u64 != head.n || head.seq == 0 {
                    return Err(FrameError::Body(format!("{} events in place of {}", events.len(), head.n)));
                }
                Content::Events { first_seq: head.seq, events }
            }
            Kind::Corrections => {
                let entries = text.split('\n').map(serde_json::from_str).collect::<Result<_, _>>();
                Content::Corrections { seq: head.seq, entries: entries.map_err(|error| unfit(&error))? }
            }
            Kind::Taken => Content::Taken { seq: head.seq },
            Kind::Snapshot => Content::Snapshot {
                seq: head.seq,
                last_speaker: head.speaker,
                last_segment: head.segment,
                kept: head.kept,
                json: text.into(),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(content: &Content) -> Content {
        let mut assembler = Assembler::default();
        let messages = content.to_messages();
        let (last, parts) = messages.split_last().unwrap();
        for part in parts {
            assert!(part.len() < MAX_MESSAGE + 200);
            assert_eq!(assembler.take(part), Ok(None));
        }
        assembler.take(last).unwrap().unwrap()
    }

    #[test]
    fn what_was_cut_is_put_together() {
        let event = |n: usize| ByteString::from(format!("{{\"seq\":{n},\"text\":\"{}\"}}", "é".repeat(n)));
        let events = Content::Events { first_seq: 7, events: (0..2000).map(event).collect() };
        assert!(events.to_messages().len() > 3);
        assert_eq!(again(&events), events);
        let messages = events.to_messages();
        assert_eq!((last_event(&messages[0]), last_event(messages.last().unwrap())), (None, Some(2006)));
        let mut assembler = Assembler::default();
        assert_eq!(assembler.take(&messages[0]), Ok(None));
        assert!(assembler.take(&messages[2]).unwrap_err().to_string().contains("a part of it is missing"));
        assert_eq!(assembler.take(&messages[0]), Ok(None), "it may begin again");
        assert_eq!(assembler.take(&messages[0]), Ok(None));
        assert_eq!(assembler.take(&messages[1]), Ok(None));
        let taken = Content::Taken { seq: 9 };
        assert_eq!((again(&taken), last_event(&taken.to_messages()[0])), (taken, Some(9)));
        let json = ByteString::from("{}");
        let snapshot = Content::Snapshot { seq: 9, last_speaker: 2, last_segment: 5, kept: Some(3), json };
        assert_eq!((again(&snapshot), last_event(&snapshot.to_messages()[0])), (snapshot, Some(9)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |bytes: &[u8]| Assembler::default().take(bytes).unwrap_err().to_string();
        assert!(refused(b"{}").contains("no end"));
        assert!(refused(b"{}\n").contains("format"));
        assert!(refused(b"{\"format\":2,\"kind\":\"events\"}\n").contains("give all nodes the same version"));
        assert!(refused(b"{\"format\":1,\"kind\":\"events\",\"seq\":1,\"n\":2}\n{}").contains("1 events"));
        assert!(
            refused(b"{\"format\":1,\"kind\":\"events\",\"seq\":18446744073709551615,\"n\":2}\n")
                .contains("range")
        );
        assert!(refused(b"{\"format\":1,\"kind\":\"snapshot\",\"seq\":1}\n\xff").contains("does not fit"));
    }
}
