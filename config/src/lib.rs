//! What a person writes for `diarized`: TOML, environment and flags, checked once, every fault at once.
//!
//! ```
//! use diarized_config::Sources;
//! use std::path::Path;
//!
//! let loaded = Sources::new()
//!     .file_text(Path::new("diarized.toml"), "[server]\nmax_sessions = 8\n")
//!     .env([("DIARIZED_LOG_LEVEL".into(), "debug".into())])
//!     .flag("--window-ms", "diarization.window_ms", "2000")
//!     .load()
//!     .map_err(|faults| println!("{faults}"));
//! assert_eq!(loaded.unwrap().config.server.max_sessions, 8);
//! ```
//!
//! Nothing but the configuration file is opened here, and nothing below this crate knows TOML. A file is walked
//! by hand rather than through serde, because serde stops at the first fault and loses the line.

mod fault;
mod origin;
mod reader;
mod sections;
mod source;
mod voices;

pub use fault::{ConfigError, Fault, FaultKind, Faults, Warning};
pub use origin::{Origin, Setting, Value};
pub use sections::{
    AudioConfig, CaptureConfig, Channel, DiarizationConfig, InferenceConfig, LogConfig, LogFormat, LogLevel,
    ModelConfig, ServerConfig, StorageConfig, VadMode,
};
pub use source::{CONFIG_VARIABLE, Sources, TOKEN_VARIABLE, VOICES_KEY_VARIABLE};
pub use voices::VoicesConfig;

use reader::Reader;

/// The commented example: every key with its meaning, range and default.
pub const EXAMPLE: &str = include_str!("../diarized.toml");

/// Names of the sections, in the order of the example.
const SECTIONS: [&str; 9] =
    ["server", "capture", "audio", "model", "diarization", "voices", "inference", "storage", "log"];

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
    fn read(r: &mut Reader) -> Self {
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

impl Default for Config {
    fn default() -> Self {
        Sources::new().load().expect("the defaults keep every rule, which a test holds").config
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
