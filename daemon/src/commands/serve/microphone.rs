//! The capture device as a session of the server.

use std::sync::Arc;
use std::time::Duration;

use diarized_config::Config;

use crate::capture::{Capture, CaptureParams, open_microphone};
use crate::channel_choice::{channel_select, n_channels_min};
use crate::hub::Hub;

/// A running capture, if there is one.
pub(super) struct Microphone(Option<Capture>);

pub(super) fn start(config: &Config, hub: &Arc<Hub>) -> anyhow::Result<Microphone> {
    if !config.capture.enabled {
        return Ok(Microphone(None));
    }
    let channel = channel_select(config.capture.channel);
    let params = CaptureParams {
        device: config.capture.device.clone(),
        n_channels_min: n_channels_min(config.capture.channel),
        buffer_ms: config.capture.buffer_ms,
    };
    let capture = open_microphone(hub, params, channel, config.capture.session_silence)?;
    let stats = Arc::clone(capture.stats());
    hub.check(move || match stats.is_away() {
        true => Err("the capture device is away".to_owned()),
        false => Ok(()),
    });
    Ok(Microphone(Some(capture)))
}

impl Microphone {
    /// Stops the device and lets what it delivered reach the session.
    pub(super) async fn stop(self, grace: Duration) {
        let Some(capture) = self.0 else { return };
        let joining = tokio::task::spawn_blocking(move || capture.join());
        match tokio::time::timeout(grace, joining).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the capture failed"),
            Ok(Err(error)) => tracing::error!(%error, "the capture could not be joined"),
            Err(_) => tracing::error!("the capture thread does not end; its device hangs"),
        }
    }
}
