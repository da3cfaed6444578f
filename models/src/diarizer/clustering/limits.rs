//! Limits on the number of speakers, and splitting clusters until there are as many as a user expects.

use std::cmp::Ordering;

use super::super::viterbi::best_path;
use super::memory::{MemoryParams, SpeechMemory};
use super::vbx::refine::upper_half;
use super::vbx::{Item, group_posteriors, is_linked, n_groups, numbered};
use crate::plda::SpeakerPosterior;

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

/// Rounds in which exemplars move between the clusters after a split; they settle in a few.
const MOVING_ROUNDS: usize = 10;
/// Exemplars move between no more clusters than this, which bounds the cost of a large expected number.
const MOVING_CLUSTERS: usize = 32;
/// Cost of a change of speaker between exemplars, natural log.
const SWITCH_COST: f32 = 1.0;

impl SpeechMemory {
    /// Splits clusters of the exemplars `free` until there are `n`, or none has two exemplars: first the split by which
    /// the evidence gains most or loses least. The result is numbered from 0. Cost: `O(n_exemplars² · dim)` at most.
    pub(super) fn split_to(&self, free: &[usize], groups: Vec<usize>, share: f32, n: usize) -> Vec<usize> {
        let scaled = self.scaled(free, share);
        let items = self.items(free, Some(&scaled), share);
        let phi = self.plda.phi();
        let mut groups = numbered(&groups);
        while n_groups(&groups) < n.min(MOVING_CLUSTERS) {
            let Some(split) = splits(&items, phi, &groups).max_by(Split::by_gain) else { break };
            let new = n_groups(&groups);
            split.sides[1].iter().for_each(|&i| groups[i] = new);
            groups = moved(&items, phi, groups);
        }
        split_further(&items, phi, groups, n)
    }
}

/// The splits of the clusters that no correction of a user holds together.
fn splits<'a>(
    items: &'a [Item<'_>],
    phi: &'a [f32],
    groups: &'a [usize],
) -> impl Iterator<Item = Split> + 'a {
    let members = |g: usize| (0..groups.len()).filter(|&i| groups[i] == g).collect();
    (0..n_groups(groups))
        .filter(|&g| !is_linked(items, groups, g))
        .filter_map(move |g| Split::of(items, phi, members(g)))
}

/// A split of one cluster: the gain in evidence, and the members of both sides.
struct Split {
    gain: f32,
    sides: [Vec<usize>; 2],
}

impl Split {
    fn of(items: &[Item<'_>], phi: &[f32], members: Vec<usize>) -> Option<Self> {
        let upper = upper_half(items, phi.len(), &members)?;
        let side = |wanted: bool| {
            members.iter().zip(&upper).filter(|(_, upper)| **upper == wanted).map(|(&i, _)| i).collect()
        };
        let sides: [Vec<usize>; 2] = [side(false), side(true)];
        let evidence = |members: &[usize]| {
            let mut voice = SpeakerPosterior::prior(phi);
            members.iter().for_each(|&i| voice.add(items[i].sum, items[i].weight));
            voice.evidence(phi)
        };
        let gain = evidence(&sides[0]) + evidence(&sides[1]) - evidence(&members);
        sides.iter().all(|side| !side.is_empty()).then_some(Self { gain, sides })
    }

    fn by_gain(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain)
    }
}

/// Splits clusters until there are `n` or none can be split, without moving items between the others.
fn split_further(items: &[Item<'_>], phi: &[f32], mut groups: Vec<usize>, n: usize) -> Vec<usize> {
    let mut n_now = n_groups(&groups);
    if n_now >= n {
        return groups;
    }
    let mut splits: Vec<Split> = splits(items, phi, &groups).collect();
    while n_now < n {
        let best = (0..splits.len()).max_by(|&a, &b| splits[a].by_gain(&splits[b]));
        let Some(best) = best else { break };
        let [stays, goes] = splits.swap_remove(best).sides;
        goes.iter().for_each(|&i| groups[i] = n_now);
        n_now += 1;
        splits.extend([stays, goes].into_iter().filter_map(|side| Split::of(items, phi, side)));
    }
    groups
}

/// Moves items to the cluster that they fit best, until none moves. No cluster is left empty, and ties stay.
fn moved(items: &[Item<'_>], phi: &[f32], mut groups: Vec<usize>) -> Vec<usize> {
    let n = n_groups(&groups);
    for _ in 0..MOVING_ROUNDS {
        let voices = group_posteriors(items, phi, &groups);
        let fits = items
            .iter()
            .flat_map(|item| voices.iter().map(|voice| voice.log_likelihood(item.sum, item.weight)));
        let fits: Vec<f32> = fits.collect();
        let mut next = best_path(&fits, n, SWITCH_COST, None);
        for (to, (item, from)) in next.iter_mut().zip(items.iter().zip(&groups)) {
            if item.must_link.is_some() {
                *to = *from;
            }
        }
        if next == groups || (0..n).any(|g| !next.contains(&g)) {
            break;
        }
        groups = next;
    }
    groups
}

#[cfg(test)]
mod tests {
    use diarized_dsp::{SampleIndex, SampleRange};

    use super::super::tests::{exemplar, memory_of};
    use super::*;
    use crate::diarizer::clustering::Constraint;
    use crate::events::SegmentId;

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

    /// Three voices in turns of four exemplars.
    fn memory(n_exemplars: usize) -> SpeechMemory {
        let mut memory = memory_of(None, None);
        for n in 0..n_exemplars {
            let start = SampleIndex(n as u64 * 8_000);
            let exemplar = exemplar(&memory.plda, n / 4 % 3, 0, n);
            memory.add(SegmentId(n as u64), SampleRange::new(start, start.plus(8_000)), exemplar);
        }
        memory
    }

    #[test]
    fn splits_reach_the_number_asked_for_while_exemplars_last() {
        let memory = memory(120);
        let free: Vec<usize> = (0..120).collect();
        let split = |n: usize| memory.split_to(&free, vec![0; 120], 1.0, n);
        let three = split(3);
        assert!((0..120).all(|i| three[i] == three[i / 4 % 3 * 4]), "{three:?}");
        assert_eq!(n_groups(&three), 3);
        for n in [1, 2, 5, 32, 33, 120, 1000] {
            let groups = split(n);
            assert_eq!(n_groups(&groups), n.min(120));
            assert_eq!(n_groups(&numbered(&groups)), n.min(120), "no cluster is empty");
        }
    }

    #[test]
    fn what_a_user_merged_is_not_split() {
        let mut memory = memory(24);
        memory.exemplars[..8].iter_mut().for_each(|e| e.constraint = Constraint::MustLink);
        let free: Vec<usize> = (0..24).collect();
        let groups: Vec<usize> = (0..24).map(|i| usize::from(i >= 8)).collect();
        for n in [3, 100] {
            let split = memory.split_to(&free, groups.clone(), 1.0, n);
            assert!((0..8).all(|i| split[i] == split[0]), "{split:?}");
            assert!((8..24).all(|i| split[i] != split[0]), "{split:?}");
        }
    }
}
