//! A value as a user writes it, before its key gives it a type.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::origin::Origin;

/// A value as written, before it is known which type its key has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RawValue {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<RawValue>),
    /// TOML that no key accepts: a table, a date, a number beyond 64 bits.
    Other,
    /// From the environment or a flag: the key decides how to read it.
    Untyped(String),
}

/// A value as written and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raw {
    pub(crate) value: RawValue,
    /// The text as written, shortened for messages.
    pub(crate) shown: String,
    pub(crate) origin: Origin,
}

/// The folder that relative paths of a value are relative to, if it was written in a file.
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
