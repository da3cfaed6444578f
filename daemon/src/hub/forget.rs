//! Sessions that are deleted: ended, or forgotten wherever something of them is.

use std::sync::Arc;

use super::registry::{Hub, blocking};
use crate::protocol::server_message::EndReason;
use crate::storage::StorageError;

impl Hub {
    /// Ends a live session, or forgets an ended one, in memory and where it is kept. Whether there was one of this id.
    ///
    /// # Errors
    /// [`StorageError`] if what is kept could not be forgotten. The session stays then, also in memory; only after
    /// [`StorageError::Unclean`] it is gone.
    pub async fn forget(&self, id: &str) -> Result<bool, StorageError> {
        let (has_moved, was_here) = (self.has_moved(id), self.is_here(id));
        if let Some(elsewhere) = self.elsewhere().filter(|_| has_moved || !was_here) {
            let was_there = elsewhere.forget(id).await?;
            // The beginning of a session that moved from here goes, too.
            return Ok(if has_moved { self.forget_here(id).await? || was_there } else { was_there });
        }
        let session = self.get(id);
        let is_live = session.as_ref().is_some_and(|session| session.channel().ended().is_none());
        let id = session.as_ref().map_or(id, |session| session.id());
        // What other nodes read goes first: while it cannot, nothing of the session is deleted.
        if let Some(elsewhere) = self.elsewhere().filter(|_| !is_live) {
            elsewhere.erase(id).await?;
        }
        // What is erased there is forgotten here by whoever is first.
        if is_live { Ok(self.delete(id)) } else { Ok(self.forget_here(id).await? || was_here) }
    }

    /// Forgets what is kept here of a session that was deleted at another node, and does not run here.
    ///
    /// # Errors
    /// [`StorageError`] if it could not be forgotten.
    pub(crate) async fn forget_kept(&self, id: &str) -> Result<(), StorageError> {
        let is_live = self.get(id).is_some_and(|session| session.channel().ended().is_none());
        let is_kept = self.storage.as_ref().is_some_and(|storage| storage.holds(id));
        if is_kept && !is_live { self.forget_here(id).await.map(drop) } else { Ok(()) }
    }

    /// Forgets an ended session on this node.
    async fn forget_here(&self, id: &str) -> Result<bool, StorageError> {
        let Some(storage) = &self.storage else { return Ok(self.delete(id)) };
        let (storage, kept_id) = (Arc::clone(storage), id.to_owned());
        let outcome = blocking(move || storage.forget(&kept_id)).await;
        if matches!(outcome, Ok(_) | Err(StorageError::Unclean { .. })) {
            let was_here = self.delete(id);
            let mut inner = self.inner.lock();
            inner.held.remove(id);
            inner.given.remove(id);
            return outcome.map(|was_kept| was_kept || was_here);
        }
        outcome
    }

    /// Ends a live session, or forgets an ended one in memory. Whether there was one of this id.
    pub fn delete(&self, id: &str) -> bool {
        let mut inner = self.inner.lock();
        let Some(session) = inner.get(id) else { return false };
        if session.channel().ended().is_some() {
            inner.sessions.remove(session.id());
            inner.held.remove(session.id());
            inner.given.remove(session.id());
            inner.order.retain(|s| !Arc::ptr_eq(s, &session));
            self.counters.forget(&session);
        } else {
            session.finish(EndReason::Deleted);
        }
        true
    }
}
