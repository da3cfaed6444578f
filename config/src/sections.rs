//! The sections of the configuration: every key with its unit, range and default.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::allowed_origin::AllowedOrigin;
use crate::origin::Value;
use crate::reader::Reader;

/// A day in seconds, the maximum of every time limit.
const DAY_S: f64 = 86_400.0;

/// `[server]`: the network port for clients and subscribers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Addresses to listen on, at least one; port 0 takes a free one. Default 127.0.0.1:7007.
    pub listen: Vec<SocketAddr>,
    /// Whether to accept addresses other than loopback without `token_file`. Default false.
    pub allow_insecure: bool,
    /// File of access tokens, as written by `diarized token`; `None`: clients need no token. Default `None`.
    pub token_file: Option<PathBuf>,
    /// Origins of web pages besides the server's own: `*`, or scheme, host and port. Default none.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// PEM file of the certificate and its chain, for encrypted connections; goes with `tls_key`. Default `None`.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the private key; goes with `tls_certificate`. Default `None`.
    pub tls_key: Option<PathBuf>,
    /// Maximum number of sessions with audio, the microphone's aside; a further one takes the place of one that waits for
    /// its publisher, or is refused. 1 to 100 000, default 64.
    pub max_sessions: usize,
    /// Maximum number of authenticated connections; half as many more, at least 64, may be unauthenticated.
    /// 1 to 100 000, default 512.
    pub max_connections: usize,
    /// Maximum number of authenticated connections from one address, or from one /64 of IPv6. 1 to 100 000, default
    /// 256.
    pub max_connections_per_address: usize,
    /// Maximum number of subscribers of one session. 1 to 100 000, default 256.
    pub max_subscribers_per_session: usize,
    /// Largest message from a client, in bytes. 1 KiB to 64 MiB, default 1 MiB.
    pub max_frame_bytes: usize,
    /// Text messages of one connection per second; bursts of twice as many are accepted. 1 to 100 000, default 100.
    pub max_messages_per_s: usize,
    /// Binary frames read from one connection per second; bursts of twice as many are accepted. 10 to 1 000 000,
    /// default 2000.
    pub max_frames_per_s: usize,
    /// Largest header of a request, in bytes. 8 KiB to 1 MiB, default 16 KiB.
    pub max_header_bytes: usize,
    /// Time limit for the header of a request, or for a TLS handshake. 0.1 s to a day, default 10 s.
    pub header_timeout: Duration,
    /// Time limit for a plain HTTP request. 1 s to a day, default 60 s.
    pub request_timeout: Duration,
    /// A stream is closed after this time without a message. 1 s to a day, default 60 s.
    pub idle_timeout: Duration,
    /// Time that a session waits for its publisher after a disconnect. 0 to a day, default 30 s.
    pub resume_grace: Duration,
    /// Time between two pings; shorter than `idle_timeout`. 0.1 s to a day, default 20 s.
    pub ping_interval: Duration,
    /// A connection is closed when its peer reads nothing of a message for this time. 0.1 s to a day, default 10 s.
    pub write_timeout: Duration,
    /// Events of a session in memory, for late subscribers and resumes. 100 to 10 000 000, default 20 000.
    pub journal_events: usize,
    /// Time for sessions to emit their last labels at shutdown. 0 to a day, default 10 s.
    pub shutdown_grace: Duration,
}

impl ServerConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        let config = Self {
            listen: r.list(
                "server.listen",
                "IP:PORT such as \"127.0.0.1:7007\" or \"[::]:7007\", or a list of them",
                vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7007)],
                |text| text.parse().ok(),
            ),
            allow_insecure: r.boolean("server.allow_insecure", false),
            token_file: r.optional_path("server.token_file"),
            allowed_origins: r.list_or_none(
                "server.allowed_origins",
                "\"*\", \"null\", or origins such as \"https://meetings.example:8443\" or \"capacitor://localhost\", without a path \
                 and with no pattern in them",
                AllowedOrigin::parse,
            ),
            tls_certificate: r.optional_path("server.tls_certificate"),
            tls_key: r.optional_path("server.tls_key"),
            max_sessions: count(r, "server.max_sessions", 1..=100_000, 64),
            max_connections: count(r, "server.max_connections", 1..=100_000, 512),
            max_connections_per_address: count(r, "server.max_connections_per_address", 1..=100_000, 256),
            max_subscribers_per_session: count(r, "server.max_subscribers_per_session", 1..=100_000, 256),
            max_frame_bytes: size(r, "server.max_frame_bytes", "of bytes", 1024..=64 << 20, 1 << 20),
            max_messages_per_s: count(r, "server.max_messages_per_s", 1..=100_000, 100),
            max_frames_per_s: count(r, "server.max_frames_per_s", 10..=1_000_000, 2000),
            max_header_bytes: size(r, "server.max_header_bytes", "of bytes", 8192..=1 << 20, 16_384),
            header_timeout: r.seconds("server.header_timeout_s", 0.1..=DAY_S, 10.0),
            request_timeout: r.seconds("server.request_timeout_s", 1.0..=DAY_S, 60.0),
            idle_timeout: r.seconds("server.idle_timeout_s", 1.0..=DAY_S, 60.0),
            resume_grace: r.seconds("server.resume_grace_s", 0.0..=DAY_S, 30.0),
            ping_interval: r.seconds("server.ping_interval_s", 0.1..=DAY_S, 20.0),
            write_timeout: r.seconds("server.write_timeout_s", 0.1..=DAY_S, 10.0),
            journal_events: count(r, "server.journal_events", 100..=10_000_000, 20_000),
            shutdown_grace: r.seconds("server.shutdown_grace_s", 0.0..=DAY_S, 10.0),
        };
        if config.ping_interval >= config.idle_timeout {
            r.broken_rule("server.ping_interval_s", "<", "server.idle_timeout_s");
        }
        if config.tls_certificate.is_some() != config.tls_key.is_some() {
            r.broken_rule("server.tls_certificate", "set together with", "server.tls_key");
        }
        config
    }
}

/// Which channel of the input becomes the mono signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The mean of all channels.
    Mix,
    /// One channel, counted from 0.
    One(u16),
}

const CHANNEL_EXPECTED: &str = "\"mix\" or a channel counted from 0, at most 63";

impl Channel {
    /// Reads `mix` or a number from 0 to 63.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "mix" => Some(Self::Mix),
            number => number.parse().ok().filter(|n| *n < 64).map(Self::One),
        }
    }

    fn read(r: &mut Reader, key: &'static str) -> Self {
        r.parsed(key, CHANNEL_EXPECTED, Self::Mix, Self::parse, |channel| match channel {
            Self::Mix => Value::Text("mix".to_owned()),
            Self::One(idx) => Value::Integer(i64::from(*idx)),
        })
    }
}

/// `[capture]`: the microphone of `diarized serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureConfig {
    /// Whether `serve` captures a microphone. Default false.
    pub enabled: bool,
    /// Name of the device in the list of `diarized devices`. Default `default`.
    pub device: String,
    /// Channel of the device. Default `mix`.
    pub channel: Channel,
    /// Size of the buffer between the device and the session, in ms; audio beyond it is dropped and reported as a
    /// gap. 100 to 60 000, default 2000.
    pub buffer_ms: u32,
    /// Silence after which a new session begins; 0 for a new one on a new day only. 0 to a day, default 0.
    pub session_silence: Duration,
}

impl CaptureConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            enabled: r.boolean("capture.enabled", false),
            device: r.parsed(
                "capture.device",
                "the name of a device as `diarized devices` lists it, or \"default\"",
                "default".to_owned(),
                |text| (!text.trim().is_empty()).then(|| text.to_owned()),
                |device| Value::Text(device.clone()),
            ),
            channel: Channel::read(r, "capture.channel"),
            buffer_ms: milliseconds(r, "capture.buffer_ms", 100..=60_000, 2000),
            session_silence: r.seconds("capture.session_silence_s", 0.0..=DAY_S, 0.0),
        }
    }
}

/// `[audio]`: conversion of files and streams to mono. Changes results.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioConfig {
    /// Channel of files and of streams. Default `mix`.
    pub channel: Channel,
}

impl AudioConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self { channel: Channel::read(r, "audio.channel") }
    }
}

/// `[model]`: the embedding network. Changes results.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// Folder of `model.toml` and its weights; `None` is the built-in model. Default `None`.
    pub path: Option<PathBuf>,
    /// Folder of a second, larger model, for the last pass and for known voices; `None` does without. Default `None`.
    pub second: Option<PathBuf>,
}

impl ModelConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self { path: r.optional_path("model.path"), second: r.optional_path("model.second") }
    }
}

/// `[inference]`: computation of embeddings. Changes results only on a machine that is too slow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InferenceConfig {
    /// Threads that compute embeddings; 0 is one per core. 0 to 1024, default 0.
    pub threads: usize,
    /// Whether a live stream skips every second window while windows are late. Default true.
    pub thin_when_late: bool,
}

impl InferenceConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            threads: count(r, "inference.threads", 0..=1024, 0),
            thin_when_late: r.boolean("inference.thin_when_late", true),
        }
    }
}

/// Whether the audio of sessions is kept, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredAudio {
    /// No audio is kept.
    Off,
    /// One Ogg Opus file for each session.
    Opus,
}

/// `[storage]`: storage of sessions: labels and events, and audio if it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// SQLite file of the stored sessions; `None` stores none. Default `None`.
    pub path: Option<PathBuf>,
    /// Days before an ended session is deleted; `None` keeps it until a client deletes it. 1 to 36 500,
    /// default 30.
    pub keep_days: Option<u32>,
    /// Maximum size of the file, in bytes; beyond it sessions continue and are not stored. 1 MiB to 64 TiB, default
    /// 4 GiB.
    pub max_bytes: u64,
    /// Maximum size of the stored events of one session, in bytes; beyond it a snapshot of the labels replaces the
    /// events. 64 KiB to 1 TiB, default 64 MiB.
    pub max_session_bytes: u64,
    /// Whether the audio of stored sessions is kept. Default off; needs `path`.
    pub audio: StoredAudio,
    /// Days before the audio of an ended session is deleted; `None` keeps it as long as the session. 1 to 36 500, default
    /// `None`.
    pub audio_keep_days: Option<u32>,
    /// Maximum size of all kept audio, in bytes; beyond it the oldest is deleted. 1 MiB to 64 TiB, default 8 GiB.
    pub audio_max_bytes: u64,
}

impl StorageConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        let keep_days = r.optional_integer_or("storage.keep_days", "of days", 1..=36_500, Some(30));
        let audio_keep_days = r.optional_integer_or("storage.audio_keep_days", "of days", 1..=36_500, None);
        let days = |n: i64| u32::try_from(n).expect("the range fits u32");
        let bytes = |n: i64| u64::try_from(n).expect("the range is above 0");
        let config = Self {
            path: r.optional_path("storage.path"),
            keep_days: keep_days.map(days),
            max_bytes: bytes(r.integer("storage.max_bytes", "of bytes", 1 << 20..=1 << 46, 4 << 30)),
            max_session_bytes: bytes(r.integer(
                "storage.max_session_bytes",
                "of bytes",
                1 << 16..=1 << 40,
                64 << 20,
            )),
            audio: r.choice(
                "storage.audio",
                &[("off", StoredAudio::Off), ("opus", StoredAudio::Opus)],
                StoredAudio::Off,
            ),
            audio_keep_days: audio_keep_days.map(days),
            audio_max_bytes: bytes(r.integer(
                "storage.audio_max_bytes",
                "of bytes",
                1 << 20..=1 << 46,
                8 << 30,
            )),
        };
        if config.audio != StoredAudio::Off && config.path.is_none() {
            r.broken_rule("storage.audio", "set together with", "storage.path");
        }
        config
    }
}

/// Format of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// Readable text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Minimum log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
#[non_exhaustive]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Failures, and conditions that may need an operator.
    Warn,
    /// The two before, and normal events.
    Info,
    /// The levels before, and details.
    Debug,
    /// The levels before, and every step.
    Trace,
}

impl LogLevel {
    /// The value in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// `[log]`: the log on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// Format of the lines. Default text.
    pub format: LogFormat,
    /// Minimum level. Default info.
    pub level: LogLevel,
}

impl LogConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        let levels: Vec<_> = LogLevel::VARIANTS.iter().map(|&level| (level.as_str(), level)).collect();
        Self {
            format: r.choice(
                "log.format",
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                LogFormat::Text,
            ),
            level: r.choice("log.level", &levels, LogLevel::Info),
        }
    }
}

fn milliseconds(
    r: &mut Reader,
    key: &'static str,
    allowed: std::ops::RangeInclusive<i64>,
    default: i64,
) -> u32 {
    u32::try_from(r.integer(key, "of ms", allowed, default)).expect("every range of ms fits u32")
}

fn count(r: &mut Reader, key: &'static str, allowed: std::ops::RangeInclusive<i64>, default: i64) -> usize {
    size(r, key, "", allowed, default)
}

fn size(
    r: &mut Reader,
    key: &'static str,
    unit: &str,
    allowed: std::ops::RangeInclusive<i64>,
    default: i64,
) -> usize {
    usize::try_from(r.integer(key, unit, allowed, default)).expect("every range of counts is in u32's")
}
