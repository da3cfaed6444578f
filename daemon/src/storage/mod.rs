//! Stored sessions: events in one SQLite file, readable after the end of the session or the process.
//!
//! A writer thread follows every session as a subscriber does and commits what is new twice a second, so that a
//! process that is killed loses less than a second of events. A session never waits for the disk: when writing fails,
//! sessions go on, and what has left their journals meanwhile is made up for by a snapshot.

mod audio;
mod corrections;
mod database;
mod error;
mod files;
mod forget;
mod left;
mod migrations;
mod params;
mod sealed;
mod store;
mod stored_session;
#[cfg(test)]
mod tests;
mod usage;
mod values;
mod wall_clock;
mod writer;

pub use error::StorageError;
pub(crate) use left::Left;
pub use params::{AudioParams, StorageParams};
pub use store::Storage;
pub use stored_session::StoredSession;
