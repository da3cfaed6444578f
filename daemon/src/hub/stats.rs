//! Counts of a hub: its sessions, their audio and their events.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Hub;
use crate::session::Session;

/// What a hub has counted since it was made.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
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

impl Hub {
    /// What there is to count.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let sessions = self.sessions();
        let mut stats = HubStats {
            opened: self.counters.opened.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
            events: self.counters.forgotten_events.load(Ordering::Relaxed),
            heard_s: self.counters.forgotten_heard_us.load(Ordering::Relaxed) as f64 / 1e6,
            ..HubStats::default()
        };
        for session in sessions {
            let reported = session.channel().stats();
            stats.events += session.channel().last_seq();
            stats.missed += session.channel().n_missed();
            stats.heard_s += reported.map_or(0.0, |s| s.heard_s.0);
            stats.dropped_s += reported.map_or(0.0, |s| s.dropped_s.0);
            if session.channel().is_over() {
                stats.ended += 1;
            } else {
                stats.live += 1;
                stats.max_lag_s = stats.max_lag_s.max(reported.map_or(0.0, |s| s.lag_s.0));
            }
        }
        stats
    }
}

impl Counters {
    pub(super) fn forget(&self, session: &Session) {
        self.forgotten_events.fetch_add(session.channel().last_seq(), Ordering::Relaxed);
        let heard_s = session.channel().stats().map_or(0.0, |s| s.heard_s.0);
        self.forgotten_heard_us.fetch_add((heard_s * 1e6) as u64, Ordering::Relaxed);
    }
}
