//! The output of a session: its journal and its state, read by any number of cursors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use diarized_dsp::SampleIndex;
use diarized_models::diarizer::SpeakerVoice;
use diarized_models::events::{ApplyError, Event, SpeakerId};
use diarized_models::{SessionState, TimedEvent};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::about::About;
use super::archive::Archive;
use super::correction_error::CorrectionError;
use super::counted::{HubHandle, SessionMetrics};
use super::handover::Handover;
use super::journal::{Journal, JournalParams};
use super::ledger::{Again, Entry, Ledger};
use super::source::Source;
use super::state_at::StateAt;
use crate::protocol::Step;
use crate::protocol::server_message::{Body, EndReason, Ended, ServerMessage, Stats, Warning};
use crate::recording::Recordings;

/// The speaking end of a session; written by its thread, read by any number of cursors.
#[derive(Debug)]
pub struct Channel {
    pub(super) id: Arc<str>,
    source: Source,
    pub(super) inner: Mutex<Inner>,
    /// Held while a session that has ended is corrected.
    pub(super) correcting: Mutex<()>,
    /// Number of all events, so that readers know when to read.
    pub(super) tick: watch::Sender<u64>,
    hub: HubHandle,
    /// Events that slow readers got a snapshot instead of.
    pub(super) n_missed: AtomicU64,
    /// The newest snapshot that was encoded, and its key.
    encoded: Mutex<Option<(SnapshotKey, ByteString)>>,
    /// Where the audio of kept sessions is.
    recordings: OnceLock<Arc<Recordings>>,
    /// What it leaves for a process after this one.
    pub(super) handover: Handover,
    /// In a session of another process: number of the last event that was kept of it.
    pub(super) taken_over_at: Mutex<Option<u64>>,
    /// Warning for the return of the publisher: its code and reason.
    pub(super) on_return: Mutex<Option<(&'static str, String)>>,
}

/// What changes a snapshot: its `seq`, whether the session has ended, and whether audio is kept.
type SnapshotKey = (u64, bool, bool);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) journal: Journal,
    /// Shared with snapshots being encoded; cloned on the next event only while one is.
    pub(super) state: Arc<SessionState>,
    pub(super) about: Arc<About>,
    pub(super) ledger: Ledger,
    /// Highest label that was ever given.
    pub(super) last_speaker: u32,
    /// Highest id of a segment that was ever given.
    pub(super) last_segment: u64,
    pub(super) at: SampleIndex,
    /// End of the latest speech.
    pub(super) last_speech: Option<SampleIndex>,
    pub(super) ended: Option<EndReason>,
    /// Whether it has stopped for a process after this one.
    pub(super) is_handed_over: bool,
    pub(super) stats: Option<(Stats, ByteString)>,
    pub(super) n_stats: u64,
    /// Speech of each speaker, after the end of the session.
    voices: BTreeMap<SpeakerId, SpeakerVoice>,
    counted: Arc<SessionMetrics>,
}

impl Channel {
    /// A channel without events; `hub` is notified of every event.
    #[must_use]
    pub fn new(id: &str, source: Source, journal: JournalParams, hub: HubHandle) -> Arc<Self> {
        Arc::new(Self::empty(id, source, journal, hub))
    }

    pub(super) fn empty(id: &str, source: Source, journal: JournalParams, hub: HubHandle) -> Self {
        Self {
            id: id.into(),
            source,
            inner: Mutex::new(Inner {
                journal: Journal::new(journal),
                state: Arc::default(),
                about: Arc::default(),
                ledger: Ledger::default(),
                last_speaker: 0,
                last_segment: 0,
                at: SampleIndex::ZERO,
                last_speech: None,
                ended: None,
                is_handed_over: false,
                stats: None,
                n_stats: 0,
                voices: BTreeMap::new(),
                counted: Arc::clone(&hub.counted),
            }),
            correcting: Mutex::default(),
            tick: watch::Sender::new(0),
            hub,
            n_missed: AtomicU64::new(0),
            encoded: Mutex::new(None),
            recordings: OnceLock::new(),
            handover: Handover::new(),
            taken_over_at: Mutex::default(),
            on_return: Mutex::default(),
        }
    }

    /// The channel of a session that has ended, with the events that led to `moment` as far as they are there.
    #[must_use]
    pub(super) fn archived(
        id: &str,
        source: Source,
        moment: StateAt,
        events: Vec<ByteString>,
        corrections: Vec<Entry>,
    ) -> Arc<Self> {
        let all = JournalParams { max_events: usize::MAX, max_bytes: usize::MAX };
        let mut channel = Self::empty(id, source, all, HubHandle::new());
        channel.fill(moment, events, corrections);
        Arc::new(channel)
    }

    /// The channel of a session of another process that goes on.
    #[must_use]
    pub(crate) fn going_on(archive: Archive, journal: JournalParams, hub: HubHandle) -> Arc<Self> {
        let Archive { id, source, moment, events, corrections, .. } = archive;
        let mut channel = Self::empty(&id, source, journal, hub);
        channel.set_taken_over_at(moment.seq);
        channel.fill(StateAt { ended: None, ..moment }, events, corrections);
        Arc::new(channel)
    }

    pub(super) fn fill(&mut self, moment: StateAt, events: Vec<ByteString>, corrections: Vec<Entry>) {
        let base_seq = moment.seq.saturating_sub(events.len() as u64);
        let inner = self.inner.get_mut();
        inner.journal.fill(base_seq, events);
        inner.put(moment);
        inner.ledger = Ledger::of(corrections);
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
    pub fn now(&self) -> StateAt {
        self.inner.lock().moment()
    }

    /// Where the audio of the session is, if it is kept; only the first call counts.
    pub(crate) fn set_recordings(&self, recordings: &Arc<Recordings>) {
        let _ = self.recordings.set(Arc::clone(recordings));
    }

    /// Whether audio of the session is kept.
    #[must_use]
    pub fn keeps_audio(&self) -> bool {
        self.recordings.get().is_some_and(|recordings| recordings.holds(&self.id))
    }

    /// The labels as they stand, as the wire's `snapshot`.
    #[must_use]
    pub fn snapshot(&self) -> ServerMessage {
        self.message(&self.now(), self.keeps_audio())
    }

    fn message(&self, moment: &StateAt, audio_kept: bool) -> ServerMessage {
        let mut message = moment.snapshot(&self.id, self.source);
        if let Body::Snapshot(snapshot) = &mut message.body {
            snapshot.audio_kept = audio_kept;
        }
        message
    }

    /// The labels as they stand, as the wire's `snapshot`, encoded.
    #[must_use]
    pub fn snapshot_json(&self) -> ByteString {
        self.encoded(&self.now())
    }

    /// The snapshot of a moment, encoded once for all who ask for it: of a long session that takes a while.
    pub(super) fn encoded(&self, moment: &StateAt) -> ByteString {
        let mut newest = self.encoded.lock();
        let key = (moment.seq, moment.ended.is_some(), self.keeps_audio());
        if let Some((known, json)) = newest.as_ref()
            && *known == key
        {
            return json.clone();
        }
        let json = ByteString::from(self.message(moment, key.2).to_json());
        if newest.as_ref().is_none_or(|(known, _)| (known.0, known.1) <= (key.0, key.1)) {
            *newest = Some((key, json.clone()));
        }
        json
    }

    /// Why the session ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<EndReason> {
        self.inner.lock().ended
    }

    /// The newest stats, if any.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.inner.lock().stats.as_ref().map(|(stats, _)| *stats)
    }

    /// Events that slow readers got a snapshot instead of.
    #[must_use]
    pub fn n_missed(&self) -> u64 {
        self.n_missed.load(Ordering::Relaxed)
    }

    /// Bytes of encoded events in the journal.
    #[must_use]
    pub fn journal_bytes(&self) -> usize {
        self.inner.lock().journal.n_bytes()
    }

    /// Number of the newest event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.inner.lock().journal.last_seq()
    }

    /// End of the latest speech that was labelled while it ran.
    #[must_use]
    pub fn last_speech(&self) -> Option<SampleIndex> {
        self.inner.lock().last_speech
    }

    /// Speech of a speaker of an ended session.
    #[must_use]
    pub fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        self.inner.lock().voices.get(&speaker).cloned()
    }

    /// Keeps the speech of each speaker, as long as the ended session can be read.
    pub(super) fn set_voices(&self, voices: BTreeMap<SpeakerId, SpeakerVoice>) {
        self.inner.lock().voices = voices;
    }

    /// Whether it has ended, or has stopped for a process after this one: no event follows here.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let inner = self.inner.lock();
        inner.ended.is_some() || inner.is_handed_over
    }

    /// Waits until the session [is over](Self::is_over).
    pub async fn wait_ended(&self) {
        let mut tick = self.tick.subscribe();
        // The sender lives in `self`, so the wait cannot fail while we are here.
        let _ = tick.wait_for(|_| self.is_over()).await;
    }

    /// The session goes on in a process after this one.
    pub(super) fn hand_over(&self) {
        self.inner.lock().is_handed_over = true;
        self.announce();
    }

    /// Numbers and stores events, and notifies readers.
    ///
    /// # Errors
    /// The event that does not fit the state; events before it are emitted, those after it are not.
    pub(super) fn publish(&self, emitted: &[TimedEvent]) -> Result<(), ApplyError> {
        if emitted.is_empty() {
            return Ok(());
        }
        let outcome = {
            let mut inner = self.inner.lock();
            emitted.iter().try_for_each(|emitted| inner.record(&self.id, emitted))
        };
        self.announce();
        outcome
    }

    /// Emits an event of a correction, also after the end of the session.
    pub(super) fn push_body(&self, at: SampleIndex, body: impl Into<Body>) {
        self.inner.lock().push(&self.id, at, body.into());
        self.announce();
    }

    /// Enters a correction into the ledger and emits the event about it; `entry` gets its number.
    pub(super) fn enter(&self, at: SampleIndex, entry: impl FnOnce(u64) -> Entry) {
        {
            let mut inner = self.inner.lock();
            let entry = entry(inner.ledger.next_id());
            let emitted = inner.ledger.push(entry);
            inner.push(&self.id, at, emitted.into());
        }
        self.announce();
    }

    /// The correction that is undone or made again next, and what that sets.
    pub(super) fn again(&self, again: Again, wanted: Option<u64>) -> Result<(u64, Step), CorrectionError> {
        self.inner.lock().ledger.next(again, wanted)
    }

    /// The corrections of the session that are remembered, the oldest first.
    #[must_use]
    pub fn corrections(&self) -> Vec<Arc<Entry>> {
        self.inner.lock().ledger.entries().cloned().collect()
    }

    /// A label that was never given.
    pub(super) fn next_speaker(&self) -> SpeakerId {
        SpeakerId(self.inner.lock().last_speaker + 1)
    }

    /// Emits an event that is no label, such as a warning; does nothing after the end of the session.
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

    /// Warns everybody who follows the session, unless it has ended.
    pub(crate) fn warn(&self, code: &str, reason: &str) {
        let warning = Warning { code: code.to_owned(), reason: reason.to_owned() };
        self.publish_body(self.now().at, warning);
    }

    /// Makes these the newest stats; those not yet read are forgotten.
    pub(super) fn set_stats(&self, stats: Stats) {
        self.hub.counted.lag.observe(stats.lag_s.0);
        self.show_stats(stats);
    }

    /// The same for stats of another node, which counts them.
    pub(super) fn show_stats(&self, stats: Stats) {
        let json = ServerMessage::to_connection(Some(&self.id), stats).to_json();
        {
            let mut inner = self.inner.lock();
            inner.stats = Some((stats, json.into()));
            inner.n_stats += 1;
        }
        self.announce();
    }

    /// Emits the last event, once; no event may follow it.
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

    pub(super) fn announce(&self) {
        self.tick.send_modify(|n| *n += 1);
        self.hub.tick.send_modify(|n| *n += 1);
    }
}

impl Inner {
    /// Everything but journal and ledger is as at this moment.
    pub(super) fn put(&mut self, moment: StateAt) {
        self.last_speech = moment.state.segments().map(|segment| segment.range.end()).max();
        (self.state, self.about) = (moment.state, moment.about);
        (self.last_speaker, self.last_segment) = (moment.last_speaker, moment.last_segment);
        (self.at, self.ended) = (moment.at, moment.ended);
    }

    pub(super) fn moment(&self) -> StateAt {
        let (state, about) = (Arc::clone(&self.state), Arc::clone(&self.about));
        let (last_speaker, last_segment) = (self.last_speaker, self.last_segment);
        let (seq, at, ended) = (self.journal.last_seq(), self.at, self.ended);
        StateAt { seq, at, state, about, last_speaker, last_segment, ended }
    }

    fn record(&mut self, id: &str, emitted: &TimedEvent) -> Result<(), ApplyError> {
        Arc::make_mut(&mut self.state).apply(&emitted.event)?;
        match &emitted.event {
            Event::Segment(segment) => {
                self.last_speech = self.last_speech.max(Some(segment.range.end()));
                self.last_segment = self.last_segment.max(segment.id.0);
            }
            Event::Speaker(info) => self.last_speaker = self.last_speaker.max(info.id.0),
            _ => {}
        }
        match Body::from_event(&emitted.event, &self.state) {
            Ok(body) => self.push(id, emitted.at, body),
            // An event kind that this protocol version has no message for still is in the snapshots.
            Err(error) => tracing::warn!(session = id, %error, "an event is not published"),
        }
        Ok(())
    }

    fn push(&mut self, id: &str, at: SampleIndex, body: Body) {
        self.at = self.at.max(at);
        self.counted.event(body.kind());
        if About::takes(&body) {
            Arc::make_mut(&mut self.about).apply(&body);
        }
        let seq = Some(self.journal.last_seq() + 1);
        let message = ServerMessage { session: Some(id.to_owned()), seq, at: Some(at.into()), body };
        self.journal.push(message.to_json().into());
    }
}
