//! What comes next in a file.

use super::error::AudioProblem;

/// What one step of decoding gave.
pub(super) enum Step {
    /// Samples were appended, or there were none in this step.
    Samples,
    /// Number of missing frames before the next samples.
    Gap(u64),
    /// The file is at its end, or cannot be read further because of the problem; the last samples may have come.
    End(Option<AudioProblem>),
}

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Samples.
    Samples,
    /// Number of missing frames, more than a second, before the next samples.
    Gap(u64),
    /// Nothing.
    End,
}
