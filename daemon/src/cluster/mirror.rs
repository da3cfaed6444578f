//! One session of another node, followed here by its subject.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use diarized_dsp::SampleIndex;
use diarized_models::SessionState;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::ahead::Early;
use super::error::{ClusterError, refused};
use super::frames::{Assembler, Content};
use super::link::{Link, Stores};
use super::log::last_message;
use super::record::Record;
use crate::hub::Hub;
use crate::protocol::server_message::{Body, Stats};
use crate::secret::{SecretHash, random_hex};
use crate::session::replay::{LastIds, of_snapshot};
use crate::session::{About, Archive, Channel, Session, StateAt};

/// Wait before a subject is read again after a failure.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest wait for all that is there of a session.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the subject of one session.
pub(super) struct Follower {
    link: Arc<Link>,
    id: String,
    messages: Ordered,
    assembler: Assembler,
    /// What it has that the stream does not have yet.
    early: Early,
    /// Where in the stream the last message is that was read.
    position: u64,
    /// The same of the last one that is in the session, or is to be completed.
    applied: watch::Sender<u64>,
}

/// Why a session is no longer followed.
struct Lost(String);

/// Opens a session with all that is there of it.
///
/// # Errors
/// NATS is away, or has not kept enough of the session.
pub(super) async fn open(
    link: &Arc<Link>,
    hub: &Hub,
    id: &str,
    record: &Record,
) -> Result<(Arc<Session>, Follower), ClusterError> {
    let what = "the events of a session";
    let stores = timeout(PATIENCE, link.stores()).await.map_err(|error| refused(what, &error))?;
    let last = last_message(&stores, &link.names.events(id)).await?.map_or(0, |last| last.sequence);
    let messages = read_from(link, &stores, id, record.base).await?;
    let (assembler, applied, link, id) =
        (Assembler::default(), watch::Sender::new(0), Arc::clone(link), id.to_owned());
    let early = Early::default();
    let mut follower = Follower { link, id, messages, assembler, early, position: 0, applied };
    let read = follower.read_until(last, |archive| hub_session(hub, archive, record), record);
    let session = timeout(PATIENCE, read).await.map_err(|error| refused(what, &error))?;
    let session = session.map_err(|Lost(reason)| ClusterError::Refused { what, reason })?;
    Ok((session, follower))
}

fn hub_session(hub: &Hub, archive: (Archive, Option<u64>), record: &Record) -> Arc<Session> {
    let (number, journal, handle) = hub.place_for_followed();
    let (archive, kept) = archive;
    Session::mirrored(number, archive, kept, &record.node, journal, handle)
}

/// The messages of a session from `base` on, or all of them.
async fn read_from(link: &Link, stores: &Stores, id: &str, base: u64) -> Result<Ordered, ClusterError> {
    let what = "the events of a session";
    let config = OrderedConfig {
        deliver_subject: link.client().new_inbox(),
        filter_subject: link.names.events(id),
        replay_policy: ReplayPolicy::Instant,
        deliver_policy: match base {
            0 => DeliverPolicy::All,
            start_sequence => DeliverPolicy::ByStartSequence { start_sequence },
        },
        ..OrderedConfig::default()
    };
    let consumer = stores.events.create_consumer(config).await.map_err(|error| refused(what, &error))?;
    consumer.messages().await.map_err(|error| refused(what, &error))
}

impl Follower {
    /// Reads up to a place in the stream, and makes the session of it.
    async fn read_until(
        &mut self,
        last: u64,
        make: impl Fn((Archive, Option<u64>)) -> Arc<Session>,
        record: &Record,
    ) -> Result<Arc<Session>, Lost> {
        let mut session: Option<Arc<Session>> = None;
        while self.position < last {
            let Some(content) = self.next().await? else { continue };
            let begins = match &content {
                Content::Snapshot { kept, .. } if session.is_none() || kept.is_some() => {
                    Some(begin(&self.id, record, &content)?)
                }
                Content::Events { first_seq: 1, .. } if session.is_none() => {
                    Some((empty(&self.id, record), None))
                }
                _ => None,
            };
            if let Some(begins) = begins {
                session = Some(make(begins));
            }
            match &session {
                Some(session) => self.apply(session.channel(), content)?,
                None if matches!(content, Content::Corrections { .. } | Content::Taken { .. }) => {
                    self.applied.send_replace(self.position);
                }
                None => {
                    return Err(Lost(
                        "its first events are no longer in NATS (cluster.keep_hours)".to_owned(),
                    ));
                }
            }
        }
        match session {
            Some(session) => Ok(session),
            None if record.seq == 0 => Ok(make((empty(&self.id, record), None))),
            None => Err(Lost("NATS has lost its events".to_owned())),
        }
    }

    /// Follows the session to the end of its messages here: until they fail or start over, or until the task is aborted.
    pub(super) async fn run(mut self, channel: Arc<Channel>) {
        self.early.begin_at(self.position);
        let client = self.link.client();
        let mut stats = client.subscribe(self.link.names.stats(&self.id)).await.ok();
        let mut ahead = client.subscribe(self.link.names.ahead(&self.id)).await.ok();
        let mut connection = self.link.health.connection();
        let mut looks = FuturesUnordered::new();
        loop {
            let next = tokio::select! {
                next = self.next() => next,
                // Takes as long as the stream has no leader. What comes ahead of it is taken meanwhile.
                _ = connection.changed() => {
                    looks.push(look(Arc::clone(&self.link), self.id.clone(), self.position));
                    continue;
                }
                Some(look) = looks.next() => look.map(|()| None),
                Some(message) = next_of(&mut stats) => {
                    if let Ok(stats) = serde_json::from_slice::<Stats>(&message.payload) {
                        channel.follow_stats(stats);
                    }
                    continue;
                }
                Some(message) = next_of(&mut ahead) => {
                    self.early.take(&channel, &message);
                    continue;
                }
            };
            let outcome = match next {
                Ok(None) => Ok(()),
                // It does not continue the events read so far: another session has the id, or its node starts over.
                Ok(Some(Content::Snapshot { kept: Some(_), .. })) => {
                    Err(Lost("its node starts it over".to_owned()))
                }
                Ok(Some(content)) => self.apply(&channel, content),
                Err(lost) => Err(lost),
            };
            if let Err(Lost(reason)) = outcome {
                tracing::info!(session = self.id, reason, "a session of another node is read from its start");
                channel.retire();
                return;
            }
        }
    }

    /// The next that is complete; `None` in the middle of it.
    async fn next(&mut self) -> Result<Option<Content>, Lost> {
        match self.messages.next().await {
            Some(Ok(message)) => {
                let place = message.info().map(|info| info.stream_sequence);
                self.position = place.map_err(|error| Lost(error.to_string()))?;
                let content = self.assembler.take(&message.payload);
                let content = content.map_err(|error| Lost(error.to_string()))?;
                if content.is_none() {
                    self.applied.send_replace(self.position);
                }
                Ok(content)
            }
            Some(Err(_)) | None => {
                self.begin_again().await;
                Ok(None)
            }
        }
    }

    /// Reads on behind what was read, as soon as NATS is back.
    async fn begin_again(&mut self) {
        loop {
            sleep(AGAIN).await;
            let stores = self.link.stores().await;
            if let Ok(messages) = read_from(&self.link, &stores, &self.id, self.position + 1).await {
                self.messages = messages;
                return;
            }
        }
    }

    fn apply(&mut self, channel: &Channel, content: Content) -> Result<(), Lost> {
        match content {
            Content::Events { first_seq, events } => {
                if !self.early.confirm(first_seq, &events) {
                    return Err(Lost("others came ahead of its events".to_owned()));
                }
                channel.follow(first_seq, events).map_err(|error| Lost(error.to_string()))?;
            }
            Content::Corrections { entries, .. } => channel.follow_corrections(entries),
            // Readers who come from its former node may have more events, which are void.
            Content::Taken { seq } => {
                channel.set_taken_over_at(seq);
                if !self.early.is_empty() {
                    return Err(Lost("its former node sent events ahead that are void".to_owned()));
                }
                self.early.begin_at(self.position);
            }
            Content::Snapshot { seq, .. } if seq <= channel.last_seq() => self.early.forget_up_to(seq),
            Content::Snapshot { seq, last_speaker, last_segment, json, .. } => {
                self.early.forget_up_to(seq);
                let moment = moment(seq, LastIds { speaker: last_speaker, segment: last_segment }, &json)?;
                channel.skip_to(moment);
            }
        }
        self.applied.send_replace(self.position);
        Ok(())
    }

    /// A receiver of the place in the stream up to which the session has all.
    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }
}

/// Looks after a change of the connection whether what was read up to `position` is there still.
async fn look(link: Arc<Link>, id: String, position: u64) -> Result<(), Lost> {
    if !link.health.is_connected() {
        return Ok(());
    }
    let stores = link.stores().await;
    match last_message(&stores, &link.names.events(&id)).await {
        Ok(last) if last.as_ref().map_or(0, |last| last.sequence) < position => {
            Err(Lost("NATS has lost it".to_owned()))
        }
        // Whether it is there, or could not be seen: the next messages tell.
        _ => Ok(()),
    }
}

async fn next_of(subscription: &mut Option<async_nats::Subscriber>) -> Option<async_nats::Message> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// A session before its first event.
fn empty(id: &str, record: &Record) -> Archive {
    let state = StateAt {
        seq: 0,
        at: SampleIndex::ZERO,
        state: Arc::new(SessionState::new()),
        about: Arc::new(About::default()),
        last_speaker: 0,
        last_segment: 0,
        ended: None,
    };
    archive(id, record, state)
}

fn archive(id: &str, record: &Record, moment: StateAt) -> Archive {
    Archive {
        id: id.to_owned(),
        source: record.source(),
        format: record.audio,
        options: record.options,
        began: record.began(),
        // Of a node that wrote none, no secret fits.
        token_hash: record.secret().unwrap_or_else(|| SecretHash::of(&random_hex(16))),
        moment,
        events: Vec::new(),
        corrections: Vec::new(),
    }
}

/// The session in a snapshot. If the snapshot does not continue the events before it, also the last event that is still valid.
fn begin(id: &str, record: &Record, content: &Content) -> Result<(Archive, Option<u64>), Lost> {
    let Content::Snapshot { seq, last_speaker, last_segment, kept, json } = content else {
        return Err(Lost("it does not begin with a snapshot".to_owned()));
    };
    let last = LastIds { speaker: *last_speaker, segment: *last_segment };
    Ok((archive(id, record, moment(*seq, last, json)?), *kept))
}

fn moment(seq: u64, last: LastIds, json: &str) -> Result<StateAt, Lost> {
    let (message, state, about) = of_snapshot(json).map_err(Lost)?;
    let LastIds { speaker, segment } = last.with(&state);
    let ended = match &message.body {
        Body::Snapshot(snapshot) => snapshot.reason,
        _ => None,
    };
    Ok(StateAt {
        seq,
        at: message.at.map_or(SampleIndex::ZERO, SampleIndex::from),
        state: Arc::new(state),
        about: Arc::new(about),
        last_speaker: speaker,
        last_segment: segment,
        ended,
    })
}
