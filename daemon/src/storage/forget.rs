//! Permanent deletion: from the rows, the pages and the files.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::database::Database;
use super::error::StorageError;
use super::values::unix_ms;

/// Attempts at a checkpoint while another reader blocks it; each waits as long as a connection may.
const CHECKPOINT_TRIES: usize = 3;

impl Database {
    /// Lets the file grow to this size, or to what it has already.
    pub(super) fn limit(&self, max_bytes: u64) -> Result<(), StorageError> {
        let page_bytes: i64 = self.sqlite.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let n_pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / page_bytes;
        Ok(self.sqlite.pragma_update_and_check(None, "max_page_count", n_pages.max(1), |_| Ok(()))?)
    }

    /// Takes a session out of the tables. Whether there was one. [`Self::scrub`] takes it out of the files.
    pub(super) fn forget(&mut self, id: &str) -> Result<bool, StorageError> {
        Ok(self.sqlite.execute("DELETE FROM sessions WHERE id = ?1", [id])? > 0)
    }

    /// Takes the sessions that ended before this out of the tables; gives their ids.
    pub(super) fn expire(&mut self, before: SystemTime) -> Result<BTreeSet<String>, StorageError> {
        let mut delete = self.sqlite.prepare("DELETE FROM sessions WHERE ended_ms < ?1 RETURNING id")?;
        let rows = delete.query_map([unix_ms(before)], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The sessions that ended before this.
    pub(super) fn ended_before(&self, before: SystemTime) -> Result<BTreeSet<String>, StorageError> {
        let mut select = self.sqlite.prepare("SELECT id FROM sessions WHERE ended_ms < ?1")?;
        let rows = select.query_map([unix_ms(before)], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Leaves nothing in the files but what the tables hold. `secure_delete` overwrites deleted rows, but not the copies
    /// that lie in the unused part of pages which were split once, and the log beside the file holds pages as they were:
    /// the file is rewritten, and the log is emptied.
    ///
    /// # Errors
    /// [`StorageError::Unclean`] when the disk is full or another program reads the file all the time.
    pub(super) fn scrub(&mut self) -> Result<(), StorageError> {
        let unclean = |reason: String| StorageError::Unclean { path: self.path.clone(), reason };
        self.sqlite.execute_batch("VACUUM").map_err(|error| unclean(error.to_string()))?;
        for _ in 0..CHECKPOINT_TRIES {
            let checkpoint = |row: &rusqlite::Row| row.get::<_, i64>(0);
            let is_busy = self.sqlite.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint);
            if is_busy.map_err(|error| unclean(error.to_string()))? == 0 {
                return Ok(());
            }
        }
        Err(unclean("another program reads the file".to_owned()))
    }
}
