//! Why a session ended, as a word on the wire.

use serde::{Deserialize, Serialize};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The publisher sent `close`, or closed the socket properly.
    Closed,
    /// The publisher's connection broke.
    Disconnected,
    /// The publisher was silent for too long.
    Idle,
    /// The publisher broke the protocol.
    BadRequest,
    /// A client ended it over HTTP.
    Deleted,
    /// The capture device stopped for good.
    SourceEnded,
    /// The server shuts down.
    Shutdown,
    /// A fault of the server.
    Failed,
    /// The process ended in the middle of it; what was written until then is kept.
    Interrupted,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Closed,
        Self::Disconnected,
        Self::Idle,
        Self::BadRequest,
        Self::Deleted,
        Self::SourceEnded,
        Self::Shutdown,
        Self::Failed,
        Self::Interrupted,
    ];

    /// Reads the word on the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Disconnected => "disconnected",
            Self::Idle => "idle",
            Self::BadRequest => "bad_request",
            Self::Deleted => "deleted",
            Self::SourceEnded => "source_ended",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}
