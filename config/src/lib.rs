//! The configuration of `diarized`: TOML, environment and flags. It is checked once, and every fault is reported at once.
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
//! The crate opens the configuration file only, and no crate below it uses TOML for configuration. It reads the TOML
//! tree itself, because serde stops at the first fault and loses the line.

mod allowed_origin;
mod asr;
mod audio_sources;
mod cluster;
mod config;
mod dialects;
mod diarization;
mod endpoint;
mod fault;
mod former;
mod grpc;
mod layers;
mod origin;
mod outgoing;
mod raw;
mod reader;
mod sections;
mod source;
mod source_tables;
mod voices;

pub use allowed_origin::AllowedOrigin;
pub use asr::{AsrConfig, AsrKind, Place};
pub use audio_sources::{AudioSource, SourcesConfig};
pub use cluster::{ClusterConfig, Roles};
pub use config::{Config, Loaded};
pub use dialects::{VoskConfig, WyomingConfig};
pub use diarized_parameters::{DiarizerOptions, SpeechDetector};
pub use endpoint::Endpoint;
pub use fault::{ConfigError, Fault, FaultKind, Faults, Warning};
pub use grpc::{GrpcConfig, GrpcModel};
pub use origin::{Origin, Setting, Value};
pub use outgoing::{MqttConfig, WebhookConfig, WebhookEvent};
pub use sections::{
    AudioConfig, CaptureConfig, Channel, InferenceConfig, LogConfig, LogFormat, LogLevel, ModelConfig,
    ServerConfig, StorageConfig, StoredAudio,
};
pub use source::{CONFIG_VARIABLE, Sources, TOKEN_VARIABLE, VOICES_KEY_VARIABLE};
pub use voices::VoicesConfig;

/// The commented example: every key with its meaning, range and default.
pub const EXAMPLE: &str = include_str!("../diarized.toml");
