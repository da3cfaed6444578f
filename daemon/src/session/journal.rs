//! The journal: numbered recent events of a session, bounded by count and size.

use std::collections::VecDeque;

use bytestring::ByteString;

/// How much a journal keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalParams {
    /// Events at most; at least 1.
    pub max_events: usize,
    /// Bytes of encoded events at most; the newest event is kept whatever its size.
    pub max_bytes: usize,
}

impl Default for JournalParams {
    fn default() -> Self {
        Self { max_events: 4096, max_bytes: 2 << 20 }
    }
}

/// Encoded events with consecutive numbers from 1; the oldest leave first.
#[derive(Debug)]
pub(super) struct Journal {
    params: JournalParams,
    entries: VecDeque<ByteString>,
    n_bytes: usize,
    last_seq: u64,
}

impl Journal {
    pub(super) fn new(params: JournalParams) -> Self {
        Self { params, entries: VecDeque::new(), n_bytes: 0, last_seq: 0 }
    }

    /// Takes the events after `base_seq`, which it does not hold. It must be empty.
    pub(super) fn fill(&mut self, base_seq: u64, events: Vec<ByteString>) {
        self.last_seq = base_seq;
        events.into_iter().for_each(|json| self.push(json));
    }

    /// Goes on after event `last_seq`, without any that came before.
    pub(super) fn restart(&mut self, last_seq: u64) {
        self.entries.clear();
        (self.last_seq, self.n_bytes) = (last_seq, 0);
    }

    /// Bytes of the events that are here.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Number of the newest event, 0 before the first.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Number of the oldest event that is still here; one past the newest if none is.
    pub(super) fn first_seq(&self) -> u64 {
        self.last_seq + 1 - self.entries.len() as u64
    }

    /// Appends the event whose number is [`Self::last_seq`] + 1.
    pub(super) fn push(&mut self, json: ByteString) {
        self.last_seq += 1;
        self.n_bytes += json.len();
        self.entries.push_back(json);
        while self.entries.len() > 1
            && (self.entries.len() > self.params.max_events || self.n_bytes > self.params.max_bytes)
        {
            if let Some(old) = self.entries.pop_front() {
                self.n_bytes -= old.len();
            }
        }
    }

    /// Events from number `seq` on, at most `max`; `None` if `seq` has left the journal already.
    pub(super) fn from(&self, seq: u64, max: usize) -> Option<impl Iterator<Item = &ByteString>> {
        let skip = seq.checked_sub(self.first_seq())?;
        Some(self.entries.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_leave_by_count_and_by_size() {
        let mut journal = Journal::new(JournalParams { max_events: 3, max_bytes: 10 });
        assert_eq!((journal.first_seq(), journal.last_seq()), (1, 0));
        for n in 1..=5 {
            journal.push(ByteString::from(n.to_string()));
        }
        assert_eq!((journal.first_seq(), journal.last_seq()), (3, 5));
        let kept: Vec<_> = journal.from(4, 9).unwrap().map(|j| j.to_string()).collect();
        assert_eq!(kept, ["4", "5"]);
        assert!(journal.from(2, 9).is_none());
        assert_eq!(journal.from(6, 9).unwrap().count(), 0);
        journal.push(ByteString::from("a text of more than ten bytes"));
        assert_eq!((journal.first_seq(), journal.last_seq()), (6, 6));
    }
}
