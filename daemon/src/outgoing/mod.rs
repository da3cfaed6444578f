//! What the daemon sends to other programs by itself: the state of sessions to an MQTT broker, events to webhooks.
//!
//! Both follow the sessions as subscribers do. A broker or a web server that is slow or away delays no session; what waits
//! for it is bounded.

mod counts;
mod mqtt;
mod secret;
mod speaking;
mod stop;
mod webhook;

#[doc(hidden)]
pub use mqtt::read_packets;
pub use secret::OutgoingError;
pub(crate) use secret::secret_line;

use std::sync::Arc;
use std::time::Duration;

use diarized_config::Config;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::counts::Counts;
use crate::hub::Hub;

/// The running senders.
#[derive(Debug)]
pub struct Outgoing {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Outgoing {
    /// Starts the senders that are configured; none is no error.
    ///
    /// # Errors
    /// [`OutgoingError`]: a file that the configuration names.
    pub fn start(config: &Config, hub: &Arc<Hub>) -> Result<Self, OutgoingError> {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let counts = Arc::new(Counts::default());
        if let Some(broker) = mqtt::Broker::of(&config.mqtt)? {
            tasks.spawn(mqtt::run(broker, Arc::clone(hub), Arc::clone(&counts), stop.subscribe()));
            let counts = Arc::clone(&counts);
            hub.add_metrics(move |page| counts.write_mqtt(page));
        }
        let hooks = webhook::Hook::all_of(&config.webhook)?;
        if !hooks.is_empty() {
            let counts = Arc::clone(&counts);
            hub.add_metrics(move |page| counts.write_webhook(page));
        }
        for hook in hooks {
            tasks.spawn(webhook::run(hook, Arc::clone(hub), Arc::clone(&counts), stop.subscribe()));
        }
        Ok(Self { stop, tasks })
    }

    /// Sends what is left, for at most `grace`. To be called when all sessions have ended.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("not all that waited for the MQTT broker or the webhooks was sent before the end");
        }
    }
}
