//! Deepgram's live transcription, `/v1/listen`, and servers that speak like it.

use axum::http::HeaderValue;
use serde::Deserialize;

use super::answer::{Answer, word};
use super::websocket::{Dialect, Last};

/// The messages of a server at the path `configured`.
pub(super) fn dialect(
    configured: &str,
    authorization: Option<HeaderValue>,
    model: Option<&str>,
    language: Option<&str>,
) -> Dialect {
    Dialect {
        path: path(configured, model, language),
        authorization,
        hello: None,
        keep_alive: Some(r#"{"type": "KeepAlive"}"#),
        end: r#"{"type": "CloseStream"}"#,
        read,
        last: Last::Message(is_last),
    }
}

/// Path and query; a configured path stands in place of the usual one, its query before ours.
fn path(configured: &str, model: Option<&str>, language: Option<&str>) -> String {
    let base = if configured == "/" { "/v1/listen" } else { configured };
    let mark = if base.contains('?') { '&' } else { '?' };
    let mut path = format!(
        "{base}{mark}encoding=linear16&sample_rate=16000&channels=1&interim_results=true&punctuate=true"
    );
    for (key, value) in [("model", model), ("language", language)] {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", escaped(value)));
        }
    }
    path
}

/// A value of a query, percent-encoded.
fn escaped(value: &str) -> String {
    let one = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    value.bytes().map(one).collect()
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    is_final: bool,
    channel: Option<serde_json::Value>,
    description: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Channel {
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    transcript: String,
    #[serde(default)]
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    word: String,
    punctuated_word: Option<String>,
    start: f64,
    end: f64,
    confidence: Option<f64>,
}

/// The answer in a message; nothing if it has none.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let message: Message = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if message.r#type == "Error" {
        let reason = message.description.or(message.message).unwrap_or_default();
        return Err(reason.chars().filter(|c| !c.is_control()).take(200).collect());
    }
    // `SpeechStarted` has a channel too, of another shape.
    let Some(channel) = message.channel.filter(|_| message.r#type == "Results") else { return Ok(None) };
    let channel: Channel = serde_json::from_value(channel).map_err(|error| error.to_string())?;
    let Some(best) = channel.alternatives.into_iter().next() else { return Ok(None) };
    let words = best.words.into_iter();
    let words: Vec<_> = words
        .map(|w| word(w.start, w.end, w.punctuated_word.as_ref().unwrap_or(&w.word), w.confidence))
        .collect();
    Ok(Some(match words.is_empty() && !best.transcript.is_empty() {
        true => Answer::text(best.transcript, message.is_final),
        false => Answer::timed(words, message.is_final),
    }))
}

fn is_last(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Message>(bytes).is_ok_and(|message| message.r#type == "Metadata")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_server_are_read() {
        let results = br#"{"type":"Results","channel_index":[0,1],"duration":1.98,"start":5.99,"is_final":true,"channel":
            {"alternatives":[{"transcript":"Yep.","confidence":0.99,"words":[{"word":"yep","start":6.0,"end":6.4,
            "confidence":0.99,"punctuated_word":"Yep.","speaker":0}]}]}}"#;
        let expected = Answer::timed(vec![word(6.0, 6.4, "Yep.", Some(0.99))], true);
        assert_eq!(read(results), Ok(Some(expected)));
        assert_eq!(read(br#"{"type":"SpeechStarted","channel":[0,1],"timestamp":1.5}"#), Ok(None));
        let metadata = br#"{"type":"Metadata","duration":2.0}"#;
        assert_eq!(read(metadata), Ok(None));
        assert!(is_last(metadata) && !is_last(results));
        let fault = br#"{"type":"Error","description":"no credits\u001b","message":"x"}"#;
        assert_eq!(read(fault), Err("no credits".to_owned()));
        assert!(read(b"nothing").is_err());
    }

    #[test]
    fn the_query_asks_for_what_is_sent() {
        let usual = path("/", Some("nova 3"), Some("en"));
        assert!(usual.starts_with("/v1/listen?encoding=linear16&sample_rate=16000"), "{usual}");
        assert!(usual.ends_with("&model=nova%203&language=en"), "{usual}");
        assert!(path("/x?a=b", None, None).starts_with("/x?a=b&encoding="));
    }
}
