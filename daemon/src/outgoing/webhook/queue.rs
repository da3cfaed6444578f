//! Events that wait for one address: bounded, the oldest leave first and are counted.

use std::collections::VecDeque;

use bytestring::ByteString;

/// Bytes of all events that wait.
const MAX_BYTES: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Queue {
    max_events: usize,
    events: VecDeque<ByteString>,
    n_bytes: usize,
    missed: u64,
}

impl Queue {
    pub(super) fn new(max_events: usize) -> Self {
        Self { max_events, events: VecDeque::new(), n_bytes: 0, missed: 0 }
    }

    pub(super) fn push(&mut self, event: ByteString) {
        self.n_bytes += event.len();
        self.events.push_back(event);
        while self.events.len() > 1 && (self.events.len() > self.max_events || self.n_bytes > MAX_BYTES) {
            if let Some(old) = self.events.pop_front() {
                self.n_bytes -= old.len();
                self.missed += 1;
            }
        }
    }

    /// Events that wait.
    pub(super) fn n_events(&self) -> usize {
        self.events.len()
    }

    /// Counts events that could not be queued.
    pub(super) fn miss(&mut self, n: u64) {
        self.missed += n;
    }

    /// The oldest events, at least one, and the number of those that were lost before them; `None` if none waits.
    pub(super) fn take(&mut self, max_events: usize, max_bytes: usize) -> Option<(Vec<ByteString>, u64)> {
        let mut out = Vec::new();
        let mut n_bytes = 0;
        while out.len() < max_events
            && let Some(event) =
                self.events.pop_front_if(|event| out.is_empty() || n_bytes + event.len() <= max_bytes)
        {
            n_bytes += event.len();
            out.push(event);
        }
        self.n_bytes -= n_bytes;
        (!out.is_empty()).then(|| (out, std::mem::take(&mut self.missed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_leave_and_are_counted() {
        let mut queue = Queue::new(3);
        assert_eq!(queue.take(10, 100), None);
        for n in 0..5 {
            queue.push(n.to_string().into());
        }
        queue.miss(7);
        let texts = |events: &[ByteString]| events.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        let (events, missed) = queue.take(2, 100).unwrap();
        assert_eq!((texts(&events), missed), (vec!["2".to_owned(), "3".to_owned()], 9));
        let (events, missed) = queue.take(2, 0).unwrap();
        assert_eq!((texts(&events), missed), (vec!["4".to_owned()], 0), "one event fits always");
        assert_eq!((queue.n_bytes, queue.take(2, 100)), (0, None));
    }
}
