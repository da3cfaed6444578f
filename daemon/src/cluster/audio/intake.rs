//! The sessions whose audio this node takes in for a node that labels it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::CreateErrorKind;
use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::forward::{Forwarder, Over};
use super::message::{AudioMessage, Piece};
use crate::access::TenantId;
use crate::cluster::directory::Directory;
use crate::cluster::error::{ClusterError, refused};
use crate::cluster::link::{Link, Stores};
use crate::cluster::log::{Log, Stop, last_of};
use crate::cluster::mirrors::Mirrors;
use crate::cluster::node::Own;
use crate::cluster::nodes::Nodes;
use crate::cluster::record::Record;
use crate::hub::{Hub, OpenError};
use crate::protocol::{AudioFormat, SessionOptions};
use crate::secret::{SecretHash, random_hex};
use crate::session::{AudioInbox, Keeper, Session, samples_until};

/// Longest wait for NATS where a session is opened.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions whose audio is taken in at most.
const MAX_INTAKES: usize = 4096;

/// See the module's documentation.
pub(in crate::cluster) struct Intakes {
    pub(in crate::cluster) link: Arc<Link>,
    pub(in crate::cluster) hub: Arc<Hub>,
    pub(in crate::cluster) own: Arc<Own>,
    pub(in crate::cluster) nodes: Arc<Nodes>,
    pub(in crate::cluster) directory: Arc<Directory>,
    pub(in crate::cluster) mirrors: Arc<Mirrors>,
    pub(in crate::cluster) sessions: Mutex<BTreeMap<String, Arc<Session>>>,
}

impl Intakes {
    /// How many there are.
    pub(in crate::cluster) fn n(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Whether another node is known to have room for one more session.
    pub(in crate::cluster) fn has_room(&self) -> bool {
        let running = self.directory.all(|record| record.reason.is_none());
        let n_offered = running.iter().filter(|(_, record)| record.is_offered()).count();
        let is_there = |record: &Record, node: &str| record.node == node && !record.going_on.is_left;
        let n_known = |node: &str| running.iter().filter(|(_, record)| is_there(record, node)).count();
        let has_room = self.nodes.n_places(&self.own.name, n_known) > n_offered && self.n() < MAX_INTAKES;
        has_room && self.link.health.is_connected()
    }

    /// Opens a session that another node will label; `None` where none is known that has room.
    ///
    /// # Errors
    /// [`OpenError::Conflict`]
    pub(in crate::cluster) async fn open(
        self: &Arc<Self>,
        id: &str,
        format: AudioFormat,
        options: SessionOptions,
        tenant: Option<&TenantId>,
    ) -> Result<Option<Arc<Session>>, OpenError> {
        if !self.has_room() {
            return Ok(None);
        }
        match timeout(PATIENCE, self.try_open(id, format, options, tenant)).await {
            Ok(Ok(opened)) => opened.map(Some),
            Ok(Err(error)) => {
                tracing::warn!(session = id, %error, "a session for another node is not opened");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    async fn try_open(
        self: &Arc<Self>,
        id: &str,
        format: AudioFormat,
        options: SessionOptions,
        tenant: Option<&TenantId>,
    ) -> Result<Result<Arc<Session>, OpenError>, ClusterError> {
        let stores = self.link.stores().await;
        let token = random_hex(16);
        let record = Record::offered(&self.own.name, format, options, tenant, &SecretHash::of(&token));
        let json = record.to_json();
        let revision = match stores.sessions.create(id, json.clone().into()).await {
            Ok(revision) => revision,
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                return Ok(Err(OpenError::Conflict { id: id.to_owned() }));
            }
            Err(error) => return Err(refused("a session", &error)),
        };
        self.directory.put(id, &json, revision);
        let subject = self.link.names.audio(id);
        let purged = stores.audio.purge().filter(subject.clone()).await;
        purged.map_err(|error| refused("audio of a session before", &error))?;
        let log = Log::on(&self.link, &stores.audio, subject, 0);
        Ok(Ok(self.begin(id, &record, log, 0, Some(token)).await?))
    }

    /// Takes the audio of a session in from now on, for its publisher, who has come to this node.
    ///
    /// # Errors
    /// NATS is away.
    pub(in crate::cluster) async fn take(
        self: &Arc<Self>,
        stores: &Stores,
        id: &str,
        record: &Record,
    ) -> Result<Arc<Session>, ClusterError> {
        if let Some(session) = self.live(id) {
            return Ok(session);
        }
        let subject = self.link.names.audio(id);
        loop {
            let last = last_of(&stores.audio, &subject).await?;
            let labelled = samples_until(SampleIndex(record.going_on.labelled), record.audio.sample_rate);
            let (sequence, position) = match last {
                None => (0, labelled),
                Some(last) => {
                    let message = AudioMessage::parse(&last.payload, record.audio);
                    let message = message.map_err(|error| refused("audio of a session", &error))?;
                    if matches!(message.piece, Piece::End(_)) {
                        // Its publisher has ended it; the labels follow.
                        return self.mirrors.get(id, record).await;
                    }
                    (last.sequence, message.end(record.audio))
                }
            };
            let mut log = Log::on(&self.link, &stores.audio, subject.clone(), sequence);
            let taken = AudioMessage { intake: self.own.name.clone(), first: position, piece: Piece::Taken };
            match log.append_message(&taken.to_bytes(record.audio)).await {
                Ok(()) => {
                    tracing::info!(session = id, "the audio of a session comes in here now");
                    return self.begin(id, record, log, position, None).await;
                }
                // Its intake was faster, or NATS has lost it: there is something else to read.
                Err(Stop::Fenced | Stop::Emptied) => {}
            }
        }
    }

    /// The session of this id, if its audio comes in here.
    pub(in crate::cluster) fn live(&self, id: &str) -> Option<Arc<Session>> {
        let known = self.sessions.lock().get(id).cloned();
        known.filter(|session| !session.channel().is_over() && session.end_reason().is_none())
    }

    async fn begin(
        self: &Arc<Self>,
        id: &str,
        record: &Record,
        log: Log,
        n_received: u64,
        token: Option<String>,
    ) -> Result<Arc<Session>, ClusterError> {
        // Labelled by this very node it has the events of the labelling session, else those that come from NATS.
        let here = self.hub.get(id).filter(|session| !session.channel().is_over());
        let is_here = here.is_some();
        let followed = match here {
            Some(session) => session,
            None => self.mirrors.get(id, record).await?,
        };
        let (session, inbox) = Session::taking_in(&followed, n_received, token, &self.own.name);
        let at = u128::from(n_received) * u128::from(SAMPLE_RATE_HZ) / u128::from(record.audio.sample_rate);
        let at = SampleIndex(u64::try_from(at).unwrap_or(u64::MAX));
        session.channel().handover().keep(Keeper::Cluster, at);
        if !is_here {
            self.mirrors.put(id, &session);
        }
        self.sessions.lock().insert(id.to_owned(), Arc::clone(&session));
        tokio::spawn(Arc::clone(self).forward(Arc::clone(&session), inbox, log, n_received));
        Ok(session)
    }

    /// Passes the audio of a session on to its end here.
    async fn forward(self: Arc<Self>, session: Arc<Session>, inbox: AudioInbox, log: Log, written: u64) {
        let mut forwarder = Forwarder {
            link: Arc::clone(&self.link),
            directory: Arc::clone(&self.directory),
            node: self.own.name.clone(),
            session: Arc::clone(&session),
            inbox,
            log,
            written,
        };
        let over = forwarder.run().await;
        let id = session.id();
        {
            let mut sessions = self.sessions.lock();
            if sessions.get(id).is_some_and(|known| Arc::ptr_eq(known, &session)) {
                sessions.remove(id);
            }
        }
        if over == Over::Replaced {
            tracing::info!(session = id, "the audio of a session comes in at another node now");
            // A connection that its publisher has left is superseded, as by a newer one here: while its audio is still taken.
            let _slot = timeout(PATIENCE, session.acquire_publisher_slot()).await;
        }
        drop(forwarder);
    }

    /// Whether NATS has all audio that this node took in.
    pub(in crate::cluster) fn is_all_written(&self) -> bool {
        self.sessions.lock().is_empty()
    }
}
