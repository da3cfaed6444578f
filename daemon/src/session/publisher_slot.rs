//! Ensures that one publisher connection at a time feeds a session; the newest wins.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// The right to queue audio of a session; one connection at a time holds it.
#[derive(Debug)]
pub(super) struct PublisherSlot {
    /// Number of connections that have asked for the slot; the newest one gets it.
    newest: watch::Sender<u64>,
    /// Lock of the connection that may queue audio, so that its successor reads a stable sample count.
    held: Arc<Mutex<()>>,
    /// Since when the session waits for a successor in a vacated slot.
    waiting: parking_lot::Mutex<Option<(VacatedSlot, Instant)>>,
}

/// The acquired slot; dropping it releases the slot.
#[derive(Debug)]
pub struct PublisherGuard {
    number: u64,
    newest: watch::Receiver<u64>,
    _held: OwnedMutexGuard<()>,
}

/// A slot released because the connection broke.
#[derive(Debug, Clone, Copy)]
pub struct VacatedSlot(u64);

/// The slot of a session to which no connection has come yet.
pub(super) const FIRST: VacatedSlot = VacatedSlot(0);

impl PublisherSlot {
    pub(super) fn new() -> Self {
        Self { newest: watch::Sender::new(0), held: Arc::default(), waiting: parking_lot::Mutex::default() }
    }

    /// Asks the present holder to release the slot, and waits for it.
    pub(super) async fn acquire(&self) -> PublisherGuard {
        let mut number = 0;
        self.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        let newest = self.newest.subscribe();
        PublisherGuard { number, newest, _held: Arc::clone(&self.held).lock_owned().await }
    }

    /// Whether a connection holds the slot.
    pub(super) fn is_held(&self) -> bool {
        self.held.try_lock().is_err()
    }

    /// Since when a successor is waited for; none while the slot was not vacated, or has one.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let newest = *self.newest.borrow();
        self.waiting.lock().filter(|(vacated, _)| vacated.0 == newest).map(|(_, since)| since)
    }

    /// Runs `act` if a successor is waited for; none can come during `act`. Whether it ran.
    pub(super) fn if_waiting(&self, act: impl FnOnce()) -> bool {
        let Some((vacated, _)) = *self.waiting.lock() else { return false };
        let mut has_run = false;
        self.if_vacant(vacated, || {
            act();
            has_run = true;
        });
        has_run
    }

    /// Notes that a successor is waited for from now on.
    pub(super) fn begin_waiting(&self, vacated: VacatedSlot) {
        *self.waiting.lock() = Some((vacated, Instant::now()));
    }

    /// Waits for a successor in the vacated slot.
    pub(super) async fn acquired_again(&self, vacated: VacatedSlot) {
        // The sender lives in `self`, so the wait cannot fail while we are here.
        let _ = self.newest.subscribe().wait_for(|newest| *newest != vacated.0).await;
    }

    /// Runs `act` unless the vacated slot has a successor; none can come during `act`.
    pub(super) fn if_vacant(&self, vacated: VacatedSlot, act: impl FnOnce()) {
        self.newest.send_if_modified(|newest| {
            if *newest == vacated.0 {
                act();
            }
            false
        });
    }
}

impl PublisherGuard {
    /// Waits until a newer connection asks for the slot.
    pub async fn superseded(&mut self) {
        let number = self.number;
        if self.newest.wait_for(|newest| *newest != number).await.is_err() {
            // The session is gone; no successor is possible.
            std::future::pending().await
        }
    }

    /// Whether a newer connection has asked for the slot.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        *self.newest.borrow() != self.number
    }

    /// Releases the slot for a successor.
    #[must_use]
    pub fn release(self) -> VacatedSlot {
        VacatedSlot(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_connection_gets_the_slot_once_the_one_before_has_released_it() {
        let slot = Arc::new(PublisherSlot::new());
        let mut first = slot.acquire().await;
        assert!(slot.is_held() && !first.is_superseded());
        let second = {
            let slot = Arc::clone(&slot);
            tokio::spawn(async move { slot.acquire().await })
        };
        first.superseded().await;
        assert!(first.is_superseded() && !second.is_finished());
        drop(first);
        let second = second.await.unwrap();
        assert!(!second.is_superseded());
        let vacated = second.release();
        assert!(!slot.is_held());
        let mut n_acts = 0;
        slot.if_vacant(vacated, || n_acts += 1);
        let _third = slot.acquire().await;
        slot.acquired_again(vacated).await;
        slot.if_vacant(vacated, || n_acts += 1);
        assert_eq!(n_acts, 1);
    }
}
