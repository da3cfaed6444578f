//! The chosen events of all sessions, from the first one of each.

use std::sync::Arc;

use bytestring::ByteString;
use diarized_config::WebhookEvent;
use serde::Deserialize;
use tokio::sync::watch;

use super::queue::Queue;
use crate::hub::Hub;
use crate::session::{Cursor, ReadStatus};

/// Events of one session that are read at once.
const BATCH: usize = 256;

/// What decides whether a message is sent.
#[derive(Debug, Deserialize)]
struct Head {
    r#type: String,
    #[serde(rename = "final")]
    is_final: Option<bool>,
    missed: Option<u64>,
}

/// A reader of all sessions.
pub(super) struct Events {
    tick: watch::Receiver<u64>,
    wanted: Vec<WebhookEvent>,
    cursors: Vec<Cursor>,
    /// Number of the next session that was not looked at.
    next_number: u64,
}

impl Events {
    pub(super) fn new(hub: &Hub, wanted: Vec<WebhookEvent>) -> Self {
        Self { tick: hub.tick(), wanted, cursors: Vec::new(), next_number: 0 }
    }

    /// Moves all new events into the queue.
    pub(super) fn read(&mut self, hub: &Arc<Hub>, queue: &mut Queue) {
        self.tick.mark_unchanged();
        let sessions = hub.sessions();
        for session in &sessions {
            if session.number() >= self.next_number {
                self.next_number = session.number() + 1;
                // Of an old session that is corrected nothing is sent once more.
                let seq = if session.is_back() { session.channel().last_seq() } else { 0 };
                self.cursors.push(Cursor::since(session.channel(), seq).staying());
            }
        }
        let mut messages: Vec<ByteString> = Vec::new();
        let wanted = &self.wanted;
        self.cursors.retain_mut(|cursor| {
            loop {
                let delivery = cursor.read(BATCH, &mut messages);
                messages.drain(..).for_each(|message| take(&message, wanted, queue));
                match delivery {
                    ReadStatus::More => {}
                    // Words and corrections may come after the end, as long as the hub lists the session.
                    ReadStatus::UpToDate if cursor.is_after_the_end() => {
                        return sessions.iter().any(|listed| Arc::ptr_eq(listed.channel(), cursor.channel()));
                    }
                    ReadStatus::UpToDate | ReadStatus::HandedOver => return true,
                    ReadStatus::Ended(_) => return false,
                }
            }
        });
    }

    /// Waits for an event after the last [`Self::read`].
    pub(super) async fn changed(&mut self) {
        // The sender lives in the hub, which outlives this reader.
        let _ = self.tick.changed().await;
    }
}

/// Queues a message, if it is one of the wanted events.
fn take(message: &ByteString, wanted: &[WebhookEvent], queue: &mut Queue) {
    let Ok(head) = serde_json::from_str::<Head>(message) else { return };
    if head.r#type == "lagged" {
        queue.miss(head.missed.unwrap_or(0));
        return;
    }
    // A provisional segment comes again; its last version is the one that counts.
    let is_provisional = head.r#type == "segment" && head.is_final == Some(false);
    if !is_provisional && wanted.iter().any(|event| event.as_str() == head.r#type) {
        queue.push(message.clone());
    }
}
