//! A conversation over a WebSocket: audio as binary frames, answers as text.

use std::time::Duration;

use axum::body::Bytes;
use diarized_config::Endpoint;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::answer::Answer;
use super::recogniser::{Answers, Feed, Recogniser, TalkError, Talking};
use crate::byte_stream::ByteStream;
use crate::client::{Authorities, dial};

/// Largest message of a recogniser.
const MAX_MESSAGE: usize = 1 << 20;
/// After the last words, time for others that were on their way.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Interval of keep-alive messages.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// The messages of one kind of recogniser.
pub(super) struct Dialect {
    /// Path and query.
    pub(super) path: String,
    /// Value of the header `Authorization`.
    pub(super) authorization: Option<HeaderValue>,
    /// Sent first.
    pub(super) hello: Option<String>,
    /// Sent while there is no audio.
    pub(super) keep_alive: Option<&'static str>,
    /// Sent after the audio.
    pub(super) end: &'static str,
    /// Reads a message.
    pub(super) read: fn(&[u8]) -> Result<Option<Answer>, String>,
    /// What the last message after `end` is.
    pub(super) last: Last,
}

/// What the last message is. The end of the connection counts, too.
#[derive(Clone, Copy)]
pub(super) enum Last {
    /// Each frame of audio has one answer, and `end` has one.
    EachAnswered,
    /// A message of its own.
    Message(fn(&[u8]) -> bool),
}

/// A recogniser that takes a whole session over a WebSocket.
pub(super) struct OverWebSocket {
    pub(super) place: Endpoint,
    pub(super) dialect: Dialect,
    pub(super) limit: Duration,
}

impl Recogniser for OverWebSocket {
    fn takes_utterances(&self) -> bool {
        false
    }

    fn talk(&self, feed: Feed, answers: Answers) -> Talking<'_> {
        Box::pin(async move { talk(&self.place, &self.dialect, self.limit, feed, &answers).await })
    }
}

/// What came on the socket.
enum Received {
    /// A message of text or bytes.
    Bytes(Bytes),
    /// A ping or the like.
    Other,
    /// The end of the conversation, after the end of the audio.
    End,
}

/// Reads one item of the socket. An end of the connection is an error unless the conversation `is_ending`.
fn read(
    message: Option<Result<Message, tungstenite::Error>>,
    is_ending: bool,
) -> Result<Received, TalkError> {
    let closed = |reason: &str| TalkError::Connection(format!("it closed the connection{reason}"));
    match message {
        Some(Ok(Message::Text(text))) => Ok(Received::Bytes(Bytes::from(text))),
        Some(Ok(Message::Binary(bytes))) => Ok(Received::Bytes(bytes)),
        Some(Ok(Message::Close(_)) | Err(_)) | None if is_ending => Ok(Received::End),
        Some(Ok(Message::Close(frame))) => {
            Err(closed(&frame.map_or_else(String::new, |frame| format!(" {frame}"))))
        }
        None => Err(closed("")),
        Some(Err(error)) => Err(broken(error)),
        Some(Ok(_)) => Ok(Received::Other),
    }
}

fn broken(error: tungstenite::Error) -> TalkError {
    TalkError::Connection(error.to_string())
}

/// Holds one conversation.
async fn talk(
    place: &Endpoint,
    dialect: &Dialect,
    limit: Duration,
    mut feed: Feed,
    answers: &Answers,
) -> Result<(), TalkError> {
    let connecting = timeout(limit, connect(place, dialect)).await;
    let socket = connecting.map_err(|_| TalkError::Timeout("accept a connection"))??;
    answers.connected();
    let (mut sink, mut stream) = socket.split();
    if let Some(hello) = &dialect.hello {
        sink.send(Message::text(hello)).await.map_err(broken)?;
    }
    let (mut until, mut is_done) = (None::<Instant>, false);
    let (mut n_sent, mut n_answered) = (0u64, 0u64);
    let mut quiet = Instant::now() + KEEP_ALIVE;
    loop {
        let wake = until.unwrap_or(quiet);
        tokio::select! {
            pcm = feed.recv(), if until.is_none() => {
                let message = match pcm {
                    Some(pcm) => Message::Binary(pcm),
                    None => {
                        until = Some(Instant::now() + limit);
                        Message::text(dialect.end)
                    }
                };
                n_sent += 1;
                quiet = Instant::now() + KEEP_ALIVE;
                let sent = timeout(limit, sink.send(message)).await;
                sent.map_err(|_| TalkError::Timeout("take audio"))?.map_err(broken)?;
            }
            message = stream.next() => {
                let bytes = match read(message, until.is_some())? {
                    Received::Bytes(bytes) => bytes,
                    Received::Other => continue,
                    Received::End => return Ok(()),
                };
                if let Some(answer) = (dialect.read)(&bytes).map_err(TalkError::Protocol)? {
                    answers.give(answer).await;
                }
                n_answered += 1;
                if until.is_some() && !is_done {
                    is_done = match dialect.last {
                        Last::EachAnswered => n_answered >= n_sent,
                        Last::Message(is_last) => is_last(&bytes),
                    };
                    // A recogniser that answers still works.
                    until = Some(Instant::now() + if is_done { LAST_WORDS } else { limit });
                }
            }
            () = sleep_until(wake) => {
                match (until, is_done) {
                    (None, _) => {}
                    (Some(_), true) => return Ok(()),
                    (Some(_), false) => return Err(TalkError::Timeout("answer")),
                }
                quiet = Instant::now() + KEEP_ALIVE;
                if let Some(text) = dialect.keep_alive {
                    sink.send(Message::text(text)).await.map_err(broken)?;
                }
            }
        }
    }
}

async fn connect(
    place: &Endpoint,
    dialect: &Dialect,
) -> Result<tokio_tungstenite::WebSocketStream<Box<dyn ByteStream>>, TalkError> {
    let authorities = place.is_secure().then_some(Authorities::System);
    let stream = dial(&place.host, place.port, authorities.as_ref());
    let stream = stream.await.map_err(|error| TalkError::Connection(error.to_string()))?;
    let url = format!("{}://{}{}", place.scheme(), place.authority(), dialect.path);
    let mut request = url.into_client_request().map_err(|error| TalkError::Connection(error.to_string()))?;
    if let Some(value) = &dialect.authorization {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
    }
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let (socket, _) = client_async_with_config(request, stream, Some(config))
        .await
        .map_err(|error| TalkError::Connection(error.to_string()))?;
    Ok(socket)
}
