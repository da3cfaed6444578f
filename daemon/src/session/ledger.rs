//! The corrections of a session in order: who made them and when, and what undoes them.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::correction_error::CorrectionError;
use crate::protocol::Decimal;
use crate::protocol::Step;
use crate::protocol::corrections::{Correctable, Corrected};

/// Corrections that a session remembers; the oldest leave first.
pub(crate) const MAX_ENTRIES: usize = 1000;

/// Bytes that they take together, or little more.
const MAX_BYTES: usize = 8 << 20;

/// One correction as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number within the session, from 1.
    pub id: u64,
    /// What it does: the type of its message, or `voice`.
    pub kind: String,
    /// The correction that it undoes or makes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Name of the token that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was made, in ms since 1970.
    pub unix_ms: u64,
    /// What takes it back; empty for an undo or a redo.
    pub undo: Step,
    /// What makes it again; empty for an undo or a redo.
    pub redo: Step,
}

/// Which way a correction is gone over again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Taken back.
    Undo,
    /// Made once more.
    Redo,
}

impl Again {
    /// The word of the message.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Undo => "undo",
            Self::Redo => "redo",
        }
    }
}

impl Entry {
    /// What it takes in memory, about.
    fn n_bytes(&self) -> usize {
        let of = |step: &Step| {
            let note = step.note.as_ref().and_then(|note| note.text.as_ref()).map_or(0, String::len);
            size_of::<Step>() + 80 * step.changes.len() + 300 * (step.missing.len() + step.named.len()) + note
        };
        of(&self.undo) + of(&self.redo)
    }
}

/// All corrections of a session, and which of them stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Arc<Entry>>,
    n_bytes: usize,
    /// Those that can be undone, the newest last.
    standing: Vec<Arc<Entry>>,
    /// Those that can be made again, the one that was undone last at the end.
    undone: Vec<Arc<Entry>>,
}

impl Ledger {
    /// The ledger that these entries lead to.
    pub(super) fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut ledger = Self::default();
        entries.into_iter().for_each(|entry| drop(ledger.push(entry)));
        ledger
    }

    /// Number of the next entry.
    pub(super) fn next_id(&self) -> u64 {
        self.entries.back().map_or(1, |last| last.id + 1)
    }

    /// Entries, the oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }

    /// Entries after number `id`.
    pub(super) fn after(&self, id: u64) -> Vec<Arc<Entry>> {
        self.entries.iter().filter(|entry| entry.id > id).cloned().collect()
    }

    /// Adds an entry, and gives the event about it.
    pub(super) fn push(&mut self, entry: Entry) -> Corrected {
        let entry = Arc::new(entry);
        match entry.kind.as_str() {
            "undo" => self.undone.extend(self.standing.pop()),
            "redo" => self.standing.extend(self.undone.pop()),
            _ => {
                self.undone.clear();
                self.standing.push(Arc::clone(&entry));
            }
        }
        self.entries.push_back(Arc::clone(&entry));
        self.n_bytes += entry.n_bytes();
        while self.entries.len() > 1 && (self.entries.len() > MAX_ENTRIES || self.n_bytes > MAX_BYTES) {
            let oldest = self.entries.pop_front();
            self.n_bytes -= oldest.map_or(0, |oldest| oldest.n_bytes());
        }
        let first = self.entries.front().map_or(0, |oldest| oldest.id);
        self.standing.retain(|entry| entry.id >= first);
        self.undone.retain(|entry| entry.id >= first);
        Corrected {
            id: entry.id,
            kind: entry.kind.clone(),
            of: entry.of,
            by: entry.by.clone(),
            unix_s: Decimal(entry.unix_ms as f64 / 1000.0),
            undo: correctable(self.standing.last()),
            redo: correctable(self.undone.last()),
        }
    }

    /// The correction that is undone or made again next, and what that sets. `wanted` is the one that the client means.
    ///
    /// # Errors
    /// There is none, or another one than the client means.
    pub(super) fn next(&self, again: Again, wanted: Option<u64>) -> Result<(u64, Step), CorrectionError> {
        let (entry, nothing) = match again {
            Again::Undo => (self.standing.last(), "there is no correction to undo"),
            Again::Redo => (self.undone.last(), "there is no undone correction to make again"),
        };
        let refused = |reason: String| CorrectionError::Refused { reason };
        let entry = entry.ok_or_else(|| refused(nothing.to_owned()))?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != entry.id) {
            let reason = format!(
                "correction {wanted} is not the next to {}, another one came since: {} is",
                again.kind(),
                entry.id
            );
            return Err(refused(reason));
        }
        let step = match again {
            Again::Undo => &entry.undo,
            Again::Redo => &entry.redo,
        };
        Ok((entry.id, step.clone()))
    }
}

fn correctable(entry: Option<&Arc<Entry>>) -> Option<Correctable> {
    entry.map(|entry| Correctable { id: entry.id, kind: entry.kind.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ledger: &Ledger, kind: &str, of: Option<u64>) -> Entry {
        let (undo, redo) = (Step::default(), Step::default());
        Entry { id: ledger.next_id(), kind: kind.to_owned(), of, by: None, unix_ms: 0, undo, redo }
    }

    fn add(ledger: &mut Ledger, kind: &str) -> (Option<u64>, Option<u64>) {
        let again = match kind {
            "undo" => Some(Again::Undo),
            "redo" => Some(Again::Redo),
            _ => None,
        };
        let of = again.map(|again| ledger.next(again, None).unwrap().0);
        let emitted = ledger.push(entry(ledger, kind, of));
        (emitted.undo.map(|c| c.id), emitted.redo.map(|c| c.id))
    }

    #[test]
    fn corrections_are_undone_and_made_again_in_order() {
        let mut ledger = Ledger::default();
        assert_eq!(add(&mut ledger, "rename"), (Some(1), None));
        assert_eq!(add(&mut ledger, "merge"), (Some(2), None));
        assert_eq!(add(&mut ledger, "undo"), (Some(1), Some(2)));
        assert_eq!(add(&mut ledger, "undo"), (None, Some(1)));
        assert!(ledger.next(Again::Undo, None).is_err());
        assert_eq!(add(&mut ledger, "redo"), (Some(1), Some(2)));
        let again = Ledger::of(ledger.entries().map(|entry| (**entry).clone()));
        assert_eq!(again.next(Again::Redo, Some(2)), ledger.next(Again::Redo, None));
        let other = again.next(Again::Undo, Some(2)).unwrap_err().to_string();
        assert!(other.contains("another one came since: 1 is"), "{other}");
        assert_eq!(add(&mut ledger, "title"), (Some(6), None), "what was undone before it is gone");
        assert!(ledger.next(Again::Redo, None).is_err());
        assert_eq!(ledger.after(4).iter().map(|entry| entry.id).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn old_corrections_leave() {
        let mut ledger = Ledger::default();
        for _ in 0..MAX_ENTRIES + 5 {
            add(&mut ledger, "rename");
        }
        assert_eq!((ledger.entries().count(), ledger.entries().next().unwrap().id), (MAX_ENTRIES, 6));
        assert_eq!(ledger.standing.len(), MAX_ENTRIES);
        let ids: Vec<_> = (0..50_000).map(diarized_models::SegmentId).collect();
        let [from, to] = [1, 2].map(diarized_models::SpeakerId);
        for _ in 0..20 {
            let undo = Step::default().moving(&ids, from, to);
            let large = Entry { undo, ..entry(&ledger, "merge", None) };
            ledger.push(large);
        }
        assert_eq!(ledger.entries().count(), 2, "large ones leave sooner");
        assert_eq!(ledger.standing.len(), 2);
    }
}
