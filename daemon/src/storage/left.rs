//! Sessions that ran when the process before this one ended: they go on, or end as they are.

use std::time::SystemTime;

use diarized_dsp::SampleIndex;
use rusqlite::{OptionalExtension as _, params};

use super::database::Database;
use super::error::{StorageError, damaged};
use super::values::{lossy, signed, unix_ms, unsigned};
use crate::access::TenantId;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::{EndReason, Ended};
use crate::session::{Archive, Before, Entry, FedBy, Source};

/// One such session.
#[derive(Debug)]
pub(crate) struct Left {
    key: i64,
    pub(crate) archive: Archive,
    /// Everything before this is labelled; none where it cannot go on.
    labelled: Option<SampleIndex>,
    /// Name of the configured source that fed it, if one did.
    fetched: Option<String>,
    /// The tenant of the session: a mark of the token that opened it.
    tenant: Option<TenantId>,
}

impl Left {
    /// What can feed it again.
    pub(crate) fn fed_by(&self) -> FedBy {
        match (self.archive.source, &self.fetched) {
            (Source::Microphone, _) => FedBy::Microphone,
            (Source::Stream, Some(name)) => FedBy::Fetched(name.clone()),
            (Source::Stream, None) => FedBy::Publisher,
        }
    }

    /// The tenant of the session, if it has one.
    pub(crate) fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// Where an engine goes on with it; `voices` is what is known of its voices, or why nothing is. No label lies behind it.
    pub(crate) fn before(&self, voices: Result<Vec<u8>, String>) -> Before {
        Before::of(&self.archive.moment, self.labelled.unwrap_or(SampleIndex::ZERO), voices)
    }

    /// Where the writer goes on: row, last event and last correction.
    pub(super) fn position(&self) -> (i64, u64, u64) {
        let last = self.archive.corrections.last().map_or(0, |entry: &Entry| entry.id);
        (self.key, self.archive.moment.seq, last)
    }
}

/// A session that is still open: row, id, position, source, and who it counts for.
type OpenRow = (i64, String, Option<SampleIndex>, Option<String>, Option<TenantId>);

/// What was found when a file was opened.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sessions that may go on.
    pub(super) left: Vec<Left>,
    /// Number of those that were ended.
    pub(super) n_interrupted: usize,
    /// What is wrong with those that cannot be read; they end as they are.
    pub(super) faults: Vec<StorageError>,
}

impl Database {
    /// Finds every session that is still open, and ends those as `interrupted` that cannot go on; all of them unless
    /// `go_on`.
    pub(super) fn find_left(&mut self, go_on: bool) -> Result<Found, StorageError> {
        let mut found = Found::default();
        for (key, id, labelled, fetched, tenant) in self.open_rows()? {
            let read = self.read(&id).and_then(|read| read.ok_or_else(|| damaged(&id, "its id is no text")));
            match read {
                Ok((_, archive)) => {
                    let left = Left { key, archive, labelled, fetched, tenant };
                    if go_on && labelled.is_some() {
                        found.left.push(left);
                    } else {
                        self.end_left(&left)?;
                        found.n_interrupted += 1;
                    }
                }
                Err(fault @ StorageError::Damaged { .. }) => {
                    self.sqlite.execute(
                        "UPDATE sessions SET reason = ?2, ended_ms = ?3 WHERE key = ?1",
                        params![key, EndReason::Interrupted.as_str(), unix_ms(SystemTime::now())],
                    )?;
                    found.faults.push(fault);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }

    /// Every session that is still open.
    fn open_rows(&self) -> Result<Vec<OpenRow>, StorageError> {
        let open = "SELECT key, id, labelled, fetched, tenant FROM sessions WHERE reason IS NULL";
        let mut select = self.sqlite.prepare(open)?;
        let rows = select.query_map([], |row| {
            // A position or name of the wrong kind is none.
            let labelled: Option<i64> = row.get(2).unwrap_or(None);
            let fetched: Option<String> = row.get(3).unwrap_or(None);
            let tenant: Option<String> = row.get(4).unwrap_or(None);
            let tenant = tenant.as_deref().and_then(TenantId::parse);
            Ok((row.get(0)?, lossy(row, 1)?, labelled.map(|at| SampleIndex(unsigned(at))), fetched, tenant))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ends a session as it is.
    pub(super) fn end_left(&mut self, left: &Left) -> Result<(), StorageError> {
        let (moment, id) = (&left.archive.moment, &left.archive.id);
        let (at, seq) = (moment.at, moment.seq + 1);
        let speakers = moment.state.speakers().len();
        let ended = Ended { duration_s: at.into(), speakers, reason: EndReason::Interrupted };
        let message = ServerMessage {
            session: Some(id.clone()),
            seq: Some(seq),
            at: Some(at.into()),
            body: ended.into(),
        };
        let write = self.sqlite.transaction()?;
        write.execute(
            "INSERT INTO events (session, seq, message) VALUES (?1, ?2, ?3)",
            params![left.key, signed(seq), message.to_json()],
        )?;
        write.execute(
            "UPDATE sessions SET seq = ?2, reason = ?3, ended_ms = ?4, labelled = NULL WHERE key = ?1",
            params![left.key, signed(seq), EndReason::Interrupted.as_str(), unix_ms(SystemTime::now())],
        )?;
        Ok(write.commit()?)
    }

    /// Ends what is kept of a session that goes on at another node. Does nothing where it has ended, or is not kept.
    pub(super) fn end_moved(&mut self, id: &str) -> Result<(), StorageError> {
        let key = self
            .sqlite
            .query_row("SELECT key FROM sessions WHERE id = ?1 AND reason IS NULL", [id], |row| row.get(0))
            .optional()?;
        let (Some(key), Some((_, archive))) = (key, self.read(id)?) else { return Ok(()) };
        self.end_left(&Left { key, archive, labelled: None, fetched: None, tenant: None })
    }

    /// Notes how far a session is labelled, and which source feeds it, if one does.
    pub(super) fn set_labelled(
        &self,
        key: i64,
        labelled: SampleIndex,
        fetched: Option<&str>,
    ) -> Result<(), StorageError> {
        let mut update =
            self.sqlite.prepare_cached("UPDATE sessions SET labelled = ?2, fetched = ?3 WHERE key = ?1")?;
        update.execute(params![key, signed(labelled.0), fetched])?;
        Ok(())
    }
}
