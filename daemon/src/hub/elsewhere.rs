//! Sessions of other nodes, as the hub sees them: `cluster` has them, and the hub knows it by this interface only.

use std::any::Any;
use std::sync::Arc;
use std::time::SystemTime;

use diarized_dsp::SampleIndex;
use futures_util::future::BoxFuture;

use super::open_error::OpenError;
use crate::access::TenantId;
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Command, CorrectionError, Session, Source};
use crate::storage::StorageError;

/// One session of another node, without its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedElsewhere {
    /// Id of the session.
    pub id: String,
    /// Name of its node.
    pub node: String,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Where its audio comes from.
    pub source: Source,
    /// What the publisher declared its audio to be.
    pub format: AudioFormat,
    /// When it began.
    pub began: SystemTime,
    /// Number of its last event.
    pub seq: u64,
    /// Audio processed.
    pub at: SampleIndex,
    /// How many speakers it has.
    pub n_speakers: usize,
    /// How many segments it has.
    pub n_segments: usize,
    /// Whether its audio comes.
    pub is_connected: bool,
    /// Why it ended; none while it runs.
    pub reason: Option<EndReason>,
}

/// Why a session does not go on here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TakeError {
    /// There is none of this id.
    #[error("there is no session {id:?}")]
    Unknown {
        /// The id.
        id: String,
    },
    /// The secret is another one.
    #[error("the token is not the one that `started` gave for session {id:?}")]
    Secret {
        /// The id.
        id: String,
    },
    /// Its node or NATS does not let it go.
    #[error("session {id:?} is of node {node:?} of the cluster and cannot go on here: {reason}")]
    Refused {
        /// The id.
        id: String,
        /// Its node.
        node: String,
        /// Why.
        reason: String,
    },
    /// This node has no room for it, or cannot run it.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The sessions of other nodes.
pub(crate) trait Elsewhere: Send + Sync {
    /// Name of this node.
    fn node(&self) -> &str;

    /// Whether this node takes audio of clients in.
    fn takes_in(&self) -> bool;

    /// Whether this node labels the audio that it takes in.
    fn labels(&self) -> bool;

    /// Whether the audio of this session, which runs, comes through the cluster.
    fn is_fed(&self, id: &str) -> bool;

    /// Opens a session that another node labels; `None` where none has room.
    fn open<'a>(
        &'a self,
        id: &'a str,
        format: AudioFormat,
        options: SessionOptions,
        tenant: Option<&'a TenantId>,
    ) -> BoxFuture<'a, Result<Option<Arc<Session>>, OpenError>>;

    /// Whether a session of this id is known, on any node; whether it runs.
    fn known(&self, id: &str) -> Option<bool>;

    /// The sessions of other nodes that are known, the oldest first.
    fn list(&self) -> Vec<ListedElsewhere>;

    /// Ids of the sessions of this token that run on other nodes.
    fn running_of(&self, tenant: &TenantId) -> Vec<String>;

    /// The session of this id, followed from now on as long as somebody holds it.
    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<Session>>, StorageError>>;

    /// Acts on a session of another node; its events are here when this returns. Gives the seconds of its audio that are safe.
    fn act<'a>(
        &'a self,
        session: &'a Session,
        command: Command,
    ) -> BoxFuture<'a, Result<f64, CorrectionError>>;

    /// Ends or forgets a session that is not of this node. Whether there was one.
    fn forget<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, StorageError>>;

    /// Takes what is there of an ended session of this node away.
    fn erase<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Whether a node has let the session of this id go, and it does not run on this one.
    fn has_moved(&self, id: &str) -> bool;

    /// Whether another node could go on now with what a session leaves.
    fn can_take(&self) -> bool;

    /// Goes on here with a session of another node, for the client that has its secret. A session that has ended is only
    /// followed.
    fn take<'a>(&'a self, id: &'a str, secret: &'a str) -> BoxFuture<'a, Result<Arc<Session>, TakeError>>;

    /// All sessions of other nodes that are followed now.
    fn followed(&self) -> Vec<Arc<Session>>;

    /// Has all that run followed, as long as the returned value is held.
    fn follow_all(&self) -> Box<dyn Any + Send + Sync>;
}
