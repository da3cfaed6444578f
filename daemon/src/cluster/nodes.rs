//! The other nodes, as they show themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{Entry, Operation};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::link::{Link, NODE_TTL, next_of};
use super::node::Node;

/// Wait before the list is read again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// All nodes that gave a sign of life since this process started, itself included.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<BTreeMap<String, (Node, Instant)>>);

impl Nodes {
    /// Follows the signs of life for ever.
    pub(super) async fn follow(self: Arc<Self>, link: Arc<Link>) {
        let mut connection = link.health.connection();
        loop {
            let nodes = link.stores().await.nodes;
            connection.mark_unchanged();
            if let Ok(mut entries) = nodes.watch_with_history(">").await {
                // After every connection it is read from its beginning: it may be a new one.
                while let Some(Ok(entry)) = next_of(&mut entries, &mut connection).await {
                    self.take(&entry);
                }
            }
            sleep(AGAIN).await;
        }
    }

    fn take(&self, entry: &Entry) {
        let mut all = self.0.lock();
        match (entry.operation, Node::parse(&entry.value)) {
            (Operation::Put, Ok(node)) => {
                if !all.contains_key(&entry.key) {
                    let (node, version) = (&node.node, &node.version);
                    tracing::info!(node, version, "a node is there");
                }
                all.insert(entry.key.clone(), (node, Instant::now()));
            }
            (Operation::Put, Err(error)) => {
                tracing::warn!(node = entry.key, %error, "what a node shows of itself cannot be read");
            }
            (Operation::Delete | Operation::Purge, _) => {
                if all.remove(&entry.key).is_some() {
                    tracing::info!(node = entry.key, "a node has left");
                }
            }
        }
    }

    /// Whether this node is there.
    pub(super) fn is_alive(&self, node: &str) -> bool {
        self.was_there(node, NODE_TTL)
    }

    /// Whether the last sign of life of this node is less than `within` ago.
    pub(super) fn was_there(&self, node: &str, within: Duration) -> bool {
        self.0.lock().get(node).is_some_and(|(_, at)| at.elapsed() < within)
    }

    /// Sessions that the nodes beside `own` can label more than they do, as far as their last signs of life say, or the sessions
    /// that are known to run there.
    pub(super) fn n_places(&self, own: &str, n_known: impl Fn(&str) -> usize) -> usize {
        let all = self.0.lock();
        let others = all.values().filter(|(node, at)| node.node != own && at.elapsed() < NODE_TTL);
        let with_room = others.filter(|(node, _)| node.labels && !node.overloaded);
        with_room
            .map(|(node, _)| node.max_sessions.saturating_sub(node.sessions.max(n_known(&node.node))))
            .sum()
    }

    /// Number of nodes that are there.
    pub(super) fn n_alive(&self) -> usize {
        self.0.lock().values().filter(|(_, at)| at.elapsed() < NODE_TTL).count()
    }
}
