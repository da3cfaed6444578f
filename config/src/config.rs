//! The checked configuration of all sections.

use diarized_parameters::DiarizerOptions;

use crate::asr::AsrConfig;
use crate::audio_sources::SourcesConfig;
use crate::cluster::ClusterConfig;
use crate::dialects::{VoskConfig, WyomingConfig};
use crate::diarization;
use crate::fault::Warning;
use crate::grpc::GrpcConfig;
use crate::origin::{Origin, Setting};
use crate::outgoing::{MqttConfig, WebhookConfig};
use crate::reader::Reader;
use crate::sections::{
    AudioConfig, CaptureConfig, InferenceConfig, LogConfig, ModelConfig, ServerConfig, StorageConfig,
};
use crate::voices::VoicesConfig;

/// The checked configuration: plain values that meet every rule.
///
/// `audio`, `model`, `diarization` and `voices` change the results. `inference` changes the speed, and the results only on a
/// machine that is too slow. The others change neither.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The network port for clients and subscribers.
    pub server: ServerConfig,
    /// The microphone of `diarized serve`.
    pub capture: CaptureConfig,
    /// Audio that the daemon fetches.
    pub sources: SourcesConfig,
    /// Conversion of files and streams to mono.
    pub audio: AudioConfig,
    /// The embedding network.
    pub model: ModelConfig,
    /// Speech detection, labels and their timing.
    pub diarization: DiarizerOptions,
    /// Recognition of enrolled people.
    pub voices: VoicesConfig,
    /// Computation of embeddings.
    pub inference: InferenceConfig,
    /// Storage of sessions.
    pub storage: StorageConfig,
    /// Words of a speech recogniser.
    pub asr: AsrConfig,
    /// Clients that speak Wyoming.
    pub wyoming: WyomingConfig,
    /// Clients that speak the WebSocket of vosk-server.
    pub vosk: VoskConfig,
    /// Clients that speak gRPC.
    pub grpc: GrpcConfig,
    /// State of sessions for an MQTT broker.
    pub mqtt: MqttConfig,
    /// Events for web servers.
    pub webhook: WebhookConfig,
    /// Several daemons that serve each other's sessions.
    pub cluster: ClusterConfig,
    /// The log on stderr.
    pub log: LogConfig,
}

impl Config {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            server: ServerConfig::read(r),
            capture: CaptureConfig::read(r),
            sources: SourcesConfig::read(r),
            audio: AudioConfig::read(r),
            model: ModelConfig::read(r),
            diarization: diarization::read(r),
            voices: VoicesConfig::read(r),
            inference: InferenceConfig::read(r),
            storage: StorageConfig::read(r),
            asr: AsrConfig::read(r),
            wyoming: WyomingConfig::read(r),
            vosk: VoskConfig::read(r),
            grpc: GrpcConfig::read(r),
            mqtt: MqttConfig::read(r),
            webhook: WebhookConfig::read(r),
            cluster: ClusterConfig::read(r),
            log: LogConfig::read(r),
        }
    }
}

/// A checked configuration and the origin of each value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its effective value and origin, in the order of the example.
    pub settings: Vec<Setting>,
    /// Problems that are reported and do not stop the start.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// The effective configuration as TOML, with the origin of each value as a comment. It loads to the same values.
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

/// The origin without control characters: a file name can contain them, a TOML comment cannot.
fn one_line(origin: &Origin) -> String {
    origin.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
