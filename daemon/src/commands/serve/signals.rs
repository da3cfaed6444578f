//! SIGHUP, and messages to the service manager.

use std::time::Duration;

use sd_notify::NotifyState;

/// Waits for each SIGHUP; for ever where there are no signals.
pub(super) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        self.hangup.recv().await;
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    }
}

/// Notifies the service manager, if any.
pub(super) fn tell(state: NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be notified");
    }
}

/// Notifies it of a reload; [`NotifyState::Ready`] reports its end.
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => {
            if let Err(error) = sd_notify::notify(&[NotifyState::Reloading, now]) {
                tracing::warn!(%error, "the service manager could not be notified");
            }
        }
        Err(error) => tracing::warn!(%error, "there is no monotonic clock for the service manager"),
    }
}

/// Feeds a configured watchdog as long as this is polled. It runs on the runtime that serves the sockets, so that a
/// blocked runtime is noticed.
pub(super) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    let mut every = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        every.tick().await;
        tell(NotifyState::Watchdog);
    }
}
