//! The voiceprint store: enrolled people, encrypted at rest.
//!
//! One SQLite file holds names, notes of consent and embeddings, each sealed by itself; only ids, times, model names
//! and the audit trail lie open in it. Every change is one transaction.

mod appear;
mod audit;
mod checks;
mod error;
mod exchange;
mod inner;
mod key;
mod marks;
mod moments;
mod name;
mod people;
mod place;
mod reading;
mod registry;
mod rows;
mod seal;
mod shared;
mod store;
mod voice;

#[cfg(test)]
mod tests;

pub use audit::AuditEntry;
pub use error::StoreError;
pub use exchange::{ExportForm, ImportCount};
pub use key::{Key, KeySource};
pub use moments::best_moments;
pub use name::checked_name;
pub use people::others_share;
pub use place::Place;
pub(crate) use reading::samples_of_clip;
pub use reading::{ClipError, clip_of_audio, clip_of_samples, load_clip_embedder};
pub use registry::{EnrolError, Registry, clip_of};
pub(crate) use seal::Seal;
pub use shared::{Alive, Deed, Others, Register, Shared, SharedRecording, Stamp, Version, VersionError};
pub use store::Store;
pub use voice::{Enrolment, NewRecording, StoredRecording, Voice};
