//! Signs of life: a node holds its name by writing it again and again, each time over its own last version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::error::{ClusterError, refused};
use super::health::Part;
use super::link::Link;
use super::node::{Node, Own};
use crate::hub::Hub;

/// Time between two signs of life.
const EVERY: Duration = Duration::from_secs(1);
/// A name whose holder gave no sign for so long is free.
const SILENT: Duration = Duration::from_secs(5);

/// What became of one sign of life.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// The name is ours.
    Held,
    /// Another process had it; it is looked at whether that one lives.
    Watched,
    /// Another process holds it.
    Taken,
}

/// Holds the name of this node.
#[derive(Debug)]
pub(super) struct Beat {
    link: Arc<Link>,
    hub: Arc<Hub>,
    own: Arc<Own>,
    revision: Option<u64>,
    /// Last version that another process wrote, and since when it stands.
    rival: Option<(u64, Instant)>,
    /// Whether the name is ours.
    held: watch::Sender<bool>,
}

impl Beat {
    pub(super) fn new(link: Arc<Link>, hub: Arc<Hub>, own: Arc<Own>, held: watch::Sender<bool>) -> Self {
        Self { link, hub, own, revision: None, rival: None, held }
    }

    /// Gives signs of life until the process stops; then the name is given up.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let nodes = tokio::select! {
            stores = self.link.stores() => stores.nodes,
            () = stopped(&mut stop) => return,
        };
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stopped(&mut stop) => {
                    if let Some(revision) = self.revision {
                        // It would be forgotten by itself a little later.
                        let _ = nodes.purge_expect_revision(&self.own.name, Some(revision)).await;
                    }
                    return;
                }
            }
            if self.link.health.is_connected() {
                self.beat_once(&nodes).await;
            }
        }
    }

    async fn beat_once(&mut self, nodes: &Store) {
        let outcome = self.beat(nodes).await;
        match outcome {
            Ok(Name::Held) => {
                if !self.held.send_replace(true) {
                    tracing::info!(node = self.own.name, "this node is a part of its cluster");
                }
                self.link.health.well(Part::Place);
            }
            Ok(Name::Watched) => {}
            Ok(Name::Taken) => {
                self.held.send_replace(false);
                let name = &self.own.name;
                let fault =
                    format!("another process is the node {name:?}; give each node a cluster.node of its own");
                if self.link.health.failed(Part::Place, &fault) {
                    tracing::error!(fault, "this node is no part of its cluster");
                }
            }
            Err(error) => {
                if self.link.health.failed(Part::Place, &error.to_string()) {
                    tracing::warn!(%error, "a sign of life of this node failed");
                }
            }
        }
    }

    async fn beat(&mut self, nodes: &Store) -> Result<Name, ClusterError> {
        let name = self.own.name.clone();
        if let Some(revision) = self.revision.take() {
            match nodes.update(&name, self.now(), revision).await {
                Ok(revision) => {
                    self.revision = Some(revision);
                    return Ok(Name::Held);
                }
                // It has expired, or somebody else wrote it: what is there tells.
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => {
                    self.revision = Some(revision);
                    return Err(refused("a sign of life", &error));
                }
            }
        }
        let entry = nodes.entry(&name).await.map_err(|error| refused("a look at the nodes", &error))?;
        let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) else {
            return match nodes.create(&name, self.now()).await {
                Ok(revision) => Ok(self.hold(revision)),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(Name::Watched),
                Err(error) => Err(refused("a sign of life", &error)),
            };
        };
        if Node::parse(&entry.value).is_ok_and(|node| node.instance == self.own.instance) {
            // Ours, whose answer was lost.
            return Ok(self.hold(entry.revision));
        }
        match self.rival {
            Some((revision, since)) if revision == entry.revision => {
                if since.elapsed() < SILENT {
                    return Ok(Name::Watched);
                }
                match nodes.update(&name, self.now(), revision).await {
                    Ok(revision) => Ok(self.hold(revision)),
                    Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(Name::Watched),
                    Err(error) => Err(refused("a sign of life", &error)),
                }
            }
            known => {
                self.rival = Some((entry.revision, Instant::now()));
                Ok(if known.is_some() { Name::Taken } else { Name::Watched })
            }
        }
    }

    fn hold(&mut self, revision: u64) -> Name {
        (self.revision, self.rival) = (Some(revision), None);
        Name::Held
    }

    fn now(&self) -> bytes::Bytes {
        self.own.now(&self.hub).to_json().into()
    }
}

/// Waits for the end of the process.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without its sender the process is at its end, too.
    let _ = stop.wait_for(|stop| *stop).await;
}
