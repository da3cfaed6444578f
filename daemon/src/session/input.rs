//! The input queue of a session: bounded by the audio in it, awaited by sockets, blocked on by threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use crossbeam_channel::{Receiver, TrySendError, bounded};
use diarized_models::diarizer::SpeakerVoice;
use diarized_models::events::{GapReason, SpeakerId};
use diarized_models::words::NewWord;
use parking_lot::Mutex;
use pollster::block_on;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::correction_error::CorrectionError;
use super::engine::Correction;
use crate::protocol::AudioFormat;
use crate::protocol::server_message::EndReason;
use crate::rate::Rate;

/// Places in the queue; an item takes one for every [`PLACE_MS`] of audio in it, and at least one.
const N_PLACES: u32 = 256;
/// Bytes of a command that take a place of the queue.
const PLACE_BYTES: usize = 4096;
/// So that 256 places hold five seconds of audio, however it is cut.
const PLACE_MS: u64 = 20;

/// Corrections that a session takes in a second, and at once after a rest: more than people make, and few enough that
/// what they change can be written down.
const MAX_CORRECTIONS_PER_S: u32 = 5;
const CORRECTIONS_AT_ONCE: u32 = 60;
/// Words that a session takes in a second, and at once after a rest.
const MAX_WORDS_PER_S: u32 = 1000;
const WORDS_AT_ONCE: u32 = 20_000;

/// The session takes no more input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Closed;

/// What may be asked of a session besides taking audio.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Settle pending labels; done when all resulting events are in the journal.
    Finalize,
    /// Correct the labels or what is written beside them.
    Correct {
        /// How.
        correction: Correction,
        /// Name of the token that wants it.
        by: Option<String>,
    },
    /// Add recognised words.
    Words {
        /// The words; they replace the provisional ones.
        words: Vec<NewWord>,
        /// Whether the recogniser changes them no more.
        is_final: bool,
    },
}

impl Command {
    /// What it holds beside itself, in bytes.
    fn n_bytes(&self) -> usize {
        let correction = match self {
            Self::Correct { correction, .. } => correction,
            Self::Words { words, .. } => {
                return size_of_val(words.as_slice())
                    + words.iter().map(|word| word.text.len()).sum::<usize>();
            }
            Self::Finalize => return 0,
        };
        match correction {
            Correction::Rename { name, .. } | Correction::Voice { name, .. } => name.len(),
            Correction::Title { title } => title.len(),
            Correction::Note { text, .. } => text.len(),
            Correction::Split { segments, .. } => size_of_val(segments.as_slice()),
            _ => 0,
        }
    }
}

/// One item of the queue.
#[derive(Debug)]
pub(super) enum Input {
    /// Audio as a client sent it, whole samples of every channel.
    Bytes(Bytes),
    /// Interleaved samples.
    Samples(Vec<f32>),
    /// A gap: missing samples of each channel at the declared rate.
    Gap {
        /// How many.
        n_samples: u64,
        /// Why.
        reason: GapReason,
    },
    /// Something to do, and where its outcome goes.
    Command(Command, oneshot::Sender<Result<(), CorrectionError>>),
    /// Request for the speech of a speaker.
    Voice(SpeakerId, oneshot::Sender<Option<SpeakerVoice>>),
    /// The end.
    Finish(EndReason),
    /// The end in this process.
    HandOver,
}

/// An item and the places that it gives back when it has been dealt with.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) input: Input,
    pub(super) places: Option<OwnedSemaphorePermit>,
}

/// The far end of the queue, held by the session's thread.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) queue: Receiver<Queued>,
    pub(super) counters: Arc<Counters>,
    places: Arc<Semaphore>,
    /// Wakes a task that takes from the queue.
    arrived: Arc<Notify>,
}

impl Inbox {
    /// Waits for the next item. Dropped before it is done, it has taken nothing.
    pub(super) async fn next(&self) -> Queued {
        loop {
            if let Ok(queued) = self.queue.try_recv() {
                return queued;
            }
            self.arrived.notified().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // Wakes waiting senders with an error.
        self.places.close();
    }
}

/// What both ends of the queue count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Samples of each channel that went into the queue, gaps included, at the declared rate.
    pub(super) n_received: AtomicU64,
    /// Those of them that are audio, and went in since the queue was made.
    n_audio: AtomicU64,
}

/// The near end of the queue; for any thread or task.
#[derive(Debug)]
pub struct Sender {
    format: AudioFormat,
    queue: crossbeam_channel::Sender<Queued>,
    places: Arc<Semaphore>,
    counters: Arc<Counters>,
    arrived: Arc<Notify>,
    /// Whether it takes what is asked of a session besides taking audio.
    takes_commands: bool,
    finished: OnceLock<EndReason>,
    corrections: Mutex<Rate>,
    words: Mutex<Rate>,
}

/// A queue for audio of this format, after `n_received` samples of each channel at the declared rate.
pub(super) fn queue(format: AudioFormat, n_received: u64) -> (Sender, Inbox) {
    // Beyond the places there is room for the one `Finish`, which must not wait.
    let (tx, rx) = bounded(N_PLACES as usize + 1);
    let places = Arc::new(Semaphore::new(N_PLACES as usize));
    let counters = Arc::new(Counters { n_received: AtomicU64::new(n_received), n_audio: AtomicU64::new(0) });
    let arrived = Arc::new(Notify::new());
    let inbox = Inbox {
        queue: rx,
        counters: Arc::clone(&counters),
        places: Arc::clone(&places),
        arrived: Arc::clone(&arrived),
    };
    let corrections = Mutex::new(Rate::new(MAX_CORRECTIONS_PER_S, CORRECTIONS_AT_ONCE));
    let words = Mutex::new(Rate::new(MAX_WORDS_PER_S, WORDS_AT_ONCE));
    let (finished, takes_commands) = (OnceLock::new(), true);
    let sender =
        Sender { format, queue: tx, places, counters, arrived, takes_commands, finished, corrections, words };
    (sender, inbox)
}

/// A queue for audio alone, which goes to another node from here.
pub(super) fn queue_of_audio(format: AudioFormat, n_received: u64) -> (Sender, Inbox) {
    let (sender, inbox) = queue(format, n_received);
    (Sender { takes_commands: false, ..sender }, inbox)
}

/// The near end of a queue that takes nothing, after `n_received` samples of each channel at the declared rate.
pub(super) fn closed(format: AudioFormat, n_received: u64, reason: EndReason) -> Sender {
    let (sender, _) = queue(format, n_received);
    // A new sender has no reason yet.
    let _ = sender.finished.set(reason);
    sender
}

/// The near end of a queue that takes nothing, for a session that runs on another node and has `n_received` samples of each
/// channel.
pub(super) fn elsewhere(format: AudioFormat, n_received: u64) -> Sender {
    // Without its far end nothing can be queued.
    queue(format, n_received).0
}

impl Sender {
    /// Queues a binary frame of whole samples; waits while the session is behind.
    ///
    /// # Errors
    /// [`Closed`] if the session takes no more.
    pub async fn push_bytes(&self, bytes: Bytes) -> Result<(), Closed> {
        let n_samples = (bytes.len() / self.format.step_bytes()) as u64;
        self.push(Input::Bytes(bytes), n_samples, self.places_of(n_samples)).await
    }

    /// Queues a stretch without audio, in samples at the declared rate; waits while the session is behind.
    ///
    /// # Errors
    /// [`Closed`] if the session takes no more.
    pub async fn push_gap(&self, n_samples: u64, reason: GapReason) -> Result<(), Closed> {
        self.push(Input::Gap { n_samples, reason }, n_samples, 1).await
    }

    /// Queues interleaved samples; blocks the thread while the session is behind. Not for async tasks.
    ///
    /// # Errors
    /// [`Closed`] if the session takes no more.
    pub fn push_interleaved(&self, block: &[f32]) -> Result<(), Closed> {
        let n_samples = (block.len() / usize::from(self.format.channels)) as u64;
        block_on(self.push(Input::Samples(block.to_vec()), n_samples, self.places_of(n_samples)))
    }

    /// Queues a stretch without audio, in samples at the declared rate; blocks the thread while the session is
    /// behind. Not for async tasks.
    ///
    /// # Errors
    /// [`Closed`] if the session takes no more.
    pub fn gap(&self, n_samples: u64, reason: GapReason) -> Result<(), Closed> {
        block_on(self.push_gap(n_samples, reason))
    }

    /// Queues a command behind the audio that is queued; its outcome comes when it was dealt with.
    ///
    /// # Errors
    /// [`Closed`] if the session takes no more; so does the receiver when it ends first.
    pub async fn command(
        &self,
        command: Command,
    ) -> Result<oneshot::Receiver<Result<(), CorrectionError>>, Closed> {
        if !self.takes_commands {
            return Err(Closed);
        }
        let (reply, outcome) = oneshot::channel();
        if let Err(refusal) = self.pace(&command) {
            // The requester holds the receiver.
            let _ = reply.send(Err(refusal));
            return Ok(outcome);
        }
        let n_places = 1 + command.n_bytes() / PLACE_BYTES;
        let n_places = n_places.min(N_PLACES as usize) as u32;
        self.push(Input::Command(command, reply), 0, n_places).await?;
        Ok(outcome)
    }

    /// Counts a command against what may come in a second.
    fn pace(&self, command: &Command) -> Result<(), CorrectionError> {
        let now = Instant::now();
        match command {
            Command::Correct { .. } if !self.corrections.lock().takes(now, 1) => {
                Err(CorrectionError::TooMany { max_per_s: MAX_CORRECTIONS_PER_S })
            }
            Command::Words { words, .. } if !self.words.lock().takes(now, words.len() as u32) => {
                Err(CorrectionError::TooManyWords { max_per_s: MAX_WORDS_PER_S })
            }
            _ => Ok(()),
        }
    }

    /// Requests the speech of a speaker in the audio queued before.
    ///
    /// # Errors
    /// [`Closed`] if the session takes no more; so does the receiver when it ends first.
    pub async fn voice_of(
        &self,
        speaker: SpeakerId,
    ) -> Result<oneshot::Receiver<Option<SpeakerVoice>>, Closed> {
        if !self.takes_commands {
            return Err(Closed);
        }
        let (reply, outcome) = oneshot::channel();
        self.push(Input::Voice(speaker, reply), 0, 1).await?;
        Ok(outcome)
    }

    /// Ends the session after what is queued; the first reason stands. Never waits.
    pub fn finish(&self, reason: EndReason) {
        if self.finished.set(reason).is_ok() {
            // No place is needed: the queue has room for one item beyond its places. If the thread is gone, so
            // is the session.
            let _ = self.queue.try_send(Queued { input: Input::Finish(reason), places: None });
            self.arrived.notify_one();
        }
    }

    /// Stops the session after what is queued, for a process after this one; an end that was asked for before stands.
    pub(super) fn hand_over(&self) {
        if self.finished.set(EndReason::Shutdown).is_ok() {
            // There is room, as for an end.
            let _ = self.queue.try_send(Queued { input: Input::HandOver, places: None });
            self.arrived.notify_one();
        }
    }

    /// Why it takes no more, if it does not.
    pub(super) fn end_reason(&self) -> Option<EndReason> {
        self.finished.get().copied()
    }

    /// Samples of each channel taken so far, gaps included, at the declared rate.
    #[must_use]
    pub fn n_received(&self) -> u64 {
        self.counters.n_received.load(Ordering::Relaxed)
    }

    /// The same in seconds.
    #[must_use]
    pub fn received_s(&self) -> f64 {
        self.n_received() as f64 / f64::from(self.format.sample_rate)
    }

    /// Samples of audio of each channel taken since the session began in this process, without gaps.
    pub(crate) fn n_audio(&self) -> u64 {
        self.counters.n_audio.load(Ordering::Relaxed)
    }

    fn places_of(&self, n_samples: u64) -> u32 {
        let n_places = n_samples * 1000 / (u64::from(self.format.sample_rate) * PLACE_MS) + 1;
        n_places.min(u64::from(N_PLACES)) as u32
    }

    /// Queues an item that moves the clock by `n_samples`. Dropped before it is done, it has queued and counted
    /// nothing.
    async fn push(&self, input: Input, n_samples: u64, n_places: u32) -> Result<(), Closed> {
        if self.finished.get().is_some() {
            return Err(Closed);
        }
        let places = Arc::clone(&self.places).acquire_many_owned(n_places).await.map_err(|_| Closed)?;
        self.counters.n_received.fetch_add(n_samples, Ordering::Relaxed);
        if !matches!(input, Input::Gap { .. }) {
            self.counters.n_audio.fetch_add(n_samples, Ordering::Relaxed);
        }
        match self.queue.try_send(Queued { input, places: Some(places) }) {
            Ok(()) => {
                self.arrived.notify_one();
                Ok(())
            }
            Err(TrySendError::Disconnected(_) | TrySendError::Full(_)) => Err(Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_blocks_the_sender_until_there_is_room() {
        let (sender, inbox) = queue(AudioFormat::default(), 0);
        // A second of audio takes 51 places: five fit, the sixth waits.
        std::thread::scope(|scope| {
            let sender = &sender;
            let pushed = scope
                .spawn(move || (0..8).map(|_| sender.push_interleaved(&[0.0; 16_000])).collect::<Vec<_>>());
            let taken: Vec<_> = (0..8).map(|_| inbox.queue.recv().unwrap()).map(|q| q.input).collect();
            assert_eq!(taken.len(), 8);
            assert!(pushed.join().unwrap().iter().all(Result::is_ok));
        });
        assert!((sender.received_s() - 8.0).abs() < 1e-9);
    }

    #[test]
    fn the_end_fits_into_a_full_queue_and_nothing_follows_it() {
        let (sender, inbox) = queue(AudioFormat::default(), 0);
        for _ in 0..5 {
            sender.push_interleaved(&[0.0; 16_000]).unwrap();
        }
        sender.push_interleaved(&[0.0; 16]).unwrap();
        sender.finish(EndReason::Closed);
        sender.finish(EndReason::Failed);
        assert_eq!(sender.push_interleaved(&[0.0; 16]), Err(Closed));
        let last = inbox.queue.try_iter().last().unwrap();
        assert!(matches!(last.input, Input::Finish(EndReason::Closed)));
    }

    #[test]
    fn a_large_command_takes_more_places() {
        let (sender, inbox) = queue(AudioFormat::default(), 0);
        let split = |n: u64| {
            let segments = (0..n).map(diarized_models::SegmentId).collect();
            Command::Correct { correction: Correction::Split { speaker: SpeakerId(1), segments }, by: None }
        };
        let n_free = || sender.places.available_permits();
        block_on(sender.command(split(3))).unwrap();
        assert_eq!(n_free(), N_PLACES as usize - 1);
        block_on(sender.command(split(51_200))).unwrap();
        assert_eq!(n_free(), N_PLACES as usize - 1 - 101);
        drop(inbox.queue.try_iter().collect::<Vec<_>>());
        block_on(sender.command(split(10_000_000))).unwrap();
        assert_eq!(n_free(), 0, "never more than there are");
    }

    #[test]
    fn a_sender_that_waits_is_woken_when_the_session_is_gone() {
        let (sender, inbox) = queue(AudioFormat::default(), 0);
        std::thread::scope(|scope| {
            let pushed = scope.spawn(|| {
                loop {
                    if let Err(closed) = sender.push_interleaved(&[0.0; 16_000]) {
                        return closed;
                    }
                }
            });
            while inbox.queue.len() < 5 {
                std::thread::yield_now();
            }
            drop(inbox);
            assert_eq!(pushed.join().unwrap(), Closed);
        });
    }
}
