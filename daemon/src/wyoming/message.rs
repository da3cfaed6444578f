//! Messages of the Wyoming protocol: a line of JSON, then data as JSON, then a payload; each of a bounded length.

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::{Map, Value, json};

/// Longest line of a message, in bytes.
const MAX_LINE: usize = 64 << 10;
/// Longest data of a message, in bytes: what a server describes of itself fits several times.
const MAX_DATA: usize = 1 << 20;
/// Longest payload of a message, in bytes: half a minute of audio.
const MAX_PAYLOAD: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its type, such as `audio-chunk`.
    pub kind: String,
    /// Its fields.
    pub data: Map<String, Value>,
    /// Its bytes, such as audio.
    pub payload: Bytes,
}

/// Why bytes are no message. After it the connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The line does not end.
    #[error("the line of a message is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// The line or the data is no JSON object.
    #[error("the {part} of a message is no JSON object")]
    NotJson {
        /// `line` or `data`.
        part: &'static str,
    },
    /// The line lacks the type.
    #[error("a message has no `type`")]
    NoType,
    /// A length is none, or is too large.
    #[error("{field} ({got}) must be a whole number from 0 to {max}")]
    Length {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// The limit.
        max: usize,
    },
}

impl Message {
    /// A message without payload; `data` is an object, or nothing.
    #[must_use]
    pub fn new(kind: &str, data: Value) -> Self {
        let data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        Self { kind: kind.to_owned(), data, payload: Bytes::new() }
    }

    /// The same with a payload.
    #[must_use]
    pub fn with_payload(self, payload: Bytes) -> Self {
        Self { payload, ..self }
    }

    /// The message as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let data =
            if self.data.is_empty() { String::new() } else { Value::Object(self.data.clone()).to_string() };
        let mut head = json!({"type": self.kind});
        if !data.is_empty() {
            head["data_length"] = data.len().into();
        }
        if !self.payload.is_empty() {
            head["payload_length"] = self.payload.len().into();
        }
        let mut bytes = head.to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(data.as_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes.into()
    }

    /// A field of text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.data.get(field)?.as_str()
    }

    /// A field of a whole number; one written as a float counts.
    #[must_use]
    pub fn integer(&self, field: &str) -> Option<u64> {
        let value = self.data.get(field)?;
        value.as_u64().or_else(|| {
            value.as_f64().filter(|f| f.fract() == 0.0 && (0.0..1e15).contains(f)).map(|f| f as u64)
        })
    }
}

/// Reads messages out of bytes as they come; holds no more than one message and what came with it.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: BytesMut,
    head: Option<Head>,
}

/// The line of a message whose rest is not complete.
#[derive(Debug)]
struct Head {
    kind: String,
    data: Map<String, Value>,
    n_data: usize,
    n_payload: usize,
}

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is complete.
    ///
    /// # Errors
    /// [`WireError`]; what follows cannot be read.
    pub fn read(&mut self) -> Result<Option<Message>, WireError> {
        if self.head.is_none() {
            let line_end = self.bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n');
            let Some(line_end) = line_end else {
                return if self.bytes.len() >= MAX_LINE { Err(WireError::LineTooLong) } else { Ok(None) };
            };
            self.head = Some(Head::read(&self.bytes[..line_end])?);
            self.bytes.advance(line_end + 1);
        }
        let is_complete =
            self.head.as_ref().is_some_and(|head| self.bytes.len() >= head.n_data + head.n_payload);
        let Some(head) = self.head.take_if(|_| is_complete) else { return Ok(None) };
        let mut data = head.data;
        let more = self.bytes.split_to(head.n_data);
        if !more.is_empty() {
            let more: Map<String, Value> =
                serde_json::from_slice(&more).map_err(|_| WireError::NotJson { part: "data" })?;
            data.extend(more);
        }
        let payload = self.bytes.split_to(head.n_payload).freeze();
        Ok(Some(Message { kind: head.kind, data, payload }))
    }
}

impl Head {
    fn read(line: &[u8]) -> Result<Self, WireError> {
        let line: Map<String, Value> =
            serde_json::from_slice(line).map_err(|_| WireError::NotJson { part: "line" })?;
        let kind = line.get("type").and_then(Value::as_str).ok_or(WireError::NoType)?.to_owned();
        let length = |field: &'static str, max: usize| match line.get(field) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => {
                let n = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= max);
                n.ok_or_else(|| {
                    let got: String = value.to_string().chars().take(40).collect();
                    WireError::Length { field, got, max }
                })
            }
        };
        let (n_data, n_payload) = (length("data_length", MAX_DATA)?, length("payload_length", MAX_PAYLOAD)?);
        let data = line.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        Ok(Self { kind, data, n_data, n_payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder) -> Result<Vec<Message>, WireError> {
        std::iter::from_fn(|| decoder.read().transpose()).collect()
    }

    #[test]
    fn messages_are_read_however_they_are_cut() {
        let messages = [
            Message::new("describe", Value::Null),
            Message::new("audio-chunk", json!({"rate": 16000, "width": 2, "channels": 1}))
                .with_payload(Bytes::from_static(b"\n{}\n")),
            Message::new("transcript", json!({"text": "licht an ä"})),
        ];
        let bytes: Vec<u8> = messages.iter().flat_map(Message::to_bytes).collect();
        for n in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(n) {
                decoder.push(piece);
                got.extend(all(&mut decoder).unwrap());
            }
            assert_eq!(got, messages, "pieces of {n}");
        }
    }

    #[test]
    fn data_in_the_line_and_behind_it_are_one() {
        let mut decoder = Decoder::default();
        decoder.push(b"{\"type\": \"a\", \"data\": {\"x\": 1, \"y\": 2.0}, \"data_length\": 8}\n{\"x\": 3}");
        let message = decoder.read().unwrap().unwrap();
        assert_eq!((message.integer("x"), message.integer("y"), message.text("x")), (Some(3), Some(2), None));
    }

    #[test]
    fn lengths_that_lie_and_endless_lines_are_refused() {
        let fault = |text: &str| {
            let mut decoder = Decoder::default();
            decoder.push(text.as_bytes());
            all(&mut decoder).unwrap_err().to_string()
        };
        for length in ["10485760", "-1", "1.5", "\"9\"", "18446744073709551616"] {
            let text = format!("{{\"type\": \"a\", \"payload_length\": {length}}}\n");
            assert!(fault(&text).starts_with("payload_length ("), "{length}");
        }
        assert!(
            fault("{\"type\": \"a\", \"data_length\": 99999999}\n").starts_with("data_length (99999999)")
        );
        assert_eq!(fault("{\"type\": 3}\n"), "a message has no `type`");
        assert_eq!(fault("[1]\n"), "the line of a message is no JSON object");
        assert_eq!(
            fault("{\"type\": \"a\", \"data_length\": 3}\nabc"),
            "the data of a message is no JSON object"
        );
        assert_eq!(fault(&"x".repeat(10 << 20)), "the line of a message is longer than 65536 bytes");
        let mut waiting = Decoder::default();
        waiting.push(b"{\"type\": \"a\", \"payload_length\": 5}\n1234");
        assert_eq!(waiting.read(), Ok(None));
    }
}
