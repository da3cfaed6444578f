//! Limits on the number of speakers.

use super::memory::MemoryParams;

/// How many clusters there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// No merging below this number, and splitting up to it at the end of the stream.
    pub(super) least: usize,
    /// Merging down to this number.
    pub(super) most: usize,
}

impl Limits {
    /// No limit.
    #[cfg(test)]
    pub(super) const NONE: Self = Self { least: 1, most: usize::MAX };

    /// The limits of a session that shows `n_elsewhere` speakers without exemplars in its memory.
    pub(super) fn of(params: &MemoryParams, n_elsewhere: usize) -> Self {
        let rest = |n: usize| n.saturating_sub(n_elsewhere).max(1);
        let most = params.max_speakers.or(params.expected_speakers).map_or(usize::MAX, rest);
        Self { least: params.expected_speakers.map_or(1, rest).min(most), most }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::memory_of;
    use super::*;

    #[test]
    fn speakers_outside_the_memory_count_against_the_limits() {
        let limits = |max, expected, n_elsewhere| {
            let limits = Limits::of(&memory_of(max, expected).params, n_elsewhere);
            (limits.least, limits.most)
        };
        assert_eq!(limits(None, None, 3), (1, usize::MAX));
        assert_eq!(limits(Some(4), None, 1), (1, 3));
        assert_eq!(limits(None, Some(3), 1), (2, 2));
        assert_eq!(limits(Some(5), Some(3), 0), (3, 5));
        assert_eq!(limits(Some(2), None, 7), (1, 1));
    }
}
