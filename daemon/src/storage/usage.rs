//! Audio that tokens have used on one day, for the process after this one.

use rusqlite::params;

use super::database::Database;
use super::error::StorageError;
use super::store::Storage;
use super::values::signed;

impl Database {
    /// The seconds of a day by token.
    fn usage(&self, day: u64) -> Result<Vec<(String, f64)>, StorageError> {
        let mut select = self.sqlite.prepare_cached("SELECT tenant, seconds FROM usage WHERE day = ?1")?;
        let rows = select.query_map([signed(day)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes the seconds of a day by token; what is there of other days goes.
    fn keep_usage(&mut self, day: u64, used: &[(&str, f64)]) -> Result<(), StorageError> {
        let write = self.sqlite.transaction()?;
        write.execute("DELETE FROM usage WHERE day != ?1", [signed(day)])?;
        for (tenant, seconds) in used {
            write
                .prepare_cached("INSERT OR REPLACE INTO usage (tenant, day, seconds) VALUES (?1, ?2, ?3)")?
                .execute(params![tenant, signed(day), seconds])?;
        }
        Ok(write.commit()?)
    }
}

impl Storage {
    /// Seconds of audio of a day, counted from 1970 on, by the id of who a token counts for.
    ///
    /// # Errors
    /// [`StorageError`]
    pub(crate) fn usage(&self, day: u64) -> Result<Vec<(String, f64)>, StorageError> {
        self.writer.lock().database.usage(day)
    }

    /// Keeps them; those of other days go. Waits for the disk.
    ///
    /// # Errors
    /// [`StorageError`]; what is there stays.
    pub(crate) fn keep_usage(&self, day: u64, used: &[(&str, f64)]) -> Result<(), StorageError> {
        self.writer.lock().database.keep_usage(day, used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StorageParams;

    #[test]
    fn a_day_is_kept_and_the_one_before_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let storage = Storage::open(StorageParams::at(&path)).unwrap();
        assert_eq!(storage.usage(7).unwrap(), []);
        storage.keep_usage(7, &[("a", 1.5), ("b", 2.0)]).unwrap();
        storage.keep_usage(7, &[("a", 3.5)]).unwrap();
        storage.close();
        drop(storage);
        let storage = Storage::open(StorageParams::at(&path)).unwrap();
        assert_eq!(storage.usage(7).unwrap(), [("a".to_owned(), 3.5), ("b".to_owned(), 2.0)]);
        storage.keep_usage(8, &[("b", 1.0)]).unwrap();
        assert_eq!((storage.usage(7).unwrap().len(), storage.usage(8).unwrap().len()), (0, 1));
    }
}
