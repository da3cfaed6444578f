//! Live capture: a device's audio, on a clock that stays true when audio is dropped or the device goes away.
//!
//! Two threads. The audio system's own thread runs the callback of `device`, which copies a block into the ring of
//! `ring` and returns. The thread `capture`, run by `supervise`, takes the blocks out, turns jumps and absences
//! into gaps, opens a lost device anew, and feeds a [`CaptureSink`], as a rule the [`FrontEnd`] of a session.

mod device;
mod error;
mod formats;
mod front_end;
mod messages;
mod probe;
mod ring;
mod session;
mod supervise;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use diarized_models::events::GapReason;

pub use device::{DeviceInfo, input_callback, list_devices};
pub use error::CaptureError;
pub use formats::DeviceFormats;
pub use front_end::{FrontEnd, MonoSink};
pub use probe::{ProbeReport, probe};
pub use ring::{Block, BlockReader, BlockTimes, BlockWriter, FaultWriter, block_ring};
pub use session::{MICROPHONE_SESSION, MicrophoneError, open_microphone};
pub use supervise::CaptureStats;

/// How a device delivers audio: interleaved `f32` at this rate and with this many channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureFormat {
    /// Frames a second, 8000 to 48 000.
    pub sample_rate_hz: u32,
    /// Samples in a frame, 1 to 8.
    pub n_channels: u16,
}

/// What to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureParams {
    /// `default`, or a device's name or description as [`list_devices`] gives it.
    pub device: String,
    /// Channels that the device must have at least, so that a chosen one exists. 1 to 8.
    pub n_channels_min: u16,
    /// Audio that the ring holds, in ms. Whoever takes the audio may be late by this much before blocks are dropped.
    pub buffer_ms: u32,
}

impl Default for CaptureParams {
    fn default() -> Self {
        Self { device: "default".to_owned(), n_channels_min: 1, buffer_ms: 2000 }
    }
}

/// The session that a sink feeds takes no more audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session takes no more audio")]
pub struct SinkClosed;

/// Who takes the captured audio. Called on the thread `capture` only, in the order of the stream's clock.
///
/// A sink may block: the ring covers [`CaptureParams::buffer_ms`], what comes after that is dropped and told as a gap.
pub trait CaptureSink: Send + 'static {
    /// The format of the audio that follows: once before the first block, and again if a device that was lost comes
    /// back with another one.
    ///
    /// # Errors
    /// [`SinkClosed`] ends the capture.
    fn format(&mut self, format: CaptureFormat) -> Result<(), SinkClosed>;

    /// A block of interleaved samples, a whole number of frames.
    ///
    /// # Errors
    /// [`SinkClosed`] ends the capture.
    fn push(&mut self, interleaved: &[f32]) -> Result<(), SinkClosed>;

    /// `n_samples` of the 16 kHz clock hold no audio, at least one.
    ///
    /// # Errors
    /// [`SinkClosed`] ends the capture.
    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed>;

    /// No more audio; called once, last, unless the sink closed before.
    fn finish(&mut self);
}

/// A running capture. Dropping it stops the device, finishes the sink and waits for the thread.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    stats: Arc<CaptureStats>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Opens the device and captures it into `sink` on a thread of its own. Returns once audio may come.
    ///
    /// # Errors
    /// Whatever keeps the device from being opened now; `sink` has then seen nothing. A device that is lost later is
    /// no error: the sink gets a gap, and the device is opened anew until it is back.
    pub fn start(params: CaptureParams, sink: impl CaptureSink) -> Result<Self, CaptureError> {
        supervise::spawn(device::CpalOpener::new(params), sink, supervise::Timing::default())
    }

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
