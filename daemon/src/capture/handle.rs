//! A running capture as its owner sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::error::CaptureError;
use super::stats::CaptureStats;

/// A running capture. Dropping it stops the device, finishes the sink and waits for the thread.
#[derive(Debug)]
pub struct Capture {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) stats: Arc<CaptureStats>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// What was captured and lost so far.
    #[must_use]
    pub fn stats(&self) -> &Arc<CaptureStats> {
        &self.stats
    }

    /// Asks the capture to end: the device is closed, what it delivered still reaches the sink, the sink is finished.
    /// Does not wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether the thread has ended: it was stopped, or the sink closed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops and waits for the thread.
    ///
    /// # Errors
    /// [`CaptureError::Panicked`] if the thread or the sink panicked.
    pub fn join(mut self) -> Result<(), CaptureError> {
        self.stop();
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(|_| CaptureError::Panicked))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the capture thread panicked");
        }
    }
}
