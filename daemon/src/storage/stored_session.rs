//! One kept session, without its labels.

use std::time::SystemTime;

use crate::protocol::AudioFormat;
use crate::protocol::server_message::EndReason;
use crate::session::Source;

/// One kept session, without its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSession {
    /// Id of the session.
    pub id: String,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Where its audio came from.
    pub source: Source,
    /// What the publisher declared its audio to be.
    pub format: AudioFormat,
    /// When it began.
    pub began: SystemTime,
    /// Number of its last event.
    pub seq: u64,
    /// Audio processed, in samples at 16 kHz.
    pub at: u64,
    /// How many speakers it has.
    pub n_speakers: usize,
    /// How many segments it has.
    pub n_segments: usize,
    /// Why it ended; none while it runs.
    pub reason: Option<EndReason>,
}
