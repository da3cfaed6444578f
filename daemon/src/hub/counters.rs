//! What a hub counts, and the numbers that it reports.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::session::Session;

/// What a hub has counted since it was made.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Sessions that gave way to others while they waited for their publishers.
    pub(super) displaced: AtomicU64,
    /// Microseconds of processed audio and number of events of sessions that are no longer in memory.
    pub(super) forgotten_events: AtomicU64,
    pub(super) forgotten_heard_us: AtomicU64,
}

/// Numbers for the metrics page.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HubStats {
    /// Sessions that run.
    pub live: usize,
    /// Ended sessions that are still readable.
    pub ended: usize,
    /// Sessions ever opened.
    pub opened: u64,
    /// Sessions refused because too many ran or the id was taken.
    pub refused: u64,
    /// Sessions that ended before their publishers came back, to make room for others.
    pub displaced: u64,
    /// Total number of events.
    pub events: u64,
    /// Events that slow subscribers got a snapshot instead of, in the sessions that are still readable.
    pub missed: u64,
    /// Total audio processed, in seconds.
    pub heard_s: f64,
    /// Audio lost before it reached a session, in seconds.
    pub dropped_s: f64,
    /// Largest lag of a live session, in seconds.
    pub max_lag_s: f64,
}

impl Counters {
    pub(super) fn forget(&self, session: &Session) {
        self.forgotten_events.fetch_add(session.channel().last_seq(), Ordering::Relaxed);
        let heard_s = session.channel().stats().map_or(0.0, |s| s.heard_s.0);
        self.forgotten_heard_us.fetch_add((heard_s * 1e6) as u64, Ordering::Relaxed);
    }
}
