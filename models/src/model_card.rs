//! `model.toml`: what a voice model expects and promises, as data beside its weights.

use std::collections::BTreeMap;

use diarized_dsp::log_mel::{
    Framing, LogMelFaults, LogMelParams, LogMelRecipe, MeanNormalisation, MelTriangles, PreEmphasisAt,
    Spectrum, Window, WindowPosition,
};
use serde::Deserialize;

use crate::calibration::{Calibration, PrintCalibration, PrintCalibrations};
use crate::plda::{Plda, PldaError};

/// The version of the `model.toml` layout that this code reads.
pub const SCHEMA: u32 = 1;

/// A `model.toml` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The text is not TOML of the expected layout.
    #[error("model.toml is not of the expected layout: {0}")]
    Layout(#[from] toml::de::Error),
    /// The layout is of another version.
    #[error("model.toml has schema {got}, this build reads schema {expected}")]
    Schema {
        /// Version that this code reads.
        expected: u32,
        /// Version of the file.
        got: u32,
    },
    /// The front end cannot be built.
    #[error("model.toml [front_end]: {0}")]
    FrontEnd(#[from] LogMelFaults),
    /// The matrices beside the weights do not fit.
    #[error(transparent)]
    Plda(#[from] PldaError),
    /// A value is out of its range.
    #[error("model.toml {key} ({got}) must be {rule}")]
    Value {
        /// Key path.
        key: &'static str,
        /// Value in the file.
        got: String,
        /// What it must be.
        rule: &'static str,
    },
}

/// What is known of a voice model besides its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    /// Name of the model, as in its folder.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// Architecture in words.
    pub architecture: String,
    /// SPDX licence of the weights.
    pub licence: String,
    /// SHA-256 of `model.onnx` in lower-case hexadecimal.
    pub onnx_sha256: String,
    /// Number of values of an embedding.
    pub embedding_dim: usize,
    /// Window lengths that the calibration covers, in milliseconds, ascending.
    pub window_ms: Vec<u32>,
    /// Log-mel recipe.
    pub front_end: LogMelParams,
    /// What is subtracted from each window's features.
    pub mean_normalisation: MeanNormalisation,
    /// Maps from cosine to evidence, by window length, ascending; at least one.
    pub calibrations: Vec<Calibration>,
    /// Coordinates of `plda.f32` beside the weights, if the model brings one.
    pub plda_dim: Option<usize>,
    /// How its embeddings scatter: isotropic until [`with_plda`](Self::with_plda).
    pub plda: Plda,
    /// Maps from cosine to evidence for voiceprints, by the lengths of both sides; where the card has none, the
    /// longest window's for all lengths.
    pub print_calibrations: PrintCalibrations,
    /// Origin of the weights, free text by key.
    pub provenance: BTreeMap<String, String>,
}

impl ModelCard {
    /// Takes the contents of the `plda.f32` that goes with a [`plda_dim`](Self::plda_dim); without one, nothing
    /// happens.
    ///
    /// # Errors
    /// [`CardError::Plda`].
    pub fn with_plda(mut self, bytes: &[u8]) -> Result<Self, CardError> {
        if let Some(dim) = self.plda_dim {
            self.plda = Plda::from_bytes(bytes, self.embedding_dim, dim)?;
        }
        Ok(self)
    }

    /// Reads and checks the text of a `model.toml`.
    ///
    /// # Errors
    /// [`CardError`] names the key, the value and the rule.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        let raw: RawCard = toml::from_str(text)?;
        if raw.schema != SCHEMA {
            return Err(CardError::Schema { expected: SCHEMA, got: raw.schema });
        }
        let value = |key, got: String, rule| Err(CardError::Value { key, got, rule });
        if !(1..=4096).contains(&raw.embedding_dim) {
            return value("embedding_dim", raw.embedding_dim.to_string(), "in 1..=4096");
        }
        if raw.onnx_sha256.len() != 64 || !raw.onnx_sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return value("onnx_sha256", raw.onnx_sha256, "64 hexadecimal digits");
        }
        if let Some(dim) = raw.plda_dim.filter(|dim| !(1..=raw.embedding_dim).contains(dim)) {
            return value("plda_dim", dim.to_string(), "in 1..=embedding_dim");
        }
        if raw.window_ms.is_empty() || !raw.window_ms.is_sorted() {
            return value(
                "window_ms",
                format!("{:?}", raw.window_ms),
                "a list of at least one length, ascending",
            );
        }
        let (front_end, mean_normalisation) = raw.front_end.build()?;
        if front_end.hop_samples() != 160 {
            return value("front_end.hop_samples", front_end.hop_samples().to_string(), "160 (10 ms)");
        }
        let mut calibrations = Vec::new();
        for c in &raw.calibration {
            if !(c.scale.is_finite() && c.scale > 0.0 && c.offset.is_finite()) {
                return value("calibration.scale", c.scale.to_string(), "a positive finite number");
            }
            calibrations.push(Calibration { window_ms: c.window_ms, scale: c.scale, offset: c.offset });
        }
        calibrations.sort_by_key(|c| c.window_ms);
        if calibrations.is_empty() {
            return value("calibration", "none".to_owned(), "given for at least one window length");
        }
        let prints: Vec<PrintCalibration> = raw.voiceprint.iter().map(RawPrintCalibration::cell).collect();
        let print_calibrations = match PrintCalibrations::try_new(&prints) {
            Ok(grid) => grid,
            Err(_) if prints.is_empty() => PrintCalibrations::flat(calibrations[calibrations.len() - 1]),
            Err(rule) => return value("voiceprint", format!("{} entries", prints.len()), rule),
        };
        Ok(Self {
            print_calibrations,
            name: raw.name,
            version: raw.version,
            architecture: raw.architecture,
            licence: raw.licence,
            onnx_sha256: raw.onnx_sha256.to_ascii_lowercase(),
            embedding_dim: raw.embedding_dim,
            window_ms: raw.window_ms,
            front_end,
            mean_normalisation,
            calibrations,
            plda_dim: raw.plda_dim,
            plda: Plda::isotropic(raw.embedding_dim),
            provenance: raw.provenance,
        })
    }

    /// The calibration for windows of `window_ms`: interpolated between the two nearest lengths, and the nearest
    /// one's outside the range that was fitted.
    #[must_use]
    pub fn calibration(&self, window_ms: u32) -> Calibration {
        let above = self.calibrations.iter().position(|c| c.window_ms >= window_ms);
        match above {
            None => Calibration { window_ms, ..self.calibrations[self.calibrations.len() - 1] },
            Some(0) => Calibration { window_ms, ..self.calibrations[0] },
            Some(i) => {
                let (low, high) = (self.calibrations[i - 1], self.calibrations[i]);
                let t = (window_ms - low.window_ms) as f32 / (high.window_ms - low.window_ms) as f32;
                Calibration {
                    window_ms,
                    scale: low.scale + t * (high.scale - low.scale),
                    offset: low.offset + t * (high.offset - low.offset),
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCard {
    schema: u32,
    name: String,
    version: String,
    architecture: String,
    licence: String,
    onnx_sha256: String,
    embedding_dim: usize,
    #[serde(default)]
    plda_dim: Option<usize>,
    window_ms: Vec<u32>,
    front_end: RawFrontEnd,
    calibration: Vec<RawCalibration>,
    #[serde(default)]
    voiceprint: Vec<RawPrintCalibration>,
    #[serde(default)]
    provenance: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCalibration {
    window_ms: u32,
    scale: f32,
    offset: f32,
    /// Equal error rate on the validation speakers; for the reader.
    #[serde(default)]
    #[expect(dead_code, reason = "the figure is for people who read the file")]
    eer: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrintCalibration {
    enrol_s: f32,
    test_s: f32,
    scale: f32,
    offset: f32,
}

impl RawPrintCalibration {
    fn cell(&self) -> PrintCalibration {
        let Self { enrol_s, test_s, scale, offset } = *self;
        PrintCalibration { enrol_s, test_s, scale, offset }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFrontEnd {
    sample_rate_hz: u32,
    scale: f32,
    frame_length_samples: usize,
    hop_samples: usize,
    n_fft: usize,
    framing: RawFraming,
    window: RawWindow,
    window_position: RawWindowPosition,
    remove_dc: bool,
    pre_emphasis: f32,
    pre_emphasis_at: RawPreEmphasisAt,
    spectrum: RawSpectrum,
    n_mels: usize,
    low_hz: f32,
    high_hz: f32,
    mel_triangles: RawMelTriangles,
    log: RawLog,
    log_floor: f32,
    log_offset: f32,
    /// Recorded for recipes trained with dither; never added, since results must repeat.
    #[serde(default)]
    #[expect(dead_code, reason = "dither is part of a recipe's record and is not applied")]
    dither: f32,
    mean_normalisation: RawMeanNormalisation,
    #[serde(default)]
    sliding_frames: Option<usize>,
    #[serde(default)]
    clip_range_db: Option<u32>,
}

/// A serde mirror of a `dsp` enum, so that `dsp` stays free of serialisation.
macro_rules! mirror {
    ($raw:ident => $real:ident { $($variant:ident),+ $(,)? }) => {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum $raw { $($variant),+ }

        impl From<$raw> for $real {
            fn from(raw: $raw) -> Self {
                match raw { $($raw::$variant => Self::$variant),+ }
            }
        }
    };
}

mirror!(RawFraming => Framing { SnipEdges, CenterReflect, CenterZero, KaldiMirror });
mirror!(RawWindow => Window { Hamming, HammingPeriodic, Hann, HannPeriodic, Povey, Rectangular });
mirror!(RawWindowPosition => WindowPosition { Left, Center });
mirror!(RawPreEmphasisAt => PreEmphasisAt { Frame, Signal });
mirror!(RawSpectrum => Spectrum { Power, Magnitude });
mirror!(RawMelTriangles => MelTriangles { Mel, Hz, HzEven, Slaney });

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawLog {
    Natural,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawMeanNormalisation {
    None,
    Window,
    Sliding,
    ClippedWindow,
    StandardisedWindow,
}

impl RawFrontEnd {
    fn build(self) -> Result<(LogMelParams, MeanNormalisation), CardError> {
        let RawLog::Natural = self.log;
        let mean = match self.mean_normalisation {
            RawMeanNormalisation::None => MeanNormalisation::None,
            RawMeanNormalisation::Window => MeanNormalisation::Window,
            RawMeanNormalisation::StandardisedWindow => MeanNormalisation::StandardisedWindow,
            RawMeanNormalisation::Sliding => match self.sliding_frames {
                Some(frames) if frames > 0 => MeanNormalisation::Sliding { frames },
                got => {
                    let got = got.map_or("none".to_owned(), |n| n.to_string());
                    let rule = "at least 1 with mean_normalisation = \"sliding\"";
                    return Err(CardError::Value { key: "front_end.sliding_frames", got, rule });
                }
            },
            RawMeanNormalisation::ClippedWindow => match self.clip_range_db {
                Some(range_db) if range_db > 0 => MeanNormalisation::ClippedWindow { range_db },
                got => {
                    let got = got.map_or("none".to_owned(), |n| n.to_string());
                    let rule = "at least 1 with mean_normalisation = \"clipped_window\"";
                    return Err(CardError::Value { key: "front_end.clip_range_db", got, rule });
                }
            },
        };
        let params = LogMelParams::try_new(LogMelRecipe {
            sample_rate_hz: self.sample_rate_hz,
            scale: self.scale,
            frame_length_samples: self.frame_length_samples,
            hop_samples: self.hop_samples,
            n_fft: self.n_fft,
            framing: self.framing.into(),
            window: self.window.into(),
            window_position: self.window_position.into(),
            remove_dc: self.remove_dc,
            pre_emphasis: self.pre_emphasis,
            pre_emphasis_at: self.pre_emphasis_at.into(),
            spectrum: self.spectrum.into(),
            n_mels: self.n_mels,
            low_hz: self.low_hz,
            high_hz: self.high_hz,
            mel_triangles: self.mel_triangles.into(),
            log_floor: self.log_floor,
            log_offset: self.log_offset,
        })?;
        Ok((params, mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The built-in card with other words in it.
    fn card(changes: &[(&str, &str)]) -> Result<ModelCard, CardError> {
        let mut text = crate::builtin::CARD.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "the card holds {from:?}");
            text = text.replace(from, to);
        }
        ModelCard::parse(&text)
    }

    const WINDOW: &str = "mean_normalisation = \"window\"";
    const SLIDING_300: &str = "sliding_frames = 300";

    #[test]
    fn every_normalisation_can_be_stated() {
        let mean = |to: &str| card(&[(WINDOW, to)]).unwrap().mean_normalisation;
        assert_eq!(card(&[]).unwrap().mean_normalisation, MeanNormalisation::Window);
        assert_eq!(mean("mean_normalisation = \"none\""), MeanNormalisation::None);
        assert_eq!(mean("mean_normalisation = \"sliding\""), MeanNormalisation::Sliding { frames: 300 });
        assert_eq!(
            mean("mean_normalisation = \"clipped_window\"\nclip_range_db = 80"),
            MeanNormalisation::ClippedWindow { range_db: 80 }
        );
        assert_eq!(
            mean("mean_normalisation = \"standardised_window\""),
            MeanNormalisation::StandardisedWindow
        );
    }

    #[test]
    fn a_normalisation_without_its_number_is_a_fault() {
        let fault = |changes: &[(&str, &str)]| card(changes).unwrap_err().to_string();
        assert_eq!(
            fault(&[(WINDOW, "mean_normalisation = \"sliding\""), (SLIDING_300, "sliding_frames = 0")]),
            "model.toml front_end.sliding_frames (0) must be at least 1 with mean_normalisation = \"sliding\""
        );
        assert_eq!(
            fault(&[(WINDOW, "mean_normalisation = \"clipped_window\"")]),
            "model.toml front_end.clip_range_db (none) must be at least 1 with mean_normalisation = \
             \"clipped_window\""
        );
    }
}
