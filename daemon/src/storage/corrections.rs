//! The table of corrections: who made them and when, and what undoes them. [`Database::write`] writes them.

use rusqlite::{OptionalExtension as _, Row};

use super::database::Database;
use super::error::{StorageError, damaged};
use super::values::{lossy, unsigned};
use crate::session::Entry;

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
