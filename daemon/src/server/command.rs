//! What a client message asks of a session.

use std::collections::BTreeSet;

use diarized_models::events::ParseSpeakerIdError;
use diarized_models::words::NewWord;
use diarized_models::{SegmentId, SpeakerId};

use crate::protocol::ClientMessage;
use crate::protocol::text::{TextFault, checked_note, checked_title};
use crate::protocol::words::WordsError;
use crate::session::{Again, Correction};

/// A field of a correction that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FieldFault {
    #[error(transparent)]
    Speaker(#[from] ParseSpeakerIdError),
    #[error(transparent)]
    Text(#[from] TextFault),
    #[error("`words`: {0}")]
    Words(#[from] WordsError),
}

/// What is asked of a session beside taking audio.
#[derive(Debug)]
pub(super) enum Wanted {
    /// To settle what is pending: only while it runs.
    Finalize,
    /// To take recognised words.
    Words {
        /// The words; they replace the provisional ones.
        words: Vec<NewWord>,
        /// Whether the recogniser changes them no more.
        is_final: bool,
    },
    /// Correct something.
    Correct(Correction),
}

/// What a client message asks of a session; the message back if it is nothing of the kind.
#[expect(clippy::result_large_err, reason = "the error is the message itself, handed back and not passed on")]
pub(super) fn as_command(message: ClientMessage) -> Result<Result<Wanted, FieldFault>, ClientMessage> {
    use ClientMessage as M;
    let correction = match message {
        M::Finalize(_) => return Ok(Ok(Wanted::Finalize)),
        M::Words(m) => {
            let is_final = m.is_final;
            let words = m.checked().map(|words| Wanted::Words { words, is_final });
            return Ok(words.map_err(FieldFault::from));
        }
        M::Rename(m) => speaker(&m.speaker).map(|speaker| Correction::Rename { speaker, name: m.name }),
        M::Merge(m) => {
            speaker(&m.from).and_then(|from| speaker(&m.into).map(|into| Correction::Merge { from, into }))
        }
        M::Reassign(m) => {
            let segment = SegmentId(m.segment);
            speaker(&m.speaker).map(|speaker| Correction::Reassign { segment, speaker })
        }
        M::Split(m) => {
            // A set: what is named twice is meant once.
            let segments: BTreeSet<_> = m.segments.into_iter().collect();
            let segments = segments.into_iter().map(SegmentId).collect();
            speaker(&m.speaker).map(|speaker| Correction::Split { speaker, segments })
        }
        M::Note(m) => match checked_note(&m.text) {
            Ok(text) => Ok(Correction::Note { id: m.id, segment: m.segment, text: text.to_owned() }),
            Err(fault) => Err(fault.into()),
        },
        M::Undo(m) => Ok(Again::Undo.correction(m.correction)),
        M::Redo(m) => Ok(Again::Redo.correction(m.correction)),
        M::Title(m) => match checked_title(&m.title) {
            Ok(title) => Ok(Correction::Title { title: title.to_owned() }),
            Err(fault) => Err(fault.into()),
        },
        other => return Err(other),
    };
    Ok(correction.map(Wanted::Correct))
}

fn speaker(label: &str) -> Result<SpeakerId, FieldFault> {
    Ok(label.parse()?)
}
