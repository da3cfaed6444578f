//! Room for a new session where the limit is reached: sessions that wait for their publishers give way to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::open_error::OpenError;
use super::registry::{Hub, Inner};
use crate::access::TenantId;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Session, Source};
use crate::tenants::OverLimit;

/// Longest wait for the end of a session that gives way.
const PATIENCE: Duration = Duration::from_secs(10);

impl Hub {
    /// Opens a session on this node for the client with this token, as [`Hub::open_with`] does. At the limit of sessions, one that waits
    /// for its publisher ends first: the one of the same token that has waited longest, else one of the token with the most
    /// sessions, if that has more sessions than this token will have. At the token's own limit, one of its own that waits ends. Waits
    /// for its end.
    ///
    /// # Errors
    /// [`OpenError`]
    pub(crate) async fn open_here(
        &self,
        owner: &str,
        id: Option<&str>,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Arc<Session>, OpenError> {
        let outcome = self.open_with_room(owner, id, format, options).await;
        if let Err(OpenError::OverLimit(_)) = &outcome {
            self.count_over_limit();
        }
        outcome
    }

    async fn open_with_room(
        &self,
        owner: &str,
        id: Option<&str>,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Arc<Session>, OpenError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let full = match self.open_owned(owner, id, Source::Stream, format, options) {
                Err(
                    full @ (OpenError::TooMany { .. } | OpenError::OverLimit(OverLimit::Sessions { .. })),
                ) => full,
                outcome => return outcome,
            };
            let leaving = match full {
                OpenError::OverLimit(_) => self.make_room(|inner| inner.own_to_leave(&TenantId::of(owner))),
                _ => self.make_room(|inner| inner.first_to_leave(owner)),
            };
            let Some(leaving) = leaving else { return Err(full) };
            if timeout_at(deadline, leaving.channel().wait_ended()).await.is_err() {
                return Err(full);
            }
        }
    }

    /// Ends the waiting session that is chosen, to make room for another; none if no session has to give way.
    fn make_room(&self, choose: impl Fn(&Inner) -> Option<Arc<Session>>) -> Option<Arc<Session>> {
        let inner = self.inner.lock();
        loop {
            let leaving = choose(&inner)?;
            if leaving.give_way() {
                self.counters.displaced.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    session = leaving.id(),
                    token = leaving.owner(),
                    "a waiting session gives way"
                );
                return Some(leaving);
            }
        }
    }
}

impl Inner {
    /// Live sessions that count against the limit: all but the microphone's, which clients cannot shut out.
    pub(super) fn n_live(&self) -> usize {
        let of_streams = self.order.iter().filter(|s| s.channel().source() == Source::Stream);
        of_streams.filter(|s| !s.channel().is_over()).count()
    }

    /// The session of this tenant that gives way to another one of its own: the one that has waited longest.
    fn own_to_leave(&self, tenant: &TenantId) -> Option<Arc<Session>> {
        let own = self.order.iter().filter(|session| session.tenant() == Some(tenant));
        let waiting = own.filter_map(|session| Some((session.waiting_since()?, session)));
        waiting.min_by_key(|(since, _)| *since).map(|(_, session)| Arc::clone(session))
    }

    /// The session that gives way to one of this owner.
    fn first_to_leave(&self, owner: &str) -> Option<Arc<Session>> {
        let mut n_live = BTreeMap::<String, usize>::new();
        let live: Vec<_> = self.order.iter().filter(|s| !s.channel().is_over()).collect();
        for session in &live {
            *n_live.entry(session.owner()).or_default() += 1;
        }
        let n_own = n_live.get(owner).copied().unwrap_or(0);
        let waiting = live.into_iter().filter_map(|session| {
            let since = session.waiting_since()?;
            let of = session.owner();
            let (is_own, n) = (of == owner, n_live[&of]);
            // Its owner keeps at least as many as the new session's owner then has, so that nobody trades places.
            (is_own || n > n_own + 1).then_some(((!is_own, std::cmp::Reverse(n), since), session))
        });
        waiting.min_by_key(|(order, _)| *order).map(|(_, session)| Arc::clone(session))
    }
}

impl Session {
    /// Ends the session unless its publisher has come back. Whether it does.
    fn give_way(&self) -> bool {
        self.if_waiting(|| self.finish(EndReason::Disconnected))
    }
}
