//! The server: one session for each connection, one answer for each frame.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use diarized_config::Config;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Handshake, Response};
use tokio_tungstenite::tungstenite::http::{StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::messages::{self, DEFAULT_RATE_HZ, Request, Vector};
use crate::access::{Access, Scope};
use crate::byte_stream::ByteStream;
use crate::guest::{Door, DoorError, Guest, Results, SpokenWord, main_speaker};
use crate::hub::Hub;
use crate::protocol::{AudioFormat, Encoding, SessionOptions};
use crate::session::{Command, Session};

/// Id of a session of a client; further ones of the same id get a number.
const SESSION: &str = "vosk";

struct Settings {
    access: Arc<Access>,
    /// Whether clients need no token.
    is_trusted: bool,
    has_words: bool,
    gives_vectors: bool,
    max_message: usize,
    header: Duration,
    idle: Duration,
    write: Duration,
}

/// Serves the dialect where it is configured, until the hub shuts down.
///
/// # Errors
/// [`DoorError`]
pub async fn serve(config: &Config, hub: &Arc<Hub>, access: &Arc<Access>) -> Result<(), DoorError> {
    let Some(place) = &config.vosk.listen else { return Ok(()) };
    let is_trusted = config.vosk.allow_insecure;
    let may_be_remote = is_trusted || access.asks_for_tokens();
    let door = Door::open(place, "vosk.listen", "vosk.allow_insecure", may_be_remote).await?;
    let settings = Arc::new(Settings {
        access: Arc::clone(access),
        is_trusted,
        has_words: config.asr.kind.is_some(),
        gives_vectors: config.vosk.vectors,
        max_message: config.server.max_frame_bytes,
        header: config.server.header_timeout,
        idle: config.server.idle_timeout,
        write: config.server.write_timeout,
    });
    tracing::info!(place = %place, port = door.addr().map(|addr| addr.port()), "vosk's WebSocket is served");
    let hub = Arc::clone(hub);
    let mut down = hub.shutting_down();
    tokio::spawn(async move {
        loop {
            let (stream, permit) = tokio::select! {
                client = door.next() => client,
                _ = down.wait_for(|down| *down) => return,
            };
            let (settings, hub) = (Arc::clone(&settings), Arc::clone(&hub));
            tokio::spawn(async move {
                if let Some(client) = Client::accept(stream, settings, hub).await {
                    client.run().await;
                }
                drop(permit);
            });
        }
    });
    Ok(())
}

/// The connection is over.
struct Over;

struct Client {
    socket: WebSocketStream<Box<dyn ByteStream>>,
    settings: Arc<Settings>,
    hub: Arc<Hub>,
    rate_hz: u32,
    wants_vector: bool,
    guest: Option<Guest>,
    results: Results,
    /// Words that are settled and not sent.
    waiting: Vec<SpokenWord>,
}

impl Client {
    async fn accept(stream: Box<dyn ByteStream>, settings: Arc<Settings>, hub: Arc<Hub>) -> Option<Self> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(settings.max_message))
            .max_frame_size(Some(settings.max_message));
        let checked = Arc::clone(&settings);
        #[expect(clippy::result_large_err, reason = "the signature is the library's")]
        let check = move |request: &Handshake, response: Response| match may_enter(&checked, request) {
            Ok(()) => Ok(response),
            Err((status, reason)) => {
                tracing::info!(reason, "a client of vosk's WebSocket is refused");
                let mut refusal = ErrorResponse::new(Some(reason));
                *refusal.status_mut() = status;
                Err(refusal)
            }
        };
        let accepting = accept_hdr_async_with_config(stream, check, Some(config));
        let socket = timeout(settings.header, accepting).await.ok()?.ok()?;
        let results = Results::new(settings.has_words);
        let rate_hz = DEFAULT_RATE_HZ;
        Some(Self {
            socket,
            settings,
            hub,
            rate_hz,
            wants_vector: false,
            guest: None,
            results,
            waiting: Vec::new(),
        })
    }

    async fn run(mut self) {
        let mut down = self.hub.shutting_down();
        loop {
            let message = tokio::select! {
                message = timeout(self.settings.idle, self.socket.next()) => Some(message),
                () = async { drop(down.wait_for(|down| *down).await) } => None,
            };
            let Some(message) = message else {
                return self.close(CloseCode::Away, "the server shuts down").await;
            };
            let outcome = match message {
                Ok(Some(Ok(Message::Text(text)))) => self.take(Bytes::from(text), true).await,
                Ok(Some(Ok(Message::Binary(bytes)))) => self.take(bytes, false).await,
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return,
                Ok(Some(Ok(_))) => Ok(()),
                Err(_) => {
                    let reason = "nothing came for too long (server.idle_timeout_s)";
                    return self.close(CloseCode::Policy, reason).await;
                }
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn close(&mut self, code: CloseCode, reason: &str) {
        let frame = CloseFrame { code, reason: reason.chars().take(100).collect::<String>().into() };
        // A client that is gone needs no close.
        let _ = timeout(self.settings.write, self.socket.close(Some(frame))).await;
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        let _ = timeout(self.settings.write, rest).await;
    }

    async fn refuse(&mut self, reason: &str) -> Result<(), Over> {
        tracing::info!(reason, "a client of vosk's WebSocket is refused");
        self.send(serde_json::json!({ "error": reason }).to_string()).await?;
        self.close(CloseCode::Policy, reason).await;
        Err(Over)
    }

    async fn send(&mut self, text: String) -> Result<(), Over> {
        match timeout(self.settings.write, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    async fn take(&mut self, bytes: Bytes, is_text: bool) -> Result<(), Over> {
        match messages::read(&bytes, is_text) {
            Err(reason) => self.refuse(&reason).await,
            Ok(None) => self.audio(bytes).await,
            Ok(Some(Request::Config { rate_hz, wants_vector })) => {
                if wants_vector && !self.settings.gives_vectors {
                    return self
                        .refuse("config.spk: vectors of voices are not given out here (vosk.vectors)")
                        .await;
                }
                self.wants_vector = wants_vector;
                let rate_hz = rate_hz.unwrap_or(self.rate_hz);
                if self.guest.is_some() && rate_hz != self.rate_hz {
                    return self.refuse("config.sample_rate came after audio of another rate").await;
                }
                self.rate_hz = rate_hz;
                Ok(())
            }
            Ok(Some(Request::Reset)) => {
                let Some(guest) = &self.guest else { return self.send(messages::result(&[], None)).await };
                if let Ok(done) = guest.session().input().command(Command::Finalize).await {
                    // A session that has ended has nothing to settle.
                    let _ = done.await;
                }
                self.collect(true);
                let words = std::mem::take(&mut self.waiting);
                self.result(&words).await
            }
            Ok(Some(Request::Eof)) => {
                self.finished().await?;
                self.collect(true);
                let words = std::mem::take(&mut self.waiting);
                self.result(&words).await?;
                self.close(CloseCode::Normal, "").await;
                Err(Over)
            }
        }
    }

    /// Waits for the end of the session, and answers pings meanwhile.
    async fn finished(&mut self) -> Result<(), Over> {
        let Some(guest) = &self.guest else { return Ok(()) };
        let mut finishing = std::pin::pin!(guest.finish());
        loop {
            tokio::select! {
                _ = &mut finishing => return Ok(()),
                message = self.socket.next() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Over),
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    async fn audio(&mut self, bytes: Bytes) -> Result<(), Over> {
        if self.guest.is_none() {
            let format = AudioFormat {
                encoding: Encoding::PcmS16le,
                sample_rate: self.rate_hz,
                channels: 1,
                channel: None,
            };
            match Guest::open(&self.hub, "", SESSION, format, SessionOptions::default()).await {
                Ok(guest) => self.guest = Some(guest),
                Err(error) => return self.refuse(&error.to_string()).await,
            }
        }
        let Some(guest) = &mut self.guest else { return Err(Over) };
        if guest.push(bytes).await.is_err() {
            return self.refuse("the session was ended").await;
        }
        let partial = self.collect(false);
        if self.waiting.is_empty() {
            return self.send(partial).await;
        }
        let turn = messages::first_turn(&mut self.waiting);
        self.result(&turn).await
    }

    /// Moves settled words to those that wait; the answer for the rest.
    fn collect(&mut self, is_over: bool) -> String {
        let Some(guest) = &self.guest else { return messages::partial(&[]) };
        let now = guest.now();
        self.waiting.extend(self.results.take(&now.state, now.seq, now.at, is_over));
        messages::partial(&self.results.pending(&now.state))
    }

    async fn result(&mut self, words: &[SpokenWord]) -> Result<(), Over> {
        let session =
            self.guest.as_ref().filter(|_| self.wants_vector).map(|guest| Arc::clone(guest.session()));
        let vector = match session {
            Some(session) => vector(&session, words).await,
            None => None,
        };
        self.send(messages::result(words, vector)).await
    }
}

/// The vector of the voice that speaks most of the time, where there is enough speech of it.
async fn vector(session: &Session, words: &[SpokenWord]) -> Option<Vector> {
    let speaker = main_speaker(words)?.speaker.as_ref()?.id;
    let voice = session.voice_of(speaker).await?;
    let n_frames = (f64::from(voice.speech_s) * 100.0) as u64;
    Some(Vector { values: voice.embedding.as_slice().to_vec(), n_frames })
}

/// Whether a client may come in: its origin, and its token where there are some.
fn may_enter(settings: &Settings, request: &Handshake) -> Result<(), (StatusCode, String)> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let forbidden = |error: &dyn std::error::Error| (StatusCode::FORBIDDEN, error.to_string());
    settings.access.admit(text(header::ORIGIN), text(header::HOST)).map_err(|e| forbidden(&e))?;
    if settings.is_trusted {
        return Ok(());
    }
    let token = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let token =
        token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let identity = settings.access.identify(token).map_err(|e| (StatusCode::UNAUTHORIZED, e.to_string()))?;
    identity.must(Scope::Publish).map_err(|e| forbidden(&e))
}
