//! Keeps the store of this node and the bucket of voices alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::kv::{Store, UpdateErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::cabinet::{CHECK, Cabinet};
use super::fault::{Fault, State};
use super::held::{Due, Held};
use super::write::{Written, replace};
use crate::cluster::error::{ClusterError, refused};
use crate::cluster::link::{Link, next_of};
use crate::voices::{Registry, Shared, StoreError, Version};

/// Wait for more values that come together.
const SETTLE: Duration = Duration::from_millis(50);
/// Wait after a failure.
const AGAIN: Duration = Duration::from_secs(2);
/// The bucket is read from its beginning this often, as NATS does not report what was erased.
const REREAD: Duration = Duration::from_secs(600);

/// The voices that this node shares.
#[derive(Debug)]
pub(in crate::cluster) struct SharedVoices {
    link: Arc<Link>,
    node: String,
    registry: Arc<Registry>,
    state: State,
    /// One more than the version of the registry that was shared last.
    shared: AtomicU64,
}

impl SharedVoices {
    pub(in crate::cluster) fn new(link: Arc<Link>, node: &str, registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self {
            link,
            node: node.to_owned(),
            registry,
            state: State::default(),
            shared: AtomicU64::new(0),
        })
    }

    /// What people should know.
    pub(in crate::cluster) fn remark(&self) -> Option<String> {
        self.state.remark()
    }

    /// Number of voices in NATS that this node knows.
    pub(in crate::cluster) fn n_shared(&self) -> usize {
        self.state.n_shared()
    }

    /// Whether everything that may be written now is.
    pub(in crate::cluster) fn is_settled(&self) -> bool {
        let is_away = !self.link.health.is_connected() || self.state.has_fault();
        // At 0 this node takes no part yet.
        let shared = self.shared.load(Ordering::Acquire);
        is_away || shared == 0 || shared == self.registry.version() + 1
    }

    /// Shares for ever, once the name of this node is `held`.
    pub(in crate::cluster) async fn run(self: Arc<Self>, mut held: watch::Receiver<bool>) {
        let mut connection = self.link.health.connection();
        // The senders are gone at the end of the process.
        let _ = held.wait_for(|held| *held).await;
        loop {
            let _ = connection.wait_for(|n| *n != 0).await;
            connection.mark_unchanged();
            if let Err(error) = self.follow(&mut connection).await {
                self.state.failed(&Fault::Nats(error));
                sleep(AGAIN).await;
            }
        }
    }

    /// Follows both sides until the connection changes.
    async fn follow(&self, connection: &mut watch::Receiver<u64>) -> Result<(), ClusterError> {
        let bucket = self.link.voices_bucket().await?;
        let mut entries =
            bucket.watch_with_history(">").await.map_err(|error| refused("a look at the voices", &error))?;
        let (mut held, mut changes) = (Held::default(), self.registry.changes());
        let end = Instant::now() + REREAD;
        let mut due = Some(Instant::now() + SETTLE);
        loop {
            tokio::select! {
                next = next_of(&mut entries, connection) => match next {
                    Some(Ok(entry)) => {
                        if held.take(&entry) {
                            due = Some(Instant::now() + SETTLE);
                        }
                    }
                    Some(Err(error)) => return Err(refused("a look at the voices", &error)),
                    None => return Ok(()),
                },
                _ = changes.changed() => due = Some(Instant::now()),
                () = sleep_until(due.unwrap_or(end)) => {
                    if due.is_none() {
                        return Ok(());
                    }
                    due = self.pass(&bucket, &mut held).await;
                }
            }
        }
    }

    /// Brings both sides together once. When it must be done again, if it must.
    async fn pass(&self, bucket: &Store, held: &mut Held) -> Option<Instant> {
        let version = self.registry.version();
        let again = |wait| Some(Instant::now() + wait);
        match self.join(bucket, held).await {
            Ok(Joined::All { n_shared }) => {
                self.state.well(n_shared);
                self.shared.store(version + 1, Ordering::Release);
                None
            }
            Ok(Joined::Part) => again(SETTLE),
            Ok(Joined::Hindered(fault)) => {
                self.state.failed(&fault);
                match fault {
                    // Nothing changes by itself.
                    Fault::Unreadable { .. } | Fault::TooLarge { .. } => None,
                    _ => again(AGAIN),
                }
            }
            Err(fault) => {
                self.state.failed(&fault);
                again(AGAIN)
            }
        }
    }

    async fn join(&self, bucket: &Store, held: &mut Held) -> Result<Joined, Fault> {
        let Some(cabinet) = self.cabinet(held)? else { return Ok(Joined::All { n_shared: 0 }) };
        let mut hindrance = held.open(&cabinet);
        if held.check().is_none() && hindrance.is_some() {
            // Somebody deleted the value that shows the key; the others show it as well.
            return Err(self.wrong_key());
        }
        let model = self.registry.model();
        let others = held.others(&model);
        let shared = self.blocking(move |node, registry| registry.share(node, &others)).await?;
        self.report(&shared);
        if !shared.deleted.is_empty() || self.state.owes_wiping() {
            let n = self.state.deleted(shared.deleted.len());
            match self.blocking(|_, registry| registry.scrub()).await {
                Ok(()) => self.state.wiped(),
                Err(_) => hindrance = Some(Fault::Unwiped { n }),
            }
        }
        let due = held.due(&model, &shared.voices);
        if !due.is_empty() && held.check().is_none() && !self.write_check(bucket, held, &cabinet).await? {
            return Ok(Joined::Part);
        }
        let mut is_whole = true;
        for due in due {
            match self.write(bucket, held, &cabinet, due).await? {
                None => {}
                Some(Outcome::Conflict) => is_whole = false,
                Some(Outcome::TooLarge(fault)) => hindrance = Some(fault),
            }
        }
        Ok(match hindrance {
            _ if !is_whole => Joined::Part,
            Some(fault) => Joined::Hindered(fault),
            None => Joined::All { n_shared: shared.voices.values().filter(|v| v.alive.is_some()).count() },
        })
    }

    /// What opens and seals values here; nothing where there is neither a key nor anything to open.
    fn cabinet(&self, held: &Held) -> Result<Option<Cabinet>, Fault> {
        let place = self.registry.place();
        let key = match place.key.read(&place.path) {
            Ok(key) => key,
            Err(StoreError::NoKey { .. }) if held.is_empty() => return Ok(None),
            Err(StoreError::NoKey { .. }) => return Err(Fault::NoKey),
            Err(error) => return Err(Fault::Store(error)),
        };
        let cabinet = Cabinet::new(&key, self.link.names.voices());
        match held.check() {
            Some(check) if !cabinet.opens(check) => Err(self.wrong_key()),
            _ => Ok(Some(cabinet)),
        }
    }

    fn wrong_key(&self) -> Fault {
        let place = self.registry.place();
        let origin =
            place.key.read(&place.path).map_or_else(|error| error.to_string(), |key| key.origin().to_owned());
        Fault::WrongKey { origin }
    }

    /// Shows with which key the values are sealed. Whether this node was the first to do so.
    async fn write_check(&self, bucket: &Store, held: &mut Held, cabinet: &Cabinet) -> Result<bool, Fault> {
        let before = held.get(CHECK).map_or(0, |value| value.revision);
        match bucket.update(CHECK, cabinet.check(), before).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                self.look(bucket, held, CHECK).await?;
                Ok(false)
            }
            Err(error) => Err(Fault::Nats(refused("the mark of the key of voices", &error))),
        }
    }

    /// Writes one value. What keeps it from being there, if anything does.
    async fn write(
        &self,
        bucket: &Store,
        held: &mut Held,
        cabinet: &Cabinet,
        due: Due,
    ) -> Result<Option<Outcome>, Fault> {
        let bytes = cabinet.seal(&due.key, &due.model, &due.version);
        let max = self.link.client().server_info().max_payload;
        if bytes.len() > max {
            let voice = due.key.rsplit('.').next().unwrap_or_default().to_owned();
            return Ok(Some(Outcome::TooLarge(Fault::TooLarge { voice, size: bytes.len(), max })));
        }
        let before = held.get(&due.key);
        let worth_keeping = due.version.alive.is_some();
        let written = replace(bucket, &due.key, bytes.clone(), before, worth_keeping).await;
        match written {
            Ok(Written::Done(revision)) => {
                held.wrote(due, revision, bytes);
                Ok(None)
            }
            Ok(Written::Conflict) => {
                self.look(bucket, held, &due.key).await?;
                Ok(Some(Outcome::Conflict))
            }
            Err(error) => {
                self.link.counts.failures.add(1);
                // What is there now is not known.
                self.look(bucket, held, &due.key).await?;
                Err(Fault::Nats(error))
            }
        }
    }

    /// Reads what stands at a key now.
    async fn look(&self, bucket: &Store, held: &mut Held, key: &str) -> Result<(), Fault> {
        let entry =
            bucket.entry(key).await.map_err(|error| Fault::Nats(refused("a look at a voice", &error)))?;
        match entry {
            Some(entry) => drop(held.take(&entry)),
            None => held.forget(key),
        }
        Ok(())
    }

    /// Work on the store, away from the threads of sockets.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&str, &Registry) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let (node, registry) = (self.node.clone(), Arc::clone(&self.registry));
        let done = tokio::task::spawn_blocking(move || work(&node, &registry)).await;
        match done {
            Ok(outcome) => outcome.map_err(Fault::Store),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn report(&self, shared: &Shared) {
        let (taken, deleted) = (shared.n_taken, shared.deleted.len());
        if taken + deleted > 0 {
            tracing::info!(taken, deleted, "voices of other nodes");
        }
        self.state.twins(twins_of(&shared.voices));
    }
}

/// What a joining gave.
enum Joined {
    All {
        n_shared: usize,
    },
    /// Another node wrote meanwhile.
    Part,
    /// All but what this names.
    Hindered(Fault),
}

/// Why a value was not written.
enum Outcome {
    Conflict,
    TooLarge(Fault),
}

/// Ids of voices that have one name.
pub(super) fn twins_of(voices: &BTreeMap<String, Version>) -> Option<String> {
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (id, version) in voices {
        if let Some(alive) = &version.alive {
            by_name.entry(alive.name.value.to_lowercase()).or_default().push(id);
        }
    }
    let twins: Vec<String> =
        by_name.into_values().filter(|ids| ids.len() > 1).map(|ids| ids.join(" and ")).collect();
    (!twins.is_empty()).then(|| twins.join(", "))
}
