//! By how much each segment sounds more like its own speaker than like the others.

use std::collections::BTreeMap;

use super::exemplar::Constraint;
use super::memory::SpeechMemory;
use crate::embedding::dot;
use crate::events::{SegmentId, SpeakerId};

/// Mean cosine of two windows of a speaker who has spoken too little to measure it.
const USUAL_COSINE: f32 = 0.3;

/// Sums over the exemplars of one speaker.
#[derive(Debug, Clone)]
struct Sums {
    /// Of the embeddings, shape `(dim,)`.
    sum: Vec<f32>,
    weight: f32,
    /// Of the squared lengths and of the squared weights: what is taken off a mean cosine of different exemplars.
    square: f32,
    weight_square: f32,
}

impl Sums {
    fn new(dim: usize) -> Self {
        Self { sum: vec![0.0; dim], weight: 0.0, square: 0.0, weight_square: 0.0 }
    }

    fn add(&mut self, sum: &[f32], weight: f32) {
        self.sum.iter_mut().zip(sum).for_each(|(mine, other)| *mine += other);
        self.weight += weight;
        self.square += dot(sum, sum);
        self.weight_square += weight * weight;
    }

    /// Mean cosine of two windows of different exemplars. `None` with one exemplar.
    fn cohesion(&self) -> Option<f32> {
        let pairs = self.weight * self.weight - self.weight_square;
        (pairs > 0.5).then(|| (dot(&self.sum, &self.sum) - self.square) / pairs)
    }
}

impl SpeechMemory {
    /// For each segment the mean cosine of its windows with the rest of its speaker's, less that with the windows of the
    /// best other speaker, or less 0 without one. Segments that a user gave to a speaker are left out. Cost:
    /// `O((n_exemplars + n_segments · n_speakers) · dim)`.
    pub(crate) fn leads(&self) -> BTreeMap<SegmentId, f32> {
        let mut of_speakers: BTreeMap<SpeakerId, Sums> = BTreeMap::new();
        for exemplar in &self.exemplars {
            let sums = of_speakers.entry(exemplar.speaker).or_insert_with(|| Sums::new(self.dim));
            sums.add(&exemplar.sum, exemplar.weight);
        }
        self.links.keys().filter_map(|&id| Some((id, self.lead(id, &of_speakers)?))).collect()
    }

    fn lead(&self, segment: SegmentId, of_speakers: &BTreeMap<SpeakerId, Sums>) -> Option<f32> {
        let mut own = Sums::new(self.dim);
        for link in self.links.get(&segment)? {
            let exemplar = &self.exemplars[link.exemplar];
            if exemplar.constraint == Constraint::UserAssigned {
                return None;
            }
            // An exemplar may hold pieces of several segments.
            let share = link.weight / exemplar.weight;
            let piece: Vec<f32> = exemplar.sum.iter().map(|value| share * value).collect();
            own.add(&piece, link.weight);
        }
        let speaker = self.segment_speaker(segment)?;
        let all = of_speakers.get(&speaker)?;
        let rest_weight = all.weight - own.weight;
        let fit = if rest_weight > 0.5 {
            (dot(&all.sum, &own.sum) - dot(&own.sum, &own.sum)) / (rest_weight * own.weight)
        } else {
            all.cohesion().unwrap_or(USUAL_COSINE)
        };
        let others = of_speakers.iter().filter(|(other, _)| **other != speaker);
        let cosine = |sums: &Sums| dot(&sums.sum, &own.sum) / (sums.weight * own.weight);
        let rival = others.map(|(_, sums)| cosine(sums)).reduce(f32::max).unwrap_or(0.0);
        Some(fit - rival)
    }

    /// Windows of speech that the memory holds of each speaker.
    pub(crate) fn windows_by_speaker(&self) -> BTreeMap<SpeakerId, f32> {
        let mut windows = BTreeMap::new();
        for exemplar in &self.exemplars {
            *windows.entry(exemplar.speaker).or_default() += exemplar.weight;
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::SampleRange;

    use super::*;
    use crate::calibration::Calibration;
    use crate::diarizer::clustering::{Exemplar, MemoryParams, SecondView};
    use crate::plda::Plda;

    const PARAMS: MemoryParams = MemoryParams {
        recluster_margin_llr: 2.0,
        window_weight: 0.14,
        window_s: 0.25,
        min_speaker_windows: 5.0,
        max_exemplars: 64,
        max_speakers: None,
        expected_speakers: None,
    };

    fn memory(segments: &[(u64, u32, [f32; 2])]) -> SpeechMemory {
        let calibration = Calibration { window_ms: 1500, scale: 16.0, offset: -4.0 };
        let mut memory = SpeechMemory::new(PARAMS, Plda::isotropic(2), calibration);
        for &(id, speaker, direction) in segments {
            let exemplar = Exemplar {
                sum: direction.iter().map(|v| 2.0 * v).collect(),
                weight: 2.0,
                projected: direction.to_vec(),
                trust: 0.28,
                continues: false,
                strong: true,
                speaker: SpeakerId(speaker),
                former: None,
                constraint: Constraint::Free,
                second: SecondView::default(),
            };
            memory.add(
                SegmentId(id),
                SampleRange::with_len(diarized_dsp::SampleIndex(id * 16_000), 4000),
                exemplar,
            );
        }
        memory
    }

    #[test]
    fn a_segment_of_another_voice_has_no_lead() {
        let (ann, bob) = ([1.0, 0.0], [0.0, 1.0]);
        let memory = memory(&[(1, 1, ann), (2, 1, ann), (3, 1, bob), (4, 2, bob)]);
        let leads = memory.leads();
        // Half of the rest of speaker 1 is of Bob's voice.
        assert!((leads[&SegmentId(1)] - 0.5).abs() < 1e-6, "{leads:?}");
        assert!((leads[&SegmentId(3)] - -1.0).abs() < 1e-6, "{leads:?}");
        assert!((leads[&SegmentId(4)] - (USUAL_COSINE - 1.0 / 3.0)).abs() < 1e-6, "alone with one exemplar");
        assert_eq!(memory.windows_by_speaker()[&SpeakerId(1)], 6.0);
    }

    #[test]
    fn what_a_user_has_assigned_has_no_lead() {
        let mut memory = memory(&[(1, 1, [1.0, 0.0]), (2, 1, [1.0, 0.0])]);
        memory.reassign(SegmentId(2), SpeakerId(1));
        assert_eq!(memory.leads().into_keys().collect::<Vec<_>>(), [SegmentId(1)]);
    }
}
