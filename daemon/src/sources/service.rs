//! The running sources.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use diarized_config::{AudioSource, Config};
use diarized_models::events::GapReason;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use super::input::{Input, Kind, open, shown};
use crate::client::Backoff;
use crate::hub::Hub;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Closed, Session};

/// Longest wait between two attempts to open a source.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A source without audio for so long is not well.
const UNWELL_AFTER: Duration = Duration::from_secs(30);
/// Shorter gaps are no gaps: the source starts with what it has buffered.
const SHORTEST_GAP: Duration = Duration::from_millis(250);
/// Samples in a second.
const RATE_HZ: f64 = 16_000.0;
/// Lines of the child in the log, at most, for each time that it runs.
const MAX_LINES: usize = 50;

/// Why sources cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// The program is not there.
    #[error(
        "sources.urls needs the program {program:?} (sources.ffmpeg), which cannot be run; install ffmpeg, or name its path"
    )]
    NoFfmpeg {
        /// The program.
        program: String,
        /// Error of the system.
        source: std::io::Error,
    },
}

/// All sources.
#[derive(Debug)]
pub struct Sources;

impl Sources {
    /// Opens the configured sources; none is no error. They end when the hub shuts down.
    ///
    /// # Errors
    /// [`SourcesError`]
    pub async fn start(config: &Config, hub: &Arc<Hub>) -> Result<(), SourcesError> {
        let program = config.sources.ffmpeg.clone();
        if config.sources.urls.iter().any(|source| Kind::of(&source.url) != Kind::Raw) {
            let mut run = Command::new(&program);
            run.arg("-version").stdin(Stdio::null()).stdout(Stdio::null());
            let ran = run_quietly(&mut run).await;
            ran.map_err(|source| SourcesError::NoFfmpeg { program: program.clone(), source })?;
        }
        for source in &config.sources.urls {
            let health = Arc::new(Mutex::new(Health { heard: Instant::now(), is_over: false }));
            let (name, watched) = (source.name.clone(), Arc::clone(&health));
            hub.check(move || watched.lock().check(&name));
            let feeder = Feeder {
                kind: Kind::of(&source.url),
                source: source.clone(),
                program: program.clone(),
                stall: config.sources.stall,
                hub: Arc::clone(hub),
                health,
                down: hub.shutting_down(),
            };
            tokio::spawn(feeder.run());
        }
        Ok(())
    }
}

async fn run_quietly(command: &mut Command) -> std::io::Result<()> {
    let status = command.stderr(Stdio::null()).status().await?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("it ends with {status}"))),
    }
}

/// How a source does.
#[derive(Debug)]
struct Health {
    heard: Instant,
    /// It has come to its end, as files do.
    is_over: bool,
}

impl Health {
    fn check(&self, name: &str) -> Result<(), String> {
        let silent = self.heard.elapsed();
        match !self.is_over && silent > UNWELL_AFTER {
            true => Err(format!("the source {name} gives no audio for {} s", silent.as_secs())),
            false => Ok(()),
        }
    }
}

/// Feeds one session from one source.
struct Feeder {
    source: AudioSource,
    kind: Kind,
    program: String,
    stall: Duration,
    hub: Arc<Hub>,
    health: Arc<Mutex<Health>>,
    down: watch::Receiver<bool>,
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
    async fn run(mut self) {
        let (mut backoff, mut is_away) = (Backoff::up_to(LONGEST_WAIT), false);
        let mut session: Option<Clocked> = None;
        let url = shown(&self.source.url);
        loop {
            let stop = self.feed(&mut session, &mut backoff, &mut is_away).await;
            match stop {
                Stop::Down => return,
                Stop::End => {
                    if let Some(clocked) = &session {
                        clocked.session.finish(EndReason::SourceEnded);
                    }
                    self.health.lock().is_over = true;
                    tracing::info!(source = self.source.name, url, "the source has ended");
                    return;
                }
                Stop::Closed => session = None,
                Stop::Broken(reason) => {
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
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.down.wait_for(|down| *down) => return,
            }
        }
    }

    /// Opens the source and feeds the session until it stops.
    async fn feed(
        &mut self,
        session: &mut Option<Clocked>,
        backoff: &mut Backoff,
        is_away: &mut bool,
    ) -> Stop {
        let Input { mut audio, mut child } = match open(&self.source.url, self.kind, &self.program).await {
            Ok(input) => input,
            Err(error) => return Stop::Broken(error.to_string()),
        };
        if let Some(stderr) = child.as_mut().and_then(|child| child.stderr.take()) {
            tokio::spawn(log_lines(stderr, self.source.clone()));
        }
        if let Some(clocked) = session {
            clocked.is_new = true;
        }
        let mut bytes = vec![0; 3200];
        let mut n_kept = 0;
        loop {
            let read = tokio::select! {
                read = timeout(self.stall, audio.read(&mut bytes[n_kept..])) => read,
                _ = self.down.wait_for(|down| *down) => return Stop::Down,
            };
            let n = match read {
                Err(_) => {
                    return Stop::Broken(format!(
                        "no audio for {} s (sources.stall_s)",
                        self.stall.as_secs()
                    ));
                }
                Ok(Err(error)) => return Stop::Broken(error.to_string()),
                Ok(Ok(0)) => return self.over(child.as_mut()).await,
                Ok(Ok(n)) => n + n_kept,
            };
            // Half of a sample waits for its other half.
            let n_whole = n - n % 2;
            n_kept = n - n_whole;
            if n_whole == 0 {
                continue;
            }
            backoff.reset();
            if std::mem::take(is_away) {
                tracing::info!(source = self.source.name, "the source gives audio again");
            }
            self.health.lock().heard = Instant::now();
            let block = Bytes::copy_from_slice(&bytes[..n_whole]);
            bytes.copy_within(n_whole..n, 0);
            if let Err(stop) = self.push(session, block).await {
                return stop;
            }
        }
    }

    /// What the end of the data means.
    async fn over(&self, child: Option<&mut tokio::process::Child>) -> Stop {
        let status = match child {
            None => return Stop::End,
            Some(child) => timeout(Duration::from_secs(5), child.wait()).await,
        };
        match status {
            Ok(Ok(status)) if status.success() && self.kind.ends() => Stop::End,
            Ok(Ok(status)) => Stop::Broken(format!("ffmpeg ends with {status}")),
            _ => Stop::Broken("ffmpeg gives no audio".to_owned()),
        }
    }

    async fn push(&self, session: &mut Option<Clocked>, block: Bytes) -> Result<(), Stop> {
        if session.is_none() {
            let (name, format) = (Some(self.source.name.as_str()), AudioFormat::default());
            let opened = self.hub.open_for("", name, format, SessionOptions::default()).await;
            let opened = opened.map_err(|error| Stop::Broken(error.to_string()))?;
            tracing::info!(source = self.source.name, session = opened.id(), "the source gives audio");
            *session = Some(Clocked { session: opened, began: Instant::now(), is_new: true });
        }
        let Some(clocked) = session else { return Err(Stop::Closed) };
        clocked.push(block, self.kind).await.map_err(|Closed| Stop::Closed)
    }
}

/// Passes on what the child reports, without the secrets of its address.
async fn log_lines(stderr: tokio::process::ChildStderr, source: AudioSource) {
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

/// A session and the time at which its clock began.
struct Clocked {
    session: Arc<Session>,
    began: Instant,
    /// No audio came since the source was opened.
    is_new: bool,
}

impl Clocked {
    /// Queues audio; after an interruption the missing time first.
    async fn push(&mut self, block: Bytes, kind: Kind) -> Result<(), Closed> {
        let input = self.session.input();
        let missing_s = self.began.elapsed().as_secs_f64() - input.received_s();
        let is_new = std::mem::take(&mut self.is_new);
        if kind == Kind::Live && is_new && missing_s > SHORTEST_GAP.as_secs_f64() && input.n_received() > 0 {
            input.push_gap((missing_s * RATE_HZ) as u64, GapReason::Disconnected).await?;
        }
        input.push_bytes(block).await
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        // Without effect after its end.
        self.session.finish(EndReason::SourceEnded);
    }
}
