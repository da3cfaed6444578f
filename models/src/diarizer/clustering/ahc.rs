//! Agglomerative clustering with average linkage over groups of embeddings.
//!
//! Average linkage between two groups of unit vectors is the mean of all pairwise cosines, which the sums of the
//! groups give exactly: `sum_a · sum_b / (n_a n_b)`. Merging updates it linearly (Lance and Williams, 1967), so
//! one run over `n` items costs O(n²) time with cached row maxima and one `n × n` matrix.

use super::exemplar::Constraint;
use super::memory::SpeechMemory;
use super::similarities::Similarities;
use crate::embedding::dot;

/// Result of clustering: a group number for each item, numbered by first appearance.
pub(crate) type Groups = Vec<usize>;

/// Merges the most similar pair of groups until `n_groups` are left, or none may merge.
///
/// `weights[i]` is the number of vectors behind item `i`. Items with the same `must_link` value start as
/// one group, and groups with different values never merge. Deterministic: the lower index wins a draw.
pub(crate) fn average_linkage(
    similarities: &Similarities,
    weights: &[f32],
    must_link: &[Option<u32>],
    n_groups: usize,
) -> Groups {
    let n = similarities.len();
    debug_assert!(weights.len() == n && must_link.len() == n);
    let mut work = Work::new(similarities, weights, must_link);
    for (a, value) in must_link.iter().enumerate() {
        if value.is_some()
            && let Some(first) = (0..a).find(|&b| work.alive[b] && work.must_link[b] == *value)
        {
            work.merge(first, a);
        }
    }
    work.refresh_all();
    let mut n_left = work.alive.iter().filter(|alive| **alive).count();
    while n_left > n_groups
        && let Some((a, b)) = work.best_pair().filter(|&(a, b)| work.sim(a, b) > f32::NEG_INFINITY)
    {
        work.merge(a, b);
        work.refresh_after(a, b);
        n_left -= 1;
    }
    work.groups()
}

struct Work {
    n: usize,
    sim: Vec<f32>,
    weight: Vec<f32>,
    must_link: Vec<Option<u32>>,
    alive: Vec<bool>,
    parent: Vec<usize>,
    /// Most similar living partner with a higher index, for each living item.
    best: Vec<Option<usize>>,
}

impl Work {
    fn new(similarities: &Similarities, weights: &[f32], must_link: &[Option<u32>]) -> Self {
        let n = similarities.len();
        let mut sim = vec![f32::NEG_INFINITY; n * n];
        for a in 0..n {
            for b in 0..a {
                let forbidden = matches!((must_link[a], must_link[b]), (Some(x), Some(y)) if x != y);
                let value = if forbidden { f32::NEG_INFINITY } else { similarities.get(a, b) };
                sim[a * n + b] = value;
                sim[b * n + a] = value;
            }
        }
        Self {
            n,
            sim,
            weight: weights.to_vec(),
            must_link: must_link.to_vec(),
            alive: vec![true; n],
            parent: (0..n).collect(),
            best: vec![None; n],
        }
    }

    fn sim(&self, a: usize, b: usize) -> f32 {
        self.sim[a * self.n + b]
    }

    /// Joins `b` into `a`.
    fn merge(&mut self, a: usize, b: usize) {
        let (wa, wb) = (self.weight[a], self.weight[b]);
        for k in 0..self.n {
            if !self.alive[k] || k == a || k == b {
                continue;
            }
            // A forbidden pair stays forbidden: minus infinity survives the weighted mean.
            let value = (wa * self.sim(a, k) + wb * self.sim(b, k)) / (wa + wb);
            self.sim[a * self.n + k] = value;
            self.sim[k * self.n + a] = value;
        }
        self.weight[a] = wa + wb;
        self.must_link[a] = self.must_link[a].or(self.must_link[b]);
        self.alive[b] = false;
        self.parent[b] = a;
    }

    fn refresh(&mut self, a: usize) {
        let row = &self.sim[a * self.n..(a + 1) * self.n];
        let mut best: Option<usize> = None;
        for b in a + 1..self.n {
            if self.alive[b] && best.is_none_or(|k| row[b] > row[k]) {
                best = Some(b);
            }
        }
        self.best[a] = best;
    }

    fn refresh_all(&mut self) {
        for a in 0..self.n {
            if self.alive[a] {
                self.refresh(a);
            }
        }
    }

    /// After `b` joined `a`: only rows that pointed at either, or that the new group now beats, can change.
    fn refresh_after(&mut self, a: usize, b: usize) {
        self.refresh(a);
        for k in 0..self.n {
            if !self.alive[k] || k == a {
                continue;
            }
            match self.best[k] {
                Some(best) if best == a || best == b => self.refresh(k),
                Some(best) if k < a && self.sim(k, a) > self.sim(k, best) => self.best[k] = Some(a),
                _ => {}
            }
        }
    }

    fn best_pair(&self) -> Option<(usize, usize)> {
        let mut found: Option<(usize, usize)> = None;
        for a in 0..self.n {
            if let (true, Some(b)) = (self.alive[a], self.best[a])
                && found.is_none_or(|(x, y)| self.sim(a, b) > self.sim(x, y))
            {
                found = Some((a, b));
            }
        }
        found
    }

    fn groups(&self) -> Groups {
        let mut number = vec![usize::MAX; self.n];
        let mut next = 0;
        (0..self.n)
            .map(|item| {
                let mut root = item;
                while self.parent[root] != root {
                    root = self.parent[root];
                }
                if number[root] == usize::MAX {
                    number[root] = next;
                    next += 1;
                }
                number[root]
            })
            .collect()
    }
}

impl SpeechMemory {
    /// Average linkage into `n_groups` groups by cosine, after taking away the mean of all.
    pub(super) fn linkage(&self, free: &[usize], n_groups: usize) -> Vec<usize> {
        let mut mean = vec![0.0_f32; self.dim];
        let share = 1.0 / free.len() as f32;
        for &i in free {
            let e = &self.exemplars[i];
            mean.iter_mut().zip(&e.sum).for_each(|(m, v)| *m += share * v / e.weight);
        }
        let of_mean: Vec<f32> =
            free.iter().map(|&i| dot(&self.exemplars[i].sum, &mean) / self.exemplars[i].weight).collect();
        let mean_square = dot(&mean, &mean);
        let inner = |a: usize, b: usize| {
            let raw = if a == b {
                let e = &self.exemplars[free[a]];
                e.mean_cosine(&e.sum, e.weight)
            } else {
                self.similarities.get(free[a], free[b])
            };
            raw - of_mean[a] - of_mean[b] + mean_square
        };
        let lengths: Vec<f32> = (0..free.len()).map(|a| inner(a, a).max(1e-9).sqrt()).collect();
        let mut similarities = Similarities::default();
        for a in 0..free.len() {
            similarities.push((0..a).map(|b| inner(a, b) / (lengths[a] * lengths[b])).collect());
        }
        let pins: Vec<Option<u32>> = free
            .iter()
            .map(|&i| {
                (self.exemplars[i].constraint == Constraint::MustLink).then_some(self.exemplars[i].speaker.0)
            })
            .collect();
        average_linkage(&similarities, &vec![1.0; free.len()], &pins, n_groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matrix(n: usize, mut value: impl FnMut(usize, usize) -> f32) -> Similarities {
        let mut s = Similarities::default();
        for a in 0..n {
            s.push((0..a).map(|b| value(a, b)).collect());
        }
        s
    }

    #[test]
    fn two_blocks_become_two_groups() {
        let s = matrix(6, |a, b| if (a < 3) == (b < 3) { 0.9 } else { 0.1 });
        assert_eq!(average_linkage(&s, &[1.0; 6], &[None; 6], 2), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn as_many_groups_as_items_merge_nothing() {
        let s = matrix(4, |_, _| 0.9);
        assert_eq!(average_linkage(&s, &[1.0; 4], &[None; 4], 4), [0, 1, 2, 3]);
    }

    #[test]
    fn pins_join_and_part_whatever_the_similarity() {
        let s = matrix(4, |a, b| if (a < 2) == (b < 2) { 0.9 } else { 0.1 });
        let groups = average_linkage(&s, &[1.0; 4], &[Some(1), Some(2), Some(1), None], 1);
        assert_eq!(groups[0], groups[2]);
        assert_ne!(groups[0], groups[1]);
    }

    /// The plain algorithm, straight from the definition.
    fn reference(s: &Similarities, weights: &[f32], n_groups: usize) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = (0..s.len()).map(|i| vec![i]).collect();
        let linkage = |a: &[usize], b: &[usize]| {
            let (mut total, mut weight) = (0.0_f64, 0.0_f64);
            for &i in a {
                for &j in b {
                    let w = f64::from(weights[i] * weights[j]);
                    total += w * f64::from(s.get(i, j));
                    weight += w;
                }
            }
            total / weight
        };
        while groups.len() > n_groups {
            let mut best: Option<(usize, usize, f64)> = None;
            for a in 0..groups.len() {
                for b in a + 1..groups.len() {
                    let value = linkage(&groups[a], &groups[b]);
                    if best.is_none_or(|(_, _, v)| value > v) {
                        best = Some((a, b, value));
                    }
                }
            }
            if let Some((a, b, _)) = best {
                let moved = groups.remove(b);
                groups[a].extend(moved);
            }
        }
        groups
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            values in prop::collection::vec(-1.0_f32..1.0, 45),
            weights in prop::collection::vec(1_u8..6, 10),
            target in 1_usize..10,
        ) {
            let weights: Vec<f32> = weights.into_iter().map(f32::from).collect();
            let s = matrix(10, |a, b| values[a * (a - 1) / 2 + b]);
            let got = average_linkage(&s, &weights, &[None; 10], target);
            for group in reference(&s, &weights, target) {
                for pair in group.windows(2) {
                    prop_assert_eq!(got[pair[0]], got[pair[1]]);
                }
            }
            let n_groups = got.iter().max().map_or(0, |m| m + 1);
            prop_assert_eq!(n_groups, reference(&s, &weights, target).len());
        }
    }
}
