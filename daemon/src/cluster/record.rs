//! What all nodes know of a session: one value of a bucket, written by the node where the session runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::kv::Operation;
use diarized_dsp::SampleIndex;
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, refused};
use super::link::Stores;
use super::node::FORMAT;
use crate::access::TenantId;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions, is_session_id};
use crate::secret::SecretHash;
use crate::session::{Session, Source};

/// What is asked of NATS for a record.
pub(super) const LOOK: &str = "a look at a session";

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
    /// What its client wants of it.
    #[serde(default)]
    pub(super) options: SessionOptions,
    /// Hash of its publisher's secret.
    #[serde(default)]
    secret: String,
    /// The tenant of the session: a mark of the token that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// How another node goes on with it.
    #[serde(default)]
    pub(super) going_on: GoingOn,
}

/// How another node goes on with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct GoingOn {
    /// How often it went from one node to another.
    pub(super) moves: u32,
    /// Everything before this, in samples at 16 kHz, is labelled by the events that are there.
    pub(super) labelled: u64,
    /// The copy of its voices, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) copy: Option<VoicesCopy>,
    /// Whether its node has stopped it for another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_left: bool,
    /// Whether its audio comes through NATS, from a node that takes it in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_fed: bool,
}

/// A copy of the voices of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoicesCopy {
    /// Moves of the session when it was made.
    pub(super) moves: u32,
    /// Number of the copy since then.
    pub(super) number: u64,
    /// Values that it takes.
    pub(super) parts: u32,
}

impl Record {
    /// A session of this node as it is now.
    pub(super) fn of(session: &Session, node: &str, base: u64, going_on: GoingOn) -> Self {
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
            options: session.options(),
            secret: session.token_hash().to_string(),
            tenant: session.tenant().map(|tenant| tenant.as_str().to_owned()),
            going_on,
        }
    }

    /// A session before its first audio, which this node takes in for any node that labels.
    pub(super) fn offered(
        node: &str,
        audio: AudioFormat,
        options: SessionOptions,
        tenant: Option<&TenantId>,
        secret: &SecretHash,
    ) -> Self {
        Self {
            format: FORMAT,
            node: node.to_owned(),
            began_unix_ms: unix_ms(SystemTime::now()),
            source: Source::Stream.as_str().to_owned(),
            audio,
            title: None,
            at: 0,
            seq: 0,
            speakers: 0,
            segments: 0,
            connected: true,
            reason: None,
            base: 0,
            options,
            secret: secret.to_string(),
            tenant: tenant.map(|tenant| tenant.as_str().to_owned()),
            going_on: GoingOn { is_left: true, is_fed: true, ..GoingOn::default() },
        }
    }

    /// The same session, whose audio this node takes in for any node that labels.
    pub(super) fn offered_by(&self, node: &str) -> Self {
        let going_on = GoingOn { is_left: true, is_fed: true, ..self.going_on };
        Self { node: node.to_owned(), going_on, ..self.clone() }
    }

    /// Whether it waits for a node that labels it.
    pub(super) fn is_offered(&self) -> bool {
        self.reason.is_none() && self.going_on.is_fed && self.going_on.is_left
    }

    /// Whether it runs on audio that comes through NATS.
    pub(super) fn runs_fed(&self) -> bool {
        self.reason.is_none() && self.going_on.is_fed
    }

    /// The same session, which goes on at another node.
    pub(super) fn moved(&self, node: &str) -> Self {
        let moves = self.going_on.moves + 1;
        let going_on = GoingOn { moves, is_left: false, ..self.going_on };
        Self { node: node.to_owned(), going_on, ..self.clone() }
    }

    /// The same session, free for every node.
    pub(super) fn left(&self) -> Self {
        Self { going_on: GoingOn { is_left: true, ..self.going_on }, ..self.clone() }
    }

    /// Hash of its publisher's secret; none where no secret fits.
    pub(super) fn secret(&self) -> Option<SecretHash> {
        SecretHash::parse(&self.secret)
    }

    /// The tenant of the session, if it has one.
    pub(super) fn tenant(&self) -> Option<TenantId> {
        self.tenant.as_deref().and_then(TenantId::parse)
    }

    /// Whether it runs, belongs to this tenant, and is not of `node`.
    pub(super) fn runs_elsewhere_for(&self, tenant: &TenantId, node: &str) -> bool {
        self.reason.is_none() && self.node != node && self.tenant.as_deref() == Some(tenant.as_str())
    }

    /// The same session once it ended with event `seq`.
    pub(super) fn ended(self, reason: EndReason, seq: u64) -> Self {
        Self { reason: Some(reason), seq, connected: false, ..self }
    }

    /// The record of session `id` in NATS, or what is wrong with it, and its revision; none where there is none.
    ///
    /// # Errors
    /// NATS is away.
    pub(super) async fn read(
        stores: &Stores,
        id: &str,
    ) -> Result<Option<(Result<Self, String>, u64)>, ClusterError> {
        let entry = stores.sessions.entry(id).await.map_err(|error| refused(LOOK, &error))?;
        let entry = entry.filter(|entry| entry.operation == Operation::Put);
        Ok(entry.map(|entry| (Self::parse(id, &entry.value), entry.revision)))
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

    /// Whether it is about this session, on whatever node. Two sessions may begin in the same millisecond; their secrets differ.
    pub(super) fn is_about(&self, session: &Session) -> bool {
        let is_secret = self.secret.is_empty() || self.secret == session.token_hash().to_string();
        is_secret && self.began_unix_ms == unix_ms(session.began())
    }

    /// Whether it is about this session of this node.
    pub(super) fn is_of(&self, session: &Session, node: &str) -> bool {
        self.node == node && self.is_about(session)
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
