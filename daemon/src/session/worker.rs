//! The session's thread: from the queue through intake and diarizer to the channel.

mod recognised;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Select;
use diarized_dsp::{Intake, SAMPLE_RATE_HZ, SampleIndex};
use diarized_models::TimedEvent;
use diarized_models::events::GapReason;

use super::channel::Channel;
use super::correcting;
use super::correction_error::CorrectionError;
use super::engine::{Correction, Engine, EngineError};
use super::handover::Leaving;
use super::health::Health;
use super::input::{Command, Inbox, Input};
use super::listening::Listeners;
use super::words::Words;
use crate::protocol::server_message::{EndReason, Stats, Warning};
use crate::protocol::{AudioFormat, Decimal, Seconds};
use crate::recording::Recorder;

/// Stack of a session's thread: nothing on it recurses or keeps large arrays.
pub(super) const STACK_BYTES: usize = 1 << 20;
/// Windows in flight before audio is left in the queue, so that a busy pool slows the publisher, not the memory.
const MAX_PENDING: usize = 32;
/// Audio that listeners get at once: 100 ms.
const PIECE: usize = SAMPLE_RATE_HZ as usize / 10;
/// Interval of `stats` while audio arrives.
const STATS_EVERY: Duration = Duration::from_secs(2);

/// Why the thread stops before a `Finish`.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the front end failed")]
    Intake(#[from] diarized_dsp::IntakeError),
    #[error("internal error: an event does not apply to the session state")]
    Apply(#[from] diarized_models::events::ApplyError),
    #[error("all handles to the session were dropped")]
    Abandoned,
}

pub(super) struct Worker {
    channel: Arc<Channel>,
    engine: Box<dyn Engine>,
    /// Takes the audio where it is kept.
    recorder: Option<Recorder>,
    intake: Intake,
    format: AudioFormat,
    inbox: Inbox,
    /// Samples at the declared rate that went into the front end, gaps included.
    n_taken: u64,
    /// Samples at 16 kHz that went into the diarizer, gaps included.
    heard: SampleIndex,
    dropped: u64,
    health: Health,
    busy: Duration,
    stats_at: Instant,
    stats_heard: SampleIndex,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    emitted: Vec<TimedEvent>,
    words: Words,
    listeners: Arc<Listeners>,
    /// Whether it was reported that words of a listener were refused.
    has_refused: bool,
    leaving: Leaving,
}

/// How the thread stops.
enum Stop {
    Ended(EndReason),
    HandedOver,
}

impl Worker {
    pub(super) fn new(
        channel: Arc<Channel>,
        engine: Box<dyn Engine>,
        recorder: Option<Recorder>,
        intake: Intake,
        format: AudioFormat,
        inbox: Inbox,
        listeners: Arc<Listeners>,
    ) -> Self {
        let n_taken = inbox.counters.n_received.load(Ordering::Relaxed);
        let heard = at_16k(n_taken, format.sample_rate);
        let words = Words::of(&channel.now().state);
        Self {
            channel,
            engine,
            recorder,
            intake,
            format,
            inbox,
            n_taken,
            heard,
            dropped: 0,
            health: Health::default(),
            busy: Duration::ZERO,
            stats_at: Instant::now(),
            stats_heard: heard,
            interleaved: Vec::new(),
            mono: Vec::new(),
            emitted: Vec::new(),
            words,
            listeners,
            has_refused: false,
            leaving: Leaving::new(),
        }
    }

    /// Runs the session to its end; a fault or a panic ends this session and no other.
    pub(super) fn run(mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.work()));
        let reason = match outcome {
            Ok(Ok(Stop::Ended(reason))) => reason,
            Ok(Ok(Stop::HandedOver)) => {
                self.listeners.end();
                self.listeners.close();
                self.channel.hand_over();
                let heard_s = self.heard.seconds();
                return tracing::info!(
                    session = self.channel.id(),
                    heard_s,
                    "session goes on after a restart"
                );
            }
            Ok(Err(Fault::Abandoned)) => EndReason::Disconnected,
            Ok(Err(fault)) => {
                let error: &dyn std::error::Error = &fault;
                tracing::error!(session = self.channel.id(), error, "the session failed");
                EndReason::Failed
            }
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                tracing::error!(session = self.channel.id(), panic = text, "the session's diarizer panicked");
                EndReason::Failed
            }
        };
        self.listeners.end();
        self.listeners.close();
        self.channel.end(self.heard, reason);
        tracing::info!(
            session = self.channel.id(),
            reason = reason.as_str(),
            heard_s = self.heard.seconds(),
            "session ended"
        );
    }

    fn work(&mut self) -> Result<Stop, Fault> {
        self.drive()?;
        loop {
            self.wait();
            self.drive()?;
            while let Ok(recognised) = self.listeners.words().try_recv() {
                self.take_recognised(&recognised)?;
            }
            if self.engine.n_pending() >= MAX_PENDING {
                continue;
            }
            let queued = match self.inbox.queue.try_recv() {
                Ok(queued) => queued,
                Err(crossbeam_channel::TryRecvError::Empty) => {
                    self.leave(false);
                    self.tell_stats();
                    continue;
                }
                Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    self.finish()?;
                    return Err(Fault::Abandoned);
                }
            };
            let began = Instant::now();
            if let Some(stop) = self.take(queued.input)? {
                return Ok(stop);
            }
            self.drive()?;
            self.leave(false);
            self.busy += began.elapsed();
            self.tell_stats();
        }
    }

    /// Leaves what a process after this one needs; after the events that it follows from.
    fn leave(&mut self, is_last: bool) {
        let engine = &self.engine;
        let (labelled, mark) = (engine.labelled_until(), engine.voices_mark());
        self.leaving.leave(self.channel.handover(), labelled, mark, is_last, || engine.voices());
    }

    /// Settles everything, and leaves it to a process after this one.
    fn hand_over(&mut self) -> Result<(), Fault> {
        self.flush_intake()?;
        self.engine.flush()?;
        self.drain()?;
        self.leave(true);
        if let Some(recorder) = self.recorder.take() {
            recorder.pause();
        }
        Ok(())
    }

    /// Takes one input. Returns how it stops the session, if it does.
    fn take(&mut self, input: Input) -> Result<Option<Stop>, Fault> {
        // The receiver of a reply may be gone.
        match input {
            Input::Bytes(bytes) => {
                if let Some(warning) = self.health.of_frame(&bytes) {
                    self.channel.publish_body(self.heard, warning);
                }
                self.interleaved.clear();
                self.format.decode(&bytes, &mut self.interleaved);
                self.take_interleaved()?;
            }
            Input::Samples(block) => {
                self.interleaved = block;
                self.take_interleaved()?;
            }
            Input::Gap { n_samples, reason } => self.take_gap(n_samples, reason)?,
            Input::Command(command, reply) => {
                let _ = reply.send(self.obey(command)?);
            }
            Input::Voice(speaker, reply) => {
                let _ = reply.send(self.engine.voice_of(speaker));
            }
            Input::Finish(reason) => {
                self.finish()?;
                self.await_words(reason)?;
                self.stats_at -= STATS_EVERY;
                self.tell_stats();
                return Ok(Some(Stop::Ended(reason)));
            }
            Input::HandOver => {
                self.hand_over()?;
                return Ok(Some(Stop::HandedOver));
            }
        }
        Ok(None)
    }

    fn obey(&mut self, command: Command) -> Result<Result<(), CorrectionError>, Fault> {
        match command {
            Command::Finalize => {
                self.engine.flush()?;
                self.drain()?;
                Ok(Ok(()))
            }
            Command::Correct { correction, by } => self.correct(&correction, by.as_deref()),
            Command::Words { words, is_final } => self.take_words(&words, is_final),
        }
    }

    /// Makes a correction; its events are emitted when this returns.
    fn correct(
        &mut self,
        correction: &Correction,
        by: Option<&str>,
    ) -> Result<Result<(), CorrectionError>, Fault> {
        self.drive()?;
        let (channel, heard) = (Arc::clone(&self.channel), self.heard);
        let mut fault = None;
        let outcome = correcting::correct(&channel, heard, correction, by, &mut |correction| {
            self.engine.correct(correction)?;
            fault = self.drive().err();
            Ok(())
        });
        fault.map_or(Ok(outcome), Err)
    }

    /// Waits for input, unless the workers are behind, or for results.
    fn wait(&self) {
        let mut select = Select::new();
        if self.engine.n_pending() < MAX_PENDING {
            select.recv(&self.inbox.queue);
        }
        select.recv(self.listeners.words());
        self.engine.register(&mut select);
        // The timeout allows stats while the stream pauses.
        let _ = select.ready_timeout(STATS_EVERY);
    }

    fn take_interleaved(&mut self) -> Result<(), Fault> {
        self.n_taken += (self.interleaved.len() / usize::from(self.format.channels)) as u64;
        self.mono.clear();
        self.intake.push(&self.interleaved, &mut self.mono)?;
        self.hear()?;
        for warning in self.health.of_intake(&self.intake) {
            self.channel.publish_body(self.heard, warning);
        }
        Ok(())
    }

    /// Passes what the front end gave to the diarizer.
    fn hear(&mut self) -> Result<(), Fault> {
        if !self.mono.is_empty() {
            self.record(self.heard);
        }
        if !self.listeners.is_any() {
            self.heard = self.heard.plus(self.mono.len() as u64);
            if !self.mono.is_empty() {
                self.engine.push(&self.mono)?;
            }
            return Ok(());
        }
        // In short pieces, so that each has its own answer whether there is speech.
        for piece in self.mono.chunks(PIECE) {
            self.engine.push(piece)?;
            self.listeners.hand_out(self.heard, piece, self.engine.is_speech());
            self.heard = self.heard.plus(piece.len() as u64);
        }
        Ok(())
    }

    /// Has audio kept that begins at `at`; labels go on where that fails.
    fn record(&mut self, at: SampleIndex) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = recorder.push(at, &self.mono)
        {
            tracing::error!(session = self.channel.id(), %error, "the audio of the session is not kept from here on");
            self.channel.publish_body(self.heard, audio_failed());
            self.recorder = None;
        }
    }

    fn take_gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), Fault> {
        self.flush_intake()?;
        self.intake.reset();
        self.n_taken += n_samples;
        // SessionMetrics from the start of the stream, so that many gaps do not add up many roundings.
        let target = at_16k(self.n_taken, self.format.sample_rate);
        let n_missing = target.0.saturating_sub(self.heard.0);
        if n_missing > 0 {
            if reason == GapReason::Overrun {
                self.dropped += n_missing;
            }
            self.engine.gap(n_missing, reason)?;
            self.heard = self.heard.plus(n_missing);
        }
        Ok(())
    }

    /// Takes the samples that the front end still holds.
    fn flush_intake(&mut self) -> Result<(), Fault> {
        self.mono.clear();
        self.intake.finish(&mut self.mono);
        self.hear()
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.flush_intake()?;
        if let Some(recorder) = self.recorder.take()
            && let Err(error) = recorder.finish(self.heard)
        {
            tracing::error!(session = self.channel.id(), %error, "the last audio of the session is not kept");
        }
        self.listeners.end();
        self.engine.finish()?;
        self.drain()?;
        let state = self.channel.now().state;
        let voices = state.speakers().filter_map(|s| Some((s.id, self.engine.voice_of(s.id)?)));
        self.channel.set_voices(voices.collect());
        Ok(())
    }

    /// Submits work, takes results, emits events.
    fn drive(&mut self) -> Result<(), Fault> {
        self.engine.drive(&mut self.emitted)?;
        self.words.follow(&mut self.emitted);
        let outcome = self.channel.publish(&self.emitted);
        self.emitted.clear();
        Ok(outcome?)
    }

    /// Drives until nothing is pending.
    fn drain(&mut self) -> Result<(), Fault> {
        self.drive()?;
        while self.engine.n_pending() > 0 {
            let mut select = Select::new();
            self.engine.register(&mut select);
            let _ = select.ready();
            self.drive()?;
        }
        Ok(())
    }

    fn tell_stats(&mut self) {
        let elapsed = self.stats_at.elapsed();
        let n_heard = self.heard.0 - self.stats_heard.0;
        if elapsed < STATS_EVERY || n_heard == 0 {
            return;
        }
        self.stats_at = Instant::now();
        self.stats_heard = self.heard;
        let busy = std::mem::take(&mut self.busy) + self.engine.take_busy();
        let received =
            at_16k(self.inbox.counters.n_received.load(Ordering::Relaxed), self.format.sample_rate);
        self.channel.set_stats(Stats {
            lag_s: SampleIndex(received.0.saturating_sub(self.heard.0)).into(),
            rtf: Decimal(busy.as_secs_f64() * f64::from(SAMPLE_RATE_HZ) / n_heard as f64),
            dropped_s: SampleIndex(self.dropped).into(),
            heard_s: Seconds::from(self.heard),
            level_dbfs: Decimal(f64::from(self.engine.level_dbfs().max(-120.0))),
            speech: self.engine.is_speech(),
            skipped_windows: self.engine.n_left_out(),
        });
    }
}

/// Reports that no more audio of the session is kept.
fn audio_failed() -> Warning {
    let reason = "the audio is not kept from here on; the server's log says why".to_owned();
    Warning { code: "audio_failed".to_owned(), reason }
}

/// The position on the 16 kHz clock after `n_samples` at `rate_hz`, rounded to the nearest sample.
fn at_16k(n_samples: u64, rate_hz: u32) -> SampleIndex {
    let (n, rate) = (u128::from(n_samples) * u128::from(SAMPLE_RATE_HZ), u128::from(rate_hz));
    SampleIndex(u64::try_from((2 * n + rate) / (2 * rate)).unwrap_or(u64::MAX))
}
