//! What all sessions of a hub count together, and how they notify it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics::{Count, Histogram};
use crate::protocol::server_message::Body;

/// What all sessions of a hub count together.
#[derive(Debug)]
pub struct SessionMetrics {
    /// Audio received and not yet processed, at each `stats`.
    pub lag: Histogram,
    /// Emitted events, in the order of [`Body::TYPES`].
    events: Vec<Count>,
}

/// Bounds of the lag, in seconds.
const LAG_BOUNDS_S: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// What is no event of a session.
const NOT_EVENTS: [&str; 6] = ["started", "snapshot", "ack", "stats", "lagged", "error"];

impl Default for SessionMetrics {
    fn default() -> Self {
        let events = Body::TYPES.iter().map(|_| Count::default()).collect();
        Self { lag: Histogram::new(LAG_BOUNDS_S), events }
    }
}

impl SessionMetrics {
    /// Emitted events by type.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Body::TYPES.iter().zip(&self.events).map(|(kind, n)| (*kind, n.get()));
        all.filter(|(kind, _)| !NOT_EVENTS.contains(kind))
    }

    pub(super) fn event(&self, kind: &str) {
        if let Some(idx) = Body::TYPES.iter().position(|known| *known == kind) {
            self.events[idx].add(1);
        }
    }
}

/// Counts and notifications of a session for its hub.
#[derive(Debug, Clone)]
pub struct HubHandle {
    /// Number of all events, for followers of all sessions.
    pub tick: watch::Sender<u64>,
    /// What all sessions count together.
    pub counted: Arc<SessionMetrics>,
}

impl HubHandle {
    /// The hub's side before any event.
    #[must_use]
    pub fn new() -> Self {
        Self { tick: watch::Sender::new(0), counted: Arc::default() }
    }
}

impl Default for HubHandle {
    fn default() -> Self {
        Self::new()
    }
}
