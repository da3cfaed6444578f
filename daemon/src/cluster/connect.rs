//! How NATS is reached: addresses, credentials and certificates of the configuration.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr};
use diarized_config::ClusterConfig;

use super::error::ClusterError;
use super::health::{Health, Part};
use crate::client::Authorities;
use crate::outgoing::secret_line;

/// Time limit of one attempt to connect, and of one request.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two signs of life on the connection.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// The servers, for people.
pub(super) fn servers(config: &ClusterConfig) -> String {
    config.nats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The servers, for the client.
pub(super) fn addresses(config: &ClusterConfig) -> Result<Vec<ServerAddr>, ClusterError> {
    let read = |endpoint: &diarized_config::Endpoint| {
        let address = endpoint.to_string();
        address.parse().map_err(|source| ClusterError::Address { address, source })
    };
    config.nats.iter().map(read).collect()
}

/// What the configuration says of the connection.
///
/// # Errors
/// A file of the configuration cannot be used.
pub(super) async fn options(config: &ClusterConfig, name: &str) -> Result<ConnectOptions, ClusterError> {
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(PATIENCE)
        .request_timeout(Some(PATIENCE))
        .ping_interval(PING_EVERY)
        .reconnect_delay_callback(|n| LONGEST_WAIT.min(Duration::from_millis(250) * n as u32));
    if let Some(path) = &config.credentials_file {
        let read = options.credentials_file(path).await;
        options = read.map_err(|source| ClusterError::Credentials { path: path.clone(), source })?;
    }
    if let (Some(user), Some(path)) = (&config.user, &config.password_file) {
        options = options.user_and_password(user.clone(), secret_line("cluster.password_file", path)?);
    }
    if let Some(path) = &config.ca_file {
        // Read here first: the client would say so at its first connection only.
        Authorities::read(path)?;
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
}

/// Has `health` follow what happens to the connection.
pub(super) fn reporting(options: ConnectOptions, health: Arc<Health>) -> ConnectOptions {
    options.event_callback(move |event| {
        let health = Arc::clone(&health);
        async move {
            match event {
                Event::Connected => {
                    tracing::info!("NATS is there");
                    health.connected();
                }
                Event::Disconnected => {
                    tracing::warn!("the connection to NATS is lost; sessions go on, and it is tried again");
                    health.disconnected();
                }
                Event::ServerError(error) => report(&health, error.to_string()),
                // The client gives the kind of the error only; a command gets all of it.
                Event::ClientError(error) => {
                    report(&health, format!("{error}; `diarized cluster status` shows the cause"));
                }
                Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining | Event::Closed => {}
            }
        }
    })
}

fn report(health: &Health, reason: String) {
    if health.failed(Part::Place, &reason) {
        tracing::warn!(reason, "NATS reports an error");
    }
}
