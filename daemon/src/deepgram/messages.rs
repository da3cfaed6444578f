//! Messages of the dialect, both ways; pure.

use serde::Deserialize;
use serde_json::{Value, json};

use super::query::Wishes;
use crate::guest::SpokenWord;

/// What a client says besides audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    KeepAlive,
    Finalize,
    CloseStream,
}

/// Reads a text frame.
///
/// # Errors
/// The type that is not offered, or what is no message.
pub(super) fn read(text: &str) -> Result<Control, String> {
    #[derive(Deserialize)]
    struct Message {
        r#type: String,
    }
    let message: Message = serde_json::from_str(text)
        .map_err(|_| "a text frame must be a JSON object with `type`".to_owned())?;
    match message.r#type.as_str() {
        "KeepAlive" => Ok(Control::KeepAlive),
        "Finalize" => Ok(Control::Finalize),
        "CloseStream" => Ok(Control::CloseStream),
        other => {
            let other: String = other.chars().filter(|c| !c.is_control()).take(60).collect();
            Err(format!("the message {other} is not offered here; KeepAlive, Finalize and CloseStream are"))
        }
    }
}

/// What is the same in all messages of a stream.
#[derive(Debug)]
pub(super) struct About {
    pub(super) request_id: String,
    pub(super) model: String,
    pub(super) n_channels: u16,
}

/// How final a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finality {
    Interim,
    Final,
    /// Final because the client asked for it.
    Finalized,
}

/// Words of the stream from `start_s` to `end_s`.
pub(super) fn results(
    words: &[SpokenWord],
    (start_s, end_s): (f64, f64),
    finality: Finality,
    about: &About,
    wishes: &Wishes,
) -> String {
    let transcript = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let n = words.len().max(1) as f64;
    let confidence = words.iter().map(|word| word.confidence).sum::<f64>() / n;
    let words: Vec<Value> = words.iter().map(|spoken| word(spoken, wishes.diarize)).collect();
    json!({
        "type": "Results",
        "channel_index": [0, 1],
        "start": rounded(start_s),
        "duration": rounded((end_s - start_s).max(0.0)),
        "is_final": finality != Finality::Interim,
        "speech_final": finality != Finality::Interim,
        "from_finalize": finality == Finality::Finalized,
        "channel": {"alternatives": [
            {"transcript": transcript, "confidence": rounded(confidence), "words": words},
        ]},
        "metadata": {
            "request_id": about.request_id,
            "model_info": {"name": about.model, "version": env!("CARGO_PKG_VERSION"), "arch": "diarized"},
            "model_uuid": about.request_id,
        },
    })
    .to_string()
}

fn word(word: &SpokenWord, diarize: bool) -> Value {
    let mut value = json!({
        "word": word.text,
        "punctuated_word": word.text,
        "start": rounded(word.start_s),
        "end": rounded(word.end_s),
        "confidence": rounded(word.confidence),
    });
    if let Some(who) = word.speaker.as_ref().filter(|_| diarize) {
        value["speaker"] = who.number.into();
        value["speaker_confidence"] = rounded(word.speaker_confidence.unwrap_or(1.0));
        if let Some(name) = &who.name {
            value["speaker_name"] = name.as_str().into();
        }
    }
    value
}

/// The last message.
pub(super) fn metadata(about: &About, created: &str, duration_s: f64) -> String {
    json!({
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": about.request_id,
        "sha256": "",
        "created": created,
        "duration": rounded(duration_s),
        "channels": about.n_channels,
        "models": [about.model],
    })
    .to_string()
}

/// The begin of speech.
pub(super) fn speech_started(at_s: f64) -> String {
    json!({"type": "SpeechStarted", "channel": [0, 1], "timestamp": rounded(at_s)}).to_string()
}

/// A fault, before the close.
pub(super) fn error(description: &str, code: &str) -> String {
    json!({"type": "Error", "description": description, "message": description, "variant": code, "code": code})
        .to_string()
}

fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

/// Reads bytes as a message of a client, for tests with damaged ones. Whether they are one.
#[must_use]
pub fn read_foreign(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| read(text).is_ok())
}

#[cfg(test)]
mod tests {
    use diarized_models::SpeakerId;

    use super::*;
    use crate::guest::Who;
    use crate::protocol::AudioFormat;

    #[test]
    fn words_have_their_speakers_where_they_are_wanted() {
        let who = Who {
            label: "S2".to_owned(),
            number: 1,
            name: Some("Ann".to_owned()),
            voice: None,
            id: SpeakerId(2),
        };
        let spoken = SpokenWord {
            text: "Yep.".to_owned(),
            start_s: 6.0,
            end_s: 6.4,
            confidence: 0.99,
            speaker: Some(who),
            speaker_confidence: Some(0.9),
        };
        let about = About { request_id: "r".to_owned(), model: "m".to_owned(), n_channels: 1 };
        let mut wishes = Wishes {
            format: AudioFormat::default(),
            diarize: true,
            interim_results: true,
            vad_events: false,
            model: "m".to_owned(),
        };
        let of = |wishes: &Wishes| -> Value {
            let text = results(std::slice::from_ref(&spoken), (5.99, 7.97), Finality::Final, &about, wishes);
            serde_json::from_str(&text).unwrap()
        };
        let got = of(&wishes);
        let best = &got["channel"]["alternatives"][0];
        assert_eq!(best["words"][0]["speaker"], 1);
        assert_eq!(best["words"][0]["speaker_name"], "Ann");
        assert_eq!(
            (&got["duration"], &got["is_final"], &got["from_finalize"]),
            (&json!(1.98), &json!(true), &json!(false))
        );
        wishes.diarize = false;
        assert!(of(&wishes)["channel"]["alternatives"][0]["words"][0].get("speaker").is_none());
    }

    #[test]
    fn messages_are_read_and_others_refused_by_name() {
        assert_eq!(read(r#"{"type": "Finalize"}"#), Ok(Control::Finalize));
        assert_eq!(read(r#"{"type":"KeepAlive","x":1}"#), Ok(Control::KeepAlive));
        assert_eq!(read(r#"{"type":"CloseStream"}"#), Ok(Control::CloseStream));
        assert!(
            read(r#"{"type":"Configure"}"#).unwrap_err().starts_with("the message Configure is not offered")
        );
        assert!(read("[]").is_err() && read("x").is_err());
    }
}
