//! What the server counts, and the page that Prometheus reads.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::hub::HubStats;

/// A number that any thread may change.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away what was added.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Subscribers by what they follow.
#[derive(Debug, Default)]
pub struct Subscribers(Arc<Mutex<HashMap<String, usize>>>);

/// One subscriber's place; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    all: Arc<Mutex<HashMap<String, usize>>>,
    key: String,
}

impl Subscribers {
    /// A place among those who follow `key`, unless `max` are there.
    #[must_use]
    pub fn enter(&self, key: &str, max: usize) -> Option<Place> {
        let mut all = self.0.lock();
        let n = all.get(key).copied().unwrap_or(0);
        if n >= max {
            return None;
        }
        all.insert(key.to_owned(), n + 1);
        Some(Place { all: Arc::clone(&self.0), key: key.to_owned() })
    }

    /// How many follow `key`.
    #[must_use]
    pub fn of(&self, key: &str) -> usize {
        self.0.lock().get(key).copied().unwrap_or(0)
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.lock().values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(n) = all.get_mut(&self.key) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.key);
            }
        }
    }
}

/// What the server counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// WebSocket connections that are open.
    pub connections: Count,
    /// Subscribers that are there.
    pub subscribers: Subscribers,
    /// Text messages sent.
    pub messages_sent: Count,
    /// Bytes of audio taken from clients.
    pub audio_bytes: Count,
    /// Times that a publisher took its session up again.
    pub streams_resumed: Count,
    /// Requests turned away for want of a token, a scope or a known origin.
    pub denied: Count,
    /// Errors that clients were told of.
    pub client_errors: Count,
}

impl Metrics {
    /// The page, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn page(&self, hub: &HubStats) -> String {
        let mut out = String::new();
        let mut line = |name: &str, kind: &str, help: &str, value: f64| {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "# HELP diarized_{name} {help}\n# TYPE diarized_{name} {kind}\ndiarized_{name} {value}"
            );
        };
        line("sessions", "gauge", "Sessions that run.", hub.live as f64);
        line("sessions_ended", "gauge", "Ended sessions still readable.", hub.ended as f64);
        line("sessions_opened_total", "counter", "Sessions opened.", hub.opened as f64);
        line("sessions_refused_total", "counter", "Sessions refused.", hub.refused as f64);
        line("events_total", "counter", "Session events said.", hub.events as f64);
        line("events_missed_total", "counter", "Events slow subscribers missed.", hub.missed as f64);
        line("audio_heard_seconds_total", "counter", "Audio that reached a diarizer.", hub.heard_s);
        line("audio_dropped_seconds_total", "counter", "Audio lost to overruns.", hub.dropped_s);
        line("lag_seconds_max", "gauge", "Largest lag of a running session.", hub.max_lag_s);
        line("connections", "gauge", "Open WebSocket connections.", self.connections.get() as f64);
        line("subscribers", "gauge", "Subscribers on /v1/events.", self.subscribers.total() as f64);
        line("messages_sent_total", "counter", "Text messages sent.", self.messages_sent.get() as f64);
        line("audio_received_bytes_total", "counter", "Audio from clients.", self.audio_bytes.get() as f64);
        line(
            "streams_resumed_total",
            "counter",
            "Sessions taken up again by their publisher.",
            self.streams_resumed.get() as f64,
        );
        line("requests_denied_total", "counter", "Requests turned away.", self.denied.get() as f64);
        line(
            "client_errors_total",
            "counter",
            "Errors clients were told of.",
            self.client_errors.get() as f64,
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let subscribers = Subscribers::default();
        let first = subscribers.enter("a", 1);
        assert!(first.is_some() && subscribers.enter("a", 1).is_none());
        assert!(subscribers.enter("b", 1).is_some());
        drop(first);
        assert_eq!((subscribers.of("a"), subscribers.total()), (0, 0));
    }

    #[test]
    fn every_metric_has_help_and_type() {
        let page = Metrics::default().page(&HubStats::default());
        let names = page.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(page.lines().filter(|l| l.starts_with("# HELP")).count(), names);
        assert_eq!(page.lines().filter(|l| l.starts_with("# TYPE")).count(), names);
    }
}
