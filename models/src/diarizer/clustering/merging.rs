//! Merging of over-split clusters: which pairs of them are one speaker.
//!
//! Clustering by evidence alone cannot decide it: a speaker who turns away or laughs is further from the own voice than
//! PLDA expects, and more speech makes that only surer. So clustering counts rather too much evidence and finds too many
//! clusters. Pairs are then merged, the likeliest first, by a logistic model of four measures.

use std::collections::BTreeMap;

use diarized_dsp::{SampleIndex, SampleRange};

use super::limits::Limits;
use super::memory::{Parted, SpeechMemory, heaviest};
use super::vbx::{Item, group_weights, joined, n_groups, numbered, pairs};
use crate::embedding::dot;
use crate::events::SpeakerId;

/// Speech of two clusters with no longer a pause between is near, in samples: 1.5 s.
const NEAR: u64 = 24_000;
/// Pieces that nearness is measured on at most; two hours of speech without a pause.
const MOST_PIECES: usize = 16_384;
/// Windows of the smaller cluster, and of all speech, at which nearness counts half: in a short or quick conversation
/// every speaker is near every other.
const NEAR_PRIOR_WINDOWS: f32 = 32.0;
const NEAR_PRIOR_SPEECH_WINDOWS: f32 = 360.0;
/// Nearness counts no more with more clusters than this: the fit has seen few sessions with more.
const MANY_CLUSTERS: usize = 8;
/// Weight that is added to that of a cluster, so that the evidence of a short one is not blown up.
const GAIN_PRIOR: f32 = 0.1;
/// Log odds of one speaker: what each of [`GroupPair::measures`] adds, and the start. `fit-joins` fits them, each folder
/// of recordings with the same weight; `docs/experiments/merging-clusters.md` has the data and the losing measures.
const LOG_ODDS: [f32; 4] = [16.0, 0.035, 0.617, 0.619];
const START_LOG_ODDS: f32 = -2.06;
/// What is added for two clusters with the same label while speech goes on, so that new labels are not shown lightly.
const ONE_LABEL_LOG_ODDS: f32 = 0.3;

/// Two clusters, and the measures of whether they are one speaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupPair {
    /// Their numbers.
    pub groups: (usize, usize),
    /// - How much oftener than chance the smaller is near the larger, shrunk where there is little speech, times the
    ///   logarithm of half the number of clusters: with two clusters nearness measures how fast people answer.
    /// - Log evidence gained by merging them, over the root of the smaller one's weight.
    /// - Calibrated log-likelihood ratio of the mean cosine of their windows.
    /// - Logarithm of the larger one's number of windows: the more speech of a speaker, the oftener it is over-split.
    pub measures: [f32; 4],
}

impl GroupPair {
    /// Log odds that they are one speaker.
    #[must_use]
    pub fn log_odds(&self) -> f32 {
        START_LOG_ODDS + dot(&LOG_ODDS, &self.measures)
    }
}

/// Groups of a session's speech before those that are one voice are joined.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VoiceGroups {
    /// Where each speaks: pieces from the centre of a first window to that of a last.
    pub spans: Vec<Vec<SampleRange>>,
    /// Every pair that may be joined.
    pub pairs: Vec<GroupPair>,
}

/// A piece of a segment, in samples.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: u64,
    end: u64,
    /// Position of its exemplar among those that are clustered.
    item: usize,
    weight: f32,
}

impl SpeechMemory {
    /// Merges groups of the exemplars `free`, the likeliest pair first: while a pair is likelier one speaker than not and
    /// more than `limits.least` groups are left, and while there are more than `limits.most`. `share` is the part of the
    /// evidence that is right for so much speech. Unless `thorough`, groups with the same label are merged more easily.
    /// The result is numbered from 0.
    pub(super) fn join_alike(
        &self,
        free: &[usize],
        groups: &[usize],
        share: f32,
        thorough: bool,
        limits: Limits,
    ) -> Vec<usize> {
        let scaled = self.scaled(free, share);
        let items = self.items(free, &scaled, share);
        let pieces = self.pieces(free);
        let mut groups = numbered(groups);
        loop {
            let n = n_groups(&groups);
            let labels = self.labels(free, &groups);
            // Of the pairs in a crowd a smaller share is one speaker than of those that the weights were fitted on.
            let crowd = (n.max(MANY_CLUSTERS) as f32 / MANY_CLUSTERS as f32).ln();
            let log_odds = |pair: &GroupPair| {
                let is_one_label = !thorough && labels[pair.groups.0] == labels[pair.groups.1];
                pair.log_odds() - crowd + if is_one_label { ONE_LABEL_LOG_ODDS } else { 0.0 }
            };
            let pairs = self.pairs_of(free, &items, &pieces, &groups);
            let pairs = pairs.iter().map(|pair| (pair.groups, log_odds(pair)));
            let Some(((a, b), best)) = pairs.max_by(|x, y| x.1.total_cmp(&y.1)) else {
                return groups;
            };
            if n <= limits.most && (best <= 0.0 || n <= limits.least) {
                return groups;
            }
            groups = joined(&groups, a, b);
        }
    }

    /// The label of most of each group.
    fn labels(&self, free: &[usize], groups: &[usize]) -> Vec<Option<SpeakerId>> {
        let mut votes = vec![BTreeMap::new(); n_groups(groups)];
        for (&i, &group) in free.iter().zip(groups) {
            *votes[group].entry(self.exemplars[i].speaker).or_default() += self.exemplars[i].weight;
        }
        votes.iter().map(heaviest).collect()
    }

    /// Every pair of groups that may be joined.
    fn pairs_of(
        &self,
        free: &[usize],
        items: &[Item<'_>],
        pieces: &[Piece],
        groups: &[usize],
    ) -> Vec<GroupPair> {
        let n = n_groups(groups);
        let windows = self.clean_windows(free, groups);
        let weights = group_weights(items, groups);
        let means = self.means(free, groups);
        let near = near(pieces, groups);
        let speech: f32 = windows.iter().sum();
        let many =
            (n.clamp(2, MANY_CLUSTERS) as f32 / 2.0).ln() * speech / (speech + NEAR_PRIOR_SPEECH_WINDOWS);
        pairs(items, self.plda.phi(), groups)
            .into_iter()
            .map(|((a, b), gain)| {
                let (small, large) = if windows[a] <= windows[b] { (a, b) } else { (b, a) };
                let sure = windows[small] / (windows[small] + NEAR_PRIOR_WINDOWS);
                let nearness = many * sure * near[small * n + large];
                let cosine = dot(&means[a], &means[b]);
                let measures = self.measures_of(nearness, gain, weights[small], cosine, windows[large]);
                GroupPair { groups: (a, b), measures }
            })
            .collect()
    }

    /// [`GroupPair::measures`] of two clusters.
    pub(super) fn measures_of(
        &self,
        nearness: f32,
        gain: f32,
        weight_of_smaller: f32,
        cosine: f32,
        windows_of_larger: f32,
    ) -> [f32; 4] {
        [
            nearness,
            gain / (weight_of_smaller + GAIN_PRIOR).sqrt(),
            self.calibration.llr(cosine),
            (windows_of_larger + 1.0).ln(),
        ]
    }

    /// The groups that a clustering now would find before it joined any.
    pub(crate) fn voice_groups(&self) -> VoiceGroups {
        let free = self.free();
        if free.is_empty() {
            return VoiceGroups::default();
        }
        let Parted { groups, share, .. } = self.parted_groups(&free, false, 1);
        let scaled = self.scaled(&free, share);
        let pieces = self.pieces(&free);
        let mut spans = vec![Vec::new(); n_groups(&groups)];
        for piece in &pieces {
            let span = SampleRange::new(SampleIndex(piece.start), SampleIndex(piece.end));
            spans[groups[piece.item]].push(span);
        }
        let pairs = self.pairs_of(&free, &self.items(&free, &scaled, share), &pieces, &groups);
        VoiceGroups { spans, pairs }
    }

    /// Mean of the embeddings of each group; no unit vectors, so that their product is the mean cosine.
    fn means(&self, free: &[usize], groups: &[usize]) -> Vec<Vec<f32>> {
        let mut sums = vec![vec![0.0_f32; self.dim]; n_groups(groups)];
        let mut weights = vec![0.0_f32; sums.len()];
        for (&i, &group) in free.iter().zip(groups) {
            sums[group].iter_mut().zip(&self.exemplars[i].sum).for_each(|(sum, v)| *sum += v);
            weights[group] += self.exemplars[i].weight;
        }
        for (sum, weight) in sums.iter_mut().zip(weights).filter(|(_, weight)| *weight > 0.0) {
            sum.iter_mut().for_each(|v| *v /= weight);
        }
        sums
    }

    /// What the exemplars `free` are of, by time: the newest [`MOST_PIECES`], so that a day costs no more than hours.
    fn pieces(&self, free: &[usize]) -> Vec<Piece> {
        let mut item_of = vec![None; self.exemplars.len()];
        free.iter().enumerate().for_each(|(item, &i)| item_of[i] = Some(item));
        let mut pieces: Vec<Piece> = Vec::new();
        for link in self.links.values().rev().flatten().take(MOST_PIECES) {
            if let Some(item) = item_of[link.exemplar] {
                let (start, end) = (link.span.start().0, link.span.end().0);
                pieces.push(Piece { start, end, item, weight: link.weight });
            }
        }
        pieces.sort_by_key(|piece| piece.start);
        pieces
    }
}

/// How much oftener than chance group `a` is near group `b`, in `[-1, 1]`, at `[a * n_groups + b]`: the share of `a`'s
/// speech that is, less `b`'s share of all speech. `pieces` by time; `groups` of their items.
fn near(pieces: &[Piece], groups: &[usize]) -> Vec<f32> {
    let n = n_groups(groups);
    let mut is_near = vec![false; pieces.len() * n];
    let mut end_before: Vec<Option<u64>> = vec![None; n];
    for (piece, row) in pieces.iter().zip(is_near.chunks_exact_mut(n)) {
        for (near, end) in row.iter_mut().zip(&end_before) {
            *near |= end.is_some_and(|end| piece.start.saturating_sub(end) <= NEAR);
        }
        let end = &mut end_before[groups[piece.item]];
        *end = (*end).max(Some(piece.end));
    }
    let mut start_after: Vec<Option<u64>> = vec![None; n];
    for (piece, row) in pieces.iter().zip(is_near.chunks_exact_mut(n)).rev() {
        for (near, start) in row.iter_mut().zip(&start_after) {
            *near |= start.is_some_and(|start| start.saturating_sub(piece.end) <= NEAR);
        }
        start_after[groups[piece.item]] = Some(piece.start);
    }
    let mut near = vec![0.0_f32; n * n];
    let mut speech = vec![0.0_f32; n];
    for (piece, row) in pieces.iter().zip(is_near.chunks_exact(n)) {
        let a = groups[piece.item];
        speech[a] += piece.weight;
        for b in (0..n).filter(|&b| row[b]) {
            near[a * n + b] += piece.weight;
        }
    }
    let all: f32 = speech.iter().sum();
    for (at, near) in near.iter_mut().enumerate() {
        let (a, b) = (at / n, at % n);
        *near = if speech[a] > 0.0 { *near / speech[a] - speech[b] / all } else { 0.0 };
    }
    near
}

#[cfg(test)]
mod tests {
    use diarized_dsp::{SampleIndex, SampleRange};

    use super::super::tests::{DIM, exemplar, memory_of};
    use super::near;
    use crate::diarizer::clustering::{Limits, SpeechMemory};
    use crate::events::{SegmentId, SpeakerId};

    /// Half-second pieces at these times, in seconds, of these groups.
    fn memory(pieces: &[(f64, usize)]) -> (SpeechMemory, Vec<usize>, Vec<usize>) {
        let mut memory = memory_of(None, None);
        for (n, &(at, group)) in pieces.iter().enumerate() {
            let start = (at * 16_000.0) as u64;
            let exemplar = exemplar(&memory.plda, group, 0, n);
            memory.add(
                SegmentId(n as u64),
                SampleRange::new(SampleIndex(start), SampleIndex(start + 8_000)),
                exemplar,
            );
        }
        let groups = pieces.iter().map(|p| p.1).collect();
        (memory, (0..pieces.len()).collect(), groups)
    }

    #[test]
    fn nearness_is_measured_against_chance() {
        // Group 1 follows 0 within a second; 2 is far from both.
        let pieces = [(0.0, 0), (1.0, 1), (20.0, 0), (21.9, 1), (40.0, 2), (60.0, 0)];
        let (memory, free, groups) = memory(&pieces);
        let near = near(&memory.pieces(&free), &groups);
        let at = |a: usize, b: usize| near[a * 3 + b];
        assert!((at(1, 0) - (1.0 - 0.5)).abs() < 1e-6, "{near:?}");
        assert!((at(0, 1) - (2.0 / 3.0 - 1.0 / 3.0)).abs() < 1e-6, "{near:?}");
        assert!((at(2, 0) + 0.5).abs() < 1e-6 && (at(2, 1) + 1.0 / 3.0).abs() < 1e-6, "{near:?}");
        assert_eq!(near.len(), 9);
        assert_eq!(memory.means(&free, &groups)[0].len(), DIM);
    }

    #[test]
    fn nearness_is_measured_on_what_is_newest() {
        let pieces: Vec<(f64, usize)> = (0..super::MOST_PIECES + 100).map(|n| (n as f64, 0)).collect();
        let mut memory = memory(&pieces[..1]).0;
        let link = memory.links[&SegmentId(0)][0];
        for n in 1..pieces.len() as u64 {
            let span = link.span.start().plus(n * 16_000);
            let span = SampleRange::new(span, span.plus(8_000));
            memory.links.insert(SegmentId(n), vec![super::super::memory::Link { span, ..link }]);
        }
        let kept = memory.pieces(&[0]);
        assert_eq!((kept.len(), kept[0].start), (super::MOST_PIECES, 100 * 16_000));
    }

    /// Two voices in turns of `length` pieces, and two more that speak long after: with two clusters nearness does not count.
    fn turns(length: usize) -> Vec<(f64, usize)> {
        let pair = (0..80).map(|n| ((n + n / 10 * 5) as f64, n / length % 2));
        let others = (0..40).map(|n| ((1000 + n * 10) as f64, 2 + n / 20));
        pair.chain(others).collect()
    }

    /// Log odds that the first two clusters are one speaker.
    fn log_odds(memory: &SpeechMemory, free: &[usize], groups: &[usize], share: f32) -> f32 {
        let scaled = memory.scaled(free, share);
        let items = memory.items(free, &scaled, share);
        let pairs = memory.pairs_of(free, &items, &memory.pieces(free), groups);
        assert_eq!(pairs.len(), 6);
        pairs.iter().find(|pair| pair.groups == (0, 1)).expect("every pair is there").log_odds()
    }

    #[test]
    fn clusters_that_share_turns_are_likelier_one_speaker() {
        let odds = |length: usize| {
            let (memory, free, groups) = memory(&turns(length));
            log_odds(&memory, &free, &groups, 1.0)
        };
        assert!(odds(1) > odds(10) + 1.0, "{} {}", odds(1), odds(10));
    }

    #[test]
    fn clusters_with_one_label_are_merged_more_easily_while_speech_goes_on() {
        let (mut memory, free, groups) = memory(&turns(3));
        // So much of the evidence that the measures are just short of one speaker.
        let shares = (1..2000).map(|n| n as f32 * 0.001);
        let doubt = |share: &f32| (-0.2..-0.05).contains(&log_odds(&memory, &free, &groups, *share));
        let share = shares.into_iter().find(doubt).expect("no share leaves the measures in doubt");
        let n_left = |memory: &SpeechMemory, thorough| {
            crate::diarizer::clustering::vbx::n_groups(&memory.join_alike(
                &free,
                &groups,
                share,
                thorough,
                Limits::NONE,
            ))
        };
        let n_at_the_end = n_left(&memory, true);
        assert_eq!(n_left(&memory, false), n_at_the_end - 1);
        for (exemplar, group) in memory.exemplars.iter_mut().zip(&groups) {
            exemplar.speaker = SpeakerId(*group as u32 + 1);
        }
        assert_eq!(n_left(&memory, false), n_at_the_end, "every cluster has a label of its own");
    }
}
