//! Messages of a client, as frames of the protocol.

use serde_json::{Map, Value, json};

use super::messages::diarized::{Content, Format, Resume, Start};

/// A frame as of a WebSocket.
#[derive(Debug, PartialEq)]
pub(super) enum ClientFrame {
    /// Text: a message.
    Text(String),
    /// Binary: audio.
    Audio(axum::body::Bytes),
}

/// The frame of a message.
pub(super) fn frame_of(content: Content) -> ClientFrame {
    match content {
        Content::Pcm(bytes) => ClientFrame::Audio(bytes),
        Content::Start(start) => ClientFrame::Text(start_message(start).to_string()),
        Content::GapS(seconds) => {
            ClientFrame::Text(json!({"type": "gap", "duration_s": seconds}).to_string())
        }
        Content::Finalize(_) => ClientFrame::Text(json!({"type": "finalize"}).to_string()),
        Content::KeepAlive(_) => ClientFrame::Text(json!({"type": "keep_alive"}).to_string()),
        Content::Message(json) => ClientFrame::Text(json),
    }
}

/// What is empty is left out, so that it has its default.
fn start_message(start: Start) -> Value {
    let Start { session, title, audio, expected_speakers, max_speakers, latency, keep_audio, asr, resume } =
        start;
    let mut message = Map::from_iter([("type".to_owned(), json!("start"))]);
    put_text(&mut message, "session", session);
    put_text(&mut message, "title", title);
    put(&mut message, "audio", audio.map(format_object));
    let mut speakers = Map::new();
    put(&mut speakers, "expected", expected_speakers);
    put(&mut speakers, "max", max_speakers);
    put(&mut message, "speakers", (!speakers.is_empty()).then_some(speakers));
    put_text(&mut message, "latency", latency);
    put(&mut message, "keep_audio", keep_audio);
    put(&mut message, "asr", asr);
    put(&mut message, "resume", resume.map(resume_object));
    Value::Object(message)
}

fn format_object(Format { encoding, sample_rate, channels, channel }: Format) -> Value {
    let mut format = Map::new();
    put_text(&mut format, "encoding", encoding);
    put(&mut format, "sample_rate", Some(sample_rate).filter(|rate| *rate > 0));
    put(&mut format, "channels", Some(channels).filter(|n| *n > 0));
    put(&mut format, "channel", channel);
    Value::Object(format)
}

fn resume_object(Resume { session, token, received_s, since }: Resume) -> Value {
    let mut resume =
        Map::from_iter([("session".to_owned(), json!(session)), ("token".to_owned(), json!(token))]);
    put(&mut resume, "received_s", received_s);
    put(&mut resume, "since", since);
    Value::Object(resume)
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    object.extend(value.map(|value| (key.to_owned(), value.into())));
}

fn put_text(object: &mut Map<String, Value>, key: &str, text: String) {
    put(object, key, Some(text).filter(|text| !text.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ClientMessage;

    fn parsed(content: Content) -> ClientMessage {
        let ClientFrame::Text(json) = frame_of(content) else { panic!("a text frame is expected") };
        ClientMessage::parse(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn every_field_of_start_arrives_and_an_empty_one_has_its_default() {
        let ClientMessage::Start(start) = parsed(Content::Start(Start::default())) else { panic!() };
        assert_eq!(start, crate::protocol::Start::default());
        let audio = Format { encoding: "mulaw".to_owned(), sample_rate: 8000, channels: 2, channel: Some(1) };
        let all = Start {
            session: "kitchen".to_owned(),
            title: "Weekly".to_owned(),
            audio: Some(audio),
            expected_speakers: Some(2),
            max_speakers: Some(3),
            latency: "low".to_owned(),
            keep_audio: Some(false),
            asr: Some(false),
            resume: None,
        };
        let ClientMessage::Start(start) = parsed(Content::Start(all)) else { panic!() };
        let json = serde_json::to_value(&start).unwrap();
        let expected = json!({"session": "kitchen", "title": "Weekly", "latency": "low", "keep_audio": false, "asr": false,
            "audio": {"encoding": "mulaw", "sample_rate": 8000, "channels": 2, "channel": 1},
            "speakers": {"expected": 2, "max": 3}});
        assert_eq!(json, expected);
        let resume =
            Resume { session: "a".to_owned(), token: "t".to_owned(), received_s: Some(1.5), since: Some(4) };
        let resume = Start { resume: Some(resume), ..Start::default() };
        let ClientMessage::Start(start) = parsed(Content::Start(resume)) else { panic!() };
        let resume = start.resume.unwrap();
        assert_eq!((resume.received_s, resume.since, resume.token.as_str()), (Some(1.5), Some(4), "t"));
    }

    #[test]
    fn the_other_messages_are_those_of_the_protocol() {
        assert_eq!(parsed(Content::GapS(1.5)).kind(), "gap");
        assert_eq!(parsed(Content::Finalize(Default::default())).kind(), "finalize");
        assert_eq!(parsed(Content::KeepAlive(Default::default())).kind(), "keep_alive");
        let renaming = r#"{"type": "rename", "speaker": "S1", "name": "Ann"}"#;
        assert_eq!(parsed(Content::Message(renaming.to_owned())).kind(), "rename");
        assert_eq!(frame_of(Content::Pcm(vec![1, 2].into())), ClientFrame::Audio(vec![1, 2].into()));
        let ClientFrame::Text(not_finite) = frame_of(Content::GapS(f64::NAN)) else { panic!() };
        assert!(ClientMessage::parse(&not_finite).is_err(), "{not_finite}");
    }
}
