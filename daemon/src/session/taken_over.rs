//! A session that goes from one process to another.

use diarized_dsp::SampleIndex;
use tokio::sync::watch;

use super::Session;
use super::channel::Channel;
use super::handover::Handover;

impl Channel {
    /// What the session leaves for a process after this one.
    #[must_use]
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Number of the last event that another process had kept of the session, if it comes from there.
    pub(crate) fn taken_over_at(&self) -> Option<u64> {
        *self.taken_over_at.lock()
    }

    /// Another process goes on with the session behind this event.
    pub(crate) fn set_taken_over_at(&self, seq: u64) {
        *self.taken_over_at.lock() = Some(seq);
    }

    /// Warns everybody once the publisher is back: who comes back with a snapshot would miss an earlier event.
    pub(crate) fn warn_on_return(&self, code: &'static str, reason: String) {
        *self.on_return.lock() = Some((code, reason));
    }

    /// The publisher is back and has what came before.
    pub(crate) fn returned(&self) {
        if let Some((code, reason)) = self.on_return.lock().take() {
            self.warn(code, &reason);
        }
    }
}

impl Session {
    /// Seconds of audio that were received and will be labelled whatever breaks now, the process included where the session
    /// can go on in another one.
    #[must_use]
    pub fn safe_s(&self) -> f64 {
        self.channel.handover().safe_s(self.input.received_s())
    }

    /// A receiver that changes as more audio becomes safe.
    pub(crate) fn safer(&self) -> watch::Receiver<SampleIndex> {
        self.channel.handover().stored()
    }

    /// Stops the session for a process after this one; it ends where it cannot go on. Never waits.
    pub(crate) fn hand_over(&self) {
        self.input.hand_over();
    }
}
