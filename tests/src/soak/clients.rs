//! Clients that come and go all the time: each plays a conversation as it is spoken, follows itself as a subscriber, and
//! begins again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diarized::audio_file::AudioFile;
use diarized::client::{Address, Follow, News, Playback, publish};
use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::Body;
use diarized_models::SessionState;
use tokio::sync::mpsc;

/// Audio in one frame of the client's, which is sent when its first sample is spoken: so much too early.
const FRAME_S: f64 = 0.1;
/// Labels of the last seconds wait for the end of the stream and not for the machine.
const TAIL_S: f64 = 1.5;

/// What one place does again and again.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its number.
    pub(super) idx: usize,
    /// The server, or the network before it.
    pub(super) address: Address,
    /// The server itself.
    pub(super) direct: Address,
    /// Whether lags count: not behind a network that breaks.
    pub(super) is_timed: bool,
    /// What is played first, so that sessions do not all end at once, and then.
    pub(super) files: [PathBuf; 2],
}

/// What all places share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Set when no further session is to begin.
    pub(super) stop: AtomicBool,
    /// Sessions that were played to their end with every event received.
    pub(super) n_sessions: AtomicUsize,
    /// Times that a stream was taken up again.
    pub(super) n_resumed: AtomicUsize,
}

/// A report of a place.
#[derive(Debug)]
pub(super) enum ClientReport {
    /// An event came so much later than the audio that it needed was spoken, in seconds.
    Lag(f64),
    /// What went wrong; the place goes on.
    Fault(String),
}

impl Place {
    /// Plays until it is stopped, and the session of that moment to its end.
    pub(super) async fn run(self, shared: Arc<Shared>, report: mpsc::Sender<ClientReport>) {
        let mut round = 0;
        while !shared.stop.load(Ordering::Relaxed) {
            let id = format!("soak-{}-{round}", self.idx);
            let file = &self.files[usize::from(round > 0)];
            match self.session(&id, file, &shared, &report).await {
                Ok(()) => {
                    shared.n_sessions.fetch_add(1, Ordering::Relaxed);
                }
                Err(fault) => {
                    // The receiver needs the first faults, not all of them.
                    let _ = report.try_send(ClientReport::Fault(format!("{id}: {fault:#}")));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            round += 1;
        }
    }

    async fn session(
        &self,
        id: &str,
        path: &Path,
        shared: &Shared,
        report: &mpsc::Sender<ClientReport>,
    ) -> anyhow::Result<()> {
        let file = AudioFile::open(path)?;
        let length_s = file.duration().map_or(f64::INFINITY, |length| length.as_secs_f64());
        let mut own = Received::default();
        let mut follower = None;
        let began = Instant::now();
        let playing = publish(&self.address, Some(id), file, Playback { speed: 1.0 }, |news| match news {
            News::Message(message, _) => {
                if matches!(message.body, Body::Started(_)) && follower.is_none() {
                    follower = Some(tokio::spawn(follow(self.direct.clone(), id.to_owned())));
                }
                if let (Some(at), Some(_)) = (message.at, message.seq)
                    && self.is_timed
                    && at.0 < length_s - TAIL_S
                {
                    // A full queue of measurements loses one, which is as good as another.
                    let _ =
                        report.try_send(ClientReport::Lag(began.elapsed().as_secs_f64() + FRAME_S - at.0));
                }
                own.take(&message);
            }
            News::Back => {
                shared.n_resumed.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        });
        let summary = playing.await?;
        let follower = follower.ok_or_else(|| anyhow::anyhow!("no `started` came"))?;
        let other = tokio::time::timeout(Duration::from_secs(60), follower).await???;
        own.check()?;
        other.check()?;
        let (said_s, sent_s) = (summary.ended.duration_s.0, summary.sent_s);
        anyhow::ensure!((said_s - sent_s).abs() < 0.01, "{sent_s} s were sent and {said_s} s heard");
        anyhow::ensure!(own.state == other.state, "publisher and subscriber hold different labels");
        Ok(())
    }
}

/// Follows a session to its end.
pub(super) async fn follow(address: Address, id: String) -> anyhow::Result<Received> {
    let mut follow = Follow::connect(address, &id, Some(0)).await?;
    let mut received = Received::default();
    loop {
        match follow.next().await {
            News::Message(message, _) => received.take(&message),
            News::Closed { code: 1000, .. } => return Ok(received),
            News::Closed { code, reason } => {
                anyhow::bail!("the subscriber was closed with {code}: {reason:?}")
            }
            _ => {}
        }
    }
}

/// What the events of a session make, and what was wrong with them.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) state: SessionState,
    seq: u64,
    fault: Option<String>,
}

impl Received {
    pub(super) fn take(&mut self, message: &ServerMessage) {
        match (&message.body, message.seq) {
            (Body::Snapshot(_), _) => self.fault = Some("events were lost; a snapshot came".to_owned()),
            (body, Some(seq)) => {
                if seq != self.seq + 1 {
                    self.fault = Some(format!("event {seq} came after event {}", self.seq));
                }
                self.seq = seq;
                if let Ok(event) = body.to_event()
                    && let Err(error) = self.state.apply(&event)
                {
                    self.fault = Some(format!("event {seq} does not fit: {error}"));
                }
            }
            (Body::Error(error), None) if error.fatal => self.fault = Some(error.reason.clone()),
            _ => {}
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        match &self.fault {
            Some(fault) => anyhow::bail!("{fault}"),
            None => anyhow::ensure!(self.state.segments().len() > 0, "nothing was labelled"),
        }
        Ok(())
    }
}
