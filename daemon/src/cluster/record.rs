//! What all nodes know of a session: one value of a bucket, written by the node where the session runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diarized_dsp::SampleIndex;
use serde::{Deserialize, Serialize};

use super::node::FORMAT;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, is_session_id};
use crate::session::{Session, Source};

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of what the nodes exchange.
    pub(super) format: u32,
    /// Name of the node that writes it.
    pub(crate) node: String,
    pub(super) began_unix_ms: u64,
    source: String,
    pub(crate) audio: AudioFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// Audio processed, in samples at 16 kHz.
    at: u64,
    /// Number of its last event.
    pub(crate) seq: u64,
    pub(crate) speakers: usize,
    pub(crate) segments: usize,
    /// Whether its audio comes.
    pub(crate) connected: bool,
    /// Why it ended; none while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<EndReason>,
    /// Where in the stream of events its newest snapshot begins; 0 where its first event is there.
    pub(super) base: u64,
}

impl Record {
    /// A session of this node as it is now.
    pub(super) fn of(session: &Session, node: &str, base: u64) -> Self {
        let channel = session.channel();
        let now = channel.now();
        Self {
            format: FORMAT,
            node: node.to_owned(),
            began_unix_ms: unix_ms(session.began()),
            source: channel.source().as_str().to_owned(),
            audio: session.format(),
            title: now.about.title.clone(),
            at: now.at.0,
            seq: now.seq,
            speakers: now.state.speakers().len(),
            segments: now.state.segments().len(),
            connected: now.ended.is_none()
                && (session.has_publisher() || channel.source() == Source::Microphone),
            reason: now.ended,
            base,
        }
    }

    /// The same session once it ended with event `seq`.
    pub(super) fn ended(self, reason: EndReason, seq: u64) -> Self {
        Self { reason: Some(reason), seq, connected: false, ..self }
    }

    /// Reads the value of session `id`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(id: &str, bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            let got = record.format;
            return Err(format!("it is of format {got}, and this version reads {FORMAT}"));
        }
        if !is_session_id(id) {
            return Err("its id is none".to_owned());
        }
        if !is_session_id(&record.node) {
            return Err(format!("node {:?} is no name", record.node));
        }
        record.audio.check().map_err(|error| error.to_string())?;
        record.source.parse::<Source>().map_err(|_| format!("source {:?} is unknown", record.source))?;
        Ok(record)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and finite numbers have a JSON form")
    }

    pub(crate) fn source(&self) -> Source {
        self.source.parse().unwrap_or(Source::Stream)
    }

    pub(crate) fn at(&self) -> SampleIndex {
        SampleIndex(self.at)
    }

    pub(crate) fn began(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.began_unix_ms)
    }

    /// Whether it is about this session of this node.
    pub(super) fn is_of(&self, session: &Session, node: &str) -> bool {
        self.node == node && self.began_unix_ms == unix_ms(session.began())
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
