//! The microphone as a session of the hub, beside those of clients.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use diarized_dsp::{ChannelSelect, IntakeError, SAMPLE_RATE_HZ};
use diarized_models::events::GapReason;
use jiff::ZonedDateTime;
use jiff::civil::Date;
use pollster::block_on;

use super::error::CaptureError;
use super::front_end::{FrontEnd, MonoSink};
use super::handle::Capture;
use super::rollover::Rollover;
use super::sink::{CaptureParams, SinkClosed};
pub use crate::hub::MICROPHONE_SESSION;
use crate::hub::{Hub, OpenError};
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, Encoding};
use crate::session::{Closed, FedBy, PublisherGuard, Session, Source};

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

/// Goes on with the microphone's session of the process before this one, or opens one, called by the date, and captures into
/// it. On another day, after `after_silence` if it is not zero, or when somebody has ended it, the session gives way to a new
/// one. The returned handle keeps the capture running; joining it hands over the captured audio and stops the session.
///
/// # Errors
/// [`MicrophoneError`]; no session is left behind.
pub fn open_microphone(
    hub: &Arc<Hub>,
    params: CaptureParams,
    channel: ChannelSelect,
    after_silence: Duration,
) -> Result<Capture, MicrophoneError> {
    let sink = SessionSink::open(hub, after_silence, || ZonedDateTime::now().date())?;
    let new = (!sink.is_back).then(|| Arc::clone(&sink.session));
    match Capture::start(params, FrontEnd::new(sink, channel)) {
        Ok(capture) => Ok(capture),
        Err(error) => {
            if let Some(session) = new {
                session.finish(EndReason::SourceEnded);
                session.join();
                hub.delete(session.id());
            }
            Err(error.into())
        }
    }
}

/// The microphone's session of the moment, and what begins the next one.
struct SessionSink<T> {
    hub: Arc<Hub>,
    session: Arc<Session>,
    /// Whether the session is of the process before this one, and has had no audio since.
    is_back: bool,
    /// The right to feed such a session.
    slot: Option<PublisherGuard>,
    after_silence_s: u64,
    rollover: Rollover,
    /// Samples since it was last asked whether the session ends.
    n_unasked: usize,
    /// The date in the time zone of the machine.
    today: T,
}

impl<T: Fn() -> Date> SessionSink<T> {
    fn open(hub: &Arc<Hub>, after_silence: Duration, today: T) -> Result<Self, OpenError> {
        let (day, after_silence_s) = (today(), after_silence.as_secs());
        let hub = Arc::clone(hub);
        if let Some((session, rollover)) = left(&hub, day, after_silence_s) {
            // Nobody else feeds it, so this does not wait.
            let slot = Some(block_on(session.acquire_publisher_slot()));
            tracing::info!(session = session.id(), "the microphone's session goes on");
            return Ok(Self {
                hub,
                session,
                is_back: true,
                slot,
                after_silence_s,
                rollover,
                n_unasked: 0,
                today,
            });
        }
        let session = open(&hub, day)?;
        let rollover = Rollover::new(day, after_silence_s);
        Ok(Self { hub, session, is_back: false, slot: None, after_silence_s, rollover, n_unasked: 0, today })
    }

    /// The first audio after a restart comes behind a gap, so that the clock of the session is right.
    fn come_back(&mut self, n_samples: usize) -> Result<(), SinkClosed> {
        let n_behind = (self.session.behind_s() * f64::from(SAMPLE_RATE_HZ)) as u64;
        let n_missing = n_behind.saturating_sub(n_samples as u64);
        if n_missing > 0 { self.add_gap(n_missing, GapReason::Disconnected) } else { Ok(()) }
    }

    fn add_gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed> {
        self.queue(|session| session.input().gap(n_samples, reason))?;
        self.rollover.count(n_samples);
        Ok(())
    }

    /// Gives way to a new session; the one so far ends for `reason`.
    fn give_way(&mut self, reason: EndReason) -> Result<(), OpenError> {
        let day = (self.today)();
        let next = open(&self.hub, day)?;
        let last = std::mem::replace(&mut self.session, next);
        (self.is_back, self.slot) = (false, None);
        self.rollover = Rollover::new(day, self.after_silence_s);
        last.finish(reason);
        tracing::info!(session = self.session.id(), last = last.id(), "the microphone has a new session");
        Ok(())
    }

    /// Asks about once in a second of audio whether the session ends here.
    fn go_on(&mut self, n_samples: usize) {
        self.n_unasked += n_samples;
        if self.n_unasked < SAMPLE_RATE_HZ as usize {
            return;
        }
        self.n_unasked = 0;
        let last_speech = self.session.channel().last_speech();
        if self.rollover.is_due((self.today)(), last_speech)
            && let Err(error) = self.give_way(EndReason::Closed)
        {
            // The session goes on, and it is tried again in a second.
            tracing::warn!(%error, "the microphone's next session cannot be opened yet");
        }
    }

    /// Queues into the session, or into a new one where somebody has ended it.
    fn queue(&mut self, queue: impl Fn(&Session) -> Result<(), Closed>) -> Result<(), SinkClosed> {
        if queue(&self.session).is_ok() {
            return Ok(());
        }
        if self.session.end_reason() != Some(EndReason::Deleted) {
            return Err(SinkClosed);
        }
        self.give_way(EndReason::Deleted).map_err(|_| SinkClosed)?;
        queue(&self.session).map_err(|_| SinkClosed)
    }
}

/// The microphone's session of the process before this one, where it goes on: unless another day has begun meanwhile or it was
/// silent for too long, in which case it ends.
fn left(hub: &Hub, today: Date, after_silence_s: u64) -> Option<(Arc<Session>, Rollover)> {
    let session = hub.left_by(&FedBy::Microphone)?;
    let rollover = |seconds: f64| {
        let mut rollover = Rollover::new(date_of(session.began()).unwrap_or(today), after_silence_s);
        rollover.count((seconds * f64::from(SAMPLE_RATE_HZ)) as u64);
        rollover
    };
    let received_s = session.input().received_s();
    if rollover(received_s + session.behind_s()).is_due(today, session.channel().last_speech()) {
        session.finish(EndReason::Interrupted);
        return None;
    }
    let so_far = rollover(received_s);
    Some((session, so_far))
}

/// The date of a moment in the time zone of the machine.
fn date_of(at: SystemTime) -> Option<Date> {
    ZonedDateTime::try_from(at).ok().map(|at| at.date())
}

/// A session called by the date.
fn open(hub: &Hub, day: Date) -> Result<Arc<Session>, OpenError> {
    let format =
        AudioFormat { encoding: Encoding::PcmF32le, sample_rate: SAMPLE_RATE_HZ, channels: 1, channel: None };
    let session = hub.open(Some(&format!("{MICROPHONE_SESSION}-{day}")), Source::Microphone, format)?;
    session.channel().handover().set_fed_by(FedBy::Microphone);
    Ok(session)
}

impl<T: Fn() -> Date + Send + 'static> MonoSink for SessionSink<T> {
    fn push(&mut self, samples: &[f32]) -> Result<(), SinkClosed> {
        if self.is_back {
            self.come_back(samples.len())?;
            self.is_back = false;
        }
        self.go_on(samples.len());
        self.queue(|session| session.input().push_interleaved(samples))?;
        self.rollover.count(samples.len() as u64);
        Ok(())
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed> {
        self.add_gap(n_samples, reason)
    }

    fn finish(&mut self, outcome: Result<(), IntakeError>) {
        match outcome {
            Ok(()) => self.hub.stop(&self.session),
            Err(error) => {
                tracing::error!(%error, "what the capture device delivers cannot be taken");
                self.session.finish(EndReason::SourceEnded);
            }
        }
    }
}

impl<T> Drop for SessionSink<T> {
    /// A session whose capture is gone, by a panic at worst, does not stay open in silence; the first reason stands. One of
    /// the process before this one waits on where the device could not be opened.
    fn drop(&mut self) {
        if self.is_back {
            self.hub.stop(&self.session);
        } else {
            self.session.finish(EndReason::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI8, Ordering};

    use super::*;
    use crate::capture::{CaptureFormat, CaptureSink};
    use crate::hub::HubParams;
    use crate::session::scripted::ScriptedFactory;

    fn front_end(hub: &Arc<Hub>) -> (FrontEnd<SessionSink<impl Fn() -> Date + use<>>>, Arc<Session>) {
        let sink = SessionSink::open(hub, Duration::ZERO, || Date::new(2026, 11, 29).unwrap()).unwrap();
        let session = Arc::clone(&sink.session);
        (FrontEnd::new(sink, ChannelSelect::Mix), session)
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
        let error = open_microphone(&hub, params, ChannelSelect::Mix, Duration::ZERO).unwrap_err();
        assert!(matches!(error, MicrophoneError::Capture(CaptureError::UnknownDevice { .. })), "{error}");
        assert!(hub.sessions().is_empty());
    }

    fn ids(hub: &Hub) -> Vec<String> {
        hub.sessions().iter().map(|session| session.id().to_owned()).collect()
    }

    #[test]
    fn a_new_day_or_a_silence_begins_a_new_session() {
        let hub = Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()));
        let day = Arc::new(AtomicI8::new(28));
        let today = {
            let day = Arc::clone(&day);
            move || Date::new(2026, 11, day.load(Ordering::SeqCst)).unwrap()
        };
        let mut sink = SessionSink::open(&hub, Duration::from_secs(60), today).unwrap();
        let mut hear = |level: f32, seconds: usize| {
            for _ in 0..seconds {
                let session = Arc::clone(&sink.session);
                sink.push(&[level; SAMPLE_RATE_HZ as usize]).unwrap();
                // The session is up to date before the next second, as it is live.
                let heard = sink.session.voice_of(diarized_models::SpeakerId(1));
                assert!(Arc::ptr_eq(&session, &sink.session) || session.end_reason().is_some());
                pollster::block_on(heard);
            }
        };
        hear(0.1, 5);
        day.store(29, Ordering::SeqCst);
        hear(0.1, 5);
        assert_eq!(ids(&hub), ["microphone-2026-11-28"], "nobody is cut off");
        hear(0.0, 12);
        hear(0.2, 3);
        hear(0.0, 58);
        assert_eq!(ids(&hub), ["microphone-2026-11-28", "microphone-2026-11-29"]);
        hear(0.0, 100);
        hear(0.1, 1);
        let all = ["microphone-2026-11-28", "microphone-2026-11-29", "microphone-2026-11-29-2"];
        assert_eq!(ids(&hub), all, "one silence begins one session");
        assert_eq!(hub.get(MICROPHONE_SESSION).unwrap().id(), all[2], "the one that runs");
        let first = hub.get(all[0]).unwrap();
        first.join();
        assert_eq!(first.channel().ended(), Some(EndReason::Closed));
    }

    #[test]
    fn a_session_that_somebody_ends_is_followed_by_another() {
        let hub = Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()));
        let mut sink = SessionSink::open(&hub, Duration::ZERO, || Date::new(2026, 11, 29).unwrap()).unwrap();
        sink.push(&[0.1; 16_000]).unwrap();
        assert!(hub.delete(MICROPHONE_SESSION));
        sink.push(&[0.2; 16_000]).unwrap();
        assert_eq!(ids(&hub), ["microphone-2026-11-29", "microphone-2026-11-29-2"]);
        hub.shut_down();
        assert_eq!(sink.push(&[0.2; 16_000]), Err(SinkClosed));
    }
}
