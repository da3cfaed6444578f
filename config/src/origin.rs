//! The origin of a value, and its displayed form.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Origin of the effective value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The default.
    Default,
    /// A line of the configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// The flag with its dashes.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}

/// A value for display; `Display` writes TOML that parses to the same value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// An optional value that is not set: `null` in JSON, `"none"` in TOML.
    Unset,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(&quoted(value)),
            Self::List(values) => {
                write!(f, "[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
            }
            Self::Unset => f.write_str("\"none\""),
        }
    }
}

/// The effective value of one key and its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Section and key, such as `server.listen`.
    pub key: &'static str,
    /// The value in effect.
    pub value: Value,
    /// Its origin.
    pub origin: Origin,
}
