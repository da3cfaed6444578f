//! Maps clusters to stable speaker ids: majority vote over the present labels, then over the labels before a merge.

use std::collections::{BTreeMap, BTreeSet};

use super::exemplar::Constraint;
use super::memory::SpeechMemory;
use crate::events::SpeakerId;

/// A must-link exemplar decides the id of its cluster, whatever the weight of the others.
const MUST_LINK_WEIGHT: f32 = 1e6;

impl SpeechMemory {
    /// Maps groups to speakers and relabels; returns how much of each old speaker went to which.
    pub(super) fn adopt(
        &mut self,
        group_of: &[Option<usize>],
        fresh: &mut impl FnMut() -> SpeakerId,
    ) -> BTreeMap<SpeakerId, BTreeMap<SpeakerId, f32>> {
        let mut held = BTreeMap::new();
        let mut former = BTreeMap::new();
        let mut user_assigned = BTreeSet::new();
        for (exemplar, group) in self.exemplars.iter().zip(group_of) {
            let Some(group) = group else {
                user_assigned.insert(exemplar.speaker);
                continue;
            };
            let joined = exemplar.constraint == Constraint::MustLink;
            let weight = if joined { exemplar.weight + MUST_LINK_WEIGHT } else { exemplar.weight };
            *held.entry((*group, exemplar.speaker)).or_default() += weight;
            if let Some(speaker) = exemplar.former.filter(|_| !joined) {
                *former.entry((*group, speaker)).or_default() += weight;
            }
        }
        let mut speaker_of = BTreeMap::new();
        let mut taken = BTreeSet::new();
        elect(held, &mut speaker_of, &mut taken);
        taken.extend(user_assigned);
        elect(former, &mut speaker_of, &mut taken);
        let mut moved: BTreeMap<SpeakerId, BTreeMap<SpeakerId, f32>> = BTreeMap::new();
        for (exemplar, group) in self.exemplars.iter_mut().zip(group_of) {
            let Some(group) = group else { continue };
            let speaker = if exemplar.constraint == Constraint::MustLink {
                exemplar.speaker
            } else {
                *speaker_of.entry(*group).or_insert_with(&mut *fresh)
            };
            *moved.entry(exemplar.speaker).or_default().entry(speaker).or_default() += exemplar.weight;
            if exemplar.speaker != speaker {
                exemplar.former = Some(exemplar.speaker);
                exemplar.speaker = speaker;
            }
        }
        self.rebuild_models();
        moved
    }
}

/// Gives speakers that are not `taken` to the groups that have none, the weightiest votes first.
fn elect(
    votes: BTreeMap<(usize, SpeakerId), f32>,
    speaker_of: &mut BTreeMap<usize, SpeakerId>,
    taken: &mut BTreeSet<SpeakerId>,
) {
    let mut votes: Vec<((usize, SpeakerId), f32)> = votes.into_iter().collect();
    votes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for ((group, speaker), _) in votes {
        if !speaker_of.contains_key(&group) && taken.insert(speaker) {
            speaker_of.insert(group, speaker);
        }
    }
}
