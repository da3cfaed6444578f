//! The sessions of other nodes that are followed here: those that somebody holds, and for a minute those that somebody held.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::directory::Directory;
use super::error::ClusterError;
use super::link::Link;
use super::mirror;
use super::node::Own;
use super::record::Record;
use crate::hub::Hub;
use crate::session::Session;

/// Time that a session without readers is still followed.
const UNUSED: Duration = Duration::from_secs(60);
/// Limit of followed sessions; those without readers make room.
const MAX_FOLLOWED: usize = 4096;
/// Least and longest time between two looks at them.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What is followed.
pub(super) struct Mirrors {
    link: Arc<Link>,
    hub: Arc<Hub>,
    own: Arc<Own>,
    directory: Arc<Directory>,
    followed: Mutex<BTreeMap<String, Followed>>,
    /// Followers of all sessions.
    n_of_all: Arc<AtomicUsize>,
}

struct Followed {
    session: Arc<Session>,
    began_unix_ms: u64,
    /// Where in the stream the last message is that is in the session.
    applied: watch::Receiver<u64>,
    task: AbortHandle,
    used: Instant,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a follower of all sessions as long as it is held.
struct OfAll(Arc<AtomicUsize>);

impl Drop for OfAll {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Mirrors {
    pub(super) fn new(link: Arc<Link>, hub: Arc<Hub>, own: Arc<Own>, directory: Arc<Directory>) -> Arc<Self> {
        let (followed, n_of_all) = (Mutex::default(), Arc::default());
        Arc::new(Self { link, hub, own, directory, followed, n_of_all })
    }

    /// The session of this record, with all its events up to now.
    ///
    /// # Errors
    /// NATS is away, or has not kept enough of the session.
    pub(super) async fn get(
        self: &Arc<Self>,
        id: &str,
        record: &Record,
    ) -> Result<Arc<Session>, ClusterError> {
        if let Some(session) = self.known(id, record) {
            return Ok(session);
        }
        let (session, follower) = mirror::open(&self.link, &self.hub, id, record).await?;
        // Another one may have opened it meanwhile: there is one copy. Locked to the insertion, so that none replaces another.
        let mut all = self.followed.lock();
        if let Some(known) = known(&mut all, id, record) {
            return Ok(known);
        }
        let applied = follower.applied();
        let task = tokio::spawn(follower.run(Arc::clone(session.channel()))).abort_handle();
        let (began_unix_ms, used) = (record.began_unix_ms, Instant::now());
        let followed = Followed { session: Arc::clone(&session), began_unix_ms, applied, task, used };
        if let Some(before) = all.insert(id.to_owned(), followed) {
            before.session.channel().retire();
        }
        Ok(session)
    }

    fn known(&self, id: &str, record: &Record) -> Option<Arc<Session>> {
        known(&mut self.followed.lock(), id, record)
    }

    /// The session of this record, once it has all up to a place in the stream.
    ///
    /// # Errors
    /// NATS is away, or has not kept enough of the session.
    pub(super) async fn get_up_to(
        self: &Arc<Self>,
        id: &str,
        record: &Record,
        place: u64,
    ) -> Result<Arc<Session>, ClusterError> {
        let session = self.get(id, record).await?;
        let applied = self.followed.lock().get(id).map(|followed| followed.applied.clone());
        let lost = |reason: &str| ClusterError::Refused {
            what: "the events of a session",
            reason: reason.to_owned(),
        };
        let mut applied = applied.ok_or_else(|| lost("it is followed no more"))?;
        let is_there = applied.wait_for(|at| *at >= place).await.is_ok();
        if is_there { Ok(session) } else { Err(lost("it is read from its start")) }
    }

    /// Puts a session in the place of the followed one whose events it has.
    pub(super) fn put(&self, id: &str, session: &Arc<Session>) {
        if let Some(followed) = self.followed.lock().get_mut(id)
            && Arc::ptr_eq(followed.session.channel(), session.channel())
        {
            followed.session = Arc::clone(session);
        }
    }

    /// Follows a session no more that goes on here. Its readers stay with it.
    pub(super) fn give_away(&self, id: &str) {
        self.followed.lock().remove(id);
    }

    /// All that are followed now.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.followed.lock().values().map(|followed| Arc::clone(&followed.session)).collect()
    }

    pub(super) fn n_followed(&self) -> usize {
        self.followed.lock().len()
    }

    /// Has all running sessions followed, as long as the returned value is held.
    pub(super) fn follow_all(&self) -> Box<dyn Any + Send + Sync> {
        self.n_of_all.fetch_add(1, Ordering::Relaxed);
        Box::new(OfAll(Arc::clone(&self.n_of_all)))
    }

    /// Follows what is to be followed, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut changes = self.directory.changes();
        loop {
            self.let_go();
            if self.n_of_all.load(Ordering::Relaxed) > 0 {
                self.follow_running().await;
            }
            sleep(LOOK.0).await;
            let _ = timeout(LOOK.1, changes.changed()).await;
        }
    }

    /// Drops sessions without readers, and those that are gone.
    fn let_go(&self) {
        let of_all = self.n_of_all.load(Ordering::Relaxed) > 0;
        let mut followed = self.followed.lock();
        let is_full = followed.len() > MAX_FOLLOWED;
        followed.retain(|id, one| {
            let record = self.directory.get(id).map(|(record, _)| record);
            let is_there = record.as_ref().is_some_and(|record| record.began_unix_ms == one.began_unix_ms);
            if !is_there || one.task.is_finished() {
                one.session.channel().retire();
                return false;
            }
            let is_wanted = of_all && record.is_some_and(|record| record.reason.is_none());
            let is_held = Arc::strong_count(&one.session) > 1;
            is_wanted || is_held || (one.used.elapsed() < UNUSED && !is_full)
        });
    }

    async fn follow_running(self: &Arc<Self>) {
        let running = self.directory.all(|record| record.reason.is_none() && record.node != self.own.name);
        for (id, record) in running {
            if self.n_followed() >= MAX_FOLLOWED {
                return;
            }
            let is_here = self.known(&id, &record).is_some() || self.hub.get(&id).is_some();
            if !is_here && let Err(error) = self.get(&id, &record).await {
                tracing::debug!(session = id, %error, "a session of another node cannot be followed");
            }
        }
    }
}

fn known(all: &mut BTreeMap<String, Followed>, id: &str, record: &Record) -> Option<Arc<Session>> {
    let known = all
        .get_mut(id)
        .filter(|known| known.began_unix_ms == record.began_unix_ms && !known.task.is_finished())?;
    known.used = Instant::now();
    Some(Arc::clone(&known.session))
}
