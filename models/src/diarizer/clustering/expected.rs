//! Splitting clusters until there are as many speakers as a user expects.
//!
//! The user knows only that somebody is missing. A split is chosen by what it is expected to gain: speech of its smaller side
//! gets the right label with the probability that the sides are two speakers, and loses it with that of one. So a likely second
//! speaker is found whole, and where nothing speaks for one, the split costs little speech.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::super::viterbi::best_path;
use super::memory::SpeechMemory;
use super::merging::GroupPair;
use super::splitting::MIN_EXPECTED_PART_WINDOWS;
use super::vbx::refine::upper_half;
use super::vbx::{Item, group_posteriors, is_linked, n_groups, numbered};
use crate::embedding::dot;
use crate::plda::{SpeakerPosterior, evidence};

/// Rounds in which exemplars move between the clusters after a split; they settle in a few.
const MOVING_ROUNDS: usize = 10;
/// Exemplars move between no more clusters than this, which bounds the cost of a large expected number.
const MOVING_CLUSTERS: usize = 32;
/// What a user's knowledge that a speaker is missing adds to the log odds of two speakers in a cluster.
const EXPECTED_LOG_ODDS: f32 = 0.7;
/// Cost of a change of speaker between exemplars, natural log.
const SWITCH_COST: f32 = 1.0;

impl SpeechMemory {
    /// Splits clusters of the exemplars `free` until there are `n`, or none has two exemplars. `parts` are smaller clusters
    /// that a split may follow. The result is numbered from 0.
    ///
    /// Cost: `O(n · n_exemplars · dim)` for `n` up to 32, and a bisection of each cluster for every further one.
    pub(super) fn split_to(
        &self,
        free: &[usize],
        groups: Vec<usize>,
        parts: &[usize],
        share: f32,
        n: usize,
    ) -> Vec<usize> {
        let mut groups = numbered(&groups);
        if n_groups(&groups) >= n {
            return groups;
        }
        let scaled = self.scaled(free, share);
        let items = self.items(free, &scaled, share);
        let phi = self.plda.phi();
        let splitter = Splitter { memory: self, free, items: &items, parts, shown: self.shown_alone(free) };
        while n_groups(&groups) < n.min(MOVING_CLUSTERS) {
            let best = splittable(&items, &groups).filter_map(|g| splitter.best(&members(&groups, g)));
            let Some(best) = best.max_by(JudgedSplit::by_gain) else { break };
            let new = n_groups(&groups);
            best.goes.iter().for_each(|&i| groups[i] = new);
            if best.log_odds > 0.0 {
                groups = moved(&items, phi, groups);
            }
        }
        split_further(&items, phi, groups, n)
    }

    /// Which of the exemplars `free` hold so much of one segment that a speaker of theirs alone is shown.
    fn shown_alone(&self, free: &[usize]) -> Vec<bool> {
        let mut shown = vec![false; self.exemplars.len()];
        for link in self.links.values().flatten() {
            shown[link.exemplar] |= link.weight >= MIN_EXPECTED_PART_WINDOWS;
        }
        free.iter().map(|&i| shown[i]).collect()
    }
}

/// What a split is chosen by.
struct Splitter<'a> {
    memory: &'a SpeechMemory,
    free: &'a [usize],
    items: &'a [Item<'a>],
    parts: &'a [usize],
    shown: Vec<bool>,
}

impl Splitter<'_> {
    /// The split of the cluster `members` with the largest expected gain: along a part, of one exemplar, or by the direction
    /// in which the cluster scatters most. `None` if no split leaves two sides that are shown.
    fn best(&self, members: &[usize]) -> Option<JudgedSplit> {
        let whole = self.sums(members);
        let n_shown = members.iter().filter(|&&i| self.shown[i]).count();
        let numbers: BTreeSet<usize> = members.iter().map(|&i| self.parts[i]).collect();
        let by_part =
            numbers.into_iter().map(|n| members.iter().copied().filter(|&i| self.parts[i] == n).collect());
        let singles = members.iter().map(|&i| vec![i]);
        let half = Split::of(self.items, self.memory.plda.phi(), members.to_vec());
        let half = half.map(|Split { sides: [_, goes], .. }| goes);
        by_part
            .chain(singles)
            .chain(half)
            .filter(|goes: &Vec<usize>| {
                let n_going = goes.iter().filter(|&&i| self.shown[i]).count();
                (1..n_shown).contains(&n_going)
            })
            .map(|goes| self.judged(&whole, goes))
            .max_by(JudgedSplit::by_gain)
    }

    fn judged(&self, whole: &Sums, goes: Vec<usize>) -> JudgedSplit {
        let a = self.sums(&goes);
        let b = whole.without(&a);
        let phi = self.memory.plda.phi();
        let (small, large) = if a.windows <= b.windows { (&a, &b) } else { (&b, &a) };
        let gain = whole.evidence(phi) - a.evidence(phi) - b.evidence(phi);
        let cosine =
            dot(&a.embedding, &b.embedding) / (a.n_embeddings * b.n_embeddings).max(f32::MIN_POSITIVE);
        let measures = self.memory.measures_of(0.0, gain, small.weight, cosine, large.windows);
        let one_speaker = GroupPair { groups: (0, 1), measures }.log_odds();
        JudgedSplit { goes, log_odds: EXPECTED_LOG_ODDS - one_speaker, windows: small.windows }
    }

    fn sums(&self, members: &[usize]) -> Sums {
        let mut sums = Sums {
            projected: vec![0.0; self.memory.plda.phi().len()],
            weight: 0.0,
            embedding: vec![0.0; self.memory.dim],
            n_embeddings: 0.0,
            windows: 0.0,
        };
        for &i in members {
            let exemplar = &self.memory.exemplars[self.free[i]];
            add(&mut sums.projected, self.items[i].sum, 1.0);
            sums.weight += self.items[i].weight;
            add(&mut sums.embedding, &exemplar.sum, 1.0);
            sums.n_embeddings += exemplar.weight;
            sums.windows += exemplar.trust / self.memory.params.window_weight;
        }
        sums
    }
}

/// Sums over the exemplars of a cluster.
struct Sums {
    /// Weighted PLDA coordinates, and their weight.
    projected: Vec<f32>,
    weight: f32,
    /// Embeddings, and their number.
    embedding: Vec<f32>,
    n_embeddings: f32,
    /// Windows of clean speech.
    windows: f32,
}

impl Sums {
    /// What is left without `part`.
    fn without(&self, part: &Self) -> Self {
        let mut rest = Self {
            projected: self.projected.clone(),
            weight: self.weight - part.weight,
            embedding: self.embedding.clone(),
            n_embeddings: self.n_embeddings - part.n_embeddings,
            windows: self.windows - part.windows,
        };
        add(&mut rest.projected, &part.projected, -1.0);
        add(&mut rest.embedding, &part.embedding, -1.0);
        rest
    }

    /// Log of the evidence that everything is of one speaker.
    fn evidence(&self, phi: &[f32]) -> f32 {
        evidence(self.projected.iter().copied(), self.weight, phi)
    }
}

/// Adds `factor` times `values` to `sum`.
fn add(sum: &mut [f32], values: &[f32], factor: f32) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

/// A split of a cluster, and how likely its sides are two speakers.
struct JudgedSplit {
    /// The exemplars that get a cluster of their own.
    goes: Vec<usize>,
    /// Log odds of two speakers.
    log_odds: f32,
    /// Windows of clean speech of the smaller side.
    windows: f32,
}

impl JudgedSplit {
    /// Windows that get the right label by the split less those that lose it, as expected: `2 P(two) - 1` of the smaller
    /// side's.
    fn expected_gain(&self) -> f32 {
        (0.5 * self.log_odds).tanh() * self.windows
    }

    fn by_gain(&self, other: &Self) -> Ordering {
        self.expected_gain().total_cmp(&other.expected_gain())
    }
}

/// The members of cluster `g`.
fn members(groups: &[usize], g: usize) -> Vec<usize> {
    (0..groups.len()).filter(|&i| groups[i] == g).collect()
}

/// The clusters that no correction of a user holds together.
fn splittable<'a>(items: &'a [Item<'_>], groups: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    (0..n_groups(groups)).filter(|&g| !is_linked(items, groups, g))
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
    let mut splits: Vec<Split> =
        splittable(items, &groups).filter_map(|g| Split::of(items, phi, members(&groups, g))).collect();
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
        let split = |n: usize| memory.split_to(&free, vec![0; 120], &[0; 120], 1.0, n);
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
    fn a_speaker_hidden_in_a_cluster_is_found_whole() {
        // One cluster of two voices, 24 and 8 exemplars.
        let mut memory = memory_of(None, None);
        for n in 0..32 {
            let start = SampleIndex(n as u64 * 8_000);
            let exemplar = exemplar(&memory.plda, usize::from(n % 4 == 3), 0, n);
            memory.add(SegmentId(n as u64), SampleRange::new(start, start.plus(8_000)), exemplar);
        }
        let free: Vec<usize> = (0..32).collect();
        let groups = memory.split_to(&free, vec![0; 32], &[0; 32], 1.0, 2);
        assert!((0..32).all(|i| (groups[i] == groups[3]) == (i % 4 == 3)), "{groups:?}");
    }

    #[test]
    fn a_split_of_one_speaker_takes_little_speech() {
        let mut memory = memory_of(None, None);
        for n in 0..40 {
            let start = SampleIndex(n as u64 * 8_000);
            let exemplar = exemplar(&memory.plda, 0, 0, n);
            memory.add(SegmentId(n as u64), SampleRange::new(start, start.plus(8_000)), exemplar);
        }
        let free: Vec<usize> = (0..40).collect();
        for n in 2..6 {
            // The parts would be a worse split: half of the speech each.
            let parts: Vec<usize> = (0..40).map(|i| i % 2).collect();
            let groups = memory.split_to(&free, vec![0; 40], &parts, 1.0, n);
            assert_eq!(n_groups(&groups), n);
            let largest = (0..n).map(|g| members(&groups, g).len()).max();
            assert_eq!(largest, Some(40 - (n - 1)), "{groups:?}");
        }
    }

    #[test]
    fn what_a_user_merged_is_not_split() {
        let mut memory = memory(24);
        memory.exemplars[..8].iter_mut().for_each(|e| e.constraint = Constraint::MustLink);
        let free: Vec<usize> = (0..24).collect();
        let groups: Vec<usize> = (0..24).map(|i| usize::from(i >= 8)).collect();
        for n in [3, 100] {
            let split = memory.split_to(&free, groups.clone(), &groups, 1.0, n);
            assert!((0..8).all(|i| split[i] == split[0]), "{split:?}");
            assert!((8..24).all(|i| split[i] != split[0]), "{split:?}");
        }
    }
}
