//! Events that followers get before the stream has them, while the stream makes their writer wait: a stream whose leader has died
//! takes nothing until another server leads it, which takes seconds.
//!
//! They go over a plain subject that keeps nothing. Each message has the place of its writer's last message in the stream. A follower
//! passes over what comes from a writer that stands before the mark of another node. What the stream has later is compared: where it
//! differs, the follower reads the session again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::{HeaderMap, HeaderValue};
use bytestring::ByteString;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::frames::{Assembler, Content};
use super::link::Link;
use crate::session::{Channel, Cursor, ReadStatus};

/// How long a message waits for the stream before its events are sent ahead of it.
const PATIENCE: Duration = Duration::from_millis(300);
/// Events of one message.
const MAX_BATCH: usize = 100;
/// The newest events are sent again with those that come, and so often without any: for followers who were not connected yet, and for
/// those whose reading of the stream broke off.
const AGAIN: (u64, Duration, u32) = (16, Duration::from_secs(1), 15);
/// Events that a follower holds before the stream has them.
const MAX_EARLY: usize = 4096;

/// How far a session is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Where in the stream its last message is.
    pub(super) place: u64,
    /// Number of the last event in the stream.
    pub(super) seq: u64,
    /// Since when the message behind that one waits, if one does that continues it.
    pub(super) waits_since: Option<Instant>,
}

/// Sends the events of a session ahead of the stream whenever it makes the writer wait, as long as there is a writer.
pub(super) async fn send(link: &Link, channel: &Arc<Channel>, mut written: watch::Receiver<Written>) {
    loop {
        let waiting = written.wait_for(|written| written.waits_since.is_some()).await.map(|waiting| *waiting);
        // Its writer has ended.
        let Ok(waiting) = waiting else { return };
        let due = waiting.waits_since.unwrap_or_else(Instant::now) + PATIENCE;
        tokio::select! {
            _ = written.changed() => {}
            () = sleep_until(due) => send_while_it_waits(link, channel, &mut written, waiting).await,
        }
    }
}

/// Sends what is behind `waiting`, and what comes, until the stream has taken a message.
async fn send_while_it_waits(
    link: &Link,
    channel: &Arc<Channel>,
    written: &mut watch::Receiver<Written>,
    waiting: Written,
) {
    let (n_again, every, n_times) = AGAIN;
    let subject = link.names.ahead(channel.id());
    let mut sent = waiting.seq.saturating_sub(n_again);
    let mut n_idle = 0;
    loop {
        let newest = channel.last_seq();
        let mut cursor = Cursor::stored(channel, sent.min(newest.saturating_sub(n_again)), 0);
        n_idle = if newest > sent { 0 } else { n_idle + 1 };
        sent = newest;
        loop {
            let batch = cursor.read_events(MAX_BATCH);
            // Events that have left the journal cannot be sent one by one.
            if batch.snapshot.is_none() && !batch.events.is_empty() {
                let events = Content::Events { first_seq: batch.first_seq, events: batch.events };
                send_message(link, &subject, waiting.place, &events).await;
            }
            if batch.delivery != ReadStatus::More {
                break;
            }
        }
        tokio::select! {
            _ = written.changed() => return,
            () = cursor.changed() => {}
            () = sleep(every), if n_idle < n_times => {}
        }
    }
}

async fn send_message(link: &Link, subject: &str, place: u64, events: &Content) {
    for message in events.to_messages() {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(place));
        // What is lost of it comes with the stream.
        let _ = link.client().publish_with_headers(subject.to_owned(), headers, message.into()).await;
    }
}

/// What a follower has of a session that the stream does not have yet.
#[derive(Debug, Default)]
pub(super) struct Early {
    assembler: Assembler,
    events: BTreeMap<u64, ByteString>,
    /// A place in the stream that the session's present writer has reached.
    since: u64,
}

impl Early {
    /// The session's present writer has reached this place in the stream.
    pub(super) fn begin_at(&mut self, place: u64) {
        self.since = place;
    }

    /// Takes a message that came ahead of the stream. What does not continue the session is passed over.
    pub(super) fn take(&mut self, channel: &Channel, message: &async_nats::Message) {
        let place = message.headers.as_ref().and_then(|all| all.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE));
        let place = place.and_then(|place| place.as_str().parse::<u64>().ok());
        if place.is_none_or(|place| place < self.since) {
            return;
        }
        let Ok(Some(Content::Events { first_seq, events })) = self.assembler.take(&message.payload) else {
            return;
        };
        let known = channel.last_seq();
        if first_seq > known + 1 || self.events.len() + events.len() > MAX_EARLY {
            return;
        }
        let new = (first_seq..).zip(events.iter().cloned()).filter(|(seq, _)| *seq > known);
        self.events.extend(new);
        if channel.follow(first_seq, events).is_err() {
            self.events.split_off(&(channel.last_seq() + 1));
        }
    }

    /// Compares events of the stream with those that came ahead. Gives whether they are the same.
    pub(super) fn confirm(&mut self, first_seq: u64, events: &[ByteString]) -> bool {
        (first_seq..)
            .zip(events)
            .all(|(seq, event)| self.events.remove(&seq).is_none_or(|early| early == *event))
    }

    /// Forgets what came ahead up to this event, which is in a snapshot of the stream.
    pub(super) fn forget_up_to(&mut self, seq: u64) {
        self.events = self.events.split_off(&seq.saturating_add(1));
    }

    /// Whether nothing came ahead that is not in the stream.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_stream_has_is_compared_with_what_came_ahead() {
        let event = |text: &str| ByteString::from(text);
        let mut early = Early { events: (4..7).map(|n| (n, event("a"))).collect(), ..Early::default() };
        assert!(early.confirm(3, &[event("x"), event("a")]), "3 did not come ahead, 4 is the same");
        early.forget_up_to(5);
        assert!(!early.is_empty());
        assert!(!early.confirm(6, &[event("b")]));
        assert!(early.is_empty());
        assert!(early.confirm(6, &[event("c")]));
    }
}
