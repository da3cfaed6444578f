//! The known people of a server, and the analysis of clips.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use diarized_dsp::ChannelSelect;
use diarized_models::Embedder;
use diarized_models::voiceprint::{Clip, ClipRules};
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::upload::Upload;
use crate::audio_file::{Opening, Patience};
use crate::protocol::ErrorCode;
use crate::voices::{ClipError, Registry, clip_of_audio};

/// Clips that are analysed at once; a further one waits, so that labels keep the processor.
const MAX_ANALYSES: usize = 2;
/// How long the decoding of a clip may take; the longest takes some seconds.
const MAX_DECODING: Duration = Duration::from_secs(30);

/// What the server needs to know people.
#[derive(Debug)]
pub struct Voices {
    pub(super) registry: Arc<Registry>,
    pub(super) embedder: Arc<Embedder>,
    max_clip_bytes: usize,
    analyses: Arc<Semaphore>,
}

impl Voices {
    /// The people of `registry`; `embedder` processes clips of at most `max_clip_bytes`.
    #[must_use]
    pub fn new(registry: Arc<Registry>, embedder: Arc<Embedder>, max_clip_bytes: usize) -> Self {
        Self { registry, embedder, max_clip_bytes, analyses: Arc::new(Semaphore::new(MAX_ANALYSES)) }
    }

    /// Largest clip, in bytes.
    #[must_use]
    pub fn max_clip_bytes(&self) -> usize {
        self.max_clip_bytes
    }

    /// Work that waits for the disk or the network, away from the sockets' threads.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let voices = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&voices)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a request about voices panicked");
                Err(Fault(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    ErrorCode::Internal,
                    "the server failed".to_owned(),
                ))
            }
        }
    }

    pub(super) async fn clip(self: &Arc<Self>, audio: Upload, rules: ClipRules) -> Result<Clip, Fault> {
        let patience = Patience::within(MAX_DECODING);
        // A client that hangs up drops this future, and with it the wish to have the clip decoded.
        let _asked = patience.until_dropped();
        self.analyse(move |embedder| {
            let upload = audio;
            let opening = Opening { patience, ..Opening::default() };
            let opened = opening.memory("the clip", upload.bytes.clone()).map_err(ClipError::from)?;
            Ok(clip_of_audio(embedder, opened, ChannelSelect::Mix, &rules, |_| {})?)
        })
        .await
    }

    /// Work with the voice model, when its turn has come.
    pub(super) async fn analyse<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Embedder) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = Arc::clone(&self.analyses).acquire_owned().await.expect("nobody closes this semaphore");
        self.run(move |voices| {
            // The turn is over when the work is, whether anybody still waits for it or not.
            let _turn = turn;
            work(&voices.embedder)
        })
        .await
    }
}
