//! The sessions by id: opened, found, ended and forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::counters::Counters;
use super::elsewhere::Elsewhere;
use super::given::Given;
use super::held::Held;
use super::ids::{self, MICROPHONE_SESSION};
use super::open_error::OpenError;
use crate::metrics::PrometheusText;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::recording::Recorder;
use crate::secret::random_hex;
use crate::session::{Channel, EngineFactory, JournalParams, Parts, Secret, Session, Source, StartError};
use crate::session::{HubHandle, InferenceStats, SessionMetrics};
use crate::storage::{Storage, StorageError, StoredSession};
use crate::tenants::Tenants;

/// How much a hub holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubParams {
    /// Live sessions at most, the microphone's aside.
    pub max_sessions: usize,
    /// Ended sessions that stay readable; the oldest leave first.
    pub max_ended: usize,
    /// Bytes of their journals together; the newest ended session stays whatever its size.
    pub max_ended_bytes: usize,
    /// What each session's journal keeps.
    pub journal: JournalParams,
}

impl Default for HubParams {
    fn default() -> Self {
        Self { max_sessions: 64, max_ended: 64, max_ended_bytes: 64 << 20, journal: JournalParams::default() }
    }
}

/// Health check: returns a problem, if any.
pub(super) type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Something that people should know though the server is ready, if there is any.
pub(super) type Remark = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Called for every session that opens.
type OnOpen = Box<dyn Fn(&Arc<Session>) + Send + Sync>;
/// Adds numbers to the page for Prometheus.
type MetricsPart = Box<dyn Fn(&mut PrometheusText) + Send + Sync>;

/// All sessions. Shared by every connection; no method waits but [`Hub::drained`].
pub struct Hub {
    pub(super) params: HubParams,
    pub(super) factory: Arc<dyn EngineFactory>,
    /// Where sessions are kept, if they are.
    pub(super) storage: Option<Arc<Storage>>,
    /// The sessions of other nodes, where this is one of several.
    pub(super) elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    /// The limits of tokens, where there are tokens.
    pub(super) tenants: OnceLock<Arc<Tenants>>,
    pub(super) inner: Mutex<Inner>,
    /// Counters shared with sessions: events, openings, and common metrics.
    pub(super) side: HubHandle,
    /// What else must be well for the server to be ready.
    pub(super) checks: Mutex<Vec<Check>>,
    pub(super) remarks: Mutex<Vec<Remark>>,
    pub(super) on_open: Mutex<Vec<OnOpen>>,
    pub(super) metrics: Mutex<Vec<MetricsPart>>,
    pub(super) shutting_down: watch::Sender<bool>,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) sessions: BTreeMap<String, Arc<Session>>,
    /// Ids in the order of opening, to find the oldest ended one.
    pub(super) order: VecDeque<Arc<Session>>,
    pub(super) held: Held,
    pub(super) given: Given,
    pub(super) n_opened: u64,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without sessions, whose sessions' diarizers come from `factory`, and which keeps none.
    #[must_use]
    pub fn new(params: HubParams, factory: Arc<dyn EngineFactory>) -> Arc<Self> {
        Self::keeping(params, factory, None)
    }

    /// The same, with sessions stored in `storage`.
    #[must_use]
    pub fn keeping(
        params: HubParams,
        factory: Arc<dyn EngineFactory>,
        storage: Option<Arc<Storage>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            params,
            factory,
            storage,
            elsewhere: OnceLock::new(),
            tenants: OnceLock::new(),
            inner: Mutex::default(),
            side: HubHandle::new(),
            checks: Mutex::default(),
            remarks: Mutex::default(),
            on_open: Mutex::default(),
            metrics: Mutex::default(),
            shutting_down: watch::Sender::new(false),
            counters: Counters::default(),
        })
    }

    /// Name of the voice model that the sessions use.
    #[must_use]
    pub fn model(&self) -> &str {
        self.factory.model()
    }

    /// Opens a session; without an id it gets one of its own. An id that an ended session has, in memory or kept, is not
    /// given again: the new session's ends in a number, as `a-2`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind.
    pub fn open(
        &self,
        id: Option<&str>,
        source: Source,
        format: AudioFormat,
    ) -> Result<Arc<Session>, OpenError> {
        self.open_with(id, source, format, SessionOptions::default())
    }

    /// Like [`Self::open`], with what its client wants of it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        &self,
        id: Option<&str>,
        source: Source,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Arc<Session>, OpenError> {
        self.open_owned("", id, source, format, options)
    }

    /// Like [`Self::open_with`], for the client with this token; empty for the server's own.
    pub(super) fn open_owned(
        &self,
        owner: &str,
        id: Option<&str>,
        source: Source,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Arc<Session>, OpenError> {
        let outcome = self.try_open(owner, id, source, format, options);
        match &outcome {
            Ok(session) => {
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    session = session.id(),
                    source = source.as_str(),
                    encoding = format.encoding.as_str(),
                    sample_rate = format.sample_rate,
                    channels = format.channels,
                    "session opened"
                );
                if let Some(storage) = &self.storage {
                    storage.follow(session);
                }
                self.on_open.lock().iter().for_each(|call| call(session));
                self.side.tick.send_modify(|n| *n += 1);
            }
            // Counted by itself.
            Err(OpenError::OverLimit(_)) => {}
            Err(_) => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        outcome
    }

    fn try_open(
        &self,
        owner: &str,
        id: Option<&str>,
        source: Source,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Arc<Session>, OpenError> {
        // Making an engine takes milliseconds at most; the lock is held so that two of one id cannot both open.
        let mut inner = self.inner.lock();
        if *self.shutting_down.borrow() {
            return Err(OpenError::ShuttingDown);
        }
        let id = self.free_id(&inner, id, source)?;
        self.may_open(&inner, owner)?;
        if source == Source::Stream && inner.n_live() >= self.params.max_sessions {
            return Err(OpenError::TooMany { max: self.params.max_sessions });
        }
        if source == Source::Stream && self.inference().overloaded {
            return Err(OpenError::Overloaded);
        }
        let engine = self.factory.engine_for(options).map_err(StartError::Engine)?;
        let channel = Channel::new(&id, source, self.params.journal, self.side.clone());
        let recorder = self.recorder(&channel, options)?;
        let (number, secret) = (inner.n_opened, Secret::New(random_hex(16)));
        let (began, n_received) = (SystemTime::now(), 0);
        let parts = Parts { number, channel, format, options, secret, began, n_received, engine, recorder };
        let session = Session::start(parts)?;
        self.set_owner(&session, owner);
        inner.n_opened += 1;
        inner.given.add(&id);
        inner.sessions.insert(id, Arc::clone(&session));
        inner.order.push_back(Arc::clone(&session));
        self.forget_oldest(&mut inner);
        Ok(session)
    }

    /// The id of a new session for which this one is wanted.
    pub(super) fn free_id(
        &self,
        inner: &Inner,
        id: Option<&str>,
        source: Source,
    ) -> Result<String, OpenError> {
        if let Some(id) = id.filter(|_| source == Source::Stream)
            && (inner.sessions.get(id).is_some_and(|s| s.channel().ended().is_none())
                || (!inner.sessions.contains_key(id) && self.known_elsewhere(id) == Some(true)))
        {
            return Err(OpenError::Conflict { id: id.to_owned() });
        }
        let is_taken = |id: &str| self.has_had(inner, id) || self.known_elsewhere(id).is_some();
        Ok(match id {
            None => ids::new(is_taken),
            Some(id) => ids::unused(id, is_taken),
        })
    }

    /// Whether a session has this id or had it, and was not deleted. Of those that are neither in memory nor kept, the last
    /// 100,000 since the start count.
    #[must_use]
    pub fn knows_id(&self, id: &str) -> bool {
        self.has_had(&self.inner.lock(), id)
    }

    fn has_had(&self, inner: &Inner, id: &str) -> bool {
        inner.sessions.contains_key(id)
            || inner.given.has(id)
            || self.storage.as_ref().is_some_and(|storage| storage.holds(id))
    }

    /// What keeps the audio of a session, where audio is kept and its client has not refused.
    pub(super) fn recorder(
        &self,
        channel: &Arc<Channel>,
        options: SessionOptions,
    ) -> Result<Option<Recorder>, StartError> {
        let recordings = self.storage.as_ref().and_then(|storage| storage.keeps_audio_in());
        let Some(recordings) = recordings.filter(|_| options.keep_audio != Some(false)) else {
            return Ok(None);
        };
        let to_warn = Arc::downgrade(channel);
        let warn = move |code: &str, reason: &str| {
            if let Some(channel) = to_warn.upgrade() {
                channel.warn(code, reason);
            }
        };
        let recorder = recordings.begin(channel.id(), warn)?;
        channel.set_recordings(recordings);
        Ok(Some(recorder))
    }

    /// The session of this id in memory, live or ended. [`MICROPHONE_SESSION`] is the one of the microphone that runs, or
    /// else the newest.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.inner.lock().get(id)
    }

    /// The newest `max` kept sessions that are no longer in memory, newest first.
    ///
    /// # Errors
    /// [`StorageError`]
    pub async fn kept(&self, max: usize) -> Result<Vec<StoredSession>, StorageError> {
        let Some(storage) = &self.storage else { return Ok(Vec::new()) };
        let storage = Arc::clone(storage);
        let mut all = blocking(move || storage.list(max)).await?;
        let inner = self.inner.lock();
        all.retain(|kept| !inner.sessions.contains_key(&kept.id));
        drop(inner);
        all.retain(|kept| !self.has_moved(&kept.id));
        Ok(all)
    }

    /// Where sessions are kept, if they are.
    #[must_use]
    pub fn storage(&self) -> Option<&Arc<Storage>> {
        self.storage.as_ref()
    }

    /// All sessions in memory, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.inner.lock().order.iter().cloned().collect()
    }

    /// A receiver that changes at every event and opening of any session.
    #[must_use]
    pub fn tick(&self) -> watch::Receiver<u64> {
        self.side.tick.subscribe()
    }

    /// A receiver that turns `true` when the process is on its way out.
    #[must_use]
    pub fn shutting_down(&self) -> watch::Receiver<bool> {
        self.shutting_down.subscribe()
    }

    /// Calls this for every session that opens from now on, before its first audio.
    pub fn on_open(&self, call: impl Fn(&Arc<Session>) + Send + Sync + 'static) {
        self.on_open.lock().push(Box::new(call));
    }

    /// Adds numbers of something besides sessions to the page for Prometheus.
    pub fn add_metrics(&self, write: impl Fn(&mut PrometheusText) + Send + Sync + 'static) {
        self.metrics.lock().push(Box::new(write));
    }

    /// Writes what was added.
    pub fn write_metrics(&self, page: &mut PrometheusText) {
        self.metrics.lock().iter().for_each(|write| write(page));
    }

    /// How the workers that embed for all sessions are doing.
    #[must_use]
    pub fn inference(&self) -> InferenceStats {
        self.factory.inference()
    }

    /// What all sessions have counted together.
    #[must_use]
    pub fn counted(&self) -> &SessionMetrics {
        &self.side.counted
    }

    /// Opens no more sessions and stops the live ones after what is queued: those that can go on after a restart are left to
    /// it, all others end. Returns at once.
    pub fn shut_down(&self) {
        let sessions = {
            let inner = self.inner.lock();
            self.shutting_down.send_replace(true);
            inner.order.iter().cloned().collect::<Vec<_>>()
        };
        sessions.iter().for_each(|session| self.stop(session));
        // Sessions of other nodes go on there: their followers find them when this node is back.
        self.elsewhere()
            .iter()
            .flat_map(|elsewhere| elsewhere.followed())
            .for_each(|session| session.channel().retire());
        self.side.tick.send_modify(|n| *n += 1);
    }

    /// Waits until every session has ended. Only of use after [`Self::shut_down`].
    pub async fn drained(&self) {
        for session in self.sessions() {
            session.channel().wait_ended().await;
        }
    }
}

impl Inner {
    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        let named = self.sessions.get(id);
        if named.is_some() || id != MICROPHONE_SESSION {
            return named.cloned();
        }
        let of_microphone = || self.order.iter().rev().filter(|s| s.channel().source() == Source::Microphone);
        let live = of_microphone().find(|s| s.end_reason().is_none());
        live.or_else(|| of_microphone().next()).cloned()
    }
}

/// Runs disk operations on a thread for blocking work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StorageError::Thread(std::io::Error::other(error))),
    }
}
