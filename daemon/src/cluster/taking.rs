//! Going on here with a session of another node, whose publisher has come to this one or whose audio comes through NATS.
//!
//! The record of the session gets this node by compare-and-set. Then a message behind the last event bars the node before
//! from writing more, and says which of its events are still good. Everything up to that message is the session.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::UpdateErrorKind;
use diarized_dsp::SampleIndex;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::ask::{Answer, Ask, What};
use super::audio::Intakes;
use super::copies::Copies;
use super::directory::Directory;
use super::error::{ClusterError, refused};
use super::frames::Content;
use super::link::{Link, Stores};
use super::log::{Log, last_message};
use super::mirrors::Mirrors;
use super::node::{FORMAT, Own};
use super::questions::Questions;
use super::record::{LOOK, Record};
use crate::hub::{Hub, OpenError, TakeError};
use crate::session::{Before, Session, StartError};

/// Longest time that all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for the node that has the session.
const ANSWER: Duration = Duration::from_secs(2);
/// Wait before the record is looked at again.
const AGAIN: Duration = Duration::from_millis(50);

/// What is needed for it.
pub(super) struct Taking {
    pub(super) link: Arc<Link>,
    pub(super) hub: Arc<Hub>,
    pub(super) own: Arc<Own>,
    pub(super) directory: Arc<Directory>,
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) copies: Arc<Copies>,
    pub(super) questions: Arc<Questions>,
    pub(super) intakes: Arc<Intakes>,
    /// Sessions that are being taken.
    pub(super) busy: Mutex<BTreeSet<String>>,
}

/// Marks a session as being taken as long as it is held.
struct Busy<'a>(&'a Taking, &'a str);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().remove(self.1);
    }
}

impl Taking {
    /// Goes on with a session for the client that has its secret. Gives up after ten seconds.
    ///
    /// # Errors
    /// [`TakeError`]
    pub(super) async fn take(&self, id: &str, secret: &str) -> Result<Arc<Session>, TakeError> {
        if !self.own.roles.intake {
            let reason = "this node takes no audio in (cluster.roles); connect to one that does";
            return Err(self.refused(id, None, reason));
        }
        let is_fed = || self.directory.get(id).is_some_and(|(record, _)| record.runs_fed());
        let all = async {
            while !self.busy.lock().insert(id.to_owned()) {
                sleep(AGAIN).await;
            }
            let _busy = Busy(self, id);
            match self.hub.get(id).filter(|_| !is_fed()) {
                // Another connection was faster.
                Some(session) if session.is_token(secret) => Ok(session),
                Some(_) => Err(TakeError::Secret { id: id.to_owned() }),
                None => self.take_alone(id, secret).await,
            }
        };
        let late = || self.refused(id, None, "NATS or its node does not answer in time; try again");
        timeout(PATIENCE, all).await.map_err(|_| late())?
    }

    async fn take_alone(&self, id: &str, secret: &str) -> Result<Arc<Session>, TakeError> {
        if !self.link.health.is_connected() {
            return Err(self.refused(id, None, "NATS is away; try again later"));
        }
        let stores = self.link.stores().await;
        loop {
            let away = |error: &ClusterError| self.refused(id, None, &error.to_string());
            let (record, revision) = self.record(&stores, id).await.map_err(|error| away(&error))?;
            let record = record.ok_or_else(|| TakeError::Unknown { id: id.to_owned() })?;
            if !record.secret().is_some_and(|hash| hash.fits(secret)) {
                return Err(TakeError::Secret { id: id.to_owned() });
            }
            if record.reason.is_some() {
                return self.mirrors.get(id, &record).await.map_err(|error| away(&error));
            }
            if record.going_on.is_fed {
                let taken = self.intakes.take(&stores, id, &record).await;
                return taken.map_err(|error| away(&error));
            }
            let is_here = self.is_here()?;
            if !self.is_free(id, &record).await? {
                sleep(AGAIN).await;
                continue;
            }
            let taken = match is_here {
                true => record.moved(&self.own.name),
                false => record.offered_by(&self.own.name),
            };
            match stores.sessions.update(id, taken.to_json().into(), revision).await {
                Ok(revision) => {
                    self.directory.put(id, &taken.to_json(), revision);
                    if is_here {
                        return self.go_on(&stores, id, &record, &taken, revision).await;
                    }
                }
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => sleep(AGAIN).await,
                Err(error) => return Err(away(&refused("a session that goes on here", &error))),
            }
        }
    }

    /// Whether a session goes on here, or only its audio comes in here.
    fn is_here(&self) -> Result<bool, TakeError> {
        let room = if self.own.roles.label { self.hub.has_room() } else { Err(OpenError::NoLabeller) };
        match room {
            Ok(()) => Ok(true),
            Err(OpenError::TooMany { .. } | OpenError::Overloaded | OpenError::NoLabeller)
                if self.intakes.has_room() =>
            {
                Ok(false)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Goes on with a session whose audio comes through NATS, if `is_free` says so of its newest record. Whether it does.
    ///
    /// # Errors
    /// [`TakeError`]
    pub(super) async fn take_free(
        &self,
        id: &str,
        is_free: impl Fn(&Record) -> bool,
    ) -> Result<bool, TakeError> {
        if !self.busy.lock().insert(id.to_owned()) {
            return Ok(false);
        }
        let _busy = Busy(self, id);
        let away = |error: &ClusterError| self.refused(id, None, &error.to_string());
        let stores = self.link.stores().await;
        let (record, revision) = self.record(&stores, id).await.map_err(|error| away(&error))?;
        let Some(record) = record.filter(|record| is_free(record)) else { return Ok(false) };
        self.hub.has_room()?;
        let taken = record.moved(&self.own.name);
        match stores.sessions.update(id, taken.to_json().into(), revision).await {
            Ok(revision) => {
                self.directory.put(id, &taken.to_json(), revision);
                self.go_on(&stores, id, &record, &taken, revision).await?;
                Ok(true)
            }
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(away(&refused("a session that goes on here", &error))),
        }
    }

    async fn record(&self, stores: &Stores, id: &str) -> Result<(Option<Record>, u64), ClusterError> {
        let Some((record, revision)) = Record::read(stores, id).await? else { return Ok((None, 0)) };
        let record = record.map_err(|reason| ClusterError::Refused { what: LOOK, reason })?;
        Ok((Some(record), revision))
    }

    /// Whether the node of a session lets it go, or is dead; it may have to be looked at again. Who does not answer is taken for
    /// dead: if it lives, it is barred from writing and stops.
    async fn is_free(&self, id: &str, record: &Record) -> Result<bool, TakeError> {
        if record.going_on.is_left || record.node == self.own.name {
            return Ok(true);
        }
        let ask = Ask { format: FORMAT, session: id.to_owned(), what: What::HandOver };
        let answer = timeout(ANSWER, self.questions.ask(&record.node, &ask)).await;
        match answer.unwrap_or_else(|_| Err("its node does not answer".to_owned())) {
            // Its last record says so, now or soon.
            Ok(Answer::Done { .. } | Answer::Leaving) => Ok(false),
            Ok(Answer::Refused(reason)) => Err(self.refused(id, Some(record), &reason)),
            Ok(_) => Ok(true),
            Err(reason) => {
                tracing::info!(session = id, node = record.node, reason, "a session is taken from its node");
                Ok(true)
            }
        }
    }

    /// Bars the node before, and goes on with what is there. Where that fails the session is free for every node.
    async fn go_on(
        &self,
        stores: &Stores,
        id: &str,
        before: &Record,
        taken: &Record,
        revision: u64,
    ) -> Result<Arc<Session>, TakeError> {
        let outcome = self.try_go_on(stores, id, taken).await;
        match &outcome {
            Ok(_) => {
                self.link.counts.taken.add(1);
                tracing::info!(session = id, from = before.node, "a session of another node goes on here");
            }
            Err(error) => {
                tracing::error!(session = id, from = before.node, %error, "a session does not go on here");
                let _ = stores.sessions.update(id, taken.left().to_json().into(), revision).await;
            }
        }
        outcome
    }

    async fn try_go_on(&self, stores: &Stores, id: &str, taken: &Record) -> Result<Arc<Session>, TakeError> {
        let away = |error: ClusterError| self.refused(id, Some(taken), &error.to_string());
        let followed = self.bar(stores, id, taken).await.map_err(away)?;
        self.mirrors.give_away(id);
        let voices = self.copies.read(stores, id, &taken.going_on).await;
        let hash = taken.secret().ok_or_else(|| TakeError::Secret { id: id.to_owned() })?;
        let labelled = SampleIndex(taken.going_on.labelled);
        let before = Before::of(&followed.channel().now(), labelled, voices);
        let hub = Arc::clone(&self.hub);
        let channel = Arc::clone(followed.channel());
        let started = tokio::task::spawn_blocking(move || hub.take_in_moved(&followed, hash, before)).await;
        let started = started
            .unwrap_or_else(|error| Err(OpenError::Start(StartError::Thread(std::io::Error::other(error)))));
        if started.is_err() {
            // Its readers come back and find it wherever it is then.
            channel.retire();
        }
        let session = started?;
        if let Some(tenant) = taken.tenant() {
            session.set_tenant(tenant);
        }
        Ok(session)
    }

    /// Writes behind the last event that this node goes on from there. Gives the session up to that.
    async fn bar(&self, stores: &Stores, id: &str, taken: &Record) -> Result<Arc<Session>, ClusterError> {
        loop {
            let last = last_message(stores, &self.link.names.events(id)).await?;
            let last = last.map_or(0, |last| last.sequence);
            let session = self.mirrors.get_up_to(id, taken, last).await?;
            let seq = session.channel().last_seq();
            // The node before is refused from here on. Where it was faster, there is more to read.
            let mut log = Log::at(&self.link, stores, id, last);
            if let Ok(place) = log.append(&Content::Taken { seq }).await {
                return self.mirrors.get_up_to(id, taken, place).await;
            }
        }
    }

    fn refused(&self, id: &str, record: Option<&Record>, reason: &str) -> TakeError {
        let known = || self.directory.get(id).map(|(record, _)| record.node);
        let node = record.map(|record| record.node.clone()).or_else(known).unwrap_or_default();
        TakeError::Refused { id: id.to_owned(), node, reason: reason.to_owned() }
    }
}
