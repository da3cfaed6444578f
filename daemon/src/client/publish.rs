//! Streams audio to a server at a chosen pace, resumes after a disconnect, and passes the server's messages on.

use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::address::Address;
use super::backoff::{self, Backoff};
use super::follow::News;
use super::outgoing::{Outgoing, Playback, SendError};
use super::socket::{ConnectError, SILENCE, Socket, connect};
use super::wire_audio::WireAudio;
use crate::audio_file::{AudioFile, AudioFileError, AudioProblem};
use crate::protocol::client_message::Resume;
use crate::protocol::server_message::{Body, EndReason, Ended, Started};
use crate::protocol::{AudioFormat, ClientMessage, CloseCode, Encoding, ErrorCode, ServerMessage, Start};

/// How long the server may take for the last labels after the audio, on top of what the audio itself takes.
const LAST_WORDS: Duration = Duration::from_secs(120);

/// What the session is called, and what may be done with its audio; the default leaves all to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Naming<'a> {
    /// Id that it shall have.
    pub session: Option<&'a str>,
    /// Its title.
    pub title: Option<&'a str>,
    /// Whether the server may keep its audio; it may unless this is `Some(false)`.
    pub keep_audio: Option<bool>,
    /// Whether the server's speech recogniser gets its audio; it does unless this is `Some(false)`.
    pub asr: Option<bool>,
}

impl<'a> From<Option<&'a str>> for Naming<'a> {
    fn from(session: Option<&'a str>) -> Self {
        Self { session, ..Self::default() }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Audio sent, in seconds.
    pub sent_s: f64,
    /// Last message of the server.
    pub ended: Ended,
    /// What was wrong with the file and did not stop it.
    pub problems: Vec<AudioProblem>,
}

/// Why a file was not played to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] AudioFileError),
    /// The server refused or ended the stream.
    #[error("the server closed the stream with {code}: {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// The reason that it gave.
        reason: String,
    },
    /// The connection broke, and no other came about while the session waited.
    #[error("the connection broke: {reason}")]
    Lost {
        /// Error of the network.
        reason: String,
    },
    /// The server did not end the session.
    #[error("the server has not ended the session {} s after the audio", LAST_WORDS.as_secs())]
    NoEnd,
}

/// Streams `file` to a new session. Passes on every message, disconnects and resumes. A broken stream continues at the
/// server's position, so labels, clock and numbers go on.
/// A file above 48 kHz is sent mixed to mono at 16 kHz.
///
/// # Errors
/// [`PublishError`]; messages before it stay valid. The first connection is not retried.
pub async fn publish(
    address: &Address,
    naming: impl Into<Naming<'_>>,
    file: AudioFile,
    playback: Playback,
    mut hear: impl FnMut(News),
) -> Result<Summary, PublishError> {
    let file = WireAudio::new(file)?;
    let Naming { session, title, keep_audio, asr } = naming.into();
    let audio = AudioFormat {
        encoding: Encoding::PcmF32le,
        sample_rate: file.sample_rate_hz(),
        channels: file.n_channels(),
        channel: None,
    };
    let (session, title) = (session.map(str::to_owned), title.map(str::to_owned));
    let start = Start { audio: Some(audio), session, title, keep_audio, asr, ..Start::default() };
    let start = ClientMessage::Start(start);
    let mut outgoing = Outgoing::new(file, playback);
    let mut incoming = Incoming { acked: watch::Sender::new(0), ..Incoming::default() };
    let mut socket = connect(address, "/v1/stream").await?;
    let sent = socket.send(Message::text(start.to_json())).await;
    sent.map_err(|error| PublishError::Lost { reason: error.to_string() })?;
    let mut backoff = Backoff::new();
    let ended = loop {
        let outcome = exchange(socket, &mut outgoing, &mut incoming, &mut hear).await;
        let reason = match outcome {
            Ok(ended) => break ended,
            Err(PublishError::Lost { reason }) => reason,
            Err(error) => return Err(error),
        };
        if incoming.n_heard > 0 {
            incoming.n_heard = 0;
            backoff.reset();
        }
        socket = come_back(address, &mut outgoing, &mut incoming, &mut backoff, reason, &mut hear).await?;
    };
    let file = outgoing.file();
    Ok(Summary { sent_s: file.position().as_secs_f64(), ended, problems: file.problems() })
}

/// Sends and receives on one connection until it ends.
async fn exchange(
    socket: Socket,
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    hear: &mut impl FnMut(News),
) -> Result<Ended, PublishError> {
    let (mut sink, mut stream) = socket.split();
    let (sent_to, sent) = watch::channel(None);
    let samples_of = {
        let rate = f64::from(outgoing.file().sample_rate_hz());
        move |received_s: f64| (received_s * rate).floor() as u64
    };
    let (acked, mut greeted) = (incoming.acked.subscribe(), incoming.greeted.subscribe());
    let send = async {
        // Without the token of `started` a break would lose what was sent before it.
        greeted.wait_for(|greeted| *greeted).await.map_err(|_| SendError::Gone)?;
        let outcome = outgoing.send(&mut sink, acked).await;
        sent_to.send_replace(Some(Instant::now()));
        outcome
    };
    // A stream that the server ends early ends the sending; a failed sending leaves the word to the server, which
    // knows better why.
    let mut receive = std::pin::pin!(incoming.receive(&mut stream, sent, samples_of, hear));
    tokio::select! {
        received = &mut receive => received,
        sent = send => match sent {
            Ok(()) | Err(SendError::Gone) => receive.await,
            Err(SendError::File(error)) => Err(error.into()),
        },
    }
}

/// Connects again and takes the session up, for as long as it waits for us.
async fn come_back(
    address: &Address,
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    backoff: &mut Backoff,
    mut reason: String,
    hear: &mut impl FnMut(News),
) -> Result<Socket, PublishError> {
    let Some(started) = incoming.started.clone().filter(|(_, s)| s.resume_grace_s.0 > 0.0) else {
        return Err(PublishError::Lost { reason });
    };
    // The server may notice the break later than we do, so a little more than the session waits.
    let grace = Duration::from_secs_f64(started.1.resume_grace_s.0.clamp(0.0, 1e6)) + backoff::LONGEST;
    let give_up_at = Instant::now() + grace;
    loop {
        let retry_in = backoff.next();
        hear(News::Lost { reason: reason.clone(), retry_in });
        if Instant::now() + retry_in > give_up_at {
            return Err(PublishError::Lost { reason });
        }
        sleep(retry_in).await;
        match take_up(address, incoming, &started).await {
            Ok((socket, message, text, n_received)) => {
                if !outgoing.rewind(n_received) {
                    let reason = format!("the server has lost audio after sample {n_received}");
                    return Err(PublishError::Lost { reason });
                }
                hear(News::Back);
                hear(News::Message(Box::new(message), text));
                return Ok(socket);
            }
            Err(PublishError::Connect(error)) => reason = error.to_string(),
            Err(PublishError::Lost { reason: why }) => reason = why,
            Err(error) => return Err(error),
        }
    }
}

/// One try to take the session up.
async fn take_up(
    address: &Address,
    incoming: &Incoming,
    (session, started): &(String, Started),
) -> Result<(Socket, ServerMessage, String, u64), PublishError> {
    let lost = |reason: &str| PublishError::Lost { reason: reason.to_owned() };
    let mut socket = connect(address, "/v1/stream").await?;
    let resume = Resume {
        session: session.clone(),
        token: started.token.clone(),
        received_s: None,
        since: Some(incoming.since),
    };
    // The token goes in a message and not in the address, which proxies write into their logs.
    let start = ClientMessage::Start(Start { resume: Some(resume), ..Start::default() });
    socket.send(Message::text(start.to_json())).await.map_err(|e| lost(&e.to_string()))?;
    let mut said = None;
    let mut is_passing = false;
    loop {
        let next = tokio::time::timeout(SILENCE, socket.next()).await;
        match next.map_err(|_| lost("the server does not answer"))? {
            Some(Ok(Message::Text(text))) => {
                let Ok(message) = ServerMessage::parse(&text) else { continue };
                match &message.body {
                    Body::Started(Started { received_samples: Some(n_received), .. }) => {
                        let n_received = *n_received;
                        return Ok((socket, message, text.as_str().to_owned(), n_received));
                    }
                    Body::Error(error) => {
                        is_passing = is_passing_refusal(error.code);
                        said = Some(error.reason.clone());
                    }
                    _ => {}
                }
            }
            Some(Ok(Message::Close(_))) if is_passing => {
                return Err(PublishError::Lost { reason: said.unwrap_or_default() });
            }
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) =
                    frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                return Err(PublishError::Closed { code, reason: said.unwrap_or(reason) });
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(lost(&error.to_string())),
            None => return Err(lost("the server is gone")),
        }
    }
}

/// Whether a session that is refused now may be taken up a little later, here or at another node behind the same address.
fn is_passing_refusal(code: ErrorCode) -> bool {
    use ErrorCode::{Elsewhere, Overloaded, ShuttingDown, TooManyConnections, TooManySessions};
    [Elsewhere, Overloaded, ShuttingDown, TooManyConnections, TooManySessions].contains(&code)
}

/// State from the server's messages, across connections.
#[derive(Default)]
struct Incoming {
    /// Id of the session and its first `started`.
    started: Option<(String, Started)>,
    /// Number of the last event.
    since: u64,
    ended: Option<Ended>,
    /// Reason of the last fatal error.
    error: Option<String>,
    /// Whether the first `started` came.
    greeted: watch::Sender<bool>,
    /// Samples that the server has for sure.
    acked: watch::Sender<u64>,
    /// Messages on this connection.
    n_heard: u64,
}

impl Incoming {
    async fn receive(
        &mut self,
        stream: &mut SplitStream<Socket>,
        mut sent: watch::Receiver<Option<Instant>>,
        samples_of: impl Fn(f64) -> u64,
        hear: &mut impl FnMut(News),
    ) -> Result<Ended, PublishError> {
        let mut heard_at = Instant::now();
        loop {
            let limit = sent.borrow_and_update().map(|at| at + LAST_WORDS);
            let next = tokio::select! {
                next = stream.next() => next,
                // Learns of the deadline when there is one.
                Ok(()) = sent.changed() => continue,
                () = until(limit) => return Err(PublishError::NoEnd),
                () = sleep_until(heard_at + SILENCE) => {
                    return Err(PublishError::Lost { reason: "the server has fallen silent".to_owned() });
                }
            };
            heard_at = Instant::now();
            let lost = match next {
                Some(Ok(Message::Text(text))) => {
                    self.take(text.as_str(), &samples_of, hear);
                    continue;
                }
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map_or(1005, |f| u16::from(f.code));
                    let said = frame.map(|f| f.reason.to_string()).unwrap_or_default();
                    return self.closed(code, said);
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => error.to_string(),
                None => "the server is gone".to_owned(),
            };
            return match &self.ended {
                // Everything but the close was sent.
                Some(ended) if ended.reason == EndReason::Closed => Ok(ended.clone()),
                _ => Err(PublishError::Lost { reason: lost }),
            };
        }
    }

    fn take(&mut self, text: &str, samples_of: &impl Fn(f64) -> u64, hear: &mut impl FnMut(News)) {
        self.n_heard += 1;
        let Ok(message) = ServerMessage::parse(text) else { return hear(News::Unknown(text.to_owned())) };
        self.since = message.seq.unwrap_or(self.since);
        match &message.body {
            Body::Started(started) => {
                self.started = message.session.clone().map(|id| (id, started.clone()));
                self.greeted.send_replace(true);
            }
            Body::Ack(ack) => {
                self.acked.send_replace(samples_of(ack.received_s.0));
            }
            Body::Ended(ended) => self.ended = Some(ended.clone()),
            Body::Error(error) if error.fatal => self.error = Some(error.reason.clone()),
            _ => {}
        }
        hear(News::Message(Box::new(message), text.to_owned()));
    }

    fn closed(&mut self, code: u16, said: String) -> Result<Ended, PublishError> {
        if code == CloseCode::Restarting.as_u16() {
            return Err(PublishError::Lost { reason: "the server restarts".to_owned() });
        }
        match self.ended.take() {
            Some(ended) if code == CloseCode::Done.as_u16() && ended.reason == EndReason::Closed => Ok(ended),
            ended => {
                let ended = ended.map(|e| format!("the session ended: {}", e.reason.as_str()));
                Err(PublishError::Closed { code, reason: self.error.take().or(ended).unwrap_or(said) })
            }
        }
    }
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => sleep_until(limit).await,
        None => std::future::pending().await,
    }
}
