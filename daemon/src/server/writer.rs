//! The outgoing half of a WebSocket: events, replies, pings, and the close with its last messages.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use bytestring::ByteString;
use futures_util::{Sink, SinkExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::shared::Shared;
use crate::hub::FollowAll;
use crate::protocol::server_message::{EndReason, Error};
use crate::protocol::{CloseCode, ErrorCode, ServerMessage};
use crate::session::{Cursor, ReadStatus};

/// Events taken from a journal at a time, so that replies get between them.
const BATCH: usize = 64;

/// What the incoming half asks of the outgoing one.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A reply; it follows the events so far.
    Reply(ServerMessage),
    /// Follow this from now on.
    Follow(Feed),
    /// The last message: sent now, followed by the close at the end of the followed session.
    Fatal(ServerMessage, CloseCode),
    /// Close now.
    Close(CloseCode),
}

/// What a connection follows.
#[derive(Debug)]
pub(super) enum Feed {
    /// One session, as its publisher.
    Own(Cursor),
    /// One session.
    One(Cursor),
    /// All sessions.
    All(FollowAll),
}

/// The peer does not take what is sent to it.
struct Gone;

pub(super) struct Writer<S> {
    sink: S,
    requests: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    down: watch::Receiver<bool>,
    feed: Option<Feed>,
    fatal: Option<CloseCode>,
    batch: Vec<ByteString>,
}

impl<S> Writer<S>
where
    S: Sink<Message, Error = axum::Error> + Unpin,
{
    pub(super) fn new(sink: S, requests: mpsc::Receiver<Outgoing>, shared: Arc<Shared>) -> Self {
        let down = shared.hub.shutting_down();
        Self { sink, requests, shared, down, feed: None, fatal: None, batch: Vec::new() }
    }

    /// Writes until the connection is closed or the peer is gone.
    pub(super) async fn run(mut self) {
        let every = self.shared.limits.ping;
        let mut ping = interval_at(Instant::now() + every, every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Ok(true) = self.step(&mut ping).await {}
    }

    /// One round; whether there is another.
    async fn step(&mut self, ping: &mut tokio::time::Interval) -> Result<bool, Gone> {
        match self.deliver().await? {
            ReadStatus::More => return Ok(true),
            ReadStatus::Ended(reason) => {
                // The error that ended the session was queued before its end, and may still wait.
                while let Ok(request) = self.requests.try_recv() {
                    if !self.handle(request).await? {
                        return Ok(false);
                    }
                }
                return self.end(reason).await;
            }
            // A client that follows or feeds the session comes back for it.
            ReadStatus::HandedOver => return self.close(CloseCode::Restarting).await,
            ReadStatus::UpToDate => {}
        }
        let is_down = *self.down.borrow_and_update();
        if is_down && self.has_nothing_to_wait_for() {
            return self.end(EndReason::Shutdown).await;
        }
        tokio::select! {
            request = self.requests.recv() => match request {
                Some(request) => self.handle(request).await,
                // The incoming half is gone, and with it the peer.
                None => Ok(false),
            },
            () = changed(&mut self.feed) => Ok(true),
            _ = self.down.changed() => Ok(true),
            _ = ping.tick() => {
                self.send(Message::Ping(axum::body::Bytes::new())).await?;
                Ok(true)
            }
        }
    }

    /// Whether a shutdown ends this connection now: a single session reports its own end.
    fn has_nothing_to_wait_for(&self) -> bool {
        match &self.feed {
            None => true,
            Some(Feed::All(_)) => self.shared.hub.stats().live == 0,
            Some(Feed::One(cursor)) => cursor.is_after_the_end(),
            Some(Feed::Own(_)) => false,
        }
    }

    async fn handle(&mut self, request: Outgoing) -> Result<bool, Gone> {
        match request {
            Outgoing::Reply(message) => {
                while self.deliver().await? == ReadStatus::More {}
                self.send_message(&message).await?;
            }
            Outgoing::Follow(feed) => self.feed = Some(feed),
            Outgoing::Fatal(message, code) => {
                self.send_message(&message).await?;
                if self.feed.is_none() {
                    return self.close(code).await;
                }
                self.fatal = Some(code);
            }
            Outgoing::Close(code) => return self.close(code).await,
        }
        Ok(true)
    }

    /// Sends the next events of what is followed.
    async fn deliver(&mut self) -> Result<ReadStatus, Gone> {
        let delivery = match &mut self.feed {
            None => return Ok(ReadStatus::UpToDate),
            Some(Feed::Own(cursor) | Feed::One(cursor)) => cursor.read(BATCH, &mut self.batch),
            Some(Feed::All(follow)) => follow.read(BATCH, &mut self.batch),
        };
        if !self.batch.is_empty() {
            self.shared.metrics.messages_sent.add(self.batch.len() as u64);
            for json in std::mem::take(&mut self.batch) {
                self.feed_one(text_frame(json)).await?;
            }
            self.flush().await?;
        }
        if let Some(Feed::Own(cursor)) = &self.feed {
            cursor.channel().returned();
        }
        Ok(delivery)
    }

    /// The last words after the last event, and the close.
    async fn end(&mut self, reason: EndReason) -> Result<bool, Gone> {
        let is_own = matches!(self.feed, Some(Feed::Own(_)));
        let (error, code) = match (reason, self.fatal) {
            // The error was sent already.
            (_, Some(code)) => (None, code),
            (EndReason::Failed, None) => {
                let reason = "the session failed and was ended; the server's log says why";
                (Some((ErrorCode::Internal, reason)), CloseCode::Internal)
            }
            (EndReason::Shutdown, None) => {
                (Some((ErrorCode::ShuttingDown, "the server shuts down")), CloseCode::ShuttingDown)
            }
            (EndReason::Idle, None) if is_own => {
                let reason = "neither audio nor keep_alive came for too long (server.idle_timeout_s)";
                (Some((ErrorCode::Idle, reason)), CloseCode::Idle)
            }
            _ => (None, CloseCode::Done),
        };
        if let Some((code, reason)) = error {
            let session = match &self.feed {
                Some(Feed::Own(cursor) | Feed::One(cursor)) => Some(cursor.channel().id().to_owned()),
                _ => None,
            };
            self.shared.metrics.error(code);
            let error = Error { code, reason: reason.to_owned(), fatal: true };
            self.send_message(&ServerMessage::to_connection(session.as_deref(), error)).await?;
        }
        self.close(code).await
    }

    async fn close(&mut self, code: CloseCode) -> Result<bool, Gone> {
        let frame = CloseFrame { code: code.as_u16(), reason: code.reason().into() };
        self.send(Message::Close(Some(frame))).await?;
        Ok(false)
    }

    async fn send_message(&mut self, message: &ServerMessage) -> Result<(), Gone> {
        self.shared.metrics.messages_sent.add(1);
        self.send(Message::Text(message.to_json().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.feed_one(message).await?;
        self.flush().await
    }

    async fn feed_one(&mut self, message: Message) -> Result<(), Gone> {
        in_time(self.shared.limits.write, self.sink.feed(message)).await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        in_time(self.shared.limits.write, self.sink.flush()).await
    }
}

/// Waits for one write, for as long as a peer may take.
async fn in_time(
    limit: std::time::Duration,
    write: impl Future<Output = Result<(), axum::Error>>,
) -> Result<(), Gone> {
    match timeout(limit, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a peer is gone");
            Err(Gone)
        }
        Err(_) => {
            tracing::info!(limit_s = limit.as_secs_f64(), "a peer does not read and is cut off");
            Err(Gone)
        }
    }
}

/// A frame that shares the bytes of an encoded event.
fn text_frame(event: ByteString) -> Message {
    Message::Text(Utf8Bytes::try_from(event.into_bytes()).expect("a ByteString is UTF-8"))
}

/// Waits until what is followed has more; for ever while nothing is.
async fn changed(feed: &mut Option<Feed>) {
    match feed {
        None => std::future::pending().await,
        Some(Feed::Own(cursor) | Feed::One(cursor)) => cursor.changed().await,
        Some(Feed::All(follow)) => follow.changed().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_share_the_bytes_of_an_event() {
        let event = ByteString::from("{\"type\":\"segment\",\"name\":\"Ánn\"}".to_owned());
        let frames = [text_frame(event.clone()), text_frame(event.clone())];
        for frame in frames {
            let Message::Text(text) = frame else { panic!("{frame:?}") };
            assert_eq!((text.as_str(), text.as_ptr()), (&*event, event.as_ptr()));
        }
    }
}
