//! The exemplars of the memory: sums of neighbouring embeddings, with their speaker.

use serde::{Deserialize, Serialize};

use super::second_view::SecondView;
use crate::embedding::dot;
use crate::events::SpeakerId;

/// The sum of a few unit embeddings.
#[derive(Debug, Clone)]
pub(crate) struct Exemplar {
    pub(crate) sum: Vec<f32>,
    /// Number of windows in the sum.
    pub(crate) weight: f32,
    /// Weighted sum of the projected embeddings, and its weight: what counts as evidence.
    pub(crate) projected: Vec<f32>,
    pub(crate) trust: f32,
    /// Whether the speech continues from the exemplar before.
    pub(crate) continues: bool,
    /// Whether the windows are long and inside one turn.
    pub(crate) strong: bool,
    pub(crate) speaker: SpeakerId,
    /// The speaker that it had before the latest clustering that moved it.
    pub(crate) former: Option<SpeakerId>,
    pub(crate) constraint: Constraint,
    /// What a second model makes of it.
    pub(crate) second: SecondView,
}

/// A user's correction that covers an exemplar. Clustering leaves the label of the last two alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Constraint {
    /// None.
    Free,
    /// Its speaker is the result of a merge or a split by a user: all exemplars of that speaker are one cluster.
    MustLink,
    /// A user gave its segment to a speaker. It may sound like another speaker, so it shapes no cluster and no voice.
    UserAssigned,
}

impl Exemplar {
    pub(super) fn mean_cosine(&self, sum: &[f32], weight: f32) -> f32 {
        dot(&self.sum, sum) / (self.weight * weight)
    }

    /// Takes in another exemplar, which is then no more.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.sum.iter_mut().zip(&other.sum).for_each(|(mine, theirs)| *mine += theirs);
        self.projected.iter_mut().zip(&other.projected).for_each(|(mine, theirs)| *mine += theirs);
        self.weight += other.weight;
        self.trust += other.trust;
        self.second.absorb(&other.second);
    }
}
