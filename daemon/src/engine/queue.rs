//! The queue of the inference threads, ordered by deadline.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// A window that waits longer than this behind its time means that the machine is too slow for its sessions: a first
/// label then takes more than the second that it is promised in.
const TOO_LATE: Duration = Duration::from_secs(1);
/// For how long after such a window the machine counts as overloaded.
const OVERLOAD_HOLD: Duration = Duration::from_secs(5);

/// Bounded earliest-deadline-first queue; first in, first out among equal deadlines.
#[derive(Debug)]
pub(super) struct DeadlineQueue<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
    emptied: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<T> {
    heap: BinaryHeap<Waiting<T>>,
    n_pushed: u64,
    closed: bool,
    /// When a job was last taken too late.
    late_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiting<T> {
    due: Instant,
    number: u64,
    job: T,
}

impl<T> DeadlineQueue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let inner = Inner { heap: BinaryHeap::new(), n_pushed: 0, closed: false, late_at: None };
        Self { inner: Mutex::new(inner), filled: Condvar::new(), emptied: Condvar::new(), capacity }
    }

    /// Adds a job; waits while the queue is full. A closed queue drops it.
    pub(super) fn push(&self, due: Instant, job: T) {
        let mut inner = self.inner.lock();
        while inner.heap.len() >= self.capacity && !inner.closed {
            self.emptied.wait(&mut inner);
        }
        self.insert(inner, due, job);
    }

    /// Adds a job unless the queue is full: then it comes back. A closed queue drops it.
    pub(super) fn try_push(&self, due: Instant, job: T) -> Option<T> {
        let inner = self.inner.lock();
        if inner.heap.len() >= self.capacity && !inner.closed {
            return Some(job);
        }
        self.insert(inner, due, job);
        None
    }

    fn insert(&self, mut inner: MutexGuard<'_, Inner<T>>, due: Instant, job: T) {
        if inner.closed {
            return;
        }
        inner.n_pushed += 1;
        let number = inner.n_pushed;
        inner.heap.push(Waiting { due, number, job });
        drop(inner);
        self.filled.notify_one();
    }

    /// The job that is due first, and how late it is; waits while there is none. Nothing once the queue is closed and
    /// empty.
    pub(super) fn pop(&self) -> Option<(T, Duration)> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(Waiting { due, job, .. }) = inner.heap.pop() {
                let now = Instant::now();
                let late = now.saturating_duration_since(due);
                if late > TOO_LATE {
                    inner.late_at = Some(now);
                }
                drop(inner);
                self.emptied.notify_one();
                return Some((job, late));
            }
            if inner.closed {
                return None;
            }
            self.filled.wait(&mut inner);
        }
    }

    /// No more jobs come; those that wait are still to be taken.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        self.inner.lock().heap.len()
    }

    /// Whether jobs were taken too late just now, or the one that is due first already waits too long.
    pub(super) fn is_overloaded(&self) -> bool {
        let inner = self.inner.lock();
        inner.late_at.is_some_and(|at| at.elapsed() < OVERLOAD_HOLD)
            || inner.heap.peek().is_some_and(|first| first.due.elapsed() > TOO_LATE)
    }
}

impl<T> Ord for Waiting<T> {
    /// The greatest is what is taken first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Waiting<T> {}

/// When a session's windows are due: as their audio would have come in real time. So a stream that is sent faster than
/// that leaves room for those that are live, and every one of them gets on equally far.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// When the stream would have begun, had it always been live; moves on when the stream pauses.
    began: Option<Instant>,
}

impl Schedule {
    /// When a window that ends at `position` of the stream is due; never in the past.
    pub(super) fn due(&mut self, position: Duration, now: Instant) -> Instant {
        let live = now.checked_sub(position).unwrap_or(now);
        let began = self.began.map_or(live, |began| began.max(live));
        self.began = Some(began);
        began + position
    }
}

/// Leaves out every second window while they come back late, so that the hop is longer until the machine keeps up.
#[derive(Debug, Default)]
pub(super) struct WindowDecimation {
    is_late: bool,
    left_out_last: bool,
    pub(super) n_left_out: u64,
}

/// How late a window may be before the session is thinned.
const THIN_ABOVE: Duration = Duration::from_millis(500);
/// How late it may be for the thinning to end.
const THIN_UNTIL: Duration = Duration::from_millis(100);

impl WindowDecimation {
    /// Learns how late a window was taken.
    pub(super) fn observe(&mut self, late: Duration) {
        self.is_late = late > if self.is_late { THIN_UNTIL } else { THIN_ABOVE };
    }

    /// Whether the next window is left out. Short ones, which a first label hangs on, never are.
    pub(super) fn leaves_out(&mut self, is_whole: bool) -> bool {
        self.left_out_last = self.is_late && is_whole && !self.left_out_last;
        self.n_left_out += u64::from(self.left_out_last);
        self.left_out_last
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_due_first_is_taken_first_and_equals_in_the_order_of_coming() {
        let (queue, now) = (DeadlineQueue::new(10), Instant::now());
        for (seconds, job) in [(3, "c"), (1, "a"), (3, "d"), (2, "b")] {
            queue.push(now + seconds * SECOND, job);
        }
        queue.close();
        let taken: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(job, _)| job).collect();
        assert_eq!(taken, ["a", "b", "c", "d"]);
        assert!(!queue.is_overloaded());
    }

    #[test]
    fn a_full_queue_holds_up_whoever_pushes_until_there_is_room() {
        let queue = Arc::new(DeadlineQueue::new(2));
        let pushing = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || (0..5).for_each(|n| queue.push(Instant::now(), n)))
        };
        while queue.len() < 2 {
            std::thread::yield_now();
        }
        assert!(!pushing.is_finished());
        let taken: Vec<_> = (0..5).map(|_| queue.pop().unwrap().0).collect();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        pushing.join().unwrap();
    }

    #[test]
    fn a_full_queue_gives_back_what_nobody_waits_with() {
        let (queue, now) = (DeadlineQueue::new(1), Instant::now());
        assert_eq!((queue.try_push(now, 'a'), queue.try_push(now, 'b')), (None, Some('b')));
        assert_eq!(queue.pop().map(|(job, _)| job), Some('a'));
        assert_eq!(queue.try_push(now, 'c'), None);
    }

    #[test]
    fn jobs_that_are_taken_late_mean_overload() {
        let Some(past) = Instant::now().checked_sub(2 * SECOND) else { return };
        let queue = DeadlineQueue::new(10);
        queue.push(past, ());
        assert!(queue.is_overloaded(), "it waits too long already");
        assert!(queue.pop().unwrap().1 >= 2 * SECOND);
        assert!(queue.is_overloaded(), "and has just been so");
    }

    #[test]
    fn a_stream_that_is_sent_too_fast_is_due_when_it_would_be_spoken() {
        let now = Instant::now() + 1000 * SECOND;
        let mut live = Schedule::default();
        for n in 1..5 {
            assert_eq!(live.due(n * SECOND, now + n * SECOND), now + n * SECOND);
        }
        let mut fast = Schedule::default();
        assert_eq!(fast.due(SECOND, now), now);
        assert_eq!(fast.due(61 * SECOND, now), now + 60 * SECOND);
        // A stream that paused has no claim on the time that it let pass.
        assert_eq!(live.due(5 * SECOND, now + 100 * SECOND), now + 100 * SECOND);
        assert_eq!(live.due(6 * SECOND, now + 100 * SECOND), now + 101 * SECOND);
    }

    #[test]
    fn every_second_whole_window_is_left_out_while_they_are_late() {
        let mut decimation = WindowDecimation::default();
        let mut next = |late_ms: u64, is_whole| {
            decimation.observe(Duration::from_millis(late_ms));
            decimation.leaves_out(is_whole)
        };
        assert!(!next(0, true) && !next(400, true));
        assert!(next(600, true) && !next(600, true) && next(600, true));
        assert!(!next(300, true) && next(300, true), "it goes on until they are nearly in time");
        assert!(!next(300, false) && !next(300, false), "never a short one");
        assert!(!next(50, true) && !next(400, true));
        assert_eq!(decimation.n_left_out, 3);
    }
}
