//! Segments that turn out to hold several people: where the clustering changes speaker inside one.

use std::cmp::Ordering;

use diarized_dsp::SampleIndex;

use super::exemplar::Constraint;
use super::memory::SpeechMemory;
use crate::events::{SegmentId, SpeakerId};

/// A stretch of fewer windows than this is no part of its own: the windows at a change hold both voices.
const MIN_PART_WINDOWS: f32 = 4.0;
/// The same where a user expects a number of speakers, where a speaker may have one word only.
pub(super) const MIN_EXPECTED_PART_WINDOWS: f32 = 2.0;

/// Neighbouring pieces of one segment that have one speaker.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Where it begins: half-way between the windows around the change.
    start: SampleIndex,
    speaker: SpeakerId,
    weight: f32,
}

impl SpeechMemory {
    /// Where the speaker changes inside `segment`, in order. Empty where a user has corrected any of it.
    pub(crate) fn changes_inside(&self, segment: SegmentId) -> Vec<SampleIndex> {
        let Some(links) = self.links.get(&segment) else { return Vec::new() };
        if links.iter().any(|link| self.exemplars[link.exemplar].constraint != Constraint::Free) {
            return Vec::new();
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        for (n, link) in links.iter().enumerate() {
            let before = links[n.saturating_sub(1)].span.end();
            let start = SampleIndex(u64::midpoint(before.0, link.span.start().0));
            let speaker = self.exemplars[link.exemplar].speaker;
            stretches.push(Stretch { start, speaker, weight: link.weight });
        }
        join_equal(&mut stretches);
        let is_expected = self.params.expected_speakers.is_some();
        let least = if is_expected { MIN_EXPECTED_PART_WINDOWS } else { MIN_PART_WINDOWS };
        // First what interrupts one speaker, then the shortest, which goes to the longer of its neighbours.
        while stretches.len() > 1 {
            let interrupts = |n: usize| {
                let around =
                    n.checked_sub(1).and_then(|before| stretches.get(before)).zip(stretches.get(n + 1));
                around.is_some_and(|(before, after)| before.speaker == after.speaker)
            };
            let short = (0..stretches.len()).filter(|&n| stretches[n].weight < least);
            let key = |n: usize| (!interrupts(n), stretches[n].weight);
            let Some(n) = short.min_by(|&a, &b| key(a).partial_cmp(&key(b)).unwrap_or(Ordering::Equal))
            else {
                break;
            };
            let weight = |n: Option<usize>| n.and_then(|n| stretches.get(n)).map_or(0.0, |s| s.weight);
            let into = if weight(n.checked_sub(1)) >= weight(Some(n + 1)) { n - 1 } else { n + 1 };
            stretches[n].speaker = stretches[into].speaker;
            join_equal(&mut stretches);
        }
        stretches.iter().skip(1).map(|stretch| stretch.start).collect()
    }

    /// What the memory holds of `segment` from `at` on is `rest`'s from now on.
    pub(crate) fn divide(&mut self, segment: SegmentId, at: SampleIndex, rest: SegmentId) {
        let Some(links) = self.links.get_mut(&segment) else { return };
        self.touched.extend([segment, rest]);
        let n_kept = links.iter().take_while(|link| link.span.end() <= at).count();
        let moved = links.split_off(n_kept);
        if links.is_empty() {
            self.links.remove(&segment);
        }
        if !moved.is_empty() {
            self.links.insert(rest, moved);
        }
    }
}

/// Makes one of neighbours with the same speaker.
fn join_equal(stretches: &mut Vec<Stretch>) {
    stretches.dedup_by(|next, held| {
        let same = next.speaker == held.speaker;
        if same {
            held.weight += next.weight;
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use diarized_dsp::SampleRange;

    use super::*;
    use crate::calibration::CALIBRATION;
    use crate::diarizer::clustering::{Exemplar, SecondView};
    use crate::diarizer::params::{DiarizerOptions, DiarizerParams};
    use crate::plda::Plda;

    const SEGMENT: SegmentId = SegmentId(1);
    /// Samples from one window to the next.
    const STEP: u64 = 4000;

    /// A segment of exemplars of two windows each, by these speakers.
    fn memory(speakers: &[u32]) -> SpeechMemory {
        let params = DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
        let mut memory = SpeechMemory::new(params.memory(), Plda::isotropic(4), CALIBRATION);
        for (n, &speaker) in (0..).zip(speakers) {
            let exemplar = Exemplar {
                sum: vec![1.0, 0.0, 0.0, 0.0],
                weight: 2.0,
                projected: vec![0.2, 0.0, 0.0, 0.0],
                trust: 0.2,
                continues: n > 0,
                strong: true,
                speaker: SpeakerId(speaker),
                former: None,
                constraint: Constraint::Free,
                second: SecondView::default(),
            };
            let first = 2 * n * STEP;
            memory.add(SEGMENT, SampleRange::new(SampleIndex(first), SampleIndex(first + STEP)), exemplar);
        }
        memory
    }

    /// Changes inside the segment, in windows.
    fn changes(speakers: &[u32]) -> Vec<f64> {
        let changes = memory(speakers).changes_inside(SEGMENT);
        changes.into_iter().map(|at| at.0 as f64 / STEP as f64).collect()
    }

    #[test]
    fn a_change_lies_between_the_windows_around_it() {
        assert_eq!(changes(&[1, 1, 2, 2]), [3.5]);
        assert_eq!(changes(&[1, 1, 2, 2, 3, 3, 1, 1]), [3.5, 7.5, 11.5]);
        assert!(changes(&[1, 1, 1]).is_empty());
    }

    #[test]
    fn what_is_too_short_goes_to_the_longer_neighbour() {
        assert!(changes(&[1, 1, 1, 2, 1, 1]).is_empty());
        assert_eq!(changes(&[1, 1, 1, 2, 3, 3]), [7.5]);
        assert!(changes(&[1, 2]).is_empty());
        // Each of these is too short alone; those that come to belong together are not.
        assert_eq!(changes(&[1, 1, 2, 3, 2, 2]), [3.5]);
    }

    #[test]
    fn corrected_segments_are_left_whole() {
        let mut memory = memory(&[1, 1, 2, 2]);
        memory.reassign(SEGMENT, SpeakerId(1));
        assert!(memory.changes_inside(SEGMENT).is_empty());
        assert!(memory.changes_inside(SegmentId(9)).is_empty());
    }

    #[test]
    fn both_sides_of_a_division_keep_their_exemplars() {
        let mut memory = memory(&[1, 1, 2, 2, 2]);
        let [at] = memory.changes_inside(SEGMENT)[..] else { panic!("one change") };
        memory.divide(SEGMENT, at, SegmentId(2));
        assert_eq!(memory.segment_speaker(SEGMENT), Some(SpeakerId(1)));
        assert_eq!(memory.segment_speaker(SegmentId(2)), Some(SpeakerId(2)));
        assert_eq!(memory.links.len(), 2);
        assert!(memory.changes_inside(SegmentId(2)).is_empty());
    }
}
