//! The connection to NATS, and the buckets and streams that the nodes share there.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::{Entry, Store, Watch, WatcherError};
use async_nats::jetstream::stream::{DiscardPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context, stream};
use diarized_config::ClusterConfig;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::connect::{addresses, options, reporting, servers};
use super::counts::Counts;
use super::error::{ClusterError, refused};
use super::health::{Health, Part};
use super::names::Names;

/// How long a node that shows no sign of life is in the list.
pub(super) const NODE_TTL: Duration = Duration::from_secs(10);
/// How long the audio of a day is known after the last change: clocks of nodes differ.
const USAGE_KEPT: Duration = Duration::from_secs(48 * 3600);
/// Audio on its way takes this part of `cluster.max_bytes` at most.
const AUDIO_SHARE: u64 = 8;
/// Wait before what NATS refused is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// What the nodes share.
#[derive(Debug, Clone)]
pub(super) struct Stores {
    pub(super) nodes: Store,
    pub(super) sessions: Store,
    pub(super) copies: Store,
    pub(super) events: Stream,
    pub(super) audio: Stream,
}

/// The connection; it is made again by itself whenever it is lost.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) jetstream: Context,
    pub(super) names: Names,
    config: ClusterConfig,
    pub(super) health: Arc<Health>,
    pub(super) counts: Counts,
    /// There once NATS was reached.
    stores: watch::Sender<Option<Stores>>,
}

impl Link {
    /// Begins to connect and returns at once. Needs a runtime.
    ///
    /// # Errors
    /// [`ClusterError`]: what the configuration names cannot be used.
    pub(super) async fn open(config: &ClusterConfig, node: &str) -> Result<Arc<Self>, ClusterError> {
        let health = Arc::new(Health::new());
        let options = options(config, &format!("diarized {node}")).await?;
        let options = reporting(options, Arc::clone(&health)).retry_on_initial_connect();
        let client = options.connect(addresses(config)?).await;
        let client = client.map_err(|error| away(config, &error))?;
        let link = Arc::new(Self::of(client, config, health));
        tokio::spawn(Arc::clone(&link).keep_up());
        Ok(link)
    }

    /// Connects now, for a command.
    ///
    /// # Errors
    /// [`ClusterError`]
    pub(super) async fn connect(config: &ClusterConfig) -> Result<(Self, Stores), ClusterError> {
        let options = options(config, "diarized").await?;
        let client = options.connect(addresses(config)?).await.map_err(|error| away(config, &error))?;
        let link = Self::of(client, config, Arc::new(Health::new()));
        let stores = link.set_up().await?;
        Ok((link, stores))
    }

    fn of(client: Client, config: &ClusterConfig, health: Arc<Health>) -> Self {
        let names = Names::new(&config.prefix);
        let stores = watch::Sender::new(None);
        Self {
            jetstream: jetstream::new(client),
            names,
            config: config.clone(),
            health,
            counts: Counts::default(),
            stores,
        }
    }

    pub(super) fn client(&self) -> Client {
        self.jetstream.client()
    }

    /// How long events stay in NATS.
    pub(super) fn keep(&self) -> Duration {
        self.config.keep
    }

    /// How long a node may be away until its sessions are ended.
    pub(super) fn away(&self) -> Duration {
        self.config.away
    }

    /// Waits until the stores were reached once.
    pub(super) async fn stores(&self) -> Stores {
        let mut stores = self.stores.subscribe();
        loop {
            if let Some(stores) = stores.borrow_and_update().clone() {
                return stores;
            }
            // The sender lives in `self`.
            let _ = stores.changed().await;
        }
    }

    /// Makes the stores after every connection, as a server may have lost them.
    async fn keep_up(self: Arc<Self>) {
        let mut connection = self.health.connection();
        loop {
            // The sender lives in `health`, which is held here.
            let _ = connection.wait_for(|n| *n != 0).await;
            let n = *connection.borrow_and_update();
            match self.set_up().await {
                Ok(stores) => {
                    self.stores.send_replace(Some(stores));
                    let _ = connection.wait_for(|now| *now != n).await;
                }
                Err(error) => {
                    if self.health.failed(Part::Place, &error.to_string()) {
                        tracing::error!(%error, "the cluster cannot be joined; it is tried again");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Finds the stores, and makes those that are missing.
    async fn set_up(&self) -> Result<Stores, ClusterError> {
        let events = stream::Config {
            name: self.names.stream(),
            description: Some("events of the sessions of diarized".to_owned()),
            subjects: vec![self.names.events("*")],
            max_age: self.config.keep,
            max_bytes: i64::try_from(self.config.max_bytes).unwrap_or(i64::MAX),
            num_replicas: self.config.replicas,
            ..stream::Config::default()
        };
        let events = self.jetstream.get_or_create_stream(events).await;
        let events = events.map_err(|error| refused("the stream of events", &error))?;
        let audio = stream::Config {
            name: self.names.audio_stream(),
            description: Some("audio of the sessions of diarized that is not labelled yet".to_owned()),
            subjects: vec![self.names.audio("*")],
            max_age: self.config.keep,
            max_bytes: i64::try_from(self.config.max_bytes / AUDIO_SHARE).unwrap_or(i64::MAX),
            // What is there is not lost for what comes: its writers wait.
            discard: DiscardPolicy::New,
            num_replicas: self.config.replicas,
            ..stream::Config::default()
        };
        let audio = self.jetstream.get_or_create_stream(audio).await;
        let audio = audio.map_err(|error| refused("the stream of audio", &error))?;
        let nodes = stream::Config {
            description: Some("nodes of diarized that are there".to_owned()),
            max_age: NODE_TTL,
            duplicate_window: NODE_TTL,
            storage: StorageType::Memory,
            ..self.bucket(&self.names.nodes())
        };
        let sessions = stream::Config {
            description: Some("sessions of diarized".to_owned()),
            max_age: self.config.keep,
            ..self.bucket(&self.names.sessions())
        };
        let copies = stream::Config {
            description: Some("sealed voices of running sessions of diarized".to_owned()),
            max_age: self.config.keep,
            ..self.bucket(&self.names.copies())
        };
        let nodes = self.bucket_of(&self.names.nodes(), nodes).await?;
        let sessions = self.bucket_of(&self.names.sessions(), sessions).await?;
        let copies = self.bucket_of(&self.names.copies(), copies).await?;
        Ok(Stores { nodes, sessions, copies, events, audio })
    }

    /// The bucket of voices; made if there is none. Its values can be erased, and are read where they are written.
    ///
    /// # Errors
    /// [`ClusterError`]
    pub(super) async fn voices_bucket(&self) -> Result<Store, ClusterError> {
        let name = self.names.voices();
        let config = stream::Config {
            description: Some("voices of diarized, sealed".to_owned()),
            deny_delete: false,
            allow_direct: false,
            ..self.bucket(&name)
        };
        self.bucket_of(&name, config).await
    }

    /// The bucket of what tokens have used, of today and yesterday; made if there is none.
    ///
    /// # Errors
    /// [`ClusterError`]
    pub(super) async fn tenants_bucket(&self) -> Result<Store, ClusterError> {
        let name = self.names.tenants();
        let config = stream::Config {
            description: Some("audio of the day by token of diarized".to_owned()),
            max_age: USAGE_KEPT,
            ..self.bucket(&name)
        };
        self.bucket_of(&name, config).await
    }

    /// The stream that a bucket is, as every client of NATS makes it. It is made by hand: the client asks for the account first,
    /// whose form of NATS 2.9 it cannot read.
    fn bucket(&self, name: &str) -> stream::Config {
        stream::Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("$KV.{name}.>")],
            max_messages_per_subject: 1,
            max_messages: -1,
            max_bytes: -1,
            max_message_size: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: self.config.replicas,
            ..stream::Config::default()
        }
    }

    /// The bucket of this name; made if there is none.
    async fn bucket_of(&self, name: &str, config: stream::Config) -> Result<Store, ClusterError> {
        let made = self.jetstream.get_or_create_stream(config).await;
        made.map_err(|error| refused("a bucket", &error))?;
        self.jetstream.get_key_value(name).await.map_err(|error| refused("a bucket", &error))
    }
}

/// The next value of a bucket; none after a change of the connection.
pub(super) async fn next_of(
    entries: &mut Watch,
    connection: &mut watch::Receiver<u64>,
) -> Option<Result<Entry, WatcherError>> {
    tokio::select! {
        next = entries.next() => next,
        _ = connection.changed() => None,
    }
}

fn away(config: &ClusterConfig, error: &(dyn std::error::Error + 'static)) -> ClusterError {
    ClusterError::Away { servers: servers(config), reason: crate::error_chain::error_chain(error) }
}
