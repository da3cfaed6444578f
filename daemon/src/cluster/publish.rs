//! One session of this node, written to its subject as it goes on.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Operation, UpdateErrorKind};
use diarized_dsp::SampleIndex;
use tokio::time::{Instant, sleep, timeout};

use super::ahead;
use super::copies::Copies;
use super::error::{ClusterError, refused};
use super::frames::{Content, last_event};
use super::health::Part;
use super::link::{Link, Stores};
use super::log::{Log, Stop};
use super::node::Own;
use super::record::{GoingOn, Record};
use crate::session::{Batch, Cursor, Entry, FedBy, Keeper, ReadStatus, Session, StateAt};

/// Events that are written together.
const MAX_BATCH: usize = 500;
/// Time between two records of a session whose numbers have changed: so much audio its publisher keeps for the next node.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// Least time between two copies of the voices; a new speaker makes one at once. Most of the bytes in NATS are copies.
const COPY_EVERY: Duration = Duration::from_secs(10);
/// Time between two `stats`.
const STATS_EVERY: Duration = Duration::from_secs(2);
/// Bytes of events after which a snapshot shortens the way of new readers.
const SNAPSHOT_AFTER: usize = 256 << 10;
/// Wait before NATS is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a session is written no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has ended, and all of it is there.
    Ended,
    /// It goes on in a process after this one.
    HandedOver,
    /// Another node has ended it, or writes it.
    Fenced,
    /// NATS has nothing of it any more.
    Emptied,
    /// It goes on at another node.
    Moved,
    /// Another session has its id.
    Conflict,
    /// It is deleted.
    Deleted,
}

/// What the writers of all sessions share.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) link: Arc<Link>,
    pub(super) own: Arc<Own>,
    pub(super) copies: Arc<Copies>,
    /// Whether this process has written the session before.
    pub(super) is_again: bool,
}

/// The writer of one session.
pub(super) struct Publisher {
    link: Arc<Link>,
    stores: Stores,
    own: Arc<Own>,
    copies: Arc<Copies>,
    session: Arc<Session>,
    cursor: Cursor,
    log: Log,
    /// Number of the last event that is there.
    seq: u64,
    /// Where the newest snapshot is; readers begin at the one before it, so that they have some of the past.
    newest: u64,
    /// How another node goes on with it, from what is there.
    going_on: GoingOn,
    /// The newest copy of its voices, until it is there.
    voices: Option<Arc<[u8]>>,
    /// When the last copy was made, and for how many speakers.
    copied: Option<(Instant, usize)>,
    /// Last that was written of the record, and its revision.
    record: Record,
    revision: u64,
    recorded_at: Instant,
    stats_at: Instant,
    /// Where a snapshot does not continue what is there: the last event that is still good.
    kept: Option<u64>,
    n_bytes: usize,
    snapshot_at: Instant,
}

impl Publisher {
    /// Finds out what is there of the session, and goes on behind it. Waits as long as NATS is away.
    ///
    /// # Errors
    /// [`Outcome::Conflict`], [`Outcome::Fenced`], [`Outcome::Moved`]
    pub(super) async fn open(place: Place, session: Arc<Session>) -> Result<Self, Outcome> {
        let link = &place.link;
        loop {
            let stores = link.stores().await;
            match Self::try_open(&place, &stores, &session).await {
                Ok(opened) => return opened,
                Err(error) => {
                    if link.health.is_connected() && link.health.failed(Part::Events, &error.to_string()) {
                        tracing::warn!(session = session.id(), %error, "a session does not reach the other nodes");
                    }
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn try_open(
        place: &Place,
        stores: &Stores,
        session: &Arc<Session>,
    ) -> Result<Result<Self, Outcome>, ClusterError> {
        let (record, revision) = match claim(stores, &place.own, session).await? {
            Ok(claimed) => claimed,
            Err(outcome) => return Ok(Err(outcome)),
        };
        if record.reason.is_some() && session.channel().ended().is_none() {
            return Ok(Err(Outcome::Fenced));
        }
        let (mut log, last) = Log::open(&place.link, stores, session.id()).await?;
        // A mark before the first event is as if nothing were there.
        let there = last.as_deref().map(last_event).filter(|there| *there != Some(0));
        let there = there.map(|there| there.unwrap_or(0));
        let (cursor, kept) = begin(session, there, place.is_again);
        if kept.is_none() {
            log.continue_after(there.unwrap_or(0));
        }
        let now = Instant::now();
        Ok(Ok(Self {
            link: Arc::clone(&place.link),
            stores: stores.clone(),
            own: Arc::clone(&place.own),
            copies: Arc::clone(&place.copies),
            session: Arc::clone(session),
            cursor,
            log,
            seq: there.unwrap_or(0),
            newest: record.base,
            going_on: record.going_on,
            voices: None,
            copied: None,
            record,
            revision,
            recorded_at: now,
            stats_at: now,
            kept,
            n_bytes: 0,
            snapshot_at: now,
        }))
    }

    /// Writes until the session is over; gives why, and the number of the last event that is there.
    pub(super) async fn run(self) -> (Outcome, u64) {
        let (link, channel) = (Arc::clone(&self.link), Arc::clone(self.session.channel()));
        let written = self.log.written();
        tokio::select! {
            over = self.write_all() => over,
            () = ahead::send(&link, &channel, written) => std::future::pending().await,
        }
    }

    async fn write_all(mut self) -> (Outcome, u64) {
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(over)) => return (over, self.seq),
                Err(Stop::Fenced) => return (Outcome::Fenced, self.seq),
                Err(Stop::Emptied) => return (Outcome::Emptied, self.seq),
            }
        }
    }

    /// Writes what is new, and waits for more.
    async fn step(&mut self) -> Result<Option<Outcome>, Stop> {
        // Before the events are read, so that none that it follows from is missing.
        let labelled = self.take_left();
        let batch = self.cursor.read_events(MAX_BATCH);
        self.write(&batch).await?;
        let is_over = matches!(batch.delivery, ReadStatus::Ended(_) | ReadStatus::HandedOver);
        let is_due = self.recorded_at.elapsed() >= RECORD_EVERY && batch.delivery != ReadStatus::More;
        if is_over || is_due {
            self.copy_voices(is_over).await;
            if let Some(labelled) = labelled {
                self.going_on.labelled = labelled.0;
            }
            self.going_on.is_left = batch.delivery == ReadStatus::HandedOver;
            self.write_record(is_over).await?;
        }
        match batch.delivery {
            ReadStatus::More => {}
            ReadStatus::Ended(_) => {
                self.session.channel().handover().release(Keeper::Cluster);
                self.copies.erase(&self.stores, self.session.id()).await;
                return Ok(Some(Outcome::Ended));
            }
            ReadStatus::HandedOver => return Ok(Some(Outcome::HandedOver)),
            ReadStatus::UpToDate => {
                self.send_stats().await;
                // Numbers of the record change without an event, too.
                let _ = timeout(RECORD_EVERY, self.cursor.changed()).await;
            }
        }
        Ok(None)
    }

    /// What the session leaves now for another node: the position up to which it is labelled, where it can go on at all.
    fn take_left(&mut self) -> Option<SampleIndex> {
        let channel = self.session.channel();
        let handover = channel.handover();
        // What feeds other sessions is at this node.
        if handover.fed_by() != Some(&FedBy::Publisher) || channel.ended().is_some() {
            return None;
        }
        if !handover.is_kept_by(Keeper::Cluster) {
            handover.keep(Keeper::Cluster, SampleIndex(self.going_on.labelled));
        }
        let (labelled, voices) = handover.take(Keeper::Cluster);
        self.voices = voices.or(self.voices.take());
        Some(labelled)
    }

    /// Copies the voices where they have changed and a copy is due; the last one always is. A copy that fails is made later.
    async fn copy_voices(&mut self, is_last: bool) {
        let n_speakers = self.session.channel().now().state.speakers().len();
        let is_due = |(at, n): (Instant, usize)| n != n_speakers || at.elapsed() >= COPY_EVERY;
        if !is_last && !self.copied.is_none_or(is_due) {
            return;
        }
        let Some(voices) = self.voices.take() else { return };
        let copied = self.copies.write(&self.stores, self.session.id(), &self.going_on, &voices).await;
        match copied {
            Ok(copy) => {
                self.going_on.copy = copy.or(self.going_on.copy);
                self.copied = Some((Instant::now(), n_speakers));
            }
            Err(error) => {
                self.voices = Some(voices);
                if self.link.health.failed(Part::Events, &error.to_string()) {
                    tracing::warn!(session = self.session.id(), %error, "the voices of a session are not copied");
                }
            }
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Stop> {
        if let Some(moment) = &batch.snapshot {
            self.write_snapshot(moment).await?;
        }
        if !batch.events.is_empty() {
            let events = batch.events.clone();
            self.n_bytes += events.iter().map(|event| event.len()).sum::<usize>();
            self.link.counts.events.add(events.len() as u64);
            self.log.append(&Content::Events { first_seq: batch.first_seq, events }).await?;
        }
        self.seq = (batch.first_seq + batch.events.len() as u64).saturating_sub(1);
        if !batch.corrections.is_empty() && batch.snapshot.is_none() {
            let entries: Vec<Entry> = batch.corrections.iter().map(|entry| (**entry).clone()).collect();
            self.log.append(&Content::Corrections { seq: self.seq, entries }).await?;
        }
        // What NATS forgets by age is written again in time.
        let is_whole = batch.now.seq + 1 == batch.first_seq + batch.events.len() as u64;
        if is_whole && (self.n_bytes > SNAPSHOT_AFTER || self.is_old()) {
            self.write_snapshot(&batch.now).await?;
            self.write_record(true).await?;
        }
        Ok(())
    }

    /// Whether a quarter of the time that NATS keeps events has passed since the last snapshot.
    fn is_old(&self) -> bool {
        self.snapshot_at.elapsed() > self.link.keep() / 4
    }

    /// Writes the session as it was at this moment, for readers that begin here.
    async fn write_snapshot(&mut self, moment: &StateAt) -> Result<(), Stop> {
        let channel = self.session.channel();
        let json = moment.snapshot(channel.id(), channel.source()).to_json().into();
        let StateAt { seq, last_speaker, last_segment, .. } = *moment;
        let kept = self.kept.take();
        let snapshot = Content::Snapshot { seq, last_speaker, last_segment, kept, json };
        let before = std::mem::replace(&mut self.newest, self.log.append(&snapshot).await?);
        self.record.base = if kept.is_some() { self.newest } else { before };
        let entries: Vec<Entry> = channel.corrections().iter().map(|entry| (**entry).clone()).collect();
        if !entries.is_empty() {
            self.log.append(&Content::Corrections { seq, entries }).await?;
        }
        (self.n_bytes, self.snapshot_at) = (0, Instant::now());
        Ok(())
    }

    /// Writes the record where it has changed; it must be written if `is_needed`, as long as NATS is away.
    async fn write_record(&mut self, is_needed: bool) -> Result<(), Stop> {
        loop {
            self.recorded_at = Instant::now();
            let record = Record::of(&self.session, &self.own.name, self.record.base, self.going_on);
            // Its age in NATS counts from its last version.
            if record == self.record && !is_needed && !self.is_old() {
                return Ok(());
            }
            let id = self.session.id();
            let value = record.to_json();
            match self.stores.sessions.update(id, value.clone().into(), self.revision).await {
                Ok(revision) => {
                    (self.record, self.revision) = (record, revision);
                    let labelled = SampleIndex(self.going_on.labelled);
                    self.session.channel().handover().set_stored(Keeper::Cluster, labelled);
                    return Ok(());
                }
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    match self.stores.sessions.entry(id).await {
                        // Our own, whose answer was lost.
                        Ok(Some(entry)) if entry.value == value => self.revision = entry.revision,
                        Ok(Some(entry)) if is_ours(id, &entry.value, &self.session, &self.own.name) => {
                            self.revision = entry.revision;
                        }
                        Ok(Some(entry)) if entry.operation == Operation::Put => return Err(Stop::Fenced),
                        Ok(_) => return Err(Stop::Emptied),
                        Err(_) => {}
                    }
                }
                Err(_) => {}
            }
            if !is_needed {
                return Ok(());
            }
            sleep(AGAIN).await;
        }
    }

    /// Sends the statistics of the session to its followers. NATS does not store them.
    async fn send_stats(&mut self) {
        if self.stats_at.elapsed() < STATS_EVERY || !self.link.health.is_connected() {
            return;
        }
        self.stats_at = Instant::now();
        let Some(stats) = self.session.channel().stats() else { return };
        let json = serde_json::to_vec(&stats).expect("finite numbers have a JSON form");
        let subject = self.link.names.stats(self.session.id());
        // What is lost of it is made up for two seconds later.
        let _ = self.link.client().publish(subject, json.into()).await;
    }
}

/// Where the reader of a session begins that has `there` as its last event in NATS. Where the session does not continue what is
/// there, also the last event that is still good.
fn begin(session: &Session, there: Option<u64>, is_again: bool) -> (Cursor, Option<u64>) {
    let channel = session.channel();
    // A process before this one may have written events that it did not keep.
    let taken_over_at = channel.taken_over_at().filter(|_| !is_again);
    let is_good =
        |seq: u64| seq > 0 && seq <= channel.last_seq() && taken_over_at.is_none_or(|kept| kept >= seq);
    match there {
        None => (Cursor::stored(channel, 0, 0), None),
        Some(seq) if is_good(seq) => (Cursor::stored(channel, seq, 0), None),
        Some(_) => {
            let mut cursor = Cursor::stored(channel, 0, 0);
            cursor.restart();
            (cursor, Some(taken_over_at.unwrap_or(0)))
        }
    }
}

/// Makes the record of a session or finds it, and gives it with its revision; or why the session is not written here.
async fn claim(
    stores: &Stores,
    own: &Own,
    session: &Session,
) -> Result<Result<(Record, u64), Outcome>, ClusterError> {
    let id = session.id();
    if let Some((record, mut revision)) = Record::read(stores, id).await? {
        let Ok(mut record) = record else { return Ok(Err(Outcome::Conflict)) };
        if !record.is_about(session) {
            return Ok(Err(Outcome::Conflict));
        }
        if record.node != own.name {
            return Ok(Err(Outcome::Moved));
        }
        if let Some(tenant) = record.tenant() {
            session.set_tenant(tenant);
        }
        if std::mem::take(&mut record.going_on.is_left) {
            // Nobody has taken it: it goes on here.
            let updated = stores.sessions.update(id, record.to_json().into(), revision).await;
            revision = updated.map_err(|error| refused("a session that goes on", &error))?;
        }
        return Ok(Ok((record, revision)));
    }
    let record = Record::of(session, &own.name, 0, GoingOn::default());
    match stores.sessions.create(id, record.to_json().into()).await {
        Ok(revision) => Ok(Ok((record, revision))),
        // Somebody was faster; it may have been ourselves, in an attempt whose answer was lost.
        Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
            Err(refused("a session's id just now", &error))
        }
        Err(error) => Err(refused("a session", &error)),
    }
}

fn is_ours(id: &str, value: &[u8], session: &Session, node: &str) -> bool {
    // One that ended elsewhere is ours no more.
    Record::parse(id, value).is_ok_and(|record| {
        record.is_of(session, node) && (record.reason.is_none() || record.reason == session.channel().ended())
    })
}
