//! Voices of speakers, and splits of a speaker by a user.

use super::exemplar::Constraint;
use super::memory::{Link, SpeechMemory};
use crate::embedding::{Embedding, dot};
use crate::events::{SegmentId, SpeakerId};

/// Rounds in which a voice that holds two people is parted; it settles in a few.
const PARTING_ROUNDS: usize = 20;

impl SpeechMemory {
    /// Direction of all clean speech of `speaker`, and how many windows it is made from; by the second model if there is
    /// one. What a person gave to the speaker against its sound is left out.
    pub(crate) fn voice(&self, speaker: SpeakerId) -> Option<(Embedding, f32)> {
        if let Some(second) = self.second_plda() {
            return self.voice_by_second(speaker, second.embedding_dim());
        }
        let mut sum = vec![0.0_f32; self.dim];
        let mut weight = 0.0;
        let clean = |e: &&super::Exemplar| {
            e.speaker == speaker && e.strong && e.constraint != Constraint::UserAssigned
        };
        for exemplar in self.exemplars.iter().filter(clean) {
            sum.iter_mut().zip(&exemplar.sum).for_each(|(mine, other)| *mine += other);
            weight += exemplar.weight;
        }
        Some((Embedding::from_raw(&sum).ok()?, weight))
    }

    /// Makes two people of `old` for good: `segments` are `new`'s, the rest stays. Both are groups of their own that
    /// no clustering joins.
    pub(crate) fn split(&mut self, old: SpeakerId, new: SpeakerId, segments: &[SegmentId]) {
        let mut goes = vec![0.0_f32; self.exemplars.len()];
        for (segment, parts) in &self.links {
            let sign = if segments.contains(segment) { 1.0 } else { -1.0 };
            parts.iter().for_each(|link| goes[link.exemplar] += sign * link.weight);
        }
        for (exemplar, goes) in self.exemplars.iter_mut().zip(goes).filter(|(e, _)| e.speaker == old) {
            if goes > 0.0 {
                exemplar.speaker = new;
            }
            if exemplar.constraint == Constraint::Free {
                exemplar.constraint = Constraint::MustLink;
            }
        }
        self.rebuild_models();
    }

    /// The segments of `speaker` that sound like a second person: its clean speech parted by two-means on the sphere,
    /// begun with the least alike pair; those of the smaller part. Empty if there is too little to part.
    pub(crate) fn second_voice(&self, speaker: SpeakerId) -> Vec<SegmentId> {
        let mine: Vec<usize> = (0..self.exemplars.len())
            .filter(|&i| {
                let e = &self.exemplars[i];
                e.speaker == speaker && e.strong && e.constraint != Constraint::UserAssigned
            })
            .collect();
        let mut least: Option<(f32, usize, usize)> = None;
        for (n, &a) in mine.iter().enumerate() {
            for &b in &mine[..n] {
                let similarity = self.similarities.get(a, b);
                if least.is_none_or(|(s, ..)| similarity < s) {
                    least = Some((similarity, a, b));
                }
            }
        }
        let Some((_, a, b)) = least else { return Vec::new() };
        let mut means = [self.exemplars[a].sum.clone(), self.exemplars[b].sum.clone()];
        let mut in_second: Vec<bool> = Vec::new();
        for _ in 0..PARTING_ROUNDS {
            let lengths = [dot(&means[0], &means[0]).sqrt(), dot(&means[1], &means[1]).sqrt()];
            let next: Vec<bool> = mine
                .iter()
                .map(|&i| {
                    let sum = &self.exemplars[i].sum;
                    dot(sum, &means[1]) / lengths[1] > dot(sum, &means[0]) / lengths[0]
                })
                .collect();
            let n_second = next.iter().filter(|second| **second).count();
            if next == in_second || n_second == 0 || n_second == next.len() {
                break;
            }
            in_second = next;
            for (group, mean) in means.iter_mut().enumerate() {
                mean.fill(0.0);
                for (&i, _) in mine.iter().zip(&in_second).filter(|(_, s)| usize::from(**s) == group) {
                    mean.iter_mut().zip(&self.exemplars[i].sum).for_each(|(m, v)| *m += v);
                }
            }
        }
        let weight = |second: bool| -> f32 {
            let of = mine.iter().zip(&in_second).filter(|(_, s)| **s == second);
            of.map(|(&i, _)| self.exemplars[i].weight).sum()
        };
        let smaller = weight(true) <= weight(false);
        let sign = |idx: usize| match mine.iter().position(|&i| i == idx) {
            Some(n) if in_second.get(n) == Some(&smaller) => 1.0,
            Some(_) => -1.0,
            None => 0.0,
        };
        let balance =
            |parts: &[Link]| parts.iter().map(|link| sign(link.exemplar) * link.weight).sum::<f32>();
        self.links.iter().filter(|(_, parts)| balance(parts) > 0.0).map(|(segment, _)| *segment).collect()
    }
}
