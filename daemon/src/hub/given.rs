//! Ids that sessions have had, also those whose session has left the memory.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

/// Ids that are remembered; beyond them the oldest is forgotten. About 3 MB.
const MAX_IDS: usize = 100_000;

/// The ids given since the start, as hashes of 64 bits: a collision makes an id look given, which costs its session a suffix.
#[derive(Debug, Default)]
pub(super) struct Given {
    hasher: RandomState,
    hashes: HashSet<u64>,
    /// Oldest first.
    order: VecDeque<u64>,
}

impl Given {
    pub(super) fn add(&mut self, id: &str) {
        let hash = self.hasher.hash_one(id);
        if !self.hashes.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(id))
    }

    /// Forgets the id of a session that a client deleted: it is free again.
    pub(super) fn remove(&mut self, id: &str) {
        let hash = self.hasher.hash_one(id);
        if self.hashes.remove(&hash) {
            self.order.retain(|known| *known != hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ids_are_remembered_and_deleted_ones_are_free() {
        let mut given = Given::default();
        for n in 0..MAX_IDS + 10 {
            given.add(&format!("room-{n}"));
            given.add(&format!("room-{n}"));
        }
        assert_eq!((given.hashes.len(), given.order.len()), (MAX_IDS, MAX_IDS));
        assert!(!given.has("room-9") && given.has("room-10") && !given.has("other"));
        given.remove("room-10");
        given.remove("other");
        assert!(!given.has("room-10") && given.has("room-11"));
        assert_eq!(given.order.len(), MAX_IDS - 1);
    }
}
