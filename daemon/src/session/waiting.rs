//! A session without a publisher: whose it is, and how long it waits.

use std::time::{Duration, Instant, SystemTime};

use super::Session;
use super::publisher_slot::{self, VacatedSlot};
use crate::protocol::server_message::EndReason;

impl Session {
    /// Name of the token that opened the session; empty for the server's own.
    pub(crate) fn owner(&self) -> String {
        self.owner.lock().clone()
    }

    pub(crate) fn set_owner(&self, owner: &str) {
        owner.clone_into(&mut self.owner.lock());
    }

    /// Since when the session waits for its publisher; none while it has one, and after its end.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.publisher_slot.waiting_since().filter(|_| self.end_reason().is_none())
    }

    /// Runs `act` if the session waits for its publisher, who cannot come back during it. Whether it ran.
    pub(crate) fn if_waiting(&self, act: impl FnOnce()) -> bool {
        self.publisher_slot.if_waiting(act)
    }

    /// Seconds that the clock of the machine is ahead of the audio that was received; 0 where it was set back.
    pub(crate) fn behind_s(&self) -> f64 {
        let since = SystemTime::now().duration_since(self.began()).unwrap_or_default();
        (since.as_secs_f64() - self.input().received_s()).max(0.0)
    }

    /// Gives the publisher, whose connection broke, so long to come back, and ends the session if it does not.
    pub async fn await_return(&self, vacated: VacatedSlot, grace: Duration) {
        self.await_publisher(vacated, grace, EndReason::Disconnected).await;
    }

    /// The same for a session of another process, whose publisher has not come yet.
    pub(crate) async fn await_first_return(&self, grace: Duration) {
        self.await_publisher(publisher_slot::FIRST, grace, EndReason::Interrupted).await;
    }

    async fn await_publisher(&self, vacated: VacatedSlot, grace: Duration, reason: EndReason) {
        self.publisher_slot.begin_waiting(vacated);
        tokio::select! {
            () = self.channel.wait_ended() => {}
            () = self.publisher_slot.acquired_again(vacated) => {}
            () = tokio::time::sleep(grace) => {
                self.publisher_slot.if_vacant(vacated, || self.finish(reason));
            }
        }
    }
}
