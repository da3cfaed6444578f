//! Sessions that go on at another node of the cluster, from here or to here.

use std::sync::Arc;

use super::going_on::warn_of_lost_voices;
use super::open_error::OpenError;
use super::registry::Hub;
use crate::secret::SecretHash;
use crate::session::{Before, FedBy, GoingOn, Keeper, Parts, Secret, Session, StartError, samples_until};
use crate::storage::StorageError;

impl Hub {
    /// Whether this node can run one more session.
    ///
    /// # Errors
    /// [`OpenError`], as for a new session.
    pub(crate) fn has_room(&self) -> Result<(), OpenError> {
        if *self.shutting_down.borrow() {
            return Err(OpenError::ShuttingDown);
        }
        if self.inner.lock().n_live() >= self.params.max_sessions {
            return Err(OpenError::TooMany { max: self.params.max_sessions });
        }
        if self.inference().overloaded { Err(OpenError::Overloaded) } else { Ok(()) }
    }

    /// Goes on with a session that was `followed` here, whose events are all here. Its readers stay. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`]; the session does not run here.
    pub(crate) fn take_in_moved(
        &self,
        followed: &Session,
        token_hash: SecretHash,
        before: Before,
    ) -> Result<Arc<Session>, OpenError> {
        let (format, options, began) = (followed.format(), followed.options(), followed.began());
        let n_received = samples_until(before.at, format.sample_rate);
        let (at, has_speakers) = (before.at, before.state.speakers().len() > 0);
        let made = match followed.channel().last_seq() == 0 && at.0 == 0 {
            // Nothing of it was labelled: it is new.
            true => self.factory.engine_for(options).map(|engine| GoingOn { engine, voices_lost: None }),
            false => self.factory.engine_going_on(options, before),
        };
        let made = made.map_err(StartError::Engine)?;
        let GoingOn { engine, voices_lost } = made;
        let channel = Arc::clone(followed.channel());
        channel.handover().set_fed_by(FedBy::Publisher);
        channel.handover().keep(Keeper::Cluster, at);
        let recorder = self.recorder(&channel, options)?;
        let (number, secret) = (followed.number(), Secret::Known(token_hash));
        let parts = Parts { number, channel, format, options, secret, began, n_received, engine, recorder };
        let session = Session::start(parts)?;
        {
            let mut inner = self.inner.lock();
            inner.given.add(session.id());
            inner.sessions.insert(session.id().to_owned(), Arc::clone(&session));
            inner.order.push_back(Arc::clone(&session));
        }
        if let Some(storage) = &self.storage
            && let Err(error) = storage.follow_moved(&session)
        {
            tracing::error!(session = session.id(), %error, "a session that goes on here is not kept");
        }
        if let Some(reason) = voices_lost.filter(|_| has_speakers) {
            warn_of_lost_voices(&session, &reason, "the session goes on at another node without its voices");
        }
        self.on_open.lock().iter().for_each(|call| call(&session));
        self.side.tick.send_modify(|n| *n += 1);
        Ok(session)
    }

    /// Lets a session go that goes on at another node: it is stopped, its readers come back and find it there, and what is kept
    /// of it here ends where it is. Waits for the disk.
    ///
    /// # Errors
    /// [`StorageError`]: what is kept of it here could not be ended. It is gone from the memory all the same.
    pub(crate) fn let_go(&self, session: &Arc<Session>) -> Result<(), StorageError> {
        // Readers first: what its thread still emits is void.
        session.channel().retire();
        session.hand_over();
        let id = session.id();
        {
            let mut inner = self.inner.lock();
            let is_it = inner.sessions.get(id).is_some_and(|listed| Arc::ptr_eq(listed, session));
            if is_it {
                inner.sessions.remove(id);
            }
            inner.order.retain(|listed| !Arc::ptr_eq(listed, session));
            inner.held.remove(id);
            self.counters.forget(session);
        }
        let outcome = self.storage.as_ref().map_or(Ok(()), |storage| storage.end_moved(id));
        self.side.tick.send_modify(|n| *n += 1);
        outcome
    }

    /// Whether a session that this node had goes on at another one.
    pub(super) fn has_moved(&self, id: &str) -> bool {
        self.elsewhere().is_some_and(|elsewhere| elsewhere.has_moved(id)) && self.get(id).is_none()
    }
}
