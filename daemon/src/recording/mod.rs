//! Kept audio of sessions: one Ogg Opus file each, written while the session runs and read back whole or in parts.
//!
//! A session encodes its audio itself and leaves the packets in a bounded place; a thread of its own writes them twice a
//! second, page by page. A killed process loses what was not written: less than a second. Second `t` of a file is second
//! `t` of the session's clock; where a session has no audio the file is silent.

mod cut;
mod encoder;
mod layout;
mod page;
mod pending;
mod shelf;
#[cfg(test)]
mod tests;
mod track;

pub use cut::{Cut, CutError, cut, duration_s};
pub use encoder::EncoderError;
pub use pending::Recorder;
pub use shelf::{Recordings, RecordingsParams};
