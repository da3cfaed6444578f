//! The error of the work inside a transaction.

use super::error::StoreError;

/// An error inside a transaction; the store adds its path to one of the database.
pub(super) enum Inner {
    Database(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Inner {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Inner {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
