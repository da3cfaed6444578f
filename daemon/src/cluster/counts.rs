//! Counters of the cluster.

use crate::metrics::Count;

/// What a node counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Events written to NATS.
    pub(super) events: Count,
    /// Messages that NATS did not take at once.
    pub(super) failures: Count,
    /// Copies of voices of running sessions.
    pub(super) copies: Count,
    /// Sessions of other nodes that went on here.
    pub(super) taken: Count,
    /// Bytes of audio that NATS took.
    pub(super) audio: Count,
    /// Questions to other nodes.
    pub(super) asked: Count,
}
