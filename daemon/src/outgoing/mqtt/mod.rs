//! MQTT: who speaks now in each room, retained, with Home Assistant's discovery; docs/integrations.md has the topics.

mod board;
mod link;
mod names;

pub use link::read_packets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diarized_config::{Endpoint, MqttConfig};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::board::{Board, Look, MAX_ROOMS};
use self::link::{Link, LinkError, Login, Message};
use self::names::Names;
use super::counts::Counts;
use super::secret::{OutgoingError, secret_line};
use super::stop::stopped;
use crate::client::{Authorities, Backoff};
use crate::hub::Hub;

/// Time between two looks at all sessions: who speaks changes without an event, too, when somebody falls silent.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time between two looks at the sessions that have new events.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// Longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// How long the end of the process may wait for the broker.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A broker, and how it is spoken to.
pub(super) struct Broker {
    url: Endpoint,
    login: Option<Login>,
    authorities: Option<Authorities>,
    names: Names,
}

impl Broker {
    /// The configured broker, if there is one.
    pub(super) fn of(config: &MqttConfig) -> Result<Option<Self>, OutgoingError> {
        let Some(url) = config.url.clone() else { return Ok(None) };
        let login = match &config.user {
            None => None,
            Some(user) => {
                let password = config.password_file.as_deref();
                let password = password.map(|path| secret_line("mqtt.password_file", path)).transpose()?;
                Some(Login { user: user.clone(), password: password.unwrap_or_default() })
            }
        };
        let authorities = match (url.is_secure(), &config.ca_file) {
            (false, _) => None,
            (true, None) => Some(Authorities::System),
            (true, Some(path)) => Some(Authorities::read(path)?),
        };
        let names = Names {
            client_id: config.client_id.clone(),
            topic: config.topic.clone(),
            discovery: config.discovery.clone(),
        };
        Ok(Some(Self { url, login, authorities, names }))
    }
}

/// Keeps the broker up to date until the process ends. While the broker is away nothing is queued: on the next connection
/// it gets everything as it stands then.
pub(super) async fn run(broker: Broker, hub: Arc<Hub>, counts: Arc<Counts>, mut stop: watch::Receiver<bool>) {
    let mut board = Board::new(broker.names.clone(), MAX_ROOMS);
    let mut backoff = Backoff::up_to(LONGEST_WAIT);
    let url = broker.url.to_string();
    let mut is_lost = false;
    loop {
        let began = Instant::now();
        let lost =
            match Link::open(&broker.url, broker.authorities.as_ref(), &broker.names, broker.login.as_ref())
                .await
            {
                Ok(link) => {
                    tracing::info!(url, "connected to the MQTT broker");
                    is_lost = false;
                    match serve(link, &mut board, &hub, &counts, &mut stop).await {
                        Ok(()) => return,
                        Err(lost) => lost,
                    }
                }
                Err(lost) => lost,
            };
        counts.mqtt_failures.add(1);
        if began.elapsed() >= GOOD {
            backoff.reset();
        }
        if !std::mem::replace(&mut is_lost, true) {
            tracing::warn!(url, reason = %lost, "the MQTT broker cannot be reached; it is tried again and again");
        }
        // The sessions are followed meanwhile, so that none is missed.
        let until = Instant::now() + backoff.next();
        while Instant::now() < until {
            tokio::select! {
                () = sleep(LOOK_EVERY) => board.update(&hub, Instant::now(), Look::All),
                () = stopped(&mut stop) => return,
            }
        }
    }
}

/// Publishes what changes, until the process or the connection ends.
async fn serve(
    mut link: Link,
    board: &mut Board,
    hub: &Hub,
    counts: &Counts,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), LinkError> {
    let names = board.names().clone();
    link.publish(&Message { topic: names.status(), payload: "online".to_owned() }).await?;
    link.subscribe(&names.of_all_rooms()).await?;
    let mut sent: BTreeMap<String, String> = BTreeMap::new();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = hub.tick();
    let mut looked = tokio::time::Instant::now();
    loop {
        tokio::select! {
            heard = link.hear() => {
                if let Some(retained) = heard? && let Some(correction) = board.corrected(&retained) {
                    link.publish(&correction).await?;
                }
            }
            _ = look.tick() => {
                board.update(hub, Instant::now(), Look::All);
                link.ping_if_due().await?;
                publish_changes(&mut link, board, &mut sent, counts).await?;
            }
            () = changed(&mut events, looked + LOOK_AT_MOST_EVERY) => {
                looked = tokio::time::Instant::now();
                board.update(hub, Instant::now(), Look::Changed);
                publish_changes(&mut link, board, &mut sent, counts).await?;
            }
            () = stopped(stop) => {
                board.update(hub, Instant::now(), Look::All);
                let last = async {
                    publish_changes(&mut link, board, &mut sent, counts).await?;
                    link.publish(&Message { topic: names.status(), payload: "offline".to_owned() }).await?;
                    link.close().await
                };
                // The last will says the same, if this does not reach the broker.
                let _ = timeout(LAST_WORDS, last).await;
                return Ok(());
            }
        }
    }
}

/// Waits for an event of any session, and at least until `earliest`.
async fn changed(events: &mut watch::Receiver<u64>, earliest: tokio::time::Instant) {
    tokio::time::sleep_until(earliest).await;
    // The sender lives in the hub, which the caller holds.
    let _ = events.changed().await;
}

/// Sends every message that the broker does not have as it is, and withdraws those that are no more.
async fn publish_changes(
    link: &mut Link,
    board: &Board,
    sent: &mut BTreeMap<String, String>,
    counts: &Counts,
) -> Result<(), LinkError> {
    let gone: Vec<String> =
        sent.keys().filter(|topic| !board.messages().contains_key(*topic)).cloned().collect();
    for topic in gone {
        sent.remove(&topic);
        link.publish(&Message { topic, payload: String::new() }).await?;
    }
    for (topic, payload) in board.messages() {
        if sent.get(topic) != Some(payload) {
            link.publish(&Message { topic: topic.clone(), payload: payload.clone() }).await?;
            counts.mqtt_sent.add(1);
            sent.insert(topic.clone(), payload.clone());
        }
    }
    Ok(())
}
