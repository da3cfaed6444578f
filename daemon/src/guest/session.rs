//! The session of one such client.

use std::sync::Arc;

use bytes::Bytes;

use crate::hub::{Hub, OpenError};
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::{Closed, Cursor, Listener, Session, StateAt};

/// Events that are passed over at once.
const BATCH: usize = 1024;

/// A session that ends when this is dropped.
pub(crate) struct Guest {
    session: Arc<Session>,
    cursor: Cursor,
    /// The begin of a sample whose rest has not come.
    rest: Vec<u8>,
}

impl Guest {
    /// Opens a session with this id, or with one of its own while another client has that one, for the client with this
    /// token (empty if it has none), as [`Hub::open_for`] does.
    ///
    /// # Errors
    /// [`OpenError`]
    pub(crate) async fn open(
        hub: &Hub,
        owner: &str,
        id: &str,
        format: AudioFormat,
        options: SessionOptions,
    ) -> Result<Self, OpenError> {
        let opened = match hub.open_for(owner, Some(id), format, options).await {
            Err(OpenError::Conflict { .. }) => hub.open_for(owner, None, format, options).await,
            opened => opened,
        };
        let session = opened?;
        Ok(Self { cursor: Cursor::from_now(session.channel()), session, rest: Vec::new() })
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Queues audio; waits while the session is behind. The part of a sample at the end waits for the next call.
    ///
    /// # Errors
    /// [`Closed`] if the session has ended.
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), Closed> {
        let bytes = match self.rest.is_empty() {
            true => bytes,
            false => [std::mem::take(&mut self.rest), bytes.to_vec()].concat().into(),
        };
        let n_whole = bytes.len() - bytes.len() % self.session.format().step_bytes();
        self.rest = bytes[n_whole..].to_vec();
        if n_whole == 0 {
            return Ok(());
        }
        self.session.input().push_bytes(bytes.slice(..n_whole)).await
    }

    /// Audio received, in seconds.
    pub(crate) fn received_s(&self) -> f64 {
        self.session.input().received_s()
    }

    /// Labels and words as they stand.
    pub(crate) fn now(&self) -> StateAt {
        self.session.channel().now()
    }

    /// Waits for an event after the last call. Cancelled, it has missed nothing.
    pub(crate) async fn changed(&mut self) {
        self.cursor.changed().await;
        while self.cursor.read_events(BATCH).events.len() == BATCH {}
    }

    /// Who hears the audio, at most `max_samples` late.
    pub(crate) fn listen(&self, max_samples: u64) -> Listener {
        self.session.listen(max_samples, None)
    }

    /// Ends the session in good order; its last state, with all words.
    pub(crate) async fn finish(&self) -> StateAt {
        self.session.finish(EndReason::Closed);
        self.session.channel().wait_ended().await;
        self.session.all_words().await;
        self.now()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Without effect after an end in good order.
        self.session.finish(EndReason::Disconnected);
    }
}
