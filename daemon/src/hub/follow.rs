//! Position of one reader in all sessions of a hub, running and future ones.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use tokio::sync::watch;

use super::registry::Hub;
use crate::session::{Cursor, ReadStatus, Session};

/// Follows every live session; a session that opens later begins with its snapshot too, and so does an ended one when it is
/// corrected.
pub struct FollowAll {
    hub: Arc<Hub>,
    tick: watch::Receiver<u64>,
    cursors: BTreeMap<u64, Cursor>,
    /// Ended sessions of which nothing was read, by number, with the number of their last event.
    quiet: BTreeMap<u64, u64>,
    /// Number of the next session that was not looked at.
    next_number: u64,
    /// Has the sessions of other nodes followed, where there are some.
    _all: Option<Box<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for FollowAll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FollowAll").field("next_number", &self.next_number).finish_non_exhaustive()
    }
}

impl FollowAll {
    /// A reader that gets a snapshot of each live session first, and then every event.
    #[must_use]
    pub fn new(hub: &Arc<Hub>) -> Self {
        let (cursors, quiet) = (BTreeMap::new(), BTreeMap::new());
        let all = hub.elsewhere().map(|elsewhere| elsewhere.follow_all());
        let (tick, hub) = (hub.tick(), Arc::clone(hub));
        let mut follow = Self { tick, hub, cursors, quiet, next_number: 0, _all: all };
        for session in follow.hub.all_sessions() {
            follow.next_number = follow.next_number.max(session.number() + 1);
            if session.channel().ended().is_some() {
                follow.quiet.insert(session.number(), session.channel().last_seq());
            } else {
                follow.add(&session);
            }
        }
        follow
    }

    fn add(&mut self, session: &Session) {
        self.cursors.insert(session.number(), Cursor::from_now(session.channel()).staying());
    }

    /// Appends what comes next to `out`, at most `max` events a session.
    pub fn read(&mut self, max: usize, out: &mut Vec<ByteString>) -> ReadStatus {
        self.tick.mark_unchanged();
        let sessions = self.hub.all_sessions();
        let first_new = self.next_number;
        for session in &sessions {
            let number = session.number();
            let was_quiet = self.quiet.get(&number).is_some_and(|seq| session.channel().last_seq() > *seq);
            // A session of another node may have been followed by somebody else before.
            let is_unread = session.elsewhere().is_some()
                && session.channel().ended().is_none()
                && !self.cursors.contains_key(&number);
            if number >= first_new || was_quiet || is_unread {
                self.quiet.remove(&number);
                self.next_number = self.next_number.max(number + 1);
                self.add(session);
            }
        }
        let mut more = false;
        self.cursors.retain(|number, cursor| match cursor.read(max, out) {
            ReadStatus::More => {
                more = true;
                true
            }
            // An ended session is followed as long as the hub lists it.
            ReadStatus::UpToDate if cursor.is_after_the_end() => {
                sessions.iter().any(|session| session.number() == *number)
            }
            // A session of another node that is read from its start has another number then.
            ReadStatus::HandedOver => sessions.iter().any(|session| session.number() == *number),
            ReadStatus::UpToDate => true,
            ReadStatus::Ended(_) => false,
        });
        self.quiet.retain(|number, _| sessions.iter().any(|session| session.number() == *number));
        if more { ReadStatus::More } else { ReadStatus::UpToDate }
    }

    /// Waits for an event after the last [`Self::read`].
    pub async fn changed(&mut self) {
        // The sender lives in the hub, which is held here.
        let _ = self.tick.changed().await;
    }
}
