//! Turns and sets of disjoint spans in exact time: the ground that scoring stands on.

use crate::rttm::{Nanos, SpeakerTurn};

/// A half-open stretch of time `[start, end)` of one recording, in exact time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First instant.
    pub start: Nanos,
    /// The instant after the last one; a span whose end is not after its start holds nothing.
    pub end: Nanos,
}

impl Span {
    /// The span from `start` to `end`.
    #[must_use]
    pub fn new(start: Nanos, end: Nanos) -> Self {
        Self { start, end }
    }

    /// Length in nanoseconds; 0 for a span that holds nothing.
    #[must_use]
    pub fn len_ns(&self) -> i64 {
        (self.end.0 - self.start.0).max(0)
    }

    /// Whether the span holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// The common part of two spans; it may hold nothing.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// A region of one speaker's speech, as scoring sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Where the speech is.
    pub span: Span,
    /// Who speaks; equal texts are one speaker.
    pub speaker: String,
}

impl Turn {
    /// The turn of `speaker` from `start` to `end`.
    #[must_use]
    pub fn new(start: Nanos, end: Nanos, speaker: impl Into<String>) -> Self {
        Self { span: Span::new(start, end), speaker: speaker.into() }
    }
}

impl From<&SpeakerTurn> for Turn {
    fn from(line: &SpeakerTurn) -> Self {
        Self::new(line.start, line.end(), line.speaker.clone())
    }
}

/// Sorts spans and joins those that touch or overlap; spans that hold nothing vanish. O(n log n).
#[must_use]
pub fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

/// The parts of `from` outside `removed`. Both must be sorted and disjoint, as [`union`] gives them; so is
/// the result. O(n).
#[must_use]
pub fn difference(from: &[Span], removed: &[Span]) -> Vec<Span> {
    let mut left = Vec::with_capacity(from.len() + removed.len());
    let mut first = 0;
    for span in from {
        while removed.get(first).is_some_and(|r| r.end <= span.start) {
            first += 1;
        }
        let mut start = span.start;
        for hole in removed[first..].iter().take_while(|r| r.start < span.end) {
            if hole.start > start {
                left.push(Span::new(start, hole.start));
            }
            start = start.max(hole.end);
        }
        if start < span.end {
            left.push(Span::new(start, span.end));
        }
    }
    left
}

/// Where at least two of the spans overlap, as a sorted set of disjoint spans. O(n log n).
#[must_use]
pub fn overlaps(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.into_iter().filter(|span| !span.is_empty()).collect();
    spans.sort_unstable();
    let mut shared = Vec::new();
    let mut reach: Option<Nanos> = None;
    for span in spans {
        if let Some(reach) = reach {
            shared.push(Span::new(span.start, span.end.min(reach)));
        }
        reach = Some(reach.map_or(span.end, |reach| reach.max(span.end)));
    }
    union(shared)
}

/// Total length of disjoint spans in nanoseconds.
#[must_use]
pub fn total_ns(spans: &[Span]) -> i64 {
    spans.iter().map(Span::len_ns).sum()
}
