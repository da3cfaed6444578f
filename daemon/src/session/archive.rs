//! What is stored of a session.

use std::time::SystemTime;

use bytestring::ByteString;

use super::ledger::Entry;
use super::source::Source;
use super::state_at::StateAt;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::secret::SecretHash;

/// A session that has ended and was kept, as it is put together again.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    pub(crate) id: String,
    pub(crate) source: Source,
    pub(crate) format: AudioFormat,
    pub(crate) options: SessionOptions,
    pub(crate) began: SystemTime,
    pub(crate) token_hash: SecretHash,
    pub(crate) moment: StateAt,
    /// The last events before `moment`, encoded.
    pub(crate) events: Vec<ByteString>,
    /// Its corrections, the oldest first.
    pub(crate) corrections: Vec<Entry>,
}
