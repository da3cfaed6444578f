//! What a session remembers of its speech: exemplars, their similarities, and the speakers they form.
//!
//! An exemplar is the sum of a few neighbouring window embeddings of one segment. Their number is bounded
//! ([`HistoryParams::max_exemplars`]), so memory and the cost of one clustering are bounded too, whatever the
//! length of the session: with 512 exemplars of 192 values about 1.5 MB, similarities included.

use std::collections::BTreeMap;

use super::ahc::{Similarities, average_linkage};
use crate::calibration::Calibration;
use crate::embedding::dot;
use crate::events::{SegmentId, SpeakerId};

/// What governs the memory and its clustering. Evidence is in natural-log likelihood ratios.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryParams {
    /// Groups merge while their mean evidence of being one person is above this.
    pub(crate) merge_llr: f32,
    /// Added to the evidence between exemplars that bear one label already, so that labels do not flap.
    pub(crate) stick_llr: f32,
    /// A group with less clean speech than this is no speaker of its own if another fits at all.
    pub(crate) min_speaker_windows: f32,
    /// Evidence from which on another group fits such a small one.
    pub(crate) absorb_llr: f32,
    /// At most this many exemplars are kept.
    pub(crate) max_exemplars: usize,
    /// No more speakers than this, if given.
    pub(crate) max_speakers: Option<usize>,
    /// This many speakers if the evidence allows, if given.
    pub(crate) expected_speakers: Option<usize>,
}

/// The sum of a few unit embeddings.
#[derive(Debug, Clone)]
pub(crate) struct Exemplar {
    pub(crate) sum: Vec<f32>,
    /// Number of windows in the sum.
    pub(crate) weight: f32,
    /// Whether the windows are long and inside one turn; weak ones follow a clustering and do not shape it.
    pub(crate) strong: bool,
    pub(crate) speaker: SpeakerId,
    pub(crate) pin: Pin,
}

/// What a person said of an exemplar. Clustering leaves the label of both kinds of pin alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Nothing.
    Free,
    /// Its speaker is a merger of several: all of them are one group.
    Joined,
    /// Its segment was given to a speaker. The speech may well sound like somebody else, which is why a person had
    /// to say it, so it shapes no group and no model.
    Told,
}

impl Exemplar {
    fn mean_cosine(&self, sum: &[f32], weight: f32) -> f32 {
        dot(&self.sum, sum) / (self.weight * weight)
    }
}

/// Sum and weight of everything that one speaker said.
#[derive(Debug, Clone)]
struct Model {
    sum: Vec<f32>,
    weight: f32,
}

impl Model {
    fn empty(dim: usize) -> Self {
        Self { sum: vec![0.0; dim], weight: 0.0 }
    }

    fn add(&mut self, sum: &[f32], weight: f32) {
        for (mine, other) in self.sum.iter_mut().zip(sum) {
            *mine += other;
        }
        self.weight += weight;
    }

    fn without(&self, exemplar: &Exemplar) -> Self {
        let sum = self.sum.iter().zip(&exemplar.sum).map(|(a, b)| a - b).collect();
        Self { sum, weight: self.weight - exemplar.weight }
    }
}

/// The memory of one session.
#[derive(Debug)]
pub(crate) struct History {
    params: HistoryParams,
    calibration: Calibration,
    dim: usize,
    exemplars: Vec<Exemplar>,
    similarities: Similarities,
    links: BTreeMap<SegmentId, Vec<(usize, f32)>>,
    models: BTreeMap<SpeakerId, Model>,
}

impl History {
    pub(crate) fn new(params: HistoryParams, calibration: Calibration, dim: usize) -> Self {
        Self {
            params,
            calibration,
            dim,
            exemplars: Vec::new(),
            similarities: Similarities::default(),
            links: BTreeMap::new(),
            models: BTreeMap::new(),
        }
    }

    /// Speakers that own at least one exemplar.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = SpeakerId> + '_ {
        self.models.keys().copied()
    }

    /// Mean cosine between a unit vector and everything that `speaker` said.
    pub(crate) fn cosine(&self, speaker: SpeakerId, embedding: &[f32]) -> Option<f32> {
        self.models.get(&speaker).map(|m| dot(&m.sum, embedding) / m.weight)
    }

    /// Remembers an exemplar of `segment`. Cost: `O(n_exemplars · dim)`.
    pub(crate) fn add(&mut self, segment: SegmentId, exemplar: Exemplar) {
        if self.exemplars.len() >= self.params.max_exemplars {
            self.compact();
        }
        let row = self.exemplars.iter().map(|e| e.mean_cosine(&exemplar.sum, exemplar.weight)).collect();
        self.similarities.push(row);
        self.links.entry(segment).or_default().push((self.exemplars.len(), exemplar.weight));
        let model = self.models.entry(exemplar.speaker).or_insert_with(|| Model::empty(self.dim));
        model.add(&exemplar.sum, exemplar.weight);
        self.exemplars.push(exemplar);
    }

    /// The speaker that most of `segment` belongs to, if the history holds any of it.
    pub(crate) fn segment_speaker(&self, segment: SegmentId) -> Option<SpeakerId> {
        let mut votes: BTreeMap<SpeakerId, f32> = BTreeMap::new();
        for &(idx, weight) in self.links.get(&segment)? {
            *votes.entry(self.exemplars[idx].speaker).or_default() += weight;
        }
        heaviest(&votes)
    }

    /// Segments that the history holds a part of, in order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.links.keys().copied()
    }

    /// Gives everything of `from` to `into` for good.
    pub(crate) fn merge(&mut self, from: SpeakerId, into: SpeakerId) {
        for exemplar in &mut self.exemplars {
            if exemplar.speaker == from || exemplar.speaker == into {
                exemplar.speaker = into;
                if exemplar.pin == Pin::Free {
                    exemplar.pin = Pin::Joined;
                }
            }
        }
        self.rebuild_models();
    }

    /// Gives the exemplars of one segment to `speaker` for good.
    pub(crate) fn reassign(&mut self, segment: SegmentId, speaker: SpeakerId) {
        for (idx, _) in self.links.get(&segment).into_iter().flatten() {
            self.exemplars[*idx].speaker = speaker;
            self.exemplars[*idx].pin = Pin::Told;
        }
        self.rebuild_models();
    }

    /// Clusters everything anew and gives the groups stable identities: a group keeps the speaker that most of it
    /// bore. `fresh` makes an identity for a group that has none. Returns where each speaker that is no more went.
    ///
    /// Cost: `O(n²)` time and memory in the number of exemplars.
    pub(crate) fn recluster(&mut self, mut fresh: impl FnMut() -> SpeakerId) -> Vec<(SpeakerId, SpeakerId)> {
        let strong: Vec<usize> = (0..self.exemplars.len())
            .filter(|&i| self.exemplars[i].strong && self.exemplars[i].pin != Pin::Told)
            .collect();
        if strong.is_empty() {
            return Vec::new();
        }
        let mut group_of = vec![None; self.exemplars.len()];
        for (item, group) in self.group_strong(&strong).into_iter().enumerate() {
            group_of[strong[item]] = Some(group);
        }
        self.absorb_small(&mut group_of);
        self.settle_members(&mut group_of);
        let before: BTreeMap<SpeakerId, ()> = self.models.keys().map(|&s| (s, ())).collect();
        let moved = self.adopt(&group_of, &mut fresh);
        before
            .into_keys()
            .filter(|s| !self.models.contains_key(s))
            .filter_map(|s| heaviest(moved.get(&s)?).map(|into| (s, into)))
            .collect()
    }

    /// Groups of the strong exemplars at the merge threshold, the hints honoured.
    fn group_strong(&self, strong: &[usize]) -> Vec<usize> {
        let stick = self.params.stick_llr / self.calibration.scale;
        let mut similarities = Similarities::default();
        for (n, &a) in strong.iter().enumerate() {
            similarities.push(
                strong[..n]
                    .iter()
                    .map(|&b| {
                        let same = self.exemplars[a].speaker == self.exemplars[b].speaker;
                        self.similarities.get(a, b) + if same { stick } else { 0.0 }
                    })
                    .collect(),
            );
        }
        let weights: Vec<f32> = strong.iter().map(|&i| self.exemplars[i].weight).collect();
        let pins: Vec<Option<u32>> = strong
            .iter()
            .map(|&i| (self.exemplars[i].pin == Pin::Joined).then_some(self.exemplars[i].speaker.0))
            .collect();
        let run = |llr: f32| average_linkage(&similarities, &weights, &pins, self.calibration.cosine_at(llr));
        let substantial = |groups: &[usize]| {
            let mut size: BTreeMap<usize, f32> = BTreeMap::new();
            for (group, weight) in groups.iter().zip(&weights) {
                *size.entry(*group).or_default() += weight;
            }
            size.values().filter(|&&s| s >= self.params.min_speaker_windows).count().max(1)
        };
        let mut llr = self.params.merge_llr;
        let mut groups = run(llr);
        if let Some(expected) = self.params.expected_speakers {
            while substantial(&groups) < expected && llr < self.params.merge_llr + HINT_REACH_LLR {
                llr += HINT_STEP_LLR;
                groups = run(llr);
            }
        }
        let most = self.params.max_speakers.or(self.params.expected_speakers).unwrap_or(usize::MAX);
        while substantial(&groups) > most && llr > self.params.merge_llr - 2.0 * HINT_REACH_LLR {
            llr -= HINT_STEP_LLR;
            groups = run(llr);
        }
        groups
    }

    fn group_models(&self, group_of: &[Option<usize>]) -> Vec<Model> {
        let n_groups = group_of.iter().flatten().max().map_or(0, |m| m + 1);
        let mut models = vec![Model::empty(self.dim); n_groups];
        for (exemplar, group) in self.exemplars.iter().zip(group_of) {
            if let Some(group) = group {
                models[*group].add(&exemplar.sum, exemplar.weight);
            }
        }
        models
    }

    /// Joins groups that are too small to be a person to the nearest substantial group.
    fn absorb_small(&self, group_of: &mut [Option<usize>]) {
        let models = self.group_models(group_of);
        let pinned: Vec<bool> = (0..models.len())
            .map(|g| {
                self.exemplars
                    .iter()
                    .zip(group_of.iter())
                    .any(|(e, of)| e.pin == Pin::Joined && *of == Some(g))
            })
            .collect();
        let is_small = |g: usize| models[g].weight < self.params.min_speaker_windows && !pinned[g];
        let target: Vec<usize> = (0..models.len())
            .map(|g| {
                if !is_small(g) {
                    return g;
                }
                (0..models.len())
                    .filter(|&other| other != g && models[other].weight > 0.0 && !is_small(other))
                    .map(|other| {
                        let cosine = dot(&models[g].sum, &models[other].sum)
                            / (models[g].weight * models[other].weight);
                        (other, self.calibration.llr(cosine))
                    })
                    .filter(|&(_, llr)| llr > self.params.absorb_llr)
                    .fold(
                        None,
                        |best: Option<(usize, f32)>, (other, llr)| {
                            if best.is_none_or(|(_, b)| llr > b) { Some((other, llr)) } else { best }
                        },
                    )
                    .map_or(g, |(other, _)| other)
            })
            .collect();
        for group in group_of.iter_mut().flatten() {
            *group = target[*group];
        }
    }

    /// Lets every exemplar that nobody pinned choose the group that it fits best, itself left out.
    fn settle_members(&self, group_of: &mut [Option<usize>]) {
        let stick = self.params.stick_llr.max(0.5) / self.calibration.scale;
        for _ in 0..SETTLE_ROUNDS {
            let models = self.group_models(group_of);
            let mut changed = false;
            for (idx, exemplar) in self.exemplars.iter().enumerate() {
                if exemplar.pin == Pin::Told || exemplar.pin == Pin::Joined && exemplar.strong {
                    continue;
                }
                let mut best: Option<(usize, f32)> = None;
                for (g, model) in models.iter().enumerate() {
                    let own = group_of[idx] == Some(g);
                    let score = if own {
                        let rest = model.without(exemplar);
                        if rest.weight < 0.5 {
                            // Alone in its group: it stays.
                            f32::INFINITY
                        } else {
                            exemplar.mean_cosine(&rest.sum, rest.weight) + stick
                        }
                    } else if model.weight > 0.0 {
                        exemplar.mean_cosine(&model.sum, model.weight)
                    } else {
                        continue;
                    };
                    if best.is_none_or(|(_, b)| score > b) {
                        best = Some((g, score));
                    }
                }
                let choice = best.map(|(g, _)| g);
                changed |= choice != group_of[idx];
                group_of[idx] = choice;
            }
            if !changed {
                break;
            }
        }
    }

    /// Maps groups to speakers and relabels; returns how much of each old speaker went to which.
    fn adopt(
        &mut self,
        group_of: &[Option<usize>],
        fresh: &mut impl FnMut() -> SpeakerId,
    ) -> BTreeMap<SpeakerId, BTreeMap<SpeakerId, f32>> {
        let mut shared: BTreeMap<(usize, SpeakerId), f32> = BTreeMap::new();
        for (exemplar, group) in self.exemplars.iter().zip(group_of) {
            if let Some(group) = group {
                let joined = exemplar.pin == Pin::Joined;
                let weight = if joined { exemplar.weight + PIN_WEIGHT } else { exemplar.weight };
                *shared.entry((*group, exemplar.speaker)).or_default() += weight;
            }
        }
        let mut pairs: Vec<((usize, SpeakerId), f32)> = shared.into_iter().collect();
        pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut speaker_of: BTreeMap<usize, SpeakerId> = BTreeMap::new();
        let mut taken: BTreeMap<SpeakerId, ()> = BTreeMap::new();
        for ((group, speaker), _) in &pairs {
            if !speaker_of.contains_key(group) && !taken.contains_key(speaker) {
                speaker_of.insert(*group, *speaker);
                taken.insert(*speaker, ());
            }
        }
        let mut moved: BTreeMap<SpeakerId, BTreeMap<SpeakerId, f32>> = BTreeMap::new();
        for (exemplar, group) in self.exemplars.iter_mut().zip(group_of) {
            let Some(group) = group else { continue };
            let speaker = if exemplar.pin == Pin::Joined {
                exemplar.speaker
            } else {
                *speaker_of.entry(*group).or_insert_with(&mut *fresh)
            };
            *moved.entry(exemplar.speaker).or_default().entry(speaker).or_default() += exemplar.weight;
            exemplar.speaker = speaker;
        }
        self.rebuild_models();
        moved
    }

    fn rebuild_models(&mut self) {
        self.models.clear();
        for exemplar in self.exemplars.iter().filter(|e| e.pin != Pin::Told) {
            let model = self.models.entry(exemplar.speaker).or_insert_with(|| Model::empty(self.dim));
            model.add(&exemplar.sum, exemplar.weight);
        }
    }

    /// Joins the most similar exemplars of each speaker until a quarter of the room is free again.
    fn compact(&mut self) {
        let room = self.params.max_exemplars * 3 / 4;
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for a in 0..self.exemplars.len() {
            for b in 0..a {
                let (x, y) = (&self.exemplars[a], &self.exemplars[b]);
                if x.speaker == y.speaker && x.strong == y.strong && x.pin == y.pin {
                    pairs.push((self.similarities.get(a, b), b, a));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut into: Vec<Option<usize>> = vec![None; self.exemplars.len()];
        let mut is_target = vec![false; self.exemplars.len()];
        let mut surplus = self.exemplars.len().saturating_sub(room);
        for (_, keep, gone) in pairs {
            if surplus == 0 {
                break;
            }
            if into[keep].is_none() && into[gone].is_none() && !is_target[keep] && !is_target[gone] {
                into[gone] = Some(keep);
                is_target[keep] = true;
                surplus -= 1;
            }
        }
        self.apply_compaction(&into, surplus);
    }

    /// Joins `into[i]`'s, forgets the `n_lightest` lightest of what is left, and rebuilds the tables.
    fn apply_compaction(&mut self, into: &[Option<usize>], n_lightest: usize) {
        let mut forgotten: Vec<usize> =
            (0..into.len()).filter(|&i| into[i].is_none() && !into.contains(&Some(i))).collect();
        forgotten
            .sort_by(|&a, &b| self.exemplars[a].weight.total_cmp(&self.exemplars[b].weight).then(a.cmp(&b)));
        forgotten.truncate(n_lightest);
        let mut position = vec![None; into.len()];
        let mut kept: Vec<Exemplar> = Vec::new();
        for (i, exemplar) in self.exemplars.iter().enumerate() {
            if into[i].is_none() && !forgotten.contains(&i) {
                position[i] = Some(kept.len());
                kept.push(exemplar.clone());
            }
        }
        for (i, target) in into.iter().enumerate() {
            if let Some(at) = target.and_then(|t| position[t]) {
                for (mine, other) in kept[at].sum.iter_mut().zip(&self.exemplars[i].sum) {
                    *mine += other;
                }
                kept[at].weight += self.exemplars[i].weight;
                position[i] = Some(at);
            }
        }
        for parts in self.links.values_mut() {
            parts.retain_mut(|(idx, _)| match position[*idx] {
                Some(at) => {
                    *idx = at;
                    true
                }
                None => false,
            });
        }
        self.links.retain(|_, parts| !parts.is_empty());
        self.similarities = Similarities::default();
        for (n, exemplar) in kept.iter().enumerate() {
            let row = kept[..n].iter().map(|e| e.mean_cosine(&exemplar.sum, exemplar.weight)).collect();
            self.similarities.push(row);
        }
        self.exemplars = kept;
        self.rebuild_models();
    }

    /// Number of exemplars held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.exemplars.len()
    }
}

/// How far a hint may move the merge threshold, and in what steps.
const HINT_REACH_LLR: f32 = 8.0;
const HINT_STEP_LLR: f32 = 0.5;
/// Rounds of reassignment; it settles in two or three, and the bound keeps the cost linear.
const SETTLE_ROUNDS: usize = 4;
/// A pinned exemplar decides whose identity its group bears, whatever the size of the others.
const PIN_WEIGHT: f32 = 1e6;

/// The key with the largest value; ties go to the lower key.
fn heaviest(votes: &BTreeMap<SpeakerId, f32>) -> Option<SpeakerId> {
    let mut best: Option<(SpeakerId, f32)> = None;
    for (&speaker, &weight) in votes {
        if best.is_none_or(|(_, b)| weight > b) {
            best = Some((speaker, weight));
        }
    }
    best.map(|(speaker, _)| speaker)
}
