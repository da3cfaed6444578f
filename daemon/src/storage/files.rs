//! The files of the store: for their owner alone, and written by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::error::StorageError;
use crate::private_file::open_or_create;

/// Takes the sole right to write the sessions at `path`, until what is returned is dropped or the process ends: two
/// processes would end each other's sessions as interrupted.
pub(super) fn lock(path: &Path) -> Result<File, StorageError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-lock");
    let beside = PathBuf::from(beside);
    let make = |source| StorageError::Make { path: beside.clone(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(make)?;
    }
    let file = open_or_create(&beside).map_err(make)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(make(source)),
    }
}
