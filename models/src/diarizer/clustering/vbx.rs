//! VBx: clustering by a Bayesian hidden Markov model. Each speaker is a state with a PLDA voice; the evidence determines
//! their number.
//!
//! After Landini et al., "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization", 2022, equations
//! 16 to 22, with `F_B = 1`; `F_A` is already in the items' weights. Superfluous speakers of the start lose their
//! share and vanish. Cost of a round: `O(n_items · n_groups · dim)`; allocates as much as the responsibilities take.

pub(super) mod refine;

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::embedding::dot;
use crate::plda::SpeakerPosterior;

/// A few neighbouring windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Weighted sum of their projected embeddings.
    pub(crate) sum: &'a [f32],
    pub(crate) weight: f32,
    /// Loop probability: that the speaker of the item before continues.
    pub(crate) loop_prob: f32,
    /// Items with the same value are one speaker's, and items with another value are another's.
    pub(crate) must_link: Option<u32>,
}

/// A group number for each item, and the evidence lower bound (ELBO) of the whole.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) groups: Vec<usize>,
    pub(crate) elbo: f64,
}

/// Rounds at most; it settles in ten or twenty.
const MAX_ROUNDS: usize = 40;
/// Settled when no responsibility moves by more.
const TOLERANCE: f32 = 1e-3;
/// Log odds of the group that an item starts in.
const START_LOG_ODDS: f32 = 5.0;
/// A group with a smaller share of the prior is gone.
const LEAST_SHARE: f32 = 1e-4;

/// Clusters `items`, in the order of time, from the groups `start` (numbers from 0).
///
/// A small group that fits itself can outlive the rounds although it is part of another; so once they have settled,
/// the pair whose joining raises the evidence most is joined, and the rounds go on.
pub(crate) fn cluster(items: &[Item<'_>], phi: &[f32], start: &[usize]) -> Outcome {
    let sums = sums_of(items, phi.len());
    let settle = |start: &[usize]| settle(items, sums.view(), phi, start);
    let mut outcome = settle(start);
    while let Some((a, b)) = one_voice_in_two(items, phi, &outcome.groups) {
        let next = settle(&joined(&outcome.groups, a, b));
        if next.elbo <= outcome.elbo {
            break;
        }
        outcome = next;
    }
    outcome
}

/// Numbers from 0 by first appearance.
pub(crate) fn numbered<T: Ord + Copy>(labels: &[T]) -> Vec<usize> {
    let mut seen: BTreeMap<T, usize> = BTreeMap::new();
    labels
        .iter()
        .map(|label| {
            let next = seen.len();
            *seen.entry(*label).or_insert(next)
        })
        .collect()
}

/// How many groups there are, or were before some vanished: one more than the largest number.
pub(crate) fn n_groups(groups: &[usize]) -> usize {
    groups.iter().max().map_or(0, |m| m + 1)
}

/// The groups with `b` merged into `a`, numbered from 0.
pub(crate) fn joined(groups: &[usize], a: usize, b: usize) -> Vec<usize> {
    let joined: Vec<usize> = groups.iter().map(|&g| if g == b { a } else { g }).collect();
    numbered(&joined)
}

/// The voice of each group, every item wholly in its own.
pub(crate) fn group_posteriors(items: &[Item<'_>], phi: &[f32], groups: &[usize]) -> Vec<SpeakerPosterior> {
    let mut voices = vec![SpeakerPosterior::prior(phi); n_groups(groups)];
    for (item, &group) in items.iter().zip(groups) {
        voices[group].add(item.sum, item.weight);
    }
    voices.iter_mut().for_each(|voice| voice.update(phi));
    voices
}

/// Whether a must-link value holds items of group `g` together.
pub(crate) fn is_linked(items: &[Item<'_>], groups: &[usize], g: usize) -> bool {
    items.iter().zip(groups).any(|(item, of)| *of == g && item.must_link.is_some())
}

/// Weight of the items in each group.
pub(crate) fn group_weights(items: &[Item<'_>], groups: &[usize]) -> Vec<f32> {
    let mut weights = vec![0.0_f32; n_groups(groups)];
    items.iter().zip(groups).for_each(|(item, &group)| weights[group] += item.weight);
    weights
}

/// The pair of groups whose joining raises the evidence most, or costs the least, with that gain; the smaller number
/// first, and never two ties.
fn closest_pair(items: &[Item<'_>], phi: &[f32], groups: &[usize]) -> Option<((usize, usize), f32)> {
    pairs(items, phi, groups).into_iter().reduce(|best, pair| if pair.1 > best.1 { pair } else { best })
}

/// Every pair of groups that may be joined, with the gain in evidence.
pub(crate) fn pairs(items: &[Item<'_>], phi: &[f32], groups: &[usize]) -> Vec<((usize, usize), f32)> {
    let voices = group_posteriors(items, phi, groups);
    let alone: Vec<f32> = voices.iter().map(|voice| voice.evidence(phi)).collect();
    let linked: Vec<bool> = (0..voices.len()).map(|g| is_linked(items, groups, g)).collect();
    let mut pairs = Vec::new();
    for a in (0..voices.len()).filter(|&a| voices[a].weight() > 0.0) {
        for b in (a + 1..voices.len()).filter(|&b| voices[b].weight() > 0.0 && !(linked[a] && linked[b])) {
            let gain =
                voices[a].evidence_with(voices[b].sum(), voices[b].weight(), phi) - alone[a] - alone[b];
            pairs.push(((a, b), gain));
        }
    }
    pairs
}

fn one_voice_in_two(items: &[Item<'_>], phi: &[f32], groups: &[usize]) -> Option<(usize, usize)> {
    closest_pair(items, phi, groups).filter(|(_, gain)| *gain > 0.0).map(|(pair, _)| pair)
}

/// The items' sums as a matrix, shape `(n_items, dim)`.
fn sums_of(items: &[Item<'_>], dim: usize) -> Array2<f32> {
    let mut sums = Array2::zeros((items.len(), dim));
    for (mut row, item) in sums.rows_mut().into_iter().zip(items) {
        row.assign(&ArrayView1::from(item.sum));
    }
    sums
}

fn settle(items: &[Item<'_>], sums: ArrayView2<'_, f32>, phi: &[f32], start: &[usize]) -> Outcome {
    debug_assert_eq!(items.len(), start.len());
    let n = items.len();
    let mut n_groups = n_groups(start);
    if n == 0 {
        return Outcome { groups: Vec::new(), elbo: 0.0 };
    }
    let away = 1.0 / (START_LOG_ODDS.exp() + n_groups as f32 - 1.0);
    let mut responsibilities: Vec<f32> = vec![away; n * n_groups];
    for (i, group) in start.iter().enumerate() {
        responsibilities[i * n_groups + group] = START_LOG_ODDS.exp() * away;
    }
    let mut prior = vec![1.0 / n_groups as f32; n_groups];
    let mut likelihood = f64::NEG_INFINITY;
    let mut voices = Vec::new();
    for _ in 0..MAX_ROUNDS {
        voices = voices_of(items, sums, phi, &responsibilities, n_groups);
        let scores = scores_of(items, sums, &voices);
        let mut next = Vec::new();
        likelihood = forward_backward(items, &scores, &mut prior, &mut next);
        // Ties of the same name pull together after every round.
        bind_ties(items, &mut next, n_groups);
        let moved = next.iter().zip(&responsibilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        responsibilities = next;
        n_groups = drop_empty(&mut responsibilities, &mut prior, n);
        if moved < TOLERANCE {
            break;
        }
    }
    let elbo = likelihood + voices.iter().map(|v| f64::from(v.divergence(phi))).sum::<f64>();
    let groups = responsibilities.chunks_exact(n_groups).map(crate::diarizer::viterbi::argmax).collect();
    Outcome { groups, elbo }
}

/// The voice of each group, every item in each by its share.
fn voices_of(
    items: &[Item<'_>],
    sums: ArrayView2<'_, f32>,
    phi: &[f32],
    responsibilities: &[f32],
    n_groups: usize,
) -> Vec<SpeakerPosterior> {
    let mut weights = vec![0.0; n_groups];
    for (item, row) in items.iter().zip(responsibilities.chunks_exact(n_groups)) {
        weights.iter_mut().zip(row).for_each(|(weight, share)| *weight += item.weight * share);
    }
    let responsibilities = ArrayView2::from_shape((items.len(), n_groups), responsibilities)
        .expect("a share for each item and group");
    let voices = responsibilities.t().dot(&sums);
    voices
        .rows()
        .into_iter()
        .zip(weights)
        .map(|(sum, weight)| {
            let mut voice = SpeakerPosterior::prior(phi);
            voice.add(sum.as_slice().expect("rows are contiguous"), weight);
            voice.update(phi);
            voice
        })
        .collect()
}

/// How well each item fits each voice, shape `(n_items, n_groups)`, row-major.
fn scores_of(items: &[Item<'_>], sums: ArrayView2<'_, f32>, voices: &[SpeakerPosterior]) -> Vec<f32> {
    let mut means = Array2::zeros((sums.ncols(), voices.len()));
    for (mut column, voice) in means.columns_mut().into_iter().zip(voices) {
        column.assign(&ArrayView1::from(voice.mean()));
    }
    let mut scores = sums.dot(&means).into_raw_vec_and_offset().0;
    for (item, row) in items.iter().zip(scores.chunks_exact_mut(voices.len())) {
        row.iter_mut().zip(voices).for_each(|(score, voice)| *score -= voice.bias(item.weight));
    }
    scores
}

/// Responsibilities of every group for every item into `out`; brings `prior` up to date; returns the log-likelihood.
fn forward_backward(items: &[Item<'_>], scores: &[f32], prior: &mut [f32], out: &mut Vec<f32>) -> f64 {
    let s = prior.len();
    let n = items.len();
    let mut likelihood = 0.0_f64;
    let mut emission = vec![0.0_f32; n * s];
    for (row, to) in scores.chunks_exact(s).zip(emission.chunks_exact_mut(s)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        likelihood += f64::from(most);
        for (e, score) in to.iter_mut().zip(row) {
            *e = (score - most).exp();
        }
    }
    let mut forward = vec![0.0_f32; n * s];
    let mut norms = vec![1.0_f32; n];
    for i in 0..n {
        let stays = if i == 0 { 0.0 } else { items[i].loop_prob };
        let (before, here) = forward.split_at_mut(i * s);
        let before = &before[before.len().saturating_sub(s)..];
        let mut norm = 0.0;
        for k in 0..s {
            let from = before.get(k).map_or(0.0, |f| stays * f) + (1.0 - stays) * prior[k];
            here[k] = from * emission[i * s + k];
            norm += here[k];
        }
        let norm = norm.max(f32::MIN_POSITIVE);
        here[..s].iter_mut().for_each(|f| *f /= norm);
        norms[i] = norm;
        likelihood += f64::from(norm.ln());
    }
    let mut arrivals: Vec<f32> = vec![0.0; s];
    let mut backward = vec![1.0_f32; s];
    let mut ahead = vec![0.0_f32; s];
    out.clear();
    out.resize(n * s, 0.0);
    for i in (0..n).rev() {
        let mut total = 0.0;
        for k in 0..s {
            out[i * s + k] = forward[i * s + k] * backward[k];
            total += out[i * s + k];
        }
        out[i * s..(i + 1) * s].iter_mut().for_each(|q| *q /= total.max(f32::MIN_POSITIVE));
        let stays = if i == 0 { 0.0 } else { items[i].loop_prob };
        for k in 0..s {
            ahead[k] = emission[i * s + k] * backward[k] / norms[i];
        }
        let anywhere = dot(prior, &ahead);
        for k in 0..s {
            arrivals[k] += (1.0 - stays) * prior[k] * ahead[k];
            backward[k] = stays * ahead[k] + (1.0 - stays) * anywhere;
        }
    }
    let total = arrivals.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    for (p, a) in prior.iter_mut().zip(&arrivals) {
        *p = a / total;
    }
    likelihood
}

/// Gives all items of a tie to the group that most of them want; no group takes two ties.
fn bind_ties(items: &[Item<'_>], responsibilities: &mut [f32], n_groups: usize) {
    let mut ties: Vec<u32> = items.iter().filter_map(|i| i.must_link).collect();
    ties.sort_unstable();
    ties.dedup();
    let mut taken = vec![false; n_groups];
    for tie in ties {
        let mut wanted = vec![0.0_f32; n_groups];
        for (item, row) in items.iter().zip(responsibilities.chunks_exact(n_groups)) {
            if item.must_link == Some(tie) {
                wanted.iter_mut().zip(row).for_each(|(w, share)| *w += share * item.weight);
            }
        }
        let free = (0..n_groups).filter(|&g| !taken[g]).max_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
        let Some(group) = free else { continue };
        taken[group] = true;
        for (item, row) in items.iter().zip(responsibilities.chunks_exact_mut(n_groups)) {
            if item.must_link == Some(tie) {
                row.fill(0.0);
                row[group] = 1.0;
            }
        }
    }
}

/// Leaves out groups that nobody needs; returns how many are left.
fn drop_empty(responsibilities: &mut Vec<f32>, prior: &mut Vec<f32>, n: usize) -> usize {
    let s = prior.len();
    let mut mass = vec![0.0_f32; s];
    for row in responsibilities.chunks_exact(s) {
        mass.iter_mut().zip(row).for_each(|(m, share)| *m += share);
    }
    let kept: Vec<usize> =
        (0..s).filter(|&k| prior[k] > LEAST_SHARE && mass[k] > 1e-3 || mass[k] > 0.5).collect();
    if kept.len() == s || kept.is_empty() {
        return s;
    }
    let mut slim = Vec::with_capacity(n * kept.len());
    for row in responsibilities.chunks_exact(s) {
        let total = kept.iter().map(|&k| row[k]).sum::<f32>().max(f32::MIN_POSITIVE);
        slim.extend(kept.iter().map(|&k| row[k] / total));
    }
    *responsibilities = slim;
    let total = kept.iter().map(|&k| prior[k]).sum::<f32>().max(f32::MIN_POSITIVE);
    *prior = kept.iter().map(|&k| prior[k] / total).collect();
    kept.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::tests::unit_noise as noise;

    pub(super) const DIM: usize = 16;

    /// Items drawn from the model itself: `who[i]` speaks.
    pub(super) fn draw(who: &[usize], phi: f32, windows: f32) -> Vec<Vec<f32>> {
        who.iter()
            .enumerate()
            .map(|(i, voice)| {
                (0..DIM)
                    .map(|d| {
                        let y = noise((voice * DIM + d) as u64 + 77);
                        let z = phi.sqrt() * y + noise((i * DIM + d) as u64 + 9_000) / windows.sqrt();
                        z * phi.sqrt() * windows
                    })
                    .collect()
            })
            .collect()
    }

    pub(super) fn items(sums: &[Vec<f32>], windows: f32) -> Vec<Item<'_>> {
        sums.iter().map(|sum| Item { sum, weight: windows, loop_prob: 0.7, must_link: None }).collect()
    }

    pub(super) fn same_partition(a: &[usize], b: &[usize]) -> bool {
        (0..a.len()).all(|i| (0..i).all(|j| (a[i] == a[j]) == (b[i] == b[j])))
    }

    #[test]
    fn finds_how_many_voices_there_are() {
        let who: Vec<usize> = (0..60).map(|i| i / 5 % 3).collect();
        let phi = [4.0; DIM];
        let sums = draw(&who, 4.0, 2.0);
        // Far too many groups to begin with: every run of two items is one.
        let start: Vec<usize> = (0..60).map(|i| i / 2).collect();
        let got = cluster(&items(&sums, 2.0), &phi, &start);
        assert!(same_partition(&got.groups, &who), "{:?}", got.groups);
        // The truth is as good a start, and the bound prefers both to one group.
        let best = cluster(&items(&sums, 2.0), &phi, &who);
        assert!((best.elbo - got.elbo).abs() < 0.5, "{} {}", best.elbo, got.elbo);
        assert!(cluster(&items(&sums, 2.0), &phi, &[0; 60]).elbo < got.elbo - 10.0);
    }

    #[test]
    fn one_voice_is_one_group() {
        let sums = draw(&[0; 40], 4.0, 2.0);
        let start: Vec<usize> = (0..40).map(|i| i % 8).collect();
        let got = cluster(&items(&sums, 2.0), &[4.0; DIM], &start);
        assert!(got.groups.iter().all(|g| *g == got.groups[0]), "{:?}", got.groups);
    }

    #[test]
    fn ties_hold_whatever_the_sound() {
        let who: Vec<usize> = (0..40).map(|i| i / 5 % 2).collect();
        let sums = draw(&who, 4.0, 2.0);
        let mut items = items(&sums, 2.0);
        for i in [0, 1, 5, 6] {
            items[i].must_link = Some(1);
        }
        items[39].must_link = Some(2);
        let got = cluster(&items, &[4.0; DIM], &who);
        assert!([1, 5, 6].iter().all(|&i| got.groups[i] == got.groups[0]));
        assert_ne!(got.groups[39], got.groups[0]);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(cluster(&[], &[1.0], &[]).groups.is_empty());
    }
}
