//! How a session's memory keeps to its bound: what is most alike is joined, what is lightest forgotten.

use super::memory::{Exemplar, SpeechMemory};

impl SpeechMemory {
    /// Joins the most similar exemplars of each speaker until a quarter of the room is free again.
    pub(super) fn compact(&mut self) {
        let room = self.params.max_exemplars * 3 / 4;
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for a in 0..self.exemplars.len() {
            for b in 0..a {
                let (x, y) = (&self.exemplars[a], &self.exemplars[b]);
                if x.speaker == y.speaker && x.strong == y.strong && x.constraint == y.constraint {
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
                kept[at].absorb(&self.exemplars[i]);
                position[i] = Some(at);
            }
        }
        for parts in self.links.values_mut() {
            parts.retain_mut(|link| match position[link.exemplar] {
                Some(at) => {
                    link.exemplar = at;
                    true
                }
                None => false,
            });
        }
        self.links.retain(|_, parts| !parts.is_empty());
        self.exemplars = kept;
        self.rebuild_similarities();
        self.rebuild_models();
    }
}
