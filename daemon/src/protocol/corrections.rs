//! Messages about corrections: what was corrected, by whom, and what can be undone.

use serde::{Deserialize, Serialize};

use super::decimal::Seconds;

/// A note on the session or on one of its segments; without a text it is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Identity within the session; never used again.
    pub id: u64,
    /// The segment that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// Its text, plain and of any number of lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A correction that can be undone or made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correctable {
    /// Its number within the session.
    pub id: u64,
    /// What it does: the `type` of its message, or `voice`.
    pub kind: String,
}

/// A correction was made; the events before this one are its effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// Number of the correction, counted from 1 in each session.
    pub id: u64,
    /// What it does: the `type` of its message, or `voice`.
    pub kind: String,
    /// Number of the correction that was undone or made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Name of the token that made it; none on a server without tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub unix_s: Seconds,
    /// The correction that `undo` would take back now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Correctable>,
    /// The correction that `redo` would make again now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo: Option<Correctable>,
}
