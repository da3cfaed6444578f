//! The checked configuration of all sections.

use crate::fault::Warning;
use crate::origin::{Origin, Setting};
use crate::reader::Reader;
use crate::sections::{
    AudioConfig, CaptureConfig, DiarizationConfig, InferenceConfig, LogConfig, ModelConfig, ServerConfig,
    StorageConfig,
};
use crate::voices::VoicesConfig;

/// The checked configuration: plain values that keep every rule.
///
/// `audio`, `model`, `diarization` and `voices` change what is said; `inference` only how fast, unless the machine is
/// too slow; the others neither.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The port that clients and subscribers use.
    pub server: ServerConfig,
    /// The microphone of `diarized serve`.
    pub capture: CaptureConfig,
    /// How files and streams become the mono signal.
    pub audio: AudioConfig,
    /// The network.
    pub model: ModelConfig,
    /// What is said and when.
    pub diarization: DiarizationConfig,
    /// Who is known by their voice.
    pub voices: VoicesConfig,
    /// How fast.
    pub inference: InferenceConfig,
    /// What is kept of sessions.
    pub storage: StorageConfig,
    /// What is written on stderr.
    pub log: LogConfig,
}

impl Config {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            server: ServerConfig::read(r),
            capture: CaptureConfig::read(r),
            audio: AudioConfig::read(r),
            model: ModelConfig::read(r),
            diarization: DiarizationConfig::read(r),
            voices: VoicesConfig::read(r),
            inference: InferenceConfig::read(r),
            storage: StorageConfig::read(r),
            log: LogConfig::read(r),
        }
    }
}

/// A checked configuration together with where each value came from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its effective value and origin, in the order of the example.
    pub settings: Vec<Setting>,
    /// What should be told but does not stop the start.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// The effective configuration as TOML that loads to the same values, with the origin of each as a comment.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in &self.settings {
            let (of, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if of != section {
                let blank = if section.is_empty() { "" } else { "\n" };
                out.push_str(&format!("{blank}[{of}]\n"));
                section = of;
            }
            let assignment = format!("{key} = {}", setting.value);
            out.push_str(&format!("{assignment:<44} # {}\n", one_line(&setting.origin)));
        }
        out
    }
}

/// The origin without control characters, which a file's name may hold and a TOML comment may not.
fn one_line(origin: &Origin) -> String {
    origin.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
