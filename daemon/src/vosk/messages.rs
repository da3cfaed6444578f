//! Requests and answers of the dialect; pure.

use serde_json::{Map, Value, json};

use crate::guest::{SpokenWord, main_speaker};

/// Rate of the audio where the client declares none, as in vosk-server.
pub(super) const DEFAULT_RATE_HZ: u32 = 8000;
/// Longest binary frame that may be a request: audio does not begin like one.
const MAX_REQUEST: usize = 64 << 10;

/// What a frame asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// How the audio is.
    Config {
        /// Its rate, where it is declared.
        rate_hz: Option<u32>,
        /// Whether vectors of voices are wanted.
        wants_vector: bool,
    },
    /// There is no more audio.
    Eof,
    /// What is recognised so far is given out.
    Reset,
}

/// Reads a request; a binary frame is one if it holds a JSON object with a known key.
///
/// # Errors
/// What is wrong with a text frame or a `config`.
pub(super) fn read(bytes: &[u8], is_text: bool) -> Result<Option<Request>, String> {
    let looks_like_one = bytes.len() <= MAX_REQUEST && bytes.trim_ascii_start().first() == Some(&b'{');
    if !is_text && !looks_like_one {
        return Ok(None);
    }
    let object: Map<String, Value> = match serde_json::from_slice(bytes) {
        Ok(object) => object,
        Err(_) if !is_text => return Ok(None),
        Err(_) => return Err("a text frame must be a JSON object with `config`, `eof` or `reset`".to_owned()),
    };
    if object.contains_key("eof") {
        return Ok(Some(Request::Eof));
    }
    if object.contains_key("reset") {
        return Ok(Some(Request::Reset));
    }
    let Some(config) = object.get("config") else {
        let keys: Vec<&str> = object.keys().map(String::as_str).take(5).collect();
        let keys: String = keys.join(", ").chars().filter(|c| !c.is_control()).take(100).collect();
        return Err(format!("a request must be `config`, `eof` or `reset`, not `{keys}`"));
    };
    let config = config.as_object().ok_or("`config` must be a JSON object")?;
    let rate_hz = match config.get("sample_rate") {
        None | Some(Value::Null) => None,
        Some(value) => Some(rate(value).ok_or_else(|| {
            let value: String = value.to_string().chars().take(40).collect();
            format!("config.sample_rate ({value}) must be a whole number from 8000 to 48000")
        })?),
    };
    let wants_vector = config.get("spk").is_some_and(|spk| *spk != Value::Bool(false) && !spk.is_null());
    Ok(Some(Request::Config { rate_hz, wants_vector }))
}

/// A rate as a number or as text; `48000.0` counts.
fn rate(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    ((8000.0..=48_000.0).contains(&number) && number.fract() == 0.0).then_some(number as u32)
}

/// What is recognised and may still change.
pub(super) fn partial(words: &[SpokenWord]) -> String {
    json!({ "partial": text(words) }).to_string()
}

/// A vector of a voice, and the frames of 10 ms that it is made of.
pub(super) struct Vector {
    pub(super) values: Vec<f32>,
    pub(super) n_frames: u64,
}

/// What is recognised for good.
pub(super) fn result(words: &[SpokenWord], vector: Option<Vector>) -> String {
    let mut object = Map::new();
    if !words.is_empty() {
        object.insert("result".to_owned(), words.iter().map(word).collect());
    }
    if let Some(who) = main_speaker(words).and_then(|word| word.speaker.as_ref()) {
        object.insert("speaker".to_owned(), who.label.as_str().into());
        if let Some(name) = &who.name {
            object.insert("name".to_owned(), name.as_str().into());
        }
        if let Some(vector) = vector {
            object.insert("spk".to_owned(), vector.values.into());
            object.insert("spk_frames".to_owned(), vector.n_frames.into());
        }
    }
    object.insert("text".to_owned(), text(words).into());
    Value::Object(object).to_string()
}

fn word(word: &SpokenWord) -> Value {
    let round = |value: f64| (value * 1e6).round() / 1e6;
    let mut value = json!({
        "conf": round(word.confidence),
        "start": round(word.start_s),
        "end": round(word.end_s),
        "word": word.text,
    });
    if let Some(who) = &word.speaker {
        value["speaker"] = who.label.as_str().into();
        if let Some(name) = &who.name {
            value["name"] = name.as_str().into();
        }
    }
    value
}

fn text(words: &[SpokenWord]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The words up to the first change of the speaker; the rest stays.
pub(super) fn first_turn(words: &mut Vec<SpokenWord>) -> Vec<SpokenWord> {
    let of = |word: &SpokenWord| word.speaker.as_ref().map(|who| who.id);
    let n = words.iter().take_while(|word| of(word) == of(&words[0])).count();
    words.drain(..n).collect()
}

/// Reads bytes as a request, for tests with damaged ones. Whether they are one.
#[must_use]
pub fn read_foreign(bytes: &[u8]) -> bool {
    matches!((read(bytes, true), read(bytes, false)), (Ok(Some(_)), Ok(Some(_))))
}

#[cfg(test)]
mod tests {
    use diarized_models::SpeakerId;

    use super::*;
    use crate::guest::Who;

    #[test]
    fn requests_come_in_any_spacing_and_kind_of_frame() {
        for text in ["{\"eof\" : 1}", "{\"eof\":1}", " {\n\"eof\"\t:true }"] {
            assert_eq!(read(text.as_bytes(), true), Ok(Some(Request::Eof)));
            assert_eq!(read(text.as_bytes(), false), Ok(Some(Request::Eof)));
        }
        let config = |text: &str| read(text.as_bytes(), true);
        let rate = |rate_hz| Ok(Some(Request::Config { rate_hz, wants_vector: false }));
        assert_eq!(
            config(r#"{"config":{"sample_rate":48000.0,"words":true,"phrase_list":["a"]}}"#),
            rate(Some(48_000))
        );
        assert_eq!(config(r#"{"config":{"sample_rate":"16000"}}"#), rate(Some(16_000)));
        assert_eq!(config(r#"{"config":{}}"#), rate(None));
        assert_eq!(
            config(r#"{"config":{"spk":true}}"#),
            Ok(Some(Request::Config { rate_hz: None, wants_vector: true }))
        );
        assert_eq!(config(r#"{"reset" : 1}"#), Ok(Some(Request::Reset)));
    }

    #[test]
    fn audio_is_no_request_and_a_faulty_one_is_named() {
        assert_eq!(read(b"{\"abc", false), Ok(None));
        assert_eq!(read(&[0, 1, 2, 3], false), Ok(None));
        let fault = |text: &str| read(text.as_bytes(), true).unwrap_err();
        assert!(fault("hello").contains("JSON object"));
        assert!(fault(r#"{"config":{"sample_rate":7}}"#).starts_with("config.sample_rate (7) must be"));
        assert!(fault(r#"{"config":[1]}"#).contains("`config`"));
        assert!(fault(r#"{"stop":1}"#).ends_with("not `stop`"));
    }

    #[test]
    fn answers_have_the_shapes_of_the_server() {
        let who = |id| Who {
            label: format!("S{id}"),
            number: id - 1,
            name: (id == 1).then(|| "Ann".to_owned()),
            voice: None,
            id: SpeakerId(id),
        };
        let word = |text: &str, id| SpokenWord {
            text: text.to_owned(),
            start_s: 0.5,
            end_s: 0.75,
            confidence: 0.1f32.into(),
            speaker: Some(who(id)),
            speaker_confidence: Some(1.0),
        };
        let mut words = vec![word("hi", 1), word("there", 1), word("no", 2)];
        let turn = first_turn(&mut words);
        assert_eq!((turn.len(), words.len()), (2, 1));
        let vector = Vector { values: vec![0.5], n_frames: 60 };
        let got: Value = serde_json::from_str(&result(&turn, Some(vector))).unwrap();
        let of = |text: &str| json!({"conf": 0.1, "start": 0.5, "end": 0.75, "word": text, "speaker": "S1", "name": "Ann"});
        let expected = json!({"result": [of("hi"), of("there")], "text": "hi there", "speaker": "S1", "name": "Ann",
            "spk": [0.5], "spk_frames": 60});
        assert_eq!(got, expected);
        assert_eq!(result(&[], None), r#"{"text":""}"#);
        assert_eq!(partial(&turn), r#"{"partial":"hi there"}"#);
    }
}
