//! The memory of settled speech: exemplars, the segments that they come from, and the models of their speakers.

use std::collections::{BTreeMap, BTreeSet};

use diarized_dsp::SampleRange;

use super::exemplar::{Constraint, Exemplar};
use super::second_view::SecondModel;
use super::similarities::Similarities;
use super::touched::Touched;
use crate::calibration::Calibration;
use crate::events::{SegmentId, SpeakerId};
use crate::plda::{Plda, SpeakerPosterior};

/// Parameters of the memory and its clustering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryParams {
    /// Log evidence by which a new clustering must beat the labels as they stand, so that labels do not flap.
    pub(crate) recluster_margin_llr: f32,
    /// Weight of one window in all evidence: neighbours share most of their sound, so much less than one.
    pub(crate) window_weight: f32,
    /// Speech that one window stands for, in seconds: the time between two of them.
    pub(crate) window_s: f32,
    /// A group with less clean speech than this is no speaker of its own.
    pub(crate) min_speaker_windows: f32,
    /// At most this many exemplars are kept.
    pub(crate) max_exemplars: usize,
    /// No more speakers than this, if given.
    pub(crate) max_speakers: Option<usize>,
    /// Number of speakers to reach at the end, if given; never more at any moment.
    pub(crate) expected_speakers: Option<usize>,
}

/// A piece of a segment, and the exemplar that holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) exemplar: usize,
    /// Number of windows.
    pub(super) weight: f32,
    /// From the centre of the first window to that of the last.
    pub(super) span: SampleRange,
}

/// The memory of one session.
#[derive(Debug)]
pub(crate) struct SpeechMemory {
    pub(super) params: MemoryParams,
    pub(super) plda: Plda,
    pub(super) calibration: Calibration,
    pub(super) dim: usize,
    /// The second model, if there is one.
    pub(super) second: Option<SecondModel>,
    /// Exemplars that it has not seen, while everything is measured by it.
    pub(super) unseen: BTreeSet<usize>,
    pub(super) exemplars: Vec<Exemplar>,
    /// What part of the evidence of the first exemplars counts, see [`super::ageing`].
    pub(super) shares: Vec<f32>,
    pub(super) similarities: Similarities,
    pub(super) links: BTreeMap<SegmentId, Vec<Link>>,
    pub(super) touched: Touched,
    pub(super) models: BTreeMap<SpeakerId, SpeakerPosterior>,
    /// Rises with every change.
    pub(super) version: u64,
}

/// Groups of exemplars before any are merged.
pub(super) struct Parted {
    /// All of them, numbered from 0.
    pub(super) parts: Vec<usize>,
    /// Without those that are too small for a speaker, numbered from 0.
    pub(super) groups: Vec<usize>,
    /// The share of the evidence that is right for so much speech.
    pub(super) share: f32,
}

impl SpeechMemory {
    /// An empty memory; `calibration` is that of the cosine of two windows.
    pub(crate) fn new(params: MemoryParams, plda: Plda, calibration: Calibration) -> Self {
        Self {
            params,
            calibration,
            dim: plda.embedding_dim(),
            plda,
            second: None,
            unseen: BTreeSet::new(),
            exemplars: Vec::new(),
            shares: Vec::new(),
            similarities: Similarities::default(),
            links: BTreeMap::new(),
            touched: Touched::default(),
            models: BTreeMap::new(),
            version: 0,
        }
    }

    /// Speakers that own at least one exemplar.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = SpeakerId> + '_ {
        self.models.keys().copied()
    }

    /// Posterior of a speaker's voice.
    pub(crate) fn model(&self, speaker: SpeakerId) -> Option<&SpeakerPosterior> {
        self.models.get(&speaker)
    }

    /// The model that embeddings are projected with.
    pub(crate) fn plda(&self) -> &Plda {
        &self.plda
    }

    /// Rises with every change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Number of exemplars held.
    pub(crate) fn len(&self) -> usize {
        self.exemplars.len()
    }

    /// Adds an exemplar of `segment`, which reaches from the centre of its first window to that of its last over
    /// `span`. Cost: `O(n_exemplars · dim)`.
    pub(crate) fn add(&mut self, segment: SegmentId, span: SampleRange, exemplar: Exemplar) {
        if self.exemplars.len() >= self.params.max_exemplars {
            self.compact();
        }
        let row = self.exemplars.iter().map(|e| e.mean_cosine(&exemplar.sum, exemplar.weight)).collect();
        self.similarities.push(row);
        let link = Link { exemplar: self.exemplars.len(), weight: exemplar.weight, span };
        self.links.entry(segment).or_default().push(link);
        self.touched.extend([segment]);
        self.touched.note_added(&exemplar);
        let phi = self.plda.phi();
        let model = self.models.entry(exemplar.speaker).or_insert_with(|| SpeakerPosterior::prior(phi));
        if exemplar.constraint != Constraint::UserAssigned {
            model.add(&exemplar.projected, exemplar.trust);
            model.update(phi);
        }
        self.exemplars.push(exemplar);
        self.version += 1;
    }

    /// The speaker that most of `segment` belongs to, if the memory holds any of it.
    pub(crate) fn segment_speaker(&self, segment: SegmentId) -> Option<SpeakerId> {
        let mut votes: BTreeMap<SpeakerId, f32> = BTreeMap::new();
        for link in self.links.get(&segment)? {
            *votes.entry(self.exemplars[link.exemplar].speaker).or_default() += link.weight;
        }
        heaviest(&votes)
    }

    /// Gives all exemplars of `from` to `into` for good; no clustering uses the id `from` again.
    pub(crate) fn merge(&mut self, from: SpeakerId, into: SpeakerId) {
        for exemplar in &mut self.exemplars {
            exemplar.former = exemplar.former.filter(|former| *former != from);
            if exemplar.speaker == from || exemplar.speaker == into {
                exemplar.speaker = into;
                if exemplar.constraint == Constraint::Free {
                    exemplar.constraint = Constraint::MustLink;
                }
            }
        }
        self.rebuild_models();
    }

    /// Gives the exemplars of one segment to `speaker` for good.
    pub(crate) fn reassign(&mut self, segment: SegmentId, speaker: SpeakerId) {
        for link in self.links.get(&segment).into_iter().flatten() {
            self.exemplars[link.exemplar].speaker = speaker;
            self.exemplars[link.exemplar].constraint = Constraint::UserAssigned;
        }
        self.rebuild_models();
    }
}

/// The key with the largest value; ties go to the lower key.
pub(super) fn heaviest(votes: &BTreeMap<SpeakerId, f32>) -> Option<SpeakerId> {
    let mut best: Option<(SpeakerId, f32)> = None;
    for (&speaker, &weight) in votes {
        if best.is_none_or(|(_, b)| weight > b) {
            best = Some((speaker, weight));
        }
    }
    best.map(|(speaker, _)| speaker)
}
