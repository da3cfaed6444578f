//! Takes the sessions that wait for a node that labels them: new ones, those that a node has left, and those of dead nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::feed::Feeder;
use crate::cluster::directory::Directory;
use crate::cluster::link::Link;
use crate::cluster::node::Own;
use crate::cluster::nodes::Nodes;
use crate::cluster::record::Record;
use crate::cluster::taking::Taking;
use crate::hub::Hub;

/// Least and longest time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// A node without a sign of life for so long is taken for dead: it gives one every second.
const SILENT: Duration = Duration::from_millis(2500);
/// How long this node must see that, as it may have been asleep itself.
const SEEN: Duration = Duration::from_millis(700);
/// Longest wait of a node before it takes a session, by how full it is: the emptiest one is first.
const FULL: Duration = Duration::from_millis(200);
/// Sessions that are taken at once.
const AT_ONCE: usize = 8;
/// Longest time that the taking of a session may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a session could not be taken.
const AGAIN: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub(in crate::cluster) struct Labeller {
    link: Arc<Link>,
    hub: Arc<Hub>,
    own: Arc<Own>,
    nodes: Arc<Nodes>,
    directory: Arc<Directory>,
    taking: Arc<Taking>,
    /// Sessions that are being taken.
    busy: Mutex<BTreeSet<String>>,
    /// Sessions that are fed.
    fed: Mutex<BTreeSet<String>>,
}

impl Labeller {
    pub(in crate::cluster) fn new(nodes: Arc<Nodes>, taking: Arc<Taking>) -> Arc<Self> {
        let (link, hub, own) = (Arc::clone(&taking.link), Arc::clone(&taking.hub), Arc::clone(&taking.own));
        let directory = Arc::clone(&taking.directory);
        let (busy, fed) = (Mutex::default(), Mutex::default());
        Arc::new(Self { link, hub, own, nodes, directory, taking, busy, fed })
    }

    /// Takes sessions for ever, as long as the name of this node is `held`.
    pub(in crate::cluster) async fn run(self: Arc<Self>, held: watch::Receiver<bool>) {
        // Since when the node of a session is missed, by session.
        let mut missed: BTreeMap<String, Instant> = BTreeMap::new();
        let mut connection = self.link.health.connection();
        let mut changes = self.directory.changes();
        loop {
            sleep(LOOK.0).await;
            let _ = timeout(LOOK.1, changes.changed()).await;
            if connection.has_changed().unwrap_or(true) {
                connection.mark_unchanged();
                missed.clear();
            }
            if !self.link.health.is_connected() || !*held.borrow() {
                missed.clear();
                continue;
            }
            let running = self.directory.all(Record::runs_fed);
            missed.retain(|missing, _| running.iter().any(|(id, _)| id == missing));
            for (id, record) in running {
                self.look_at(id, &record, &mut missed);
            }
        }
    }

    fn look_at(self: &Arc<Self>, id: String, record: &Record, missed: &mut BTreeMap<String, Instant>) {
        let is_own = record.node == self.own.name;
        if is_own && !record.going_on.is_left {
            self.feed(&id);
        }
        let is_there = match is_own {
            true => self.hub.get(&id).is_some(),
            false => self.nodes.was_there(&record.node, SILENT),
        };
        if is_there && !record.going_on.is_left {
            missed.remove(&id);
            return;
        }
        let is_dead = missed.entry(id.clone()).or_insert_with(Instant::now).elapsed() >= SEEN;
        if record.going_on.is_left || is_dead {
            self.begin_to_take(id);
        }
    }

    /// Feeds a session of this node that is not fed.
    fn feed(self: &Arc<Self>, id: &str) {
        let Some(session) = self.hub.get(id).filter(|session| !session.channel().is_over()) else { return };
        if session.end_reason().is_some() || !self.fed.lock().insert(id.to_owned()) {
            return;
        }
        let parts = (Arc::clone(&self.link), Arc::clone(&self.nodes), Arc::clone(&self.directory));
        let feeder = Feeder::new(parts.0, parts.1, parts.2, session);
        let (labeller, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            feeder.run().await;
            labeller.fed.lock().remove(&id);
        });
    }

    /// Takes a session unless it is being taken already, or there is no room here.
    fn begin_to_take(self: &Arc<Self>, id: String) {
        let stats = self.hub.stats();
        let max = self.own.max_sessions();
        {
            let mut busy = self.busy.lock();
            let n_live = stats.live + busy.len();
            if self.hub.has_room().is_err() || n_live >= max || busy.len() >= AT_ONCE || busy.contains(&id) {
                return;
            }
            busy.insert(id.clone());
        }
        let labeller = Arc::clone(self);
        let full = stats.live as f64 / max.max(1) as f64;
        tokio::spawn(async move {
            sleep(FULL.mul_f64(full.min(1.0))).await;
            let taking = labeller.taking.take_free(&id, |record| labeller.is_free(&id, record));
            match timeout(PATIENCE, taking).await {
                Ok(Ok(true)) => labeller.feed(&id),
                Ok(Ok(false)) => {}
                Err(_) => {
                    tracing::warn!(session = id, "NATS does not give a session in time; it is tried again")
                }
                Ok(Err(error)) => {
                    tracing::warn!(session = id, %error, "a session is not labelled here");
                    sleep(AGAIN).await;
                }
            }
            labeller.busy.lock().remove(&id);
        });
    }

    /// Whether no node labels this session.
    fn is_free(&self, id: &str, record: &Record) -> bool {
        let is_there = match record.node == self.own.name {
            true => self.hub.get(id).is_some(),
            false => self.nodes.was_there(&record.node, SILENT),
        };
        record.runs_fed() && (record.going_on.is_left || !is_there)
    }
}
