//! Feeds one session from one source: opens it, reads it, places its audio on the true clock, and opens it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use diarized_config::AudioSource;
use diarized_models::events::GapReason;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::sync::watch;
use tokio::time::timeout;

use super::health::Health;
use super::input::{Input, Kind, open, shown};
use super::lengths::Lengths;
use super::true_clock::{Held, STALL, TrueClock, samples_of};
use crate::client::Backoff;
use crate::hub::Hub;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Closed, FedBy, PublisherGuard, Session};

/// Longest wait between two attempts to open a source.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A session of the process before this one goes on within this time, in seconds.
const LONGEST_ABSENCE_S: f64 = 86_400.0;
/// Lines of the child in the log, at most, for each time that it runs.
const MAX_LINES: usize = 50;

/// Feeds one session from one source.
#[derive(Debug)]
pub(super) struct Feeder {
    pub(super) source: AudioSource,
    pub(super) kind: Kind,
    pub(super) program: String,
    pub(super) stall: Duration,
    pub(super) hub: Arc<Hub>,
    pub(super) health: Arc<Health>,
    pub(super) down: watch::Receiver<bool>,
    pub(super) lengths: Lengths,
}

/// What came of a source.
enum Came {
    /// Audio that follows the audio before.
    Audio(Bytes),
    /// Audio whose place is not known yet.
    Held,
    /// All audio whose place was not known.
    Complete(Held),
    /// Nothing so far.
    Nothing,
    /// The end of the data, behind what was held.
    End(Option<Held>),
}

/// An opened source that is read.
struct Reading {
    audio: Box<dyn AsyncRead + Unpin + Send>,
    child: Option<Child>,
    is_live: bool,
    began: Instant,
    /// Bytes that were read.
    n_bytes: u64,
    bytes: Vec<u8>,
    /// Half of a sample, which waits for its other half.
    n_kept: usize,
    heard: Instant,
    held: Option<Held>,
}

impl Reading {
    fn new(Input { audio, child }: Input, is_live: bool) -> Self {
        let heard = Instant::now();
        let held = is_live.then(|| Held::new(heard, true));
        Self { audio, child, is_live, began: heard, n_bytes: 0, bytes: vec![0; 3200], n_kept: 0, heard, held }
    }

    /// What comes next, or nothing when held audio is to be looked at.
    ///
    /// # Errors
    /// It broke off, or gives nothing for `stall`.
    async fn next(&mut self, stall: Duration) -> Result<Came, Stop> {
        let mut wait = stall.saturating_sub(self.heard.elapsed());
        if let Some(held) = &self.held {
            wait = wait.min(held.look_at().saturating_duration_since(Instant::now()));
        }
        let read = timeout(wait, self.audio.read(&mut self.bytes[self.n_kept..])).await;
        let now = Instant::now();
        let came = match read {
            Err(_) if now.saturating_duration_since(self.heard) >= stall => {
                let stall_s = stall.as_secs();
                return Err(Stop::Broken(format!("no audio for {stall_s} s (sources.stall_s)")));
            }
            Err(_) => Came::Nothing,
            Ok(Err(error)) => return Err(Stop::Broken(error.to_string())),
            Ok(Ok(0)) => return Ok(Came::End(self.held.take().filter(|held| held.n_samples() > 0))),
            Ok(Ok(n)) => {
                self.n_bytes += n as u64;
                self.take(n + self.n_kept, now)
            }
        };
        Ok(self.held.take_if(|held| held.is_complete(now)).map_or(came, Came::Complete))
    }

    /// Takes `n` bytes that were read.
    fn take(&mut self, n: usize, now: Instant) -> Came {
        if self.is_live && now.saturating_duration_since(self.heard) >= STALL {
            self.held.get_or_insert_with(|| Held::new(now, false));
        }
        self.heard = now;
        let n_whole = n - n % 2;
        let block = Bytes::copy_from_slice(&self.bytes[..n_whole]);
        self.n_kept = n - n_whole;
        self.bytes.copy_within(n_whole..n, 0);
        match &mut self.held {
            Some(held) => {
                held.push(&block);
                Came::Held
            }
            None if block.is_empty() => Came::Nothing,
            None => Came::Audio(block),
        }
    }
}

/// Why a source gives no more audio.
enum Stop {
    /// All of it was read.
    End,
    /// It broke off.
    Broken(String),
    /// The session was ended by others.
    Closed,
    /// The process ends.
    Down,
}

impl Feeder {
    /// Works until the source has come to its end, or the hub shuts down.
    pub(super) async fn run(mut self) {
        let (mut backoff, mut is_away) = (Backoff::up_to(LONGEST_WAIT), false);
        let mut session = self.left().await;
        let url = shown(&self.source.url);
        loop {
            let stop = self.feed(&mut session, &mut backoff, &mut is_away).await;
            match stop {
                Stop::Down => return self.leave(session.as_ref()),
                Stop::End => {
                    if let Some(clocked) = &session {
                        clocked.session.finish(EndReason::SourceEnded);
                    }
                    self.health.over();
                    tracing::info!(source = self.source.name, url, "the source has ended");
                    return;
                }
                Stop::Closed => session = None,
                Stop::Broken(reason) => {
                    self.health.failed();
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(
                            source = self.source.name,
                            url,
                            reason,
                            "the source gives no audio; it is opened again and again"
                        );
                    }
                }
            }
            let wait = backoff.next();
            let is_down = tokio::select! {
                () = tokio::time::sleep(wait) => false,
                _ = self.down.wait_for(|down| *down) => true,
            };
            if is_down {
                return self.leave(session.as_ref());
            }
        }
    }

    /// The session that this source fed in the process before this one. A file begins again, in a session of its own.
    async fn left(&self) -> Option<Clocked> {
        let fed_by = FedBy::Fetched(self.source.name.clone());
        let session = self.hub.left_by(&fed_by).filter(|_| self.kind == Kind::Live)?;
        let behind_s = session.behind_s();
        if behind_s > LONGEST_ABSENCE_S {
            session.finish(EndReason::Interrupted);
            return None;
        }
        tracing::info!(
            source = self.source.name,
            session = session.id(),
            "the session of the source goes on"
        );
        let due_s = behind_s + session.input().received_s();
        let clock = TrueClock::start(Instant::now(), samples_of(due_s));
        let slot = session.acquire_publisher_slot().await;
        Some(Clocked { session, clock, _slot: slot })
    }

    /// Stops the session with the process; it goes on after a restart where it can.
    fn leave(&self, session: Option<&Clocked>) {
        if let Some(clocked) = session {
            self.hub.stop(&clocked.session);
        }
    }

    /// Opens the source and feeds the session until it stops.
    async fn feed(
        &mut self,
        session: &mut Option<Clocked>,
        backoff: &mut Backoff,
        is_away: &mut bool,
    ) -> Stop {
        let input = match open(&self.source.url, self.kind, &self.program).await {
            Ok(input) => input,
            Err(error) => return Stop::Broken(error.to_string()),
        };
        let mut reading = Reading::new(input, self.kind == Kind::Live);
        if let Some(stderr) = reading.child.as_mut().and_then(|child| child.stderr.take()) {
            tokio::spawn(log_lines(stderr, self.source.clone()));
        }
        loop {
            let came = tokio::select! {
                came = reading.next(self.stall) => came,
                _ = self.down.wait_for(|down| *down) => return Stop::Down,
            };
            let outcome = match came {
                Ok(Came::Audio(block)) => {
                    self.came(backoff, is_away);
                    self.push(session, block).await
                }
                Ok(Came::Held) => {
                    self.came(backoff, is_away);
                    Ok(())
                }
                Ok(Came::Complete(held)) => self.release(session, held).await,
                Ok(Came::Nothing) => Ok(()),
                Ok(Came::End(held)) => {
                    let stop = self.over(&mut reading).await;
                    let held = held.filter(|_| !(matches!(stop, Stop::End) && self.lengths.is_again()));
                    let released = match held {
                        Some(held) => self.release(session, held).await,
                        None => Ok(()),
                    };
                    return released.err().unwrap_or(stop);
                }
                Err(stop) => Err(stop),
            };
            if let Err(stop) = outcome {
                return stop;
            }
        }
    }

    /// Data came.
    fn came(&self, backoff: &mut Backoff, is_away: &mut bool) {
        backoff.reset();
        self.health.heard();
        if std::mem::take(is_away) {
            tracing::info!(source = self.source.name, "the source gives audio again");
        }
    }

    /// Queues held audio, behind a gap of the time that is missing before it.
    async fn release(&self, session: &mut Option<Clocked>, held: Held) -> Result<(), Stop> {
        let now = Instant::now();
        let clocked = self.opened(session, held.n_samples(), now).await?;
        let input = clocked.session.input();
        if let Some(n_missing) = clocked.clock.missing(now, input.n_received(), &held) {
            let gap = input.push_gap(n_missing, GapReason::Disconnected).await;
            gap.map_err(|Closed| Stop::Closed)?;
        }
        input.push_bytes(held.into_bytes().into()).await.map_err(|Closed| Stop::Closed)
    }

    /// What the end of the data means.
    async fn over(&mut self, reading: &mut Reading) -> Stop {
        let status = match reading.child.as_mut() {
            None => return Stop::End,
            Some(child) => timeout(Duration::from_secs(5), child.wait()).await,
        };
        match status {
            Ok(Ok(status)) if status.success() && self.kind.ends() => Stop::End,
            Ok(Ok(status))
                if status.success()
                    && self.lengths.is_recording(reading.n_bytes / 2, reading.began.elapsed()) =>
            {
                let source = &self.source.name;
                tracing::info!(
                    source,
                    "the audio came faster than real time: it is a recording and no live stream"
                );
                Stop::End
            }
            Ok(Ok(status)) => Stop::Broken(format!("ffmpeg ends with {status}")),
            _ => Stop::Broken("ffmpeg gives no audio".to_owned()),
        }
    }

    async fn push(&self, session: &mut Option<Clocked>, block: Bytes) -> Result<(), Stop> {
        let clocked = self.opened(session, block.len() as u64 / 2, Instant::now()).await?;
        clocked.session.input().push_bytes(block).await.map_err(|Closed| Stop::Closed)
    }

    /// The session, opened if there is none. By `now` its first `n_samples` have come.
    async fn opened<'a>(
        &self,
        session: &'a mut Option<Clocked>,
        n_samples: u64,
        now: Instant,
    ) -> Result<&'a Clocked, Stop> {
        if session.is_none() {
            let (name, format) = (Some(self.source.name.as_str()), AudioFormat::default());
            let opened = self.hub.open_here("", name, format, SessionOptions::default()).await;
            let opened = opened.map_err(|error| Stop::Broken(error.to_string()))?;
            tracing::info!(source = self.source.name, session = opened.id(), "the source gives audio");
            if self.kind == Kind::Live {
                opened.channel().handover().set_fed_by(FedBy::Fetched(self.source.name.clone()));
            }
            // No other connection can hold the new session, so this does not wait.
            let slot = opened.acquire_publisher_slot().await;
            *session =
                Some(Clocked { session: opened, clock: TrueClock::start(now, n_samples), _slot: slot });
        }
        session.as_ref().ok_or(Stop::Closed)
    }
}

/// Passes on what the child reports, without the secrets of its address.
async fn log_lines(stderr: ChildStderr, source: AudioSource) {
    let url = shown(&source.url);
    let mut lines = BufReader::new(stderr.take(1 << 20)).lines();
    let mut n_lines = 0;
    while let Ok(Some(line)) = lines.next_line().await {
        n_lines += 1;
        if n_lines <= MAX_LINES {
            let line = line.replace(&source.url, &url);
            let line: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
            tracing::warn!(source = source.name, "ffmpeg: {line}");
        }
    }
}

/// A session and its place in time.
struct Clocked {
    session: Arc<Session>,
    clock: TrueClock,
    /// The right to feed it.
    _slot: PublisherGuard,
}

impl Drop for Clocked {
    fn drop(&mut self) {
        // Without effect after its end.
        self.session.finish(EndReason::SourceEnded);
    }
}
