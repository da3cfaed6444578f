//! What the hub does with sessions of other nodes.

use std::sync::Arc;

use super::elsewhere::Elsewhere;
use super::registry::Hub;
use crate::session::{Command, CorrectionError, HubHandle, JournalParams, Session};

impl Hub {
    /// Joins the sessions of other nodes to those of this one. Only the first call counts.
    pub(crate) fn join(&self, elsewhere: Arc<dyn Elsewhere>) {
        let _ = self.elsewhere.set(elsewhere);
    }

    /// The sessions of other nodes, where this is one of several.
    pub(crate) fn elsewhere(&self) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.get()
    }

    /// Whether a session of this id is known on any node, and whether it runs.
    pub(super) fn known_elsewhere(&self, id: &str) -> Option<bool> {
        self.elsewhere().and_then(|elsewhere| elsewhere.known(id))
    }

    /// All sessions in memory, and those of other nodes that are followed.
    pub(crate) fn all_sessions(&self) -> Vec<Arc<Session>> {
        let mut all = self.sessions();
        all.extend(self.elsewhere().map(|elsewhere| elsewhere.followed()).unwrap_or_default());
        all
    }

    /// What a followed session of another node needs of this hub: its number, the bounds of its journal, and what wakes the
    /// followers of all sessions. Its events are not counted here.
    pub(crate) fn place_for_followed(&self) -> (u64, JournalParams, HubHandle) {
        let number = {
            let mut inner = self.inner.lock();
            inner.n_opened += 1;
            inner.n_opened - 1
        };
        (number, self.params.journal, self.side.clone())
    }

    /// Acts on a session of another node; its events are in the journal when this returns. Gives the seconds of its audio that
    /// are safe.
    ///
    /// # Errors
    /// [`CorrectionError`], as on that node; nothing is changed.
    pub(crate) async fn act_elsewhere(
        &self,
        session: &Session,
        command: Command,
    ) -> Result<f64, CorrectionError> {
        match self.elsewhere() {
            Some(elsewhere) => elsewhere.act(session, command).await,
            None => {
                Err(CorrectionError::Refused { reason: "this server is no node of a cluster".to_owned() })
            }
        }
    }

    /// Whether this node has a session of this id, in memory or kept.
    pub(super) fn is_here(&self, id: &str) -> bool {
        self.get(id).is_some() || self.storage.as_ref().is_some_and(|storage| storage.holds(id))
    }
}
