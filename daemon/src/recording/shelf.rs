//! All kept audio: the folder, the thread that writes, and the limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use super::encoder::{EncoderError, Packet};
use super::pending::{Pending, Recorder, Rest, Warn};
use super::track::{Track, TrackError};
use crate::private_file::make_folder;
use crate::protocol::is_session_id;

/// Time between two writes: what a killed process loses.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// Time until a file that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// What the names of the files end with.
const EXTENSION: &str = "opus";
/// More bytes than the head of a file has, which holds no audio.
const MAX_HEAD_BYTES: u64 = 200;
/// Code of the warning to those who follow a session.
const WARNING: &str = "audio_failed";

/// Where audio is kept, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingsParams {
    /// Folder of the files; made if it is not there.
    pub folder: PathBuf,
    /// Bytes of all files; beyond it the audio of the sessions that ended first leaves.
    pub max_bytes: u64,
}

/// The kept audio. Shared; methods block on the disk unless they say otherwise.
#[derive(Debug)]
pub struct Recordings {
    params: RecordingsParams,
    /// Files by session, with their sizes.
    sizes: Mutex<BTreeMap<String, u64>>,
    /// Sessions that began since the thread looked.
    begun: Mutex<Vec<Arc<Pending>>>,
    open: Mutex<Vec<Open>>,
    /// Wakes the thread before its time.
    wake: Sender<()>,
    is_closing: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    n_errors: AtomicU64,
    n_written: AtomicU64,
    is_failing: AtomicBool,
}

/// A file that is written to.
#[derive(Debug)]
struct Open {
    pending: Arc<Pending>,
    /// None until it could be made.
    track: Option<Track>,
    has_warned: bool,
    retry_at: Option<std::time::Instant>,
}

impl Recordings {
    /// Opens the folder and starts the thread `audio`.
    ///
    /// # Errors
    /// The folder cannot be made or read, or there is no thread.
    pub fn open(params: RecordingsParams) -> io::Result<Arc<Self>> {
        make_folder(&params.folder)?;
        let mut sizes = BTreeMap::new();
        for entry in std::fs::read_dir(&params.folder)? {
            let entry = entry?;
            let path = entry.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| is_session_id(id));
            if let Some(id) = id.filter(|_| path.extension().is_some_and(|end| end == EXTENSION)) {
                sizes.insert(id.to_owned(), entry.metadata()?.len());
            }
        }
        let (wake, woken) = bounded(1);
        let recordings = Arc::new(Self {
            params,
            sizes: Mutex::new(sizes),
            begun: Mutex::default(),
            open: Mutex::default(),
            wake,
            is_closing: AtomicBool::new(false),
            thread: Mutex::new(None),
            n_errors: AtomicU64::new(0),
            n_written: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        });
        let us = Arc::downgrade(&recordings);
        let work = move || {
            loop {
                // Early or in time: both write.
                let _ = woken.recv_timeout(WRITE_EVERY);
                let Some(recordings) = us.upgrade() else { return };
                let is_last = recordings.is_closing.load(Ordering::Acquire);
                recordings.write();
                if is_last {
                    return;
                }
            }
        };
        *recordings.thread.lock() = Some(std::thread::Builder::new().name("audio".to_owned()).spawn(work)?);
        Ok(recordings)
    }

    /// Keeps the audio of a session that opens; `warn` reports problems to those who follow it. Does not wait for the disk.
    ///
    /// # Errors
    /// [`EncoderError`]
    pub fn begin(
        &self,
        id: &str,
        warn: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> Result<Recorder, EncoderError> {
        let (recorder, pending) = Recorder::new(id, Box::new(warn) as Warn, self.wake.clone())?;
        self.sizes.lock().insert(id.to_owned(), 0);
        self.begun.lock().push(pending);
        Ok(recorder)
    }

    /// The folder of the files.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.params.folder
    }

    /// Whether audio of this session is kept or will be. Does not wait for the disk.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.sizes.lock().contains_key(id)
    }

    /// Sessions with audio. Does not wait for the disk.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<String> {
        self.sizes.lock().keys().cloned().collect()
    }

    /// The file of a session, open for reading; `None` where there is none. Of a session that has ended it is whole, of
    /// one that runs it has what is written now.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn read(&self, id: &str) -> io::Result<Option<File>> {
        if !self.holds(id) {
            return Ok(None);
        }
        self.write_before_reading(id);
        match File::open(self.path(id)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the audio of a session. Whether there was any.
    ///
    /// # Errors
    /// Of the operating system; the file is there still.
    pub fn forget(&self, id: &str) -> io::Result<bool> {
        // Held while the file goes, so that the thread does not make it again.
        let mut open = self.open.lock();
        let mut begun = self.begun.lock();
        let had_file = match std::fs::remove_file(self.path(id)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        for pending in open.iter().map(|open| &open.pending).chain(begun.iter()).filter(|p| p.id == id) {
            pending.forget();
        }
        open.retain(|open| open.pending.id != id);
        begun.retain(|pending| pending.id != id);
        let had_size = self.sizes.lock().remove(id).is_some();
        Ok(had_file || had_size)
    }

    /// Deletes the audio of sessions that `is_known` does not know; gives their number.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn retain(&self, is_known: impl Fn(&str) -> bool) -> io::Result<usize> {
        let unknown: Vec<String> = self.ids().into_iter().filter(|id| !is_known(id)).collect();
        unknown.iter().try_for_each(|id| self.forget(id).map(|_| ()))?;
        Ok(unknown.len())
    }

    /// Writes what waits, stops the thread.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        // A full channel wakes the thread too; one that has ended needs no word.
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of kept audio panicked; the last second is not kept");
        }
    }

    /// Attempts to write that failed.
    #[must_use]
    pub fn n_errors(&self) -> u64 {
        self.n_errors.load(Ordering::Relaxed)
    }

    /// Bytes written.
    #[must_use]
    pub fn n_written(&self) -> u64 {
        self.n_written.load(Ordering::Relaxed)
    }

    /// Whether audio of a running session cannot be written now.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.sizes.lock().values().sum()
    }

    fn path(&self, id: &str) -> PathBuf {
        self.params.folder.join(format!("{id}.{EXTENSION}"))
    }

    /// Writes what waits of every session.
    fn write(&self) {
        let mut all = self.open.lock();
        self.take_begun(&mut all);
        let running = running(&all);
        all.retain_mut(|open| self.write_one(open, &running));
        let is_failing = all.iter().any(|open| open.retry_at.is_some());
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// Writes what waits of a session whose file is not there yet or gets no more audio. The others wait for the thread,
    /// so that reading often does not make many small pages.
    fn write_before_reading(&self, id: &str) {
        let mut all = self.open.lock();
        self.take_begun(&mut all);
        let running = running(&all);
        all.retain_mut(|open| {
            let is_due = open.pending.id == id && (open.track.is_none() || open.pending.has_ended());
            !is_due || self.write_one(open, &running)
        });
    }

    fn take_begun(&self, all: &mut Vec<Open>) {
        let begun = std::mem::take(&mut *self.begun.lock());
        all.extend(begun.into_iter().map(|pending| Open {
            pending,
            track: None,
            has_warned: false,
            retry_at: None,
        }));
    }

    /// Writes what waits of one session. Whether it goes on.
    fn write_one(&self, open: &mut Open, running: &BTreeSet<String>) -> bool {
        if open.pending.is_forgotten() {
            return false;
        }
        let now = std::time::Instant::now();
        if open.retry_at.is_some_and(|at| now < at) {
            return true;
        }
        let (packets, rest) = open.pending.take();
        let goes_on = rest == Rest::More;
        if packets.is_empty() && goes_on && open.track.is_some() {
            return true;
        }
        let n_frames = open.track.as_ref().map_or(0, Track::n_frames);
        self.make_room(running, bytes_of(&packets, n_frames));
        let outcome = self.write_packets(open, &packets, rest);
        if let Some(track) = &open.track
            && let Some(size) = self.sizes.lock().get_mut(&open.pending.id)
        {
            self.n_written.fetch_add(track.n_bytes().saturating_sub(*size), Ordering::Relaxed);
            *size = track.n_bytes();
        }
        match outcome {
            Ok(()) => {
                if open.retry_at.take().is_some() {
                    tracing::info!(session = open.pending.id, "the audio of the session is kept again");
                }
                goes_on
            }
            Err(error) => {
                self.report(open, &error);
                open.retry_at = Some(now + TRY_AGAIN);
                let n_frames = open.track.as_ref().map_or(0, Track::n_frames);
                open.pending.put_back(packets.into_iter().filter(|(frame, _)| *frame >= n_frames).collect());
                // Nobody waits for the end of a session that has ended: what is written stays.
                goes_on
            }
        }
    }

    fn write_packets(&self, open: &mut Open, packets: &[Packet], rest: Rest) -> Result<(), TrackError> {
        let path = self.path(&open.pending.id);
        if open.track.is_none() {
            let serial = serial_of(&open.pending.id);
            let made = match Track::create(&path, serial, open.pending.pre_skip) {
                Err(TrackError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                    resume_or_begin(&path, serial, open.pending.pre_skip)
                }
                made => made,
            };
            open.track = Some(made?);
        }
        let Some(track) = &mut open.track else { return Ok(()) };
        let room = self.params.max_bytes.saturating_sub(self.n_bytes());
        match rest {
            Rest::End(end) => track.finish(packets, end, room),
            Rest::More | Rest::Later => track.append(packets, room),
        }
    }

    /// Reports the first of several failures of a session in the log and to those who follow it.
    fn report(&self, open: &mut Open, error: &TrackError) {
        self.n_errors.fetch_add(1, Ordering::Relaxed);
        if open.has_warned {
            return;
        }
        open.has_warned = true;
        let cause: &dyn std::error::Error = error;
        let (session, folder) = (&open.pending.id, self.params.folder.display());
        tracing::error!(session, %folder, error = cause, "the audio of a session is not kept; its labels go on");
        (open.pending.warn)(WARNING, "the audio is not kept at the moment; the server's log says why");
    }

    /// Deletes the files that were written to least recently until there is room for `needed` bytes, running sessions
    /// apart.
    fn make_room(&self, running: &BTreeSet<String>, needed: u64) {
        let is_room = || self.n_bytes() + needed <= self.params.max_bytes;
        if is_room() {
            return;
        }
        let age = |id: &String| {
            let written = std::fs::metadata(self.path(id)).and_then(|file| file.modified());
            (written.unwrap_or(SystemTime::UNIX_EPOCH), id.clone())
        };
        let mut oldest: Vec<_> = self.ids().iter().filter(|id| !running.contains(*id)).map(age).collect();
        oldest.sort();
        for (_, id) in oldest {
            if is_room() {
                return;
            }
            match std::fs::remove_file(self.path(&id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::error!(session = id, %error, "the audio of a session cannot be deleted");
                }
                _ => {
                    self.sizes.lock().remove(&id);
                    tracing::info!(session = id, "the audio of a session was deleted to make room");
                }
            }
        }
    }
}

fn running(all: &[Open]) -> BTreeSet<String> {
    all.iter().map(|open| open.pending.id.clone()).collect()
}

/// Goes on with a file; one that was cut off in its head, before any audio, is begun again.
fn resume_or_begin(path: &std::path::Path, serial: u32, pre_skip: u16) -> Result<Track, TrackError> {
    match Track::resume(path) {
        Err(TrackError::Foreign) if std::fs::metadata(path)?.len() < MAX_HEAD_BYTES => {
            std::fs::remove_file(path)?;
            Track::create(path, serial, pre_skip)
        }
        resumed => resumed,
    }
}

/// Bytes that packets take in a file which has `n_frames` frames, at most: with their table, and the silence before them.
fn bytes_of(packets: &[Packet], n_frames: u64) -> u64 {
    const PAGES_BYTES: u64 = 1 << 12;
    let missing = packets.last().map_or(0, |(frame, _)| frame.saturating_sub(n_frames));
    packets.iter().map(|(_, packet)| packet.len() as u64 + 3).sum::<u64>() + missing / 2 + PAGES_BYTES
}

/// The number of a session's stream in its file.
fn serial_of(id: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(id.as_bytes());
    hasher.finish() as u32
}
