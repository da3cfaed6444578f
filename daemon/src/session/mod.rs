//! One session: audio in, numbered events out.
//!
//! A [`Session`] is a bounded input queue, one named thread that drives the diarizer, and a [`Channel`] that any
//! number of readers follow at their own pace. Nothing here knows sockets.

mod about;
mod archive;
mod channel;
mod correcting;
mod correction_error;
mod counted;
mod cursor;
pub mod engine;
mod handover;
mod health;
mod input;
mod journal;
mod ledger;
mod listening;
mod mirrored;
mod publisher_slot;
pub(crate) mod replay;
#[cfg(test)]
pub(crate) mod scripted;
mod source;
mod state_at;
mod taken_over;
mod taking_in;
mod waiting;
mod without_diarizer;
mod words;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

pub use about::About;
pub(crate) use archive::Archive;
pub use channel::Channel;
pub use correction_error::CorrectionError;
pub use counted::{HubHandle, SessionMetrics};
pub use cursor::{Batch, Cursor, ReadStatus};
pub use engine::{Before, Correction, Engine, EngineError, EngineFactory, GoingOn, InferenceStats};
pub use handover::Handover;
pub(crate) use handover::{FedBy, Keeper, samples_until};
pub(crate) use health::what_it_holds;
pub use input::{Closed, Command, Sender};
pub use journal::JournalParams;
pub(crate) use ledger::MAX_ENTRIES;
pub use ledger::{Again, Entry};
pub use listening::{AudioPiece, Listener, Patience, Recognised};
pub use publisher_slot::{PublisherGuard, VacatedSlot};
pub use source::Source;
pub use state_at::StateAt;
pub(crate) use without_diarizer::restoration;

pub(crate) use taking_in::{AudioInbox, Places, TakenIn};

use listening::Listeners;
use publisher_slot::PublisherSlot;

use diarized_dsp::{ChannelSelect, Intake, IntakeError, IntakeParams, SAMPLE_RATE_HZ};
use diarized_models::SpeakerId;
use diarized_models::diarizer::SpeakerVoice;
use diarized_models::words::NewWord;
use parking_lot::Mutex;

use crate::access::TenantId;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::recording::{EncoderError, Recorder};
use crate::secret::SecretHash;

/// Why a session could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The front end does not take this audio.
    #[error("the audio format cannot be taken")]
    Intake(#[from] IntakeError),
    /// The diarizer could not be made.
    #[error("the diarizer cannot be made")]
    Engine(#[from] EngineError),
    /// The audio cannot be encoded.
    #[error("the audio of the session cannot be kept")]
    Recorder(#[from] EncoderError),
    /// The operating system gave no thread.
    #[error("cannot start the thread of the session")]
    Thread(#[source] std::io::Error),
}

/// The secret of a session's publisher.
pub(crate) enum Secret {
    /// Not given to anybody yet.
    New(String),
    /// It belongs to the publisher that had it in the process before, or to none.
    Known(SecretHash),
}

/// What a running session is made of.
pub(crate) struct Parts {
    /// Orders the sessions of a process.
    pub(crate) number: u64,
    pub(crate) channel: Arc<Channel>,
    pub(crate) format: AudioFormat,
    pub(crate) options: SessionOptions,
    pub(crate) secret: Secret,
    pub(crate) began: SystemTime,
    /// Samples of each channel that it has already, at the declared rate.
    pub(crate) n_received: u64,
    pub(crate) engine: Box<dyn Engine>,
    /// Takes the audio, too.
    pub(crate) recorder: Option<Recorder>,
}

/// What a session is made of that no worker of this process labels.
struct WithoutWorker {
    number: u64,
    is_archived: bool,
    elsewhere: Option<Arc<str>>,
    channel: Arc<Channel>,
    input: Sender,
    format: AudioFormat,
    options: SessionOptions,
    began: SystemTime,
    token: Option<String>,
    token_hash: SecretHash,
}

/// A running or finished session; shared by its publisher, its readers and the hub.
#[derive(Debug)]
pub struct Session {
    number: AtomicU64,
    /// Whether it is on the hub's list once more, after its end.
    is_back: AtomicBool,
    is_archived: bool,
    /// Name of the node where it runs, if that is another one.
    elsewhere: Option<Arc<str>>,
    channel: Arc<Channel>,
    input: Sender,
    listeners: Arc<Listeners>,
    format: AudioFormat,
    options: SessionOptions,
    began: SystemTime,
    /// The publisher's secret until it is sent, and its hash.
    token: Mutex<Option<String>>,
    token_hash: SecretHash,
    publisher_slot: PublisherSlot,
    /// A title that its node is to give it; only where that is another one.
    wanted_title: Mutex<Option<String>>,
    /// Name of the token that opened it; empty for the server's own.
    owner: Mutex<String>,
    /// Who its audio counts for; the first one that is set.
    tenant: OnceLock<TenantId>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Session {
    /// Starts the session's thread.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind.
    pub(crate) fn start(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { number, channel, format, options, secret, began, n_received, engine, recorder } = parts;
        let intake = Intake::new(IntakeParams {
            sample_rate_hz: format.sample_rate,
            n_channels: format.channels,
            channel: format.channel.map_or(ChannelSelect::Mix, ChannelSelect::One),
        })?;
        let (input, receiver) = input::queue(format, n_received);
        let listeners = Listeners::new();
        let worker = worker::Worker::new(
            Arc::clone(&channel),
            engine,
            recorder,
            intake,
            format,
            receiver,
            Arc::clone(&listeners),
        );
        let thread = std::thread::Builder::new()
            .name(format!("session-{}", channel.id()))
            .stack_size(worker::STACK_BYTES)
            .spawn(move || worker.run())
            .map_err(StartError::Thread)?;
        let (token, token_hash) = match secret {
            Secret::New(token) => (Some(token.clone()), SecretHash::of(&token)),
            Secret::Known(hash) => (None, hash),
        };
        Ok(Arc::new(Self {
            number: AtomicU64::new(number),
            is_back: AtomicBool::new(false),
            is_archived: false,
            elsewhere: None,
            channel,
            input,
            listeners,
            format,
            options,
            began,
            token_hash,
            token: Mutex::new(token),
            publisher_slot: PublisherSlot::new(),
            wanted_title: Mutex::default(),
            owner: Mutex::default(),
            tenant: OnceLock::new(),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// A session without input, for its past events.
    #[must_use]
    pub(crate) fn archived(archive: Archive) -> Arc<Self> {
        let Archive { id, source, format, options, began, token_hash, moment, events, corrections } = archive;
        let heard = u128::from(moment.at.0) * u128::from(format.sample_rate);
        let n_received = u64::try_from(heard / u128::from(SAMPLE_RATE_HZ)).unwrap_or(u64::MAX);
        let ended = moment.ended.unwrap_or(EndReason::Interrupted);
        Self::without_worker(WithoutWorker {
            number: u64::MAX,
            is_archived: true,
            elsewhere: None,
            channel: Channel::archived(&id, source, moment, events, corrections),
            input: input::closed(format, n_received, ended),
            format,
            options,
            began,
            token: None,
            token_hash,
        })
    }

    /// A session that no worker of this process labels.
    fn without_worker(parts: WithoutWorker) -> Arc<Self> {
        let WithoutWorker {
            number,
            is_archived,
            elsewhere,
            channel,
            input,
            format,
            options,
            began,
            token,
            token_hash,
        } = parts;
        let listeners = Listeners::new();
        listeners.end();
        listeners.close();
        Arc::new(Self {
            number: AtomicU64::new(number),
            is_back: AtomicBool::new(false),
            is_archived,
            elsewhere,
            channel,
            input,
            listeners,
            format,
            options,
            began,
            token: Mutex::new(token),
            token_hash,
            publisher_slot: PublisherSlot::new(),
            wanted_title: Mutex::default(),
            owner: Mutex::default(),
            tenant: OnceLock::new(),
            thread: Mutex::new(None),
        })
    }

    /// Whether it was put together from what was kept, which holds labels and no voices.
    #[must_use]
    pub(crate) fn is_archived(&self) -> bool {
        self.is_archived
    }

    /// Id of the session.
    #[must_use]
    pub fn id(&self) -> &str {
        self.channel.id()
    }

    /// Place of the session in the order of opening.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// A session that had left the hub's list takes a place on it again, for its corrections.
    pub(crate) fn come_back(&self, number: u64) {
        self.is_back.store(true, Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
    }

    /// Whether it is on the hub's list for its corrections only; all followers have read its earlier events.
    pub(crate) fn is_back(&self) -> bool {
        self.is_back.load(Ordering::Relaxed)
    }

    /// The session's output.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// What the publisher declared its audio to be.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// When the session was started, by the clock of the machine.
    #[must_use]
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// Secret of the publisher, once; only its hash is kept after that.
    #[must_use]
    pub fn take_token(&self) -> Option<String> {
        let token = self.token.lock().take();
        if token.is_some() {
            self.channel.handover().set_fed_by(FedBy::Publisher);
        }
        token
    }

    /// What its client wants of it.
    #[must_use]
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// Whether this is the publisher's secret.
    #[must_use]
    pub fn is_token(&self, token: &str) -> bool {
        self.token_hash.fits(token)
    }

    /// What is kept of the publisher's secret.
    #[must_use]
    pub fn token_hash(&self) -> &SecretHash {
        &self.token_hash
    }

    /// Warns everybody who follows the session, unless it has ended.
    pub(crate) fn warn(&self, code: &str, reason: &str) {
        self.channel.warn(code, reason);
    }

    /// Acquires the publisher's place; asks its present holder to leave, and waits for it.
    pub async fn acquire_publisher_slot(&self) -> PublisherGuard {
        self.publisher_slot.acquire().await
    }

    /// Whether a connection holds the publisher's place.
    #[must_use]
    pub fn has_publisher(&self) -> bool {
        self.publisher_slot.is_held()
    }

    /// Makes a correction of a session that takes no more input, behind its last events.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub(crate) async fn correct_ended(
        &self,
        correction: &Correction,
        by: Option<String>,
    ) -> Result<(), CorrectionError> {
        self.must_be_over().await?;
        self.channel.correct_ended(correction, by.as_deref())
    }

    /// Adds recognised words to a session that takes no more input, behind its last events.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub(crate) async fn add_words_ended(
        &self,
        words: &[NewWord],
        is_final: bool,
    ) -> Result<(), CorrectionError> {
        self.must_be_over().await?;
        self.channel.add_words_ended(words, is_final)
    }

    /// Waits for the end. A session that goes on in a process after this one cannot be changed here.
    async fn must_be_over(&self) -> Result<(), CorrectionError> {
        self.channel.wait_ended().await;
        if self.channel.ended().is_none() {
            let reason = "the server restarts; correct the session when it is back".to_owned();
            return Err(CorrectionError::Refused { reason });
        }
        Ok(())
    }

    /// A listener that gets the audio from now on; at most `max_samples` at 16 kHz wait for it. With `patience` it may send
    /// recognised words, and so long is waited for the last of them.
    #[must_use]
    pub fn listen(&self, max_samples: u64, patience: Option<Patience>) -> Listener {
        self.listeners.add(max_samples, patience)
    }

    /// Waits after the end until all recognised words are there, no longer than their listeners may take.
    pub async fn all_words(&self) {
        self.listeners.all_words().await;
    }

    /// Where audio and commands go in.
    #[must_use]
    pub fn input(&self) -> &Sender {
        &self.input
    }

    /// Speech of a speaker: so far, or in total after the end of the session.
    pub async fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        if let Ok(outcome) = self.input.voice_of(speaker).await
            && let Ok(voice) = outcome.await
        {
            return voice;
        }
        self.channel.voice_of(speaker)
    }

    /// Why the session ended or will; none while it runs.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.input.end_reason().or_else(|| self.channel.ended())
    }

    /// Ends the session after what is queued; the first reason stands.
    pub fn finish(&self, reason: EndReason) {
        self.input.finish(reason);
    }

    /// Waits for the thread, which ends right after the session has.
    pub fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(session = self.id(), "the session's thread panicked outside its guard");
        }
    }
}
