//! Corrections by a user: names, merges, reassigned segments and splits. They hold against every later clustering.

use std::collections::{BTreeMap, BTreeSet};

use diarized_dsp::SampleIndex;

use super::Labeller;
use crate::diarizer::CorrectionError;
use crate::diarizer::clustering::SpeechMemory;
use crate::events::{Change, RevisionReason, SegmentId, SessionState, SpeakerId, VoiceMatch};

impl Labeller {
    /// A user names a speaker. An empty name clears it and marks the speaker as not enrolled.
    pub(crate) fn rename(&mut self, speaker: SpeakerId, name: &str) -> Result<(), CorrectionError> {
        self.set_name(speaker, name, None)
    }

    /// A user identifies a speaker as the enrolled voice `voice`.
    pub(crate) fn set_voice(
        &mut self,
        speaker: SpeakerId,
        voice: &str,
        name: &str,
    ) -> Result<(), CorrectionError> {
        self.set_name(speaker, name, Some(VoiceMatch { id: voice.into(), probability: 1.0 }))
    }

    fn set_name(
        &mut self,
        speaker: SpeakerId,
        name: &str,
        voice: Option<VoiceMatch>,
    ) -> Result<(), CorrectionError> {
        let info = self.names.set_name(self.publisher.state(), speaker, name, voice)?;
        self.publisher.set_speaker(info);
        Ok(())
    }

    /// A user merges two speakers.
    pub(crate) fn merge(&mut self, from: SpeakerId, into: SpeakerId) -> Result<(), CorrectionError> {
        let changes = merge(self.publisher.state(), from, into)?;
        self.memory.merge(from, into);
        self.opened.remove(&from);
        if let Some(zone) = &mut self.zone {
            zone.relabel(from, into);
        }
        self.correct(changes);
        self.remove_speaker(from, into);
        self.recognise();
        Ok(())
    }

    /// A user gives a final segment to another speaker.
    pub(crate) fn reassign(&mut self, segment: SegmentId, to: SpeakerId) -> Result<(), CorrectionError> {
        let Some(change) = reassign(self.publisher.state(), segment, to)? else { return Ok(()) };
        self.memory.reassign(segment, to);
        self.second_voices.release(segment);
        self.correct(vec![change]);
        self.remove_unused(&BTreeMap::from([(change.from, to)]));
        self.recognise();
        Ok(())
    }

    /// A user splits a speaker in two: `segments` go to the second one, or where none are given those with a different
    /// voice. Returns the second speaker.
    pub(crate) fn split(
        &mut self,
        speaker: SpeakerId,
        segments: &[SegmentId],
    ) -> Result<SpeakerId, CorrectionError> {
        let (moved, first) = split(self.publisher.state(), &self.memory, speaker, segments)?;
        let new = self.publisher.open_speaker(first);
        self.memory.split(speaker, new, &moved);
        moved.iter().for_each(|id| self.second_voices.release(*id));
        self.correct(moved.into_iter().map(|segment| Change { segment, from: speaker, to: new }).collect());
        self.recognise();
        Ok(new)
    }

    /// Publishes corrected labels, and what follows from them for second speakers.
    fn correct(&mut self, changes: Vec<Change>) {
        let reason = RevisionReason::Correction;
        self.publisher.revise(changes, reason);
        self.with_any_zone(|labeller, zone| labeller.revise_second_voices(zone, reason));
    }
}

/// What a merge changes.
fn merge(state: &SessionState, from: SpeakerId, into: SpeakerId) -> Result<Vec<Change>, CorrectionError> {
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
fn reassign(
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

/// The segments that a split moves, each once, and the start of the first of them.
fn split(
    state: &SessionState,
    memory: &SpeechMemory,
    speaker: SpeakerId,
    segments: &[SegmentId],
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
    let mut moved = if segments.is_empty() { memory.second_voice(speaker) } else { segments.to_vec() };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{ANN as ANNS, BOB as BOBS, at, memory, state};
    use crate::events::{Event, Segment};

    const ANN: SpeakerId = SpeakerId(1);
    const BOB: SpeakerId = SpeakerId(2);
    const NOBODY: SpeakerId = SpeakerId(9);

    /// Segments 1 and 3 are Ann's, 2 is Bob's, and 4 is Ann's and not final.
    fn session() -> SessionState {
        let mut state = state(&[(1, 1, 0.0, 1.0), (2, 2, 1.0, 2.0), (3, 1, 2.0, 3.0), (4, 1, 3.0, 4.0)]);
        let open = state.segment(SegmentId(4)).unwrap().clone();
        state.apply(&Event::Segment(Segment { is_final: false, ..open })).unwrap();
        state
    }

    #[test]
    fn a_merge_moves_every_segment_of_one_speaker() {
        let moved = merge(&session(), ANN, BOB).unwrap();
        let expected = [1, 3, 4].map(|id| Change { segment: SegmentId(id), from: ANN, to: BOB });
        assert_eq!(moved, expected);
        assert_eq!(merge(&session(), ANN, NOBODY), Err(CorrectionError::NoSuchSpeaker(NOBODY)));
        assert_eq!(merge(&session(), ANN, ANN), Err(CorrectionError::SameSpeaker(ANN)));
    }

    #[test]
    fn a_final_segment_may_be_reassigned() {
        let state = session();
        let change = Change { segment: SegmentId(2), from: BOB, to: ANN };
        assert_eq!(reassign(&state, SegmentId(2), ANN), Ok(Some(change)));
        assert_eq!(reassign(&state, SegmentId(2), BOB), Ok(None));
        assert_eq!(reassign(&state, SegmentId(4), BOB), Err(CorrectionError::NotFinal(SegmentId(4))));
        assert_eq!(reassign(&state, SegmentId(5), BOB), Err(CorrectionError::NoSuchSegment(SegmentId(5))));
        assert_eq!(reassign(&state, SegmentId(2), NOBODY), Err(CorrectionError::NoSuchSpeaker(NOBODY)));
    }

    #[test]
    fn a_split_moves_each_given_segment_once_and_leaves_one() {
        let (state, memory) = (session(), memory(&[(1, ANNS), (2, BOBS)]));
        let split = |segments: &[u64]| {
            let segments: Vec<SegmentId> = segments.iter().copied().map(SegmentId).collect();
            split(&state, &memory, ANN, &segments)
        };
        assert_eq!(split(&[3, 3]), Ok((vec![SegmentId(3)], at(2.0))));
        assert_eq!(split(&[3, 1]), Ok((vec![SegmentId(3), SegmentId(1)], at(0.0))), "4 stays");
        let other = CorrectionError::NotOfSpeaker { segment: SegmentId(2), speaker: BOB };
        assert_eq!(split(&[2]), Err(other));
        assert_eq!(split(&[4]), Err(CorrectionError::NotFinal(SegmentId(4))));
        assert_eq!(split(&[]), Err(CorrectionError::NothingToSplit(ANN)), "the memory holds one voice");
    }
}
