//! Room for a new session where the limit is reached: sessions that wait for their publishers give way to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::open_error::OpenError;
use super::registry::{Hub, Inner};
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Session, Source};

/// Longest wait for the end of a session that gives way.
const PATIENCE: Duration = Duration::from_secs(10);

impl Hub {
    /// Opens a session for the client with this token, as [`Hub::open_with`] does. At the limit of sessions, one that waits
    /// for its publisher ends first: the one of the same token that has waited longest, else one of the token with the most
    /// sessions, if that has more sessions than this token will have. Waits for its end.
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
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.open_with(id, Source::Stream, format, options) {
                Ok(session) => {
                    session.set_owner(owner);
                    return Ok(session);
                }
                Err(OpenError::TooMany { max }) => {
                    let Some(leaving) = self.make_room(owner) else { return Err(OpenError::TooMany { max }) };
                    let ended = timeout_at(deadline, leaving.channel().wait_ended()).await;
                    ended.map_err(|_| OpenError::TooMany { max })?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a waiting session to make room for one of this token; none if no session has to give way.
    fn make_room(&self, owner: &str) -> Option<Arc<Session>> {
        let inner = self.inner.lock();
        loop {
            let leaving = inner.first_to_leave(owner)?;
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
