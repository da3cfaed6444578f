//! The end of the process, as the senders see it.

use tokio::sync::watch;

/// Waits for the end of the process.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without its sender the process is at its end, too.
    let _ = stop.wait_for(|stop| *stop).await;
}
