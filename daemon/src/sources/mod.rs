//! Audio that the daemon fetches by itself: cameras, radio streams, files, pipes, devices. Each source is a session.
//!
//! A child process, ffmpeg, opens whatever is no raw PCM. It ends with the daemon: its output is a pipe that nobody reads then.

mod input;
mod service;

pub use service::{Sources, SourcesError};
