//! `/v1/stream`: audio of one client in, events of its session out.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::Utf8Bytes;
use axum::response::Response;
use diarized_dsp::SampleIndex;
use diarized_models::events::GapReason;
use tokio::sync::watch;
use tokio::time::Instant;

use super::command::as_command;
use super::connection::{Connection, ConnectionClosed, Received, accept, ack};
use super::open::{MAX_GAP_S, Opened, open, wait_for_return};
use super::shared::Shared;
use super::socket_request::SocketRequest;
use super::writer::Outgoing;
use crate::protocol::server_message::EndReason;
use crate::protocol::{ClientMessage, ErrorCode, ServerMessage};
use crate::session::{PublisherGuard, Session, what_it_holds};

/// Audio between two `ack` messages, in seconds.
const ACK_EVERY_S: f64 = 1.0;
/// Gaps of a session after which a client may declare no more; each that follows another without audio is part of it.
const MAX_GAPS: usize = 10_000;

pub(super) async fn upgrade(State(shared): State<Arc<Shared>>, request: SocketRequest) -> Response {
    let SocketRequest { query, visitor, upgrade } = request;
    accept(shared, upgrade, visitor, |connection| serve(connection, query))
}

/// Serves one publisher to its end; with an empty query the first message is `start`.
pub(super) async fn serve(mut connection: Connection, query: Vec<(String, String)>) {
    match open(&mut connection, query).await {
        Ok(Some(Opened { session, slot, n_known })) => {
            let publisher = Publisher {
                acked_s: session.input().received_s(),
                safe_s: session.safe_s(),
                safer: session.safer(),
                session,
                n_known,
                alive_at: Instant::now(),
            };
            publisher.run(connection, slot).await;
        }
        // The outgoing half has ended, because the session has or because the peer is gone.
        Ok(None) | Err(ConnectionClosed) => connection.linger().await,
    }
}

/// One connection's time with a session.
struct Publisher {
    session: Arc<Session>,
    /// Audio received at the last `ack`.
    acked_s: f64,
    /// Audio that the last `ack` let the client discard.
    safe_s: f64,
    /// Changes as more of it is safe.
    safer: watch::Receiver<SampleIndex>,
    /// Samples that the client sends once more and the session has.
    n_known: u64,
    /// Time of the last message other than a pong.
    alive_at: Instant,
}

/// How the connection goes on.
enum Step {
    Next,
    /// The session has ended or will; the remaining events follow.
    Ended,
    /// The connection broke.
    Lost,
}

impl Publisher {
    /// Takes audio and messages until the connection or the session ends, or a newer connection comes.
    async fn run(mut self, mut connection: Connection, mut slot: PublisherGuard) {
        let step = loop {
            // A step that a successor cuts short has queued its audio and counted it, or neither.
            let step = tokio::select! {
                biased;
                () = slot.superseded() => {
                    drop(slot);
                    return supersede(connection, &self.session).await;
                }
                step = self.step(&mut connection) => step,
            };
            match step {
                Ok(Step::Next) => {}
                Ok(step) => break step,
                // The outgoing half has ended: the session has, or the peer does not read.
                Err(ConnectionClosed) => break Step::Lost,
            }
        };
        if let Step::Lost = step {
            wait_for_return(&connection, self.session, slot);
        }
        connection.linger().await;
    }

    /// Waits for the next thing and deals with it.
    async fn step(&mut self, connection: &mut Connection) -> Result<Step, ConnectionClosed> {
        let deadline = self.alive_at + connection.shared.limits.idle;
        let step = match connection.recv_or_safer(Some(deadline), Some(&mut self.safer)).await? {
            Received::Safer => {
                // A client that keeps as much audio as it may waits for this before it sends more.
                if self.session.safe_s() - self.safe_s >= ACK_EVERY_S {
                    self.ack(connection).await?;
                }
                return Ok(Step::Next);
            }
            Received::Binary(bytes) => {
                connection.shared.metrics.audio_bytes.add(bytes.len() as u64);
                self.audio(connection, bytes).await?
            }
            Received::Text(text) => self.message(connection, &text).await?,
            Received::NotUtf8 => {
                let reason = "a text frame is not UTF-8".to_owned();
                self.end_with(connection, ErrorCode::BadMessage, reason).await?
            }
            Received::TooMany => {
                let reason = connection.too_many_messages();
                self.end_with(connection, ErrorCode::TooManyMessages, reason).await?
            }
            Received::Revoked => {
                // The session waits for a connection with a valid token.
                connection.revoke(Some(self.session.id())).await?;
                return Ok(Step::Lost);
            }
            Received::TooLarge(got) => {
                let reason = connection.too_large(got);
                self.end_with(connection, ErrorCode::FrameTooLarge, reason).await?
            }
            Received::Idle => {
                self.session.finish(EndReason::Idle);
                return Ok(Step::Ended);
            }
            // 1000 and 1001 are how a client says that it is done; all else is an accident.
            Received::Closed(Some(1000 | 1001) | None) => {
                self.session.finish(EndReason::Closed);
                return Ok(Step::Ended);
            }
            Received::Closed(_) | Received::Gone => return Ok(Step::Lost),
        };
        self.alive_at = Instant::now();
        Ok(step)
    }

    /// Queues one binary frame.
    async fn audio(
        &mut self,
        connection: &mut Connection,
        bytes: axum::body::Bytes,
    ) -> Result<Step, ConnectionClosed> {
        let n_samples = match self.session.format().n_samples(bytes.len()) {
            Ok(n_samples) => n_samples as u64,
            Err(error) => {
                let reason = match what_it_holds(&bytes) {
                    Some((holds, advice)) => format!("{error}; it {holds}: {advice}"),
                    None => error.to_string(),
                };
                return self.end_with(connection, ErrorCode::BadFrame, reason).await;
            }
        };
        let n_known = self.n_known.min(n_samples);
        let new = bytes.slice(n_known as usize * self.session.format().step_bytes()..);
        if n_known < n_samples && connection.wait(self.session.input().push_bytes(new)).await?.is_err() {
            // The session has ended; the outgoing half sends the reason.
            return Ok(Step::Ended);
        }
        self.n_known -= n_known;
        let received_s = self.session.input().received_s();
        if received_s - self.acked_s >= ACK_EVERY_S {
            self.acked_s = received_s;
            self.ack(connection).await?;
        }
        Ok(Step::Next)
    }

    async fn ack(&mut self, connection: &mut Connection) -> Result<(), ConnectionClosed> {
        self.safe_s = self.session.safe_s();
        let reply = ServerMessage::to_connection(Some(self.session.id()), ack(&self.session, false));
        connection.send(Outgoing::Reply(reply)).await
    }

    /// Acts on one text frame.
    async fn message(
        &mut self,
        connection: &mut Connection,
        text: &Utf8Bytes,
    ) -> Result<Step, ConnectionClosed> {
        let session = &self.session;
        let message = match ClientMessage::parse(text) {
            Ok(message) => message,
            Err(error) => {
                connection.send_error_of(Some(session), &error).await?;
                return Ok(Step::Next);
            }
        };
        match as_command(message) {
            Ok(Ok(command)) => connection.command(session, command).await?,
            Ok(Err(error)) => connection.send_error(Some(session), ErrorCode::BadMessage, error).await?,
            Err(ClientMessage::KeepAlive(_)) => {}
            Err(ClientMessage::Close(_)) => {
                session.finish(EndReason::Closed);
                return Ok(Step::Ended);
            }
            Err(ClientMessage::Gap(gap)) => {
                let duration_s = gap.duration_s;
                if !(duration_s > 0.0 && duration_s <= MAX_GAP_S) {
                    let reason = format!("duration_s ({duration_s}) must be above 0 and at most {MAX_GAP_S}");
                    connection.send_error(Some(session), ErrorCode::BadMessage, reason).await?;
                    return Ok(Step::Next);
                }
                if session.channel().now().state.gaps().len() >= MAX_GAPS {
                    let reason = format!("the stream has reached the limit of {MAX_GAPS} gaps");
                    return self.end_with(connection, ErrorCode::TooManyMessages, reason).await;
                }
                let n_samples = (duration_s * f64::from(session.format().sample_rate)).round() as u64;
                let n_known = self.n_known.min(n_samples);
                if n_known < n_samples {
                    let pushed = session.input().push_gap(n_samples - n_known, GapReason::Declared);
                    if connection.wait(pushed).await?.is_err() {
                        return Ok(Step::Ended);
                    }
                }
                self.n_known -= n_known;
            }
            Err(other) => {
                let reason = format!("`{}` came when the session had started already", other.kind());
                connection.send_error(Some(session), ErrorCode::AlreadyStarted, reason).await?;
            }
        }
        Ok(Step::Next)
    }

    /// Ends the session because its publisher broke the protocol; the error is queued before the end that follows it.
    async fn end_with(
        &self,
        connection: &mut Connection,
        code: ErrorCode,
        reason: String,
    ) -> Result<Step, ConnectionClosed> {
        connection.send_fatal(Some(self.session.id()), code, reason).await?;
        self.session.finish(EndReason::BadRequest);
        Ok(Step::Ended)
    }
}

/// Sends `superseded` to the older connection of a session.
async fn supersede(mut connection: Connection, session: &Session) {
    let code = ErrorCode::Superseded;
    let reason = "a newer connection with this session's token has taken it over";
    let report = async {
        connection.send_fatal(Some(session.id()), code, reason).await?;
        connection.send(Outgoing::Close(code.close_code())).await
    };
    // A closed connection needs no message.
    let _ = report.await;
    connection.linger().await;
}
