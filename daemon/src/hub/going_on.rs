//! Sessions that ran when the process before this one ended, and go on here.

use std::sync::Arc;
use std::time::Duration;

use super::open_error::OpenError;
use super::registry::Hub;
use crate::error_chain::error_chain;
use crate::protocol::server_message::EndReason;
use crate::session::samples_until;
use crate::session::{Archive, Channel, FedBy, GoingOn, Keeper, Parts, Secret, Session, StartError};
use crate::storage::{Left, Storage};

/// Code of the warning where the voices of a session are lost.
const WARNING: &str = "voices_lost";

impl Hub {
    /// Takes up the sessions that the process before this one left: each waits so long for its publisher, its source or the
    /// microphone, and ends if none comes. Needs a runtime; gives the number of sessions.
    pub fn go_on(&self, grace: Duration) -> usize {
        let Some(storage) = &self.storage else { return 0 };
        let mut n_taken = 0;
        for left in storage.take_left() {
            match self.take_over(storage, &left) {
                Ok(session) => {
                    n_taken += 1;
                    tokio::spawn(async move { session.await_first_return(grace).await });
                }
                Err(error) => {
                    let (session, reason) = (&left.archive.id, error_chain(&error));
                    tracing::error!(session, reason, "a session cannot go on and is kept as interrupted");
                    if let Err(error) = storage.end_left(&left) {
                        tracing::error!(session, %error, "the end of a session is not kept");
                    }
                }
            }
        }
        if n_taken > 0 {
            let grace_s = grace.as_secs_f64();
            tracing::info!(
                sessions = n_taken,
                grace_s,
                "sessions go on after a restart, if what fed them comes back"
            );
            self.side.tick.send_modify(|n| *n += 1);
        }
        n_taken
    }

    /// The newest session that this fed in the process before this one, if it still waits to be fed.
    pub(crate) fn left_by(&self, fed_by: &FedBy) -> Option<Arc<Session>> {
        let inner = self.inner.lock();
        let left = inner.order.iter().rev().find(|session| {
            let channel = session.channel();
            channel.taken_over_at().is_some()
                && channel.handover().fed_by() == Some(fed_by)
                && !session.has_publisher()
        });
        left.filter(|session| session.end_reason().is_none()).cloned()
    }

    /// Stops a session, as the process ends, after what is queued: one that can go on after a restart or at another node is left
    /// to it, any other ends. Returns at once.
    pub(crate) fn stop(&self, session: &Session) {
        let handover = session.channel().handover();
        let is_stored = self.storage.as_ref().is_some_and(|storage| !storage.is_failing());
        let is_stored = is_stored && handover.is_kept_by(Keeper::Storage);
        let can_take = self.elsewhere().is_some_and(|elsewhere| elsewhere.can_take());
        if is_stored || (can_take && handover.is_kept_by(Keeper::Cluster)) {
            session.hand_over();
        } else {
            session.finish(EndReason::Shutdown);
        }
    }

    fn take_over(&self, storage: &Arc<Storage>, left: &Left) -> Result<Arc<Session>, OpenError> {
        let archive = left.archive.clone();
        let Archive { format, options, began, token_hash, .. } = archive.clone();
        let before = left.before(storage.voices_of(&archive.id));
        let n_received = samples_until(before.at, format.sample_rate);
        let (at, has_speakers) = (before.at, before.state.speakers().len() > 0);
        let made = self.factory.engine_going_on(options, before).map_err(StartError::Engine)?;
        let GoingOn { engine, voices_lost } = made;
        let channel = Channel::going_on(archive, self.params.journal, self.side.clone());
        let recorder = self.recorder(&channel, options)?;
        channel.handover().keep(Keeper::Storage, at);
        channel.handover().set_fed_by(left.fed_by());
        let session = {
            let mut inner = self.inner.lock();
            let (number, secret) = (inner.n_opened, Secret::Known(token_hash));
            let parts =
                Parts { number, channel, format, options, secret, began, n_received, engine, recorder };
            let session = Session::start(parts)?;
            if let Some(tenant) = left.tenant() {
                session.set_tenant(tenant.clone());
            }
            inner.n_opened += 1;
            inner.sessions.insert(session.id().to_owned(), Arc::clone(&session));
            inner.order.push_back(Arc::clone(&session));
            session
        };
        storage.follow_on(&session, left);
        if let Some(reason) = voices_lost.filter(|_| has_speakers) {
            warn_of_lost_voices(
                &session,
                &reason,
                "the server was restarted without the voices of the session",
            );
        }
        self.on_open.lock().iter().for_each(|call| call(&session));
        Ok(session)
    }
}

/// Warns the publisher, once it is back, that people who speak again get new labels: what happened, and the reason.
pub(super) fn warn_of_lost_voices(session: &Session, reason: &str, what: &str) {
    tracing::warn!(session = session.id(), reason, "the voices of a session are lost");
    let reason =
        format!("{what} ({reason}): people who speak again get new labels; merge them with those of before");
    session.channel().warn_on_return(WARNING, reason);
}
