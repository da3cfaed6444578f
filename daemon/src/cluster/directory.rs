//! What is known of all sessions, on all nodes: a copy of their records, kept by following the bucket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Entry, Operation};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::link::{Link, next_of};
use super::record::Record;

/// Wait before the bucket is read again after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// Time after a connection in which a server that has just become the first of several may show less than there is.
const SETTLED: Duration = Duration::from_secs(15);

/// The records by session.
#[derive(Debug)]
pub(super) struct Directory {
    records: Mutex<BTreeMap<String, Known>>,
    /// How long a record stays in NATS.
    keep: Duration,
    /// Changes with every record.
    tick: watch::Sender<u64>,
    /// Sessions that were deleted, on whichever node.
    deleted: mpsc::Sender<String>,
}

#[derive(Debug, Clone)]
struct Known {
    record: Record,
    revision: u64,
    at: Instant,
}

impl Directory {
    /// A copy without records; `deleted` gets the ids of sessions that are deleted, also before this process began.
    pub(super) fn new(keep: Duration, deleted: mpsc::Sender<String>) -> Self {
        Self { records: Mutex::default(), keep, tick: watch::Sender::new(0), deleted }
    }

    /// Follows the records for ever.
    pub(super) async fn follow(self: Arc<Self>, link: Arc<Link>) {
        let mut connection = link.health.connection();
        loop {
            let sessions = link.stores().await.sessions;
            connection.mark_unchanged();
            let began = Instant::now();
            if let Ok(mut entries) = sessions.watch_with_history(">").await {
                let (mut is_read, mut is_settled) = (false, false);
                // After every connection it is read from its beginning: it may be a new one.
                loop {
                    tokio::select! {
                        next = next_of(&mut entries, &mut connection) => {
                            let Some(Ok(entry)) = next else { break };
                            self.take(&entry);
                            is_read |= entry.seen_current;
                        }
                        () = sleep_until(began + SETTLED), if !is_settled => {
                            is_settled = true;
                            let is_empty = sessions.status().await.is_ok_and(|status| status.values() == 0);
                            if is_read || is_empty {
                                self.forget_before(began);
                            }
                        }
                    }
                }
            }
            sleep(AGAIN).await;
        }
    }

    fn take(&self, entry: &Entry) {
        match entry.operation {
            Operation::Put => self.put(&entry.key, &entry.value, entry.revision),
            Operation::Delete | Operation::Purge => {
                self.records.lock().remove(&entry.key);
                self.tick.send_modify(|n| *n += 1);
                if self.deleted.try_send(entry.key.clone()).is_err() {
                    // It is read again after the next connection.
                    tracing::warn!(
                        session = entry.key,
                        "too many sessions are deleted at once to forget this one here"
                    );
                }
            }
        }
    }

    /// Takes a newer value of a record.
    pub(super) fn put(&self, id: &str, value: &[u8], revision: u64) {
        let record = match Record::parse(id, value) {
            Ok(record) => record,
            Err(reason) => {
                tracing::debug!(session = id, reason, "a session of another node cannot be read");
                return;
            }
        };
        {
            let mut records = self.records.lock();
            records.retain(|_, known| known.at.elapsed() < self.keep);
            records.insert(id.to_owned(), Known { record, revision, at: Instant::now() });
        }
        self.tick.send_modify(|n| *n += 1);
    }

    /// Forgets what was not read since: NATS has lost it.
    fn forget_before(&self, began: Instant) {
        let mut records = self.records.lock();
        let n_known = records.len();
        records.retain(|_, known| known.at >= began);
        let n_lost = n_known - records.len();
        drop(records);
        if n_lost > 0 {
            tracing::warn!(n_lost, "sessions of other nodes are no longer in NATS");
            self.tick.send_modify(|n| *n += 1);
        }
    }

    /// What is known of a session, and the revision of that.
    pub(super) fn get(&self, id: &str) -> Option<(Record, u64)> {
        self.records.lock().get(id).map(|known| (known.record.clone(), known.revision))
    }

    pub(super) fn remove(&self, id: &str) {
        self.records.lock().remove(id);
    }

    /// Every record for which `is_wanted`, by id.
    pub(super) fn all(&self, is_wanted: impl Fn(&Record) -> bool) -> Vec<(String, Record)> {
        let records = self.records.lock();
        let wanted = records.iter().filter(|(_, known)| is_wanted(&known.record));
        wanted.map(|(id, known)| (id.clone(), known.record.clone())).collect()
    }

    /// A receiver that changes with every record.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }
}
