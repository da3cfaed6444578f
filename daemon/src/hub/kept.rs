//! Sessions that are not running: found where they are kept, one copy at a time, and corrected.

use std::sync::Arc;

use diarized_models::words::NewWord;

use super::ids::MICROPHONE_SESSION;
use super::registry::{Hub, Inner, blocking};
use crate::session::{Command, Correction, CorrectionError, Session, Source};
use crate::storage::StorageError;

impl Hub {
    /// The session of this id, in memory or kept, on this node or another one.
    ///
    /// # Errors
    /// [`StorageError`] if it could not be looked for.
    pub async fn find(&self, id: &str) -> Result<Option<Arc<Session>>, StorageError> {
        // What this node kept of a session that moved is its beginning only.
        let here = if self.has_moved(id) { None } else { self.look_for(id).await? };
        match self.elsewhere() {
            Some(elsewhere) if here.is_none() => elsewhere.find(id).await,
            _ => Ok(here),
        }
    }

    /// The session of this id on this node, in memory or kept.
    pub(crate) async fn look_for(&self, id: &str) -> Result<Option<Arc<Session>>, StorageError> {
        let found = self.get(id).or_else(|| self.inner.lock().held.get(id));
        let (Some(storage), None) = (&self.storage, &found) else { return Ok(found) };
        let (storage, id) = (Arc::clone(storage), id.to_owned());
        let loaded = blocking(move || match storage.load(&id)? {
            None if id == MICROPHONE_SESSION => storage.load_newest(Source::Microphone),
            found => Ok(found),
        });
        let Some(loaded) = loaded.await? else { return Ok(None) };
        let mut inner = self.inner.lock();
        // Another one may have loaded it meanwhile: there is one copy.
        let same = inner.sessions.get(loaded.id()).cloned().or_else(|| inner.held.get(loaded.id()));
        Ok(Some(same.unwrap_or_else(|| {
            inner.held.add(&loaded);
            loaded
        })))
    }

    /// Makes a correction of a session, running or ended, and keeps it where the session is kept; its events are in the
    /// journal when this returns. `by` is the name of the token that wants it.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub async fn correct(
        &self,
        session: &Arc<Session>,
        correction: Correction,
        by: Option<String>,
    ) -> Result<(), CorrectionError> {
        let command = Command::Correct { correction: correction.clone(), by: by.clone() };
        if let Ok(outcome) = session.input().command(command).await
            && let Ok(outcome) = outcome.await
        {
            return outcome;
        }
        self.correct_ended(session, correction, by).await
    }

    /// The same for a session that takes no more input.
    ///
    /// # Errors
    /// As [`Self::correct`].
    pub async fn correct_ended(
        &self,
        session: &Arc<Session>,
        correction: Correction,
        by: Option<String>,
    ) -> Result<(), CorrectionError> {
        if session.elsewhere().is_some() {
            let command = Command::Correct { correction, by };
            return self.act_elsewhere(session, command).await.map(drop);
        }
        self.must_be_here(session).await?;
        session.correct_ended(&correction, by).await?;
        self.changed_after_its_end(session);
        Ok(())
    }

    /// Adds recognised words to a session, running or ended, and keeps them where the session is kept; their events are in the
    /// journal when this returns.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub async fn add_words(
        &self,
        session: &Arc<Session>,
        words: Vec<NewWord>,
        is_final: bool,
    ) -> Result<(), CorrectionError> {
        let command = Command::Words { words: words.clone(), is_final };
        if let Ok(outcome) = session.input().command(command).await
            && let Ok(outcome) = outcome.await
        {
            return outcome;
        }
        self.add_words_ended(session, &words, is_final).await
    }

    /// The same for a session that takes no more input.
    ///
    /// # Errors
    /// As [`Self::add_words`].
    pub async fn add_words_ended(
        &self,
        session: &Arc<Session>,
        words: &[NewWord],
        is_final: bool,
    ) -> Result<(), CorrectionError> {
        if session.elsewhere().is_some() {
            let command = Command::Words { words: words.to_vec(), is_final };
            return self.act_elsewhere(session, command).await.map(drop);
        }
        self.must_be_here(session).await?;
        session.add_words_ended(words, is_final).await?;
        self.changed_after_its_end(session);
        Ok(())
    }

    /// Waits for the end of a session, and takes it in for what comes then.
    async fn must_be_here(&self, session: &Arc<Session>) -> Result<(), CorrectionError> {
        session.channel().wait_ended().await;
        if self.take_in(session) {
            return Ok(());
        }
        let reason = format!("session {:?} is deleted", session.id());
        Err(CorrectionError::Refused { reason })
    }

    /// Has kept what came after the end of a session, and wakes the followers of all sessions.
    fn changed_after_its_end(&self, session: &Arc<Session>) {
        if let Some(storage) = &self.storage {
            storage.follow_again(session);
        }
        // The channel of a kept session has no part in the hub.
        self.side.tick.send_modify(|n| *n += 1);
    }

    /// Puts an ended session on the list, so that followers of all sessions get its corrections. Whether it is there still.
    fn take_in(&self, session: &Arc<Session>) -> bool {
        let mut inner = self.inner.lock();
        if let Some(listed) = inner.sessions.get(session.id()) {
            return Arc::ptr_eq(listed, session);
        }
        let is_held = inner.held.get(session.id()).is_some_and(|held| Arc::ptr_eq(&held, session));
        if is_held {
            session.come_back(inner.n_opened);
            inner.n_opened += 1;
            inner.sessions.insert(session.id().to_owned(), Arc::clone(session));
            inner.order.push_back(Arc::clone(session));
            self.forget_oldest(&mut inner);
        }
        is_held
    }

    /// Takes ended sessions off the list that are too many or too large, the oldest first; who holds one goes on with it.
    pub(super) fn forget_oldest(&self, inner: &mut Inner) {
        let bytes_of = |session: &Arc<Session>| {
            session.channel().ended().is_some().then(|| session.channel().journal_bytes())
        };
        let (mut n_ended, mut n_bytes) = (0, 0);
        for bytes in inner.order.iter().filter_map(bytes_of) {
            n_ended += 1;
            n_bytes += bytes;
        }
        while n_ended > self.params.max_ended || (n_ended > 1 && n_bytes > self.params.max_ended_bytes) {
            let oldest = inner.order.iter().enumerate().find_map(|(at, s)| Some((at, bytes_of(s)?)));
            let Some((at, bytes)) = oldest else { break };
            n_ended -= 1;
            n_bytes -= bytes.min(n_bytes);
            if let Some(session) = inner.order.remove(at) {
                inner.sessions.remove(session.id());
                inner.held.add(&session);
                self.counters.forget(&session);
            }
        }
    }
}
