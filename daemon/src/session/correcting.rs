//! A correction from request to journal: its events, then the event that says who made it.

use std::time::{SystemTime, UNIX_EPOCH};

use diarized_dsp::SampleIndex;
use diarized_models::TimedEvent;
use diarized_models::events::ApplyError;

use super::channel::Channel;
use super::correction_error::CorrectionError;
use super::engine::Correction;
use super::ledger::{Again, Entry};
use super::without_diarizer;
use super::words::Words;
use crate::protocol::Step;

/// Makes a correction. `labels` corrects labels, by a running diarizer or without one; its events are in the channel when
/// it returns. One caller at a time makes corrections of a session.
///
/// # Errors
/// [`CorrectionError`]; nothing is changed.
pub(super) fn correct(
    channel: &Channel,
    at: SampleIndex,
    correction: &Correction,
    by: Option<&str>,
    labels: &mut dyn FnMut(&Correction) -> Result<(), CorrectionError>,
) -> Result<(), CorrectionError> {
    let before = channel.now();
    let outcome = match correction {
        Correction::Title { .. } | Correction::Note { .. } => {
            let written = without_diarizer::write(correction, &before.about, &before.state)?;
            written.map(|(body, undo, redo)| {
                channel.push_body(at, body);
                (None, undo, redo)
            })
        }
        Correction::Again { again, wanted } => {
            let (of, step) = channel.again(*again, *wanted)?;
            labels(&Correction::Restore(step.clone()))?;
            // The title and the note of a step go without the diarizer.
            if let Some(title) = step.title {
                channel.push_body(at, title);
            }
            if let Some(note) = step.note {
                channel.push_body(at, note);
            }
            Some((Some(of), Step::default(), Step::default()))
        }
        _ => {
            labels(correction)?;
            let after = channel.now();
            without_diarizer::steps(correction, &before.state, &after.state)
                .map(|(undo, redo)| (None, undo, redo))
        }
    };
    if let Some((of, undo, redo)) = outcome {
        let (kind, by) = (correction.kind().to_owned(), by.map(str::to_owned));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        channel.enter(at, |id| Entry { id, kind, of, by, unix_ms, undo, redo });
    }
    Ok(())
}

impl Channel {
    /// Makes a correction of a session that has ended.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub(super) fn correct_ended(
        &self,
        correction: &Correction,
        by: Option<&str>,
    ) -> Result<(), CorrectionError> {
        // Of two who correct at once, the second one sees what the first one did.
        let _turn = self.correcting.lock();
        let at = self.now().at;
        correct(self, at, correction, by, &mut |correction| {
            let state = self.now().state;
            let events = without_diarizer::events(&state, correction, self.next_speaker())?;
            let mut emitted: Vec<TimedEvent> =
                events.into_iter().map(|event| TimedEvent { at, event }).collect();
            Words::of(&state).follow(&mut emitted);
            let failed = |error: ApplyError| CorrectionError::Refused { reason: error.to_string() };
            self.publish(&emitted).map_err(failed)
        })
    }
}

impl Again {
    /// The correction that asks for it.
    #[must_use]
    pub fn correction(self, wanted: Option<u64>) -> Correction {
        Correction::Again { again: self, wanted }
    }
}
