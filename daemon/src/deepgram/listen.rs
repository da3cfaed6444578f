//! The endpoint: one session for each connection.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::messages::{self, About, Control, Finality};
use super::query::{self, Wishes};
use crate::guest::{Guest, Results};
use crate::hub::OpenError;
use crate::protocol::SessionOptions;
use crate::secret::random_hex;
use crate::session::{AudioPiece, Command, Listener, StateAt};

/// Id of a session of a client; further ones of the same id get a number.
const SESSION: &str = "deepgram";
/// Audio that may wait to be looked at for speech, in samples at 16 kHz.
const MAX_SAMPLES: u64 = 10 * 16_000;
/// Interval of words that may still change.
const INTERIM_EVERY: Duration = Duration::from_millis(250);

/// What the endpoint needs of its server.
pub(crate) struct Listening {
    pub(crate) hub: std::sync::Arc<crate::hub::Hub>,
    /// Name of the client's token.
    pub(crate) owner: String,
    /// Whether a recogniser gives words.
    pub(crate) has_words: bool,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
    pub(crate) max_message: usize,
    /// Ends the connection when the token was revoked.
    pub(crate) revoked: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Held while the connection lasts.
    pub(crate) _permit: Box<dyn std::any::Any + Send>,
}

/// Answers a request for `/v1/listen`.
pub(crate) async fn listen(
    listening: Listening,
    query: &[(String, String)],
    upgrade: WebSocketUpgrade,
) -> Response {
    let request_id = random_hex(16);
    let wishes = match query::read(query) {
        Ok(wishes) => wishes,
        Err(reason) => {
            let error =
                json!({"err_code": "INVALID_QUERY_PARAMETER", "err_msg": reason, "request_id": request_id});
            return (StatusCode::BAD_REQUEST, Json(error)).into_response();
        }
    };
    let opened =
        Guest::open(&listening.hub, &listening.owner, SESSION, wishes.format, SessionOptions::default())
            .await;
    let guest = match opened {
        Ok(guest) => guest,
        Err(OpenError::OverLimit(over)) => {
            let reason = over.to_string();
            let error = json!({"err_code": "TOO_MANY_REQUESTS", "err_msg": reason, "request_id": request_id});
            let when = [(header::RETRY_AFTER, over.retry_after_s().to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, when, Json(error)).into_response();
        }
        Err(reason) => {
            let reason = reason.to_string();
            let error =
                json!({"err_code": "SERVICE_UNAVAILABLE", "err_msg": reason, "request_id": request_id});
            return (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response();
        }
    };
    let max = listening.max_message;
    let header = HeaderValue::from_str(&request_id);
    let upgrade = upgrade.protocols(["token", "bearer"]).max_message_size(max).max_frame_size(max);
    let mut response = upgrade.on_upgrade(move |socket| async move {
        let about = About { request_id, model: wishes.model.clone(), n_channels: wishes.format.channels };
        Stream::new(socket, guest, listening, wishes, about).run().await;
    });
    if let Ok(value) = header {
        response.headers_mut().insert("dg-request-id", value);
    }
    response
}

/// The connection is over.
struct Over;

struct Stream {
    socket: WebSocket,
    guest: Guest,
    listener: Listener,
    listening: Listening,
    down: watch::Receiver<bool>,
    wishes: Wishes,
    about: About,
    results: Results,
    /// End of the last final words.
    done_s: f64,
    is_speech: bool,
    interim_at: Instant,
    last_interim: String,
}

/// What happens next.
enum Next {
    Message(Option<Result<Message, axum::Error>>),
    Audio(Option<AudioPiece>),
    Words,
    Idle,
    Down,
    Revoked,
}

impl Stream {
    fn new(socket: WebSocket, guest: Guest, listening: Listening, wishes: Wishes, about: About) -> Self {
        Self {
            listener: guest.listen(MAX_SAMPLES),
            down: listening.hub.shutting_down(),
            results: Results::new(listening.has_words),
            socket,
            guest,
            listening,
            wishes,
            about,
            done_s: 0.0,
            is_speech: false,
            interim_at: Instant::now(),
            last_interim: String::new(),
        }
    }

    async fn run(mut self) {
        let mut active_at = Instant::now();
        let mut listens = self.wishes.vad_events;
        loop {
            let next = tokio::select! {
                message = self.socket.recv() => Next::Message(message),
                piece = self.listener.next(), if listens => Next::Audio(piece),
                () = self.guest.changed() => Next::Words,
                () = tokio::time::sleep_until(active_at + self.listening.idle) => Next::Idle,
                _ = self.down.wait_for(|down| *down) => Next::Down,
                () = &mut self.listening.revoked => Next::Revoked,
            };
            let outcome = match next {
                Next::Message(Some(Ok(message))) => {
                    active_at = Instant::now();
                    self.take(message).await
                }
                Next::Message(_) => return,
                Next::Audio(None) => {
                    listens = false;
                    Ok(())
                }
                Next::Audio(Some(piece)) => self.speech_change(&piece).await,
                Next::Words => self.emit(Finality::Final).await,
                Next::Idle => {
                    self.fail("NET-0001", "neither audio nor KeepAlive came for too long", 1011).await
                }
                Next::Down => self.close().await,
                Next::Revoked => self.fail("INVALID_AUTH", "the token was revoked", 1008).await,
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        match timeout(self.listening.write, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    /// Reports a fault and ends the connection.
    async fn fail(&mut self, code: &str, reason: &str, close: u16) -> Result<(), Over> {
        self.send(Message::text(messages::error(reason, code))).await?;
        let frame = CloseFrame { code: close, reason: code.to_owned().into() };
        self.send(Message::Close(Some(frame))).await?;
        Err(Over)
    }

    async fn take(&mut self, message: Message) -> Result<(), Over> {
        match message {
            // An empty frame ends the stream, too.
            Message::Binary(bytes) if bytes.is_empty() => self.close().await,
            Message::Binary(bytes) => match self.guest.push(bytes).await {
                Ok(()) => Ok(()),
                Err(_) => self.fail("NET-0000", "the session was ended", 1011).await,
            },
            Message::Text(text) => match messages::read(&text) {
                Ok(Control::KeepAlive) => Ok(()),
                Ok(Control::Finalize) => {
                    let settling = self.guest.session().input().command(Command::Finalize).await;
                    if let Ok(done) = settling {
                        // A session that has ended has nothing to settle.
                        let _ = done.await;
                    }
                    self.emit(Finality::Finalized).await
                }
                Ok(Control::CloseStream) => self.close().await,
                Err(reason) => self.fail("DATA-0000", &reason, 1008).await,
            },
            Message::Close(_) => Err(Over),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn speech_change(&mut self, piece: &AudioPiece) -> Result<(), Over> {
        let was_speech = std::mem::replace(&mut self.is_speech, piece.is_speech);
        match piece.is_speech && !was_speech {
            true => self.send(Message::text(messages::speech_started(piece.start.seconds()))).await,
            false => Ok(()),
        }
    }

    /// Sends words that are settled, and those that may still change.
    async fn emit(&mut self, finality: Finality) -> Result<(), Over> {
        let now = self.guest.now();
        let is_over = finality == Finality::Finalized;
        let words = self.results.take(&now.state, now.seq, now.at, is_over);
        if !words.is_empty() || is_over {
            let end_s = words.iter().fold(self.done_s, |end, word| end.max(word.end_s));
            let span = (self.done_s, end_s);
            self.done_s = end_s;
            let text = messages::results(&words, span, finality, &self.about, &self.wishes);
            self.send(Message::text(text)).await?;
        }
        if self.wishes.interim_results && !is_over && Instant::now() >= self.interim_at {
            let words = self.results.pending(&now.state);
            let end_s = words.iter().fold(self.done_s, |end, word| end.max(word.end_s));
            let span = (self.done_s, end_s);
            let text = messages::results(&words, span, Finality::Interim, &self.about, &self.wishes);
            if !words.is_empty() && text != self.last_interim {
                self.interim_at = Instant::now() + INTERIM_EVERY;
                self.last_interim.clone_from(&text);
                self.send(Message::text(text)).await?;
            }
        }
        Ok(())
    }

    /// Waits for the end of the session and answers pings meanwhile; nothing if the client goes.
    async fn finished(&mut self) -> Option<StateAt> {
        let mut finishing = std::pin::pin!(self.guest.finish());
        loop {
            tokio::select! {
                last = &mut finishing => return Some(last),
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    /// Ends the stream in good order: the last words, and `Metadata`.
    async fn close(&mut self) -> Result<(), Over> {
        let Some(last) = self.finished().await else { return Err(Over) };
        let words = self.results.take(&last.state, last.seq, last.at, true);
        let duration_s = self.guest.received_s();
        let text =
            messages::results(&words, (self.done_s, duration_s), Finality::Final, &self.about, &self.wishes);
        self.send(Message::text(text)).await?;
        self.send(Message::text(messages::metadata(&self.about, &now(), duration_s))).await?;
        self.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await?;
        // The client may read all of it before the connection is gone.
        let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = timeout(self.listening.write, rest).await;
        Err(Over)
    }
}

/// The time, as RFC 3339 has it.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now =
        OffsetDateTime::from_unix_timestamp(seconds.cast_signed()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second) = now.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z", u8::from(month))
}
