//! What running sessions know of their voices, on the disk: sealed with the key of the voices, one file for each session,
//! erased at its end.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::private_file::{OWNER, make_folder};
use crate::protocol::is_session_id;
use crate::voices::{Key, Seal};
use crate::whole_file::write_whole_file_with_mode;

/// What the names of the files end with.
const EXTENSION: &str = "sealed";

/// The folder beside the store.
pub(super) struct SealedVoices {
    folder: PathBuf,
    /// Without a key nothing is kept.
    seal: Option<Seal>,
    is_failing: AtomicBool,
}

impl std::fmt::Debug for SealedVoices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedVoices").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl SealedVoices {
    /// The folder of the store at `path`; made when something is kept.
    pub(super) fn beside(path: &Path, key: Option<&Key>) -> Self {
        let mut folder = path.as_os_str().to_owned();
        folder.push("-voices");
        let is_failing = AtomicBool::new(false);
        Self { folder: folder.into(), seal: key.map(Seal::new), is_failing }
    }

    /// Seals what a session knows, in the place of what was kept before. A failure is logged once: the session goes on.
    pub(super) fn write(&self, id: &str, voices: &[u8]) {
        let Some(seal) = &self.seal else { return };
        let write = || {
            make_folder(&self.folder)?;
            write_whole_file_with_mode(&self.path(id), &seal.seal(voices, &place(id)), OWNER)
        };
        match write() {
            Ok(()) => self.is_failing.store(false, Ordering::Relaxed),
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                let folder = self.folder.display();
                tracing::error!(%folder, %error, "the voices of running sessions are not kept for a restart");
            }
            Err(_) => {}
        }
    }

    /// What was kept of a session, or why there is nothing.
    pub(super) fn read(&self, id: &str) -> Result<Vec<u8>, String> {
        let path = self.path(id);
        let sealed = match std::fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("they were not kept".to_owned());
            }
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let Some(seal) = &self.seal else { return Err("there is no key to open them with".to_owned()) };
        let fault = || format!("{} is damaged, or was sealed with another key", path.display());
        seal.open(&sealed, &place(id)).ok_or_else(fault)
    }

    /// Overwrites and deletes what was kept of a session.
    pub(super) fn erase(&self, id: &str) {
        let path = self.path(id);
        match erase(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(session = id, path = %path.display(), %error, "the voices of a session cannot be erased");
            }
            _ => {}
        }
    }

    /// Erases what was kept of all sessions but these.
    pub(super) fn retain(&self, ids: &BTreeSet<&str>) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let id = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| is_session_id(id));
            if path.extension().is_some_and(|end| end == EXTENSION)
                && let Some(id) = id.filter(|id| !ids.contains(id))
            {
                self.erase(id);
            }
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.{EXTENSION}"))
    }
}

/// Where a file belongs: sealed for another session it does not open.
fn place(id: &str) -> String {
    format!("voices of the running session {id}")
}

/// Overwrites a file with zeros, and deletes it.
fn erase(path: &Path) -> io::Result<()> {
    let overwrite = || {
        let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
        let n_bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        file.write_all(&vec![0; n_bytes])?;
        file.sync_all()
    };
    // A file that cannot be overwritten is deleted all the same.
    let _ = overwrite();
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voices::KeySource;

    fn key(digit: &str) -> Key {
        KeySource::Given(digit.repeat(64)).read(Path::new("")).unwrap()
    }

    #[test]
    fn what_is_kept_opens_with_its_key_for_its_session_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("sessions.sqlite");
        let voices = SealedVoices::beside(&store, Some(&key("a")));
        assert_eq!(voices.read("talk"), Err("they were not kept".to_owned()));
        voices.write("talk", b"the voices of two people");
        voices.write("talk", b"the voices of three people");
        assert_eq!(voices.read("talk").as_deref(), Ok(b"the voices of three people".as_slice()));
        let path = folder.path().join("sessions.sqlite-voices/talk.sealed");
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"voices" || part == b"people"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        }

        let fault = |voices: &SealedVoices, id: &str| voices.read(id).unwrap_err();
        assert!(fault(&SealedVoices::beside(&store, Some(&key("b"))), "talk").contains("another key"));
        assert!(fault(&SealedVoices::beside(&store, None), "talk").contains("no key"));
        std::fs::copy(&path, path.with_file_name("other.sealed")).unwrap();
        assert!(fault(&voices, "other").contains("other.sealed is damaged"));
        for n in [0, 10, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..n]).unwrap();
            assert!(fault(&voices, "talk").contains("damaged"), "{n} bytes");
        }

        voices.retain(&BTreeSet::from(["talk"]));
        assert!(path.exists() && !path.with_file_name("other.sealed").exists());
        voices.erase("talk");
        voices.erase("talk");
        assert!(!path.exists());
    }

    #[test]
    fn nothing_is_kept_without_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let voices = SealedVoices::beside(&folder.path().join("sessions.sqlite"), None);
        voices.write("talk", b"the voices of two people");
        voices.erase("talk");
        voices.retain(&BTreeSet::new());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
