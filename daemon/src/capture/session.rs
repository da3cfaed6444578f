//! The microphone as a session of the hub, beside those of clients.

use std::sync::Arc;

use diarized_dsp::{ChannelSelect, IntakeError, SAMPLE_RATE_HZ};
use diarized_models::events::GapReason;

use super::error::CaptureError;
use super::front_end::{FrontEnd, MonoSink};
use super::handle::Capture;
use super::sink::{CaptureParams, SinkClosed};
pub use crate::hub::MICROPHONE_SESSION;
use crate::hub::{Hub, OpenError};
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, Encoding};
use crate::session::{Session, Source};

/// Why the microphone could not become a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MicrophoneError {
    /// The device could not be captured.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The hub opened no session.
    #[error("the microphone's session cannot be opened")]
    Session(#[from] OpenError),
}

/// Opens the session [`MICROPHONE_SESSION`] and captures into it. The returned handle keeps the capture running; joining
/// it hands over the captured audio and ends the session.
///
/// # Errors
/// [`MicrophoneError`]; no session is left behind.
pub fn open_microphone(
    hub: &Hub,
    params: CaptureParams,
    channel: ChannelSelect,
) -> Result<Capture, MicrophoneError> {
    let format =
        AudioFormat { encoding: Encoding::PcmF32le, sample_rate: SAMPLE_RATE_HZ, channels: 1, channel: None };
    let session = hub.open(Some(MICROPHONE_SESSION), Source::Microphone, format)?;
    match Capture::start(params, FrontEnd::new(SessionSink(Arc::clone(&session)), channel)) {
        Ok(capture) => Ok(capture),
        Err(error) => {
            session.finish(EndReason::SourceEnded);
            session.join();
            hub.delete(MICROPHONE_SESSION);
            Err(error.into())
        }
    }
}

struct SessionSink(Arc<Session>);

impl MonoSink for SessionSink {
    fn push(&mut self, samples: &[f32]) -> Result<(), SinkClosed> {
        self.0.input().push_interleaved(samples).map_err(|_| SinkClosed)
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed> {
        self.0.input().gap(n_samples, reason).map_err(|_| SinkClosed)
    }

    fn finish(&mut self, outcome: Result<(), IntakeError>) {
        match outcome {
            Ok(()) => self.0.finish(EndReason::Shutdown),
            Err(error) => {
                tracing::error!(%error, "what the capture device delivers cannot be taken");
                self.0.finish(EndReason::SourceEnded);
            }
        }
    }
}

impl Drop for SessionSink {
    /// A session whose capture is gone, by a panic at worst, does not stay open in silence; the first reason stands.
    fn drop(&mut self) {
        self.0.finish(EndReason::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{CaptureFormat, CaptureSink};
    use crate::hub::HubParams;
    use crate::session::scripted::ScriptedFactory;

    fn front_end(hub: &Hub) -> (FrontEnd<SessionSink>, Arc<Session>) {
        let format = AudioFormat { encoding: Encoding::PcmF32le, ..AudioFormat::default() };
        let session = hub.open(Some(MICROPHONE_SESSION), Source::Microphone, format).unwrap();
        (FrontEnd::new(SessionSink(Arc::clone(&session)), ChannelSelect::Mix), session)
    }

    #[test]
    fn what_the_device_delivers_and_what_it_lacks_become_the_sessions_clock() {
        let hub = Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()));
        let (mut front_end, session) = front_end(&hub);
        front_end.format(CaptureFormat { sample_rate_hz: 48_000, n_channels: 2 }).unwrap();
        for _ in 0..10 {
            front_end.push(&[0.0; 960]).unwrap();
        }
        front_end.gap(4000, GapReason::DeviceLost).unwrap();
        front_end.push(&[0.0; 960]).unwrap();
        front_end.finish();
        session.join();
        assert_eq!(session.channel().ended(), Some(EndReason::Shutdown));
        let now = session.channel().now();
        assert_eq!(now.at.0, 1600 + 4000 + 160);
        let [(gap, reason)] = now.state.gaps() else { panic!("{:?}", now.state.gaps()) };
        assert_eq!((gap.start().0, gap.len(), *reason), (1600, 4000, GapReason::DeviceLost));
    }

    #[test]
    fn a_capture_that_is_gone_without_a_word_ends_its_session() {
        let hub = Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()));
        let (front_end, session) = front_end(&hub);
        drop(front_end);
        session.join();
        assert_eq!(session.channel().ended(), Some(EndReason::Failed));
    }

    #[test]
    fn a_device_that_is_not_there_leaves_no_session() {
        let hub = Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()));
        let params = CaptureParams { device: "no such microphone".to_owned(), ..CaptureParams::default() };
        let error = open_microphone(&hub, params, ChannelSelect::Mix).unwrap_err();
        assert!(matches!(error, MicrophoneError::Capture(CaptureError::UnknownDevice { .. })), "{error}");
        assert!(hub.sessions().is_empty());
    }
}
