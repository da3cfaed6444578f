//! Segments whose label may have to follow the memory, so that a clustering does not read all segments of a day again.

use super::memory::SpeechMemory;
use crate::events::SegmentId;

impl SpeechMemory {
    /// Segments whose speaker, or the changes inside them, may differ from the published labels, in order.
    pub(crate) fn touched(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.touched.segments.iter().copied()
    }

    /// The labels follow the memory now. Segments that are `open` stay touched: their labels may still change by
    /// themselves.
    pub(crate) fn settle_touched(&mut self, is_open: impl Fn(SegmentId) -> bool) {
        self.touched.segments.retain(|id| is_open(*id));
    }

    /// Adds the segments of exemplars with another speaker or constraint than noted, and notes all. Cost:
    /// `O(n_exemplars)`, and `O(n_segments)` where one has changed.
    pub(super) fn touch_moved(&mut self) {
        let noted = self.touched.noted.iter();
        let mut moved: Vec<bool> =
            self.exemplars.iter().zip(noted).map(|(e, noted)| (e.speaker, e.constraint) != *noted).collect();
        moved.resize(self.exemplars.len(), true);
        if moved.contains(&true) {
            let has_moved =
                self.links.iter().filter(|(_, links)| links.iter().any(|link| moved[link.exemplar]));
            self.touched.extend(has_moved.map(|(segment, _)| *segment));
            self.touched.note(&self.exemplars);
        }
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::{SampleIndex, SampleRange};

    use super::super::exemplar::{Constraint, Exemplar};
    use super::super::second_view::SecondView;
    use super::*;
    use crate::calibration::CALIBRATION;
    use crate::diarizer::params::{DiarizerOptions, DiarizerParams};
    use crate::events::SpeakerId;
    use crate::plda::Plda;

    /// Segments 1 and 2 of two speakers and segment 3 of both, with exemplars of their own.
    fn memory(max_exemplars: usize) -> SpeechMemory {
        let params = DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
        let params = crate::diarizer::clustering::MemoryParams { max_exemplars, ..params.memory() };
        let mut memory = SpeechMemory::new(params, Plda::isotropic(2), CALIBRATION);
        for (n, (segment, speaker)) in (0..).zip([(1, 1), (2, 2), (3, 1), (3, 2)]) {
            let exemplar = Exemplar {
                sum: if speaker == 1 { vec![2.0, 0.0] } else { vec![0.0, 2.0] },
                weight: 2.0 + n as f32,
                projected: vec![0.2, 0.0],
                trust: 0.2,
                continues: false,
                strong: true,
                speaker: SpeakerId(speaker),
                former: None,
                constraint: Constraint::Free,
                second: SecondView::default(),
            };
            memory.add(SegmentId(segment), SampleRange::with_len(SampleIndex(n * 8000), 4000), exemplar);
        }
        memory
    }

    /// The numbers of the touched segments; none is touched afterwards.
    fn taken(memory: &mut SpeechMemory) -> Vec<u64> {
        let ids = memory.touched().map(|id| id.0).collect();
        memory.settle_touched(|_| false);
        ids
    }

    #[test]
    fn every_change_touches_the_segments_that_it_can_change() {
        let mut memory = memory(64);
        assert_eq!(taken(&mut memory), [1, 2, 3]);
        assert_eq!(taken(&mut memory), [0; 0]);
        memory.rebuild_models();
        assert_eq!(taken(&mut memory), [0; 0], "nothing has changed");
        memory.divide(SegmentId(3), SampleIndex(20_000), SegmentId(4));
        assert_eq!(taken(&mut memory), [3, 4]);
        memory.reassign(SegmentId(1), SpeakerId(2));
        assert_eq!(taken(&mut memory), [1]);
        memory.merge(SpeakerId(1), SpeakerId(2));
        assert_eq!(
            taken(&mut memory),
            [2, 3, 4],
            "the merge holds for all of them; the user assigned segment 1"
        );
    }

    #[test]
    fn open_segments_stay_touched() {
        let mut memory = memory(64);
        memory.settle_touched(|id| id == SegmentId(2));
        assert_eq!(taken(&mut memory), [2]);
    }

    #[test]
    fn compaction_touches_only_what_it_forgets() {
        let mut memory = memory(64);
        memory.settle_touched(|_| false);
        // Room for three: the two of speaker 1 become one.
        memory.params.max_exemplars = 4;
        memory.compact();
        assert_eq!(memory.len(), 3);
        assert_eq!(taken(&mut memory), [0; 0]);
        // Room for none but one: of one speaker each, the lightest is forgotten.
        memory.params.max_exemplars = 2;
        memory.compact();
        assert_eq!(memory.len(), 1);
        assert!(!taken(&mut memory).is_empty());
    }
}
