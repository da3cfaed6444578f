//! Counters of the speech recogniser.

use crate::metrics::{Count, PrometheusText};

/// What is counted over all sessions.
#[derive(Debug, Default)]
pub struct AsrCounts {
    /// Samples sent to the recogniser, at 16 kHz.
    pub samples_sent: Count,
    /// Samples that wait for it.
    pub samples_waiting: Count,
    /// Samples dropped for it.
    pub samples_dropped: Count,
    /// Words taken from it, provisional ones included.
    pub words: Count,
    /// Words dropped: of another clock, unreadable, or too many.
    pub words_dropped: Count,
    /// Conversations that broke.
    pub failures: Count,
}

impl AsrCounts {
    /// Adds them to the page for Prometheus.
    pub fn write(&self, page: &mut PrometheusText) {
        let seconds = |samples: &Count| samples.get() as f64 / 16_000.0;
        let (sent, dropped) = (seconds(&self.samples_sent), seconds(&self.samples_dropped));
        page.counter("asr_audio_sent_seconds_total", "Audio sent to the speech recogniser.", sent);
        let waiting = seconds(&self.samples_waiting);
        page.gauge("asr_audio_waiting_seconds", "Audio that waits for the recogniser.", waiting);
        page.counter("asr_audio_dropped_seconds_total", "Audio dropped for the recogniser only.", dropped);
        page.counter("asr_words_total", "Words from the recogniser.", self.words.get() as f64);
        let dropped = self.words_dropped.get() as f64;
        page.counter("asr_words_dropped_total", "Unusable words from the recogniser.", dropped);
        page.counter(
            "asr_failures_total",
            "Broken connections to the recogniser.",
            self.failures.get() as f64,
        );
    }
}
