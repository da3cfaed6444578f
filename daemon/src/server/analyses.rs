//! Analyses of clips: work with the networks, of a limited number of clips at once, away from the threads of sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::upload::Upload;
use crate::audio_file::{Opening, Patience};
use crate::protocol::ErrorCode;

/// Clips that are analysed at once; a further one waits, so that labels keep the processor.
const MAX_AT_ONCE: usize = 2;
/// How long the decoding of a clip may take; the longest takes some seconds.
const MAX_DECODING: Duration = Duration::from_secs(30);

/// The turns of a server. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Analyses {
    turns: Arc<Semaphore>,
}

impl Default for Analyses {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }
}

impl Analyses {
    /// Work with a network, when its turn has come.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("the semaphore is never closed");
        blocking(move || {
            // The turn is over when the work is, whether its client still waits or not.
            let _turn = turn;
            work()
        })
        .await
    }

    /// The same for an uploaded clip. The work opens it with this `Opening`, which ends the decoding in time.
    pub(super) async fn of_clip<T: Send + 'static>(
        &self,
        clip: Upload,
        work: impl FnOnce(&Upload, Opening) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let patience = Patience::within(MAX_DECODING);
        // A client that hangs up drops this future, and with it the wish to have the clip decoded.
        let _asked = patience.until_dropped();
        self.run(move || work(&clip, Opening { patience, ..Opening::default() })).await
    }
}

/// Work that waits for the disk or the network, or takes long, away from the threads of sockets.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            Err(Fault(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, "the server failed".to_owned()))
        }
    }
}
