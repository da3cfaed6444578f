//! The writer: follows sessions and writes what is new of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use diarized_dsp::SampleIndex;

use super::database::Database;
use super::error::StorageError;
use super::sealed::SealedVoices;
use crate::session::{Batch, Cursor, FedBy, Keeper, ReadStatus, Session};

/// Minimum time between two rewrites of the file for sessions that are too old.
const SCRUB_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Time until that is tried again when it failed.
const SCRUB_AGAIN: Duration = Duration::from_secs(60);
/// Events of one session in one transaction, so that one session does not hold up the others.
const MAX_BATCH: usize = 10_000;

/// What the writer holds.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) keep: Option<Duration>,
    pub(super) max_session_bytes: u64,
    pub(super) voices: Arc<SealedVoices>,
    pub(super) followed: BTreeMap<u64, Followed>,
    pub(super) expired_at: Option<Instant>,
    /// Time of the last rewrite of the file.
    pub(super) scrubbed_at: Option<Instant>,
    /// Time of the next rewrite, if deleted data may still be readable in the file.
    pub(super) scrub_at: Option<Instant>,
}

/// One session that is being written.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) session: Arc<Session>,
    pub(super) cursor: Cursor,
    /// Row of the session, once it has one.
    pub(super) key: Option<i64>,
    /// Bytes of events that are kept since its labels were.
    pub(super) n_bytes: u64,
    /// What was read and could not be written yet.
    pub(super) unwritten: Option<Batch>,
    /// Where it would go on after a restart.
    pub(super) labelled: SampleIndex,
}

impl Writer {
    /// Follows a session from its start.
    pub(super) fn follow(&mut self, session: Arc<Session>) {
        let cursor = Cursor::stored(session.channel(), 0, 0);
        self.add(session, cursor, None);
    }

    /// Goes on with a session that was written to its end, and was corrected since. One that was deleted is left out.
    pub(super) fn follow_again(&mut self, session: &Arc<Session>) -> Result<(), StorageError> {
        if !self.followed.contains_key(&session.number())
            && let Some((key, seq, correction)) = self.database.position(session.id())?
        {
            let cursor = Cursor::stored(session.channel(), seq, correction);
            self.add(Arc::clone(session), cursor, Some(key));
        }
        Ok(())
    }

    fn add(&mut self, session: Arc<Session>, cursor: Cursor, key: Option<i64>) {
        let number = session.number();
        let labelled = SampleIndex::ZERO;
        self.followed
            .insert(number, Followed { session, cursor, key, n_bytes: 0, unwritten: None, labelled });
    }

    /// Goes on with a session of another process, of which everything up to this position is kept.
    pub(super) fn follow_on(&mut self, session: &Arc<Session>, (key, seq, correction): (i64, u64, u64)) {
        let cursor = Cursor::stored(session.channel(), seq, correction);
        self.add(Arc::clone(session), cursor, Some(key));
    }

    /// Writes the events since the last write.
    pub(super) fn write(&mut self, n_written: &AtomicU64) -> Result<(), StorageError> {
        let mut ended = Vec::new();
        for (number, followed) in &mut self.followed {
            // Before the events are read, so that none that these follow from is missing.
            let (labelled, voices) = followed.session.channel().handover().take(Keeper::Storage);
            let is_over = followed.write(&mut self.database, self.max_session_bytes, n_written)?;
            if is_over {
                self.voices.erase(followed.session.id());
                ended.push(*number);
            } else {
                followed.hand_over(&self.database, labelled)?;
                if let Some(voices) = voices {
                    self.voices.write(followed.session.id(), &voices);
                }
            }
        }
        for number in ended {
            self.followed.remove(&number);
        }
        Ok(())
    }

    /// Takes what was forgotten out of the files; when that fails, it is tried again by itself.
    pub(super) fn scrub(&mut self) -> Result<(), StorageError> {
        let now = Instant::now();
        let outcome = self.database.scrub();
        self.scrubbed_at = Some(now);
        self.scrub_at = outcome.is_err().then(|| now + SCRUB_AGAIN);
        outcome
    }

    /// Forgets what ended before this, and gives the ids; their traces leave the files within a day.
    pub(super) fn expire(&mut self, before: Option<SystemTime>) -> Result<BTreeSet<String>, StorageError> {
        self.expired_at = Some(Instant::now());
        let Some(before) = before else { return Ok(BTreeSet::new()) };
        let expired = self.database.expire(before)?;
        if !expired.is_empty() {
            tracing::info!(sessions = expired.len(), "kept sessions were forgotten because of their age");
            let due = self.scrubbed_at.map_or_else(Instant::now, |at| at + SCRUB_EVERY);
            self.scrub_at = Some(self.scrub_at.map_or(due, |at| at.min(due)));
        }
        Ok(expired)
    }
}

impl Followed {
    /// Writes the events of the session since the last write. Whether it has ended.
    fn write(
        &mut self,
        database: &mut Database,
        max_bytes: u64,
        n_written: &AtomicU64,
    ) -> Result<bool, StorageError> {
        loop {
            let unwritten = self.unwritten.take();
            // The unwritten events are old: later ones may exist by now.
            let is_old = unwritten.is_some();
            let batch = unwritten.unwrap_or_else(|| self.cursor.read_events(MAX_BATCH));
            let is_new = self.key.is_none();
            if batch.is_empty() && !is_new && !matches!(batch.delivery, ReadStatus::Ended(_)) {
                return Ok(false);
            }
            match database.write(&self.session, self.key, &batch) {
                Ok(key) => self.key = Some(key),
                Err(error) => {
                    self.unwritten = Some(batch);
                    return Err(error);
                }
            }
            n_written.fetch_add(batch.events.len() as u64, Ordering::Relaxed);
            self.n_bytes += batch.events.iter().map(|json| json.len() as u64).sum::<u64>();
            if batch.snapshot.is_some() {
                self.n_bytes = 0;
            } else if self.n_bytes > max_bytes {
                self.cursor.restart();
                // The labels are read at once, while they stand in the place of what was just counted.
                continue;
            }
            match batch.delivery {
                ReadStatus::UpToDate | ReadStatus::HandedOver if !is_old => return Ok(false),
                ReadStatus::Ended(_) => return Ok(true),
                _ => {}
            }
        }
    }

    /// Notes where the session would go on after a restart.
    fn hand_over(&mut self, database: &Database, labelled: SampleIndex) -> Result<(), StorageError> {
        let handover = self.session.channel().handover();
        let Some(key) = self.key.filter(|_| handover.is_kept_by(Keeper::Storage)) else { return Ok(()) };
        let is_first = self.labelled == SampleIndex::ZERO;
        if is_first || labelled != self.labelled {
            let fetched = match handover.fed_by() {
                Some(FedBy::Fetched(name)) => Some(name.as_str()),
                _ => None,
            };
            database.set_labelled(key, labelled, fetched)?;
            self.labelled = labelled;
        }
        handover.set_stored(Keeper::Storage, labelled);
        Ok(())
    }
}
