//! The kept sessions of a server: one thread writes, readers share one connection.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use diarized_dsp::SampleIndex;
use parking_lot::Mutex;

use super::audio::KeptAudio;
use super::database::Database;
use super::error::StorageError;
use super::files;
use super::left::{Found, Left};
use super::params::StorageParams;
use super::sealed::SealedVoices;
use super::stored_session::StoredSession;
use super::wall_clock::Reading;
use super::writer::{Followed, Writer};
use crate::error_chain::error_chain;
use crate::recording::Recordings;
use crate::session::{Keeper, Session, Source};

/// Time between two commits.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Time between two looks for sessions that are too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
/// Code of the warning that the live sessions get when writing fails.
const WARNING: &str = "storage_failed";

/// The kept sessions. Shared; methods block on the disk.
#[derive(Debug)]
pub struct Storage {
    reader: Mutex<Database>,
    pub(super) writer: Mutex<Writer>,
    /// Ids of all sessions that are kept or will be.
    ids: Mutex<BTreeSet<String>>,
    /// Sessions that opened since the writer looked.
    opened: Mutex<Vec<Arc<Session>>>,
    /// Sessions that were corrected after their end since then.
    corrected: Mutex<Vec<Arc<Session>>>,
    audio: KeptAudio,
    hands_over: bool,
    /// Sessions that may go on, until they do.
    left: Mutex<Vec<Left>>,
    voices: Arc<SealedVoices>,
    /// The sole right to the file.
    lock: Mutex<Option<File>>,
    stop: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_failing: AtomicBool,
    n_errors: AtomicU64,
    n_events: AtomicU64,
    /// Sessions that could not be read when the file was opened.
    n_damaged: u64,
}

impl Storage {
    /// Opens the file, ends the sessions that a process before this one left behind as `interrupted` unless they may go on,
    /// forgets what is too old, and starts the thread `storage`.
    ///
    /// # Errors
    /// [`StorageError`]
    pub fn open(params: StorageParams) -> Result<Arc<Self>, StorageError> {
        let path = params.path.clone();
        Self::open_sound(params).map_err(|error| error.of_opening(&path))
    }

    fn open_sound(params: StorageParams) -> Result<Arc<Self>, StorageError> {
        let lock = files::lock(&params.path)?;
        let mut database = Database::open(&params.path)?;
        database.limit(params.max_bytes)?;
        let Found { left, n_interrupted, mut faults } = database.find_left(params.hands_over)?;
        let voices = Arc::new(SealedVoices::beside(&params.path, params.key.as_ref()));
        voices.retain(&left.iter().map(|left| left.archive.id.as_str()).collect());
        faults.extend(database.faults()?);
        for fault in &faults {
            tracing::error!("{fault}; all others are served");
        }
        if n_interrupted > 0 {
            tracing::warn!(
                sessions = n_interrupted,
                "sessions that ran when the process ended last are kept as interrupted"
            );
        }
        let ids = database.ids()?;
        let audio = KeptAudio::open(&params, &ids)?;
        let reader = Database::open(&params.path)?;
        let (stop, stopped) = bounded(1);
        let writer = Writer {
            database,
            keep: params.keep,
            max_session_bytes: params.max_session_bytes,
            voices: Arc::clone(&voices),
            followed: BTreeMap::new(),
            expired_at: None,
            scrubbed_at: None,
            scrub_at: None,
        };
        let storage = Arc::new(Self {
            reader: Mutex::new(reader),
            writer: Mutex::new(writer),
            ids: Mutex::new(ids),
            opened: Mutex::default(),
            corrected: Mutex::default(),
            audio,
            hands_over: params.hands_over,
            left: Mutex::new(left),
            voices,
            lock: Mutex::new(Some(lock)),
            stop,
            thread: Mutex::new(None),
            is_failing: AtomicBool::new(false),
            n_errors: AtomicU64::new(0),
            n_events: AtomicU64::new(0),
            n_damaged: faults.len() as u64,
        });
        storage.start(stopped)?;
        Ok(storage)
    }

    /// Starts the thread `storage`, which writes until `stopped` gives a value or nobody holds this value.
    fn start(self: &Arc<Self>, stopped: Receiver<()>) -> Result<(), StorageError> {
        let us = Arc::downgrade(self);
        let work = move || {
            loop {
                let is_last = !matches!(wait(&stopped), Err(RecvTimeoutError::Timeout));
                let Some(storage) = us.upgrade() else { return };
                storage.write();
                if is_last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(work);
        *self.thread.lock() = Some(thread.map_err(StorageError::Thread)?);
        Ok(())
    }

    /// Keeps a session that has just opened.
    pub(crate) fn follow(&self, session: &Arc<Session>) {
        if self.hands_over {
            session.channel().handover().keep(Keeper::Storage, SampleIndex::ZERO);
        }
        self.ids.lock().insert(session.id().to_owned());
        self.opened.lock().push(Arc::clone(session));
    }

    /// Keeps what was corrected of a session that has ended.
    pub(crate) fn follow_again(&self, session: &Arc<Session>) {
        self.corrected.lock().push(Arc::clone(session));
    }

    /// Where the audio of new sessions is kept, if it is.
    #[must_use]
    pub fn keeps_audio_in(&self) -> Option<&Arc<Recordings>> {
        self.audio.for_new()
    }

    /// Where audio of sessions is, if there is any.
    #[must_use]
    pub fn recordings(&self) -> Option<&Arc<Recordings>> {
        self.audio.recordings()
    }

    /// The sessions that may go on; once.
    pub(crate) fn take_left(&self) -> Vec<Left> {
        std::mem::take(&mut *self.left.lock())
    }

    /// What is known of the voices of a session that goes on, or why nothing is.
    pub(crate) fn voices_of(&self, id: &str) -> Result<Vec<u8>, String> {
        self.voices.read(id)
    }

    /// Keeps a session that goes on, from where it was kept.
    pub(crate) fn follow_on(&self, session: &Arc<Session>, left: &Left) {
        self.writer.lock().follow_on(session, left.position());
    }

    /// Ends a session that cannot go on.
    pub(crate) fn end_left(&self, left: &Left) -> Result<(), StorageError> {
        self.voices.erase(&left.archive.id);
        self.writer.lock().database.end_left(left)
    }

    /// Ends what is kept of a session that goes on at another node: its beginning. Waits for the disk.
    ///
    /// # Errors
    /// [`StorageError`]
    pub(crate) fn end_moved(&self, id: &str) -> Result<(), StorageError> {
        let mut writer = self.writer.lock();
        self.opened.lock().retain(|session| session.id() != id);
        writer.followed.retain(|_, followed| followed.session.id() != id);
        self.voices.erase(id);
        writer.database.end_moved(id)
    }

    /// Keeps a session that goes on here after another node. What this node kept of it before is in it. Waits for the disk.
    ///
    /// # Errors
    /// [`StorageError`]
    pub(crate) fn follow_moved(&self, session: &Arc<Session>) -> Result<(), StorageError> {
        self.writer.lock().database.forget(session.id())?;
        self.follow(session);
        Ok(())
    }

    /// Whether a session of this id is kept or will be. Does not wait for the disk.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.ids.lock().contains(id)
    }

    /// Writes what is still to be written, stops the thread and leaves the file to others.
    pub fn close(&self) {
        if let Some(recordings) = self.audio.recordings() {
            recordings.close();
        }
        // A thread that has ended needs no word.
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the storage thread panicked; the last events are not kept");
        }
        *self.lock.lock() = None;
    }

    /// The newest `max` kept sessions, newest first.
    ///
    /// # Errors
    /// [`StorageError`]
    pub fn list(&self, max: usize) -> Result<Vec<StoredSession>, StorageError> {
        self.reader.lock().list(max)
    }

    /// An ended stored session, as a session without input, for its past events.
    ///
    /// # Errors
    /// [`StorageError`]
    pub fn load(&self, id: &str) -> Result<Option<Arc<Session>>, StorageError> {
        Ok(self.audio.joined(self.reader.lock().load(id)?))
    }

    /// The newest ended session of this source, as [`Self::load`] gives it.
    ///
    /// # Errors
    /// [`StorageError`]
    pub fn load_newest(&self, source: Source) -> Result<Option<Arc<Session>>, StorageError> {
        Ok(self.audio.joined(self.reader.lock().load_newest(source)?))
    }

    /// Deletes a session permanently: no file contains any of it when this returns. Returns whether it was stored. Takes as
    /// long as rewriting the whole file.
    ///
    /// # Errors
    /// [`StorageError`]
    pub fn forget(&self, id: &str) -> Result<bool, StorageError> {
        let mut writer = self.writer.lock();
        // What can fail comes first, so that a session that stays is still written and can be deleted later.
        self.audio.forget(id)?;
        let was_kept = writer.database.forget(id)?;
        for waiting in [&self.opened, &self.corrected] {
            waiting.lock().retain(|session| session.id() != id);
        }
        writer.followed.retain(|_, followed| followed.session.id() != id);
        self.voices.erase(id);
        self.ids.lock().remove(id);
        if was_kept {
            writer.scrub()?;
        }
        Ok(was_kept)
    }

    /// Forgets what is too old, and takes out of the files what was forgotten.
    fn tidy(&self, writer: &mut Writer) -> Result<(), StorageError> {
        let is_due = writer.expired_at.is_none_or(|at| at.elapsed() >= EXPIRE_EVERY);
        if is_due && (writer.keep.is_some() || self.audio.expires()) {
            let behind_ms = writer.database.follow_clock(&Reading::now())?;
            if behind_ms > 0 {
                let hours = behind_ms / 3_600_000;
                tracing::warn!(
                    hours,
                    "the clock was set forward; the age of kept sessions counts from now on"
                );
            }
            let expired = writer.expire(writer.keep.map(|keep| SystemTime::now() - keep))?;
            self.ids.lock().retain(|id| !expired.contains(id));
            self.audio.expire(&writer.database, &expired);
        }
        if writer.scrub_at.is_some_and(|at| at <= Instant::now())
            && let Err(error) = writer.scrub()
        {
            tracing::warn!(%error, "deleted sessions may be readable in the file still");
        }
        Ok(())
    }

    /// Whether the last attempt to write failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Attempts to write that failed.
    #[must_use]
    pub fn n_errors(&self) -> u64 {
        self.n_errors.load(Ordering::Relaxed)
    }

    /// Sessions that could not be read when the file was opened.
    #[must_use]
    pub fn n_damaged(&self) -> u64 {
        self.n_damaged
    }

    /// Events written.
    #[must_use]
    pub fn n_events(&self) -> u64 {
        self.n_events.load(Ordering::Relaxed)
    }

    /// Writes the events since the last write.
    pub(super) fn write(&self) {
        let mut writer = self.writer.lock();
        std::mem::take(&mut *self.opened.lock()).into_iter().for_each(|session| writer.follow(session));
        let corrected = std::mem::take(&mut *self.corrected.lock());
        let added = corrected.iter().try_for_each(|session| writer.follow_again(session));
        if added.is_err() {
            self.corrected.lock().extend(corrected);
        }
        let outcome = added.and_then(|()| writer.write(&self.n_events));
        let outcome = outcome.and_then(|()| self.tidy(&mut writer));
        if outcome.is_err() {
            let give_up =
                |followed: &Followed| followed.session.channel().handover().give_up(Keeper::Storage);
            writer.followed.values().for_each(give_up);
        }
        let sessions: Vec<_> = writer.followed.values().map(|f| Arc::clone(&f.session)).collect();
        drop(writer);
        match outcome {
            Ok(()) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("sessions are kept again; what was missed is made up for");
                }
            }
            Err(error) => {
                self.n_errors.fetch_add(1, Ordering::Relaxed);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    let reason = error_chain(&error);
                    tracing::error!(reason, "sessions are not kept; they go on, and writing is tried again");
                    for session in sessions {
                        session.warn(
                            WARNING,
                            "labels are not stored at the moment; the server's log has the reason",
                        );
                    }
                }
            }
        }
    }
}

fn wait(stopped: &Receiver<()>) -> Result<(), RecvTimeoutError> {
    stopped.recv_timeout(WRITE_EVERY)
}
