//! Errors of the storage.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why sessions cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file or its folder cannot be made.
    #[error("cannot make {}; choose another place with storage.path", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Another process keeps its sessions there.
    #[error("another process keeps its sessions in {}; give each server a storage.path of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged, or something else.
    #[error(
        "{} is damaged or holds no sessions; restore it from a backup, or move it away, and a new one is made", path.display()
    )]
    NoStore {
        /// The file.
        path: PathBuf,
        /// Error of SQLite.
        source: rusqlite::Error,
    },
    /// Error of SQLite.
    #[error("the database of kept sessions fails")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a newer version.
    #[error("{} was written by a newer version of diarized (tables {got}, known {known}); keep it and choose another storage.path", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version of its tables.
        got: i64,
        /// Version that this program knows.
        known: i64,
    },
    /// What was read makes no sense.
    #[error(
        "the kept session {id:?} is damaged and set aside ({reason}); restore it from a backup, or delete it"
    )]
    Damaged {
        /// Id of the session.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// What was forgotten could not be taken out of the files yet.
    #[error("{} was not rewritten, so deleted sessions may still be readable in it ({reason}); the server tries again", path.display())]
    Unclean {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        reason: String,
    },
    /// The folder of kept audio cannot be used.
    #[error("the audio of sessions cannot be kept in {}", folder.display())]
    Audio {
        /// The folder.
        folder: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The audio of a session stays, so the session does, too.
    #[error(
        "the audio of session {id:?} cannot be deleted from {}, so the session is kept as it is; make the folder writable and delete it again", folder.display()
    )]
    AudioStays {
        /// Id of the session.
        id: String,
        /// The folder.
        folder: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Another node has the session, and it cannot be reached.
    #[error("session {id:?} is of another node: {reason}")]
    Elsewhere {
        /// Id of the session.
        id: String,
        /// What is in the way.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start the thread of the storage")]
    Thread(#[source] std::io::Error),
}

impl StorageError {
    /// The same where the file at `path` is opened: whether it is damaged, or no database, is known then.
    pub(super) fn of_opening(self, path: &Path) -> Self {
        match self {
            Self::Sqlite(source)
                if source.sqlite_error_code().is_some_and(|code| {
                    matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                }) =>
            {
                Self::NoStore { path: path.to_owned(), source }
            }
            other => other,
        }
    }
}

pub(super) fn damaged(id: &str, reason: impl ToString) -> StorageError {
    StorageError::Damaged { id: id.to_owned(), reason: reason.to_string() }
}
