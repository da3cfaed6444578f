//! Origin of a session's audio.

use strum::{EnumString, IntoStaticStr};

/// Where a session's audio comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// A client on `/v1/stream`.
    Stream,
    /// The capture device of this machine.
    Microphone,
}

impl Source {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
