//! Files that are either whole or not there.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written under a temporary name in the folder of its place, and takes the place of what was
/// there when it is [committed](Self::commit). Dropped before that, it leaves no trace. A pipe or device is written
/// directly.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// The temporary name and the place; `None` for a pipe or device and after the commit.
    pending: Option<(PathBuf, PathBuf)>,
}

impl WholeFile {
    /// Begins a file for the place `path`.
    ///
    /// # Errors
    /// What the system said: the folder is absent or not writable, or `path` is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        // A link is followed, so that the file behind it is replaced and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                return Ok(Self { file: OpenOptions::new().write(true).open(path)?, pending: None });
            }
            Ok(metadata) if metadata.permissions().readonly() => {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            _ => {}
        }
        let temporary = temporary_name(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)?;
        Ok(Self { file, pending: Some((temporary, path)) })
    }

    /// The file under its temporary name.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts the file in its place once all of it is on the disk.
    ///
    /// # Errors
    /// What the system said; the place is then as it was before.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some((temporary, path)) = &self.pending {
            self.file.sync_all()?;
            fs::rename(temporary, path)?;
            self.pending = None;
        }
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.pending {
            // Nothing more can be done about a temporary file that cannot be removed.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Writes `content` as the file at `path`, whole or not at all: see [`WholeFile`].
///
/// # Errors
/// What the system said; `path` is then as it was before.
pub fn write_whole_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut whole = WholeFile::create(path)?;
    whole.file().write_all(content)?;
    whole.commit()
}

/// `.name.PID.N.part` beside `path`; N parts the threads of this process.
fn temporary_name(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}.{n}.part", std::process::id()));
    path.with_file_name(name)
}
