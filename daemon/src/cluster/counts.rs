//! Counters of the cluster.

use crate::metrics::Count;

/// What a node counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Events written to NATS.
    pub(super) events: Count,
    /// Messages that NATS did not take at once.
    pub(super) failures: Count,
    /// Questions to other nodes.
    pub(super) asked: Count,
}
