//! A build without capture.

use std::time::Duration;

use diarized_config::Config;

use crate::hub::Hub;

pub(super) struct Microphone;

pub(super) fn start(config: &Config, _hub: &Hub) -> anyhow::Result<Microphone> {
    anyhow::ensure!(!config.capture.enabled, "this build has no capture; it takes audio over WebSocket");
    Ok(Microphone)
}

impl Microphone {
    pub(super) async fn stop(self, _grace: Duration) {}
}
