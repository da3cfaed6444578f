//! Sessions whose node does not come back: any other node ends them as `interrupted`, one of them succeeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diarized_dsp::SampleIndex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::audio::intake_of;
use super::directory::Directory;
use super::error::{ClusterError, refused};
use super::frames::{Content, last_event};
use super::link::Link;
use super::log::{Log, last_message};
use super::mirrors::Mirrors;
use super::node::Own;
use super::nodes::Nodes;
use super::record::Record;
use crate::hub::Hub;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::{EndReason, Ended};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is needed to end them.
pub(super) struct Orphans {
    pub(super) link: Arc<Link>,
    pub(super) hub: Arc<Hub>,
    pub(super) own: Arc<Own>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) directory: Arc<Directory>,
    pub(super) mirrors: Arc<Mirrors>,
}

impl Orphans {
    /// Ends them for ever. Nothing is done while NATS is away, or the name of this node is not `held`.
    pub(super) async fn run(self, held: watch::Receiver<bool>) {
        // Since when the node of a session is missed, by session; nobody is missed before that could be seen.
        let mut missed: BTreeMap<String, Instant> = BTreeMap::new();
        let mut connection = self.link.health.connection();
        loop {
            sleep(LOOK_EVERY).await;
            if connection.has_changed().unwrap_or(true) || !*held.borrow() {
                connection.mark_unchanged();
                missed.clear();
            }
            if !self.link.health.is_connected() || !*held.borrow() {
                continue;
            }
            let running = self.directory.all(|record| record.reason.is_none());
            missed.retain(|missing, _| running.iter().any(|(id, _)| id == missing));
            for (id, record) in running {
                let is_there = match record.node == self.own.name {
                    true => self.hub.get(&id).is_some(),
                    false => self.nodes.is_alive(&record.node),
                };
                if is_there {
                    missed.remove(&id);
                    continue;
                }
                let since = *missed.entry(id.clone()).or_insert_with(Instant::now);
                if since.elapsed() >= self.link.away()
                    && let Err(error) = self.end(&id, &record).await
                {
                    tracing::debug!(session = id, %error, "a session without a node is not ended");
                }
            }
        }
    }

    /// Ends one session as it is there.
    async fn end(&self, id: &str, record: &Record) -> Result<(), ClusterError> {
        let stores = self.link.stores().await;
        if record.runs_fed()
            && let Some(intake) = intake_of(&self.link, &stores, id, record).await?
            && self.nodes.is_alive(&intake)
        {
            // It waits for a node that labels it.
            return Ok(());
        }
        let Some((known, revision)) = self.directory.get(id).filter(|(known, _)| known == record) else {
            return Ok(());
        };
        let (seq, at, n_speakers) = match self.mirrors.get(id, record).await {
            Ok(session) => {
                let now = session.channel().now();
                (now.seq, now.at, now.state.speakers().len())
            }
            // Its labels are gone; its end is not.
            Err(_) => (known.seq, known.at(), known.speakers),
        };
        let last = last_message(&stores, &self.link.names.events(id)).await?;
        let (last, there) =
            last.map_or((0, 0), |last| (last.sequence, last_event(&last.payload).unwrap_or(seq)));
        if there > seq {
            // Newer events are on their way here.
            return Ok(());
        }
        let event = interrupted(id, seq + 1, at, n_speakers);
        let mut log = Log::at(&self.link, &stores, id, last);
        let content = Content::Events { first_seq: seq + 1, events: vec![event.to_json().into()] };
        if log.append(&content).await.is_err() {
            return Ok(());
        }
        let ended = known.ended(EndReason::Interrupted, seq + 1);
        let written = stores.sessions.update(id, ended.to_json().into(), revision).await;
        written.map_err(|error| refused("the end of a session", &error))?;
        tracing::warn!(session = id, node = record.node, "a session is ended whose node does not come back");
        Ok(())
    }
}

fn interrupted(id: &str, seq: u64, at: SampleIndex, speakers: usize) -> ServerMessage {
    let ended = Ended { duration_s: at.into(), speakers, reason: EndReason::Interrupted };
    ServerMessage { session: Some(id.to_owned()), seq: Some(seq), at: Some(at.into()), body: ended.into() }
}
