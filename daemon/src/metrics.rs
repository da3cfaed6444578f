//! Thread-safe counters and histograms, and their Prometheus text. Independent of the counted subject.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// What one of several contributes to a number.
#[derive(Debug, Default)]
pub struct Share(u64);

impl Share {
    /// It contributes `n` from now on.
    pub fn set(&mut self, to: &Count, n: u64) {
        let before = std::mem::replace(&mut self.0, n);
        if n > before {
            to.add(n - before);
        } else {
            to.sub(before - n);
        }
    }
}

/// How often a length of time fell under each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in seconds, rising.
    bounds: &'static [f64],
    /// One a bound, and one for what is above the last.
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistogramSnapshot {
    /// Upper bound in seconds, and how many were at most that long.
    pub buckets: Vec<(f64, u64)>,
    /// All of them.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// An empty one with these upper bounds in seconds, rising.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum_us: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, seconds: f64) {
        let idx = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets[idx].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add((seconds.max(0.0) * 1e6) as u64, Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn read(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut counts = self.buckets.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(&mut counts).collect();
        counts.for_each(drop);
        HistogramSnapshot { buckets, count, sum_s: self.sum_us.load(Ordering::Relaxed) as f64 / 1e6 }
    }
}

/// A page in Prometheus' text format 0.0.4; every name gets the prefix `diarized_`.
#[derive(Debug, Default)]
pub struct PrometheusText(String);

impl PrometheusText {
    /// A number that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        self.line(name, "", "", value);
    }

    /// A number that only rises; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "counter", help);
        self.line(name, "", "", value);
    }

    /// Several of one name, distinguished by a label whose values hold no quotes.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, "counter", help);
        for (value, n) in values {
            self.line(name, "", &format!("{{{label}=\"{value}\"}}"), n as f64);
        }
    }

    /// The same for numbers that rise and fall.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, "gauge", help);
        for (value, n) in values {
            self.line(name, "", &format!("{{{label}=\"{value}\"}}"), n as f64);
        }
    }

    /// Times, by their bounds.
    pub fn histogram(&mut self, name: &str, help: &str, reading: &HistogramSnapshot) {
        self.head(name, "histogram", help);
        for (bound, n) in &reading.buckets {
            self.line(name, "_bucket", &format!("{{le=\"{bound}\"}}"), *n as f64);
        }
        self.line(name, "_bucket", "{le=\"+Inf\"}", reading.count as f64);
        self.line(name, "_sum", "", reading.sum_s);
        self.line(name, "_count", "", reading.count as f64);
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP diarized_{name} {help}\n# TYPE diarized_{name} {kind}");
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &str, value: f64) {
        let _ = writeln!(self.0, "diarized_{name}{suffix}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_each_bound() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for seconds in [0.05, 0.1, 0.5, 1.0, 7.0] {
            histogram.observe(seconds);
        }
        let reading = histogram.read();
        assert_eq!((reading.buckets.as_slice(), reading.count), (&[(0.1, 2), (1.0, 4)][..], 5));
        assert!((reading.sum_s - 8.65).abs() < 1e-3);
    }

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let histogram = Histogram::new(&[0.25]);
        histogram.observe(0.5);
        let mut page = PrometheusText::default();
        page.gauge("sessions", "Sessions that run.", 2.0);
        page.counters("errors_total", "Errors.", "code", [("idle", 3), ("internal", 0)]);
        page.histogram("lag_seconds", "Lag.", &histogram.read());
        let expected = "\
# HELP diarized_sessions Sessions that run.
# TYPE diarized_sessions gauge
diarized_sessions 2
# HELP diarized_errors_total Errors.
# TYPE diarized_errors_total counter
diarized_errors_total{code=\"idle\"} 3
diarized_errors_total{code=\"internal\"} 0
# HELP diarized_lag_seconds Lag.
# TYPE diarized_lag_seconds histogram
diarized_lag_seconds_bucket{le=\"0.25\"} 0
diarized_lag_seconds_bucket{le=\"+Inf\"} 1
diarized_lag_seconds_sum 0.5
diarized_lag_seconds_count 1
";
        assert_eq!(page.finish(), expected);
    }
}
