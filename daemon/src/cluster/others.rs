//! The sessions of other nodes as the hub asks for them.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::Operation;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::ask::{Answer, Ask, What};
use super::audio::Intakes;
use super::directory::Directory;
use super::error::refused;
use super::link::Link;
use super::mirrors::Mirrors;
use super::node::{FORMAT, Own};
use super::nodes::Nodes;
use super::publishers::Publishers;
use super::questions::Questions;
use super::record::Record;
use super::taking::Taking;
use crate::access::TenantId;
use crate::hub::{Elsewhere, Hub, ListedElsewhere, OpenError, TakeError};
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Channel, Command, CorrectionError, Session};
use crate::storage::StorageError;

/// Longest wait for NATS where a session is looked for that is not known here.
const LOOK: Duration = Duration::from_secs(2);
/// Longest wait for the events of what was done on another node.
const ARRIVAL: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(super) struct Others {
    pub(super) link: Arc<Link>,
    pub(super) hub: Arc<Hub>,
    pub(super) own: Arc<Own>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) directory: Arc<Directory>,
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) publishers: Arc<Publishers>,
    pub(super) questions: Arc<Questions>,
    pub(super) taking: Arc<Taking>,
    pub(super) intakes: Arc<Intakes>,
}

impl Others {
    /// The record of a session; NATS is asked where it is not known here, as it may be new.
    async fn record(&self, id: &str) -> Option<Record> {
        if let Some((record, _)) = self.directory.get(id) {
            return Some(record);
        }
        if !self.link.health.is_connected() {
            return None;
        }
        let look = async { self.link.stores().await.sessions.entry(id).await };
        let entry = timeout(LOOK, look).await.ok()?.ok()??;
        if entry.operation != Operation::Put {
            return None;
        }
        self.directory.put(id, &entry.value, entry.revision);
        self.directory.get(id).map(|(record, _)| record)
    }

    async fn find_record(&self, id: &str) -> Result<Option<Arc<Session>>, StorageError> {
        let Some(record) = self.record(id).await else { return Ok(None) };
        match self.mirrors.get(id, &record).await {
            Ok(session) => Ok(Some(session)),
            Err(error) => {
                let reason = format!("{error} (node {:?})", record.node);
                Err(StorageError::Elsewhere { id: id.to_owned(), reason })
            }
        }
    }

    async fn act_there(&self, session: &Session, command: Command) -> Result<f64, CorrectionError> {
        let id = session.id();
        let refused = |reason: String| CorrectionError::Refused { reason };
        // It may have moved since it is followed here.
        let node = self.record(id).await.map(|record| record.node);
        let node = node.or_else(|| session.elsewhere().map(str::to_owned)).unwrap_or_default();
        if node == self.own.name {
            return self.act_here(id, command).await;
        }
        let ask = Ask::of(id, &command)
            .ok_or_else(|| refused(format!("that has to be asked of node {node:?} of the session")))?;
        let answer = self.questions.ask(&node, &ask).await.map_err(refused)?;
        let (seq, safe_s) = answer.outcome(id, &node)?;
        arrived(session.channel(), seq).await;
        Ok(safe_s)
    }

    /// Acts on a session that has come to this node since it was followed.
    async fn act_here(&self, id: &str, command: Command) -> Result<f64, CorrectionError> {
        let Some(session) = self.hub.get(id) else {
            let reason = match self.is_fed(id) {
                true => format!("no node labels session {id:?} just now; try again later"),
                false => format!("session {id:?} is no longer in the memory of its node"),
            };
            return Err(CorrectionError::Refused { reason });
        };
        match command {
            Command::Finalize => {
                if let Ok(outcome) = session.input().command(Command::Finalize).await {
                    let _ = outcome.await;
                }
            }
            // A box, as the hub asks here in its turn.
            Command::Correct { correction, by } => self.hub.correct(&session, correction, by).boxed().await?,
            Command::Words { words, is_final } => {
                self.hub.add_words(&session, words, is_final).boxed().await?
            }
        }
        Ok(session.safe_s())
    }

    async fn forget_there(&self, id: &str) -> Result<bool, StorageError> {
        let Some(record) = self.record(id).await else { return Ok(false) };
        let away = |reason: String| StorageError::Elsewhere { id: id.to_owned(), reason };
        // Without its node there is nothing but what NATS has.
        if record.node == self.own.name || !self.nodes.is_alive(&record.node) {
            self.erase_all(id).await?;
            return Ok(true);
        }
        let ask = Ask { format: FORMAT, session: id.to_owned(), what: What::Delete };
        match self.questions.ask(&record.node, &ask).await.map_err(away)? {
            Answer::Done { .. } => Ok(true),
            Answer::NotFound => {
                self.erase_all(id).await?;
                Ok(true)
            }
            other => Err(away(format!("{other:?}"))),
        }
    }

    /// Takes what is in NATS of a session away.
    async fn erase_all(&self, id: &str) -> Result<(), StorageError> {
        let away = |reason: String| StorageError::Elsewhere { id: id.to_owned(), reason };
        if !self.link.health.is_connected() {
            return Err(away(
                "NATS is away, and has its events; delete it again when NATS is back".to_owned(),
            ));
        }
        self.publishers.forget(id);
        let outcome = self.purge(id).await;
        if outcome.is_err() {
            self.publishers.remember(id);
        }
        outcome
    }

    async fn purge(&self, id: &str) -> Result<(), StorageError> {
        let away = |reason: String| StorageError::Elsewhere { id: id.to_owned(), reason };
        let stores = timeout(LOOK, self.link.stores()).await.map_err(|error| away(error.to_string()))?;
        let purged = stores.events.purge().filter(self.link.names.events(id)).await;
        purged.map_err(|error| away(refused("to forget events", &error).to_string()))?;
        let purged = stores.audio.purge().filter(self.link.names.audio(id)).await;
        purged.map_err(|error| away(refused("to forget audio", &error).to_string()))?;
        let purged = stores.sessions.purge(id).await;
        purged.map_err(|error| away(refused("to forget a session", &error).to_string()))?;
        self.directory.remove(id);
        Ok(())
    }
}

/// Waits until an event of a followed session is here.
async fn arrived(channel: &Channel, seq: u64) {
    let began = Instant::now();
    while channel.last_seq() < seq && began.elapsed() < ARRIVAL {
        sleep(Duration::from_millis(5)).await;
    }
}

impl Elsewhere for Others {
    fn node(&self) -> &str {
        &self.own.name
    }

    fn takes_in(&self) -> bool {
        self.own.roles.intake
    }

    fn labels(&self) -> bool {
        self.own.roles.label
    }

    fn is_fed(&self, id: &str) -> bool {
        self.directory.get(id).is_some_and(|(record, _)| record.runs_fed())
    }

    fn open<'a>(
        &'a self,
        id: &'a str,
        format: AudioFormat,
        options: SessionOptions,
        tenant: Option<&'a TenantId>,
    ) -> BoxFuture<'a, Result<Option<Arc<Session>>, OpenError>> {
        self.intakes.open(id, format, options, tenant).boxed()
    }

    fn known(&self, id: &str) -> Option<bool> {
        self.directory.get(id).map(|(record, _)| record.reason.is_none())
    }

    fn list(&self) -> Vec<ListedElsewhere> {
        let mut records = self.directory.all(|_| true);
        records.sort_by_key(|(_, record)| record.began_unix_ms);
        let listed = records.into_iter().map(|(id, record)| ListedElsewhere {
            source: record.source(),
            began: record.began(),
            at: record.at(),
            id,
            node: record.node,
            title: record.title,
            format: record.audio,
            seq: record.seq,
            n_speakers: record.speakers,
            n_segments: record.segments,
            is_connected: record.connected,
            reason: record.reason,
        });
        listed.collect()
    }

    fn running_of(&self, tenant: &TenantId) -> Vec<String> {
        let running = self.directory.all(|record| record.runs_elsewhere_for(tenant, &self.own.name));
        running.into_iter().map(|(id, _)| id).collect()
    }

    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<Session>>, StorageError>> {
        self.find_record(id).boxed()
    }

    fn act<'a>(
        &'a self,
        session: &'a Session,
        command: Command,
    ) -> BoxFuture<'a, Result<f64, CorrectionError>> {
        self.act_there(session, command).boxed()
    }

    fn forget<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, StorageError>> {
        self.forget_there(id).boxed()
    }

    fn erase<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), StorageError>> {
        async move {
            match self.record(id).await {
                Some(record) if record.node == self.own.name => self.erase_all(id).await,
                // It was never there, or another session has its id there.
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn has_moved(&self, id: &str) -> bool {
        let record = self.directory.get(id).map(|(record, _)| record);
        record.is_some_and(|record| {
            let is_left = record.going_on.is_left && record.reason.is_none();
            is_left || (record.going_on.moves > 0 && record.node != self.own.name)
        })
    }

    fn can_take(&self) -> bool {
        self.link.health.is_connected()
    }

    fn take<'a>(&'a self, id: &'a str, secret: &'a str) -> BoxFuture<'a, Result<Arc<Session>, TakeError>> {
        self.taking.take(id, secret).boxed()
    }

    fn followed(&self) -> Vec<Arc<Session>> {
        self.mirrors.all()
    }

    fn follow_all(&self) -> Box<dyn Any + Send + Sync> {
        self.mirrors.follow_all()
    }
}
