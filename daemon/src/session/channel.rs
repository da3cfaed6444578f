//! What a session says: its journal and its state, and cursors that follow them without loss or doubling.
//!
//! A cursor reads the journal at its own pace, so a slow reader costs nobody anything: when the events it has not
//! read have left the journal, it is told how many it missed and gets a fresh snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::Utf8Bytes;
use diarized_dsp::SampleIndex;
use diarized_models::diarizer::SpeakerVoice;
use diarized_models::events::{ApplyError, SpeakerId};
use diarized_models::{Said, SessionState};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::journal::{Journal, JournalParams};
use super::source::Source;
use crate::metrics::{Count, Histogram};
use crate::protocol::server_message::{Body, EndReason, Ended, Lagged, ServerMessage, Snapshot, Stats};

/// What all sessions of a hub count together.
#[derive(Debug)]
pub struct Counted {
    /// Audio received and not yet heard, each time that stats are told.
    pub lag: Histogram,
    /// Events said, in the order of [`Body::TYPES`].
    events: Vec<Count>,
}

/// Bounds of the lag, in seconds.
const LAG_BOUNDS_S: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// What is no event of a session.
const NOT_EVENTS: [&str; 6] = ["started", "snapshot", "ack", "stats", "lagged", "error"];

impl Default for Counted {
    fn default() -> Self {
        let events = Body::TYPES.iter().map(|_| Count::default()).collect();
        Self { lag: Histogram::new(LAG_BOUNDS_S), events }
    }
}

impl Counted {
    /// Events said, by their type.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Body::TYPES.iter().zip(&self.events).map(|(kind, n)| (*kind, n.get()));
        all.filter(|(kind, _)| !NOT_EVENTS.contains(kind))
    }

    fn event(&self, kind: &str) {
        if let Some(idx) = Body::TYPES.iter().position(|known| *known == kind) {
            self.events[idx].add(1);
        }
    }
}

/// What a session tells the hub that holds it.
#[derive(Debug, Clone)]
pub struct HubSide {
    /// Counts everything said, for whoever follows all sessions.
    pub tick: watch::Sender<u64>,
    /// What all sessions count together.
    pub counted: Arc<Counted>,
}

impl HubSide {
    /// A hub's side before anything was said.
    #[must_use]
    pub fn new() -> Self {
        Self { tick: watch::Sender::new(0), counted: Arc::default() }
    }
}

impl Default for HubSide {
    fn default() -> Self {
        Self::new()
    }
}

/// The speaking end of a session; written by its thread, read by any number of cursors.
#[derive(Debug)]
pub struct Channel {
    id: Arc<str>,
    source: Source,
    inner: Mutex<Inner>,
    /// Counts everything said, so that readers know when to look.
    tick: watch::Sender<u64>,
    hub: HubSide,
    /// Events that slow readers got a snapshot instead of.
    n_missed: AtomicU64,
    /// The newest snapshot that was encoded, its `seq` and whether it is the last.
    encoded: Mutex<Option<(u64, bool, Utf8Bytes)>>,
}

#[derive(Debug)]
struct Inner {
    journal: Journal,
    /// Shared with snapshots being encoded; cloned on the next event only while one is.
    state: Arc<SessionState>,
    at: SampleIndex,
    ended: Option<EndReason>,
    stats: Option<(Stats, Utf8Bytes)>,
    n_stats: u64,
    /// What was heard of each speaker, once the session has ended.
    voices: BTreeMap<SpeakerId, SpeakerVoice>,
    counted: Arc<Counted>,
}

/// The state of a session at one moment.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Number of the last event in it.
    pub seq: u64,
    /// Audio heard when that was said.
    pub at: SampleIndex,
    /// The labels.
    pub state: Arc<SessionState>,
    /// Why it ended, if it has.
    pub ended: Option<EndReason>,
}

impl Channel {
    /// A channel without events; `hub` learns of everything said.
    #[must_use]
    pub fn new(id: &str, source: Source, journal: JournalParams, hub: HubSide) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            source,
            inner: Mutex::new(Inner {
                journal: Journal::new(journal),
                state: Arc::default(),
                at: SampleIndex::ZERO,
                ended: None,
                stats: None,
                n_stats: 0,
                voices: BTreeMap::new(),
                counted: Arc::clone(&hub.counted),
            }),
            tick: watch::Sender::new(0),
            hub,
            n_missed: AtomicU64::new(0),
            encoded: Mutex::new(None),
        })
    }

    /// The channel of a session that has ended, with the events that led to `moment` as far as they are there.
    #[must_use]
    pub(super) fn archived(id: &str, source: Source, moment: Moment, events: Vec<Utf8Bytes>) -> Arc<Self> {
        let base_seq = moment.seq.saturating_sub(events.len() as u64);
        let channel = Self::new(id, source, JournalParams::default(), HubSide::new());
        {
            let mut inner = channel.inner.lock();
            inner.journal = Journal::archived(base_seq, events);
            inner.state = moment.state;
            inner.at = moment.at;
            inner.ended = moment.ended;
        }
        channel
    }

    /// Id of the session.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the audio comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The labels as they stand.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.inner.lock().moment()
    }

    /// The labels as they stand, as the wire's `snapshot`.
    #[must_use]
    pub fn snapshot(&self) -> ServerMessage {
        self.snapshot_of(&self.now())
    }

    /// The labels as they stand, as the wire's `snapshot`, encoded.
    #[must_use]
    pub fn snapshot_json(&self) -> Utf8Bytes {
        self.encoded(&self.now())
    }

    /// The snapshot of a moment, encoded once for all who ask for it: of a long session that takes a while.
    fn encoded(&self, moment: &Moment) -> Utf8Bytes {
        let mut newest = self.encoded.lock();
        let key = (moment.seq, moment.ended.is_some());
        if let Some((seq, is_last, json)) = newest.as_ref()
            && (*seq, *is_last) == key
        {
            return json.clone();
        }
        let json = Utf8Bytes::from(self.snapshot_of(moment).to_json());
        if newest.as_ref().is_none_or(|(seq, is_last, _)| (*seq, *is_last) < key) {
            *newest = Some((key.0, key.1, json.clone()));
        }
        json
    }

    fn snapshot_of(&self, moment: &Moment) -> ServerMessage {
        ServerMessage {
            session: Some(self.id.to_string()),
            seq: Some(moment.seq),
            at: Some(moment.at.into()),
            body: Snapshot::of(&moment.state, self.source.as_str(), moment.ended).into(),
        }
    }

    /// Why the session ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<EndReason> {
        self.inner.lock().ended
    }

    /// The newest stats, if any were said.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.inner.lock().stats.as_ref().map(|(stats, _)| *stats)
    }

    /// Events that slow readers got a snapshot instead of.
    #[must_use]
    pub fn n_missed(&self) -> u64 {
        self.n_missed.load(Ordering::Relaxed)
    }

    /// Number of the newest event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.inner.lock().journal.last_seq()
    }

    /// What was heard of a speaker of a session that has ended.
    #[must_use]
    pub fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        self.inner.lock().voices.get(&speaker).cloned()
    }

    /// Keeps what was heard of each speaker, for as long as the ended session can be read.
    pub(super) fn set_voices(&self, voices: BTreeMap<SpeakerId, SpeakerVoice>) {
        self.inner.lock().voices = voices;
    }

    /// Waits until the session has ended.
    pub async fn wait_ended(&self) {
        let mut tick = self.tick.subscribe();
        // The sender lives in `self`, so the wait cannot fail while we are here.
        let _ = tick.wait_for(|_| self.ended().is_some()).await;
    }

    /// Numbers, keeps and announces what was said.
    ///
    /// # Errors
    /// The event that does not fit the state; events before it are said, those after it are not.
    pub(super) fn publish(&self, said: &[Said]) -> Result<(), ApplyError> {
        if said.is_empty() {
            return Ok(());
        }
        let outcome = {
            let mut inner = self.inner.lock();
            said.iter().try_for_each(|said| inner.say(&self.id, said))
        };
        self.announce();
        outcome
    }

    /// Says something that is no label, such as a warning, as the next event; nothing once the session has ended.
    pub(super) fn publish_body(&self, at: SampleIndex, body: impl Into<Body>) {
        {
            let mut inner = self.inner.lock();
            if inner.ended.is_some() {
                return;
            }
            inner.push(&self.id, at, body.into());
        }
        self.announce();
    }

    /// Makes these the newest stats; those not yet read are forgotten.
    pub(super) fn set_stats(&self, stats: Stats) {
        self.hub.counted.lag.observe(stats.lag_s.0);
        let json = ServerMessage::to_connection(Some(&self.id), stats).to_json();
        {
            let mut inner = self.inner.lock();
            inner.stats = Some((stats, json.into()));
            inner.n_stats += 1;
        }
        self.announce();
    }

    /// Says the last event, once; nothing may be said after it.
    pub(super) fn end(&self, at: SampleIndex, reason: EndReason) {
        {
            let mut inner = self.inner.lock();
            if inner.ended.is_some() {
                return;
            }
            let speakers = inner.state.speakers().len();
            inner.push(&self.id, at, Ended { duration_s: at.into(), speakers, reason }.into());
            inner.ended = Some(reason);
        }
        self.announce();
    }

    fn announce(&self) {
        self.tick.send_modify(|n| *n += 1);
        self.hub.tick.send_modify(|n| *n += 1);
    }
}

impl Inner {
    fn moment(&self) -> Moment {
        let (seq, state) = (self.journal.last_seq(), Arc::clone(&self.state));
        Moment { seq, at: self.at, state, ended: self.ended }
    }

    fn say(&mut self, id: &str, said: &Said) -> Result<(), ApplyError> {
        Arc::make_mut(&mut self.state).apply(&said.event)?;
        match Body::from_event(&said.event, &self.state) {
            Ok(body) => self.push(id, said.at, body),
            // An event kind that this protocol version has no message for still is in the snapshots.
            Err(error) => tracing::warn!(session = id, %error, "an event is not published"),
        }
        Ok(())
    }

    fn push(&mut self, id: &str, at: SampleIndex, body: Body) {
        self.at = self.at.max(at);
        self.counted.event(body.kind());
        let seq = Some(self.journal.last_seq() + 1);
        let message = ServerMessage { session: Some(id.to_owned()), seq, at: Some(at.into()), body };
        self.journal.push(message.to_json().into());
    }
}

/// What [`Cursor::read`] left to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// There is more to read now.
    More,
    /// Everything said so far was read; [`Cursor::changed`] waits for more.
    UpToDate,
    /// Everything was read and the session has ended.
    Ended(EndReason),
}

/// Numbered events for whoever keeps them, and the labels that they lead to.
#[derive(Debug)]
pub struct Batch {
    /// The labels to begin anew with, when the events before `first_seq` are gone.
    pub restart: Option<Moment>,
    /// Number of the first of `events`; of the next event, where there are none.
    pub first_seq: u64,
    /// Encoded events, one after the other.
    pub events: Vec<Utf8Bytes>,
    /// The session when this was read.
    pub now: Moment,
    /// What is left to read.
    pub delivery: Delivery,
}

impl Batch {
    /// Whether nothing new is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.restart.is_none() && self.events.is_empty()
    }
}

/// One reader's place in a session.
#[derive(Debug)]
pub struct Cursor {
    channel: Arc<Channel>,
    tick: watch::Receiver<u64>,
    next_seq: u64,
    wants_snapshot: bool,
    n_stats: u64,
}

impl Cursor {
    /// A reader that gets a snapshot first, and then every event after it.
    #[must_use]
    pub fn from_now(channel: &Arc<Channel>) -> Self {
        let tick = channel.tick.subscribe();
        Self { channel: Arc::clone(channel), tick, next_seq: 0, wants_snapshot: true, n_stats: 0 }
    }

    /// A reader that has every event up to `seq` and gets those after it; if some of them have left the journal,
    /// it is told so and gets a snapshot first. A `seq` that the session has not reached gives a snapshot.
    #[must_use]
    pub fn since(channel: &Arc<Channel>, seq: u64) -> Self {
        let mut cursor = Self::from_now(channel);
        // Whoever followed a session up to its interruption may have heard events that are lost, under numbers that
        // what is kept has given to others.
        let is_interrupted = channel.ended() == Some(EndReason::Interrupted);
        cursor.wants_snapshot = seq > channel.last_seq() || (is_interrupted && seq == channel.last_seq());
        cursor.next_seq = seq.saturating_add(1);
        cursor
    }

    /// Makes the next [`Self::read_events`] begin anew with the labels as they stand.
    pub(crate) fn restart(&mut self) {
        self.wants_snapshot = true;
    }

    /// The session that is read.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The next events, at most `max`, for whoever keeps them and wants no stats.
    pub fn read_events(&mut self, max: usize) -> Batch {
        self.tick.mark_unchanged();
        let inner = self.channel.inner.lock();
        let now = inner.moment();
        let is_behind = self.wants_snapshot || self.next_seq < inner.journal.first_seq();
        let restart = is_behind.then(|| now.clone());
        if restart.is_some() {
            self.next_seq = now.seq + 1;
            self.wants_snapshot = false;
        }
        let first_seq = self.next_seq;
        let events: Vec<_> = inner.journal.from(first_seq, max).into_iter().flatten().cloned().collect();
        self.next_seq += events.len() as u64;
        let delivery = match now.ended {
            _ if self.next_seq <= inner.journal.last_seq() => Delivery::More,
            Some(reason) => Delivery::Ended(reason),
            None => Delivery::UpToDate,
        };
        Batch { restart, first_seq, events, now, delivery }
    }

    /// Appends what comes next to `out`, at most `max` events.
    pub fn read(&mut self, max: usize, out: &mut Vec<Utf8Bytes>) -> Delivery {
        self.tick.mark_unchanged();
        let (moment, more, ended, stats) = {
            let inner = self.channel.inner.lock();
            let lagged = !self.wants_snapshot && self.next_seq < inner.journal.first_seq();
            let moment = (self.wants_snapshot || lagged).then(|| inner.moment());
            let moment = moment.map(|moment| {
                let missed = if lagged { moment.seq + 1 - self.next_seq } else { 0 };
                (missed, moment)
            });
            if let Some((_, moment)) = &moment {
                self.next_seq = moment.seq + 1;
                self.wants_snapshot = false;
            } else if let Some(entries) = inner.journal.from(self.next_seq, max) {
                let before = out.len();
                out.extend(entries.cloned());
                self.next_seq += (out.len() - before) as u64;
            }
            let more = self.next_seq <= inner.journal.last_seq();
            let stats = (inner.n_stats != self.n_stats).then(|| inner.stats.clone()).flatten();
            (
                moment,
                more,
                inner.ended,
                if more { None } else { stats.map(|(_, json)| (inner.n_stats, json)) },
            )
        };
        // Encoding a long session takes a while: the session's thread is not kept waiting for it.
        if let Some((missed, moment)) = moment {
            if missed > 0 {
                self.channel.n_missed.fetch_add(missed, Ordering::Relaxed);
                let lagged = Lagged { missed };
                out.push(ServerMessage::to_connection(Some(&self.channel.id), lagged).to_json().into());
            }
            out.push(self.channel.encoded(&moment));
        }
        if let Some((n_stats, json)) = stats {
            self.n_stats = n_stats;
            out.push(json);
        }
        match ended {
            _ if more => Delivery::More,
            Some(reason) => Delivery::Ended(reason),
            None => Delivery::UpToDate,
        }
    }

    /// Waits until something was said since the last [`Self::read`].
    pub async fn changed(&mut self) {
        // The sender lives in the channel that the cursor holds, so it cannot be gone.
        let _ = self.tick.changed().await;
    }
}
