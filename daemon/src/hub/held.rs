//! Sessions outside the hub's own list that somebody still holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::session::Session;

/// Sessions outside the hub's own list that somebody still holds, so that all who look for one get the same.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<String, Weak<Session>>);

impl Held {
    /// The session of this id, if somebody holds it.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.0.get(id).and_then(Weak::upgrade)
    }

    /// Remembers a session as long as somebody holds it.
    pub(super) fn add(&mut self, session: &Arc<Session>) {
        self.0.retain(|_, held| held.strong_count() > 0);
        self.0.insert(session.id().to_owned(), Arc::downgrade(session));
    }

    /// Forgets a session that is deleted.
    pub(super) fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }
}
