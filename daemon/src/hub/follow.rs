//! Position of one reader in all sessions of a hub, running and future ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::watch;

use super::Hub;
use crate::session::{Cursor, Delivery};

/// Follows every live session; a session that opens later begins with its snapshot too.
#[derive(Debug)]
pub struct FollowAll {
    hub: Arc<Hub>,
    tick: watch::Receiver<u64>,
    cursors: BTreeMap<String, Cursor>,
    /// Number of the next session that was not looked at.
    next_number: u64,
}

impl FollowAll {
    /// A reader that gets a snapshot of each live session first, and then every event.
    #[must_use]
    pub fn new(hub: &Arc<Hub>) -> Self {
        let mut follow =
            Self { tick: hub.tick(), hub: Arc::clone(hub), cursors: BTreeMap::new(), next_number: 0 };
        for session in hub.sessions() {
            follow.next_number = session.number() + 1;
            if session.channel().ended().is_none() {
                follow.cursors.insert(session.id().to_owned(), Cursor::from_now(session.channel()));
            }
        }
        follow
    }

    /// Appends what comes next to `out`, at most `max` events a session.
    pub fn read(&mut self, max: usize, out: &mut Vec<Utf8Bytes>) -> Delivery {
        self.tick.mark_unchanged();
        for session in self.hub.sessions() {
            if session.number() < self.next_number {
                continue;
            }
            self.next_number = session.number() + 1;
            let cursor = Cursor::from_now(session.channel());
            if let Some(mut old) = self.cursors.insert(session.id().to_owned(), cursor) {
                // An ended session whose id was taken again: the rest of it comes before the new one.
                while old.read(max, out) == Delivery::More {}
            }
        }
        let mut more = false;
        self.cursors.retain(|_, cursor| match cursor.read(max, out) {
            Delivery::More => {
                more = true;
                true
            }
            Delivery::UpToDate => true,
            Delivery::Ended(_) => false,
        });
        if more { Delivery::More } else { Delivery::UpToDate }
    }

    /// Waits for an event after the last [`Self::read`].
    pub async fn changed(&mut self) {
        // The sender lives in the hub, which is held here.
        let _ = self.tick.changed().await;
    }
}
