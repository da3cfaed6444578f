//! Good clients: each plays the conversation as it is spoken, several follow it, and all hold it against what a quiet server
//! emitted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use diarized::audio_file::AudioFile;
use diarized::client::{Address, News, Playback, publish};
use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::Body;
use diarized_models::SessionState;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::soak::clients::{Received, follow};

/// How long followers may take to hear the end.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// Ids of good sessions, running and ended: what hostile clients know.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Vec<String>>);

impl Known {
    pub(super) fn add(&self, id: &str) {
        self.0.lock().push(id.to_owned());
    }

    /// One of them, the newest ones among the first.
    pub(super) fn one(&self, n: usize) -> String {
        let all = self.0.lock();
        let idx = n % all.len().clamp(1, 40);
        all.iter().rev().nth(idx).cloned().unwrap_or_else(|| "good-0-0".to_owned())
    }
}

/// What all good clients share.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Set when no further session is to begin.
    pub(super) stop: AtomicBool,
    /// Sessions with the labels of a quiet server, by everybody who followed.
    pub(super) n_sessions: AtomicUsize,
    /// Sessions that the server did not take, as where it is at its limits.
    pub(super) n_refused: AtomicUsize,
    /// Times that a broken connection was taken up again.
    pub(super) n_resumed: AtomicUsize,
}

/// One publisher and those who follow it.
#[derive(Debug, Clone)]
pub(super) struct Good {
    pub(super) idx: usize,
    pub(super) address: Address,
    pub(super) file: PathBuf,
    pub(super) n_followers: usize,
    /// The labels of a quiet server.
    pub(super) expected: Arc<SessionState>,
    pub(super) known: Arc<Known>,
    pub(super) counts: Arc<Counts>,
    pub(super) faults: mpsc::Sender<String>,
}

impl Good {
    /// Plays until it is stopped, and the session of that moment to its end.
    pub(super) async fn run(self) {
        // They begin one after the other, so that they do not all end at once.
        tokio::time::sleep(Duration::from_secs(2 * self.idx as u64)).await;
        for round in 0.. {
            if self.counts.stop.load(Ordering::Relaxed) {
                break;
            }
            let id = format!("good-{}-{round}", self.idx);
            match self.session(&id).await {
                Ok(true) => _ = self.counts.n_sessions.fetch_add(1, Ordering::Relaxed),
                Ok(false) => {
                    self.counts.n_refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(fault) => {
                    // The first faults are of interest, not all of them.
                    let _ = self.faults.try_send(format!("{id}: {fault:#}"));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Whether the server took the session.
    async fn session(&self, id: &str) -> anyhow::Result<bool> {
        let mut followers = tokio::task::JoinSet::new();
        let (received, played) = play(&self.address, id, &self.file, 1.0, |news| match news {
            News::Message(message, _) if matches!(message.body, Body::Started(_)) && followers.is_empty() => {
                self.known.add(id);
                for _ in 0..self.n_followers {
                    followers.spawn(follow(self.address.clone(), id.to_owned()));
                }
            }
            News::Back => _ = self.counts.n_resumed.fetch_add(1, Ordering::Relaxed),
            _ => {}
        })
        .await;
        if followers.is_empty() {
            return Ok(false);
        }
        played?;
        received.check()?;
        ensure!(
            received.state == *self.expected,
            "the publisher holds other labels than a quiet server gives"
        );
        while let Some(follower) = tokio::time::timeout(LAST_WORDS, followers.join_next()).await? {
            let received = follower.context("a follower panicked")??;
            received.check()?;
            ensure!(
                received.state == *self.expected,
                "a follower holds other labels than a quiet server gives"
            );
        }
        Ok(true)
    }
}

/// Plays a file to its end and gives what was emitted.
pub(super) async fn play(
    address: &Address,
    id: &str,
    path: &Path,
    speed: f64,
    mut hear: impl FnMut(&News),
) -> (Received, anyhow::Result<()>) {
    let mut received = Received::default();
    let file = match AudioFile::open(path) {
        Ok(file) => file,
        Err(error) => return (received, Err(error.into())),
    };
    let mut meddled = None;
    let played = publish(address, Some(id), file, Playback { speed }, |news| {
        if let News::Message(message, _) = &news {
            received.take(message);
            meddled = meddled.take().or_else(|| meddling(message, id));
        }
        hear(&news);
    });
    let played = played.await.map_err(anyhow::Error::from);
    (received, played.and_then(|_| meddled.map_or(Ok(()), |meddled| Err(anyhow::anyhow!(meddled)))))
}

/// What no good client does to its session: somebody else did it.
fn meddling(message: &ServerMessage, id: &str) -> Option<String> {
    match &message.body {
        Body::Title(_) | Body::Note(_) | Body::Correction(_) | Body::Words(_) => {
            Some(format!("somebody else changed it: {}", message.body.kind()))
        }
        Body::Started(_) if message.session.as_deref() != Some(id) => {
            Some(format!("the server gave it the id {:?}", message.session))
        }
        _ => None,
    }
}
