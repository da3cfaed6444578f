//! Segments whose label may have to follow the memory, as they are noted.

use std::collections::BTreeSet;

use super::exemplar::{Constraint, Exemplar};
use crate::events::{SegmentId, SpeakerId};

/// What has changed since the labels were last brought in line with the memory.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Segments with a piece that is new, was divided or forgotten, or whose exemplar has changed.
    pub(super) segments: BTreeSet<SegmentId>,
    /// Speaker and constraint of each exemplar when the changes were last noted.
    pub(super) noted: Vec<(SpeakerId, Constraint)>,
}

impl Touched {
    /// Adds segments.
    pub(super) fn extend(&mut self, segments: impl IntoIterator<Item = SegmentId>) {
        self.segments.extend(segments);
    }

    /// Notes the exemplars as they are, after they were added or numbered anew, without a change of any segment.
    pub(super) fn note(&mut self, exemplars: &[Exemplar]) {
        self.noted = exemplars.iter().map(|e| (e.speaker, e.constraint)).collect();
    }

    /// Notes one more exemplar.
    pub(super) fn note_added(&mut self, exemplar: &Exemplar) {
        self.noted.push((exemplar.speaker, exemplar.constraint));
    }
}
