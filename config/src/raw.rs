//! A value as written by the user, before its key gives it a type.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::origin::Origin;

/// A value as written, without the type of its key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RawValue {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<RawValue>),
    /// TOML not accepted by any key: a table, a date, a number beyond 64 bits.
    Other,
    /// From the environment or a flag: its type depends on the key.
    Untyped(String),
}

/// A value as written and its origin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raw {
    pub(crate) value: RawValue,
    /// The text as written, shortened for messages.
    pub(crate) shown: String,
    pub(crate) origin: Origin,
    /// The former key under which it was written.
    pub(crate) written_as: Option<&'static str>,
}

impl Raw {
    pub(crate) fn new(value: RawValue, shown: String, origin: Origin) -> Self {
        Self { value, shown, origin, written_as: None }
    }
}

/// The folder of relative paths in a value, if the value is from a file.
pub(crate) fn base_folder(origin: &Origin) -> Option<PathBuf> {
    match origin {
        Origin::File { path, .. } => path.parent().map(Path::to_owned),
        _ => None,
    }
}

/// The value of a TOML item.
pub(crate) fn raw_value(value: &DeValue<'_>) -> RawValue {
    match value {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Boolean(value) => RawValue::Boolean(*value),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(RawValue::Other, RawValue::Integer)
        }
        DeValue::Float(number) => number.as_str().parse().map_or(RawValue::Other, RawValue::Number),
        DeValue::Array(items) => RawValue::List(items.iter().map(|item| raw_value(item.get_ref())).collect()),
        DeValue::Table(_) | DeValue::Datetime(_) => RawValue::Other,
    }
}

/// At most about sixty characters on one line, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(MAX_CHARS).map(printable).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    short
}
