//! Parameters of a capture, and the receiver of its audio.

use diarized_models::events::GapReason;

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
    /// `default`, or a device's name or description as [`list_devices`](super::list_devices) gives it.
    pub device: String,
    /// Channels that the device must have at least, so that a chosen one exists. 1 to 8.
    pub n_channels_min: u16,
    /// Size of the ring, in ms of audio. The receiver may be late by this much before blocks are dropped.
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
/// A sink may block: the ring covers [`CaptureParams::buffer_ms`], later audio is dropped and reported as a gap.
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
