//! The voice activity network: for every 10 ms whether somebody speaks, whether two do, and how clearly.
//!
//! A causal stack of dilated convolutions, run in chunks of 100 ms; each layer remembers what it needs of the past, so
//! every frame is computed once. The network in the binary runs in this crate's kernels, any other one in tract. Made by
//! `training/diarized_train/segmenter.py`.

use std::sync::{Arc, OnceLock};

use diarized_dsp::log_mel::{LogMelParams, LogMelRecipe};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use crate::inference::Engine;
use crate::inference::Level;
use crate::inference::tcn::{Network, State};
use crate::operators;

/// A segmenter that cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmenterError {
    /// The card is not of the expected layout.
    #[error("the segmenter's model.toml is not of the expected layout: {0}")]
    Card(String),
    /// The weights are not the ones that the card describes.
    #[error("the segmenter's model.onnx has sha256 {got}, its model.toml says {expected}")]
    Checksum {
        /// Digest in the card.
        expected: String,
        /// Digest of the file.
        got: String,
    },
    /// tract cannot read or run the network.
    #[error("the segmenter cannot be run: {0}")]
    Network(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    schema: u32,
    name: String,
    #[expect(dead_code, reason = "for people who read the file")]
    version: String,
    #[expect(dead_code, reason = "for people who read the file")]
    licence: String,
    onnx_sha256: String,
    n_mels: usize,
    channels: usize,
    /// Frames of each layer's cache.
    caches: Vec<usize>,
    chunk_frames: usize,
    delay_frames: usize,
    overlap_delay_frames: usize,
}

/// Scores of one frame of 10 ms, without overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameScores {
    /// Log odds that somebody speaks.
    pub speech: f32,
    /// Signal-to-noise ratio in dB; means something where somebody speaks.
    pub snr_db: f32,
    /// Clarity: early against late reflections at 50 ms, in dB; means something where somebody speaks.
    pub c50_db: f32,
}

/// What came out of a stream: one value for each frame from the stream's first, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// By [`Segmenter::delay_frames`] behind the rows.
    pub frames: Vec<FrameScores>,
    /// Log odds that two or more speak, by [`Segmenter::overlap_delay_frames`] behind the rows: it takes longer to
    /// tell.
    pub overlap: Vec<f32>,
}

impl Scores {
    /// Forgets everything; the memory stays.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.overlap.clear();
    }
}

/// Values of a frame's output.
const N_OUTPUTS: usize = 4;

/// The loaded network. `Send + Sync`; one serves all streams.
pub struct Segmenter {
    card: Card,
    runner: Runner,
}

/// What computes the scores.
enum Runner {
    Kernels(Box<Network>),
    Tract(Arc<TypedRunnableModel>),
}

/// What a stream keeps between chunks.
#[derive(Debug)]
enum Memory {
    Kernels(State),
    Tract(TypedSimpleState),
}

impl std::fmt::Debug for Segmenter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segmenter").field("name", &self.card.name).finish_non_exhaustive()
    }
}

impl Segmenter {
    /// The network inside the binary, loaded at the first call (some tens of milliseconds).
    ///
    /// # Errors
    /// [`SegmenterError`], the same at every call; a test of this crate holds that there is none.
    pub fn builtin() -> Result<Arc<Self>, SegmenterError> {
        static LOADED: OnceLock<Result<Arc<Segmenter>, SegmenterError>> = OnceLock::new();
        LOADED.get_or_init(|| Self::builtin_in(Engine::Best).map(Arc::new)).clone()
    }

    /// The network inside the binary, loaded again for this engine; for measurements.
    ///
    /// # Errors
    /// [`SegmenterError`].
    pub fn builtin_in(engine: Engine) -> Result<Self, SegmenterError> {
        Self::from_parts(engine, crate::builtin::SEGMENTER_ONNX, crate::builtin::SEGMENTER_CARD)
    }

    fn from_parts(engine: Engine, onnx: &[u8], card: &str) -> Result<Self, SegmenterError> {
        let card: Card = toml::from_str(card).map_err(|e| SegmenterError::Card(e.to_string()))?;
        let fits = card.schema == 1
            && card.chunk_frames > 0
            && card.n_mels == front_end().n_mels()
            && card.overlap_delay_frames >= card.delay_frames;
        if !fits {
            let rules = "schema must be 1, chunk_frames above 0, n_mels that of the front end, overlap_delay_frames \
                         at least delay_frames";
            return Err(SegmenterError::Card(rules.to_owned()));
        }
        let digest = hex::encode(Sha256::digest(onnx));
        if digest != card.onnx_sha256 {
            return Err(SegmenterError::Checksum { expected: card.onnx_sha256, got: digest });
        }
        let runner = build(engine, onnx, &card).map_err(|e| SegmenterError::Network(format!("{e:#}")))?;
        Ok(Self { card, runner })
    }

    /// Mel bands of a row.
    #[must_use]
    pub fn n_mels(&self) -> usize {
        self.card.n_mels
    }

    /// Rows that are taken at once.
    #[must_use]
    pub fn chunk_frames(&self) -> usize {
        self.card.chunk_frames
    }

    /// By how many frames the scores lie behind the rows.
    #[must_use]
    pub fn delay_frames(&self) -> usize {
        self.card.delay_frames
    }

    /// The same for overlap.
    #[must_use]
    pub fn overlap_delay_frames(&self) -> usize {
        self.card.overlap_delay_frames
    }

    /// A stream at its start.
    #[must_use]
    pub fn stream(self: &Arc<Self>) -> SegmenterStream {
        SegmenterStream { memory: None, segmenter: Arc::clone(self), rows: Vec::new(), n_pushed: 0 }
    }

    /// The network at the start of a stream.
    fn memory(&self) -> TractResult<Memory> {
        Ok(match &self.runner {
            Runner::Kernels(network) => Memory::Kernels(network.stream(self.card.chunk_frames)),
            Runner::Tract(plan) => Memory::Tract(plan.spawn()?),
        })
    }
}

fn build(engine: Engine, onnx: &[u8], card: &Card) -> TractResult<Runner> {
    let proto = tract_onnx::onnx().proto_model_for_read(&mut &*onnx)?;
    if engine == Engine::Best
        && let Some(network) = Network::recognise(&proto, Level::new())
        && network.shape() == (card.n_mels, card.channels, N_OUTPUTS)
        && network.reaches().eq(card.caches.iter().copied())
    {
        return Ok(Runner::Kernels(Box::new(network)));
    }
    build_in_tract(&proto, card).map(Runner::Tract)
}

fn build_in_tract(proto: &ModelProto, card: &Card) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = tract_onnx::onnx()
        .model_for_proto_model(proto)?
        .with_input_fact(0, f32::fact([1, card.n_mels, card.chunk_frames]).into())?;
    for (i, n) in card.caches.iter().enumerate() {
        model = model.with_input_fact(1 + i, f32::fact([1, card.channels, *n]).into())?;
    }
    operators::optimise_stream(model.into_typed()?)?.into_runnable()
}

/// The log-mel recipe of the rows: 80 bands of 16-bit samples, frames of 25 ms every 10 ms, nothing subtracted.
///
/// # Panics
/// Never: the recipe is valid.
#[must_use]
pub fn front_end() -> LogMelParams {
    LogMelParams::try_new(LogMelRecipe::default()).expect("the recipe is valid")
}

/// One stream through the network. Memory: what the layers remember, about 400 kB from the first rows to the end of the
/// stream, or 800 kB in tract.
#[derive(Debug)]
pub struct SegmenterStream {
    segmenter: Arc<Segmenter>,
    /// None at the start of a stream.
    memory: Option<Memory>,
    rows: Vec<f32>,
    n_pushed: u64,
}

impl SegmenterStream {
    /// Takes frame-major rows and appends the scores that they complete. Rows wait until there is a chunk of them. A
    /// chunk that tract refuses gives no speech.
    pub fn push(&mut self, rows: &[f32], out: &mut Scores) {
        self.rows.extend_from_slice(rows);
        let Segmenter { card, .. } = &*self.segmenter;
        let (n_mels, chunk) = (card.n_mels, card.chunk_frames);
        let (delay, overlap_delay) = (card.delay_frames as u64, card.overlap_delay_frames as u64);
        let mut used = 0;
        while self.rows.len() - used >= chunk * n_mels {
            let scores = self.run(used).unwrap_or_else(|_| vec![(SILENT, NO_OVERLAP); chunk]);
            used += chunk * n_mels;
            for (frame, overlap) in scores {
                if self.n_pushed >= delay {
                    out.frames.push(frame);
                }
                if self.n_pushed >= overlap_delay {
                    out.overlap.push(overlap);
                }
                self.n_pushed += 1;
            }
        }
        self.rows.drain(..used);
    }

    /// Rows that must be pushed before the scores of the first `n` frames come.
    #[must_use]
    pub fn known_after(&self, n: u64) -> u64 {
        let chunk = self.segmenter.card.chunk_frames as u64;
        (n + self.segmenter.card.delay_frames as u64).div_ceil(chunk) * chunk
    }

    /// By how many frames the scores lie behind the rows, overlap aside.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.segmenter.card.delay_frames as u64
    }

    /// By how many frames overlap lags behind the other scores.
    #[must_use]
    pub fn overlap_lag(&self) -> u64 {
        (self.segmenter.card.overlap_delay_frames - self.segmenter.card.delay_frames) as u64
    }

    /// The stream ends: appends the scores that are still due, as if the last row went on, and restarts.
    pub fn finish(&mut self, out: &mut Scores) {
        let card = &self.segmenter.card;
        let n_mels = card.n_mels;
        let n_waiting = self.rows.len() / n_mels;
        let due = |delay: usize| self.n_pushed.min(delay as u64) as usize + n_waiting;
        let n_frames = out.frames.len() + due(card.delay_frames);
        let n_overlap = out.overlap.len() + due(card.overlap_delay_frames);
        let last: Vec<f32> = match self.rows.len().checked_sub(n_mels) {
            Some(at) => self.rows[at..].to_vec(),
            None => vec![SILENT_ROW; n_mels],
        };
        while out.frames.len() < n_frames || out.overlap.len() < n_overlap {
            self.push(&last, out);
        }
        out.frames.truncate(n_frames);
        out.overlap.truncate(n_overlap);
        self.reset();
    }

    /// Goes back to the start of a stream.
    pub fn reset(&mut self) {
        self.memory = None;
        self.rows.clear();
        self.n_pushed = 0;
    }

    /// Scores of the chunk that begins at value `at` of the waiting rows.
    fn run(&mut self, at: usize) -> TractResult<Vec<(FrameScores, f32)>> {
        let (n_mels, chunk) = (self.segmenter.card.n_mels, self.segmenter.card.chunk_frames);
        let rows = &self.rows[at..][..n_mels * chunk];
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => self.segmenter.memory()?,
        };
        match (&self.segmenter.runner, self.memory.insert(memory)) {
            (Runner::Kernels(network), Memory::Kernels(state)) => {
                let outputs = network.run(rows, state);
                Ok((0..chunk).map(|t| scores(|row| outputs.at(t, 0, N_OUTPUTS)[row])).collect())
            }
            (_, Memory::Tract(state)) => {
                let features: Vec<f32> =
                    (0..n_mels * chunk).map(|idx| rows[idx % chunk * n_mels + idx / chunk]).collect();
                let outputs = state.run(tvec!(Tensor::from_shape(&[1, n_mels, chunk], &features)?.into()))?;
                let view = outputs[0].to_plain_array_view::<f32>()?;
                Ok((0..chunk).map(|t| scores(|row| view[[0, row, t]])).collect())
            }
            (Runner::Tract(_), Memory::Kernels(_)) => Err(TractError::msg("the memory is another network's")),
        }
    }
}

/// Scores and overlap of a frame out of the values of its output.
fn scores(value: impl Fn(usize) -> f32) -> (FrameScores, f32) {
    let [speech, overlap, snr_db, c50_db] = [0, 1, 2, 3].map(value);
    (FrameScores { speech, snr_db, c50_db }, overlap)
}

/// Scores of a frame that the network did not see.
pub(crate) const SILENT: FrameScores = FrameScores { speech: -10.0, snr_db: 0.0, c50_db: 0.0 };
const NO_OVERLAP: f32 = -10.0;
/// A log-mel value of near silence.
const SILENT_ROW: f32 = 0.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        features: Vec<f32>,
        scores: Vec<f32>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../zoo/segmenter-tcn96/golden.json")).unwrap()
    }

    #[test]
    fn agrees_with_onnxruntime() {
        for engine in [Engine::Best, Engine::Tract] {
            assert_agrees_with_onnxruntime(&Arc::new(Segmenter::builtin_in(engine).unwrap()));
        }
    }

    fn assert_agrees_with_onnxruntime(segmenter: &Arc<Segmenter>) {
        let golden = golden();
        let (mut stream, mut got) = (segmenter.stream(), Scores::default());
        stream.push(&golden.features, &mut got);
        let n_frames = golden.scores.len() / 4;
        assert_eq!(got.frames.len(), n_frames - segmenter.delay_frames());
        assert_eq!(got.overlap.len(), n_frames - segmenter.overlap_delay_frames());
        let check = |frame: usize, row: usize, got: f32| {
            let expected = golden.scores[frame * 4 + row];
            assert!((got - expected).abs() < 1e-3, "frame {frame}, row {row}: {got} {expected}");
        };
        for (i, scores) in got.frames.iter().enumerate() {
            let frame = i + segmenter.delay_frames();
            check(frame, 0, scores.speech);
            check(frame, 2, scores.snr_db);
            check(frame, 3, scores.c50_db);
        }
        for (i, overlap) in got.overlap.iter().enumerate() {
            check(i + segmenter.overlap_delay_frames(), 1, *overlap);
        }
    }

    #[test]
    fn cutting_changes_nothing_and_every_frame_gets_its_scores() {
        let rows = golden().features;
        let segmenter = Segmenter::builtin().unwrap();
        let n_rows = 2 * (rows.len() / 80) - 3;
        let rows = [rows.as_slice(), &rows].concat();
        let whole = {
            let (mut stream, mut out) = (segmenter.stream(), Scores::default());
            stream.push(&rows[..n_rows * 80], &mut out);
            stream.finish(&mut out);
            out
        };
        assert_eq!((whole.frames.len(), whole.overlap.len()), (n_rows, n_rows));
        let (mut stream, mut out) = (segmenter.stream(), Scores::default());
        for _ in 0..2 {
            out.clear();
            for part in rows[..n_rows * 80].chunks(3 * 80) {
                stream.push(part, &mut out);
            }
            stream.finish(&mut out);
            assert_eq!(out, whole, "a finished stream starts anew");
        }
    }

    #[test]
    fn other_weights_are_refused() {
        let error =
            Segmenter::from_parts(Engine::Best, b"other", crate::builtin::SEGMENTER_CARD).unwrap_err();
        assert!(matches!(error, SegmenterError::Checksum { .. }));
    }
}
