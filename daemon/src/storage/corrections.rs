//! The table of corrections: who made them and when, and what undoes them.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::database::{Database, StorageError, damaged, lossy, signed, unsigned};
use crate::session::{Entry, MAX_ENTRIES};

impl Database {
    /// Row of a session with the numbers of its last event and its last correction.
    pub(super) fn position(&self, id: &str) -> Result<Option<(i64, u64, u64)>, StorageError> {
        let mut select = self.sqlite.prepare_cached(
            "SELECT key, seq, coalesce((SELECT max(id) FROM corrections WHERE session = key), 0)
             FROM sessions WHERE id = ?1",
        )?;
        let numbers = |row: &Row| Ok((row.get(0)?, unsigned(row.get(1)?), unsigned(row.get(2)?)));
        Ok(select.query_row([id], numbers).optional()?)
    }

    /// The corrections of a session, the oldest first.
    pub(super) fn corrections(&self, id: &str, key: i64) -> Result<Vec<Entry>, StorageError> {
        let mut select =
            self.sqlite.prepare_cached("SELECT entry FROM corrections WHERE session = ?1 ORDER BY id")?;
        let rows = select.query_map([key], |row| lossy(row, 0))?;
        let entry = |json: rusqlite::Result<String>| {
            serde_json::from_str(&json?).map_err(|error| damaged(id, format!("a correction: {error}")))
        };
        rows.map(entry).collect()
    }
}

/// Writes corrections with what undoes them; those that the session no longer remembers leave.
pub(super) fn write_corrections(
    write: &Transaction,
    key: i64,
    corrections: &[Arc<Entry>],
) -> Result<(), StorageError> {
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
