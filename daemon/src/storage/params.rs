//! Where and for how long sessions are kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::voices::Key;

/// Where and for how long sessions are kept.
#[derive(Debug, Clone)]
pub struct StorageParams {
    /// The SQLite file; made if it is not there, with its folder.
    pub path: PathBuf,
    /// Time before ended sessions are deleted; without it a client deletes them.
    pub keep: Option<Duration>,
    /// Size that the file may grow to.
    pub max_bytes: u64,
    /// Events of one session that are kept, in bytes; beyond it the labels take the place of what led to them.
    pub max_session_bytes: u64,
    /// Whether and how much audio is kept.
    pub audio: AudioParams,
    /// Whether running sessions go on in a process after this one.
    pub hands_over: bool,
    /// What the voices of running sessions are sealed with; without it they are not kept.
    pub key: Option<Key>,
}

/// Whether and how much audio of the sessions is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioParams {
    /// Whether the audio of new sessions is kept.
    pub is_on: bool,
    /// Time after its end that the audio of a session is deleted, where its labels stay longer.
    pub keep: Option<Duration>,
    /// Size of all audio; beyond it the oldest leaves.
    pub max_bytes: u64,
}

impl Default for AudioParams {
    fn default() -> Self {
        Self { is_on: false, keep: None, max_bytes: 8 << 30 }
    }
}

impl StorageParams {
    /// The file at `path`, with sessions kept until a client deletes them.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let audio = AudioParams::default();
        Self {
            path: path.into(),
            keep: None,
            max_bytes: 4 << 30,
            max_session_bytes: 64 << 20,
            audio,
            hands_over: false,
            key: None,
        }
    }
}
