//! Plays audio into a server at a chosen pace, and hands on what comes back.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::wire_audio::WireAudio;
use super::{Address, ConnectError, Socket, connect};
use crate::audio_file::{AudioFile, AudioFileError, AudioProblem};
use crate::protocol::server_message::{Body, EndReason, Ended};
use crate::protocol::{ClientMessage, CloseCode, ServerMessage};

/// Audio in one binary frame, in ms.
const FRAME_MS: u64 = 100;
/// How long the server may take for the last labels after the audio, on top of what the audio itself takes.
const LAST_WORDS: Duration = Duration::from_secs(120);

/// How a file is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Playback {
    /// Seconds of audio sent in a second; infinity sends as fast as the server takes it.
    pub speed: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Audio sent, in seconds.
    pub sent_s: f64,
    /// What the server said last.
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
    /// The connection broke.
    #[error("the connection broke: {reason}")]
    Lost {
        /// What the network says.
        reason: String,
    },
    /// The server did not end the session.
    #[error("the server has not ended the session {} s after the audio", LAST_WORDS.as_secs())]
    NoEnd,
}

/// Plays `file` into a new session and passes every message, with its text as it came, to `hear`. A file above
/// 48 kHz is sent mixed to mono at 16 kHz.
///
/// # Errors
/// [`PublishError`]; what was heard before it stays good.
pub async fn publish(
    address: &Address,
    session: Option<&str>,
    file: AudioFile,
    playback: Playback,
    mut hear: impl FnMut(Option<&ServerMessage>, &str),
) -> Result<Summary, PublishError> {
    let mut file = WireAudio::new(file)?;
    let mut path = format!(
        "/v1/stream?encoding=pcm_f32le&sample_rate={}&channels={}",
        file.sample_rate_hz(),
        file.n_channels()
    );
    if let Some(session) = session {
        path.push_str("&session=");
        path.push_str(session);
    }
    let (sink, mut stream) = connect(&address.url(&path)).await?.split();
    let (sent_to, sent) = watch::channel(None);
    let send = async {
        let outcome = send_file(sink, &mut file, playback).await;
        sent_to.send_replace(Some(Instant::now()));
        outcome
    };
    let receive = receive(&mut stream, sent, &mut hear);
    // A stream that the server ends early ends the sending; a failed sending leaves the word to the server, which
    // knows better why.
    let mut receive = std::pin::pin!(receive);
    let received = tokio::select! {
        received = &mut receive => received,
        sent = send => match sent {
            Ok(()) | Err(SendError::Gone) => receive.await,
            Err(SendError::File(error)) => return Err(error.into()),
        },
    };
    let ended = received?;
    let problems = file.problems();
    Ok(Summary { sent_s: file.position().as_secs_f64(), ended, problems })
}

/// Why sending stopped.
enum SendError {
    File(AudioFileError),
    /// The connection takes no more; why is known to whoever receives.
    Gone,
}

async fn send_file(
    mut sink: SplitSink<Socket, Message>,
    file: &mut WireAudio,
    playback: Playback,
) -> Result<(), SendError> {
    let n_channels = u64::from(file.n_channels());
    let rate = u64::from(file.sample_rate_hz());
    let frame_bytes = (rate * FRAME_MS / 1000 * n_channels * 4) as usize;
    let began = Instant::now();
    let mut n_sent_bytes = 0_u64;
    let mut pending: Vec<u8> = Vec::new();
    let mut block = Vec::new();
    let mut more = true;
    while more {
        more = file.read(&mut block).map_err(SendError::File)?;
        pending.extend(block.iter().flat_map(|s| s.to_le_bytes()));
        while pending.len() >= frame_bytes || (!more && !pending.is_empty()) {
            let frame: Vec<u8> = pending.drain(..frame_bytes.min(pending.len())).collect();
            let due_s = n_sent_bytes as f64 / (rate * n_channels * 4) as f64 / playback.speed;
            if let Ok(due) = Duration::try_from_secs_f64(due_s) {
                sleep_until(began + due).await;
            }
            n_sent_bytes += frame.len() as u64;
            sink.send(Message::Binary(frame.into())).await.map_err(|_| SendError::Gone)?;
        }
    }
    let close = ClientMessage::Close(crate::protocol::client_message::Close {});
    sink.send(Message::text(close.to_json())).await.map_err(|_| SendError::Gone)?;
    Ok(())
}

async fn receive(
    stream: &mut SplitStream<Socket>,
    mut sent: watch::Receiver<Option<Instant>>,
    hear: &mut impl FnMut(Option<&ServerMessage>, &str),
) -> Result<Ended, PublishError> {
    let (mut ended, mut error) = (None, None);
    loop {
        let limit = sent.borrow_and_update().map(|at| at + LAST_WORDS);
        let next = tokio::select! {
            next = stream.next() => next,
            // Learns of the deadline when there is one.
            Ok(()) = sent.changed() => continue,
            () = until(limit) => return Err(PublishError::NoEnd),
        };
        match next {
            Some(Ok(Message::Text(text))) => {
                let message = ServerMessage::parse(&text).ok();
                hear(message.as_ref(), &text);
                match message.map(|m| m.body) {
                    Some(Body::Ended(end)) => ended = Some(end),
                    Some(Body::Error(e)) if e.fatal => error = Some(e.reason),
                    _ => {}
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map_or(1005, |f| u16::from(f.code));
                return match ended {
                    Some(ended) if code == CloseCode::Done.as_u16() && ended.reason == EndReason::Closed => {
                        Ok(ended)
                    }
                    _ => {
                        let said = frame.map(|f| f.reason.to_string()).unwrap_or_default();
                        let ended = ended.map(|e| format!("the session ended: {}", e.reason.as_str()));
                        Err(PublishError::Closed { code, reason: error.or(ended).unwrap_or(said) })
                    }
                };
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(PublishError::Lost { reason: error.to_string() }),
            None => return Err(PublishError::Lost { reason: "the server is gone".to_owned() }),
        }
    }
}

async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => sleep_until(limit).await,
        None => std::future::pending().await,
    }
}
