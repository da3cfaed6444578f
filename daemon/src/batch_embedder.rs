//! Embeddings of whole utterances and of sliding windows, with the front end that the model's card describes.

use std::sync::Arc;

use diarized_dsp::log_mel::{Layout, LogMel, subtract_mean, to_mel_major};
use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex, SampleRange};
use diarized_models::{EmbedError, Embedder, Embedding};

/// Longest utterance that is embedded as one, in samples: the network's memory grows with it.
const MAX_UTTERANCE_SAMPLES: usize = 600 * SAMPLE_RATE_HZ as usize;

/// Why an utterance got no embedding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The utterance holds not one analysis frame or not one window.
    #[error("too short ({got} samples at 16 kHz): at least {expected} are needed")]
    TooShort {
        /// Samples needed at least.
        expected: usize,
        /// Samples there are.
        got: usize,
    },
    /// The utterance is too long to be embedded as one.
    #[error("too long for one embedding ({:.0} s, at most {} s): take windows", SampleIndex(*got as u64).seconds(),
        MAX_UTTERANCE_SAMPLES / SAMPLE_RATE_HZ as usize)]
    TooLong {
        /// Samples there are.
        got: usize,
    },
    /// The network refused it.
    #[error(transparent)]
    Embed(#[from] EmbedError),
}

/// Embeds one utterance after the other. One thread; make one a thread, they share the model.
///
/// The features of an utterance are computed over all of it, with the framing of the card at its ends; means are
/// taken over the utterance, or over each window as for live audio.
#[derive(Debug)]
pub struct BatchEmbedder {
    embedder: Arc<Embedder>,
    mel: LogMel,
    rows: Vec<f32>,
    features: Vec<f32>,
}

impl BatchEmbedder {
    /// An embedder with the model's front end. Computes tables: allocates, takes up to milliseconds.
    #[must_use]
    pub fn new(embedder: Arc<Embedder>) -> Self {
        let mel = LogMel::new(embedder.card().front_end);
        Self { embedder, mel, rows: Vec::new(), features: Vec::new() }
    }

    /// The embedding of all of `samples`, mono at 16 kHz.
    ///
    /// # Errors
    /// [`BatchError`]; the embedder stays usable.
    pub fn whole(&mut self, samples: &[f32]) -> Result<Embedding, BatchError> {
        if samples.len() > MAX_UTTERANCE_SAMPLES {
            return Err(BatchError::TooLong { got: samples.len() });
        }
        let n_frames = self.compute_rows(samples);
        if n_frames == 0 {
            return Err(BatchError::TooShort { expected: self.n_samples(1), got: samples.len() });
        }
        self.embed_rows(0, n_frames)
    }

    /// The embeddings of windows of `window_frames` every `step_frames` (frames of 10 ms, at least 1), each with the
    /// samples that its frames begin in. What is left after the last whole window is left out.
    ///
    /// # Errors
    /// [`BatchError`] for the first window that fails, or [`BatchError::TooShort`] if there is none.
    pub fn windows(
        &mut self,
        samples: &[f32],
        window_frames: usize,
        step_frames: usize,
    ) -> Result<Vec<(SampleRange, Embedding)>, BatchError> {
        let n_frames = self.compute_rows(samples);
        let hop = self.mel.params().hop_samples();
        if n_frames < window_frames {
            return Err(BatchError::TooShort { expected: self.n_samples(window_frames), got: samples.len() });
        }
        let starts = (0..=n_frames - window_frames).step_by(step_frames.max(1));
        let window = |start: usize| {
            let range =
                SampleRange::with_len(SampleIndex((start * hop) as u64), (window_frames * hop) as u64);
            Ok((range, self.embed_rows(start, window_frames)?))
        };
        starts.map(window).collect()
    }

    /// Samples that `n_frames` need.
    fn n_samples(&self, n_frames: usize) -> usize {
        usize::try_from(self.mel.params().n_samples(n_frames as u64)).unwrap_or(usize::MAX)
    }

    fn compute_rows(&mut self, samples: &[f32]) -> usize {
        self.rows.clear();
        self.mel.transform(samples, &mut self.rows)
    }

    fn embed_rows(&mut self, first: usize, n_frames: usize) -> Result<Embedding, BatchError> {
        let card = self.embedder.card();
        let n_mels = card.front_end.n_mels();
        self.features.clear();
        let rows = &self.rows[first * n_mels..(first + n_frames) * n_mels];
        to_mel_major(rows, n_mels, &mut self.features).expect("whole rows were taken");
        subtract_mean(&mut self.features, n_mels, Layout::MelMajor, card.mean_normalisation)
            .expect("whole rows were taken");
        Ok(self.embedder.embed(&self.features, n_frames)?)
    }
}
