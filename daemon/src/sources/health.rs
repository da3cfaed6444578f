//! How a source does, for `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::metrics::{Count, PrometheusText};

/// A source without audio for so long is not well.
const UNWELL_AFTER: Duration = Duration::from_secs(30);

/// How one source does.
#[derive(Debug)]
pub(super) struct Health {
    name: String,
    state: Mutex<State>,
    /// How often it broke off or could not be opened.
    failures: Count,
}

#[derive(Debug)]
struct State {
    heard: Instant,
    has_begun: bool,
    /// It has come to its end, as files do.
    is_over: bool,
}

impl Health {
    pub(super) fn new(name: &str) -> Self {
        let state = State { heard: Instant::now(), has_begun: false, is_over: false };
        Self { name: name.to_owned(), state: Mutex::new(state), failures: Count::default() }
    }

    /// Audio came.
    pub(super) fn heard(&self) {
        let mut state = self.state.lock();
        (state.heard, state.has_begun) = (Instant::now(), true);
    }

    /// All of it was read.
    pub(super) fn over(&self) {
        self.state.lock().is_over = true;
    }

    /// It broke off, or could not be opened.
    pub(super) fn failed(&self) {
        self.failures.add(1);
    }

    /// # Errors
    /// It should give audio and does not, for people.
    pub(super) fn check(&self) -> Result<(), String> {
        let state = self.state.lock();
        let silent = state.heard.elapsed();
        match !state.is_over && silent > UNWELL_AFTER {
            true => Err(format!("the source {} gives no audio for {} s", self.name, silent.as_secs())),
            false => Ok(()),
        }
    }

    /// Whether audio of it came a moment ago.
    fn is_up(&self) -> bool {
        let state = self.state.lock();
        state.has_begun && !state.is_over && state.heard.elapsed() < Duration::from_secs(2)
    }
}

/// Adds the numbers of all sources to the page for Prometheus.
pub(super) fn write_metrics(page: &mut PrometheusText, all: &[Arc<Health>]) {
    let up = all.iter().map(|health| (health.name.as_str(), u64::from(health.is_up())));
    page.gauges("source_up", "Whether audio of the source came within the last 2 s.", "source", up);
    let failures = all.iter().map(|health| (health.name.as_str(), health.failures.get()));
    let help = "How often the source broke off or could not be opened.";
    page.counters("source_failures_total", help, "source", failures);
}
