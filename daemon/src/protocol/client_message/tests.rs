//! Messages of every type, and what is wrong with bad ones.

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
            title: Some("Weekly".into()),
            speakers: SpeakerHints { expected: Some(3), max: None },
            latency: Some(Latency::High),
            keep_audio: Some(false),
            asr: Some(false),
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
        ClientMessage::Words(SendWords { words: Vec::new(), is_final: false }),
        ClientMessage::Title(SetTitle { title: "Weekly".into() }),
        ClientMessage::Note(WriteNote { id: Some(3), segment: Some(7), text: "who?".into() }),
        ClientMessage::Undo(Undo { correction: Some(4) }),
        ClientMessage::Redo(Redo { correction: Some(4) }),
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
    let (code, text) = error(r#"{"type":"start","audio":{"sample_rate":"48000"}}"#);
    let expected = "`start`: audio.sample_rate: invalid type: string \"48000\", expected a whole number from 0 to 4294967295";
    assert_eq!((code, text.as_str()), (ErrorCode::BadMessage, expected));
    let (code, text) = error(r#"{"type":"start","audio":{"encoding":"opus"}}"#);
    assert_eq!((code, text.contains("pcm_s16le")), (ErrorCode::BadMessage, true), "{text}");
}

/// A message of every type, with every field.
fn messages() -> Vec<Value> {
    let texts = [
        r#"{"type":"start","audio":{"encoding":"pcm_s16le","sample_rate":48000,"channels":2,"channel":1},
            "session":"a","title":"Weekly","speakers":{"expected":2,"max":3},"latency":"low",
            "resume":{"session":"a","token":"t","received_s":2,"since":4}}"#,
        r#"{"type":"keep_alive"}"#,
        r#"{"type":"finalize"}"#,
        r#"{"type":"gap","duration_s":2}"#,
        r#"{"type":"rename","speaker":"S1","name":"Ada"}"#,
        r#"{"type":"merge","from":"S2","into":"S1"}"#,
        r#"{"type":"reassign","segment":7,"speaker":"S2"}"#,
        r#"{"type":"split","speaker":"S2","segments":[5,7]}"#,
        r#"{"type":"words","words":[{"start":1,"end":2,"text":"hello","confidence":1}],"final":false}"#,
        r#"{"type":"title","title":"Weekly"}"#,
        r#"{"type":"note","id":3,"segment":7,"text":"who?"}"#,
        r#"{"type":"undo","correction":4}"#,
        r#"{"type":"redo","correction":4}"#,
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
    assert!(
        text.contains("audio.sample_rate") && text.contains("48000.5") && text.contains("a whole number"),
        "{text}"
    );
}

/// Serde takes an array for an object, field by field. Here an array is refused.
#[test]
fn an_array_is_no_object_in_any_field_of_any_type() {
    let mut n_objects = 0;
    for message in messages() {
        let mut arrays = Vec::new();
        let array = |inner: &Value| match inner {
            Value::Object(fields) => Some(Value::Array(fields.values().cloned().collect())),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let values = items.iter().map(|item| item.as_object().unwrap().values().cloned().collect());
                Some(Value::Array(values.collect()))
            }
            other => Some(other.clone()),
        };
        with_each_field(&message, &array, &mut arrays);
        for changed in arrays.iter().filter(|changed| **changed != message) {
            n_objects += 1;
            let (code, text) = error(&changed.to_string());
            assert_eq!(code, ErrorCode::BadMessage, "{changed}");
            assert!(text.contains("invalid type: an array, expected an object"), "{changed}: {text}");
        }
    }
    assert_eq!(n_objects, 4, "audio, speakers, resume, words");
    let text = error(r#"{"type":"start","audio":[]}"#).1;
    assert_eq!(text, "`start`: audio: invalid type: an array, expected an object");
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(ClientMessage::parse("\u{feff}{\"type\":\"close\"}"), Ok(ClientMessage::Close(Close {})));
    assert_eq!(error("\u{feff}").0, ErrorCode::BadMessage);
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
