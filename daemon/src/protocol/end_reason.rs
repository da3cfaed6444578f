//! Why a session ended, as a word on the wire.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// Why a session ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
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
    /// The token that opened it has used its audio of the day.
    QuotaExceeded,
    /// The server shuts down.
    Shutdown,
    /// A fault of the server.
    Failed,
    /// The process ended in the middle of it; what was written until then is kept.
    Interrupted,
}

impl EndReason {
    /// Every reason.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
