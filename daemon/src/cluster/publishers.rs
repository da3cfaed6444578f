//! The sessions of this node that are written to NATS: each has a task as long as something of it is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::copies::Copies;
use super::link::Link;
use super::node::Own;
use super::publish::{Outcome, Place, Publisher};
use super::record::Record;
use crate::error_chain::error_chain;
use crate::hub::Hub;
use crate::protocol::server_message::EndReason;
use crate::session::{Keeper, Session};

/// Least and longest time between two looks at the sessions.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Longest wait of a question until a session has stopped for another node.
const HAND_OVER: Duration = Duration::from_millis(1500);
/// Longest wait for a connection that still holds the session.
const LEAVE: Duration = Duration::from_millis(300);
/// How long NATS is away until the sessions warn their followers.
const AWAY: Duration = Duration::from_secs(5);
/// Code of the warning that other nodes do not see a session for now.
const WARNING_AWAY: &str = "cluster_away";
const AWAY_REASON: &str =
    "NATS is away: the session goes on at its own node, and the other nodes see it when NATS is back";
/// Code of the warning that they will not see it at all.
const WARNING_CONFLICT: &str = "cluster_conflict";

/// What is written.
pub(super) struct Publishers {
    link: Arc<Link>,
    hub: Arc<Hub>,
    own: Arc<Own>,
    copies: Arc<Copies>,
    written: Mutex<BTreeMap<String, Written>>,
}

/// One session.
struct Written {
    session: Arc<Session>,
    task: Option<AbortHandle>,
    /// Why its task has ended, and the number of the last event then.
    over: Option<(Outcome, u64)>,
}

impl Publishers {
    pub(super) fn new(link: Arc<Link>, hub: Arc<Hub>, own: Arc<Own>, copies: Arc<Copies>) -> Arc<Self> {
        Arc::new(Self { link, hub, own, copies, written: Mutex::default() })
    }

    /// Writes the sessions of this node as soon as its name is `held`, for ever.
    pub(super) async fn run(self: Arc<Self>, mut held: watch::Receiver<bool>) {
        let link = Arc::clone(&self.link);
        self.hub.on_open(move |session| {
            if is_away(&link) {
                session.warn(WARNING_AWAY, AWAY_REASON);
            }
        });
        let mut tick = self.hub.tick();
        let mut was_away = false;
        loop {
            let is_away = is_away(&self.link);
            if is_away && !was_away {
                self.warn_all();
            }
            was_away = is_away;
            if *held.borrow_and_update() {
                self.look();
            }
            sleep(LOOK.0).await;
            let _ = timeout(LOOK.1, tick.changed()).await;
        }
    }

    /// Begins to write what is not written.
    fn look(self: &Arc<Self>) {
        let sessions = self.hub.sessions();
        let mut written = self.written.lock();
        written.retain(|_, one| {
            one.over.is_none() || sessions.iter().any(|session| Arc::ptr_eq(session, &one.session))
        });
        for session in sessions {
            let is_due = match written.get(session.id()) {
                None => true,
                Some(one) if !Arc::ptr_eq(&one.session, &session) => one.over.is_some(),
                // Corrections after its end.
                Some(one) => one
                    .over
                    .is_some_and(|(over, seq)| over == Outcome::Ended && session.channel().last_seq() > seq),
            };
            if is_due {
                let is_again =
                    written.get(session.id()).is_some_and(|one| Arc::ptr_eq(&one.session, &session));
                let task = Arc::clone(self).write(Arc::clone(&session), is_again);
                let task = tokio::spawn(task).abort_handle();
                written.insert(session.id().to_owned(), Written { session, task: Some(task), over: None });
            }
        }
    }

    async fn write(self: Arc<Self>, session: Arc<Session>, is_again: bool) {
        let (link, own, copies) = (Arc::clone(&self.link), Arc::clone(&self.own), Arc::clone(&self.copies));
        let place = Place { link, own, copies, is_again };
        let (over, seq) = loop {
            let (over, seq) = match Publisher::open(place.clone(), Arc::clone(&session)).await {
                Ok(publisher) => publisher.run().await,
                Err(over) => (over, 0),
            };
            if over != Outcome::Emptied {
                break (over, seq);
            }
            tracing::warn!(
                session = session.id(),
                "NATS has nothing of this session any more; it is written again"
            );
        };
        let over = if over == Outcome::Fenced { self.fenced_by(&session).await } else { over };
        if over != Outcome::HandedOver {
            session.channel().handover().release(Keeper::Cluster);
        }
        self.act_on(over, &session).await;
        let id = session.id();
        if let Some(one) = self.written.lock().get_mut(id).filter(|one| Arc::ptr_eq(&one.session, &session)) {
            one.over = Some((over, seq));
        }
    }

    /// Whether another node has ended a session, or goes on with it.
    async fn fenced_by(&self, session: &Session) -> Outcome {
        loop {
            let Ok(read) = Record::read(&self.link.stores().await, session.id()).await else {
                sleep(LOOK.1).await;
                continue;
            };
            let record = read.and_then(|(record, _)| record.ok());
            let goes_on = record.is_some_and(|record| {
                record.is_about(session) && record.node != self.own.name && record.reason.is_none()
            });
            return if goes_on { Outcome::Moved } else { Outcome::Fenced };
        }
    }

    /// Does here what follows from the end of writing.
    async fn act_on(&self, over: Outcome, session: &Arc<Session>) {
        let id = session.id();
        match over {
            Outcome::Ended | Outcome::HandedOver | Outcome::Deleted | Outcome::Emptied => {}
            Outcome::Conflict => {
                tracing::error!(
                    session = id,
                    "another node has a session of this id; this one is seen here only"
                );
                session.warn(
                    WARNING_CONFLICT,
                    "another node of the cluster has a session of this id; this one can be followed at its own node only",
                );
            }
            Outcome::Moved => {
                tracing::info!(session = id, "a session goes on at another node");
                self.let_go(session).await;
            }
            Outcome::Fenced => {
                tracing::error!(session = id, "another node has ended this session, and it ends here, too");
                session.finish(EndReason::Interrupted);
            }
        }
    }

    /// Lets a session go that goes on at another node.
    async fn let_go(&self, session: &Arc<Session>) {
        let (hub, leaving) = (Arc::clone(&self.hub), Arc::clone(session));
        let outcome = tokio::task::spawn_blocking(move || hub.let_go(&leaving)).await;
        if let Ok(Err(error)) = outcome {
            let (session, reason) = (session.id(), error_chain(&error));
            tracing::error!(
                session,
                reason,
                "the beginning of a session that goes on elsewhere is not ended here"
            );
        }
    }

    /// Stops a session for another node, and waits a little until NATS has all of it. Whether it has.
    ///
    /// # Errors
    /// Why it stays.
    pub(super) async fn hand_over(&self, session: &Arc<Session>) -> Result<bool, String> {
        let channel = session.channel();
        if !channel.is_over() {
            if !channel.handover().is_kept_by(Keeper::Cluster) {
                return Err("what feeds it is at its node, or NATS has nothing of it yet".to_owned());
            }
            // A connection that its publisher has left must not come back: it is superseded, as by a newer one here.
            let _slot = timeout(LEAVE, session.acquire_publisher_slot()).await;
            session.hand_over();
        }
        let is_written = || {
            let written = self.written.lock();
            let one = written.get(session.id()).filter(|one| Arc::ptr_eq(&one.session, session));
            one.is_some_and(|one| one.over.is_some())
        };
        let written = async {
            channel.wait_ended().await;
            while !is_written() {
                sleep(LOOK.0).await;
            }
        };
        if timeout(HAND_OVER, written).await.is_err() {
            return Ok(false);
        }
        if channel.ended().is_none() {
            self.let_go(session).await;
        }
        Ok(true)
    }

    fn warn_all(&self) {
        for session in self.hub.sessions().iter().filter(|session| !session.channel().is_over()) {
            session.warn(WARNING_AWAY, AWAY_REASON);
            // Its publisher need not keep audio for NATS.
            session.channel().handover().give_up(Keeper::Cluster);
        }
    }

    /// Stops writing a session that is deleted, as long as it is on the hub's list.
    pub(super) fn forget(&self, id: &str) {
        let session = self.hub.get(id);
        let mut written = self.written.lock();
        if let Some(task) = written.remove(id).and_then(|one| one.task) {
            task.abort();
        }
        if let Some(session) = session {
            let over = Some((Outcome::Deleted, 0));
            written.insert(id.to_owned(), Written { session, task: None, over });
        }
    }

    /// Writes it again, as it was not deleted.
    pub(super) fn remember(&self, id: &str) {
        self.written.lock().remove(id);
    }

    /// Whether NATS has all events of the sessions of this node.
    pub(super) fn is_all_written(&self) -> bool {
        self.written.lock().values().all(|one| one.over.is_some())
    }
}

fn is_away(link: &Link) -> bool {
    link.health.away_for().is_some_and(|away| away >= AWAY)
}
