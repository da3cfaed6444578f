//! Webhooks: chosen events of all sessions as signed HTTP requests; docs/integrations.md has their form.
//!
//! Each address has its own queue and its own pace. Events stay in order: the next request is sent when the one before it
//! was accepted or refused for good.

mod events;
mod queue;
mod request;

use std::sync::Arc;
use std::time::Duration;

use diarized_config::{Endpoint, WebhookConfig, WebhookEvent};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::events::Events;
use self::queue::Queue;
use self::request::{Answer, Delivery};
use super::counts::Counts;
use super::secret::{OutgoingError, secret_line};
use super::stop::stopped;
use crate::client::{Authorities, Backoff};
use crate::hub::Hub;
use crate::metrics::Share;
use crate::secret::random_hex;

/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Events in one request at most, and their bytes.
const MAX_EVENTS: usize = 100;
const MAX_BYTES: usize = 512 << 10;
/// Time in which events are gathered into one request.
const GATHER: Duration = Duration::from_millis(200);

/// One address, and what it is sent.
pub(super) struct Hook {
    url: Endpoint,
    authorities: Option<Authorities>,
    secret: Option<Arc<str>>,
    events: Vec<WebhookEvent>,
    timeout: Duration,
    queue_events: usize,
}

impl Hook {
    /// All configured ones.
    pub(super) fn all_of(config: &WebhookConfig) -> Result<Vec<Self>, OutgoingError> {
        let secret = config.secret_file.as_deref().filter(|_| !config.urls.is_empty());
        let secret = secret.map(|path| secret_line("webhook.secret_file", path)).transpose()?;
        let secret: Option<Arc<str>> = secret.map(Arc::from);
        let hook = |url: &Endpoint| Self {
            url: url.clone(),
            authorities: url.is_secure().then_some(Authorities::System),
            secret: secret.clone(),
            events: config.events.clone(),
            timeout: config.timeout,
            queue_events: config.queue_events,
        };
        Ok(config.urls.iter().map(hook).collect())
    }
}

/// A request that was not accepted yet.
struct Pending {
    delivery: Delivery,
    due: Instant,
}

/// Events on their way into the queue, also while a request is sent.
struct Inflow {
    events: Events,
    queue: Queue,
    hub: Arc<Hub>,
    counts: Arc<Counts>,
    share: Share,
}

impl Inflow {
    fn new(hook: &Hook, hub: Arc<Hub>, counts: Arc<Counts>) -> Self {
        let events = Events::new(&hub, hook.events.clone());
        Self { events, queue: Queue::new(hook.queue_events), hub, counts, share: Share::default() }
    }

    /// Queues what is new. `n_pending` events are in a request already.
    fn read(&mut self, n_pending: usize) {
        self.events.read(&self.hub, &mut self.queue);
        self.share.set(&self.counts.webhook_waiting, (self.queue.n_events() + n_pending) as u64);
    }

    /// Does so until a request is answered.
    async fn read_during<T>(&mut self, sending: impl Future<Output = T>, n_pending: usize) -> T {
        let mut sending = std::pin::pin!(sending);
        loop {
            tokio::select! {
                answer = &mut sending => return answer,
                () = self.events.changed() => self.read(n_pending),
            }
            // A burst of events is read at once.
            tokio::select! {
                answer = &mut sending => return answer,
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }
}

/// Sends events until the process ends, and then once more what is left.
pub(super) async fn run(hook: Hook, hub: Arc<Hub>, counts: Arc<Counts>, mut stop: watch::Receiver<bool>) {
    let mut inflow = Inflow::new(&hook, Arc::clone(&hub), Arc::clone(&counts));
    let mut backoff = Backoff::up_to(LONGEST_WAIT);
    let (mut pending, mut is_refused) = (None::<Pending>, false);
    loop {
        let is_last = *stop.borrow();
        inflow.read(pending.as_ref().map_or(0, |pending| pending.delivery.n_events()));
        if pending.is_none()
            && let Some((events, missed)) = inflow.queue.take(MAX_EVENTS, MAX_BYTES)
        {
            counts.webhook_dropped.add(missed);
            let delivery = Delivery::new(random_hex(8), &events, missed);
            pending = Some(Pending { delivery, due: Instant::now() });
        }
        if let Some(waiting) = &mut pending
            && (is_last || waiting.due <= Instant::now())
        {
            let (authorities, secret) = (hook.authorities.as_ref(), hook.secret.as_deref());
            let n_sent = waiting.delivery.n_events();
            let sending = waiting.delivery.send(&hook.url, authorities, secret, hook.timeout);
            match inflow.read_during(sending, n_sent).await {
                Answer::Accepted => {
                    if std::mem::take(&mut is_refused) {
                        tracing::info!(url = %hook.url, "the webhook accepts events again");
                    }
                    backoff.reset();
                    counts.webhook_sent.add(waiting.delivery.n_events() as u64);
                    pending = None;
                }
                Answer::Refused(reason) => {
                    let n_events = waiting.delivery.n_events() as u64;
                    counts.webhook_dropped.add(n_events);
                    tracing::error!(url = %hook.url, reason, n_events, "the webhook refuses events; they are dropped");
                    pending = None;
                }
                Answer::Later(reason) => {
                    counts.webhook_failures.add(1);
                    if is_last {
                        tracing::warn!(url = %hook.url, reason, "the last events could not be sent to the webhook");
                        return;
                    }
                    if !std::mem::replace(&mut is_refused, true) {
                        tracing::warn!(url = %hook.url, reason, "the webhook does not accept events; it is tried again");
                    }
                    waiting.due = Instant::now() + backoff.next();
                }
            }
            continue;
        }
        if is_last {
            return;
        }
        let wake = pending.as_ref().map_or(Instant::now() + Duration::from_secs(3600), |waiting| waiting.due);
        tokio::select! {
            // A burst of events becomes one request.
            () = inflow.events.changed() => tokio::time::sleep(GATHER).await,
            () = sleep_until(wake) => {}
            () = stopped(&mut stop) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::path::Path;

    use diarized_config::Sources;

    use super::*;
    use crate::hub::HubParams;
    use crate::protocol::AudioFormat;
    use crate::protocol::server_message::EndReason;
    use crate::session::scripted::ScriptedFactory;
    use crate::session::{EngineFactory, Source};

    /// A hub with one session, which has ended.
    fn hub() -> Arc<Hub> {
        let factory: Arc<dyn EngineFactory> = Arc::new(ScriptedFactory::default());
        let hub = Hub::new(HubParams::default(), factory);
        let session = hub.open(Some("a"), Source::Stream, AudioFormat::default()).unwrap();
        session.finish(EndReason::Closed);
        session.join();
        hub
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_tried_ever_less_often_and_at_the_end_once_more() {
        // Connections are made, and nobody answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = format!("[webhook]\nurls = [\"{url}\"]\nevents = [\"ended\"]\ntimeout_s = 10\n");
        let loaded = Sources::new().file_text(Path::new("diarized.toml"), &config).load().unwrap();
        let hook = Hook::all_of(&loaded.config.webhook).unwrap().remove(0);
        let (counts, stop) = (Arc::<Counts>::default(), watch::Sender::new(false));
        let sending = tokio::spawn(run(hook, hub(), Arc::clone(&counts), stop.subscribe()));
        let n_failures_after = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            counts.webhook_failures.get()
        };
        // Ten seconds each, with waits of 0.25, 0.5, 1, 2 … 256 s between them, and of 300 s from then on.
        assert_eq!(n_failures_after(9).await, 0);
        assert_eq!(n_failures_after(2).await, 1);
        assert_eq!(n_failures_after(3600 - 11).await, 12 + 9);
        assert_eq!(n_failures_after(24 * 3600).await, 12 + 9 + 279);
        stop.send_replace(true);
        let stopped_at = Instant::now();
        sending.await.unwrap();
        assert_eq!((counts.webhook_failures.get(), counts.webhook_dropped.get()), (12 + 9 + 280, 0));
        assert_eq!(stopped_at.elapsed().as_secs(), 10);
    }
}
