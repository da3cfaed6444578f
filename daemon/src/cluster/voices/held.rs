//! What this node knows of the bucket of voices, and what is to be written there.

use std::collections::BTreeMap;

use async_nats::jetstream::kv::{Entry, Operation};
use bytes::Bytes;
use diarized_models::voiceprint::ModelId;

use super::cabinet::{CHECK, Cabinet, key_of, mark_of, parts_of};
use super::fault::Fault;
use crate::voices::{Others, Version};

/// The last values of the bucket, by key.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<String, Value>);

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) revision: u64,
    /// None of a key that was deleted with the tools of NATS.
    pub(super) bytes: Option<Bytes>,
    /// What is in it, once it was opened.
    opened: Option<Result<(ModelId, Version), String>>,
}

/// A value to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Due {
    pub(super) key: String,
    pub(super) model: ModelId,
    pub(super) version: Version,
}

impl Held {
    /// Takes a newer value. Whether it is news.
    pub(super) fn take(&mut self, entry: &Entry) -> bool {
        let is_put = entry.operation == Operation::Put;
        let bytes = is_put.then(|| entry.value.clone());
        if self.0.get(&entry.key).is_some_and(|known| known.revision >= entry.revision) {
            return false;
        }
        self.0.insert(entry.key.clone(), Value { revision: entry.revision, bytes, opened: None });
        true
    }

    /// Takes what was written by this node.
    pub(super) fn wrote(&mut self, due: Due, revision: u64, bytes: Bytes) {
        let opened = Some(Ok((due.model, due.version)));
        self.0.insert(due.key, Value { revision, bytes: Some(bytes), opened });
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub(super) fn check(&self) -> Option<&Bytes> {
        self.0.get(CHECK)?.bytes.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(|value| value.bytes.is_none())
    }

    /// Opens what is new. What cannot be used, if there is anything.
    pub(super) fn open(&mut self, cabinet: &Cabinet) -> Option<Fault> {
        for (key, value) in self.0.iter_mut().filter(|(key, _)| *key != CHECK) {
            if let (Some(bytes), None) = (&value.bytes, &value.opened) {
                value.opened = Some(cabinet.open(key, bytes));
            }
        }
        let mut unreadable = self
            .0
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.opened.as_ref()?.as_ref().err()?.clone())));
        let (key, reason) = unreadable.next()?;
        Some(Fault::Unreadable { n: 1 + unreadable.count(), key, reason })
    }

    /// What others have, for a node with this model.
    pub(super) fn others(&self, model: &ModelId) -> Others {
        let own_mark = mark_of(model);
        let mut others = Others::default();
        for (mark, id, _, version) in self.versions() {
            if mark == own_mark {
                others.voices.insert(id.to_owned(), version.clone());
            } else if version.n_deleted > 0 {
                let deleted = others.deleted.remove(id).unwrap_or_default();
                others.deleted.insert(id.to_owned(), deleted.join(version.tombstone()));
            }
        }
        others
    }

    /// Mark, id, key and version of each voice.
    fn versions(&self) -> impl Iterator<Item = (&str, &str, &str, &Version)> {
        self.0.iter().filter_map(|(key, value)| {
            let (mark, id) = parts_of(key)?;
            let (_, version) = value.opened.as_ref()?.as_ref().ok()?;
            Some((mark, id, key.as_str(), version))
        })
    }

    /// What must be written so that the bucket has what `voices` by `model` are now. What deletes comes first, as it makes room.
    pub(super) fn due(&self, model: &ModelId, voices: &BTreeMap<String, Version>) -> Vec<Due> {
        let mut due = Vec::new();
        for (id, version) in voices {
            let key = key_of(model, id);
            let is_due = match self.0.get(&key).map(|value| &value.opened) {
                Some(Some(Ok((_, known)))) => known != version,
                // It is left alone.
                Some(Some(Err(_))) => false,
                Some(None) | None => true,
            };
            if is_due {
                due.push(Due { key, model: model.clone(), version: version.clone() });
            }
        }
        // A deletion is the person's, by whichever model.
        let own_mark = mark_of(model);
        for (_, id, key, known) in self.versions().filter(|(mark, ..)| *mark != own_mark) {
            if let Some(version) = voices.get(id).filter(|version| version.n_deleted > known.n_deleted)
                && let Some(Some(Ok((model, _)))) = self.0.get(key).map(|value| value.opened.as_ref())
            {
                let version = known.tombstone().join(version.tombstone());
                due.push(Due { key: key.to_owned(), model: model.clone(), version });
            }
        }
        due.sort_by_key(|due| due.version.alive.is_some());
        due
    }
}
