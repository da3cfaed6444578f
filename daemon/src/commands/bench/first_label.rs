//! Finds the first label of speech among events, and distinguishes speech after a pause from a change of speaker.

use std::collections::{BTreeMap, VecDeque};

use diarized_dsp::SampleIndex;
use diarized_models::events::{Event, SegmentId};

/// A segment that begins within this distance of labelled speech is no new onset, in samples: 50 ms.
const TOUCHES: u64 = 800;
/// How long labelled speech is remembered, in samples: two minutes.
const REMEMBERED: u64 = 120 * 16_000;

/// The first label of some speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstLabel {
    /// Where the speech begins.
    pub(super) start: SampleIndex,
    /// Nothing before it was labelled, so that speech began here; else it follows other speech or takes its place.
    pub(super) is_onset: bool,
}

/// What was labelled so far.
#[derive(Debug, Default)]
pub(super) struct FirstLabels {
    /// Last start and end of every segment, removed ones too.
    spoken: BTreeMap<SegmentId, (u64, u64)>,
    order: VecDeque<SegmentId>,
    /// Latest end of any segment.
    newest: u64,
}

impl FirstLabels {
    /// The label, if the event is the first to label its speech. A new segment far back is not: its speech was
    /// labelled before, and the clustering has split it.
    pub(super) fn take(&mut self, event: &Event) -> Option<FirstLabel> {
        let Event::Segment(segment) = event else { return None };
        let (start, end) = (segment.range.start().0, segment.range.end().0);
        if let Some(known) = self.spoken.get_mut(&segment.id) {
            *known = (known.0.min(start), known.1.max(end));
            return None;
        }
        self.newest = self.newest.max(end);
        if start + REMEMBERED < self.newest {
            return None;
        }
        let touches = |&(from, to): &(u64, u64)| from <= start + TOUCHES && to + TOUCHES >= start;
        let is_onset = !self.spoken.values().any(touches);
        self.spoken.insert(segment.id, (start, end));
        self.order.push_back(segment.id);
        while let Some(&oldest) = self.order.front()
            && self.spoken.get(&oldest).is_none_or(|(_, to)| to + REMEMBERED < start)
        {
            self.order.pop_front();
            self.spoken.remove(&oldest);
        }
        Some(FirstLabel { start: SampleIndex(start), is_onset })
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::SampleRange;
    use diarized_models::{Segment, SpeakerId};

    use super::*;

    fn segment(id: u64, start: u64, end: u64) -> Event {
        let range = SampleRange::new(SampleIndex(start), SampleIndex(end));
        Event::Segment(Segment {
            id: SegmentId(id),
            range,
            speech: vec![range],
            speaker: SpeakerId(1),
            confidence: 1.0,
            is_final: false,
            overlap: false,
            snr_db: None,
            c50_db: None,
        })
    }

    #[test]
    fn only_the_first_label_after_a_pause_is_an_onset() {
        let mut labels = FirstLabels::default();
        let mut take = |event: Event| labels.take(&event).map(|label| (label.start.0, label.is_onset));
        assert_eq!(take(segment(1, 16_000, 32_000)), Some((16_000, true)));
        assert_eq!(take(segment(1, 16_000, 48_000)), None);
        assert_eq!(take(segment(2, 48_000, 64_000)), Some((48_000, false)), "a change of speaker");
        assert_eq!(take(Event::SegmentRemoved { id: SegmentId(2) }), None);
        assert_eq!(take(segment(3, 50_000, 64_000)), Some((50_000, false)), "it was labelled before");
        assert_eq!(take(segment(4, 80_000, 96_000)), Some((80_000, true)));
    }

    #[test]
    fn a_part_of_a_segment_long_past_is_no_first_label() {
        let mut labels = FirstLabels::default();
        for n in 0..100 {
            let start = n * 64_000;
            assert!(labels.take(&segment(n, start, start + 48_000)).is_some());
        }
        assert_eq!(labels.take(&segment(2, 128_000, 144_000)), None);
        assert_eq!(labels.take(&segment(100, 144_000, 176_000)), None, "the rest of a divided segment");
        let next = labels.take(&segment(101, 6_400_000, 6_416_000));
        assert_eq!(next, Some(FirstLabel { start: SampleIndex(6_400_000), is_onset: true }));
    }

    #[test]
    fn the_memory_of_a_long_stream_is_bounded() {
        let mut labels = FirstLabels::default();
        for n in 0..10_000 {
            let start = n * 32_000;
            assert_eq!(labels.take(&segment(n, start, start + 16_000)).map(|l| l.is_onset), Some(true));
        }
        assert!(labels.spoken.len() < 200 && labels.order.len() < 200);
    }
}
