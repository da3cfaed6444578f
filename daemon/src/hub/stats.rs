//! Counts of a hub: its sessions, their audio and their events.

use std::sync::atomic::Ordering;

use super::counters::HubStats;
use super::registry::Hub;

impl Hub {
    /// What there is to count.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        let sessions = self.sessions();
        let mut stats = HubStats {
            opened: self.counters.opened.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
            displaced: self.counters.displaced.load(Ordering::Relaxed),
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
