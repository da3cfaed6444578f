//! Normalisation of JSON from clients: removes null fields, and turns floats without fraction into whole numbers.
//!
//! Languages without integers write 48000 as `48000.0`, and those without absent fields write null.

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::object::Object;

/// Largest whole number that a float holds exactly, 2^53.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Some programs begin every text with it; JSON has no use for it (RFC 8259, section 8.1).
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Words of serde for types, and those for users.
const WORDS: [(&str, &str); 8] = [
    ("invalid type: sequence", "invalid type: an array"),
    ("invalid type: map", "invalid type: an object"),
    ("expected a sequence", "expected an array"),
    ("expected string or map", "expected a string"),
    ("expected u16", "expected a whole number from 0 to 65535"),
    ("expected u32", "expected a whole number from 0 to 4294967295"),
    ("expected u64", "expected a whole number from 0"),
    ("expected f64", "expected a number"),
];

/// The same value without fields that are null, and with integers where floats are whole. The depth of a value is bounded
/// by the parser that made it.
pub(crate) fn settled(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name, settled(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(settled).collect()),
        Value::Number(number) => Value::Number(whole(&number).unwrap_or(number)),
        other => other,
    }
}

fn whole(number: &Number) -> Option<Number> {
    let value = number.as_f64().filter(|_| number.is_f64())?;
    (value.fract() == 0.0 && value.abs() <= MAX_WHOLE).then(|| Number::from(value as i64))
}

/// Reads a body of JSON as all messages of clients are read.
///
/// # Errors
/// What is wrong with it, for the client.
pub(crate) fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let body = body.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(body);
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    let read = read_value(settled(value)).map_err(|error| format!("the body: {error}"));
    read.map(|Object(body)| body)
}

/// Reads a settled value.
///
/// # Errors
/// Which field is wrong, with those around it, and how.
pub(crate) fn read_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // These name the field by themselves.
        let is_named = path == "." || reason.starts_with("unknown field");
        let reason = WORDS.iter().fold(reason, |text, (of_rust, plain)| text.replace(of_rust, plain));
        if is_named { reason } else { format!("{path}: {reason}") }
    })
}

/// Reads a number of a query, where whole numbers may be written as floats, too.
pub(crate) fn read_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && value.abs() <= MAX_WHOLE).then(|| (value as i64).to_string().parse().ok())?
}

/// The first parameter of a query that is given more than once: which value counts is anybody's guess.
pub(crate) fn repeated(query: &[(String, String)]) -> Option<String> {
    let is_repeated = |at: usize| query[..at].iter().any(|(key, _)| *key == query[at].0);
    let at = (0..query.len()).find(|at| is_repeated(*at))?;
    Some(format!("query parameter {} is given more than once; give it once", query[at].0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_absent_and_whole_floats_are_whole() {
        let value =
            json!({"a": null, "b": 48000.0, "c": {"d": null, "e": [1.0, 2.5, "x", {"f": null}]}, "g": -0.0});
        assert_eq!(settled(value), json!({"b": 48000, "c": {"e": [1, 2.5, "x", {}]}, "g": 0}));
        for kept in [json!(1e300), json!(0.5), json!(u64::MAX), json!(true), json!("1.0")] {
            assert_eq!(settled(kept.clone()), kept);
        }
    }

    #[test]
    fn a_field_that_is_wrong_is_named_with_those_around_it() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            _rate: u32,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer {
            _list: Vec<Inner>,
        }
        let error = |value| read_value::<Outer>(value).unwrap_err();
        assert_eq!(
            error(json!({"_list": [{"_rate": 1}, {"_rate": 2.5}]})),
            "_list[1]._rate: invalid type: floating point `2.5`, expected a whole number from 0 to 4294967295"
        );
        assert_eq!(error(json!({"_list": [{}]})), "_list[0]: missing field `_rate`");
        assert_eq!(error(json!({})), "missing field `_list`");
        assert_eq!(error(json!({"_list": [], "x": 1})), "unknown field `x`, expected `_list`");
    }

    #[test]
    fn a_body_is_an_object() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct It {
            _name: String,
        }
        let error = |body: &str| read_body::<It>(body.as_bytes()).unwrap_err();
        assert_eq!(error(r#"["Ann"]"#), "the body: invalid type: an array, expected an object");
        assert_eq!(error("7"), "the body: invalid type: integer `7`, expected an object");
        assert_eq!(error(r#"{"_name": {}}"#), "the body: _name: invalid type: an object, expected a string");
        assert!(read_body::<It>(br#"{"_name": "Ann"}"#).is_ok());
        assert!(read_body::<It>("\u{feff}{\"_name\": \"Ann\"}".as_bytes()).is_ok());
    }

    #[test]
    fn a_parameter_is_given_once() {
        let query = |keys: &[&str]| {
            repeated(&keys.iter().map(|key| ((*key).to_owned(), String::new())).collect::<Vec<_>>())
        };
        assert_eq!(query(&["session", "since"]), None);
        assert_eq!(
            query(&["channels", "session", "channels"]).unwrap(),
            "query parameter channels is given more than once; give it once"
        );
    }

    #[test]
    fn numbers_of_a_query_are_read_alike() {
        assert_eq!(read_number::<u32>("16000.0"), Some(16_000));
        assert_eq!(read_number::<u16>("1"), Some(1));
        assert_eq!(read_number::<u32>("1.6e4"), Some(16_000));
        assert_eq!(read_number::<f64>("0.5"), Some(0.5));
        for bad in ["16000.5", "-1.0", "1e99", "", "one", "NaN", "inf"] {
            assert_eq!(read_number::<u32>(bad), None, "{bad}");
        }
        assert_eq!(read_number::<u16>("70000.0"), None);
    }
}
