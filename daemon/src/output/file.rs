//! Files that are either whole or not there.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `content` as the file at `path`: first under a temporary name in the same folder, which takes the place of
/// `path` once all of it is on the disk. A pipe or device at `path` is written directly.
///
/// # Errors
/// What the system said; `path` is then as it was before and no temporary file is left.
pub fn write_whole_file(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link is followed, so that the file behind it is replaced and not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => return fs::write(path, content),
        _ => {}
    }
    let temporary = temporary_name(path);
    let written = write_new(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may never have been made; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// `.name.PID.part` beside `path`.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
