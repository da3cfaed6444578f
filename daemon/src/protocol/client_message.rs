//! Text messages of a client, and the errors for invalid ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kinds::kinds;
use super::lenient::settled;
use super::{AudioFormat, ErrorCode, Latency, SpeakerHints, Wishes};

/// Opens a session on `/v1/stream`, or takes one up again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// What the binary frames hold; in a resume it may be left out and must be what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioFormat>,
    /// Id that the session shall have; without it the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How many speakers there are, as far as it is known.
    #[serde(default, skip_serializing_if = "SpeakerHints::is_empty")]
    pub speakers: SpeakerHints,
    /// How soon labels shall come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The session to take up again instead of opening one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

impl Start {
    /// What is wanted of the session.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        Wishes { speakers: self.speakers, latency: self.latency }
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
    /// End.
    Close(Close), "close";
}

impl ClientMessage {
    /// Reads one text frame.
    ///
    /// # Errors
    /// [`MessageError`], which names what is wrong; nothing of the message is acted on.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> (ErrorCode, String) {
        let error = ClientMessage::parse(text).unwrap_err();
        (error.code(), error.to_string())
    }

    #[test]
    fn every_type_round_trips() {
        let all = [
            ClientMessage::Start(Start {
                audio: Some(AudioFormat { channel: Some(0), ..AudioFormat::default() }),
                session: Some("kitchen".into()),
                speakers: SpeakerHints { expected: Some(3), max: None },
                latency: Some(Latency::High),
                resume: Some(Resume {
                    session: "kitchen".into(),
                    token: "secret".into(),
                    received_s: Some(12.5),
                    since: Some(41),
                }),
            }),
            ClientMessage::KeepAlive(KeepAlive {}),
            ClientMessage::Finalize(Finalize {}),
            ClientMessage::Gap(DeclareGap { duration_s: 0.5 }),
            ClientMessage::Rename(Rename { speaker: "S1".into(), name: "Ada".into() }),
            ClientMessage::Merge(Merge { from: "S2".into(), into: "S1".into() }),
            ClientMessage::Reassign(Reassign { segment: 7, speaker: "S2".into() }),
            ClientMessage::Split(Split { speaker: "S2".into(), segments: vec![5, 7] }),
            ClientMessage::Close(Close {}),
        ];
        assert_eq!(all.iter().map(ClientMessage::kind).collect::<Vec<_>>(), ClientMessage::TYPES);
        for message in all {
            assert_eq!(ClientMessage::parse(&message.to_json()), Ok(message));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(error("RIFF").0, ErrorCode::BadMessage);
        assert_eq!(error("[1]").1, "a message must be a JSON object with a text field `type`, got an array");
        assert_eq!(error("{}").1, "a message must be a JSON object with a text field `type`, got no type");
        assert_eq!(error(r#"{"type":1}"#).0, ErrorCode::BadMessage);
        let (code, text) = error(r#"{"type":"stop"}"#);
        assert_eq!(code, ErrorCode::UnknownType);
        assert!(text.starts_with("unknown type `stop`, expected one of start, keep_alive"), "{text}");
        let (code, text) = error(r#"{"type":"start","audio":{"rate":8000}}"#);
        assert_eq!(code, ErrorCode::UnknownField);
        assert!(text.contains("`start`: unknown field `rate`, expected one of `encoding`"), "{text}");
        let (code, text) = error(r#"{"type":"start","speakers":{"min":2}}"#);
        assert_eq!((code, text.contains("`expected`")), (ErrorCode::UnknownField, true), "{text}");
        let (code, text) = error(r#"{"type":"keep_alive","now":true}"#);
        assert_eq!((code, text.contains("`now`")), (ErrorCode::UnknownField, true), "{text}");
        let (code, text) = error(r#"{"type":"rename","speaker":"S1"}"#);
        assert_eq!((code, text.as_str()), (ErrorCode::BadMessage, "`rename`: missing field `name`"));
        let (code, text) = error(r#"{"type":"start","audio":{"encoding":"opus"}}"#);
        assert_eq!((code, text.contains("pcm_s16le")), (ErrorCode::BadMessage, true), "{text}");
    }

    /// A message of every type, with every field.
    fn messages() -> Vec<Value> {
        let texts = [
            r#"{"type":"start","audio":{"encoding":"pcm_s16le","sample_rate":48000,"channels":2,"channel":1},
                "session":"a","speakers":{"expected":2,"max":3},"latency":"low",
                "resume":{"session":"a","token":"t","received_s":2,"since":4}}"#,
            r#"{"type":"keep_alive"}"#,
            r#"{"type":"finalize"}"#,
            r#"{"type":"gap","duration_s":2}"#,
            r#"{"type":"rename","speaker":"S1","name":"Ada"}"#,
            r#"{"type":"merge","from":"S2","into":"S1"}"#,
            r#"{"type":"reassign","segment":7,"speaker":"S2"}"#,
            r#"{"type":"split","speaker":"S2","segments":[5,7]}"#,
            r#"{"type":"close"}"#,
        ];
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// Calls `change` on every field of `value`, at any depth, one at a time.
    fn with_each_field(value: &Value, change: &dyn Fn(&Value) -> Option<Value>, found: &mut Vec<Value>) {
        let Value::Object(fields) = value else { return };
        for (name, inner) in fields {
            let mut put = |changed: Option<Value>| {
                let mut all = fields.clone();
                match changed {
                    Some(changed) => _ = all.insert(name.clone(), changed),
                    None => _ = all.remove(name),
                }
                found.push(Value::Object(all));
            };
            put(change(inner));
            let mut deeper = Vec::new();
            with_each_field(inner, change, &mut deeper);
            deeper.into_iter().for_each(|changed| put(Some(changed)));
        }
    }

    #[test]
    fn null_is_as_good_as_absent_for_every_field_of_every_type() {
        for message in messages() {
            let (mut null, mut absent) = (Vec::new(), Vec::new());
            with_each_field(&message, &|_| Some(Value::Null), &mut null);
            with_each_field(&message, &|_| None, &mut absent);
            assert!(!null.is_empty() && null.len() == absent.len());
            for (null, absent) in null.iter().zip(&absent) {
                let parse = |value: &Value| ClientMessage::parse(&value.to_string());
                assert_eq!(parse(null), parse(absent), "{null}");
            }
        }
    }

    #[test]
    fn whole_floats_are_whole_numbers_in_every_field_of_every_type() {
        fn floats(value: &Value) -> Value {
            match value {
                Value::Object(fields) => {
                    fields.iter().map(|(name, value)| (name.clone(), floats(value))).collect()
                }
                Value::Array(items) => items.iter().map(floats).collect(),
                Value::Number(number) => Value::from(number.as_f64().unwrap()),
                other => other.clone(),
            }
        }
        for message in messages() {
            let (as_is, as_floats) = (message.to_string(), floats(&message).to_string());
            let parsed = ClientMessage::parse(&as_is);
            assert!(parsed.is_ok(), "{parsed:?}");
            assert_eq!(ClientMessage::parse(&as_floats), parsed, "{as_floats}");
        }
        let text = error(r#"{"type":"start","audio":{"sample_rate":48000.5}}"#).1;
        assert!(text.contains("48000.5") && text.contains("u32"), "{text}");
    }

    #[test]
    fn a_long_field_name_does_not_come_back_whole() {
        let text = format!(r#"{{"type":"close","{}":1}}"#, "é".repeat(5000));
        assert!(error(&text).1.len() < 500);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = ClientMessage::parse(&text);
        }

        #[test]
        fn no_field_value_makes_the_parser_panic(
            kind in prop::sample::select(ClientMessage::TYPES),
            field in "[a-z_]{1,12}",
            number in any::<f64>(),
        ) {
            let _ = ClientMessage::parse(&format!(r#"{{"type":"{kind}","{field}":{number}}}"#));
        }
    }
}
