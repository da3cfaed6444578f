//! Ensures that one publisher connection at a time feeds a session; the newest wins.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// The one place from which a session's audio comes.
#[derive(Debug)]
pub(super) struct Seat {
    /// Counts the connections that came for it; the newest one shall have it.
    newest: watch::Sender<u64>,
    /// Lock of the connection that may queue audio, so that its successor reads a stable sample count.
    held: Arc<Mutex<()>>,
}

/// The seat, taken; dropping it makes it free.
#[derive(Debug)]
pub struct Seated {
    number: u64,
    newest: watch::Receiver<u64>,
    _held: OwnedMutexGuard<()>,
}

/// A seat that was left because the connection broke.
#[derive(Debug, Clone, Copy)]
pub struct Vacancy(u64);

impl Seat {
    pub(super) fn new() -> Self {
        Self { newest: watch::Sender::new(0), held: Arc::default() }
    }

    /// Asks the present holder to leave, and waits until it has.
    pub(super) async fn take(&self) -> Seated {
        let mut number = 0;
        self.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        let newest = self.newest.subscribe();
        Seated { number, newest, _held: Arc::clone(&self.held).lock_owned().await }
    }

    /// Whether a connection sits here.
    pub(super) fn is_taken(&self) -> bool {
        self.held.try_lock().is_err()
    }

    /// Waits for a successor on the vacated seat.
    pub(super) async fn taken_again(&self, vacancy: Vacancy) {
        // The sender lives in `self`, so the wait cannot fail while we are here.
        let _ = self.newest.subscribe().wait_for(|newest| *newest != vacancy.0).await;
    }

    /// Runs `act` unless the vacated seat has a successor; none can come during `act`.
    pub(super) fn if_vacant(&self, vacancy: Vacancy, act: impl FnOnce()) {
        self.newest.send_if_modified(|newest| {
            if *newest == vacancy.0 {
                act();
            }
            false
        });
    }
}

impl Seated {
    /// Waits until a newer connection wants the seat.
    pub async fn superseded(&mut self) {
        let number = self.number;
        if self.newest.wait_for(|newest| *newest != number).await.is_err() {
            // The session is gone; no successor is possible.
            std::future::pending().await
        }
    }

    /// Whether a newer connection wants the seat.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        *self.newest.borrow() != self.number
    }

    /// Vacates the seat for a successor.
    #[must_use]
    pub fn leave(self) -> Vacancy {
        Vacancy(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_gets_the_seat_when_the_one_before_has_left_it() {
        let seat = Arc::new(Seat::new());
        let mut first = seat.take().await;
        assert!(seat.is_taken() && !first.is_superseded());
        let second = {
            let seat = Arc::clone(&seat);
            tokio::spawn(async move { seat.take().await })
        };
        first.superseded().await;
        assert!(first.is_superseded() && !second.is_finished());
        drop(first);
        let second = second.await.unwrap();
        assert!(!second.is_superseded());
        let vacancy = second.leave();
        assert!(!seat.is_taken());
        let mut n_acts = 0;
        seat.if_vacant(vacancy, || n_acts += 1);
        let _third = seat.take().await;
        seat.taken_again(vacancy).await;
        seat.if_vacant(vacancy, || n_acts += 1);
        assert_eq!(n_acts, 1);
    }
}
