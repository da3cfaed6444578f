//! What people wrote of a session beside its labels, and what of it can be undone.

use std::collections::BTreeMap;

use crate::protocol::Body;
use crate::protocol::corrections::{Correctable, Note};
use crate::protocol::server_message::Snapshot;

/// Kept equal by its events, like the labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Its notes, all with a text.
    pub notes: BTreeMap<u64, Note>,
    /// Id of the next note.
    pub next_note: u64,
    /// What `undo` takes back.
    pub undo: Option<Correctable>,
    /// What `redo` makes again.
    pub redo: Option<Correctable>,
}

impl About {
    /// What a snapshot holds of it.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let notes: BTreeMap<_, _> = snapshot.notes.iter().map(|note| (note.id, note.clone())).collect();
        Self {
            title: snapshot.title.clone(),
            next_note: notes.last_key_value().map_or(0, |(id, _)| *id) + 1,
            notes,
            undo: snapshot.undo.clone(),
            redo: snapshot.redo.clone(),
        }
    }

    /// Applies one event; others change nothing.
    pub(crate) fn apply(&mut self, body: &Body) {
        match body {
            Body::Title(title) => self.title.clone_from(&title.title),
            Body::Note(note) => {
                self.next_note = self.next_note.max(note.id + 1);
                if note.text.is_some() {
                    self.notes.insert(note.id, note.clone());
                } else {
                    self.notes.remove(&note.id);
                }
            }
            Body::Correction(correction) => {
                self.undo.clone_from(&correction.undo);
                self.redo.clone_from(&correction.redo);
            }
            _ => {}
        }
    }

    /// Whether an event is one of those that change it.
    pub(crate) fn takes(body: &Body) -> bool {
        matches!(body, Body::Title(_) | Body::Note(_) | Body::Correction(_))
    }

    /// Adds it to the snapshot of the labels.
    pub(crate) fn describe(&self, snapshot: &mut Snapshot) {
        snapshot.title.clone_from(&self.title);
        snapshot.notes = self.notes.values().cloned().collect();
        snapshot.undo.clone_from(&self.undo);
        snapshot.redo.clone_from(&self.redo);
    }
}
