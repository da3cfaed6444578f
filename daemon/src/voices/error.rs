//! Errors of the voiceprint store; each message names the remedy.

use std::path::{Path, PathBuf};

use diarized_models::names::NameFault;
use diarized_models::voiceprint::PrintError;

/// A fault of the store. Nothing of the change that was asked for is kept, except where a variant states otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store.
    #[error("there is no voiceprint store at {}: enrol somebody, or run `diarized voices init`", path.display())]
    Absent {
        /// Where it should be (`voices.path`).
        path: PathBuf,
    },
    /// There is no key, and the store needs the one it was made with.
    #[error(
        "there is no key at {} for the store {}: put the key file back (voices.key_file), or set the environment \
         variable DIARIZED_VOICES_KEY; without the key the voiceprints cannot be read",
        path.display(), store.display()
    )]
    NoKey {
        /// The key file.
        path: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// The key is not of the form of a key.
    #[error("{origin} does not hold a key: expected 64 hexadecimal digits, got {got}")]
    KeyForm {
        /// The file or variable.
        origin: String,
        /// What was found, without its value.
        got: String,
    },
    /// Other users may read the key.
    #[error(
        "the key file {} may be read by others (mode {mode:03o}): run `chmod 600 {}`",
        path.display(), path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key is another store's.
    #[error("{origin} is not the key of {}: use the key that the store was made with", path.display())]
    WrongKey {
        /// The store.
        path: PathBuf,
        /// Where the key came from.
        origin: String,
    },
    /// The file is something else.
    #[error("{} is not a voiceprint store: choose another voices.path", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Written by another version.
    #[error(
        "{} has schema {got}, this version of diarized reads schema {expected}: use the version that wrote it, or \
         export there and import here", path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Schema of this version.
        expected: i64,
        /// Schema of the file.
        got: i64,
    },
    /// The file is damaged.
    #[error("{} is damaged ({reason}): restore a backup, or import an export into a new store", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A row does not open with the key though the store does: it was changed from outside.
    #[error("the entry {entry} in {} was changed outside of diarized; delete that voice and enrol it again",
        path.display())]
    Tampered {
        /// The file.
        path: PathBuf,
        /// Id of the row.
        entry: String,
    },
    /// Another process holds it.
    #[error("{} is in use by another program; try again", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No room.
    #[error("no space is left for {}: nothing was stored; free some and try again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It may not be written.
    #[error("{} cannot be written: check the permissions of the file and of its folder", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses a file.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the system; it is part of the text.
        source: std::io::Error,
    },
    /// No such person.
    #[error("nobody called {name:?} is enrolled; `diarized voices list` shows who is")]
    Unknown {
        /// Name or id that was asked for.
        name: String,
    },
    /// Another person has the name.
    #[error("{name:?} is the name of {id} already; choose another name")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// Two people have the name, enrolled at two machines that share their voices.
    #[error(
        "several people are called {name:?} ({ids}): name one by its id, and rename or delete the others"
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// Who they are.
        ids: String,
    },
    /// A text that is no name.
    #[error(transparent)]
    BadName(#[from] NameFault),
    /// No name at all.
    #[error("the name is empty; say who it is")]
    NoName,
    /// The recordings are not of one person or model.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// A file to import is not an export.
    #[error("{} is not an export of voices: {reason}", path.display())]
    NotAnExport {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Any other fault of the database.
    #[error("{}: the database failed", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Error of SQLite.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// The fault that SQLite's error means for the store at `path`.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let path = path.to_owned();
        let extended = source.sqlite_error().map(|error| error.extended_code);
        match source.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked { path },
            Some(Code::DiskFull) => Self::Full { path },
            // The index of the write-ahead log cannot grow.
            Some(Code::SystemIoFailure) if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::Full { path }
            }
            Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => Self::ReadOnly { path },
            Some(Code::NotADatabase) => Self::NotAStore { path },
            Some(Code::DatabaseCorrupt) => Self::Corrupt { path, reason: source.to_string() },
            _ => Self::Database { path, source },
        }
    }
}
