//! Why a session refuses a correction or words.

use diarized_models::events::{SegmentId, SpeakerId};

/// A correction that cannot be made; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorrectionError {
    /// The session has no such speaker.
    #[error("the session has no speaker {0}")]
    UnknownSpeaker(SpeakerId),
    /// The session has no such segment.
    #[error("the session has no segment {}", .0.0)]
    UnknownSegment(SegmentId),
    /// More corrections came than a session takes.
    #[error("more than {max_per_s} corrections of this session came in a second; make the rest more slowly")]
    TooMany {
        /// How many it takes.
        max_per_s: u32,
    },
    /// More words came than a session takes.
    #[error("more than {max_per_s} words a second came for this session; send the rest more slowly")]
    TooManyWords {
        /// How many it takes.
        max_per_s: u32,
    },
    /// The diarizer refuses it.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}
