//! Text messages of a client, and the errors for invalid ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audio::AudioFormat;
use super::codes::ErrorCode;
use super::kinds::kinds;
use super::lenient::{BYTE_ORDER_MARK, settled};
use super::object;
use super::session_options::{Latency, SessionOptions, SpeakerHints};
use super::words::SendWords;

/// Opens a session on `/v1/stream`, or takes one up again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// What the binary frames hold; in a resume it may be left out and must be what it was.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioFormat>,
    /// Id that the session shall have; without it the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What people call the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How many speakers there are, as far as it is known.
    #[serde(default, deserialize_with = "object::object", skip_serializing_if = "SpeakerHints::is_empty")]
    pub speakers: SpeakerHints,
    /// How soon labels shall come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Whether the server may keep the audio, where it keeps audio at all; it may unless this is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_audio: Option<bool>,
    /// Whether the server's speech recogniser gets the audio, where there is one; it does unless this is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asr: Option<bool>,
    /// The session to take up again instead of opening one.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

impl Start {
    /// What is wanted of the session.
    #[must_use]
    pub fn session_options(&self) -> SessionOptions {
        let Self { speakers, latency, keep_audio, asr, .. } = *self;
        SessionOptions { speakers, latency, keep_audio, asr }
    }
}

/// Resumes a session after a disconnect.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Id of the session.
    pub session: String,
    /// The secret from its `started`.
    pub token: String,
    /// Position of the first audio of this connection on the session's clock; without it the audio continues at the
    /// position in `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_s: Option<f64>,
    /// Number of the last event that the client has; without it a snapshot comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

impl std::fmt::Debug for Resume {
    /// Without the token, which belongs in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resume")
            .field("session", &self.session)
            .field("received_s", &self.received_s)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// Keeps the session alive while the client has no audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepAlive {}

/// Settles what is pending now; answered by an `ack` with `finalized` after the final segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finalize {}

/// Gives a speaker a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Label of the speaker, as `S1`.
    pub speaker: String,
    /// The name; empty takes the name away.
    pub name: String,
}

/// Merges two speakers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// Label that is given up.
    pub from: String,
    /// Label that stays.
    pub into: String,
}

/// Gives one segment to another speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reassign {
    /// Id of the segment.
    pub segment: u64,
    /// Label of the speaker that it belongs to.
    pub speaker: String,
}

/// Splits one speaker into two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Label of the speaker.
    pub speaker: String,
    /// Ids of the second person's segments; without them those that sound like a second person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<u64>,
}

/// Gives the session a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTitle {
    /// The title; empty takes it away.
    pub title: String,
}

/// Adds a note to the session or to one of its segments, or changes or removes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteNote {
    /// The note that changes; without it a new one is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The segment that a new note is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// The text; empty removes the note.
    pub text: String,
}

/// Undoes the newest correction that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// The correction that is meant; refused if another one is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<u64>,
}

/// Makes the correction again that was undone last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redo {
    /// The correction that is meant; refused if another one was undone last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<u64>,
}

/// Declares missing audio: the clock advances by its length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareGap {
    /// Length of what is missing, in seconds, above 0 and at most a day.
    pub duration_s: f64,
}

/// Ends the session, or the subscription on `/v1/events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {}

/// A text frame that is not a message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not JSON at all.
    #[error("the text frame is not JSON: {reason}")]
    NotJson {
        /// Message of the parser, with line and column.
        reason: String,
    },
    /// JSON, but not an object with a text `type`.
    #[error("a message must be a JSON object with a text field `type`, got {got}")]
    NoType {
        /// What was there instead.
        got: String,
    },
    /// A type that does not exist.
    #[error("unknown type `{got}`, expected one of {}", ClientMessage::TYPES.join(", "))]
    UnknownType {
        /// The type.
        got: String,
    },
    /// A field that the message does not have.
    #[error("`{kind}`: {reason}")]
    UnknownField {
        /// Type of the message.
        kind: String,
        /// Which field, and which there are.
        reason: String,
    },
    /// A field is missing or has the wrong type.
    #[error("`{kind}`: {reason}")]
    BadField {
        /// Type of the message.
        kind: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl MessageError {
    /// The word for the `code` of the `error` message.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownType { .. } => ErrorCode::UnknownType,
            Self::UnknownField { .. } => ErrorCode::UnknownField,
            _ => ErrorCode::BadMessage,
        }
    }
}

kinds! {
    /// One message of a client.
    ClientMessage:

    /// Opens a session.
    Start(Start), "start";
    /// The client is alive.
    KeepAlive(KeepAlive), "keep_alive";
    /// Settle what is pending.
    Finalize(Finalize), "finalize";
    /// Audio is missing here.
    Gap(DeclareGap), "gap";
    /// Name a speaker.
    Rename(Rename), "rename";
    /// Two speakers are one.
    Merge(Merge), "merge";
    /// A segment belongs to another speaker.
    Reassign(Reassign), "reassign";
    /// A speaker is two people.
    Split(Split), "split";
    /// Words of a speech recogniser.
    Words(SendWords), "words";
    /// Give the session a title.
    Title(SetTitle), "title";
    /// Add or change a note.
    Note(WriteNote), "note";
    /// Take back the newest correction.
    Undo(Undo), "undo";
    /// Make it again.
    Redo(Redo), "redo";
    /// End.
    Close(Close), "close";
}

impl ClientMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// [`MessageError`], which names what is wrong; nothing of the message is acted on.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let value: Value =
            serde_json::from_str(text).map_err(|e| MessageError::NotJson { reason: e.to_string() })?;
        let mut fields = match settled(value) {
            Value::Object(fields) => fields,
            other => return Err(MessageError::NoType { got: brief(&other) }),
        };
        let kind = match fields.remove("type") {
            Some(Value::String(kind)) => kind,
            Some(other) => return Err(MessageError::NoType { got: format!("type {}", brief(&other)) }),
            None => return Err(MessageError::NoType { got: "no type".to_owned() }),
        };
        match Self::from_value(&kind, Value::Object(fields)) {
            None => Err(MessageError::UnknownType { got: shorten(&kind) }),
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => {
                let reason = shorten(&error.to_string());
                Err(if reason.starts_with("unknown field") {
                    MessageError::UnknownField { kind, reason }
                } else {
                    MessageError::BadField { kind, reason }
                })
            }
        }
    }

    /// The message as a text frame.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = serde_json::Map::new();
        out.insert("type".to_owned(), Value::from(self.kind()));
        if let Ok(Value::Object(body)) = self.serialize_fields(serde_json::value::Serializer) {
            out.extend(body);
        }
        Value::Object(out).to_string()
    }
}

/// The kind of a JSON value, for an error text.
fn brief(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// What a client sent, cut to what an error text may repeat.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
