//! A session that another node labels and whose audio this one takes in: its queue is emptied by a task that passes the audio on.

use std::sync::Arc;

use bytes::Bytes;
use diarized_models::events::GapReason;
use tokio::sync::OwnedSemaphorePermit;

use super::input::{self, Inbox, Input, Queued};
use super::{FedBy, Session, WithoutWorker};
use crate::protocol::server_message::{EndReason, Title};

/// What a publisher has sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TakenIn {
    /// Whole samples of every channel, as they came.
    Bytes(Bytes),
    /// Missing samples of each channel at the declared rate.
    Gap {
        /// How many.
        n_samples: u64,
        /// Why.
        reason: GapReason,
    },
    /// The end.
    End(EndReason),
    /// The end on this node.
    Left,
}

/// Places of the queue that are taken as long as this is held.
#[derive(Debug)]
pub(crate) struct Places(#[expect(dead_code, reason = "it is held, not read")] Option<OwnedSemaphorePermit>);

/// The far end of the queue.
#[derive(Debug)]
pub(crate) struct AudioInbox(Inbox);

impl AudioInbox {
    /// Waits for what the publisher sends next. Dropped before it is done, it has taken nothing.
    pub(crate) async fn next(&self) -> (TakenIn, Places) {
        loop {
            if let Some(taken) = taken_in(self.0.next().await) {
                return taken;
            }
        }
    }

    /// What has come and was not taken.
    pub(crate) fn try_next(&self) -> Option<(TakenIn, Places)> {
        self.0.queue.try_iter().find_map(taken_in)
    }
}

fn taken_in(queued: Queued) -> Option<(TakenIn, Places)> {
    let Queued { input, places } = queued;
    let taken = match input {
        Input::Bytes(bytes) => TakenIn::Bytes(bytes),
        Input::Gap { n_samples, reason } => TakenIn::Gap { n_samples, reason },
        Input::Finish(reason) => TakenIn::End(reason),
        Input::HandOver => TakenIn::Left,
        // Only devices of this machine give samples, and this queue takes no commands.
        Input::Samples(_) | Input::Command(..) | Input::Voice(..) => return None,
    };
    Some((taken, Places(places)))
}

impl Session {
    /// The session that is `followed` here, with a queue for its audio after `n_received` samples of each channel at the
    /// declared rate. Without a `token` its publisher has the one from before.
    pub(crate) fn taking_in(
        followed: &Self,
        n_received: u64,
        token: Option<String>,
        node: &str,
    ) -> (Arc<Self>, AudioInbox) {
        let (format, channel) = (followed.format(), Arc::clone(followed.channel()));
        let (input, inbox) = input::queue_of_audio(format, n_received);
        channel.handover().set_fed_by(FedBy::Publisher);
        let session = Self::without_worker(WithoutWorker {
            number: followed.number(),
            is_archived: false,
            elsewhere: Some(followed.elsewhere().unwrap_or(node).into()),
            channel,
            input,
            format,
            options: followed.options(),
            began: followed.began(),
            token,
            token_hash: followed.token_hash().clone(),
        });
        (session, AudioInbox(inbox))
    }

    /// Gives the session a title, which was checked; does nothing after its end. One that another node
    /// labels gets it there.
    pub(crate) fn set_title(&self, title: &str) {
        if self.elsewhere.is_some() {
            *self.wanted_title.lock() = Some(title.to_owned());
            return;
        }
        self.channel.publish_body(self.channel.now().at, Title { title: Some(title.to_owned()) });
    }

    /// The title that its node is to give it, once.
    pub(crate) fn take_wanted_title(&self) -> Option<String> {
        self.wanted_title.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::protocol::{AudioFormat, SessionOptions};
    use crate::secret::SecretHash;
    use crate::session::{Archive, Channel, HubHandle, JournalParams, Source};

    #[tokio::test]
    async fn audio_goes_in_and_comes_out_in_order_and_commands_do_not() {
        let channel = Channel::new("a", Source::Stream, JournalParams::default(), HubHandle::new());
        let archive = Archive {
            id: "a".to_owned(),
            source: Source::Stream,
            format: AudioFormat::default(),
            options: SessionOptions::default(),
            began: SystemTime::UNIX_EPOCH,
            token_hash: SecretHash::of("secret"),
            moment: channel.now(),
            events: Vec::new(),
            corrections: Vec::new(),
        };
        let followed = Session::mirrored(7, archive, None, "two", JournalParams::default(), HubHandle::new());
        let (session, inbox) = Session::taking_in(&followed, 100, Some("secret".to_owned()), "one");
        assert_eq!((session.take_token().as_deref(), session.elsewhere()), (Some("secret"), Some("two")));
        assert!(session.is_token("secret"));
        session.input().push_bytes(Bytes::from_static(&[1, 2])).await.unwrap();
        session.input().push_gap(3, GapReason::Declared).await.unwrap();
        assert!(session.input().command(crate::session::Command::Finalize).await.is_err());
        session.finish(EndReason::Closed);
        assert_eq!(session.input().n_received(), 104);
        assert_eq!(inbox.next().await.0, TakenIn::Bytes(Bytes::from_static(&[1, 2])));
        assert_eq!(inbox.next().await.0, TakenIn::Gap { n_samples: 3, reason: GapReason::Declared });
        assert_eq!(inbox.next().await.0, TakenIn::End(EndReason::Closed));
        // What stays in the queue counts as long as it is not written; without its far end it takes nothing.
        drop(inbox);
        assert!(session.input().push_bytes(Bytes::from_static(&[1, 2])).await.is_err());
        session.set_title("Weekly");
        assert_eq!(
            (session.take_wanted_title().as_deref(), session.take_wanted_title()),
            (Some("Weekly"), None)
        );
        assert_eq!(session.channel().last_seq(), 0, "its node gives it the title");
    }
}
