//! Corrections of a session: of its labels, by a running diarizer or without one, of its title and notes, and of
//! corrections themselves.

use diarized_models::corrections::{self, merged, reassigned, renamed, revision};
use diarized_models::events::{Change, Event, SegmentId, SessionState, SpeakerId, SpeakerInfo, VoiceMatch};

use super::about::About;
use super::correction_error::CorrectionError;
use super::engine::Correction;
use crate::protocol::Body;
use crate::protocol::Step;
use crate::protocol::corrections::Note;
use crate::protocol::server_message::Title;

/// Notes of a session at most.
const MAX_NOTES: usize = 1000;

/// The events of a correction of labels to which no diarizer adds any more. `next` is the label of a new speaker.
///
/// # Errors
/// [`CorrectionError`], as a running diarizer gives it.
pub(super) fn events(
    state: &SessionState,
    correction: &Correction,
    next: SpeakerId,
) -> Result<Vec<Event>, CorrectionError> {
    Ok(match correction {
        Correction::Rename { speaker, name } => vec![Event::Speaker(renamed(state, *speaker, name)?)],
        Correction::Voice { speaker, voice, name } => {
            let voice = Some(VoiceMatch { id: voice.as_str().into(), probability: 1.0 });
            vec![Event::Speaker(SpeakerInfo { voice, ..renamed(state, *speaker, name)? })]
        }
        Correction::Merge { from, into } => {
            let moved = merged(state, *from, *into)?;
            let named = inherited(state, *from, *into).map(Event::Speaker);
            let gone = Event::SpeakerMerged { from: *from, into: *into };
            revision(moved).into_iter().chain(named).chain([gone]).collect()
        }
        Correction::Reassign { segment, speaker } => {
            let Some(change) = reassigned(state, *segment, *speaker)? else { return Ok(Vec::new()) };
            let is_left = state.segments().any(|s| s.speaker == change.from && s.id != change.segment);
            let gone = (!is_left).then_some(Event::SpeakerMerged { from: change.from, into: change.to });
            revision(vec![change]).into_iter().chain(gone).collect()
        }
        Correction::Split { speaker, segments } => {
            if segments.is_empty() {
                state.speaker(*speaker).ok_or(CorrectionError::UnknownSpeaker(*speaker))?;
                let reason =
                    "the session has ended and its voices are gone; name the segments of the second person";
                return Err(CorrectionError::Refused { reason: reason.to_owned() });
            }
            let (moved, first) = corrections::split(state, *speaker, segments, Vec::new)?;
            let change = |segment| Change { segment, from: *speaker, to: next };
            let moved = moved.into_iter().map(change).collect();
            let new = Event::Speaker(SpeakerInfo::new(next, first));
            [new].into_iter().chain(revision(moved)).collect()
        }
        Correction::Restore(step) => restoration(step)?.events(state)?,
        Correction::Title { .. } | Correction::Note { .. } | Correction::Again { .. } => Vec::new(),
    })
}

/// What a step sets of the labels.
///
/// # Errors
/// What is kept of it cannot be read.
pub(crate) fn restoration(step: &Step) -> Result<corrections::Restoration, CorrectionError> {
    step.restoration().map_err(|error| CorrectionError::Refused { reason: error.to_string() })
}

/// A user's name of the one passes on to the other, unless a user has named that one too.
fn inherited(state: &SessionState, from: SpeakerId, into: SpeakerId) -> Option<SpeakerInfo> {
    let is_named = |info: &SpeakerInfo| {
        info.name.is_some() && info.voice.as_ref().is_none_or(|voice| voice.probability >= 1.0)
    };
    let (gone, stays) = (state.speaker(from)?, state.speaker(into)?);
    let passes = is_named(gone) && !is_named(stays);
    passes.then(|| SpeakerInfo { name: gone.name.clone(), voice: gone.voice.clone(), ..stays.clone() })
}

/// What undoes a correction of labels and what makes it again, by the labels before and after it; nothing if it changed
/// none.
pub(super) fn steps(
    correction: &Correction,
    before: &SessionState,
    after: &SessionState,
) -> Option<(Step, Step)> {
    let none = Step::default;
    match correction {
        Correction::Rename { speaker, .. } | Correction::Voice { speaker, .. } => {
            let is_same = before.speaker(*speaker) == after.speaker(*speaker);
            let steps = (none().named(before, [*speaker]), none().named(after, [*speaker]));
            (!is_same).then_some(steps)
        }
        Correction::Merge { from, into } => {
            let moved = moved(before, after, *from, *into);
            let undo = none().missing(before, [*from]).named(before, [*into]).moving(&moved, *into, *from);
            Some((undo, none().named(after, [*into]).merging(*from, *into)))
        }
        Correction::Reassign { segment, speaker: to } => {
            let from = before.segment(*segment)?.speaker;
            let undo = none().missing(before, [from]).moving(&[*segment], *to, from);
            let redo = none().moving(&[*segment], from, *to);
            // With its only segment the speaker goes too.
            let redo = if after.speaker(from).is_some() { redo } else { none().merging(from, *to) };
            (from != *to).then_some((undo, redo))
        }
        Correction::Split { speaker, .. } => {
            let is_new = |s: &&diarized_models::Segment| {
                before.speaker(s.speaker).is_none()
                    && before.segment(s.id).is_some_and(|held| held.speaker == *speaker)
            };
            let new = after.segments().find(is_new)?.speaker;
            let moved = moved(before, after, *speaker, new);
            let redo = none().missing(after, [new]).moving(&moved, *speaker, new);
            Some((none().merging(new, *speaker), redo))
        }
        _ => None,
    }
}

fn moved(before: &SessionState, after: &SessionState, from: SpeakerId, to: SpeakerId) -> Vec<SegmentId> {
    let was = |id| before.segment(id).is_some_and(|s| s.speaker == from);
    after.segments().filter(|s| s.speaker == to && was(s.id)).map(|s| s.id).collect()
}

/// The event of a correction of title or notes, and the steps that undo it and make it again; nothing where it changes
/// nothing.
///
/// # Errors
/// An unknown note or segment, or too many notes.
pub(super) fn write(
    correction: &Correction,
    about: &About,
    state: &SessionState,
) -> Result<Option<(Body, Step, Step)>, CorrectionError> {
    match correction {
        Correction::Title { title } => {
            let title = (!title.is_empty()).then(|| title.clone());
            let undo = Step { title: Some(Title { title: about.title.clone() }), ..Step::default() };
            let new = Title { title };
            let redo = Step { title: Some(new.clone()), ..Step::default() };
            Ok((about.title != new.title).then_some((new.into(), undo, redo)))
        }
        Correction::Note { id, segment, text } => {
            let refused = |reason: String| CorrectionError::Refused { reason };
            let held = match id {
                Some(id) => {
                    let held = about.notes.get(id).cloned();
                    Some(held.ok_or_else(|| refused(format!("the session has no note {id}")))?)
                }
                None => None,
            };
            if let (None, Some(segment)) = (&held, segment) {
                let id = SegmentId(*segment);
                state.segment(id).ok_or(CorrectionError::UnknownSegment(id))?;
            }
            if held.is_none() && about.notes.len() >= MAX_NOTES {
                return Err(refused(format!("the session has {MAX_NOTES} notes already; remove one first")));
            }
            let id = held.as_ref().map_or(about.next_note.max(1), |held| held.id);
            let segment = held.as_ref().map_or(*segment, |held| held.segment);
            let new = Note { id, segment, text: (!text.is_empty()).then(|| text.clone()) };
            let before = held.unwrap_or(Note { text: None, ..new.clone() });
            let step = |note: &Note| Step { note: Some(note.clone()), ..Step::default() };
            let steps = (step(&before), step(&new));
            Ok((before != new).then(|| (new.into(), steps.0, steps.1)))
        }
        _ => Ok(None),
    }
}
