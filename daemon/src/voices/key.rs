//! The key of the store: read from a file or the environment, made at the first enrolment, never shown.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use diarized_config::VOICES_KEY_VARIABLE;

use super::appear::{appear, make_folder};
use super::error::StoreError;
use crate::private_file;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// A key and where it came from.
#[derive(Clone)]
pub struct Key {
    pub(super) bytes: [u8; KEY_BYTES],
    pub(super) origin: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Key {
    /// Where it came from, for people.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

/// Where the key is to be found.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The key itself, from the environment.
    Given(String),
    /// A file that holds it.
    File(PathBuf),
}

impl KeySource {
    /// The environment's key if there is one, else the key file.
    #[must_use]
    pub fn from_env_or(file: PathBuf) -> Self {
        match std::env::var(VOICES_KEY_VARIABLE) {
            Ok(key) if !key.trim().is_empty() => Self::Given(key),
            _ => Self::File(file),
        }
    }

    /// Reads the key of the store at `store`.
    ///
    /// # Errors
    /// It is absent, not a key, or others may read the file.
    pub fn read(&self, store: &Path) -> Result<Key, StoreError> {
        match self {
            Self::Given(text) => parse(text, format!("the environment variable {VOICES_KEY_VARIABLE}")),
            Self::File(path) => {
                check_mode(path)?;
                match std::fs::read_to_string(path) {
                    Ok(text) => parse(&text, format!("the key file {}", path.display())),
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        Err(StoreError::NoKey { path: path.clone(), store: store.to_owned() })
                    }
                    Err(source) => {
                        Err(StoreError::File { what: "read the key file", path: path.clone(), source })
                    }
                }
            }
        }
    }

    /// Reads the key, or makes one from the system's randomness in a file that only its owner may read.
    ///
    /// # Errors
    /// As [`Self::read`]; the file cannot be made.
    pub fn read_or_make(&self, store: &Path) -> Result<Key, StoreError> {
        match (self, self.read(store)) {
            (Self::File(path), Err(StoreError::NoKey { .. })) => {
                make(path)?;
                self.read(store)
            }
            (_, outcome) => outcome,
        }
    }
}

fn make(path: &Path) -> Result<(), StoreError> {
    let what = "make the key file";
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has a source of randomness");
    let text = hex::encode(bytes) + "\n";
    // A key cut short would lock its owner out of the store.
    appear(path, what, |draft| {
        let written = private_file::create_new(draft).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| StoreError::File { what, path: path.to_owned(), source })
    })
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let mode = metadata.permissions().mode() & 0o777;
            Err(StoreError::KeyExposed { path: path.to_owned(), mode })
        }
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

fn parse(text: &str, origin: String) -> Result<Key, StoreError> {
    let text = text.trim();
    match hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()) {
        Some(bytes) => Ok(Key { bytes, origin }),
        None => {
            let n = text.chars().count();
            let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
            let got = if is_hex { format!("{n} digits") } else { format!("{n} characters, not all digits") };
            Err(StoreError::KeyForm { origin, got })
        }
    }
}
