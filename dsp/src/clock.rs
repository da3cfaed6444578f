//! The sample clock: integer positions and half-open ranges at 16 kHz.

use std::fmt;

/// Rate of the internal clock, in samples a second. Every position inside the system counts at this rate.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// A position on a stream's clock, in samples at [`SAMPLE_RATE_HZ`] from the start of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SampleIndex(pub u64);

impl SampleIndex {
    /// The start of the stream.
    pub const ZERO: Self = Self(0);

    /// The position `seconds` after the start, rounded to the nearest sample; negative and non-finite values
    /// give the start.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * f64::from(SAMPLE_RATE_HZ)).round().max(0.0) as u64)
    }

    /// Seconds from the start of the stream.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / f64::from(SAMPLE_RATE_HZ)
    }

    /// The position `n_samples` later.
    #[must_use]
    pub fn plus(self, n_samples: u64) -> Self {
        Self(self.0.saturating_add(n_samples))
    }

    /// The position `n_samples` earlier, or the start of the stream if that lies before it.
    #[must_use]
    pub fn minus(self, n_samples: u64) -> Self {
        Self(self.0.saturating_sub(n_samples))
    }
}

impl fmt::Display for SampleIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.seconds())
    }
}

/// A half-open range `[start, end)` on a stream's clock; `start <= end` always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SampleRange {
    start: SampleIndex,
    end: SampleIndex,
}

impl SampleRange {
    /// The range `[start, end)`; an `end` before `start` gives the empty range at `start`.
    #[must_use]
    pub fn new(start: SampleIndex, end: SampleIndex) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The range of `n_samples` that begins at `start`.
    #[must_use]
    pub fn with_len(start: SampleIndex, n_samples: u64) -> Self {
        Self::new(start, start.plus(n_samples))
    }

    /// First sample of the range.
    #[must_use]
    pub fn start(&self) -> SampleIndex {
        self.start
    }

    /// The sample after the last one.
    #[must_use]
    pub fn end(&self) -> SampleIndex {
        self.end
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether the range holds no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.len() as f64 / f64::from(SAMPLE_RATE_HZ)
    }

    /// Whether `at` lies inside; the end does not.
    #[must_use]
    pub fn contains(&self, at: SampleIndex) -> bool {
        self.start <= at && at < self.end
    }

    /// The common part of two ranges, if it holds at least one sample.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }
}

impl fmt::Display for SampleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}–{:.3} s", self.start.seconds(), self.end.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open() {
        let range = SampleRange::with_len(SampleIndex(10), 5);
        assert!(range.contains(SampleIndex(10)) && range.contains(SampleIndex(14)));
        assert!(!range.contains(SampleIndex(15)));
        assert_eq!(range.intersection(&SampleRange::with_len(SampleIndex(15), 5)), None);
        assert_eq!(
            range.intersection(&SampleRange::with_len(SampleIndex(12), 50)),
            Some(SampleRange::new(SampleIndex(12), SampleIndex(15)))
        );
    }

    #[test]
    fn an_end_before_the_start_gives_the_empty_range() {
        assert!(SampleRange::new(SampleIndex(7), SampleIndex(3)).is_empty());
    }

    #[test]
    fn seconds_round_trip_to_the_sample() {
        for n in [0, 1, 159, 16_000, 57_600_001, 16_000 * 3600 * 48 + 7] {
            assert_eq!(SampleIndex::from_seconds(SampleIndex(n).seconds()), SampleIndex(n));
        }
        assert_eq!(SampleIndex::from_seconds(-1.0), SampleIndex::ZERO);
        assert_eq!(SampleIndex::from_seconds(f64::NAN), SampleIndex::ZERO);
    }
}
