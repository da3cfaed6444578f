//! Readers of a session's events: each at its own pace, without loss or repetition. A slow reader delays nobody: when its
//! unread events have left the journal, it gets the number of missed events and a new snapshot.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use tokio::sync::watch;

use super::channel::Channel;
use super::ledger::Entry;
use super::state_at::StateAt;
use crate::protocol::server_message::{EndReason, Lagged, ServerMessage};

/// Events that a process may have emitted and not kept when it died, at most.
const MAX_LOST: u64 = 4096;

/// What [`Cursor::read`] left to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// There is more to read now.
    More,
    /// All events so far were read; [`Cursor::changed`] waits for more.
    UpToDate,
    /// Everything was read and the session has ended.
    Ended(EndReason),
    /// Everything was read, and the session goes on in a process after this one.
    HandedOver,
}

/// Numbered events for storage, and the resulting labels.
#[derive(Debug)]
pub struct Batch {
    /// The labels to restart from, when the events before `first_seq` are gone.
    pub snapshot: Option<StateAt>,
    /// Number of the first of `events`; of the next event, where there are none.
    pub first_seq: u64,
    /// Encoded events, one after the other.
    pub events: Vec<ByteString>,
    /// Corrections that came with them.
    pub corrections: Vec<Arc<Entry>>,
    /// The session when this was read.
    pub now: StateAt,
    /// What is left to read.
    pub delivery: ReadStatus,
}

impl Batch {
    /// Whether nothing new is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_none() && self.events.is_empty()
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
    /// Number of the last correction that was read, by a reader that stores them.
    last_correction: u64,
    /// Whether the end of the session is not the end of reading.
    stays: bool,
}

impl Cursor {
    /// A reader that gets a snapshot first, and then every event after it.
    #[must_use]
    pub fn from_now(channel: &Arc<Channel>) -> Self {
        let tick = channel.tick.subscribe();
        Self {
            channel: Arc::clone(channel),
            tick,
            next_seq: 0,
            wants_snapshot: true,
            n_stats: 0,
            last_correction: 0,
            stays: false,
        }
    }

    /// A reader with every event up to `seq`, which gets the later ones. If some of them have left the journal, it gets
    /// their number and a snapshot first. A `seq` beyond the session's events gives a snapshot.
    #[must_use]
    pub fn since(channel: &Arc<Channel>, seq: u64) -> Self {
        let mut cursor = Self::from_now(channel);
        // Whoever followed a session up to its interruption may have heard events that are lost, under numbers that
        // what is kept has given to others.
        let is_interrupted = channel.ended() == Some(EndReason::Interrupted);
        let is_of_others = |first: u64| seq > first && seq - first < MAX_LOST;
        cursor.wants_snapshot = seq > channel.last_seq()
            || (is_interrupted && seq == channel.last_seq())
            || channel.taken_over_at().is_some_and(is_of_others);
        cursor.next_seq = seq.saturating_add(1);
        cursor
    }

    /// A reader that has stored every event up to `seq` and every correction up to number `correction`.
    #[must_use]
    pub(crate) fn stored(channel: &Arc<Channel>, seq: u64, correction: u64) -> Self {
        let wants_snapshot = seq > channel.last_seq();
        let next_seq = seq.saturating_add(1);
        Self { next_seq, wants_snapshot, last_correction: correction, ..Self::from_now(channel) }
    }

    /// The same reader, which stays when the session has ended, for corrections that come later.
    #[must_use]
    pub fn staying(self) -> Self {
        Self { stays: true, ..self }
    }

    /// Whether the session has ended and only corrections may follow.
    #[must_use]
    pub fn is_after_the_end(&self) -> bool {
        self.stays && self.channel.ended().is_some()
    }

    /// Makes the next [`Self::read_events`] restart from the present labels.
    pub(crate) fn restart(&mut self) {
        self.wants_snapshot = true;
    }

    /// The session that is read.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// The next events, at most `max`, without stats, for storage.
    pub fn read_events(&mut self, max: usize) -> Batch {
        self.tick.mark_unchanged();
        let inner = self.channel.inner.lock();
        let now = inner.moment();
        let is_behind = self.wants_snapshot || self.next_seq < inner.journal.first_seq();
        let snapshot = is_behind.then(|| now.clone());
        if snapshot.is_some() {
            self.next_seq = now.seq + 1;
            self.wants_snapshot = false;
        }
        let first_seq = self.next_seq;
        let events: Vec<_> = inner.journal.from(first_seq, max).into_iter().flatten().cloned().collect();
        self.next_seq += events.len() as u64;
        let delivery = match now.ended {
            _ if self.next_seq <= inner.journal.last_seq() => ReadStatus::More,
            Some(reason) => ReadStatus::Ended(reason),
            None if inner.is_handed_over => ReadStatus::HandedOver,
            None => ReadStatus::UpToDate,
        };
        let is_all = self.next_seq > inner.journal.last_seq();
        let corrections = if is_all { inner.ledger.after(self.last_correction) } else { Vec::new() };
        self.last_correction = corrections.last().map_or(self.last_correction, |last| last.id);
        Batch { snapshot, first_seq, events, corrections, now, delivery }
    }

    /// Appends what comes next to `out`, at most `max` events.
    pub fn read(&mut self, max: usize, out: &mut Vec<ByteString>) -> ReadStatus {
        self.tick.mark_unchanged();
        let (moment, more, is_handed_over, ended, stats) = {
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
                inner.is_handed_over,
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
            _ if more => ReadStatus::More,
            Some(_) if self.stays => ReadStatus::UpToDate,
            Some(reason) => ReadStatus::Ended(reason),
            None if is_handed_over => ReadStatus::HandedOver,
            None => ReadStatus::UpToDate,
        }
    }

    /// Waits for an event after the last [`Self::read`].
    pub async fn changed(&mut self) {
        // The sender lives in the channel that the cursor holds, so it cannot be gone.
        let _ = self.tick.changed().await;
    }
}
