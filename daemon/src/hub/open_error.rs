//! Why a session does not run here.

use crate::session::StartError;
use crate::tenants::OverLimit;

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A live session has this id.
    #[error("a live session has the id {id:?} already; choose another or end that one first")]
    Conflict {
        /// The id.
        id: String,
    },
    /// As many sessions run as may.
    #[error("the limit of {max} running sessions is reached (server.max_sessions); try again later")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The client's token may use no more.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The machine does not keep up with the sessions that run.
    #[error("the machine is too slow for the sessions that run already; try again later")]
    Overloaded,
    /// This node only labels what others take in.
    #[error("node {node:?} of the cluster takes no audio in (cluster.roles); connect to one that does")]
    NoIntake {
        /// Its name.
        node: String,
    },
    /// This node only takes audio in, and no other one can label it now.
    #[error("no node of the cluster that labels audio has room, or NATS is away; try again later")]
    NoLabeller,
    /// The process is on its way out.
    #[error("the server shuts down")]
    ShuttingDown,
    /// The session could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}
