//! The known people of a server, and the analysis of clips.

use std::sync::Arc;

use diarized_dsp::ChannelSelect;
use diarized_models::Embedder;
use diarized_models::voiceprint::{Clip, ClipRules};

use super::analyses::{Analyses, blocking};
use super::fault::Fault;
use super::upload::Upload;
use crate::voices::{ClipError, Registry, clip_of_audio};

/// What the server needs to know people.
#[derive(Debug)]
pub struct Voices {
    pub(super) registry: Arc<Registry>,
    pub(super) embedder: Arc<Embedder>,
    analyses: Analyses,
}

impl Voices {
    /// The people of `registry`; `embedder` processes clips.
    #[must_use]
    pub fn new(registry: Arc<Registry>, embedder: Arc<Embedder>) -> Self {
        Self { registry, embedder, analyses: Analyses::default() }
    }

    /// The same, in turn with the other analyses of the server.
    pub(super) fn sharing(self, analyses: &Analyses) -> Self {
        Self { analyses: analyses.clone(), ..self }
    }

    /// Work that waits for the disk or the network, away from the sockets' threads.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let voices = Arc::clone(self);
        blocking(move || work(&voices)).await
    }

    pub(super) async fn clip(self: &Arc<Self>, audio: Upload, rules: ClipRules) -> Result<Clip, Fault> {
        let embedder = Arc::clone(&self.embedder);
        self.analyses
            .of_clip(audio, move |upload, opening| {
                let opened = opening.memory("the clip", upload.bytes.clone()).map_err(ClipError::from)?;
                Ok(clip_of_audio(&embedder, opened, ChannelSelect::Mix, &rules, |_| {})?)
            })
            .await
    }

    /// Work with the voice model, when its turn has come.
    pub(super) async fn analyse<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Embedder) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let embedder = Arc::clone(&self.embedder);
        self.analyses.run(move || work(&embedder)).await
    }
}
