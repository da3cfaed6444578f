//! Origin of a session's audio.

/// Where a session's audio comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A client on `/v1/stream`.
    Stream,
    /// The capture device of this machine.
    Microphone,
}

impl Source {
    /// Reads the word on the wire.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Stream, Self::Microphone].into_iter().find(|source| source.as_str() == word)
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Microphone => "microphone",
        }
    }
}
