//! The subject of a session's events, or of its audio, as its one writer sees it: a message is there once or not at all.
//!
//! Each message is only taken if the one before it is the last that this writer knows. So of two writers one is refused, and a
//! message whose answer was lost is found again instead of being written twice.

use std::sync::Arc;
use std::time::Duration;

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::ahead::Written;
use super::error::{ClusterError, refused};
use super::frames::{Content, last_event};
use super::health::Part;
use super::link::{Link, Stores};

/// First and longest wait before a message is tried again.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why nothing more can be written behind what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Another writer has written to the session's subject.
    Fenced,
    /// What was there is gone: its age, or NATS lost it.
    Emptied,
}

/// The writing end of one session's subject.
#[derive(Debug)]
pub(super) struct Log {
    link: Arc<Link>,
    stream: Stream,
    subject: String,
    /// Where in the stream its last message is; 0 before the first.
    last: u64,
    /// The same, for those who send ahead of the stream.
    written: watch::Sender<Written>,
    /// Whether what is written next continues what is there.
    continues: bool,
}

impl Log {
    /// Opens the subject, and gives its last message.
    ///
    /// # Errors
    /// NATS is away.
    pub(super) async fn open(
        link: &Arc<Link>,
        stores: &Stores,
        session: &str,
    ) -> Result<(Self, Option<Bytes>), ClusterError> {
        let subject = link.names.events(session);
        let last = last_message(stores, &subject).await?;
        let (sequence, payload) = last.map_or((0, None), |last| (last.sequence, Some(last.payload)));
        let log = Self::on(link, &stores.events, subject, sequence);
        Ok((log, payload))
    }

    /// The same subject, whose last message is known to be there.
    pub(super) fn at(link: &Arc<Link>, stores: &Stores, session: &str, last: u64) -> Self {
        Self::on(link, &stores.events, link.names.events(session), last)
    }

    /// A subject of this stream, whose last message is known to be there.
    pub(super) fn on(link: &Arc<Link>, stream: &Stream, subject: String, last: u64) -> Self {
        let written = watch::Sender::default();
        let (link, stream) = (Arc::clone(link), stream.clone());
        Self { link, stream, subject, last, written, continues: false }
    }

    /// What is written next continues what is there, with `seq` as its last event.
    pub(super) fn continue_after(&mut self, seq: u64) {
        self.continues = true;
        self.written.send_replace(Written { place: self.last, seq, waits_since: None });
    }

    /// A receiver of how far it is written.
    pub(super) fn written(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    /// Writes `content` behind what is there, and gives where it begins in the stream. Waits as long as NATS is away.
    ///
    /// # Errors
    /// [`Stop`]; nothing more can be written here.
    pub(super) async fn append(&mut self, content: &Content) -> Result<u64, Stop> {
        let mut first = 0;
        for message in content.to_messages() {
            let message = Bytes::from(message);
            let now = Instant::now();
            self.written.send_modify(|written| written.waits_since = self.continues.then_some(now));
            self.append_message(&message).await?;
            if first == 0 {
                first = self.last;
            }
            self.written.send_modify(|written| {
                let seq = last_event(&message).unwrap_or(written.seq);
                *written = Written { place: self.last, seq, waits_since: None };
            });
        }
        self.continues = true;
        Ok(first)
    }

    /// Writes one message, as [`Self::append`] does.
    ///
    /// # Errors
    /// [`Stop`]
    pub(super) async fn append_message(&mut self, message: &Bytes) -> Result<(), Stop> {
        let mut wait = WAITS.0;
        loop {
            match self.try_append(message).await {
                Ok(sequence) => {
                    self.link.health.well(Part::Events);
                    self.last = sequence;
                    return Ok(());
                }
                Err(Failure::Behind) => {
                    if let Ok(last) = last_of(&self.stream, &self.subject).await {
                        let (at, is_ours) =
                            last.map_or((0, false), |last| (last.sequence, last.payload == *message));
                        if is_ours {
                            // Its answer was lost.
                            self.last = at;
                            return Ok(());
                        }
                        if at == 0 {
                            return Err(Stop::Emptied);
                        }
                        if at != self.last {
                            return Err(Stop::Fenced);
                        }
                    }
                }
                Err(Failure::Away(error)) => {
                    self.link.counts.failures.add(1);
                    if self.link.health.is_connected()
                        && self.link.health.failed(Part::Events, &error.to_string())
                    {
                        tracing::warn!(%error, "events do not reach the other nodes; it is tried again");
                    }
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Goes on where nothing of what was written is there any more.
    pub(super) fn begin_again(&mut self) {
        self.last = 0;
    }

    async fn try_append(&self, message: &Bytes) -> Result<u64, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(self.last));
        let sent = self.link.jetstream.publish_with_headers(self.subject.clone(), headers, message.clone());
        let acknowledged = match sent.await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        acknowledged.map(|there| there.sequence).map_err(|error| match error.kind() {
            PublishErrorKind::WrongLastSequence => Failure::Behind,
            _ => Failure::Away(refused("a message", &error)),
        })
    }
}

enum Failure {
    /// The last message is another one than we know.
    Behind,
    Away(ClusterError),
}

/// The last message of a subject, if there is one.
///
/// # Errors
/// NATS is away.
pub(super) async fn last_message(
    stores: &Stores,
    subject: &str,
) -> Result<Option<StreamMessage>, ClusterError> {
    last_of(&stores.events, subject).await
}

/// The last message of a subject of this stream, if there is one.
///
/// # Errors
/// NATS is away.
pub(super) async fn last_of(stream: &Stream, subject: &str) -> Result<Option<StreamMessage>, ClusterError> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(refused("a look at a session", &error)),
    }
}
