//! The SQLite file: its tables, reading and writing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytestring::ByteString;
use diarized_dsp::SampleIndex;
use diarized_models::SessionState;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::error::{StorageError, damaged};
use super::migrations::{check, migrate};
use super::stored_session::StoredSession;
use super::values::unix_ms;
use super::values::{lossy, signed, unsigned};
use crate::access::TenantId;
use crate::private_file::open_or_create;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, ServerMessage};
use crate::secret::SecretHash;
use crate::session::replay::{LastIds, apply, of_snapshot};
use crate::session::{About, Archive, Batch, Entry, MAX_ENTRIES, ReadStatus, Session, Source, StateAt};

/// How long one connection waits for another's write.
const BUSY: Duration = Duration::from_secs(5);

/// One connection to the file.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) sqlite: Connection,
    pub(super) path: PathBuf,
}

impl Database {
    /// Opens the file, for its owner alone, and makes or migrates its tables.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let make = |source| StorageError::Make { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(make)?;
        }
        drop(open_or_create(path).map_err(make)?);
        let mut sqlite = Connection::open(path)?;
        sqlite.busy_timeout(BUSY)?;
        // The journal mode is part of the file: a file of a later version keeps its own.
        check(&sqlite, path)?;
        sqlite.pragma_update(None, "journal_mode", "WAL")?;
        // A commit survives the death of the process; that of the machine may cost the last ones.
        sqlite.pragma_update(None, "synchronous", "NORMAL")?;
        sqlite.pragma_update(None, "foreign_keys", true)?;
        // What is forgotten is overwritten, not just unlinked.
        sqlite.pragma_update(None, "secure_delete", true)?;
        migrate(&mut sqlite, path)?;
        Ok(Self { sqlite, path: path.to_owned() })
    }

    /// Writes events of a session, all or none, and returns the key of its row.
    pub(super) fn write(
        &mut self,
        session: &Session,
        key: Option<i64>,
        batch: &Batch,
    ) -> Result<i64, StorageError> {
        let write = self.sqlite.transaction()?;
        let key = match key {
            Some(key) => key,
            None => insert(&write, session)?,
        };
        if let Some(moment) = &batch.snapshot {
            // Events were missed while writing failed: the labels as they stood then take their place.
            let base = moment.snapshot(session.id(), session.channel().source()).to_json();
            write.prepare_cached("DELETE FROM events WHERE session = ?1")?.execute([key])?;
            write
                .prepare_cached("UPDATE sessions SET base_seq = ?2, base = ?3 WHERE key = ?1")?
                .execute(params![key, signed(moment.seq), base])?;
        }
        {
            let mut insert =
                write.prepare_cached("INSERT INTO events (session, seq, message) VALUES (?1, ?2, ?3)")?;
            for (seq, message) in (batch.first_seq..).zip(&batch.events) {
                insert.execute(params![key, signed(seq), &**message])?;
            }
        }
        write_corrections(&write, key, &batch.corrections)?;
        let (reason, ended_ms) = match batch.delivery {
            ReadStatus::Ended(reason) => (Some(reason.as_str()), Some(unix_ms(SystemTime::now()))),
            _ => (None, None),
        };
        let now = &batch.now;
        write
            .prepare_cached(
                "UPDATE sessions SET seq = ?2, at = ?3, n_speakers = ?4, n_segments = ?5, reason = ?6,
                        ended_ms = coalesce(ended_ms, ?7),
                        labelled = iif(?6 IS NULL, labelled, NULL), title = ?8, last_speaker = ?9, last_segment = ?10
                 WHERE key = ?1",
            )?
            .execute(params![
                key,
                signed(batch.first_seq + batch.events.len() as u64 - 1),
                signed(now.at.0),
                signed(now.state.speakers().len() as u64),
                signed(now.state.segments().len() as u64),
                reason,
                ended_ms,
                now.about.title,
                now.last_speaker,
                signed(now.last_segment)
            ])?;
        write.commit()?;
        Ok(key)
    }

    /// The newest sessions, newest first; damaged ones are left out.
    pub(super) fn list(&self, max: usize) -> Result<Vec<StoredSession>, StorageError> {
        let read = self.rows(max)?.into_iter();
        let is_served = |row: &Result<_, StorageError>| !matches!(row, Err(StorageError::Damaged { .. }));
        read.filter(is_served).collect()
    }

    /// What is wrong with sessions whose rows make no sense.
    pub(super) fn faults(&self) -> Result<Vec<StorageError>, StorageError> {
        let rows = self.rows(usize::MAX)?.into_iter();
        Ok(rows.filter_map(Result::err).filter(|e| matches!(e, StorageError::Damaged { .. })).collect())
    }

    fn rows(&self, max: usize) -> Result<Vec<Result<StoredSession, StorageError>>, StorageError> {
        let mut select = self.sqlite.prepare_cached(
            "SELECT id, source, format, began_ms, seq, at, n_speakers, n_segments, reason, title
             FROM sessions
             ORDER BY began_ms DESC, key DESC LIMIT ?1",
        )?;
        let rows = select.query_map([signed(max as u64)], |row| Ok(kept(row)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The ids of all sessions.
    pub(super) fn ids(&self) -> Result<BTreeSet<String>, StorageError> {
        let mut select = self.sqlite.prepare("SELECT id FROM sessions")?;
        let rows = select.query_map([], |row| lossy(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A session that has ended.
    pub(super) fn load(&self, id: &str) -> Result<Option<Arc<Session>>, StorageError> {
        let read = self.read(id)?;
        Ok(read.filter(|(kept, _)| kept.reason.is_some()).map(|(_, archive)| Session::archived(archive)))
    }

    /// The newest session of this source that has ended.
    pub(super) fn load_newest(&self, source: Source) -> Result<Option<Arc<Session>>, StorageError> {
        let mut select = self.sqlite.prepare_cached(
            "SELECT id FROM sessions WHERE source = ?1 AND reason NOT NULL ORDER BY key DESC LIMIT 1",
        )?;
        let id = select.query_row([source.as_str()], |row| lossy(row, 0)).optional()?;
        id.map_or(Ok(None), |id| self.load(&id))
    }

    /// A session with all its events, read back.
    pub(super) fn read(&self, id: &str) -> Result<Option<(StoredSession, Archive)>, StorageError> {
        let row = self
            .sqlite
            .prepare_cached(
                "SELECT id, source, format, began_ms, seq, at, n_speakers, n_segments, reason, title, key, base_seq, base,
                        token_hash, last_speaker, last_segment, options
                 FROM sessions WHERE id = ?1",
            )?
            .query_row([id], |row| {
                let (key, base_seq): (i64, i64) = (row.get(10)?, row.get(11)?);
                let (base, token_hash): (Option<String>, String) = (row.get(12)?, row.get(13)?);
                let (last_speaker, last_segment): (u32, i64) = (row.get(14)?, row.get(15)?);
                let options: Option<String> = row.get(16)?;
                let (speaker, segment) = (last_speaker, unsigned(last_segment));
                let (base_seq, last_ids) = (unsigned(base_seq), LastIds { speaker, segment });
                Ok((kept(row), key, base_seq, base, token_hash, last_ids, options))
            })
            .optional()
            .map_err(|error| or_damaged(id, error))?;
        let Some((kept, key, base_seq, base, token_hash, last_ids, options)) = row else { return Ok(None) };
        let kept = kept?;
        let mut replayed = Replayed::of(id, base.as_deref(), last_ids)?;
        self.replay(id, key, base_seq, &mut replayed)?;
        let Replayed { state, about, last, events } = replayed;
        let moment = StateAt {
            last_speaker: last.speaker,
            last_segment: last.segment,
            seq: base_seq + events.len() as u64,
            at: SampleIndex(kept.at),
            state: Arc::new(state),
            about: Arc::new(about),
            ended: Some(kept.reason.unwrap_or(EndReason::Interrupted)),
        };
        let token_hash = SecretHash::parse(&token_hash).ok_or_else(|| damaged(id, "its token"))?;
        let archive = Archive {
            id: kept.id.clone(),
            source: kept.source,
            format: kept.format,
            options: options.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            began: kept.began,
            token_hash,
            moment,
            events,
            corrections: self.corrections(id, key)?,
        };
        Ok(Some((kept, archive)))
    }

    /// Applies the stored events behind `base_seq`, in order and without a hole.
    fn replay(&self, id: &str, key: i64, base_seq: u64, replayed: &mut Replayed) -> Result<(), StorageError> {
        let mut select =
            self.sqlite.prepare_cached("SELECT seq, message FROM events WHERE session = ?1 ORDER BY seq")?;
        let mut rows = select.query([key])?;
        while let Some(row) = rows.next()? {
            let read = || Ok((row.get(0)?, row.get(1)?));
            let (seq, text): (i64, String) = read().map_err(|error| or_damaged(id, error))?;
            let expected = base_seq + replayed.events.len() as u64 + 1;
            if unsigned(seq) != expected {
                return Err(damaged(id, format!("event {expected} is missing")));
            }
            replayed.apply(id, text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Database {
    /// Waits for no other connection.
    pub(super) fn give_up_at_once(&self) {
        self.sqlite.busy_timeout(Duration::ZERO).unwrap();
    }
}

/// The first ten columns of a row.
fn kept(row: &Row) -> Result<StoredSession, StorageError> {
    let id = lossy(row, 0)?;
    let columns = || {
        let words: (String, String, Option<String>, Option<String>) =
            (row.get(1)?, row.get(2)?, row.get(8)?, row.get(9)?);
        let numbers: (i64, i64, i64, i64, i64) =
            (row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?);
        Ok((words, numbers))
    };
    let ((source, format, reason, title), (began_ms, seq, at, n_speakers, n_segments)) =
        columns().map_err(|error| or_damaged(&id, error))?;
    let source = source.parse().map_err(|_| damaged(&id, format!("source {source:?}")))?;
    let format: AudioFormat = serde_json::from_str(&format).map_err(|e| damaged(&id, e))?;
    let reason =
        reason.map(|word| word.parse().map_err(|_| damaged(&id, format!("reason {word:?}")))).transpose()?;
    Ok(StoredSession {
        id,
        title,
        source,
        format,
        began: UNIX_EPOCH + Duration::from_millis(unsigned(began_ms)),
        seq: unsigned(seq),
        at: unsigned(at),
        n_speakers: unsigned(n_speakers) as usize,
        n_segments: unsigned(n_segments) as usize,
        reason,
    })
}

/// A value of the wrong kind is a fault of the session's row, not of the whole file.
fn or_damaged(id: &str, error: rusqlite::Error) -> StorageError {
    use rusqlite::Error as E;
    match error {
        E::InvalidColumnType(..)
        | E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..) => damaged(id, error),
        error => error.into(),
    }
}

/// What the stored events of a session make.
struct Replayed {
    state: SessionState,
    about: About,
    /// Highest speaker and segment so far.
    last: LastIds,
    events: Vec<ByteString>,
}

impl Replayed {
    /// The labels before the first stored event; `base` is a snapshot as JSON.
    fn of(id: &str, base: Option<&str>, last: LastIds) -> Result<Self, StorageError> {
        let (state, about) = match base.map(of_snapshot) {
            None => (SessionState::new(), About::default()),
            Some(Ok((_, state, about))) => (state, about),
            Some(Err(reason)) => return Err(damaged(id, format!("its labels: {reason}"))),
        };
        Ok(Self { last: last.with(&state), state, about, events: Vec::new() })
    }

    fn apply(&mut self, id: &str, text: String) -> Result<(), StorageError> {
        let message = ServerMessage::parse(&text).map_err(|e| damaged(id, e))?;
        apply(&message.body, &mut self.state, &mut self.about, &mut self.last).map_err(|e| damaged(id, e))?;
        self.events.push(ByteString::from(text));
        Ok(())
    }
}

/// Adds the row of a session; returns its key.
fn insert(write: &Transaction, session: &Session) -> Result<i64, StorageError> {
    let format = serde_json::to_string(&session.format()).unwrap_or_default();
    let options = serde_json::to_string(&session.options()).unwrap_or_default();
    write
        .prepare_cached(
            "INSERT INTO sessions
                 (id, source, format, token_hash, began_ms, options, tenant, seq, at, n_speakers, n_segments)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0)",
        )?
        .execute(params![
            session.id(),
            session.channel().source().as_str(),
            format,
            session.token_hash().to_string(),
            unix_ms(session.began()),
            options,
            session.tenant().map(TenantId::as_str)
        ])?;
    Ok(write.last_insert_rowid())
}

/// Writes corrections with what undoes them; those that the session no longer remembers leave.
fn write_corrections(write: &Transaction, key: i64, corrections: &[Arc<Entry>]) -> Result<(), StorageError> {
    let mut insert = write
        .prepare_cached("INSERT OR REPLACE INTO corrections (session, id, entry) VALUES (?1, ?2, ?3)")?;
    for entry in corrections {
        let json = serde_json::to_string(&**entry).expect("text keys and finite numbers always serialise");
        insert.execute(params![key, signed(entry.id), json])?;
    }
    if let Some(last) = corrections.last() {
        let gone = last.id.saturating_sub(MAX_ENTRIES as u64);
        write
            .prepare_cached("DELETE FROM corrections WHERE session = ?1 AND id <= ?2")?
            .execute(params![key, signed(gone)])?;
    }
    Ok(())
}
