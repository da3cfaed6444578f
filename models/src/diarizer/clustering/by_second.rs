//! The last pass and known voices by the embeddings of a second model.
//!
//! Its embeddings may come late or never. An exemplar of which it has seen no window follows the others of its speaker.

use std::collections::{BTreeMap, BTreeSet};

use super::exemplar::Constraint;
use super::memory::{SpeechMemory, heaviest};
use super::second_view::{SecondModel, add_up};
use crate::calibration::Calibration;
use crate::diarizer::interface::WorkId;
use crate::embedding::Embedding;
use crate::events::SpeakerId;
use crate::plda::Plda;

/// Share of the speech that the second model must have seen for the last pass to cluster by it.
const LEAST_SHARE: f32 = 0.5;

/// What of the exemplars is of the first model.
struct FirstView {
    model: SecondModel,
    /// Sum, projected sum and trust of each exemplar.
    exemplars: Vec<(Vec<f32>, Vec<f32>, f32)>,
}

impl SpeechMemory {
    /// From now on a second model sees the windows; `calibration` is that of the cosine of two of its embeddings.
    pub(crate) fn set_second_model(&mut self, plda: Plda, calibration: Calibration) {
        self.second = Some(SecondModel { plda, calibration });
    }

    /// What the second model's embeddings are projected with, if there is one.
    pub(crate) fn second_plda(&self) -> Option<&Plda> {
        self.second.as_ref().map(|second| &second.plda)
    }

    /// Takes the second embedding of a window that an exemplar holds; without one none will come. Returns whether one was
    /// waiting. Cost: `O(n_exemplars)`.
    pub(crate) fn take_second(&mut self, id: WorkId, embedding: Option<&Embedding>) -> bool {
        let Some(second) = &self.second else { return false };
        for exemplar in &mut self.exemplars {
            let view = &mut exemplar.second;
            let Some(n) = view.waiting.iter().position(|waiting| *waiting == id) else { continue };
            view.waiting.swap_remove(n);
            if let Some(embedding) = embedding {
                view.add(embedding, &second.plda);
                self.version += 1;
            }
            return true;
        }
        false
    }

    /// Direction of all clean speech of `speaker` by the second model, and how many windows it stands for.
    pub(super) fn voice_by_second(&self, speaker: SpeakerId, dim: usize) -> Option<(Embedding, f32)> {
        let (mut sum, mut weight) = (vec![0.0_f32; dim], 0.0);
        let clean = |e: &&super::Exemplar| {
            e.speaker == speaker && e.strong && e.constraint != Constraint::UserAssigned
        };
        for exemplar in self.exemplars.iter().filter(clean) {
            if let Some((of_exemplar, _)) = exemplar.second.scaled(exemplar.weight, 0.0) {
                add_up(&mut sum, &of_exemplar);
                weight += exemplar.weight;
            }
        }
        Some((Embedding::from_raw(&sum).ok()?, weight))
    }

    /// Whether a second model has seen enough of the speech to cluster by it.
    pub(crate) fn is_seen_by_second(&self) -> bool {
        let (mut seen, mut all) = (0.0, 0.0);
        for idx in self.free() {
            let exemplar = &self.exemplars[idx];
            all += exemplar.weight;
            seen += if exemplar.second.n_windows > 0.0 { exemplar.weight } else { 0.0 };
        }
        self.second.is_some() && seen > 0.0 && seen >= LEAST_SHARE * all
    }

    /// As [`Self::recluster`], thoroughly and by the embeddings of the second model. Everything but the labels is of the
    /// first model again afterwards.
    pub(crate) fn recluster_by_second(
        &mut self,
        n_elsewhere: usize,
        fresh: impl FnMut() -> SpeakerId,
    ) -> Vec<(SpeakerId, SpeakerId)> {
        let Some(second) = self.second.clone() else { return self.recluster(true, n_elsewhere, fresh) };
        let before: Vec<SpeakerId> = self.models.keys().copied().collect();
        let held: Vec<SpeakerId> = self.exemplars.iter().map(|e| e.speaker).collect();
        let first = self.show_second(second);
        self.recluster(true, n_elsewhere, fresh);
        let unseen = self.show_first(first);
        let mut moved: BTreeMap<SpeakerId, BTreeMap<SpeakerId, f32>> = BTreeMap::new();
        for (idx, (exemplar, from)) in self.exemplars.iter().zip(&held).enumerate() {
            if !unseen.contains(&idx) && exemplar.constraint != Constraint::UserAssigned {
                *moved.entry(*from).or_default().entry(exemplar.speaker).or_default() += exemplar.weight;
            }
        }
        let goes_to = |from: SpeakerId| moved.get(&from).and_then(heaviest);
        for idx in unseen {
            let exemplar = &mut self.exemplars[idx];
            let to = goes_to(held[idx]).filter(|_| exemplar.constraint == Constraint::Free);
            if let Some(to) = to.filter(|to| *to != exemplar.speaker) {
                exemplar.former = Some(exemplar.speaker);
                exemplar.speaker = to;
            }
        }
        self.rebuild_models();
        let gone = before.into_iter().filter(|s| !self.models.contains_key(s));
        gone.filter_map(|s| Some((s, goes_to(s)?))).collect()
    }

    /// Puts the second model's view of every exemplar in place of the first one's, which it returns. Exemplars without one
    /// are left out of clustering.
    fn show_second(&mut self, second: SecondModel) -> FirstView {
        let (dim, projected_dim) = (second.plda.embedding_dim(), second.plda.dim());
        let mut exemplars = Vec::with_capacity(self.exemplars.len());
        let mut unseen = BTreeSet::new();
        for (idx, exemplar) in self.exemplars.iter_mut().enumerate() {
            let trust = exemplar.trust;
            let (sum, projected) = exemplar.second.scaled(exemplar.weight, trust).unwrap_or_else(|| {
                unseen.insert(idx);
                exemplar.trust = 0.0;
                (vec![0.0; dim], vec![0.0; projected_dim])
            });
            let first = std::mem::replace(&mut exemplar.sum, sum);
            exemplars.push((first, std::mem::replace(&mut exemplar.projected, projected), trust));
        }
        self.unseen = unseen;
        FirstView { model: self.exchange(second), exemplars }
    }

    /// Undoes [`Self::show_second`]; returns the exemplars that were left out.
    fn show_first(&mut self, first: FirstView) -> BTreeSet<usize> {
        for (exemplar, (sum, projected, trust)) in self.exemplars.iter_mut().zip(first.exemplars) {
            (exemplar.sum, exemplar.projected, exemplar.trust) = (sum, projected, trust);
        }
        let unseen = std::mem::take(&mut self.unseen);
        self.exchange(first.model);
        unseen
    }

    /// Measures by `model` from now on; returns the one before.
    fn exchange(&mut self, model: SecondModel) -> SecondModel {
        self.dim = model.plda.embedding_dim();
        let plda = std::mem::replace(&mut self.plda, model.plda);
        let calibration = std::mem::replace(&mut self.calibration, model.calibration);
        self.shares.clear();
        self.rebuild_similarities();
        self.rebuild_models();
        SecondModel { plda, calibration }
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::{SampleIndex, SampleRange};

    use super::super::second_view::{SecondEmbedding, SecondView};
    use super::super::tests::{DIM, exemplar, memory_of};
    use super::*;
    use crate::calibration::CALIBRATION;
    use crate::embedding::Embedding;
    use crate::events::SegmentId;

    /// The second model has twice the first one's values.
    const SECOND_DIM: usize = 2 * DIM;

    fn embedding(voice: usize, n: usize) -> Embedding {
        let plda = Plda::isotropic(DIM);
        let first = exemplar(&plda, voice, 0, n).sum;
        Embedding::from_raw(&[first.clone(), first].concat()).unwrap()
    }

    fn add(memory: &mut SpeechMemory, n: usize, speaker: u32, heard_as: usize, second: SecondEmbedding) {
        let span = SampleRange::new(SampleIndex(n as u64 * 16_000), SampleIndex((n as u64 + 1) * 16_000));
        let mut made = exemplar(&memory.plda, heard_as, 0, n);
        made.speaker = SpeakerId(speaker);
        made.second = SecondView::of([&second], memory.second_plda());
        memory.add(SegmentId(n as u64), span, made);
    }

    fn memory() -> SpeechMemory {
        let mut memory = memory_of(None, None);
        memory.set_second_model(Plda::isotropic(SECOND_DIM), CALIBRATION);
        memory
    }

    /// The first model hears one voice where the second hears two, in turns of ten seconds; `seen` says which of the
    /// exemplars the second model has seen.
    fn two_people(seen: impl Fn(usize) -> bool) -> SpeechMemory {
        let mut memory = memory();
        for n in 0..120 {
            let second = match seen(n) {
                true => SecondEmbedding::Done(embedding(n / 10 % 2, n)),
                false => SecondEmbedding::None,
            };
            add(&mut memory, n, 1, 0, second);
        }
        memory
    }

    fn recluster(memory: &mut SpeechMemory) -> Vec<(SpeakerId, SpeakerId)> {
        let mut next = 1;
        memory.recluster_by_second(0, || {
            next += 1;
            SpeakerId(next)
        })
    }

    #[test]
    fn the_last_pass_hears_what_the_second_model_hears() {
        let mut memory = two_people(|_| true);
        assert!(memory.is_seen_by_second());
        let (sums, n_first): (Vec<_>, usize) =
            (memory.exemplars.iter().map(|e| e.sum.clone()).collect(), memory.dim);
        assert_eq!(recluster(&mut memory), []);
        assert_eq!(memory.speakers().collect::<Vec<_>>(), [SpeakerId(1), SpeakerId(2)]);
        assert_ne!(memory.segment_speaker(SegmentId(0)), memory.segment_speaker(SegmentId(10)));
        assert_eq!(memory.segment_speaker(SegmentId(0)), memory.segment_speaker(SegmentId(25)));
        // All but the labels is as before.
        assert_eq!(
            (memory.exemplars.iter().map(|e| e.sum.clone()).collect::<Vec<_>>(), memory.dim),
            (sums, n_first)
        );
        assert_eq!(memory.plda.embedding_dim(), DIM);
        let voice = memory.voice(SpeakerId(1)).unwrap().0;
        assert_eq!(voice.dim(), SECOND_DIM);
        let own = memory.segment_speaker(SegmentId(0)) == Some(SpeakerId(1));
        let (near, far) = (embedding(usize::from(!own), 500), embedding(usize::from(own), 500));
        assert!(voice.cosine(&near) > voice.cosine(&far) + 0.2);
    }

    #[test]
    fn speakers_of_the_first_model_that_are_one_are_reported() {
        let mut memory = memory();
        for n in 0..60 {
            add(&mut memory, n, 1 + (n / 10 % 2) as u32, n / 10 % 2, SecondEmbedding::Done(embedding(0, n)));
        }
        assert_eq!(recluster(&mut memory), [(SpeakerId(2), SpeakerId(1))]);
        assert_eq!(memory.speakers().collect::<Vec<_>>(), [SpeakerId(1)]);
    }

    #[test]
    fn what_the_second_model_has_not_seen_follows_its_speaker() {
        let mut memory = memory();
        for n in 0..60 {
            let seen = n % 4 != 0;
            let second = if seen { SecondEmbedding::Done(embedding(0, n)) } else { SecondEmbedding::None };
            add(&mut memory, n, 1 + (n / 10 % 2) as u32, n / 10 % 2, second);
        }
        assert!(memory.is_seen_by_second());
        let [(gone, stays)] = recluster(&mut memory)[..] else { panic!("two speakers are one") };
        assert_ne!(gone, stays);
        assert!((0..60).all(|n| memory.segment_speaker(SegmentId(n)) == Some(stays)));
        assert!(memory.exemplars.iter().all(|e| e.trust > 0.0) && memory.unseen.is_empty());
    }

    #[test]
    fn too_little_seen_is_not_enough() {
        assert!(!two_people(|n| n % 3 == 0).is_seen_by_second());
        assert!(two_people(|n| n % 3 != 0).is_seen_by_second());
        assert!(!memory_of(None, None).is_seen_by_second());
    }

    #[test]
    fn late_embeddings_find_their_exemplar_after_joining_too() {
        let mut memory = memory();
        memory.params.max_exemplars = 8;
        for n in 0..12 {
            add(&mut memory, n, 1, 0, SecondEmbedding::Waiting(WorkId(n as u64)));
        }
        assert!(memory.len() <= 8 && memory.voice(SpeakerId(1)).is_none());
        for n in 0..11 {
            assert!(memory.take_second(WorkId(n), Some(&embedding(0, n as usize))), "{n}");
        }
        assert!(memory.take_second(WorkId(11), None));
        assert!(!memory.take_second(WorkId(11), None) && !memory.take_second(WorkId(50), None));
        let n_windows: f32 = memory.exemplars.iter().map(|e| e.second.n_windows).sum();
        assert!(n_windows >= 9.0, "{n_windows}");
        assert_eq!(memory.voice(SpeakerId(1)).unwrap().0.dim(), SECOND_DIM);
    }
}
