//! What the server answers, as messages; pure.

use serde_json::{Value, json};

use super::message::Message;
use crate::guest::{SpokenWord, Who, main_speaker};

/// What `describe` is answered with.
pub(super) fn info(languages: &[String]) -> Message {
    let about = || {
        json!({
            "attribution": {"name": "diarized", "url": "https://github.com/diarized/diarized"},
            "installed": true,
            "description": "Who is speaking, and what a recogniser of yours understands",
            "version": env!("CARGO_PKG_VERSION"),
        })
    };
    let with = |name: &str, more: Value| {
        let mut value = about();
        value["name"] = name.into();
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    };
    let model = with("diarized", json!({"languages": languages}));
    let program = with("diarized", json!({"models": [model], "supports_transcript_streaming": true}));
    Message::new(
        "info",
        json!({"asr": [program], "tts": [], "handle": [], "intent": [], "wake": [], "mic": [], "snd": []}),
    )
}

/// The words of an utterance, and who spoke them, as one answer.
pub(super) fn transcript(
    words: &[SpokenWord],
    has_words: bool,
    template: &str,
    language: Option<&str>,
    knows_voices: bool,
) -> Message {
    let text = if has_words { text(words, template) } else { String::new() };
    let mut data = json!({"text": text});
    if let Some(language) = language {
        data["language"] = language.into();
    }
    if let Some(context) = context(words, knows_voices) {
        data["context"] = context;
    }
    Message::new("transcript", data)
}

/// Context of a transcript: the speaker of most of its speech; `None` without a speaker.
pub(super) fn context(words: &[SpokenWord], knows_voices: bool) -> Option<Value> {
    let word = main_speaker(words)?;
    let who = word.speaker.as_ref()?;
    let mut speaker = json!({"id": who.label});
    if let Some(name) = &who.name {
        speaker["name"] = name.as_str().into();
    }
    if let Some((voice, probability)) = &who.voice {
        speaker["voice"] = voice.as_str().into();
        speaker["probability"] = rounded(*probability);
    }
    if knows_voices {
        speaker["stranger"] = who.voice.is_none().into();
    }
    Some(json!({ "speaker": speaker }))
}

fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

/// The words, and before each change of the speaker what the template says.
fn text(words: &[SpokenWord], template: &str) -> String {
    let mut parts: Vec<(Option<&Who>, Vec<&str>)> = Vec::new();
    for word in words {
        let who = word.speaker.as_ref();
        match parts.last_mut() {
            Some((last, texts)) if last.map(|who| who.id) == who.map(|who| who.id) => texts.push(&word.text),
            _ => parts.push((who, vec![&word.text])),
        }
    }
    let filled = parts.into_iter().map(|(who, texts)| {
        let text = texts.join(" ");
        match who {
            None => text,
            Some(who) => fill(template, who, &text),
        }
    });
    filled.collect::<Vec<_>>().join(" ")
}

/// The template with its fields, each replaced once: texts are not looked at for fields.
fn fill(template: &str, who: &Who, text: &str) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let fields = [("{name}", who.shown()), ("{speaker}", who.label.as_str()), ("{text}", text)];
        let field = fields.into_iter().find(|(field, _)| rest.starts_with(field));
        let (n, value) = field.map_or((1, "{"), |(field, value)| (field.len(), value));
        filled.push_str(value);
        rest = &rest[n..];
    }
    filled.push_str(rest);
    filled
}

/// A fault of the client.
pub(super) fn error(text: &str, code: &str) -> Message {
    Message::new("error", json!({"text": text, "code": code}))
}

/// Begin or end of speech, in milliseconds.
pub(super) fn voice(is_speech: bool, at_s: f64) -> Message {
    let kind = if is_speech { "voice-started" } else { "voice-stopped" };
    Message::new(kind, json!({"timestamp": (at_s * 1000.0).round().max(0.0) as u64}))
}

#[cfg(test)]
mod tests {
    use diarized_models::SpeakerId;

    use super::*;

    fn word(text: &str, who: Option<(u32, Option<&str>)>) -> SpokenWord {
        let who = who.map(|(id, name)| Who {
            label: format!("S{id}"),
            number: id - 1,
            name: name.map(str::to_owned),
            voice: name.map(|_| ("v1".to_owned(), 0.98765)),
            id: SpeakerId(id),
        });
        SpokenWord {
            text: text.to_owned(),
            start_s: 0.0,
            end_s: text.len() as f64,
            confidence: 1.0,
            speaker_confidence: who.as_ref().map(|_| 0.9),
            speaker: who,
        }
    }

    #[test]
    fn the_speaker_is_in_the_context_and_by_template_in_the_text() {
        let ann = Some((1, Some("Ann")));
        let words = [word("turn", ann), word("on", ann), word("{name}", ann), word("no", Some((2, None)))];
        let got = transcript(&words, true, "[{name}] {text}", Some("en"), true);
        let context = json!({"speaker":
            {"id": "S1", "name": "Ann", "voice": "v1", "probability": 0.988, "stranger": false}});
        let expected = json!({"text": "[Ann] turn on {name} [S2] no", "language": "en", "context": context});
        assert_eq!(Value::Object(got.data), expected);
        let plain = transcript(&words, true, "{text}", None, false);
        assert_eq!(plain.text("text"), Some("turn on {name} no"));
        assert_eq!(transcript(&words, false, "{text}", None, false).text("text"), Some(""));
    }

    #[test]
    fn a_stranger_is_called_one_only_where_people_are_known() {
        let words = [word("hello", Some((3, None)))];
        assert_eq!(context(&words, true), Some(json!({"speaker": {"id": "S3", "stranger": true}})));
        assert_eq!(context(&words, false), Some(json!({"speaker": {"id": "S3"}})));
        assert_eq!(context(&[word("hello", None)], true), None);
    }
}
