//! New sessions of clients: on this node, or on another one that labels what this one takes in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::elsewhere::Elsewhere;
use super::open_error::OpenError;
use super::registry::Hub;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Session, Source};

impl Hub {
    /// Opens a session for the client with this token. Without a cluster it runs here; see [`Self::open_with`]. At the limit of
    /// sessions, one that waits for its publisher ends first: the one of the same token that has waited longest, else one of
    /// the token with the most sessions, if that has more sessions than this token will have. A node of a cluster without room
    /// only takes the audio in, where another node has room.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open_for(
        &self,
        owner: &str,
        id: Option<&str>,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Arc<Session>, OpenError> {
        let Some(elsewhere) = self.elsewhere() else {
            return self.open_here(owner, id, format, options).await;
        };
        if !elsewhere.takes_in() {
            return Err(OpenError::NoIntake { node: elsewhere.node().to_owned() });
        }
        let refusal = match elsewhere.labels() {
            true => match self.open_here(owner, id, format, options).await {
                Err(refusal @ (OpenError::TooMany { .. } | OpenError::Overloaded)) => refusal,
                outcome => return outcome,
            },
            false => OpenError::NoLabeller,
        };
        match self.open_there(elsewhere, owner, id, format, options).await? {
            Some(session) => {
                self.set_owner(&session, owner);
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
                tracing::info!(session = session.id(), "session opened for another node to label");
                Ok(session)
            }
            None => Err(refusal),
        }
    }

    async fn open_there(
        &self,
        elsewhere: &Arc<dyn Elsewhere>,
        owner: &str,
        id: Option<&str>,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Option<Arc<Session>>, OpenError> {
        if *self.shutting_down.borrow() {
            return Err(OpenError::ShuttingDown);
        }
        let id = {
            let inner = self.inner.lock();
            let id = self.free_id(&inner, id, Source::Stream)?;
            self.may_open(&inner, owner).inspect_err(|_| self.count_over_limit())?;
            id
        };
        let tenant = self.tenants().and_then(|tenants| tenants.id_of(owner));
        elsewhere.open(&id, format, options, tenant.as_ref()).await
    }
}
