//! Counters of what is sent to other programs.

use crate::metrics::{Count, PrometheusText};

/// What is counted over all brokers and webhooks.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Messages sent to the broker.
    pub(super) mqtt_sent: Count,
    /// Connections to the broker that failed or were lost.
    pub(super) mqtt_failures: Count,
    /// Events that a webhook accepted.
    pub(super) webhook_sent: Count,
    /// Events that were dropped: refused, or too many waited.
    pub(super) webhook_dropped: Count,
    /// Events that wait to be sent or accepted.
    pub(super) webhook_waiting: Count,
    /// Requests that are sent again.
    pub(super) webhook_failures: Count,
}

impl Counts {
    /// Adds the numbers of the broker to the page for Prometheus.
    pub(super) fn write_mqtt(&self, page: &mut PrometheusText) {
        page.counter("mqtt_sent_total", "Messages sent to the MQTT broker.", self.mqtt_sent.get() as f64);
        let failures = self.mqtt_failures.get() as f64;
        page.counter("mqtt_failures_total", "Failed or lost connections to the MQTT broker.", failures);
    }

    /// Adds the numbers of the webhooks.
    pub(super) fn write_webhook(&self, page: &mut PrometheusText) {
        page.counter("webhook_sent_total", "Events accepted by webhooks.", self.webhook_sent.get() as f64);
        let waiting = self.webhook_waiting.get() as f64;
        page.gauge("webhook_waiting", "Events that wait until a webhook accepts them.", waiting);
        let dropped = self.webhook_dropped.get() as f64;
        page.counter("webhook_dropped_total", "Events dropped for webhooks.", dropped);
        let failures = self.webhook_failures.get() as f64;
        page.counter("webhook_failures_total", "Requests to webhooks that are sent again.", failures);
    }
}
