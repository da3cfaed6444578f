//! `model.toml` of a segmentation model, and its files.

use std::path::{Path, PathBuf};

use diarized_dsp::log_mel::LogMelFaults;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::embedding::EmbeddingError;

const SCHEMA: u32 = 1;
const KIND: &str = "segmentation";

/// A segmentation model that cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentationError {
    /// A file of the model cannot be read.
    #[error("cannot read {}: {source}; a segmentation model's folder holds model.toml, encoder.onnx and decoder.onnx", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The card is not of the expected layout.
    #[error(
        "model.toml is not the card of a segmentation model (`diarized_train import segmentation` makes one): {0}"
    )]
    Card(String),
    /// A value of the card is out of its range.
    #[error("model.toml {key} ({got}) must be {rule}")]
    Value {
        /// The key.
        key: &'static str,
        /// Value in the file.
        got: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The weights are not the ones that the card describes.
    #[error("{file} is damaged or another model's: its sha256 is {got}, model.toml says {expected}")]
    Checksum {
        /// The file.
        file: &'static str,
        /// Digest in the card.
        expected: String,
        /// Digest of the file.
        got: String,
    },
    /// tract cannot read or prepare a network.
    #[error("{file} cannot be {stage}: {reason}")]
    Network {
        /// The file.
        file: &'static str,
        /// What failed.
        stage: &'static str,
        /// tract's words.
        reason: String,
    },
    /// The number of mel bands makes no front end.
    #[error("model.toml n_mels: {0}")]
    FrontEnd(#[from] LogMelFaults),
    /// A chunk could not be run.
    #[error("the segmentation network failed: {0}")]
    Run(String),
    /// A segment's embedding has no direction.
    #[error("a segment has no embedding: {0}")]
    NoDirection(#[from] EmbeddingError),
}

/// Sizes of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) n_mels: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
    pub(super) state: usize,
    pub(super) n_audio_ctx: usize,
    pub(super) n_text_ctx: usize,
    pub(super) n_timestamps: usize,
    pub(super) n_speakers: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) encoder_sha256: String,
    pub(super) decoder_sha256: String,
    pub(super) same_speaker_cosine: f32,
    pub(super) shape: Shape,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCard {
    schema: u32,
    kind: String,
    name: String,
    #[expect(dead_code, reason = "for people who read the file")]
    version: String,
    #[expect(dead_code, reason = "for people who read the file")]
    architecture: String,
    #[expect(dead_code, reason = "for people who read the file")]
    licence: String,
    encoder_sha256: String,
    decoder_sha256: String,
    n_mels: usize,
    n_layers: usize,
    n_heads: usize,
    state: usize,
    n_audio_ctx: usize,
    n_text_ctx: usize,
    n_timestamps: usize,
    n_speakers: usize,
    same_speaker_cosine: f32,
}

impl Card {
    /// Reads and checks the text of a card.
    pub(super) fn parse(text: &str) -> Result<Self, SegmentationError> {
        let raw: RawCard =
            toml::from_str(text).map_err(|error| SegmentationError::Card(error.to_string()))?;
        let value = |key, got: String, rule| Err(SegmentationError::Value { key, got, rule });
        if raw.schema != SCHEMA {
            return value("schema", raw.schema.to_string(), "1");
        }
        if raw.kind != KIND {
            return value("kind", format!("{:?}", raw.kind), "\"segmentation\"");
        }
        for (key, got, most) in [
            ("n_mels", raw.n_mels, 256),
            ("n_layers", raw.n_layers, 64),
            ("n_heads", raw.n_heads, 64),
            ("state", raw.state, 4096),
            ("n_text_ctx", raw.n_text_ctx, 4096),
            ("n_timestamps", raw.n_timestamps, 30_000),
            ("n_speakers", raw.n_speakers, 1_000_000),
        ] {
            if !(1..=most).contains(&got) {
                return value(key, got.to_string(), "at least 1, and not beyond all measure");
            }
        }
        if !raw.state.is_multiple_of(raw.n_heads) {
            return value("state", raw.state.to_string(), "a multiple of n_heads");
        }
        if raw.n_audio_ctx != 1500 {
            return value("n_audio_ctx", raw.n_audio_ctx.to_string(), "1500 (30 s)");
        }
        if !(-1.0..=1.0).contains(&raw.same_speaker_cosine) {
            return value("same_speaker_cosine", raw.same_speaker_cosine.to_string(), "from -1 to 1");
        }
        Ok(Self {
            name: raw.name,
            encoder_sha256: raw.encoder_sha256.to_ascii_lowercase(),
            decoder_sha256: raw.decoder_sha256.to_ascii_lowercase(),
            same_speaker_cosine: raw.same_speaker_cosine,
            shape: Shape {
                n_mels: raw.n_mels,
                n_layers: raw.n_layers,
                n_heads: raw.n_heads,
                state: raw.state,
                n_audio_ctx: raw.n_audio_ctx,
                n_text_ctx: raw.n_text_ctx,
                n_timestamps: raw.n_timestamps,
                n_speakers: raw.n_speakers,
            },
        })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SegmentationError> {
    std::fs::read(path).map_err(|source| SegmentationError::Read { path: path.to_owned(), source })
}

/// The bytes of a file that has the digest of the card.
pub(super) fn read_checked(
    folder: &Path,
    file: &'static str,
    expected: &str,
) -> Result<Vec<u8>, SegmentationError> {
    let bytes = read(&folder.join(file))?;
    let got = hex::encode(Sha256::digest(&bytes));
    if got == expected {
        Ok(bytes)
    } else {
        Err(SegmentationError::Checksum { file, expected: expected.to_owned(), got })
    }
}
