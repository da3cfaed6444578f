//! One session of this node, written to its subject as it goes on.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{CreateErrorKind, Operation, UpdateErrorKind};
use tokio::time::{Instant, sleep, timeout};

use super::error::{ClusterError, refused};
use super::frames::{Content, last_event};
use super::health::Part;
use super::link::{Link, Stores};
use super::log::{Log, Stop};
use super::node::Own;
use super::record::Record;
use crate::session::{Batch, Cursor, Entry, ReadStatus, Session, StateAt};

/// Events that are written together.
const MAX_BATCH: usize = 500;
/// Time between two records of a session whose numbers have changed.
const RECORD_EVERY: Duration = Duration::from_secs(2);
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
    /// Another session has its id.
    Conflict,
    /// It is deleted.
    Deleted,
}

/// The writer of one session.
pub(super) struct Publisher {
    link: Arc<Link>,
    stores: Stores,
    own: Arc<Own>,
    session: Arc<Session>,
    cursor: Cursor,
    log: Log,
    /// Number of the last event that is there.
    seq: u64,
    /// Where the newest snapshot is; readers begin at the one before it, so that they have some of the past.
    newest: u64,
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
    /// [`Outcome::Conflict`], [`Outcome::Fenced`]
    pub(super) async fn open(link: Arc<Link>, own: Arc<Own>, session: Arc<Session>) -> Result<Self, Outcome> {
        loop {
            let stores = link.stores().await;
            match Self::try_open(&link, &stores, &own, &session).await {
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
        link: &Arc<Link>,
        stores: &Stores,
        own: &Arc<Own>,
        session: &Arc<Session>,
    ) -> Result<Result<Self, Outcome>, ClusterError> {
        let Some((record, revision)) = claim(stores, own, session).await? else {
            return Ok(Err(Outcome::Conflict));
        };
        if record.reason.is_some() && session.channel().ended().is_none() {
            return Ok(Err(Outcome::Fenced));
        }
        let (log, last) = Log::open(link, stores, session.id()).await?;
        let channel = session.channel();
        let there = last.as_deref().map(|message| last_event(message).unwrap_or(0));
        // A process before this one may have written events that it did not keep.
        let is_good = |seq: u64| {
            seq > 0 && seq <= channel.last_seq() && channel.taken_over_at().is_none_or(|kept| kept >= seq)
        };
        let (mut cursor, kept) = match there {
            None => (Cursor::stored(channel, 0, 0), None),
            Some(seq) if is_good(seq) => (Cursor::stored(channel, seq, 0), None),
            Some(_) => (Cursor::stored(channel, 0, 0), Some(channel.taken_over_at().unwrap_or(0))),
        };
        if kept.is_some() {
            cursor.restart();
        }
        let now = Instant::now();
        Ok(Ok(Self {
            link: Arc::clone(link),
            stores: stores.clone(),
            own: Arc::clone(own),
            session: Arc::clone(session),
            cursor,
            log,
            seq: there.unwrap_or(0),
            newest: record.base,
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
    pub(super) async fn run(mut self) -> (Outcome, u64) {
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
        let batch = self.cursor.read_events(MAX_BATCH);
        self.write(&batch).await?;
        let is_over = matches!(batch.delivery, ReadStatus::Ended(_) | ReadStatus::HandedOver);
        let is_due = self.recorded_at.elapsed() >= RECORD_EVERY;
        if is_over || is_due {
            self.write_record(is_over).await?;
        }
        match batch.delivery {
            ReadStatus::More => {}
            ReadStatus::Ended(_) => return Ok(Some(Outcome::Ended)),
            ReadStatus::HandedOver => return Ok(Some(Outcome::HandedOver)),
            ReadStatus::UpToDate => {
                self.send_stats().await;
                // Numbers of the record change without an event, too.
                let _ = timeout(RECORD_EVERY, self.cursor.changed()).await;
            }
        }
        Ok(None)
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
            let record = Record::of(&self.session, &self.own.name, self.record.base);
            // Its age in NATS counts from its last version.
            if record == self.record && !is_needed && !self.is_old() {
                return Ok(());
            }
            let id = self.session.id();
            let value = record.to_json();
            match self.stores.sessions.update(id, value.clone().into(), self.revision).await {
                Ok(revision) => {
                    (self.record, self.revision) = (record, revision);
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

/// Makes the record of a session or finds it; none where another session has its id.
async fn claim(stores: &Stores, own: &Own, session: &Session) -> Result<Option<(Record, u64)>, ClusterError> {
    let id = session.id();
    let entry = stores.sessions.entry(id).await.map_err(|error| refused("a look at a session", &error))?;
    if let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) {
        let record = Record::parse(id, &entry.value).ok();
        return Ok(record
            .filter(|record| record.is_of(session, &own.name))
            .map(|record| (record, entry.revision)));
    }
    let record = Record::of(session, &own.name, 0);
    match stores.sessions.create(id, record.to_json().into()).await {
        Ok(revision) => Ok(Some((record, revision))),
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
