//! Files that are either whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::private_file::with_mode;

/// A file that is written under a temporary name in the folder of its place, and replaces the file there when it is
/// [committed](Self::commit). Dropped before that, it leaves no trace. A pipe or device is written directly.
#[derive(Debug)]
pub struct WholeFile(Target);

#[derive(Debug)]
enum Target {
    Draft { draft: NamedTempFile, path: PathBuf },
    Direct(File),
}

impl WholeFile {
    /// Begins a file for the place `path`, with the permissions that the system gives new files.
    ///
    /// # Errors
    /// The system's: the folder is absent or not writable, or `path` is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::with_mode(path, 0o666)
    }

    /// Begins a file for the place `path`, with at most the permissions `mode`, such as
    /// [`OWNER`](crate::private_file::OWNER).
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn with_mode(path: &Path, mode: u32) -> io::Result<Self> {
        // A link is followed, so that the file behind it is replaced and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                return Ok(Self(Target::Direct(OpenOptions::new().write(true).open(path)?)));
            }
            Ok(metadata) if metadata.permissions().readonly() => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            _ => {}
        }
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(path.file_name().unwrap_or_default());
        prefix.push(".");
        // Opened here, since tempfile's own files are for their owner alone.
        let draft = tempfile::Builder::new().prefix(&prefix).suffix(".part").make_in(
            path.parent().unwrap_or(Path::new("")),
            |draft| {
                let mut options = OpenOptions::new();
                with_mode(options.read(true).write(true).create_new(true), mode).open(draft)
            },
        )?;
        Ok(Self(Target::Draft { draft, path }))
    }

    /// The file under its temporary name.
    pub fn file(&mut self) -> &mut File {
        match &mut self.0 {
            Target::Draft { draft, .. } => draft.as_file_mut(),
            Target::Direct(file) => file,
        }
    }

    /// Puts the file in its place once all of it is on the disk.
    ///
    /// # Errors
    /// The system's; the place is then as it was before.
    pub fn commit(self) -> io::Result<()> {
        if let Target::Draft { draft, path } = self.0 {
            draft.as_file().sync_all()?;
            draft.persist(path)?;
        }
        Ok(())
    }
}

/// Writes `content` as the file at `path`, whole or not at all: see [`WholeFile`].
///
/// # Errors
/// The system's; `path` is then as it was before.
pub fn write_whole_file(path: &Path, content: &[u8]) -> io::Result<()> {
    write(WholeFile::create(path)?, content)
}

/// The same for a file with at most the permissions `mode`.
///
/// # Errors
/// As [`write_whole_file`].
pub fn write_whole_file_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write(WholeFile::with_mode(path, mode)?, content)
}

fn write(mut whole: WholeFile, content: &[u8]) -> io::Result<()> {
    whole.file().write_all(content)?;
    whole.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.rttm");
        write_whole_file(&path, b"first").unwrap();
        write_whole_file(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");

        let mut abandoned = WholeFile::create(&path).unwrap();
        abandoned.file().write_all(b"half").unwrap();
        drop(abandoned);
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let absent = folder.path().join("absent/out.rttm");
        assert_eq!(write_whole_file(&absent, b"x").unwrap_err().kind(), std::io::ErrorKind::NotFound);
        let error = write_whole_file(folder.path(), b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_replaces_an_open_one() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write_whole_file(&path, b"old").unwrap();
        assert_ne!(mode() & 0o004, 0, "the mask of this process lets others read");
        write_whole_file_with_mode(&path, b"new", crate::private_file::OWNER).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode()), (b"new".to_vec(), 0o600));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_device_a_device() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_whole_file(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        write_whole_file(std::path::Path::new("/dev/null"), b"x").unwrap();
    }
}
