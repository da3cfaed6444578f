//! What every kind of recogniser does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::answer::Answer;

/// Audio of one conversation: 16 kHz, mono, signed 16 bit, little-endian. Its end asks for the last words.
pub(super) type Feed = mpsc::Receiver<Bytes>;

/// Where the answers of one conversation go.
#[derive(Debug)]
pub(super) struct Answers {
    conversation: u64,
    sender: mpsc::Sender<(u64, Answer)>,
    is_connected: Arc<AtomicBool>,
}

impl Answers {
    pub(super) fn new(conversation: u64, sender: mpsc::Sender<(u64, Answer)>) -> Self {
        Self { conversation, sender, is_connected: Arc::default() }
    }

    /// Whether the recogniser has accepted the conversation.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_connected)
    }

    /// The recogniser has accepted the conversation.
    pub(super) fn connected(&self) {
        self.is_connected.store(true, Ordering::Relaxed);
    }

    /// Hands an answer on; waits while others wait.
    pub(super) async fn give(&self, answer: Answer) {
        // Without the driver the conversation is over.
        let _ = self.sender.send((self.conversation, answer)).await;
    }
}

/// Why a conversation broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    /// No connection, or it was lost.
    #[error("{0}")]
    Connection(String),
    /// What it answered cannot be used.
    #[error("it answers what is not of the protocol: {0}")]
    Protocol(String),
    /// It refuses to recognise.
    #[error("it refuses: {0}")]
    Refused(String),
    /// It takes too long.
    #[error("it takes longer than asr.timeout_s to {0}")]
    Timeout(&'static str),
}

impl From<std::io::Error> for TalkError {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

pub(super) type Talking<'a> = Pin<Box<dyn Future<Output = Result<(), TalkError>> + Send + 'a>>;

/// A recogniser of one kind, at one address; shared by all sessions.
pub(super) trait Recogniser: Send + Sync {
    /// Whether it takes one stretch of speech at a time; the others take a whole session.
    fn takes_utterances(&self) -> bool;

    /// One conversation, to its last answer: all of `feed` is sent, and every answer is given.
    fn talk(&self, feed: Feed, answers: Answers) -> Talking<'_>;
}
