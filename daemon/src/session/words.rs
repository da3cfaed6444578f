//! The words of a session, beside its diarizer: every change of labels is followed by that of its words.

use std::sync::Arc;

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
use diarized_models::words::{Book, NewWord};
use diarized_models::{SessionState, TimedEvent};

use super::channel::Channel;
use super::correction_error::CorrectionError;

/// Seconds that words may be ahead of the audio received: recognisers that get the audio elsewhere may be earlier.
const MAX_AHEAD_S: u64 = 60;

/// Words of one session; nothing is held before the first one comes.
#[derive(Debug, Default)]
pub(super) struct Words {
    book: Option<Book>,
}

impl Words {
    /// The words of a session to which no more are added.
    pub(super) fn of(state: &SessionState) -> Self {
        let has_words = state.words().len() > 0;
        Self { book: has_words.then(|| Book::of(state)) }
    }

    /// Inserts behind every event of labels what it changes of the words.
    pub(super) fn follow(&mut self, emitted: &mut Vec<TimedEvent>) {
        let Some(book) = &mut self.book else { return };
        let labels = std::mem::take(emitted);
        for label in labels {
            let at = label.at;
            let words = book.observe(&label.event);
            emitted.push(label);
            emitted.extend(words.into_iter().map(|event| TimedEvent { at, event }));
        }
    }

    /// Takes words and returns their events, at stream position `at`. `state` is the session as it stands, and
    /// `received` the end of its audio.
    ///
    /// # Errors
    /// [`CorrectionError::Refused`]; nothing has changed.
    pub(super) fn add(
        &mut self,
        state: impl FnOnce() -> Arc<SessionState>,
        words: &[NewWord],
        is_final: bool,
        at: SampleIndex,
        received: SampleIndex,
    ) -> Result<Vec<TimedEvent>, CorrectionError> {
        let end = received.plus(MAX_AHEAD_S * u64::from(SAMPLE_RATE_HZ));
        if let Some((idx, word)) = words.iter().enumerate().find(|(_, word)| word.range.end() > end) {
            let (word_s, received_s) = (word.range.end().seconds(), received.seconds());
            let reason = format!(
                "words[{idx}].end ({word_s}) is more than {MAX_AHEAD_S} s after the audio received ({received_s:.3} s); \
                 times are seconds on the session's clock"
            );
            return Err(CorrectionError::Refused { reason });
        }
        let book = self.book.get_or_insert_with(|| Book::of(&state()));
        let events = book
            .add(words, is_final)
            .map_err(|full| CorrectionError::Refused { reason: full.to_string() })?;
        Ok(events.into_iter().map(|event| TimedEvent { at, event }).collect())
    }
}

impl Channel {
    /// Adds words to a session that has ended.
    ///
    /// # Errors
    /// [`CorrectionError::Refused`]; nothing has changed.
    pub(super) fn add_words_ended(&self, words: &[NewWord], is_final: bool) -> Result<(), CorrectionError> {
        // One change of an ended session at a time.
        let _turn = self.correcting.lock();
        let now = self.now();
        let state = || Arc::clone(&now.state);
        let events = Words::default().add(state, words, is_final, now.at, now.at)?;
        self.publish(&events).map_err(|error| CorrectionError::Refused { reason: error.to_string() })
    }
}
