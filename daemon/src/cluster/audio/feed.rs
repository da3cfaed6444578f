//! The audio of one session from NATS into the session that this node labels.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use bytes::Bytes;
use diarized_dsp::SampleIndex;
use diarized_models::events::GapReason;
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::message::{AudioMessage, Piece};
use crate::cluster::directory::Directory;
use crate::cluster::error::{ClusterError, refused};
use crate::cluster::link::{Link, Stores};
use crate::cluster::log::last_of;
use crate::cluster::nodes::Nodes;
use crate::cluster::record::Record;
use crate::protocol::server_message::EndReason;
use crate::session::{Closed, Session, samples_until};

/// Wait before the subject is read again after a failure.
const AGAIN: Duration = Duration::from_millis(300);
/// Time between two looks at what is labelled and at who takes the audio in.
const LOOK: Duration = Duration::from_secs(2);
/// Looks until the end of a session is known here.
const LAST_LOOKS: usize = 30;

/// Name of the node that takes the audio of a session in, as far as NATS knows.
///
/// # Errors
/// NATS is away.
pub(in crate::cluster) async fn intake_of(
    link: &Link,
    stores: &Stores,
    id: &str,
    record: &Record,
) -> Result<Option<String>, ClusterError> {
    let last = last_of(&stores.audio, &link.names.audio(id)).await?;
    let last = last.and_then(|last| AudioMessage::parse(&last.payload, record.audio).ok());
    Ok(last.map(|message| message.intake))
}

/// Feeds one session.
pub(super) struct Feeder {
    pub(super) link: Arc<Link>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) directory: Arc<Directory>,
    pub(super) session: Arc<Session>,
    /// Samples of each channel that the session has.
    position: u64,
    /// Where in the stream the last message is that was read.
    sequence: u64,
    /// Messages that are in NATS, with the samples up to their ends.
    kept: VecDeque<(u64, u64)>,
    /// Node that takes the audio in, and since when it is away.
    intake: Option<String>,
    missed: Option<Instant>,
}

impl Feeder {
    pub(super) fn new(
        link: Arc<Link>,
        nodes: Arc<Nodes>,
        directory: Arc<Directory>,
        session: Arc<Session>,
    ) -> Self {
        let (kept, missed) = (VecDeque::new(), Some(Instant::now()));
        Self { link, nodes, directory, session, position: 0, sequence: 0, kept, intake: None, missed }
    }

    /// Feeds the session to its end here; then takes its audio away if it has ended.
    pub(super) async fn run(mut self) {
        // The place of its publisher, so that it waits for none.
        let mut slot = self.session.acquire_publisher_slot().await;
        self.position = self.session.input().n_received();
        let channel = Arc::clone(self.session.channel());
        tokio::select! {
            biased;
            () = slot.superseded() => return,
            () = channel.wait_ended() => {}
            () = self.feed() => {}
        }
        channel.wait_ended().await;
        if channel.ended().is_some() {
            self.erase().await;
        }
    }

    /// Feeds until the session takes no more.
    async fn feed(&mut self) {
        loop {
            let stores = self.link.stores().await;
            if let Ok(mut messages) = self.read(&stores).await
                && self.follow(&stores, &mut messages).await.is_err()
            {
                return;
            }
            sleep(AGAIN).await;
        }
    }

    /// The messages behind those that were read.
    async fn read(&self, stores: &Stores) -> Result<Ordered, ClusterError> {
        let what = "the audio of a session";
        let config = OrderedConfig {
            deliver_subject: self.link.client().new_inbox(),
            filter_subject: self.link.names.audio(self.session.id()),
            replay_policy: ReplayPolicy::Instant,
            deliver_policy: match self.sequence {
                0 => DeliverPolicy::All,
                last => DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
            },
            ..OrderedConfig::default()
        };
        let consumer = stores.audio.create_consumer(config).await.map_err(|error| refused(what, &error))?;
        consumer.messages().await.map_err(|error| refused(what, &error))
    }

    /// Takes messages until the connection changes or they fail.
    async fn follow(&mut self, stores: &Stores, messages: &mut Ordered) -> Result<(), Closed> {
        let mut connection = self.link.health.connection();
        connection.mark_unchanged();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = connection.changed() => return Ok(()),
                _ = look.tick() => self.look(stores).await,
                next = messages.next() => {
                    let Some(Ok(message)) = next else { return Ok(()) };
                    let Ok(sequence) = message.info().map(|info| info.stream_sequence) else { return Ok(()) };
                    self.take(sequence, &message.payload).await?;
                }
            }
        }
    }

    async fn take(&mut self, sequence: u64, payload: &Bytes) -> Result<(), Closed> {
        self.sequence = sequence;
        let (id, format) = (self.session.id(), self.session.format());
        let message = match AudioMessage::parse(payload, format) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(session = id, %error, "a message of audio is passed over");
                return Ok(());
            }
        };
        let (first, end) = (message.first, message.end(format));
        self.kept.push_back((sequence, end));
        self.intake = Some(message.intake.clone());
        let is_clocked = matches!(message.piece, Piece::Audio(_) | Piece::Gap { .. });
        if is_clocked && first > self.position {
            let missing = first - self.position;
            tracing::error!(session = id, missing, "NATS has lost audio of a session; it is a gap");
            self.session.input().push_gap(missing, GapReason::Disconnected).await?;
            self.position = first;
        }
        match message.after(self.position, format) {
            Some(Piece::Audio(bytes)) => self.session.input().push_bytes(bytes).await?,
            Some(Piece::Gap { n, reason }) => self.session.input().push_gap(n, reason).await?,
            Some(Piece::Title(title)) => self.set_title(&title),
            Some(Piece::End(reason)) => {
                self.session.finish(reason);
                return Err(Closed);
            }
            Some(Piece::Taken) | None => {}
        }
        self.position = self.position.max(end);
        Ok(())
    }

    fn set_title(&self, title: &str) {
        // A node before this one may have given it, and people may have given another one since.
        if self.session.channel().now().about.title.is_none() {
            self.session.set_title(title);
        }
    }

    /// Takes away from NATS what is labelled, and ends the session whose intake does not come back.
    async fn look(&mut self, stores: &Stores) {
        let Some((record, _)) = self.directory.get(self.session.id()) else { return };
        let labelled = SampleIndex(record.going_on.labelled);
        let labelled = samples_until(labelled, self.session.format().sample_rate);
        let n_labelled = self.kept.iter().take_while(|(_, end)| *end <= labelled).count();
        // The last one of them stays: behind it the intake writes on.
        if n_labelled > 1 {
            self.kept.drain(..n_labelled - 1);
            let (first, _) = self.kept[0];
            let subject = self.link.names.audio(self.session.id());
            if let Err(error) = stores.audio.purge().filter(subject).sequence(first).await {
                tracing::debug!(session = self.session.id(), %error, "labelled audio stays in NATS for now");
            }
        }
        let is_there = self.intake.as_ref().is_some_and(|intake| self.nodes.is_alive(intake));
        if is_there || !self.link.health.is_connected() {
            self.missed = None;
        } else if self.missed.get_or_insert_with(Instant::now).elapsed() >= self.link.away() {
            let intake = self.intake.as_deref().unwrap_or_default();
            tracing::warn!(session = self.session.id(), intake, "the node that takes the audio in is gone");
            self.session.finish(EndReason::Disconnected);
        }
    }

    /// Takes the audio of an ended session away, once no other node could go on with it.
    async fn erase(&self) {
        let id = self.session.id();
        for _ in 0..LAST_LOOKS {
            if self.directory.get(id).is_none_or(|(record, _)| record.reason.is_some()) {
                let stores = self.link.stores().await;
                let purged = stores.audio.purge().filter(self.link.names.audio(id)).await;
                match purged {
                    Ok(_) => return,
                    Err(error) => tracing::debug!(session = id, %error, "audio stays in NATS for now"),
                }
            }
            sleep(LOOK).await;
        }
        tracing::warn!(
            session = id,
            "the audio of an ended session leaves NATS by its age (cluster.keep_hours)"
        );
    }
}
