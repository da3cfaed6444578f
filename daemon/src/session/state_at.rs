//! A session at one moment: its labels, and what people wrote of it.

use std::sync::Arc;

use diarized_dsp::SampleIndex;
use diarized_models::SessionState;

use super::about::About;
use super::source::Source;
use crate::protocol::server_message::{EndReason, ServerMessage, Snapshot};

/// The state of a session at one moment.
#[derive(Debug, Clone)]
pub struct StateAt {
    /// Number of the last event in it.
    pub seq: u64,
    /// Audio processed at that event.
    pub at: SampleIndex,
    /// The labels.
    pub state: Arc<SessionState>,
    /// What people wrote of the session.
    pub about: Arc<About>,
    /// Highest label that was ever given.
    pub last_speaker: u32,
    /// Highest id of a segment that was ever given.
    pub last_segment: u64,
    /// Why it ended, if it has.
    pub ended: Option<EndReason>,
}

impl StateAt {
    /// What a late subscriber gets of session `id`.
    #[must_use]
    pub(crate) fn snapshot(&self, id: &str, source: Source) -> ServerMessage {
        let mut snapshot = Snapshot::of(&self.state, source.as_str(), self.ended);
        self.about.describe(&mut snapshot);
        ServerMessage {
            session: Some(id.to_owned()),
            seq: Some(self.seq),
            at: Some(self.at.into()),
            body: snapshot.into(),
        }
    }
}
