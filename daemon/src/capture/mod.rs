//! Live capture of a device, with a clock that stays correct when audio is dropped or the device is lost.
//!
//! Two threads. The audio system's own thread runs the callback of `device`, which copies a block into the ring of
//! `ring` and returns. The thread `capture`, run by `supervise`, takes the blocks out, turns jumps and absences
//! into gaps, reopens a lost device, and feeds a [`CaptureSink`], as a rule the [`FrontEnd`] of a session.

mod device;
mod error;
mod formats;
mod front_end;
mod handle;
mod messages;
mod probe;
mod ring;
mod rollover;
mod session;
mod sink;
mod stats;
mod supervise;

pub use device::{DeviceInfo, input_callback, list_devices};
pub use error::CaptureError;
pub use formats::DeviceFormats;
pub use front_end::{FrontEnd, MonoSink};
pub use handle::Capture;
pub use probe::{ProbeReport, probe};
pub use ring::{Block, BlockReader, BlockTimes, BlockWriter, FaultWriter, block_ring};
pub use session::{MICROPHONE_SESSION, MicrophoneError, open_microphone};
pub use sink::{CaptureFormat, CaptureParams, CaptureSink, SinkClosed};
pub use stats::CaptureStats;
