//! Files that only their owner may read and write.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Read and write by the owner.
pub const OWNER: u32 = 0o600;
/// The same, and read by the group.
pub const OWNER_AND_GROUP: u32 = 0o640;

/// Gives a file that these options create the permissions `mode`, where the system has them.
pub fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
}

/// Creates a file for writing.
///
/// # Errors
/// The system's; a file that exists already is an error.
pub fn create_new(path: &Path) -> io::Result<File> {
    with_mode(OpenOptions::new().write(true).create_new(true), OWNER).open(path)
}

/// Opens a file for appending, and creates it if there is none.
///
/// # Errors
/// The system's.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    with_mode(OpenOptions::new().create(true).append(true), OWNER).open(path)
}

/// Makes a folder and those above it that are missing, for its owner alone.
///
/// # Errors
/// The system's.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_for_their_owner_and_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let mode = |file: &File| file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&create_new(&path).unwrap()), OWNER);
        assert_eq!(create_new(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::write(&path, "content").unwrap();
        open_or_create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"content");
        assert_eq!(mode(&open_or_create(&folder.path().join("lock")).unwrap()), OWNER);
    }
}
