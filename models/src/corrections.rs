//! Corrections by a person as changes of labels, computed from the labels alone; a running diarizer learns from them as well.

use std::collections::BTreeSet;

use diarized_dsp::SampleIndex;

use crate::events::{Change, Event, RevisionReason, SegmentId, SessionState, SpeakerId, SpeakerInfo};
use crate::names::{NameFault, checked_name};

/// A correction that cannot be made. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorrectionError {
    /// The session has no such speaker.
    #[error("there is no speaker {0} in this session")]
    NoSuchSpeaker(SpeakerId),
    /// The session has no such segment.
    #[error("there is no segment {} in this session", .0.0)]
    NoSuchSegment(SegmentId),
    /// The segment still grows.
    #[error("segment {} is not final yet; correct it once it is", .0.0)]
    NotFinal(SegmentId),
    /// A speaker cannot be merged into itself.
    #[error("{0} cannot be merged into itself")]
    SameSpeaker(SpeakerId),
    /// The segment is not of the speaker that is to be split.
    #[error("segment {} belongs to {speaker}", segment.0)]
    NotOfSpeaker {
        /// The segment.
        segment: SegmentId,
        /// Whose it is.
        speaker: SpeakerId,
    },
    /// The split would leave one side without a segment.
    #[error("{0} cannot be split: each side needs a final segment; name the segments of the second person")]
    NothingToSplit(SpeakerId),
    /// What a correction did is no longer there to be undone or done again.
    #[error("the labels have changed since; correct them as they are now")]
    Changed,
    /// A text that is no name.
    #[error(transparent)]
    BadName(#[from] NameFault),
}

/// What a merge changes.
///
/// # Errors
/// An unknown speaker, or one that would be merged into itself.
pub fn merged(
    state: &SessionState,
    from: SpeakerId,
    into: SpeakerId,
) -> Result<Vec<Change>, CorrectionError> {
    for speaker in [from, into] {
        state.speaker(speaker).ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
    }
    if from == into {
        return Err(CorrectionError::SameSpeaker(from));
    }
    let moved = state.segments().filter(|s| s.speaker == from);
    Ok(moved.map(|s| Change { segment: s.id, from, to: into }).collect())
}

/// What a reassignment changes; nothing if the segment is that speaker's.
///
/// # Errors
/// An unknown segment or speaker, or a segment that still grows.
pub fn reassigned(
    state: &SessionState,
    segment: SegmentId,
    to: SpeakerId,
) -> Result<Option<Change>, CorrectionError> {
    let held = state.segment(segment).ok_or(CorrectionError::NoSuchSegment(segment))?;
    state.speaker(to).ok_or(CorrectionError::NoSuchSpeaker(to))?;
    if !held.is_final {
        return Err(CorrectionError::NotFinal(segment));
    }
    Ok((held.speaker != to).then_some(Change { segment, from: held.speaker, to }))
}

/// The segments that a split moves, each once, and the start of the first of them. `second_voice` finds them where
/// `segments` names none.
///
/// # Errors
/// An unknown or unfit segment, or nothing that could be moved or would stay.
pub fn split(
    state: &SessionState,
    speaker: SpeakerId,
    segments: &[SegmentId],
    second_voice: impl FnOnce() -> Vec<SegmentId>,
) -> Result<(Vec<SegmentId>, SampleIndex), CorrectionError> {
    state.speaker(speaker).ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
    for &id in segments {
        let segment = state.segment(id).ok_or(CorrectionError::NoSuchSegment(id))?;
        if segment.speaker != speaker {
            return Err(CorrectionError::NotOfSpeaker { segment: id, speaker: segment.speaker });
        }
        if !segment.is_final {
            return Err(CorrectionError::NotFinal(id));
        }
    }
    let mut moved = if segments.is_empty() { second_voice() } else { segments.to_vec() };
    let mut seen = BTreeSet::new();
    moved.retain(|id| {
        let is_final = state.segment(*id).is_some_and(|s| s.speaker == speaker && s.is_final);
        is_final && seen.insert(*id)
    });
    let stays = state.segments().any(|s| s.speaker == speaker && !seen.contains(&s.id));
    let starts = moved.iter().filter_map(|id| state.segment(*id)).map(|s| s.range.start());
    match starts.min() {
        Some(first) if stays => Ok((moved, first)),
        _ => Err(CorrectionError::NothingToSplit(speaker)),
    }
}

/// A speaker with the name that a person gives.
///
/// # Errors
/// An unknown speaker, or a text that is no name.
pub fn renamed(state: &SessionState, speaker: SpeakerId, name: &str) -> Result<SpeakerInfo, CorrectionError> {
    let info = state.speaker(speaker).ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
    let name = checked_name(name)?;
    Ok(SpeakerInfo { name: (!name.is_empty()).then(|| name.to_owned()), voice: None, ..info.clone() })
}

/// Labels as they were before a correction, or as they were after it: what undoing or redoing it sets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Restoration {
    /// Speakers that there are again.
    pub missing: Vec<SpeakerInfo>,
    /// Speakers whose name and voice are these again.
    pub named: Vec<SpeakerInfo>,
    /// Segments that go from one speaker to the other, as far as they are still there and the first one's.
    pub changes: Vec<Change>,
    /// A speaker that is merged into another again, with all its segments.
    pub merged: Option<(SpeakerId, SpeakerId)>,
}

impl Restoration {
    /// The changes that are still possible.
    ///
    /// # Errors
    /// [`CorrectionError::Changed`] if a speaker is gone, or no segment is where it was.
    pub fn still_valid(&self, state: &SessionState) -> Result<Vec<Change>, CorrectionError> {
        let is_there = |id: SpeakerId| state.speaker(id).is_some();
        let will_be = |id: SpeakerId| is_there(id) || self.missing.iter().any(|info| info.id == id);
        let has_all = self.named.iter().all(|info| will_be(info.id))
            && self.merged.is_none_or(|(from, into)| is_there(from) && is_there(into));
        let holds =
            |c: &Change| state.segment(c.segment).is_some_and(|s| s.speaker == c.from) && will_be(c.to);
        let changes: Vec<Change> = self.changes.iter().copied().filter(holds).collect();
        let has_changes = self.changes.is_empty() || !changes.is_empty();
        if has_all && has_changes { Ok(changes) } else { Err(CorrectionError::Changed) }
    }

    /// The events that restore labels to which no diarizer adds any more.
    ///
    /// # Errors
    /// As [`Self::still_valid`].
    pub fn events(&self, state: &SessionState) -> Result<Vec<Event>, CorrectionError> {
        let mut changes = self.still_valid(state)?;
        let missing = self.missing.iter().filter(|info| state.speaker(info.id).is_none());
        let mut events: Vec<Event> = missing.cloned().map(Event::Speaker).collect();
        events.extend(self.named.iter().filter(|info| state.speaker(info.id) != Some(info)).map(|info| {
            let first = state.speaker(info.id).map_or(info.first, |held| held.first);
            Event::Speaker(SpeakerInfo { first, ..info.clone() })
        }));
        if let Some((from, into)) = self.merged {
            changes = merged(state, from, into)?;
        }
        events.extend(revision(changes));
        events.extend(self.merged.map(|(from, into)| Event::SpeakerMerged { from, into }));
        Ok(events)
    }
}

/// The revision with these changes; none without a change.
#[must_use]
pub fn revision(changes: Vec<Change>) -> Option<Event> {
    let reason = RevisionReason::Correction;
    (!changes.is_empty()).then_some(Event::Revision { changes, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use diarized_dsp::SampleRange;

    use crate::events::Segment;

    const ANN: SpeakerId = SpeakerId(1);
    const BOB: SpeakerId = SpeakerId(2);
    const NOBODY: SpeakerId = SpeakerId(9);

    /// Segments 1 and 3 are Ann's, 2 is Bob's, and 4 is Ann's and not final.
    fn session() -> SessionState {
        let mut state = SessionState::new();
        for speaker in [ANN, BOB] {
            state.apply(&Event::Speaker(SpeakerInfo::new(speaker, SampleIndex::ZERO))).unwrap();
        }
        for (id, speaker) in [(1, ANN), (2, BOB), (3, ANN), (4, ANN)] {
            let range = SampleRange::with_len(SampleIndex::from_seconds(id as f64 - 1.0), 16_000);
            let (confidence, snr_db, c50_db) = (0.9, None, None);
            let (id, speech, is_final, overlap) = (SegmentId(id), vec![range], id != 4, false);
            let segment =
                Segment { id, range, speech, speaker, confidence, is_final, overlap, snr_db, c50_db };
            state.apply(&Event::Segment(segment)).unwrap();
        }
        state
    }

    fn after(state: &SessionState, events: &[Event]) -> SessionState {
        let mut state = state.clone();
        events.iter().for_each(|event| state.apply(event).unwrap());
        state
    }

    #[test]
    fn a_merge_moves_every_segment_of_one_speaker() {
        let moved = merged(&session(), ANN, BOB).unwrap();
        let expected = [1, 3, 4].map(|id| Change { segment: SegmentId(id), from: ANN, to: BOB });
        assert_eq!(moved, expected);
        assert_eq!(merged(&session(), ANN, NOBODY), Err(CorrectionError::NoSuchSpeaker(NOBODY)));
        assert_eq!(merged(&session(), ANN, ANN), Err(CorrectionError::SameSpeaker(ANN)));
    }

    #[test]
    fn a_final_segment_may_be_reassigned() {
        let state = session();
        let change = Change { segment: SegmentId(2), from: BOB, to: ANN };
        assert_eq!(reassigned(&state, SegmentId(2), ANN), Ok(Some(change)));
        assert_eq!(reassigned(&state, SegmentId(2), BOB), Ok(None));
        assert_eq!(reassigned(&state, SegmentId(4), BOB), Err(CorrectionError::NotFinal(SegmentId(4))));
        assert_eq!(reassigned(&state, SegmentId(5), BOB), Err(CorrectionError::NoSuchSegment(SegmentId(5))));
        assert_eq!(reassigned(&state, SegmentId(2), NOBODY), Err(CorrectionError::NoSuchSpeaker(NOBODY)));
    }

    #[test]
    fn a_split_moves_each_given_segment_once_and_leaves_one() {
        let state = session();
        let split = |segments: &[u64]| {
            let segments: Vec<SegmentId> = segments.iter().copied().map(SegmentId).collect();
            split(&state, ANN, &segments, Vec::new)
        };
        let at = |seconds| SampleIndex::from_seconds(seconds);
        assert_eq!(split(&[3, 3]), Ok((vec![SegmentId(3)], at(2.0))));
        assert_eq!(split(&[3, 1]), Ok((vec![SegmentId(3), SegmentId(1)], at(0.0))), "4 stays");
        let other = CorrectionError::NotOfSpeaker { segment: SegmentId(2), speaker: BOB };
        assert_eq!(split(&[2]), Err(other));
        assert_eq!(split(&[4]), Err(CorrectionError::NotFinal(SegmentId(4))));
        assert_eq!(
            split(&[]),
            Err(CorrectionError::NothingToSplit(ANN)),
            "nothing sounds like a second voice"
        );
    }

    #[test]
    fn what_a_merge_did_is_restored_and_done_again() {
        let before = session();
        let changes = merged(&before, ANN, BOB).unwrap();
        let mut events: Vec<Event> = revision(changes.clone()).into_iter().collect();
        events.push(Event::SpeakerMerged { from: ANN, into: BOB });
        let merged = after(&before, &events);
        let back = changes.iter().map(|c| Change { segment: c.segment, from: BOB, to: ANN });
        let missing = vec![before.speaker(ANN).unwrap().clone()];
        let undo = Restoration { missing, changes: back.collect(), ..Restoration::default() };
        assert_eq!(after(&merged, &undo.events(&merged).unwrap()), before);
        assert_eq!(undo.events(&before), Err(CorrectionError::Changed), "it is undone already");
        let redo = Restoration { merged: Some((ANN, BOB)), ..Restoration::default() };
        assert_eq!(after(&before, &redo.events(&before).unwrap()), merged);
        assert_eq!(redo.events(&merged), Err(CorrectionError::Changed));
    }

    #[test]
    fn segments_that_have_gone_elsewhere_stay_there() {
        let state = session();
        let back = |id| Change { segment: SegmentId(id), from: BOB, to: ANN };
        let undo = Restoration { changes: vec![back(1), back(2), back(7)], ..Restoration::default() };
        assert_eq!(undo.still_valid(&state), Ok(vec![back(2)]));
        let none = Restoration { changes: vec![back(1), back(7)], ..Restoration::default() };
        assert_eq!(none.still_valid(&state), Err(CorrectionError::Changed));
    }
}
