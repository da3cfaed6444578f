//! Counters of the server and the page for Prometheus.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::grpc::GrpcCounts;
use crate::hub::Hub;
use crate::metrics::{Count, PrometheusText};
use crate::protocol::ErrorCode;

/// Number of subscribers by session.
#[derive(Debug, Default)]
pub struct Subscribers(Arc<Mutex<HashMap<String, usize>>>);

/// A counted subscriber; dropping it ends the count.
#[derive(Debug)]
pub struct Place {
    all: Arc<Mutex<HashMap<String, usize>>>,
    key: String,
}

impl Subscribers {
    /// Counts a subscriber of `key`, unless `max` are counted already.
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

    /// Number of subscribers of `key`.
    #[must_use]
    pub fn of(&self, key: &str) -> usize {
        self.0.lock().get(key).copied().unwrap_or(0)
    }

    /// Number of all subscribers.
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

/// Counters of the server.
#[derive(Debug)]
pub struct Metrics {
    /// Open WebSocket connections.
    pub connections: Count,
    /// Connected subscribers.
    pub subscribers: Subscribers,
    /// Text messages sent.
    pub messages_sent: Count,
    /// Bytes of audio received from clients.
    pub audio_bytes: Count,
    /// Delayed reads of clients above the limit of frames.
    pub frames_held: Count,
    /// Resumed sessions.
    pub streams_resumed: Count,
    /// Requests refused because of a missing token or scope, or a foreign origin.
    pub denied: Count,
    /// Calls over gRPC.
    pub(super) grpc: GrpcCounts,
    /// Errors sent to WebSocket clients, in the order of [`ErrorCode::ALL`].
    errors: Vec<Count>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Count::default(),
            subscribers: Subscribers::default(),
            messages_sent: Count::default(),
            audio_bytes: Count::default(),
            frames_held: Count::default(),
            streams_resumed: Count::default(),
            denied: Count::default(),
            grpc: GrpcCounts::default(),
            errors: ErrorCode::ALL.iter().map(|_| Count::default()).collect(),
        }
    }
}

impl Metrics {
    /// Counts an error sent to a client.
    pub fn error(&self, code: ErrorCode) {
        if let Some(idx) = ErrorCode::ALL.iter().position(|known| *known == code) {
            self.errors[idx].add(1);
        }
    }

    /// The page, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn page(&self, hub: &Hub, n_shed: u64) -> String {
        let mut page = PrometheusText::default();
        self.write_sessions(&mut page, hub);
        self.write_connections(&mut page, n_shed);
        write_storage(&mut page, hub);
        hub.write_metrics(&mut page);
        page.gauge("ready", "1 while /readyz reports ready.", f64::from(u8::from(hub.readiness().is_ok())));
        page.finish()
    }

    /// Sessions, their audio and its way through the models.
    fn write_sessions(&self, page: &mut PrometheusText, hub: &Hub) {
        let (stats, counted) = (hub.stats(), hub.counted());
        page.gauge("sessions", "Running sessions.", stats.live as f64);
        page.gauge("sessions_ended", "Ended sessions in memory.", stats.ended as f64);
        page.counter("sessions_opened_total", "Sessions opened.", stats.opened as f64);
        page.counter("sessions_refused_total", "Sessions refused.", stats.refused as f64);
        page.counter(
            "sessions_displaced_total",
            "Sessions ended early to make room, while they waited for their publishers.",
            stats.displaced as f64,
        );
        page.counter("streams_resumed_total", "Resumed sessions.", self.streams_resumed.get() as f64);
        page.counters("events_total", "Emitted events by type.", "type", counted.events());
        page.counter("events_missed_total", "Events missed by slow subscribers.", stats.missed as f64);
        page.counter("audio_heard_seconds_total", "Audio processed by diarizers.", stats.heard_s);
        page.counter("audio_dropped_seconds_total", "Audio lost by overruns.", stats.dropped_s);
        page.counter(
            "audio_received_bytes_total",
            "Audio received from clients.",
            self.audio_bytes.get() as f64,
        );
        let held = self.frames_held.get() as f64;
        page.counter("frames_held_total", "Delayed reads of clients above the limit of frames.", held);
        page.histogram(
            "lag_seconds",
            "Audio received and not yet processed, every two seconds for each session.",
            &counted.lag.read(),
        );
        page.gauge("lag_seconds_max", "Largest lag of a running session.", stats.max_lag_s);
        let inference = hub.inference();
        page.counter("windows_total", "Embedded windows.", inference.seconds.count as f64);
        page.counter(
            "windows_failed_total",
            "Windows lost by failures of the network.",
            inference.failed as f64,
        );
        page.histogram("inference_seconds", "Time to embed one window.", &inference.seconds);
        page.gauge("inference_queue", "Windows in the queue.", inference.waiting as f64);
        let overloaded = f64::from(u8::from(inference.overloaded));
        page.gauge("overloaded", "1 while windows wait too long for timely first labels.", overloaded);
        page.gauge("inference_threads", "Running inference threads.", inference.alive as f64);
    }

    /// WebSocket connections, and what was sent on them.
    fn write_connections(&self, page: &mut PrometheusText, n_shed: u64) {
        page.gauge("connections", "Open WebSocket connections.", self.connections.get() as f64);
        page.counter(
            "connections_shed_total",
            "Unauthenticated connections closed to make room.",
            n_shed as f64,
        );
        page.gauge("subscribers", "Subscribers on /v1/events.", self.subscribers.total() as f64);
        page.counter("messages_sent_total", "Text messages sent.", self.messages_sent.get() as f64);
        let errors = ErrorCode::ALL.iter().zip(&self.errors).map(|(code, n)| (code.as_str(), n.get()));
        page.counters("errors_total", "Errors sent to WebSocket clients, by code.", "code", errors);
        page.counter("requests_denied_total", "Refused requests.", self.denied.get() as f64);
        self.grpc.write(page);
    }
}

/// The store of sessions and their audio.
fn write_storage(page: &mut PrometheusText, hub: &Hub) {
    let Some(storage) = hub.storage() else { return };
    page.counter("storage_events_total", "Stored events.", storage.n_events() as f64);
    page.counter("storage_errors_total", "Failed storage writes.", storage.n_errors() as f64);
    page.gauge("storage_damaged_sessions", "Damaged stored sessions.", storage.n_damaged() as f64);
    page.gauge("storage_failing", "1 while storage writes fail.", f64::from(u8::from(storage.is_failing())));
    if let Some(recordings) = storage.recordings() {
        page.counter("storage_audio_written_bytes_total", "Audio written.", recordings.n_written() as f64);
        page.counter("storage_audio_errors_total", "Failed writes of audio.", recordings.n_errors() as f64);
        page.gauge("storage_audio_bytes", "Size of all kept audio.", recordings.n_bytes() as f64);
        page.gauge(
            "storage_audio_failing",
            "1 while audio of a running session is not kept.",
            f64::from(u8::from(recordings.is_failing())),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::HubParams;
    use crate::session::EngineFactory;
    use crate::session::scripted::ScriptedFactory;

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
    fn the_dashboard_shows_nothing_that_is_not_measured() {
        let hub =
            Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()) as Arc<dyn EngineFactory>);
        let page = Metrics::default().page(&hub, 0);
        let dashboard = include_str!("../../../docs/grafana.json");
        let _: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let shown: Vec<_> = dashboard.split(|c| !is_word(c)).filter(|w| w.starts_with("diarized_")).collect();
        assert!(shown.len() > 10, "{shown:?}");
        for name in shown {
            let is_kept = name.starts_with("diarized_storage_");
            assert!(is_kept || page.lines().any(|l| l.split([' ', '{']).next() == Some(name)), "{name}");
        }
    }
}
