//! What the daemon sends to other programs by itself: the state of sessions to an MQTT broker, events to webhooks.
//!
//! Both follow the sessions as subscribers do. A broker or a web server that is slow or away delays no session; what waits
//! for it is bounded.

mod counts;
mod mqtt;
mod speaking;
mod webhook;

#[doc(hidden)]
pub use mqtt::read_packets;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diarized_config::Config;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::counts::Counts;
use crate::client::TlsError;
use crate::hub::Hub;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// A file of a password or a secret cannot be read.
    #[error("cannot read {key} in {}", path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A file of a password or a secret holds nothing.
    #[error("{key} in {} must hold one line that is not empty", path.display())]
    Empty {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The authorities for a certificate cannot be read.
    #[error("mqtt.ca_file cannot be used")]
    Authorities(#[from] TlsError),
}

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

/// Waits for the end of the process.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without its sender the process is at its end, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The first line of a file of a secret.
fn secret_line(key: &'static str, path: &Path) -> Result<String, OutgoingError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| OutgoingError::File { key, path: path.to_owned(), source })?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() {
        return Err(OutgoingError::Empty { key, path: path.to_owned() });
    }
    Ok(line)
}
