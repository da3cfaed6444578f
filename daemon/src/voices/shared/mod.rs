//! Voices that several machines share: versions that are joined, whatever the order in which they arrive.
//!
//! `version` has the rules, `wire` the form in which versions travel, `base` what the store remembers of the last joining,
//! `share` the joining of a store with what others have.

mod base;
mod share;
mod version;
mod wire;

#[cfg(test)]
mod tests;

pub(super) use base::is_shared;
pub use share::{Others, Shared};
pub use version::{Alive, Deed, Register, SharedRecording, Stamp, Version};
pub use wire::VersionError;
