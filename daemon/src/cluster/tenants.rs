//! Audio that tokens have used today, counted over all nodes: one value for each token and day, with the seconds of each node.
//!
//! A node changes its own seconds only, over the version that it has read. So no two nodes undo each other, and what a node
//! wrote before a restart is its own still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Entry, Operation, Store, UpdateErrorKind};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use super::error::{ClusterError, refused};
use super::link::{Link, next_of};
use super::node::{FORMAT, Own};
use crate::access::TenantId;
use crate::tenants::{Day, Tenants};

/// Time between two writes: so much audio may pass a limit before the other nodes know of it.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// Wait before the bucket is read again after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// Tries of one write while other nodes write the same value.
const TRIES: usize = 8;

/// What is known of one token and day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DayUsage {
    format: u32,
    /// Seconds of audio, by node.
    seconds: BTreeMap<String, f64>,
}

impl DayUsage {
    fn empty() -> Self {
        Self { format: FORMAT, seconds: BTreeMap::new() }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let usage: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if usage.format != FORMAT {
            let got = usage.format;
            return Err(format!("it is of format {got}, and this version reads {FORMAT}"));
        }
        if usage.seconds.values().any(|seconds| !seconds.is_finite() || *seconds < 0.0) {
            return Err("its seconds are none".to_owned());
        }
        Ok(usage)
    }

    fn to_json(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("texts and finite numbers have a JSON form").into()
    }

    fn of(&self, node: &str) -> f64 {
        self.seconds.get(node).copied().unwrap_or(0.0)
    }

    fn of_others(&self, node: &str) -> f64 {
        self.seconds.iter().filter(|(name, _)| *name != node).map(|(_, seconds)| seconds).sum()
    }
}

/// The key of a token's value for a day.
fn key(tenant: &TenantId, day: Day) -> String {
    format!("{}.{}", tenant.as_str(), day.0)
}

fn read_key(key: &str) -> Option<(TenantId, Day)> {
    let (tenant, day) = key.split_once('.')?;
    Some((TenantId::parse(tenant)?, Day(day.parse().ok()?)))
}

/// Shares what this node counts, and learns what the others do.
pub(super) struct SharedUsage {
    link: Arc<Link>,
    own: Arc<Own>,
    tenants: Arc<Tenants>,
    /// What this process has written or is about to write, by key.
    written: Mutex<BTreeMap<String, f64>>,
}

impl SharedUsage {
    /// Does so for ever, once the name of this node is `held`.
    pub(super) fn start(
        link: &Arc<Link>,
        own: &Arc<Own>,
        tenants: &Arc<Tenants>,
        held: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (link, own, tenants) = (Arc::clone(link), Arc::clone(own), Arc::clone(tenants));
        let shared = Arc::new(Self { link, own, tenants, written: Mutex::default() });
        tokio::spawn(Arc::clone(&shared).follow());
        tokio::spawn(Arc::clone(&shared).run(held));
        shared
    }

    /// Learns for ever what the other nodes count.
    async fn follow(self: Arc<Self>) {
        let mut connection = self.link.health.connection();
        loop {
            // Once NATS was reached.
            self.link.stores().await;
            connection.mark_unchanged();
            // NATS may have lost what was written.
            self.written.lock().values_mut().for_each(|seconds| *seconds = 0.0);
            if let Ok(bucket) = self.link.tenants_bucket().await
                && let Ok(mut entries) = bucket.watch_with_history(">").await
            {
                // After every connection it is read from its beginning: it may be a new one.
                while let Some(Ok(entry)) = next_of(&mut entries, &mut connection).await {
                    self.take(&entry);
                }
            }
            sleep(AGAIN).await;
        }
    }

    fn take(&self, entry: &Entry) {
        if entry.operation != Operation::Put {
            return;
        }
        let Some((tenant, day)) = read_key(&entry.key) else { return };
        match DayUsage::parse(&entry.value) {
            Ok(usage) => self.learn(&tenant, day, &usage),
            Err(reason) => {
                tracing::warn!(
                    key = entry.key,
                    reason,
                    "what a token has used on other nodes cannot be read"
                );
            }
        }
    }

    fn learn(&self, tenant: &TenantId, day: Day, usage: &DayUsage) {
        // What this process has written is in its own count already.
        if !self.written.lock().contains_key(&key(tenant, day)) {
            self.tenants.had(day, tenant, usage.of(&self.own.name));
        }
        self.tenants.set_others(day, tenant, usage.of_others(&self.own.name));
    }

    /// Writes this node's share for ever, once its name is `held`.
    async fn run(self: Arc<Self>, mut held: watch::Receiver<bool>) {
        loop {
            sleep(WRITE_EVERY).await;
            // The sender is gone at the end of the process.
            let _ = held.wait_for(|held| *held).await;
            self.write_all().await;
        }
    }

    /// Writes what has changed, unless NATS is away.
    pub(super) async fn write_all(&self) {
        if !self.link.health.is_connected() {
            return;
        }
        let (day, changed) = self.changed();
        if changed.is_empty() {
            return;
        }
        let Ok(bucket) = self.link.tenants_bucket().await else { return };
        for tenant in &changed {
            if let Err(error) = self.write(&bucket, day, tenant).await {
                tracing::debug!(%error, "what a token has used here is not known to the other nodes");
                return;
            }
        }
    }

    /// The day, and the tokens that have used more than was written.
    fn changed(&self) -> (Day, Vec<TenantId>) {
        let (day, own) = self.tenants.own();
        let mut written = self.written.lock();
        written.retain(|key, _| read_key(key).is_some_and(|(_, of)| of >= day));
        let is_new = |tenant: &TenantId, seconds: f64| {
            written.get(&key(tenant, day)).is_none_or(|written| seconds > *written)
        };
        let changed = own.into_iter().filter(|(tenant, seconds)| is_new(tenant, *seconds));
        (day, changed.map(|(tenant, _)| tenant).collect())
    }

    /// Writes this node's share of one token into what is there.
    async fn write(&self, bucket: &Store, day: Day, tenant: &TenantId) -> Result<(), ClusterError> {
        let what = "the audio of a token";
        let key = key(tenant, day);
        for _ in 0..TRIES {
            let entry = bucket.entry(&*key).await.map_err(|error| refused(what, &error))?;
            let entry = entry.filter(|entry| entry.operation == Operation::Put);
            let there = entry.as_ref().map(|entry| DayUsage::parse(&entry.value)).transpose();
            // What cannot be read is of a newer version, or damaged: it stays.
            let mut usage = there
                .map_err(|reason| ClusterError::Refused { what, reason })?
                .unwrap_or_else(DayUsage::empty);
            self.learn(tenant, day, &usage);
            // Before it is written: what is written comes back at once, and is no share of a process before this one.
            self.written.lock().entry(key.clone()).or_insert(0.0);
            let seconds = self.tenants.own().1.get(tenant).copied().unwrap_or(0.0);
            usage.seconds.insert(self.own.name.clone(), seconds);
            let is_written = match entry {
                Some(entry) => match bucket.update(&*key, usage.to_json(), entry.revision).await {
                    Ok(_) => true,
                    Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => false,
                    Err(error) => return Err(refused(what, &error)),
                },
                None => match bucket.create(&*key, usage.to_json()).await {
                    Ok(_) => true,
                    Err(error) if error.kind() == CreateErrorKind::AlreadyExists => false,
                    Err(error) => return Err(refused(what, &error)),
                },
            };
            if is_written {
                self.written.lock().insert(key, seconds);
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_share_of_each_node() {
        let mut usage = DayUsage::empty();
        for (node, seconds) in [("a", 1.5), ("b", 2.0), ("c", 0.25)] {
            usage.seconds.insert(node.to_owned(), seconds);
        }
        let read = DayUsage::parse(&usage.to_json()).unwrap();
        assert_eq!(
            (read.of("a"), read.of("d"), read.of_others("a"), read.of_others("d")),
            (1.5, 0.0, 2.25, 3.75)
        );
        for bad in [
            "{}",
            r#"{"format":2,"seconds":{}}"#,
            r#"{"format":1,"seconds":{"a":-1.0}}"#,
            r#"{"format":1,"seconds":{"a":1e999}}"#,
        ] {
            assert!(DayUsage::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_names_token_and_day() {
        let (tenant, day) = (TenantId::of("ada"), Day(20_484));
        assert_eq!(read_key(&key(&tenant, day)), Some((tenant, day)));
        for bad in ["", "ada.1", TenantId::of("ada").as_str(), &format!("{}.x", TenantId::of("a").as_str())] {
            assert_eq!(read_key(bad), None, "{bad}");
        }
    }
}
