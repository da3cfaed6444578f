//! Labels as text: RTTM, JSON lines, SRT, WebVTT and a table to read, from the state of a session.

mod formats;
mod labels;
mod stdout;
mod subtitles;
mod table;
mod transcript;
mod turns;
mod written;

#[cfg(test)]
mod tests;

pub use formats::OutputFormat;
pub use labels::Labels;
pub use stdout::{StdoutError, write_stdout};
pub use turns::{Turn, turns};
