//! A session without a publisher: whose it is, and how long it waits.

use std::time::{Duration, Instant, SystemTime};

use super::Session;
use super::publisher_slot::{self, VacatedSlot};
use crate::access::TenantId;
use crate::protocol::server_message::EndReason;

impl Session {
    /// Name of the token that opened the session; empty for the server's own.
    pub(crate) fn owner(&self) -> String {
        self.owner.lock().clone()
    }

    pub(crate) fn set_owner(&self, owner: &str) {
        owner.clone_into(&mut self.owner.lock());
    }

    /// Who the session counts for: the token that opened it.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        self.tenant.get()
    }

    /// Counts the session for this tenant, unless it has one.
    pub(crate) fn set_tenant(&self, tenant: TenantId) {
        // The first one stays.
        let _ = self.tenant.set(tenant);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::hub::{Hub, HubParams};
    use crate::protocol::AudioFormat;
    use crate::session::scripted::ScriptedFactory;
    use crate::session::{EngineFactory, Source};

    const GRACE: Duration = Duration::from_secs(120);

    /// The wait of a session whose publisher has come and lost its connection.
    async fn left_alone(session: &Arc<Session>) -> tokio::task::JoinHandle<()> {
        let vacated = session.acquire_publisher_slot().await.release();
        let waiting = Arc::clone(session);
        tokio::spawn(async move { waiting.await_return(vacated, GRACE).await })
    }

    #[tokio::test(start_paused = true)]
    async fn a_return_begins_the_wait_again_and_its_end_ends_the_session() {
        let factory: Arc<dyn EngineFactory> = Arc::new(ScriptedFactory::default());
        let hub = Hub::new(HubParams::default(), factory);
        let session = hub.open(Some("a"), Source::Stream, AudioFormat::default()).unwrap();
        let began = Instant::now();
        for _ in 0..4 {
            let wait = left_alone(&session).await;
            sleep(GRACE - Duration::from_secs(1)).await;
            assert!(!wait.is_finished() && session.end_reason().is_none());
        }
        left_alone(&session).await.await.unwrap();
        assert_eq!(session.end_reason(), Some(EndReason::Disconnected));
        assert_eq!(began.elapsed().as_secs(), 4 * 119 + 120);
    }
}
