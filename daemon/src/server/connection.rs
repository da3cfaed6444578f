//! The incoming half of a WebSocket, or of a gRPC stream, shared by publishers and subscribers.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocketUpgrade};
use axum::response::Response;
use diarized_dsp::SampleIndex;
use futures_util::{Sink, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::shared::Shared;
use super::visitor::Visitor;
use super::writer::{Outgoing, Writer};
use crate::protocol::server_message::{Ack, Error};
use crate::protocol::{CloseCode, ErrorCode, MessageError, ServerMessage, whole_ms};
use crate::rate::Rate;
use crate::session::Session;

/// The subprotocol that the server speaks; a browser offers it together with its token.
const SUBPROTOCOL: &str = "diarized.v1";
/// Replies that may wait for the outgoing half.
const REPLIES: usize = 16;
/// Bytes that are read from the socket at once; a longer frame gets the memory it needs. Every connection has them.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// What comes from the peer next.
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// The peer closed properly, with this code.
    Closed(Option<u16>),
    /// The peer is gone, or its half of the connection is broken.
    Gone,
    /// Nothing came before the deadline.
    Idle,
    /// A message above the limit began.
    TooLarge(usize),
    /// A text frame that is not UTF-8.
    NotUtf8,
    /// More text frames came than may.
    TooMany,
    /// The peer's token is no longer good.
    Revoked,
    /// More of the session's audio is stored.
    Safer,
}

/// The messages of the peer.
pub(super) type Incoming = Pin<Box<dyn Stream<Item = Result<Message, axum::Error>> + Send + Sync>>;

/// The outgoing half has ended, and with it the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionClosed;

pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    stream: Incoming,
    pub(super) out: mpsc::Sender<Outgoing>,
    writer: JoinHandle<()>,
    writer_is_done: bool,
    /// What comes next is the middle of a message that was too large.
    is_unreadable: bool,
    last_heard: Instant,
    pub(super) visitor: Visitor,
    /// Text messages, of which one too many is a fault.
    messages: Rate,
    /// All other frames, of which one too many waits.
    frames: Rate,
    _permit: OwnedSemaphorePermit,
}

/// The permit of a WebSocket connection; the answer to the request where `server.max_connections` is reached.
pub(super) fn permit(shared: &Shared) -> Result<OwnedSemaphorePermit, Box<Response>> {
    Arc::clone(&shared.connections).try_acquire_owned().map_err(|_| {
        Box::new(super::http::unavailable(
            "the limit of open connections is reached (server.max_connections); try again later",
        ))
    })
}

/// Upgrades a request and runs `serve` on the connection, if there is room for one more.
pub(super) fn accept<F, Fut>(
    shared: Arc<Shared>,
    upgrade: WebSocketUpgrade,
    visitor: Visitor,
    serve: F,
) -> Response
where
    F: FnOnce(Connection) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let permit = match permit(&shared) {
        Ok(permit) => permit,
        Err(refusal) => return *refusal,
    };
    let max = shared.limits.max_message_bytes;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(max)
        .max_frame_size(max)
        .read_buffer_size(READ_BUFFER_BYTES);
    upgrade.on_upgrade(move |socket| async move {
        let (sink, stream) = socket.split();
        let connection = Connection::new(shared, sink, Box::pin(stream), visitor, permit);
        serve(connection).await;
    })
}

impl Connection {
    /// A connection of these two halves; its outgoing one runs in a task of its own.
    pub(super) fn new(
        shared: Arc<Shared>,
        sink: impl Sink<Message, Error = axum::Error> + Send + Unpin + 'static,
        stream: Incoming,
        visitor: Visitor,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        shared.metrics.connections.add(1);
        let (out, requests) = mpsc::channel(REPLIES);
        let writer = tokio::spawn(Writer::new(sink, requests, Arc::clone(&shared)).run());
        let messages = rate(shared.limits.max_messages_per_s);
        let frames = rate(shared.limits.max_frames_per_s);
        Self {
            shared,
            stream,
            out,
            writer,
            writer_is_done: false,
            is_unreadable: false,
            last_heard: Instant::now(),
            visitor,
            messages,
            frames,
            _permit: permit,
        }
    }

    /// The next thing from the peer, or [`Received::Idle`] when `deadline` passes first.
    pub(super) async fn recv(&mut self, deadline: Option<Instant>) -> Result<Received, ConnectionClosed> {
        self.recv_or_safer(deadline, None).await
    }

    /// The same, or [`Received::Safer`] when `safer` changes first.
    pub(super) async fn recv_or_safer(
        &mut self,
        deadline: Option<Instant>,
        mut safer: Option<&mut watch::Receiver<SampleIndex>>,
    ) -> Result<Received, ConnectionClosed> {
        loop {
            let dead_at = self.last_heard + 3 * self.shared.limits.ping;
            let wake_at = deadline.map_or(dead_at, |d| d.min(dead_at));
            let next = tokio::select! {
                next = self.stream.next() => next,
                _ = &mut self.writer => {
                    self.writer_is_done = true;
                    return Err(ConnectionClosed);
                }
                // The sender lives in `shared`, so this cannot fail.
                _ = self.visitor.reloaded.changed() => {
                    if self.shared.access.is_still_good(&self.visitor.identity) {
                        continue;
                    }
                    return Ok(Received::Revoked);
                }
                () = changed(&mut safer) => return Ok(Received::Safer),
                () = sleep_until(wake_at) => {
                    return Ok(if wake_at < dead_at { Received::Idle } else { Received::Gone });
                }
            };
            self.last_heard = Instant::now();
            if let Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) = next {
                self.pace().await?;
            }
            return Ok(match next {
                Some(Ok(Message::Text(_))) if !self.messages.takes_one_more(self.last_heard) => {
                    Received::TooMany
                }
                Some(Ok(Message::Text(text))) => Received::Text(text),
                Some(Ok(Message::Binary(bytes))) => Received::Binary(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(frame))) => Received::Closed(frame.map(|f| f.code)),
                Some(Err(error)) => {
                    let received = broken(error);
                    self.is_unreadable = matches!(received, Received::TooLarge(_));
                    received
                }
                None => Received::Gone,
            });
        }
    }

    /// Counts a frame and, where too many came, waits: nothing is read of the peer meanwhile, so that what it sends waits
    /// on its side.
    async fn pace(&mut self) -> Result<(), ConnectionClosed> {
        let wait = self.frames.owes_one_more(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        self.shared.metrics.frames_held.add(1);
        self.wait(sleep(wait)).await
    }

    /// Waits for something of our own side; the peer's silence meanwhile is not held against it.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ConnectionClosed> {
        let done = tokio::select! {
            done = work => done,
            _ = &mut self.writer => {
                self.writer_is_done = true;
                return Err(ConnectionClosed);
            }
        };
        self.last_heard = Instant::now();
        Ok(done)
    }

    /// Passes something to the outgoing half.
    pub(super) async fn send(&mut self, out: Outgoing) -> Result<(), ConnectionClosed> {
        let sender = self.out.clone();
        self.wait(sender.send(out)).await?.map_err(|_| ConnectionClosed)
    }

    /// An error after which the connection goes on.
    pub(super) async fn send_error(
        &mut self,
        session: Option<&Session>,
        code: ErrorCode,
        reason: impl ToString,
    ) -> Result<(), ConnectionClosed> {
        self.shared.metrics.error(code);
        self.send(Outgoing::Reply(error(session.map(Session::id), code, reason, false))).await
    }

    /// An error after which the connection closes, when the session that it follows has ended.
    pub(super) async fn send_fatal(
        &mut self,
        session: Option<&str>,
        code: ErrorCode,
        reason: impl ToString,
    ) -> Result<(), ConnectionClosed> {
        self.shared.metrics.error(code);
        self.send(Outgoing::Fatal(error(session, code, reason, true), code.close_code())).await
    }

    /// Sends an error for an invalid token, and closes.
    pub(super) async fn revoke(&mut self, session: Option<&str>) -> Result<(), ConnectionClosed> {
        let code = ErrorCode::Unauthorised;
        self.send_fatal(session, code, "the token was revoked").await?;
        self.send(Outgoing::Close(code.close_code())).await
    }

    /// Why a peer that sends too many messages is closed.
    pub(super) fn too_many_messages(&self) -> String {
        let max = self.shared.limits.max_messages_per_s;
        format!("more than {max} text messages came in a second (server.max_messages_per_s)")
    }

    /// What a message that could not be read is answered with.
    pub(super) async fn send_error_of(
        &mut self,
        session: Option<&Session>,
        error: &MessageError,
    ) -> Result<(), ConnectionClosed> {
        self.send_error(session, error.code(), error).await
    }

    /// Why a peer whose message is too large is closed.
    pub(super) fn too_large(&self, got: usize) -> String {
        let max = self.shared.limits.max_message_bytes;
        format!("a message of {got} bytes is above {max} bytes (server.max_frame_bytes)")
    }

    /// Lets the outgoing half send its last messages. Reads and drops further messages of the peer, so that its close is
    /// received.
    pub(super) async fn linger(mut self) {
        if self.is_unreadable {
            if !self.writer_is_done {
                let _ = (&mut self.writer).await;
            }
            return;
        }
        let mut peer_is_gone = false;
        while !self.writer_is_done && !peer_is_gone {
            tokio::select! {
                _ = &mut self.writer => self.writer_is_done = true,
                next = self.stream.next() => peer_is_gone = !matches!(next, Some(Ok(_))),
            }
        }
        if !self.writer_is_done {
            // What cannot be read may still be written, such as the error about what could not be read.
            let _ = timeout(self.shared.limits.linger, &mut self.writer).await;
            self.writer.abort();
        }
        if !peer_is_gone {
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            let _ = timeout(self.shared.limits.linger, rest).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.metrics.connections.sub(1);
        self.writer.abort();
    }
}

/// Rate limit per second, with bursts of twice as many.
fn rate(per_s: usize) -> Rate {
    let per_s = u32::try_from(per_s).unwrap_or(u32::MAX);
    Rate::new(per_s, per_s.saturating_mul(2))
}

/// Waits for a change; for ever without a sender.
async fn changed(safer: &mut Option<&mut watch::Receiver<SampleIndex>>) {
    if let Some(safer) = safer
        && safer.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// How much the session has taken.
pub(super) fn ack(session: &Session, finalized: bool) -> Ack {
    Ack { received_s: whole_ms(session.safe_s()), finalized }
}

pub(super) fn error(
    session: Option<&str>,
    code: ErrorCode,
    reason: impl ToString,
    fatal: bool,
) -> ServerMessage {
    ServerMessage::to_connection(session, Error { code, reason: reason.to_string(), fatal })
}

/// What a failed read means.
fn broken(error: axum::Error) -> Received {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(tungstenite::error::CapacityError::MessageTooLong {
            size,
            ..
        })) => Received::TooLarge(*size),
        Some(tungstenite::Error::Utf8(_)) => Received::NotUtf8,
        _ => {
            tracing::debug!(%error, "a connection broke");
            Received::Gone
        }
    }
}

/// The close that a peer asked for by message.
pub(super) const CLOSE_REQUESTED: Outgoing = Outgoing::Close(CloseCode::Done);
