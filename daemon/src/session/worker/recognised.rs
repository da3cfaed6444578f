//! Recognised words in the session's thread: from clients and listeners, until the end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use diarized_models::words::NewWord;

use super::{Fault, Worker, at_16k};
use crate::protocol::server_message::{EndReason, Warning};
use crate::session::correction_error::CorrectionError;
use crate::session::listening::Recognised;

/// How long a shutdown waits for the last words of a listener.
const SHUTDOWN_WORDS: Duration = Duration::from_secs(2);
/// How often the end looks whether its listeners have left.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Worker {
    /// Adds recognised words and emits their events.
    pub(super) fn take_words(
        &mut self,
        words: &[NewWord],
        is_final: bool,
    ) -> Result<Result<(), CorrectionError>, Fault> {
        self.drive()?;
        let received =
            at_16k(self.inbox.counters.n_received.load(Ordering::Relaxed), self.format.sample_rate);
        let state = || self.channel.now().state;
        match self.words.add(state, words, is_final, self.heard, received) {
            Ok(emitted) => Ok(Ok(self.channel.publish(&emitted)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Adds the words of a listener; the first refusal is reported to everybody.
    pub(super) fn take_recognised(&mut self, recognised: &Recognised) -> Result<(), Fault> {
        if let Err(refusal) = self.take_words(&recognised.words, recognised.is_final)?
            && !std::mem::replace(&mut self.has_refused, true)
        {
            let warning = Warning { code: "words_refused".to_owned(), reason: refusal.to_string() };
            self.channel.publish_body(self.heard, warning);
        }
        Ok(())
    }

    /// Waits at the end for the last words, for a limited time; later ones are added to the ended session.
    pub(super) fn await_words(&mut self, reason: EndReason) -> Result<(), Fault> {
        let began = Instant::now();
        loop {
            while let Ok(recognised) = self.listeners.words().try_recv() {
                self.take_recognised(&recognised)?;
            }
            let Some(patience) = self.listeners.patience() else { break };
            let limit = match reason {
                EndReason::Shutdown => patience.before_end.min(SHUTDOWN_WORDS),
                _ => patience.before_end,
            };
            if began.elapsed() >= limit {
                break;
            }
            if let Ok(recognised) = self.listeners.words().recv_timeout(LOOK_EVERY) {
                self.take_recognised(&recognised)?;
            }
        }
        self.listeners.close();
        // What was sent right before.
        while let Ok(recognised) = self.listeners.words().try_recv() {
            self.take_recognised(&recognised)?;
        }
        Ok(())
    }
}
