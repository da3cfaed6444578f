//! The voice model: loads an ONNX network with its card, checks every dimension, and embeds windows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tract_onnx::prelude::*;

use crate::embedding::{Embedding, EmbeddingError};
use crate::inference::Engine;
use crate::inference::plans::{PlanError, Plans};
use crate::inference::{Level, nexttdnn};
use crate::model_card::{CardError, ModelCard};

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ModelSource {
    /// The model inside the binary.
    #[default]
    Builtin,
    /// A folder with `model.onnx` and `model.toml`.
    Folder(PathBuf),
}

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file of the model cannot be read.
    #[error("cannot read {}: {source}; a model folder holds model.onnx, model.toml and, where the card gives plda_dim, plda.f32", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A folder of another kind of model.
    #[error("{} holds a segmentation model (encoder.onnx and decoder.onnx), and a voice model is needed here: model.onnx and \
        model.toml; `diarized label --segmenter` takes the other kind", folder.display())]
    Segmenter {
        /// The folder.
        folder: PathBuf,
    },
    /// The card is wrong.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The weights are not the ones that the card describes.
    #[error("model.onnx is damaged or another model's: its sha256 is {got}, model.toml says {expected}")]
    Checksum {
        /// Digest in the card.
        expected: String,
        /// Digest of the file.
        got: String,
    },
    /// tract cannot read or run the network.
    #[error("the network cannot be {stage} for windows of {}: {reason}", frames(*n_frames))]
    Network {
        /// What failed.
        stage: &'static str,
        /// Window length; 0 stands for any length.
        n_frames: usize,
        /// tract's words.
        reason: String,
    },
    /// The network's output is not an embedding of the promised size.
    #[error("the network gives {got} values, model.toml says embedding_dim = {expected}")]
    Dimension {
        /// Size in the card.
        expected: usize,
        /// Size that the network gave.
        got: usize,
    },
    /// The network's first output is no embedding.
    #[error("the network's answer to the warm-up window is unusable: {0}")]
    WarmUp(#[from] EmbedError),
}

fn frames(n_frames: usize) -> String {
    if n_frames == 0 { "any length".to_owned() } else { format!("{n_frames} frames") }
}

/// A window that could not be embedded. Other windows are not affected, and the same window fails again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The features do not have the shape that the length asks for.
    #[error("features hold {got} values, {n_frames} frames need {expected}")]
    Shape {
        /// `n_mels · n_frames`.
        expected: usize,
        /// Values given.
        got: usize,
        /// Frames given.
        n_frames: usize,
    },
    /// A feature is not finite.
    #[error("feature {index} is not finite")]
    NonFinite {
        /// Position in the features.
        index: usize,
    },
    /// tract failed.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The network's output has no direction.
    #[error(transparent)]
    NoDirection(#[from] EmbeddingError),
}

/// Window that the plan for any length is tried with, in frames: a second.
const ANY_LENGTH_FRAMES: usize = 100;

enum Network {
    /// A graph that was recognised. One serves all lengths.
    Fused(Arc<nexttdnn::Network>),
    Tract(Box<Plans>),
}

/// A loaded voice model. A NeXt-TDNN as the training recipe exports it runs in kernels of this crate, for windows of any
/// length. Every other network runs in tract: with one optimised plan for each window length asked for at load, and one
/// for any length, built at its first use (it takes a quarter to a half longer).
///
/// `Send + Sync`; [`embed`](Self::embed) allocates and takes milliseconds, so call it on a worker thread.
pub struct Embedder {
    card: ModelCard,
    network: Network,
    window_frames: BTreeSet<usize>,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder")
            .field("name", &self.card.name)
            .field("engine", &self.engine())
            .field("n_frames", &self.window_frames)
            .finish_non_exhaustive()
    }
}

impl Embedder {
    /// Loads a model and prepares it for windows of each of `window_frames` frames, each run once; without any, for any
    /// length.
    ///
    /// # Errors
    /// [`LoadError`] names the file, key or dimension that is wrong.
    pub fn load(source: &ModelSource, window_frames: &[usize]) -> Result<Self, LoadError> {
        Self::load_in(Engine::Best, source, window_frames)
    }

    /// Like [`load`](Self::load), in an engine of choice.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_in(engine: Engine, source: &ModelSource, window_frames: &[usize]) -> Result<Self, LoadError> {
        let (onnx, card): (Arc<[u8]>, ModelCard) = match source {
            ModelSource::Builtin => (
                crate::builtin::ONNX.into(),
                ModelCard::parse(crate::builtin::CARD)?.with_plda(crate::builtin::PLDA)?,
            ),
            ModelSource::Folder(folder) => read_folder(folder)?,
        };
        Self::from_parts(engine, &onnx, card, window_frames)
    }

    /// Like [`load_in`](Self::load_in), from the bytes of an ONNX file and a card.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_parts(
        engine: Engine,
        onnx: &[u8],
        card: ModelCard,
        window_frames: &[usize],
    ) -> Result<Self, LoadError> {
        check_digest(onnx, &card)?;
        let failed = |n_frames: usize| {
            move |(stage, reason): PlanError| LoadError::Network { stage, n_frames, reason }
        };
        let n_mels = card.front_end.n_mels();
        let proto = tract_onnx::onnx()
            .proto_model_for_read(&mut &*onnx)
            .map_err(|e| failed(0)(("read", format!("{e:#}"))))?;
        let fused = match engine {
            Engine::Best => nexttdnn::Network::recognise(&proto, Level::new()),
            Engine::Tract => None,
        };
        let network = match fused.filter(|network| network.n_mels() == n_mels) {
            Some(network) => Network::Fused(network),
            None => {
                let mut plans = Plans::new(proto, n_mels);
                for &n_frames in window_frames {
                    plans.prepare(n_frames).map_err(failed(n_frames))?;
                }
                if window_frames.is_empty() {
                    plans.prepare_any_length().map_err(failed(0))?;
                }
                Network::Tract(Box::new(plans))
            }
        };
        let window_frames = window_frames.iter().copied().collect();
        let embedder = Self { card, network, window_frames };
        for &n_frames in &embedder.window_frames {
            embedder.warm_up(n_frames)?;
        }
        if embedder.window_frames.is_empty() {
            // Every dimension is checked at load, whatever lengths come later.
            embedder.warm_up(ANY_LENGTH_FRAMES)?;
        }
        Ok(embedder)
    }

    fn warm_up(&self, n_frames: usize) -> Result<(), LoadError> {
        let n_mels = self.card.front_end.n_mels();
        // Any features that are not constant will do.
        let features: Vec<f32> =
            (0..n_mels * n_frames).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let embedding = self.embed(&features, n_frames)?;
        if embedding.dim() == self.card.embedding_dim {
            Ok(())
        } else {
            Err(LoadError::Dimension { expected: self.card.embedding_dim, got: embedding.dim() })
        }
    }

    /// What is known of the model.
    #[must_use]
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// What runs the model: [`Engine::Best`] stands for this crate's kernels.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.network {
            Network::Fused(_) => Engine::Best,
            Network::Tract(_) => Engine::Tract,
        }
    }

    /// Window lengths that were asked for at load, in frames, ascending.
    pub fn window_frames(&self) -> impl Iterator<Item = usize> + '_ {
        self.window_frames.iter().copied()
    }

    /// Embeds one window. `features` has shape `(n_mels, n_frames)`, row-major, already mean-normalised as the
    /// card says.
    ///
    /// # Errors
    /// [`EmbedError`]; the model stays usable.
    pub fn embed(&self, features: &[f32], n_frames: usize) -> Result<Embedding, EmbedError> {
        let n_mels = self.card.front_end.n_mels();
        if features.len() != n_mels * n_frames || n_frames == 0 {
            return Err(EmbedError::Shape { expected: n_mels * n_frames, got: features.len(), n_frames });
        }
        if let Some(index) = features.iter().position(|v| !v.is_finite()) {
            return Err(EmbedError::NonFinite { index });
        }
        let values = match &self.network {
            Network::Fused(network) if n_frames < network.least_frames() => Err(format!(
                "a window of {n_frames} frames is too short: this network needs {}",
                network.least_frames()
            )),
            Network::Fused(network) => Ok(network.run(features, n_frames)),
            Network::Tract(plans) => plans.run(features, n_frames),
        };
        let values = values.map_err(EmbedError::Inference)?;
        Ok(Embedding::from_raw(&values)?)
    }
}

/// Reads the card of a folder and holds its files against it, without making the network.
///
/// # Errors
/// [`LoadError`], but for what only the network itself shows.
pub fn check_folder(folder: &Path) -> Result<ModelCard, LoadError> {
    let (onnx, card) = read_folder(folder)?;
    check_digest(&onnx, &card)?;
    Ok(card)
}

fn read_folder(folder: &Path) -> Result<(Arc<[u8]>, ModelCard), LoadError> {
    let weights = folder.join("model.onnx");
    if !weights.exists() && folder.join("encoder.onnx").exists() {
        return Err(LoadError::Segmenter { folder: folder.to_owned() });
    }
    let onnx = read(&weights)?;
    let card = String::from_utf8_lossy(&read(&folder.join("model.toml"))?).into_owned();
    let card = ModelCard::parse(&card)?;
    let card = match card.plda_dim {
        Some(_) => card.with_plda(&read(&folder.join("plda.f32"))?)?,
        None => card,
    };
    Ok((onnx.into(), card))
}

fn check_digest(onnx: &[u8], card: &ModelCard) -> Result<(), LoadError> {
    let got = hex::encode(Sha256::digest(onnx));
    if got == card.onnx_sha256 {
        Ok(())
    } else {
        Err(LoadError::Checksum { expected: card.onnx_sha256.clone(), got })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}
