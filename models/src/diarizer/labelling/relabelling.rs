//! What a re-clustering of the memory changes: divided segments, new speakers, revisions, unused speakers.

use std::collections::{BTreeMap, BTreeSet};

use diarized_dsp::SampleIndex;

use super::zone::Zone;
use crate::diarizer::clustering::SpeechMemory;
use crate::events::{Change, RevisionReason, Segment, SegmentId, SessionState, SpeakerId};

/// Removed speakers, each with the speaker that replaces it.
pub(super) type Replaced = BTreeMap<SpeakerId, SpeakerId>;

/// Speakers of the memory that the state lacks: new ones, and ones that a clustering has split off again.
pub(super) fn new_speakers(memory: &SpeechMemory, state: &SessionState) -> Vec<SpeakerId> {
    memory.speakers().filter(|id| state.speaker(*id).is_none()).collect()
}

/// Speakers of the state that the memory holds nothing of.
pub(super) fn outside(memory: &SpeechMemory, state: &SessionState) -> impl Iterator<Item = SpeakerId> {
    let held: BTreeSet<SpeakerId> = memory.speakers().collect();
    state.speakers().map(|s| s.id).filter(move |id| !held.contains(id))
}

/// Final segments in which the clustering found several speakers, and where each further one begins. Only segments that
/// have been touched since the last clustering can have new ones.
pub(super) fn divisions(memory: &SpeechMemory, state: &SessionState) -> Vec<(SegmentId, Vec<SampleIndex>)> {
    let divided = memory.touched().filter_map(|id| {
        let held = state.segment(id).filter(|s| s.is_final)?;
        let mut starts = memory.changes_inside(id);
        starts.retain(|at| held.range.start() < *at && *at < held.range.end());
        (!starts.is_empty()).then_some((id, starts))
    });
    divided.collect()
}

/// Segments that change speaker: touched ones of the memory by their exemplars, and those that the memory holds nothing of
/// where their speaker was removed.
pub(super) fn changes(memory: &SpeechMemory, state: &SessionState, gone: &Replaced) -> Vec<Change> {
    let change = |s: &Segment, to: SpeakerId| Change { segment: s.id, from: s.speaker, to };
    let by_history = memory.touched().filter_map(|id| {
        let (held, to) = (state.segment(id)?, memory.segment_speaker(id)?);
        (held.speaker != to).then(|| change(held, to))
    });
    let segments = (!gone.is_empty()).then(|| state.segments()).into_iter().flatten();
    let others = segments.filter_map(|s| {
        let to = gone.get(&s.speaker).filter(|_| memory.segment_speaker(s.id).is_none())?;
        Some(change(s, *to))
    });
    by_history.chain(others).collect()
}

/// Gives the unsettled windows of removed speakers to the speakers that replace them.
pub(super) fn relabel(zone: &mut Zone, gone: &Replaced) {
    for window in &mut zone.windows {
        if let Some(into) = window.label.and_then(|label| gone.get(&label)) {
            window.label = Some(*into);
        }
    }
}

/// Start of the first segment that `changes` give to `speaker`.
pub(super) fn first_speech(
    changes: &[Change],
    state: &SessionState,
    speaker: SpeakerId,
) -> Option<SampleIndex> {
    let segments = changes.iter().filter(|c| c.to == speaker).filter_map(|c| state.segment(c.segment));
    segments.map(|s| s.range.start()).min()
}

/// The reason that a revision is published with, when a clustering of this `kind` has removed or added speakers.
pub(super) fn reason(kind: RevisionReason, has_removed: bool, has_added: bool) -> RevisionReason {
    match kind {
        RevisionReason::FinalPass => RevisionReason::FinalPass,
        _ if has_removed => RevisionReason::Merge,
        _ if has_added => RevisionReason::Split,
        other => other,
    }
}

/// Speakers of the state that nothing uses: no segment, not the zone in which they are `opened`, nor the memory, if it is
/// given.
pub(super) fn unused_speakers(
    state: &SessionState,
    opened: &BTreeSet<SpeakerId>,
    memory: Option<&SpeechMemory>,
) -> BTreeSet<SpeakerId> {
    let mut unused: BTreeSet<SpeakerId> = state.speakers().map(|s| s.id).collect();
    for used in opened.iter().copied().chain(memory.into_iter().flat_map(SpeechMemory::speakers)) {
        unused.remove(&used);
    }
    // Of a day there are many segments, and mostly no speaker is left to look for.
    for segment in state.segments() {
        if unused.is_empty() {
            break;
        }
        unused.remove(&segment.speaker);
    }
    unused
}

/// The speaker that takes the place of `from`: `into`, or else that of the newest segment. `None` if there is no other, or
/// if one of the two is unknown.
pub(super) fn replacement(
    state: &SessionState,
    from: SpeakerId,
    into: Option<SpeakerId>,
) -> Option<SpeakerId> {
    let newest = || state.segments().max_by_key(|s| s.id).map(|s| s.speaker);
    let into = into.or_else(newest).filter(|into| *into != from)?;
    (state.speaker(from).is_some() && state.speaker(into).is_some()).then_some(into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{ANN as ANNS, BOB as BOBS, at, memory, state, zone};
    use crate::events::{Event, SpeakerInfo};

    const ANN: SpeakerId = SpeakerId(1);
    const BOB: SpeakerId = SpeakerId(2);
    const CEM: SpeakerId = SpeakerId(3);

    #[test]
    fn segments_follow_their_exemplars_and_the_others_their_speaker() {
        let memory = memory(&[(1, ANNS), (2, BOBS)]);
        // The memory gives segment 2 to Bob; it holds nothing of 7 and 8.
        let state = state(&[(1, 1, 0.0, 1.0), (2, 3, 1.0, 2.0), (7, 3, 2.0, 3.0), (8, 1, 3.0, 4.0)]);
        let by_exemplars = Change { segment: SegmentId(2), from: CEM, to: BOB };
        assert_eq!(changes(&memory, &state, &Replaced::new()), [by_exemplars]);
        let gone = Replaced::from([(CEM, ANN)]);
        let by_speaker = Change { segment: SegmentId(7), from: CEM, to: ANN };
        assert_eq!(changes(&memory, &state, &gone), [by_exemplars, by_speaker]);
        assert_eq!(first_speech(&[by_exemplars, by_speaker], &state, ANN), Some(at(2.0)));
        assert_eq!(first_speech(&[by_exemplars], &state, ANN), None);
        assert_eq!(new_speakers(&memory, &state), [BOB]);
        assert_eq!(divisions(&memory, &state), []);
    }

    #[test]
    fn labels_that_follow_the_memory_are_read_again_once_it_changes() {
        let mut memory = memory(&[(1, ANNS), (2, BOBS)]);
        let state = state(&[(1, 3, 0.0, 1.0), (2, 3, 1.0, 2.0)]);
        let changed = |memory: &SpeechMemory| -> Vec<u64> {
            changes(memory, &state, &Replaced::new()).iter().map(|change| change.segment.0).collect()
        };
        assert_eq!(changed(&memory), [1, 2]);
        memory.settle_touched(|id| id == SegmentId(2));
        assert_eq!(changed(&memory), [2], "an open segment may change by itself");
        memory.settle_touched(|_| false);
        assert_eq!(changed(&memory), [0; 0]);
        memory.merge(ANN, BOB);
        assert_eq!(changed(&memory), [1, 2]);
    }

    #[test]
    fn windows_of_a_removed_speaker_get_another_label() {
        let mut zone = zone(&[(ANNS, Some(1)), (ANNS, Some(3)), (ANNS, None)]);
        relabel(&mut zone, &Replaced::from([(CEM, BOB)]));
        let labels: Vec<_> = zone.windows.iter().map(|w| w.label).collect();
        assert_eq!(labels, [Some(ANN), Some(BOB), None]);
    }

    #[test]
    fn the_reason_names_what_happened_to_the_speakers() {
        let of = |removed, added| reason(RevisionReason::Reassign, removed, added);
        assert_eq!(of(true, true), RevisionReason::Merge);
        assert_eq!(of(false, true), RevisionReason::Split);
        assert_eq!(of(false, false), RevisionReason::Reassign);
        assert_eq!(reason(RevisionReason::FinalPass, true, true), RevisionReason::FinalPass);
    }

    #[test]
    fn a_speaker_is_in_use_while_anything_is_its() {
        let (memory, opened) = (memory(&[(4, ANNS)]), BTreeSet::from([SpeakerId(5)]));
        let mut state = state(&[(1, 1, 0.0, 1.0)]);
        for id in 4..=6 {
            let speaker = SpeakerInfo::new(SpeakerId(id), at(0.0));
            state.apply(&Event::Speaker(speaker)).expect("the speaker is new");
        }
        let unused = |memory| unused_speakers(&state, &opened, memory).into_iter().map(|s| s.0);
        assert!(unused(Some(&memory)).eq([6]));
        assert!(unused(None).eq([4, 6]));
    }

    #[test]
    fn a_removed_speaker_goes_to_the_newest_one_unless_another_is_given() {
        let state = state(&[(1, 1, 0.0, 1.0), (2, 2, 1.0, 2.0)]);
        assert_eq!(replacement(&state, ANN, None), Some(BOB));
        assert_eq!(replacement(&state, BOB, None), None, "there is nobody else");
        assert_eq!(replacement(&state, BOB, Some(ANN)), Some(ANN));
        assert_eq!(replacement(&state, BOB, Some(CEM)), None, "an unknown speaker replaces nobody");
    }
}
