//! Audio that the daemon fetches by itself: cameras, radio streams, files, pipes, devices. Each source is a session.
//!
//! A child process, ffmpeg, opens whatever is no raw PCM. It ends with the daemon, also where that is killed.

#[cfg(target_os = "linux")]
mod child;
mod feeder;
mod health;
mod input;
mod lengths;
mod service;
mod true_clock;

#[cfg(target_os = "linux")]
pub use child::{ChildArgs, run_child};

pub use service::{Sources, SourcesError};
