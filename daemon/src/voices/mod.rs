//! The voiceprint store: enrolled people, encrypted at rest.
//!
//! One SQLite file holds names, notes of consent and embeddings, each sealed by itself; only ids, times, model names
//! and the audit trail lie open in it. Every change is one transaction.

mod audit;
mod error;
mod exchange;
mod inner;
mod key;
mod moments;
mod people;
mod place;
mod reading;
mod registry;
mod rows;
mod seal;
mod store;
mod voice;

#[cfg(test)]
mod tests;

pub use audit::AuditEntry;
pub use error::StoreError;
pub use exchange::{ExportForm, ImportCount};
pub use key::{Key, KeySource};
pub use moments::best_moments;
pub use people::others_share;
pub use place::Place;
pub use reading::{ClipError, clip_of_audio, clip_of_samples, load_clip_embedder};
pub use registry::{EnrolError, Registry, clip_of};
pub(crate) use seal::Seal;
pub use store::Store;
pub use voice::{Enrolment, NewRecording, StoredRecording, Voice};

use std::path::Path;

use diarized_models::names;

use crate::private_file;

/// The name without white space around it.
///
/// # Errors
/// It is empty, too long, holds characters that are not seen, or reads like a label.
pub fn checked_name(name: &str) -> Result<&str, StoreError> {
    match names::checked_name(name) {
        Ok("") => Err(StoreError::NoName),
        Ok(name) => Ok(name),
        Err(fault) => Err(StoreError::BadName(fault)),
    }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    private_file::make_folder(folder).map_err(|source| StoreError::File {
        what: "make the folder",
        path: folder.to_owned(),
        source,
    })
}

/// Makes the file at `path` appear whole or not at all: `write` makes it under the name that it is given. Where somebody
/// else's has appeared first, that one stays.
fn appear(
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

/// `prefix` and 16 hexadecimal digits of the system's randomness.
fn random_id(prefix: &str) -> String {
    format!("{prefix}{}", crate::secret::random_hex(8))
}

/// Seconds since 1970 by the machine's clock.
fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
