//! Faults of a configuration and their messages.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::origin::Origin;

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file, as it was named.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("the configuration file {} is longer than {limit} bytes: is it the right file?", path.display())]
    TooLong {
        /// The file, as it was named.
        path: PathBuf,
        /// Size limit, in bytes.
        limit: u64,
    },
    /// The file is not UTF-8.
    #[error("the configuration file {} is not UTF-8 text (byte {offset}): is it the right file?", path.display())]
    NotText {
        /// The file, as it was named.
        path: PathBuf,
        /// Offset of the first byte that is not text.
        offset: usize,
    },
    /// Values are wrong; all of them are reported.
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// Every fault of a configuration: those of the file by line, then the environment's and the flags'. At least one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct Faults {
    faults: Vec<Fault>,
}

impl Faults {
    /// `None` if there is no fault.
    pub(crate) fn try_new(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by_key(|fault| match &fault.origin {
            Origin::Default => (0, 0),
            Origin::File { line, .. } => (1, *line),
            Origin::Environment { .. } => (2, 0),
            Origin::Flag { .. } => (3, 0),
        });
        (!faults.is_empty()).then_some(Self { faults })
    }

    /// The faults, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for Faults {
    /// One line if there is one fault, else a heading and one line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = &self.faults[..] {
            return write!(f, "{fault}");
        }
        write!(f, "the configuration has {} faults:", self.faults.len())?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

/// One fault and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Origin of the value. For a rule between two keys, the origin of the first.
    pub origin: Origin,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.kind)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The file is not TOML. Values after such a line cannot be trusted, so these faults come alone.
    #[error("not TOML: {message}")]
    Syntax {
        /// Message of the parser.
        message: String,
    },
    /// No such key or section.
    #[error("unknown {} {key}; {}", kind_of(key), hint(suggestion.as_deref()))]
    UnknownKey {
        /// Section and key as written; a section alone is in brackets.
        key: String,
        /// A known key that looks like it.
        suggestion: Option<String>,
    },
    /// A section's name is used as a key with a plain value.
    #[error("{key} = {got}: expected a section, written [{key}]")]
    NotASection {
        /// The section's name.
        key: String,
        /// The value as written.
        got: String,
    },
    /// The value has the wrong type or is outside the allowed range.
    #[error("{key} = {got}: expected {expected}")]
    Value {
        /// Section and key, as written where a former name still works.
        key: &'static str,
        /// The value as written.
        got: String,
        /// Allowed type, unit and range.
        expected: String,
    },
    /// One source has a key under its former and its present name.
    #[error("{key} and {now} ({other}) are the same key; remove {key}, its former name")]
    BothNames {
        /// The former name.
        key: &'static str,
        /// The present name.
        now: &'static str,
        /// Origin of the value under the present name.
        other: Origin,
    },
    /// Two values that contradict each other.
    #[error("{key} ({value}) must be {relation} {other_key} ({other_value})")]
    Rule {
        /// Section and key.
        key: &'static str,
        /// Its value.
        value: String,
        /// `<=` or `<`.
        relation: &'static str,
        /// Section and key of the other value.
        other_key: &'static str,
        /// The other value.
        other_value: String,
    },
}

fn kind_of(key: &str) -> &'static str {
    if key.starts_with('[') { "section" } else { "key" }
}

fn hint(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(key) => format!("did you mean {key}?"),
        None => "`diarized config --default` lists every key".to_owned(),
    }
}

fn became(now: Option<&str>) -> String {
    match now {
        Some(now) => format!("is now {now}; the former name still works"),
        None => "was removed and is ignored; remove it".to_owned(),
    }
}

/// A problem that is reported and does not stop the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A variable with the prefix names no key. Not a fault, because orchestrators put variables of their
    /// own into the environment (a Kubernetes service named `diarized` sets `DIARIZED_SERVICE_HOST`).
    #[error("environment {name} names no key and is ignored; {}", hint(suggestion.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// A similar variable that names a key.
        suggestion: Option<String>,
    },
    /// A key has the name of an earlier version. A renamed key has its effect; a removed key has none.
    #[error("{origin}: {key} {}", became(*now))]
    FormerKey {
        /// Origin of the value.
        origin: Origin,
        /// The former name.
        key: &'static str,
        /// The present name; `None` for a removed key.
        now: Option<&'static str>,
    },
}
