//! Versions of the store's tables: a store of an earlier version is migrated when it is opened.
//!
//! `PRAGMA user_version` holds the number of steps that a file has taken. All missing steps and the new number are one
//! transaction, so a process that is killed in the middle leaves the file as it was.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::StorageError;

/// Steps in order, the first one from an empty file. A released step never changes: what is new is a further step.
const STEPS: &[&str] = &[
    "CREATE TABLE sessions (
        key        INTEGER PRIMARY KEY,
        id         TEXT NOT NULL UNIQUE,
        source     TEXT NOT NULL,
        format     TEXT NOT NULL,
        token_hash TEXT NOT NULL,
        began_ms   INTEGER NOT NULL,
        ended_ms   INTEGER,
        reason     TEXT,
        seq        INTEGER NOT NULL,
        at         INTEGER NOT NULL,
        n_speakers INTEGER NOT NULL,
        n_segments INTEGER NOT NULL,
        -- Labels after event base_seq; the events after it are in the table below.
        base_seq   INTEGER NOT NULL DEFAULT 0,
        base       TEXT
    );
    CREATE INDEX sessions_by_end ON sessions (ended_ms);
    CREATE TABLE events (
        session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        seq     INTEGER NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID;",
    // One row: where the clock stood when it was looked at last. Files of version 1 may have it already.
    "CREATE TABLE IF NOT EXISTS clock (
        key     INTEGER PRIMARY KEY CHECK (key = 1),
        wall_ms INTEGER NOT NULL,
        up_ms   INTEGER NOT NULL,
        boot    TEXT NOT NULL
    );",
    "ALTER TABLE sessions ADD COLUMN title TEXT;",
    // The highest label of a speaker that was ever given, and the corrections with what undoes them.
    "ALTER TABLE sessions ADD COLUMN last_speaker INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE corrections (
        session INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        id      INTEGER NOT NULL,
        entry   TEXT NOT NULL,
        PRIMARY KEY (session, id)
    ) WITHOUT ROWID;",
    // Where a running session goes on after a restart, and with what: none of a session whose publisher cannot come back.
    "ALTER TABLE sessions ADD COLUMN last_segment INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN labelled INTEGER;
    ALTER TABLE sessions ADD COLUMN options TEXT;",
    // Name of the configured source that feeds a running session.
    "ALTER TABLE sessions ADD COLUMN fetched TEXT;",
    // Seconds of audio of a day, counted from 1970 on, by the hash of a token's name.
    "CREATE TABLE usage (
        tenant  TEXT NOT NULL,
        day     INTEGER NOT NULL,
        seconds REAL NOT NULL,
        PRIMARY KEY (tenant, day)
    ) WITHOUT ROWID;
    ALTER TABLE sessions ADD COLUMN tenant TEXT;",
];

/// The version of this program's tables.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Fails for a file of a later version, which must stay as it is. Reads only.
///
/// # Errors
/// [`StorageError::Newer`], or the fault of SQLite.
pub(super) fn check(sqlite: &Connection, path: &Path) -> Result<(), StorageError> {
    steps_taken(sqlite, path).map(drop)
}

fn steps_taken(sqlite: &Connection, path: &Path) -> Result<usize, StorageError> {
    let got: i64 = sqlite.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match usize::try_from(got) {
        Ok(n) if n <= STEPS.len() => Ok(n),
        _ => Err(StorageError::Newer { path: path.to_owned(), got, known: VERSION }),
    }
}

/// Brings the tables to [`VERSION`].
///
/// # Errors
/// [`StorageError::Newer`] if the file is ahead of this program; otherwise the fault of SQLite, such as a full disk. The
/// file is then as it was.
pub(super) fn migrate(sqlite: &mut Connection, path: &Path) -> Result<(), StorageError> {
    if steps_taken(sqlite, path)? == STEPS.len() {
        return Ok(());
    }
    let write = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another connection may have migrated the file while this one waited.
    let before = steps_taken(&write, path)?;
    for step in &STEPS[before..] {
        write.execute_batch(step)?;
    }
    write.pragma_update(None, "user_version", VERSION)?;
    write.commit()?;
    if before > 0 {
        tracing::info!(from = before, to = VERSION, "the tables of kept sessions were migrated");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the tables of `version` and one session of many events in them.
    fn of_version(path: &Path, version: usize) -> Connection {
        let sqlite = Connection::open(path).unwrap();
        sqlite.pragma_update(None, "journal_mode", "WAL").unwrap();
        STEPS[..version].iter().for_each(|step| sqlite.execute_batch(step).unwrap());
        sqlite.pragma_update(None, "user_version", version as i64).unwrap();
        sqlite
            .execute_batch(
                "INSERT INTO sessions (id, source, format, token_hash, began_ms, seq, at, n_speakers, n_segments)
                 VALUES ('old', 'stream', '{}', '', 0, 500, 0, 0, 0);
                 WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < 500)
                 INSERT INTO events (session, seq, message) SELECT 1, seq, printf('%.200c', 'x') FROM n;",
            )
            .unwrap();
        sqlite
    }

    fn n_events(sqlite: &Connection) -> i64 {
        sqlite
            .query_row("SELECT count(*) FROM events WHERE length(message) = 200", [], |row| row.get(0))
            .unwrap()
    }

    fn version(sqlite: &Connection) -> i64 {
        sqlite.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    fn tables(sqlite: &Connection) -> Vec<String> {
        let mut select =
            sqlite.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name").unwrap();
        let rows = select.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn every_version_comes_to_the_tables_of_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut new = Connection::open_in_memory().unwrap();
        migrate(&mut new, Path::new("new")).unwrap();
        for from in 1..=STEPS.len() {
            let path = folder.path().join(format!("{from}.sqlite"));
            let mut sqlite = of_version(&path, from);
            for _ in 0..2 {
                migrate(&mut sqlite, &path).unwrap();
                assert_eq!((version(&sqlite), n_events(&sqlite)), (VERSION, 500), "from version {from}");
                assert_eq!(tables(&sqlite), tables(&new), "from version {from}");
            }
        }
    }

    #[test]
    fn a_migration_that_is_killed_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let mut sqlite = of_version(&path, 1);
        // Pages of the unfinished transaction go to the log, as those of a large one do.
        sqlite.pragma_update(None, "cache_size", 1).unwrap();
        let write = sqlite.transaction().unwrap();
        write.execute_batch(STEPS[1]).unwrap();
        write.execute_batch("UPDATE events SET message = message || 'y'").unwrap();
        write.pragma_update(None, "user_version", VERSION).unwrap();
        // What lies on the disk when the process dies here.
        let dead = folder.path().join("dead.sqlite");
        let beside = |path: &Path, end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            std::path::PathBuf::from(name)
        };
        std::fs::copy(&path, &dead).unwrap();
        let n_logged = std::fs::copy(beside(&path, "-wal"), beside(&dead, "-wal")).unwrap();
        assert!(n_logged > 100_000, "the log holds pages of the transaction");
        let mut found = Connection::open(&dead).unwrap();
        assert_eq!((version(&found), n_events(&found)), (1, 500));
        migrate(&mut found, &dead).unwrap();
        assert_eq!((version(&found), n_events(&found)), (VERSION, 500));
    }

    #[test]
    fn a_full_disk_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sqlite");
        let mut sqlite = of_version(&path, 1);
        let n_pages: i64 = sqlite.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        sqlite.pragma_update_and_check(None, "max_page_count", n_pages, |_| Ok(())).unwrap();
        let error = migrate(&mut sqlite, &path).unwrap_err();
        assert!(matches!(error, StorageError::Sqlite(_)), "{error}");
        assert_eq!((version(&sqlite), n_events(&sqlite)), (1, 500));
        sqlite.pragma_update_and_check(None, "max_page_count", n_pages + 100, |_| Ok(())).unwrap();
        migrate(&mut sqlite, &path).unwrap();
    }

    #[test]
    fn a_file_of_a_later_or_impossible_version_is_refused_with_its_name() {
        for got in [VERSION + 1, 99, -1] {
            let mut sqlite = Connection::open_in_memory().unwrap();
            sqlite.pragma_update(None, "user_version", got).unwrap();
            let error = migrate(&mut sqlite, Path::new("/srv/meetings.sqlite")).unwrap_err().to_string();
            assert!(error.contains("/srv/meetings.sqlite") && error.contains(&got.to_string()), "{error}");
            assert_eq!(tables(&sqlite).len(), 0, "nothing was written");
        }
    }
}
