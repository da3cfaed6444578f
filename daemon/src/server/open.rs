//! Opening of a publisher's session, by query or first message: a new session or a resumed one.

use std::sync::Arc;

use diarized_models::events::GapReason;
use strum::VariantNames;
use tokio::time::Instant;

use super::connection::{Connection, ConnectionClosed, Received};
use super::writer::{Feed, Outgoing};
use crate::error_chain::error_chain;
use crate::hub::{Elsewhere, OpenError, TakeError};
use crate::protocol::audio::AudioFormatError;
use crate::protocol::client_message::Resume;
use crate::protocol::lenient::{read_number, repeated};
use crate::protocol::server_message::Started;
use crate::protocol::session_options::SpeakerHintsError;
use crate::protocol::text::checked_title;
use crate::protocol::{
    AudioFormat, ClientMessage, Decimal, Encoding, ErrorCode, Latency, ServerMessage, SessionOptions, Start,
    is_session_id, whole_ms,
};
use crate::session::{Cursor, PublisherGuard, Session};

/// Longest gap that a client may declare, in seconds.
pub(super) const MAX_GAP_S: f64 = 86_400.0;

/// A fault of the client before it has a session.
pub(super) struct Fault(pub(super) ErrorCode, pub(super) String);

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

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Conflict { .. } => ErrorCode::Conflict,
            OpenError::TooMany { .. } => ErrorCode::TooManySessions,
            OpenError::OverLimit(_) => ErrorCode::QuotaExceeded,
            OpenError::Overloaded | OpenError::NoLabeller => ErrorCode::Overloaded,
            OpenError::NoIntake { .. } => ErrorCode::Elsewhere,
            OpenError::ShuttingDown => ErrorCode::ShuttingDown,
            OpenError::Start(_) => ErrorCode::Internal,
        };
        Self(code, error_chain(&error))
    }
}

impl From<TakeError> for Fault {
    fn from(error: TakeError) -> Self {
        let code = match error {
            TakeError::Open(error) => return error.into(),
            TakeError::Unknown { .. } => ErrorCode::NotFound,
            TakeError::Secret { .. } => ErrorCode::Unauthorised,
            TakeError::Refused { .. } => ErrorCode::Elsewhere,
        };
        Self(code, error.to_string())
    }
}

/// A session whose publisher has been greeted.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) slot: PublisherGuard,
    /// Samples of each channel that the session has already and the client sends once more.
    pub(super) n_known: u64,
}

/// Opens the session of the query or the first message; `None` if an error was sent.
pub(super) async fn open(
    connection: &mut Connection,
    query: Vec<(String, String)>,
) -> Result<Option<Opened>, ConnectionClosed> {
    let start = match repeated(&query) {
        Some(reason) => Err(Fault(ErrorCode::BadMessage, reason)),
        None if query.is_empty() => first_message(connection).await?,
        None => start_of_query(&query),
    };
    let opened = match start {
        Ok(start)
            if start.resume.is_some()
                && (start.session.is_some()
                    || start.title.is_some()
                    || !start.session_options().is_empty()) =>
        {
            let reason = "`resume` names the session that goes on; `session`, `title`, `speakers`, `latency`, `keep_audio` and `asr` are for a new one";
            Err(Fault(ErrorCode::BadMessage, reason.to_owned()))
        }
        Ok(Start { resume: Some(resume), audio, .. }) => take_up(connection, resume, audio).await?,
        Ok(start) => open_new(connection, &start).await,
        Err(fault) => Err(fault),
    };
    let (opened, feed, started) = match opened {
        Ok(opened) => opened,
        Err(Fault(code, reason)) => {
            if code == ErrorCode::Internal {
                tracing::error!(reason, "a session could not be started");
            }
            connection.send_fatal(None, code, reason).await?;
            return Ok(None);
        }
    };
    let id = opened.session.id();
    let greet = async {
        connection.send(Outgoing::Reply(ServerMessage::to_connection(Some(id), started))).await?;
        connection.send(Outgoing::Follow(Feed::Own(feed))).await
    };
    match greet.await {
        Ok(()) => Ok(Some(opened)),
        Err(over) => {
            wait_for_return(connection, opened.session, opened.slot);
            Err(over)
        }
    }
}

type Outcome = Result<(Opened, Cursor, Started), Fault>;

async fn open_new(connection: &Connection, start: &Start) -> Outcome {
    let audio = start.audio.unwrap_or_default();
    audio.check()?;
    start.speakers.check()?;
    if let Some(id) = start.session.as_deref().filter(|id| !is_session_id(id)) {
        let reason = format!("session ({id:?}) must be 1 to 64 letters, digits, - and _");
        return Err(Fault(ErrorCode::BadMessage, reason));
    }
    let title = start.title.as_deref().map(checked_title).transpose();
    let title = title.map_err(|fault| Fault(ErrorCode::BadMessage, fault.to_string()))?;
    let hub = &connection.shared.hub;
    let (owner, options) = (connection.visitor.token(), start.session_options());
    let opened = hub.open_for(owner, start.session.as_deref(), audio, options).await;
    let session = opened?;
    if let Some(title) = title.filter(|title| !title.is_empty()) {
        session.set_title(title);
    }
    let (peer, token) = (connection.visitor.peer(), connection.visitor.token());
    tracing::info!(session = session.id(), peer, token, "a client opened the session");
    // No other connection can hold the new session, so this does not wait.
    let slot = session.acquire_publisher_slot().await;
    let started = Started { resumed: false, ..greeting(connection, &session) };
    let started = Started { token: session.take_token().unwrap_or_default(), ..started };
    let cursor = Cursor::since(session.channel(), 0);
    Ok((Opened { session, slot, n_known: 0 }, cursor, started))
}

/// Resumes a session, running or ended: events continue where the client stopped.
async fn take_up(
    connection: &mut Connection,
    resume: Resume,
    audio: Option<AudioFormat>,
) -> Result<Outcome, ConnectionClosed> {
    let session = match known(connection, &resume, audio).await {
        Ok(session) => session,
        Err(fault) => return Ok(Err(fault)),
    };
    // A present holder, such as an undetected dead connection, leaves first.
    let slot = connection.wait(session.acquire_publisher_slot()).await?;
    connection.shared.hub.set_owner(&session, connection.visitor.token());
    let n_received = session.input().n_received();
    let mut n_known = 0;
    if let Some(received_s) = resume.received_s {
        let n_declared = (received_s * f64::from(session.format().sample_rate)).round() as u64;
        n_known = n_received.saturating_sub(n_declared);
        let n_missing = n_declared.saturating_sub(n_received);
        if n_missing > 0 {
            // A session that has ended meanwhile accepts none, and reports that itself.
            let _ = connection.wait(session.input().push_gap(n_missing, GapReason::Disconnected)).await?;
        }
    }
    connection.shared.metrics.streams_resumed.add(1);
    let (peer, token) = (connection.visitor.peer(), connection.visitor.token());
    let received_s = session.input().received_s();
    tracing::info!(session = session.id(), received_s, peer, token, "session resumed");
    let started = Started {
        token: resume.token,
        resumed: true,
        received_s: Some(whole_ms(session.input().received_s())),
        received_samples: Some(session.input().n_received()),
        ..greeting(connection, &session)
    };
    let cursor = match resume.since {
        Some(seq) => Cursor::since(session.channel(), seq),
        None => Cursor::from_now(session.channel()),
    };
    Ok(Ok((Opened { session, slot, n_known }, cursor, started)))
}

/// The session that a client may take up.
async fn known(
    connection: &Connection,
    resume: &Resume,
    audio: Option<AudioFormat>,
) -> Result<Arc<Session>, Fault> {
    let id = &resume.session;
    if let Some(received_s) = resume.received_s.filter(|s| !(0.0..=MAX_GAP_S * 365.0).contains(s)) {
        let reason = format!("received_s ({received_s}) must be 0 or above, and below a year");
        return Err(Fault(ErrorCode::BadMessage, reason));
    }
    let found = connection.shared.hub.find(id).await;
    let found = found.map_err(|error| Fault(ErrorCode::Internal, super::fault::unreadable_reason(&error)))?;
    let session = found.ok_or_else(|| {
        let reason = format!(
            "there is no session {id:?} to resume; a session waits server.resume_grace_s for its publisher"
        );
        Fault(ErrorCode::NotFound, reason)
    })?;
    if !session.is_token(&resume.token) {
        let peer = connection.visitor.peer();
        if let Some(left_out) = connection.shared.refusals.line(peer) {
            let session = session.id();
            tracing::warn!(session, peer, left_out, "a client tried to resume a session with a wrong token");
        }
        let reason = format!("the token is not the one that `started` gave for session {id:?}");
        return Err(Fault(ErrorCode::Unauthorised, reason));
    }
    if let Some(audio) = audio.filter(|audio| *audio != session.format()) {
        let reason = format!(
            "the audio of a resumed session stays as it was: {}, sample_rate {}, channels {}; declared: {}, \
             sample_rate {}, channels {}",
            session.format().encoding.as_str(),
            session.format().sample_rate,
            session.format().channels,
            audio.encoding.as_str(),
            audio.sample_rate,
            audio.channels
        );
        return Err(Fault(ErrorCode::BadAudioFormat, reason));
    }
    let session = here(connection, session, &resume.token).await?;
    let received_s = session.input().received_s();
    if let Some(ahead) = resume.received_s.filter(|s| *s > received_s + MAX_GAP_S) {
        let reason =
            format!("received_s ({ahead}) is more than a day after what was received ({received_s:.3})");
        return Err(Fault(ErrorCode::BadMessage, reason));
    }
    Ok(session)
}

/// The session on this node: one that runs at another node of the cluster goes on here, and waits for its publisher.
async fn here(connection: &Connection, session: Arc<Session>, secret: &str) -> Result<Arc<Session>, Fault> {
    let elsewhere = connection.shared.hub.elsewhere();
    // A session that runs here on audio of another node has no place for a publisher: its audio comes in here then.
    let is_elsewhere =
        |elsewhere: &Arc<dyn Elsewhere>| session.elsewhere().is_some() || elsewhere.is_fed(session.id());
    let Some(elsewhere) = elsewhere.filter(|elsewhere| is_elsewhere(elsewhere)) else { return Ok(session) };
    let taken = elsewhere.take(session.id(), secret).await?;
    if taken.elsewhere().is_none() {
        let (waiting, grace) = (Arc::clone(&taken), connection.shared.limits.resume_grace);
        tokio::spawn(async move { waiting.await_first_return(grace).await });
    }
    Ok(taken)
}

/// The fields of every `started`.
fn greeting(connection: &Connection, session: &Session) -> Started {
    Started {
        token: String::new(),
        model: connection.shared.hub.model().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        audio: session.format(),
        resume_grace_s: Decimal(connection.shared.limits.resume_grace.as_secs_f64()),
        audio_kept: session.channel().keeps_audio(),
        resumed: false,
        received_s: None,
        received_samples: None,
    }
}

/// Waits for `start`.
async fn first_message(connection: &mut Connection) -> Result<Result<Start, Fault>, ConnectionClosed> {
    let deadline = Instant::now() + connection.shared.limits.idle;
    let fault = |code, reason: &str| Ok(Err(Fault(code, reason.to_owned())));
    loop {
        match connection.recv(Some(deadline)).await? {
            Received::Text(text) => match ClientMessage::parse(&text) {
                Ok(ClientMessage::Start(start)) => return Ok(Ok(start)),
                Ok(ClientMessage::KeepAlive(_)) => {}
                Ok(other) => {
                    let reason = format!("`{}` came before `start`", other.kind());
                    return fault(ErrorCode::NotStarted, &reason);
                }
                Err(error) => return fault(error.code(), &error.to_string()),
            },
            Received::Binary(_) => {
                let reason = "audio came before `start`: send a start message first, or declare the audio \
                              in the query, as /v1/stream?sample_rate=16000";
                return fault(ErrorCode::NotStarted, reason);
            }
            Received::TooMany => {
                return fault(ErrorCode::TooManyMessages, &connection.too_many_messages());
            }
            Received::Safer => {}
            Received::Revoked => return fault(ErrorCode::Unauthorised, "the token was revoked"),
            Received::NotUtf8 => return fault(ErrorCode::BadMessage, "a text frame is not UTF-8"),
            Received::TooLarge(got) => return fault(ErrorCode::FrameTooLarge, &connection.too_large(got)),
            Received::Idle => return fault(ErrorCode::Idle, "no `start` came (server.idle_timeout_s)"),
            Received::Closed(_) | Received::Gone => return Err(ConnectionClosed),
        }
    }
}

/// The `start` that a query string stands for.
fn start_of_query(query: &[(String, String)]) -> Result<Start, Fault> {
    const EXPECTED: &str = "encoding, sample_rate, channels, channel, session, title, expected_speakers, max_speakers, \
         latency, keep_audio, asr; or resume, token, received_s, since";
    fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Fault> {
        read_number(value).ok_or_else(|| {
            Fault(ErrorCode::BadMessage, format!("query parameter {key}={value:?} is not a number in range"))
        })
    }
    fn yes_or_no(key: &str, value: &str) -> Result<bool, Fault> {
        value
            .parse()
            .map_err(|_| Fault(ErrorCode::BadMessage, format!("{key} ({value:?}) must be true or false")))
    }
    let (mut audio, mut session, mut title) = (None::<AudioFormat>, None, None);
    let mut options = SessionOptions::default();
    let (mut resume, mut token, mut received_s, mut since) = (None, None, None, None);
    for (key, value) in query {
        match key.as_str() {
            "encoding" => {
                audio.get_or_insert_default().encoding = value.parse().map_err(|_| {
                    let all = Encoding::VARIANTS.join(", ");
                    let reason = format!("encoding ({value:?}) must be one of {all}");
                    Fault(ErrorCode::BadAudioFormat, reason)
                })?;
            }
            "sample_rate" => audio.get_or_insert_default().sample_rate = number(key, value)?,
            "channels" => audio.get_or_insert_default().channels = number(key, value)?,
            "channel" => audio.get_or_insert_default().channel = Some(number(key, value)?),
            "session" => session = Some(value.clone()),
            "title" => title = Some(value.clone()),
            "expected_speakers" => options.speakers.expected = Some(number(key, value)?),
            "max_speakers" => options.speakers.max = Some(number(key, value)?),
            "latency" => {
                options.latency = Some(value.parse().map_err(|_| {
                    let all = Latency::VARIANTS.join(", ");
                    Fault(ErrorCode::BadMessage, format!("latency ({value:?}) must be one of {all}"))
                })?);
            }
            "keep_audio" => options.keep_audio = Some(yes_or_no(key, value)?),
            "asr" => options.asr = Some(yes_or_no(key, value)?),
            "resume" => resume = Some(value.clone()),
            "token" => token = Some(value.clone()),
            "received_s" => received_s = Some(number(key, value)?),
            "since" => since = Some(number(key, value)?),
            _ => {
                let reason = format!("unknown query parameter `{key}`, expected {EXPECTED}");
                return Err(Fault(ErrorCode::UnknownField, reason));
            }
        }
    }
    let resume = match (resume, token) {
        (Some(session), Some(token)) => Some(Resume { session, token, received_s, since }),
        (None, None) if received_s.is_none() && since.is_none() => None,
        _ => {
            let reason = "resume and token go together, and received_s and since go with them";
            return Err(Fault(ErrorCode::BadMessage, reason.to_owned()));
        }
    };
    let SessionOptions { speakers, latency, keep_audio, asr } = options;
    Ok(Start { audio, session, title, speakers, latency, keep_audio, asr, resume })
}

/// Gives the publisher of a broken connection the time to come back.
pub(super) fn wait_for_return(connection: &Connection, session: Arc<Session>, slot: PublisherGuard) {
    let grace = connection.shared.limits.resume_grace;
    let vacated = slot.release();
    if session.channel().ended().is_none() && !grace.is_zero() {
        tracing::info!(
            session = session.id(),
            grace_s = grace.as_secs_f64(),
            "the publisher's connection broke"
        );
    }
    tokio::spawn(async move { session.await_return(vacated, grace).await });
}
