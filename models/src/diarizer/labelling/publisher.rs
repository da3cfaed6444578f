//! The one writer of labels: holds the session's state, gives out ids, and queues every event.
//!
//! Every event is applied to the state as it is queued, so a reader of the state sees what subscribers will.

use std::collections::VecDeque;

use diarized_dsp::{SampleIndex, SampleRange};

use super::speech_parts::SpeechParts;
use super::zone::Zone;
use crate::diarizer::interface::TimedEvent;
use crate::events::{
    Change, Event, GapReason, RevisionReason, Segment, SegmentId, SessionState, SpeakerId, SpeakerInfo,
};

/// What is to be published of one run of unsettled windows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    /// The segment whose settled part the run goes on with.
    pub(super) continues: Option<SegmentId>,
    pub(super) speaker: SpeakerId,
    /// Start of the segment: that of its settled part or of its turn, else that of the run.
    pub(super) start: SampleIndex,
    /// The run itself.
    pub(super) range: SampleRange,
    /// Probability of the label, in `[0, 1]`.
    pub(super) confidence: f32,
    pub(super) snr_db: Option<f32>,
    pub(super) c50_db: Option<f32>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Publisher {
    state: SessionState,
    queue: VecDeque<TimedEvent>,
    /// Stream position of the events that follow.
    position: SampleIndex,
    next_segment: u64,
    next_speaker: u32,
    speech: SpeechParts,
    /// Where this process took the session over: what speech lies before it, the segments themselves say.
    taken_over_at: SampleIndex,
}

impl Publisher {
    /// An empty session.
    pub(super) fn new() -> Self {
        Self {
            state: SessionState::new(),
            queue: VecDeque::new(),
            position: SampleIndex::ZERO,
            next_segment: 1,
            next_speaker: 1,
            speech: SpeechParts::default(),
            taken_over_at: SampleIndex::ZERO,
        }
    }

    /// Goes on with the labels of another process, at this position and with these ids.
    pub(super) fn go_on(
        &mut self,
        state: SessionState,
        at: SampleIndex,
        next_segment: u64,
        next_speaker: u32,
    ) {
        (self.state, self.position, self.taken_over_at) = (state, at, at);
        (self.next_segment, self.next_speaker) = (next_segment, next_speaker);
        self.speech.open_region(at);
    }

    /// Ids of the next segment and speaker.
    pub(super) fn next_ids(&self) -> (u64, u32) {
        (self.next_segment, self.next_speaker)
    }

    /// What all events so far make, the queued ones included.
    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    /// The oldest queued event.
    pub(super) fn poll(&mut self) -> Option<TimedEvent> {
        self.queue.pop_front()
    }

    /// Sets the stream position of the events that follow.
    pub(super) fn set_position(&mut self, at: SampleIndex) {
        self.position = at;
    }

    /// A region of speech begins at `start`.
    pub(super) fn open_region(&mut self, start: SampleIndex) {
        self.speech.open_region(start);
    }

    /// The next frames of the open region: whether each is voiced.
    pub(super) fn add_frames(&mut self, voiced: &[bool]) {
        self.speech.add(voiced);
    }

    /// Emits a version of a segment with the speech inside it, unless it is as published.
    fn emit_segment(&mut self, mut segment: Segment) {
        segment.speech = if segment.range.start() < self.taken_over_at && !segment.speech.is_empty() {
            inside(&segment.speech, segment.range)
        } else {
            self.speech.within(segment.range)
        };
        if self.state.segment(segment.id) != Some(&segment) {
            self.emit(Event::Segment(segment));
        }
    }

    fn emit(&mut self, event: Event) {
        let applied = self.state.apply(&event);
        debug_assert!(applied.is_ok(), "{event:?}: {applied:?}");
        self.queue.push_back(TimedEvent { at: self.position, event });
    }

    fn new_segment_id(&mut self) -> SegmentId {
        let id = SegmentId(self.next_segment);
        self.next_segment += 1;
        id
    }

    /// An unused id, without an event: the speaker is added once it has speech.
    pub(super) fn new_speaker_id(&mut self) -> SpeakerId {
        let id = SpeakerId(self.next_speaker);
        self.next_speaker += 1;
        id
    }

    /// Adds a speaker under a new id.
    pub(super) fn open_speaker(&mut self, first: SampleIndex) -> SpeakerId {
        let id = self.new_speaker_id();
        self.set_speaker(SpeakerInfo::new(id, first));
        id
    }

    /// Adds a speaker under an id of [`new_speaker_id`](Self::new_speaker_id). Without `first` it begins now.
    pub(super) fn add_speaker(&mut self, id: SpeakerId, first: Option<SampleIndex>) {
        self.set_speaker(SpeakerInfo::new(id, first.unwrap_or(self.position)));
    }

    /// Emits what is known of a speaker now.
    pub(super) fn set_speaker(&mut self, info: SpeakerInfo) {
        self.emit(Event::Speaker(info));
    }

    /// Removes `from` in favour of `into`. No segment may be `from`'s any more.
    pub(super) fn merge_speakers(&mut self, from: SpeakerId, into: SpeakerId) {
        self.emit(Event::SpeakerMerged { from, into });
    }

    /// Emits a stretch without audio.
    pub(super) fn gap(&mut self, range: SampleRange, reason: GapReason) {
        self.emit(Event::Gap { range, reason });
    }

    /// Emits changes of speaker as one revision; none without a change.
    pub(super) fn revise(&mut self, changes: Vec<Change>, reason: RevisionReason) {
        if !changes.is_empty() {
            self.emit(Event::Revision { changes, reason });
        }
    }

    /// Withdraws segments.
    pub(super) fn remove(&mut self, segments: impl IntoIterator<Item = SegmentId>) {
        segments.into_iter().for_each(|id| self.emit(Event::SegmentRemoved { id }));
    }

    /// Makes a segment final, unless it is.
    pub(super) fn finalise(&mut self, id: SegmentId) {
        let Some(held) = self.state.segment(id).filter(|s| !s.is_final).cloned() else { return };
        self.emit_segment(Segment { is_final: true, ..held });
    }

    /// Publishes the confidence of a segment, unless it is as published.
    pub(super) fn set_confidence(&mut self, id: SegmentId, confidence: f32) {
        if let Some(held) = self.state.segment(id).cloned() {
            self.emit_segment(Segment { confidence, ..held });
        }
    }

    /// Brings the published segments of the unsettled part in line with the runs `drafts`, in order of time. Segments
    /// keep their ids where they overlap a run; those of the same speaker come first. Without a draft nothing changes.
    pub(super) fn publish(&mut self, zone: &mut Zone, drafts: &[Draft]) {
        if drafts.is_empty() {
            return;
        }
        let mut free = std::mem::take(&mut zone.unsettled_segments);
        for (n, draft) in drafts.iter().enumerate() {
            if let Some(id) = draft.continues {
                self.update(id, draft);
                continue;
            }
            if n == 0
                && let Some(id) = zone.open_segment
            {
                self.trim(id, draft.range.start());
            }
            let reuse = best_match(&self.state, &free, draft.range, Some(draft.speaker));
            let id = reuse.map_or_else(|| self.new_segment_id(), |idx| free.remove(idx));
            self.update(id, draft);
            zone.unsettled_segments.push(id);
        }
        self.remove(free);
    }

    /// Publishes a draft under `id`, unless range, speaker and confidence are as published.
    fn update(&mut self, id: SegmentId, draft: &Draft) {
        let range = SampleRange::new(draft.start, draft.range.end());
        let is_same = self.state.segment(id).is_some_and(|held| {
            held.range == range && held.speaker == draft.speaker && held.confidence == draft.confidence
        });
        self.hand_over(id, draft.speaker);
        if !is_same {
            self.emit_segment(Segment {
                id,
                range,
                speech: Vec::new(),
                speaker: draft.speaker,
                confidence: draft.confidence,
                is_final: false,
                overlap: false,
                snr_db: draft.snr_db,
                c50_db: draft.c50_db,
            });
        }
    }

    /// Revises a published segment of another speaker than `speaker`. A segment not published yet is left alone.
    fn hand_over(&mut self, id: SegmentId, speaker: SpeakerId) {
        let from = self.state.segment(id).map(|held| held.speaker).filter(|from| *from != speaker);
        let change = from.map(|from| Change { segment: id, from, to: speaker });
        self.revise(change.into_iter().collect(), RevisionReason::Reassign);
    }

    /// Moves a segment's end.
    fn trim(&mut self, id: SegmentId, end: SampleIndex) {
        let Some(held) = self.state.segment(id).filter(|s| s.range.end() != end).cloned() else { return };
        self.emit_segment(Segment { range: SampleRange::new(held.range.start(), end), ..held });
    }

    /// Publishes a second speaker over `range`, under the id of the segment of `shown` that overlaps it most, if there
    /// is one; that id is taken out of `shown`. Returns the id.
    pub(super) fn publish_second(
        &mut self,
        shown: &mut Vec<SegmentId>,
        range: SampleRange,
        (speaker, confidence): (SpeakerId, f32),
        is_final: bool,
    ) -> SegmentId {
        let reuse = best_match(&self.state, shown, range, None);
        let id = reuse.map_or_else(|| self.new_segment_id(), |idx| shown.remove(idx));
        self.hand_over(id, speaker);
        let (speech, overlap, snr_db, c50_db) = (Vec::new(), true, None, None);
        self.emit_segment(Segment {
            id,
            range,
            speech,
            speaker,
            confidence,
            is_final,
            overlap,
            snr_db,
            c50_db,
        });
        id
    }

    /// Divides a segment at `starts`, which lie inside it and rise. The parts keep its speaker; the first keeps its id.
    /// Returns the parts in order of time; none for an unknown segment.
    pub(super) fn divide(&mut self, id: SegmentId, starts: &[SampleIndex]) -> Vec<(SegmentId, SampleRange)> {
        let Some(held) = self.state.segment(id).cloned() else { return Vec::new() };
        let ends = starts.iter().copied().chain([held.range.end()]);
        let mut parts = Vec::with_capacity(starts.len() + 1);
        let mut start = held.range.start();
        for end in ends {
            let part = if parts.is_empty() { id } else { self.new_segment_id() };
            parts.push((part, SampleRange::new(start, end)));
            start = end;
        }
        for (id, range) in &parts {
            self.emit_segment(Segment { id: *id, range: *range, ..held.clone() });
        }
        parts
    }
}

/// The parts of `speech` inside `range`; all of it where there are none.
fn inside(speech: &[SampleRange], range: SampleRange) -> Vec<SampleRange> {
    let mut inside: Vec<_> = speech.iter().filter_map(|part| part.intersection(&range)).collect();
    if inside.is_empty() {
        inside.push(range);
    }
    inside
}

/// Index of the free segment that shares most with `range`; segments of `speaker` come before all others.
fn best_match(
    state: &SessionState,
    free: &[SegmentId],
    range: SampleRange,
    speaker: Option<SpeakerId>,
) -> Option<usize> {
    let mut best: Option<(usize, (bool, u64))> = None;
    for (idx, id) in free.iter().enumerate() {
        let Some(segment) = state.segment(*id) else { continue };
        let shared = segment.range.intersection(&range).map_or(0, |r| r.len());
        let key = (Some(segment.speaker) == speaker, shared);
        if shared > 0 && best.is_none_or(|(_, b)| key > b) {
            best = Some((idx, key));
        }
    }
    best.map(|(idx, _)| idx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{at, range, zone};

    const ANN: SpeakerId = SpeakerId(1);
    const BOB: SpeakerId = SpeakerId(2);

    fn draft(continues: Option<u64>, speaker: SpeakerId, start_s: f64, end_s: f64) -> Draft {
        Draft {
            continues: continues.map(SegmentId),
            speaker,
            start: at(start_s),
            range: range(start_s, end_s),
            confidence: 0.9,
            snr_db: None,
            c50_db: None,
        }
    }

    /// A publisher with two speakers whose events were all taken.
    fn publisher() -> Publisher {
        let mut publisher = Publisher::new();
        assert_eq!((publisher.open_speaker(at(0.0)), publisher.open_speaker(at(0.0))), (ANN, BOB));
        while publisher.poll().is_some() {}
        publisher
    }

    fn events(publisher: &mut Publisher) -> Vec<Event> {
        std::iter::from_fn(|| publisher.poll()).map(|queued| queued.event).collect()
    }

    fn labels(publisher: &Publisher) -> Vec<(u64, SpeakerId, SampleRange)> {
        publisher.state().segments().map(|s| (s.id.0, s.speaker, s.range)).collect()
    }

    #[test]
    fn segments_keep_their_ids_while_their_runs_grow() {
        let (mut publisher, mut zone) = (publisher(), zone(&[]));
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 1.0), draft(None, BOB, 1.0, 1.5)]);
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 1.1), draft(None, BOB, 1.1, 2.0)]);
        assert_eq!(labels(&publisher), [(1, ANN, range(0.0, 1.1)), (2, BOB, range(1.1, 2.0))]);
        assert_eq!(events(&mut publisher).len(), 4);
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 1.1), draft(None, BOB, 1.1, 2.0)]);
        publisher.publish(&mut zone, &[]);
        assert_eq!(events(&mut publisher), [], "nothing is new");
        assert_eq!(zone.unsettled_segments, [SegmentId(1), SegmentId(2)]);
    }

    #[test]
    fn a_run_that_changes_its_speaker_is_revised_and_one_that_vanishes_withdrawn() {
        let (mut publisher, mut zone) = (publisher(), zone(&[]));
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 1.0), draft(None, BOB, 1.0, 2.0)]);
        events(&mut publisher);
        publisher.publish(&mut zone, &[draft(None, BOB, 0.0, 2.0)]);
        assert_eq!(labels(&publisher), [(2, BOB, range(0.0, 2.0))], "the segment of the same speaker stays");
        assert!(matches!(events(&mut publisher)[..], [Event::Segment(_), Event::SegmentRemoved { .. }]));
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 2.0)]);
        let change = Change { segment: SegmentId(2), from: BOB, to: ANN };
        let revision = Event::Revision { changes: vec![change], reason: RevisionReason::Reassign };
        assert_eq!(events(&mut publisher)[0], revision);
    }

    #[test]
    fn the_open_segment_grows_or_ends_where_another_speaker_begins() {
        let (mut publisher, mut zone) = (publisher(), zone(&[]));
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 2.0)]);
        assert_eq!(zone.settle_segment(SegmentId(1), range(0.0, 1.0)), None);
        publisher.publish(&mut zone, &[draft(Some(1), ANN, 0.0, 3.0)]);
        assert_eq!(labels(&publisher), [(1, ANN, range(0.0, 3.0))]);
        publisher.publish(&mut zone, &[draft(None, BOB, 1.0, 3.0)]);
        assert_eq!(labels(&publisher), [(1, ANN, range(0.0, 1.0)), (2, BOB, range(1.0, 3.0))]);
        publisher.finalise(SegmentId(1));
        events(&mut publisher);
        publisher.finalise(SegmentId(1));
        assert_eq!(events(&mut publisher), [], "it is final already");
    }

    #[test]
    fn second_speakers_take_the_segment_that_they_overlap_most() {
        let mut publisher = publisher();
        let first = publisher.publish_second(&mut Vec::new(), range(0.0, 1.0), (ANN, 0.7), false);
        let other = publisher.publish_second(&mut Vec::new(), range(2.0, 3.0), (ANN, 0.7), false);
        let mut shown = vec![first, other];
        let kept = publisher.publish_second(&mut shown, range(2.1, 3.5), (BOB, 0.8), true);
        assert_eq!((kept, shown), (other, vec![first]));
        let held = publisher.state().segment(other).unwrap();
        assert!(held.is_final && held.overlap && held.speaker == BOB, "{held:?}");
    }

    #[test]
    fn a_divided_segment_keeps_its_first_part() {
        let (mut publisher, mut zone) = (publisher(), zone(&[]));
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 4.0)]);
        let parts = publisher.divide(SegmentId(1), &[at(1.0), at(2.5)]);
        let expected = [(1, range(0.0, 1.0)), (2, range(1.0, 2.5)), (3, range(2.5, 4.0))];
        assert_eq!(parts, expected.map(|(id, range)| (SegmentId(id), range)));
        assert_eq!(labels(&publisher), expected.map(|(id, range)| (id, ANN, range)));
        assert_eq!(publisher.divide(SegmentId(9), &[at(1.0)]), []);
    }

    #[test]
    fn the_queued_events_make_the_state() {
        let (mut publisher, mut zone) = (Publisher::new(), zone(&[]));
        publisher.set_position(at(1.0));
        publisher.open_speaker(at(0.0));
        let late = publisher.new_speaker_id();
        publisher.publish(&mut zone, &[draft(None, ANN, 0.0, 1.0)]);
        publisher.set_position(at(2.0));
        publisher.add_speaker(late, None);
        publisher.revise(vec![Change { segment: SegmentId(1), from: ANN, to: late }], RevisionReason::Split);
        publisher.revise(Vec::new(), RevisionReason::Split);
        publisher.merge_speakers(ANN, late);
        publisher.gap(range(2.0, 3.0), GapReason::Declared);
        let mut state = SessionState::new();
        let mut positions = Vec::new();
        while let Some(queued) = publisher.poll() {
            state.apply(&queued.event).unwrap();
            positions.push(queued.at);
        }
        assert_eq!(&state, publisher.state());
        assert_eq!(positions, [at(1.0), at(1.0), at(2.0), at(2.0), at(2.0), at(2.0)]);
        assert_eq!(state.speaker(late).unwrap().first, at(2.0));
    }
}
