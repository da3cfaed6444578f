//! How a session's memory keeps to its bound: neighbours and what is most alike are joined, what is lightest is forgotten.

use super::exemplar::Exemplar;
use super::memory::SpeechMemory;

/// Windows of one exemplar at most, as long as neighbours are joined: some seconds of speech.
const MOST_WINDOWS: f32 = 16.0;

impl SpeechMemory {
    /// Joins exemplars of each speaker until a quarter of the room is free again: neighbours in one stretch of speech, the
    /// lightest first; and if these are too few, the most similar ones.
    pub(super) fn compact(&mut self) {
        let room = self.params.max_exemplars * 3 / 4;
        // The second kind is compared only where the first kind is too few.
        let similar = std::iter::once_with(|| self.similar_pairs()).flatten();
        let pairs = self.neighbours().into_iter().chain(similar);
        let mut into: Vec<Option<usize>> = vec![None; self.exemplars.len()];
        let mut is_target = vec![false; self.exemplars.len()];
        let mut surplus = self.exemplars.len().saturating_sub(room);
        for (keep, gone) in pairs {
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

    /// Pairs of exemplars of which the second continues the first, the lightest pair first.
    fn neighbours(&self) -> Vec<(usize, usize)> {
        let weight = |i: usize| self.exemplars[i].weight + self.exemplars[i + 1].weight;
        let mut pairs: Vec<(usize, usize)> = (1..self.exemplars.len())
            .filter(|&i| self.exemplars[i].continues && self.may_be_one(i - 1, i))
            .filter(|&i| weight(i - 1) <= MOST_WINDOWS)
            .map(|i| (i - 1, i))
            .collect();
        pairs.sort_by(|a, b| weight(a.0).total_cmp(&weight(b.0)).then(a.cmp(b)));
        pairs
    }

    /// All pairs that may be joined, the most similar first.
    fn similar_pairs(&self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for a in 0..self.exemplars.len() {
            for b in (0..a).filter(|&b| self.may_be_one(a, b)) {
                pairs.push((self.similarities.get(a, b), b, a));
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        pairs.into_iter().map(|(_, keep, gone)| (keep, gone)).collect()
    }

    fn may_be_one(&self, a: usize, b: usize) -> bool {
        let (x, y) = (&self.exemplars[a], &self.exemplars[b]);
        x.speaker == y.speaker && x.strong == y.strong && x.constraint == y.constraint
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
                kept[at].absorb(&self.exemplars[i]);
                position[i] = Some(at);
            }
        }
        for (segment, parts) in &mut self.links {
            let n_parts = parts.len();
            parts.retain_mut(|link| match position[link.exemplar] {
                Some(at) => {
                    link.exemplar = at;
                    true
                }
                None => false,
            });
            if parts.len() < n_parts {
                self.touched.extend([*segment]);
            }
        }
        self.links.retain(|_, parts| !parts.is_empty());
        self.exemplars = kept;
        self.touched.note(&self.exemplars);
        self.shares.clear();
        self.rebuild_similarities();
        self.rebuild_models();
    }
}
