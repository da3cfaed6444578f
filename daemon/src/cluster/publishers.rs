//! The sessions of this node that are written to NATS: each has a task as long as something of it is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::node::Own;
use super::publish::{Outcome, Publisher};
use crate::hub::Hub;
use crate::protocol::server_message::EndReason;
use crate::session::Session;

/// Least and longest time between two looks at the sessions.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
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
    pub(super) fn new(link: Arc<Link>, hub: Arc<Hub>, own: Arc<Own>) -> Arc<Self> {
        Arc::new(Self { link, hub, own, written: Mutex::default() })
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
                let task = tokio::spawn(Arc::clone(self).write(Arc::clone(&session))).abort_handle();
                written.insert(session.id().to_owned(), Written { session, task: Some(task), over: None });
            }
        }
    }

    async fn write(self: Arc<Self>, session: Arc<Session>) {
        let (link, own) = (Arc::clone(&self.link), Arc::clone(&self.own));
        let (over, seq) = loop {
            let (link, own) = (Arc::clone(&link), Arc::clone(&own));
            let (over, seq) = match Publisher::open(link, own, Arc::clone(&session)).await {
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
            Outcome::Fenced => {
                tracing::error!(session = id, "another node has ended this session, and it ends here, too");
                session.finish(EndReason::Interrupted);
            }
        }
        if let Some(one) = self.written.lock().get_mut(id).filter(|one| Arc::ptr_eq(&one.session, &session)) {
            one.over = Some((over, seq));
        }
    }

    fn warn_all(&self) {
        for session in self.hub.sessions().iter().filter(|session| !session.channel().is_over()) {
            session.warn(WARNING_AWAY, AWAY_REASON);
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
