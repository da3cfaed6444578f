//! Signals that ask the process to stop, as a stream and as a flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit;

/// A flag that the first Ctrl-C (or SIGTERM) sets; a second one ends the process. `asked` runs once, on a thread of
/// its own, right after the flag was set.
///
/// # Errors
/// The system gives no thread or no signal handler.
pub fn on_interrupt(asked: impl FnOnce() + Send + 'static) -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Handlers are in place when this function returns, so that no early signal is missed.
    let mut signals = {
        let _guard = runtime.enter();
        StopSignals::new()?
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        runtime.block_on(async {
            signals.next().await;
            set.store(true, Ordering::Relaxed);
            asked();
            signals.next().await;
            std::process::exit(i32::from(exit::INTERRUPTED));
        });
    })?;
    Ok(flag)
}

/// SIGINT and SIGTERM, or Ctrl-C where there are no signals.
#[cfg(unix)]
#[derive(Debug)]
pub struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignals {
    /// Installs the handlers, so that no signal after this is missed. Runs inside a tokio runtime.
    ///
    /// # Errors
    /// The system gives no signal handler.
    pub fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// SIGINT and SIGTERM, or Ctrl-C where there are no signals.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct StopSignals;

#[cfg(not(unix))]
impl StopSignals {
    /// Installs nothing; see the other systems.
    ///
    /// # Errors
    /// None.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next Ctrl-C; for ever if there is no handler.
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
