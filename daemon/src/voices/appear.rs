//! Folders and files that appear whole or not at all.

use std::path::Path;

use super::error::StoreError;
use super::marks::random_id;
use crate::private_file;

pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    private_file::make_folder(folder).map_err(|source| StoreError::File {
        what: "make the folder",
        path: folder.to_owned(),
        source,
    })
}

/// Makes the file at `path` appear whole or not at all: `write` makes it under the name that it is given. Where somebody
/// else's has appeared first, that one stays.
pub(super) fn appear(
    path: &Path,
    what: &'static str,
    write: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let draft = path.with_extension(random_id("new-"));
    let written = write(&draft);
    // A link instead of a rename, so that the first one stands.
    let outcome = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::File { what, path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    });
    // SQLite's companions too: where it fails it leaves them.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = draft.clone().into_os_string();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
    outcome
}
