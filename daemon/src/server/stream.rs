//! `/v1/stream`: one client's audio in, its session's events out.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Utf8Bytes, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use diarized_models::events::GapReason;
use tokio::time::Instant;

use super::connection::{Connection, Heard, Over, accept, as_command};
use super::writer::{Feed, Out};
use super::{Shared, http};
use crate::hub::OpenError;
use crate::protocol::audio::AudioFormatError;
use crate::protocol::server_message::{Ack, EndReason, Started};
use crate::protocol::speakers::SpeakerHintsError;
use crate::protocol::{ClientMessage, Decimal, Encoding, ErrorCode, ServerMessage, Start, is_session_id};
use crate::session::{Cursor, Session, Source};

/// Audio between two `ack` messages, in seconds.
const ACK_EVERY_S: f64 = 1.0;
/// Longest gap that a client may declare, in seconds.
const MAX_GAP_S: f64 = 86_400.0;

/// A fault of the client that ends the session.
struct Fault(ErrorCode, String);

impl From<AudioFormatError> for Fault {
    fn from(error: AudioFormatError) -> Self {
        Self(ErrorCode::BadAudioFormat, error.to_string())
    }
}

impl From<SpeakerHintsError> for Fault {
    fn from(error: SpeakerHintsError) -> Self {
        Self(ErrorCode::BadMessage, error.to_string())
    }
}

pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Vec<(String, String)>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => accept(shared, upgrade, |connection| serve(connection, query)),
        Err(rejection) => http::not_a_websocket(&rejection),
    }
}

async fn serve(mut connection: Connection, query: Vec<(String, String)>) {
    // Over: the outgoing half has ended, because the session has or because the peer is gone.
    match open(&mut connection, query).await {
        Ok(Some(session)) => {
            // Whatever way this ends, the session ends; the first reason stands.
            publish(connection, &session).await;
            session.finish(EndReason::Disconnected);
        }
        Ok(None) | Err(Over) => connection.linger().await,
    }
}

/// Opens the session that the query or the first message asks for; `None` if the peer was told why not.
async fn open(
    connection: &mut Connection,
    query: Vec<(String, String)>,
) -> Result<Option<Arc<Session>>, Over> {
    let start = if query.is_empty() { first_message(connection).await? } else { start_of_query(&query) };
    let opened = start.and_then(|start| {
        start.audio.check()?;
        start.speakers.check()?;
        if let Some(id) = start.session.as_deref().filter(|id| !is_session_id(id)) {
            let reason = format!("session ({id:?}) must be 1 to 64 letters, digits, - and _");
            return Err(Fault(ErrorCode::BadMessage, reason));
        }
        let hub = &connection.shared.hub;
        let opened = hub.open_hinted(start.session.as_deref(), Source::Stream, start.audio, start.speakers);
        opened.map_err(|error| {
            let code = match &error {
                OpenError::Conflict { .. } => ErrorCode::Conflict,
                OpenError::TooMany { .. } => ErrorCode::TooManySessions,
                OpenError::ShuttingDown => ErrorCode::ShuttingDown,
                OpenError::Start(_) => ErrorCode::Internal,
            };
            Fault(code, chain(&error))
        })
    });
    let session = match opened {
        Ok(session) => session,
        Err(Fault(code, reason)) => {
            if code == ErrorCode::Internal {
                tracing::error!(reason, "a session could not be started");
            }
            connection.fail(None, code, reason).await?;
            return Ok(None);
        }
    };
    let started = Started {
        token: session.token().to_owned(),
        model: connection.shared.hub.model().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        audio: session.format(),
    };
    let greet = async {
        connection.say(Out::Reply(ServerMessage::to_connection(Some(session.id()), started))).await?;
        connection.say(Out::Follow(Feed::Own(Cursor::since(session.channel(), 0)))).await
    };
    if let Err(over) = greet.await {
        session.finish(EndReason::Disconnected);
        return Err(over);
    }
    Ok(Some(session))
}

/// Waits for `start`.
async fn first_message(connection: &mut Connection) -> Result<Result<Start, Fault>, Over> {
    let deadline = Instant::now() + connection.shared.limits.idle;
    let fault = |code, reason: &str| Ok(Err(Fault(code, reason.to_owned())));
    loop {
        match connection.hear(Some(deadline)).await? {
            Heard::Text(text) => match ClientMessage::parse(&text) {
                Ok(ClientMessage::Start(start)) => return Ok(Ok(start)),
                Ok(ClientMessage::KeepAlive(_)) => {}
                Ok(other) => {
                    let reason = format!("`{}` came before `start`", other.kind());
                    return fault(ErrorCode::NotStarted, &reason);
                }
                Err(error) => return fault(error.code(), &error.to_string()),
            },
            Heard::Binary(_) => {
                let reason = "audio came before `start`: send a start message first, or declare the audio \
                              in the query, as /v1/stream?sample_rate=16000";
                return fault(ErrorCode::NotStarted, reason);
            }
            Heard::NotUtf8 => return fault(ErrorCode::BadMessage, "a text frame is not UTF-8"),
            Heard::TooLarge(got) => {
                return fault(ErrorCode::FrameTooLarge, &format!("a message of {got} bytes before `start`"));
            }
            Heard::Idle => return fault(ErrorCode::Idle, "no `start` came (server.idle_timeout_s)"),
            Heard::Closed(_) | Heard::Gone => return Err(Over),
        }
    }
}

/// The `start` that a query string stands for.
fn start_of_query(query: &[(String, String)]) -> Result<Start, Fault> {
    fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Fault> {
        value.parse().map_err(|_| {
            Fault(ErrorCode::BadMessage, format!("query parameter {key}={value:?} is not a number in range"))
        })
    }
    let mut start = Start::default();
    for (key, value) in query {
        match key.as_str() {
            "encoding" => {
                start.audio.encoding =
                    Encoding::ALL.into_iter().find(|e| e.as_str() == value).ok_or_else(|| {
                        let all = Encoding::ALL.map(Encoding::as_str).join(", ");
                        let reason = format!("encoding ({value:?}) must be one of {all}");
                        Fault(ErrorCode::BadAudioFormat, reason)
                    })?;
            }
            "sample_rate" => start.audio.sample_rate = number(key, value)?,
            "channels" => start.audio.channels = number(key, value)?,
            "channel" => start.audio.channel = Some(number(key, value)?),
            "session" => start.session = Some(value.clone()),
            "expected_speakers" => start.speakers.expected = Some(number(key, value)?),
            "max_speakers" => start.speakers.max = Some(number(key, value)?),
            _ => {
                let reason = format!(
                    "unknown query parameter `{key}`, expected encoding, sample_rate, channels, channel, session, \
                     expected_speakers, max_speakers"
                );
                return Err(Fault(ErrorCode::UnknownField, reason));
            }
        }
    }
    Ok(start)
}

/// Takes audio and messages until the connection or the session ends.
async fn publish(mut connection: Connection, session: &Arc<Session>) {
    let mut acked_s = 0.0;
    let mut alive_at = Instant::now();
    loop {
        let deadline = alive_at + connection.shared.limits.idle;
        let heard = match connection.hear(Some(deadline)).await {
            Ok(heard) => heard,
            Err(Over) => break,
        };
        let go_on = match heard {
            Heard::Binary(bytes) => {
                connection.shared.metrics.audio_bytes.add(bytes.len() as u64);
                let outcome = audio(&mut connection, session, bytes, &mut acked_s).await;
                alive_at = Instant::now();
                outcome
            }
            Heard::Text(text) => {
                let outcome = message(&mut connection, session, &text).await;
                alive_at = Instant::now();
                outcome
            }
            Heard::NotUtf8 => {
                let reason = "a text frame is not UTF-8";
                end_with(&mut connection, session, ErrorCode::BadMessage, reason.to_owned()).await
            }
            Heard::TooLarge(got) => {
                session.finish(EndReason::BadRequest);
                return connection.fail_too_large(Some(session), got).await;
            }
            Heard::Idle => {
                session.finish(EndReason::Idle);
                Ok(false)
            }
            // 1000 and 1001 are how a client says that it is done; all else is an accident.
            Heard::Closed(code) => {
                let is_done = matches!(code, Some(1000 | 1001) | None);
                session.finish(if is_done { EndReason::Closed } else { EndReason::Disconnected });
                Ok(false)
            }
            Heard::Gone => {
                session.finish(EndReason::Disconnected);
                Ok(false)
            }
        };
        if !matches!(go_on, Ok(true)) {
            break;
        }
    }
    session.finish(EndReason::Disconnected);
    connection.linger().await;
}

/// Queues one binary frame; whether to go on.
async fn audio(
    connection: &mut Connection,
    session: &Session,
    bytes: axum::body::Bytes,
    acked_s: &mut f64,
) -> Result<bool, Over> {
    if let Err(error) = session.format().n_samples(bytes.len()) {
        return end_with(connection, session, ErrorCode::BadFrame, error.to_string()).await;
    }
    if connection.wait(session.input().push_bytes(bytes)).await?.is_err() {
        // The session has ended; the outgoing half says why.
        return Ok(false);
    }
    let received_s = session.input().received_s();
    if received_s - *acked_s >= ACK_EVERY_S {
        *acked_s = received_s;
        let ack = Ack { received_s: Decimal(received_s), finalized: false };
        connection.say(Out::Reply(ServerMessage::to_connection(Some(session.id()), ack))).await?;
    }
    Ok(true)
}

/// Acts on one text frame; whether to go on.
async fn message(
    connection: &mut Connection,
    session: &Arc<Session>,
    text: &Utf8Bytes,
) -> Result<bool, Over> {
    let message = match ClientMessage::parse(text) {
        Ok(message) => message,
        Err(error) => {
            connection.complain_of(Some(session), &error).await?;
            return Ok(true);
        }
    };
    match as_command(message) {
        Ok(Ok(command)) => connection.command(session, command).await?,
        Ok(Err(error)) => connection.complain(Some(session), ErrorCode::BadMessage, error).await?,
        Err(ClientMessage::KeepAlive(_)) => {}
        Err(ClientMessage::Close(_)) => {
            session.finish(EndReason::Closed);
            return Ok(false);
        }
        Err(ClientMessage::Gap(gap)) => {
            let duration_s = gap.duration_s;
            if !(duration_s > 0.0 && duration_s <= MAX_GAP_S) {
                let reason = format!("duration_s ({duration_s}) must be above 0 and at most {MAX_GAP_S}");
                connection.complain(Some(session), ErrorCode::BadMessage, reason).await?;
                return Ok(true);
            }
            let n_samples = (duration_s * f64::from(session.format().sample_rate)).round() as u64;
            let pushed = session.input().push_gap(n_samples, GapReason::Declared);
            return Ok(connection.wait(pushed).await?.is_ok());
        }
        Err(other) => {
            let reason = format!("`{}` came when the session had started already", other.kind());
            connection.complain(Some(session), ErrorCode::AlreadyStarted, reason).await?;
        }
    }
    Ok(true)
}

/// Ends the session because its publisher broke the protocol.
async fn end_with(
    connection: &mut Connection,
    session: &Session,
    code: ErrorCode,
    reason: String,
) -> Result<bool, Over> {
    connection.fail(Some(session.id()), code, reason).await?;
    session.finish(EndReason::BadRequest);
    Ok(false)
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
