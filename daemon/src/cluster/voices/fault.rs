//! What keeps voices from being shared, for people.

use parking_lot::Mutex;

use crate::cluster::error::ClusterError;
use crate::voices::StoreError;

/// Why voices are not shared, or not all of them.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(
        "voices are not shared: {origin} is not the key that the voices in NATS are sealed with; use one key at all nodes \
         (voices.key_file or DIARIZED_VOICES_KEY). Nothing of them is read, changed or deleted here"
    )]
    WrongKey { origin: String },
    #[error(
        "voices are not shared: this node has no key; use that of the other nodes (voices.key_file or DIARIZED_VOICES_KEY)"
    )]
    NoKey,
    #[error("voices are not shared for now: {0}; it is tried again")]
    Store(#[source] StoreError),
    #[error("voices are not shared for now: {0}; what changes here is kept, and follows later")]
    Nats(#[source] ClusterError),
    #[error(
        "{n} values of voices in NATS cannot be used and are left alone: {key}: {reason}; `nats kv purge` removes one, and \
         nodes that have the voice write it again"
    )]
    Unreadable { n: usize, key: String, reason: String },
    #[error(
        "voice {voice} is not shared: it has {size} bytes, and NATS takes {max} (max_payload); enrol it again with fewer \
         recordings"
    )]
    TooLarge { voice: String, size: usize, max: usize },
    #[error(
        "{n} deleted voices are not yet wiped from the file of the store, which another program reads; it is tried again"
    )]
    Unwiped { n: usize },
}

/// The state of sharing.
#[derive(Debug, Default)]
pub(super) struct State(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    fault: Option<String>,
    twins: Option<String>,
    n_shared: usize,
    /// Deleted voices whose traces are in the file of the store.
    n_unwiped: usize,
}

impl State {
    /// More voices were deleted from the store. How many have traces in its file.
    pub(super) fn deleted(&self, n: usize) -> usize {
        let mut inner = self.0.lock();
        inner.n_unwiped += n;
        inner.n_unwiped
    }

    pub(super) fn owes_wiping(&self) -> bool {
        self.0.lock().n_unwiped > 0
    }

    pub(super) fn wiped(&self) {
        self.0.lock().n_unwiped = 0;
    }

    /// Something went wrong; logged where it is new.
    pub(super) fn failed(&self, fault: &Fault) {
        let text = fault.to_string();
        if self.0.lock().fault.replace(text.clone()).is_none_or(|before| before != text) {
            match fault {
                Fault::WrongKey { .. } | Fault::NoKey => tracing::error!("{text}"),
                _ => tracing::warn!("{text}"),
            }
        }
    }

    /// All voices are shared; `n_shared` is their number.
    pub(super) fn well(&self, n_shared: usize) {
        let mut inner = self.0.lock();
        if inner.fault.take().is_some() {
            tracing::info!(voices = n_shared, "all voices are shared");
        }
        inner.n_shared = n_shared;
    }

    /// Ids of voices that have one name, if there are any.
    pub(super) fn twins(&self, twins: Option<String>) {
        let mut inner = self.0.lock();
        if twins.is_some() && inner.twins != twins {
            tracing::warn!(
                ids = twins,
                "voices have one name, enrolled at different nodes: rename or delete one"
            );
        }
        inner.twins = twins;
    }

    pub(super) fn n_shared(&self) -> usize {
        self.0.lock().n_shared
    }

    pub(super) fn has_fault(&self) -> bool {
        self.0.lock().fault.is_some()
    }

    /// What people should know.
    pub(super) fn remark(&self) -> Option<String> {
        let inner = self.0.lock();
        let twins = |ids: &String| format!("voices {ids} have one name: rename or delete one, by its id");
        let text = inner.fault.clone().or_else(|| inner.twins.as_ref().map(twins))?;
        Some(format!("cluster: {text}"))
    }
}
