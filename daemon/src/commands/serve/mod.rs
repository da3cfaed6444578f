//! `diarized serve`: loads the model, listens, captures if asked, and ends in good order.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use diarized_config::{Config, Loaded, LogConfig, LogFormat, StoredAudio};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::access_setup::{AccessSetup, make_first_token};
use self::signals::{Hangups, tell, tell_reloading, watchdog};
use super::config_args::{ConfigArgs, FlagValue};
use crate::access::Access;
use crate::asr::Asr;
use crate::cluster::Cluster;
use crate::engine::LiveEngines;
use crate::error_chain::error_chain;
use crate::exit;
use crate::hub::{Hub, HubParams};
use crate::interrupt::StopSignals;
use crate::outgoing::Outgoing;
use crate::server::{DrainReport, Limits, Server, Voices};
use crate::session::{EngineFactory, JournalParams};
use crate::sources::Sources;
use crate::storage::{AudioParams, Storage, StorageParams};
use crate::tenants::Tenants;
use crate::voices::{Key, Place, Registry, StoreError};

mod access_setup;
mod grpc;
#[cfg(feature = "microphone")]
mod microphone;
#[cfg(not(feature = "microphone"))]
#[path = "no_microphone.rs"]
mod microphone;
mod signals;

/// Arguments of `diarized serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one. May be given several times.
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<String>,

    /// Accept addresses other than loopback without tokens: everybody who reaches the port can follow sessions and send
    /// audio.
    #[arg(long)]
    allow_insecure: bool,

    /// Create a missing token file (server.token_file) with one token of scope admin, and write that token to the file
    /// `first-token` beside it, readable by its owner only.
    #[arg(long)]
    first_token: bool,

    /// Capture this device (`default` if none is named) as the session `microphone`.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "default")]
    microphone: Option<String>,

    /// Fetch audio from NAME=URL as the session NAME: rtsp://, http://, udp://, a file, a pipe, -, alsa:, pulse:, pcm:; may
    /// be repeated (sources.urls).
    #[arg(long, value_name = "NAME=URL")]
    source: Vec<String>,

    /// Name enrolled people, and accept enrolments over HTTP (voices.enabled).
    #[arg(long)]
    voices: bool,

    /// Folder of another voice model: model.onnx and model.toml.
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Threads that serve sockets; labelling has threads of its own.
const SOCKET_THREADS: usize = 2;
/// How often the voiceprint store is looked at for changes by others.
const VOICES_EVERY: Duration = Duration::from_secs(2);
/// How long the end of the process waits for the MQTT broker and the webhooks, and for NATS.
const OUTGOING_GRACE: Duration = Duration::from_secs(5);

/// Runs the command until SIGINT or SIGTERM, and gives the exit code.
///
/// # Errors
/// The model cannot be loaded, an address cannot be listened on, or the device cannot be opened.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let flags = args.flags();
    let loaded = match args.config.load(&flags) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let log = start_log(&loaded.config.log);
    let first = if args.first_token { make_first_token(&loaded.config.server) } else { Ok(()) };
    let access = match first.and_then(|()| AccessSetup::open(&loaded.config)) {
        Ok(access) => access,
        Err(error) => {
            eprintln!("diarized: {}", error_chain(&*error));
            return Ok(exit::CONFIG);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .thread_name("server")
        .enable_all()
        .build()?;
    let reload = Reload { config: args.config, flags, loaded, log, access };
    let code = runtime.block_on(serve(reload));
    // A capture that is stuck in its device must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(reload: Reload) -> anyhow::Result<u8> {
    let mut signals = StopSignals::new()?;
    let hangups = Hangups::new()?;
    let config = &reload.loaded.config.clone();
    let engines = match LiveEngines::start(config) {
        Ok(engines) => Arc::new(engines),
        Err(error) => {
            eprintln!("diarized: {}", error_chain(&error));
            return Ok(exit::NO_INPUT);
        }
    };
    // Before the storage, so that a server that cannot start leaves what another one keeps alone.
    let listeners = listen(&config.server.listen).await?;
    let grpc = match grpc::open(config, &engines).await {
        Ok(grpc) => grpc,
        Err(code) => return Ok(code),
    };
    let hub = open_hub(config, &engines)?;
    let addresses: Vec<_> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let (access, tls) = (Arc::clone(&reload.access.access), reload.access.tls.clone());
    let server = Server::new(Arc::clone(&hub), limits(config), Arc::clone(&access), tls);
    let server = with_voices(server, &engines).with_grpc(grpc);
    let (sources, outgoing, cluster) = match start_services(config, &hub, &access, engines.voices()).await {
        Ok(services) => services,
        Err(code) => return Ok(code),
    };
    // Before what feeds them, which looks for its own.
    hub.go_on(config.server.resume_grace);
    let microphone = microphone::start(config, &hub)?;
    sources.start();
    let mut running = tokio::spawn(server.run(listeners));
    tell_ready(&addresses, config);
    tell(NotifyState::Ready);

    let down = async {
        tokio::select! {
            () = signals.next() => {}
            never = keep_reloading(reload, hangups) => never,
            () = watchdog() => {}
        }
        tell(NotifyState::Stopping);
        tracing::info!("stopping: a second signal ends the process at once");
        microphone.stop(config.server.shutdown_grace).await;
        hub.shut_down();
    };
    let drained = tokio::select! {
        drained = &mut running => drained,
        () = down => tokio::select! {
            drained = &mut running => drained,
            () = signals.next() => {
                tracing::warn!("stopped by a second signal; open segments are lost");
                return Ok(exit::FAILURE);
            }
        },
    };
    let drained = drained.context("the server panicked")?;
    outgoing.stop(OUTGOING_GRACE).await;
    keep_rest(&hub, cluster).await?;
    Ok(report_shutdown(&drained))
}

/// Writes what is still to be written, once all sessions have ended.
async fn keep_rest(hub: &Hub, cluster: Cluster) -> anyhow::Result<()> {
    if let Some(tenants) = hub.tenants().cloned() {
        tokio::task::spawn_blocking(move || tenants.close()).await.context("the count of tokens panicked")?;
    }
    cluster.stop(OUTGOING_GRACE).await;
    let Some(storage) = hub.storage().cloned() else { return Ok(()) };
    tokio::task::spawn_blocking(move || storage.close()).await.context("the storage panicked")
}

/// Starts what is configured besides sessions and their server, but for the sources. What cannot be started is reported, with
/// the exit code.
async fn start_services(
    config: &Config,
    hub: &Arc<Hub>,
    access: &Arc<Access>,
    voices: Option<&Arc<Registry>>,
) -> Result<(Sources, Outgoing, Cluster), u8> {
    fn refused(code: u8) -> impl Fn(&(dyn std::error::Error + 'static)) -> u8 {
        move |error| {
            eprintln!("diarized: {}", error_chain(error));
            code
        }
    }
    let faulty = refused(exit::CONFIG);
    Asr::start(config, hub).map_err(|error| faulty(&error))?;
    crate::wyoming::serve(config, hub).await.map_err(|error| faulty(&error))?;
    crate::vosk::serve(config, hub, access).await.map_err(|error| faulty(&error))?;
    let missing = refused(exit::NO_INPUT);
    let sources = Sources::new(config, hub).await.map_err(|error| missing(&error))?;
    let outgoing = Outgoing::start(config, hub).map_err(|error| faulty(&error))?;
    // Before the cluster, which shares what it counts.
    Tenants::start(hub, access);
    let key = config.cluster.node.as_ref().and_then(|_| key_of_voices(config));
    let cluster = Cluster::start(config, hub, key.as_ref(), voices).await.map_err(|error| faulty(&error))?;
    Ok((sources, outgoing, cluster))
}

/// Loads the configuration again at every hangup.
async fn keep_reloading(mut reload: Reload, mut hangups: Hangups) {
    loop {
        hangups.next().await;
        tell_reloading();
        reload.reload();
        tell(NotifyState::Ready);
    }
}

fn open_hub(config: &Config, engines: &Arc<LiveEngines>) -> anyhow::Result<Arc<Hub>> {
    let journal = JournalParams { max_events: config.server.journal_events, ..JournalParams::default() };
    let params = HubParams { max_sessions: config.server.max_sessions, journal, ..HubParams::default() };
    Ok(Hub::keeping(params, Arc::clone(engines) as Arc<dyn EngineFactory>, open_storage(config)?))
}

/// The storage of sessions, if there is one.
fn open_storage(config: &Config) -> anyhow::Result<Option<Arc<Storage>>> {
    let Some(path) = config.storage.path.clone() else { return Ok(None) };
    let keep = config.storage.keep_days.map(|days| Duration::from_secs(86_400) * days);
    let (max_bytes, max_session_bytes) = (config.storage.max_bytes, config.storage.max_session_bytes);
    let audio = AudioParams {
        is_on: config.storage.audio == StoredAudio::Opus,
        keep: config.storage.audio_keep_days.map(|days| Duration::from_secs(86_400) * days),
        max_bytes: config.storage.audio_max_bytes,
    };
    let hands_over = !config.server.resume_grace.is_zero();
    let key = if hands_over { key_of_voices(config) } else { None };
    let storage =
        Storage::open(StorageParams { path, keep, max_bytes, max_session_bytes, audio, hands_over, key });
    storage.map(Some).context("sessions cannot be kept (storage.path)")
}

/// The key that the voices of running sessions are sealed with: that of the voiceprints, which is made if these are enabled.
fn key_of_voices(config: &Config) -> Option<Key> {
    let place = Place::of(&config.voices);
    let key = match config.voices.enabled {
        true => place.key.read_or_make(&place.path),
        false => place.key.read(&place.path),
    };
    match key {
        Ok(key) => Some(key),
        Err(StoreError::NoKey { .. }) => None,
        Err(error) => {
            let reason = error_chain(&error);
            tracing::error!(
                reason,
                "without a key the voices of running sessions are not kept for a restart"
            );
            None
        }
    }
}

/// Adds enrolment and recognition to a server where they are enabled.
fn with_voices(server: Server, engines: &LiveEngines) -> Server {
    let Some(registry) = engines.voices() else { return server };
    tokio::spawn(refresh_voices(Arc::clone(registry)));
    let embedder = Arc::clone(engines.print_embedder());
    server.with_voices(Voices::new(Arc::clone(registry), embedder))
}

/// Takes notice of who was enrolled or deleted by a command while the server runs.
async fn refresh_voices(registry: Arc<Registry>) {
    let mut reported = false;
    loop {
        tokio::time::sleep(VOICES_EVERY).await;
        let registry = Arc::clone(&registry);
        match tokio::task::spawn_blocking(move || registry.refresh()).await {
            Ok(Ok(())) => reported = false,
            Ok(Err(error)) if !reported => {
                reported = true;
                tracing::warn!(%error, "the voiceprint store cannot be read; who was known stays known");
            }
            _ => {}
        }
    }
}

fn limits(config: &Config) -> Limits {
    let server = &config.server;
    Limits {
        max_connections: server.max_connections,
        max_connections_per_address: server.max_connections_per_address,
        max_subscribers: server.max_subscribers_per_session,
        max_message_bytes: server.max_frame_bytes,
        max_clip_bytes: config.voices.max_clip_bytes,
        max_messages_per_s: server.max_messages_per_s,
        max_frames_per_s: server.max_frames_per_s,
        max_header_bytes: server.max_header_bytes,
        header: server.header_timeout,
        request: server.request_timeout,
        idle: server.idle_timeout,
        resume_grace: server.resume_grace,
        ping: server.ping_interval,
        write: server.write_timeout,
        grace: server.shutdown_grace,
        has_words: config.asr.kind.is_some(),
        ..Limits::default()
    }
}

/// Listens on all of these addresses.
async fn listen(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &addr in addresses {
        listeners.push(listen_on(addr).await?);
    }
    Ok(listeners)
}

async fn listen_on(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there, perhaps another diarized: stop it, or choose another port with \
                 --listen (port 0 takes a free one)"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose a higher one with --listen"
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: choose another with --listen"
            }
            _ => "choose another address with --listen",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {addr}: {hint}"))
    })
}

/// The line on standard output that reports a ready server.
fn tell_ready(addresses: &[SocketAddr], config: &Config) {
    let mut out = std::io::stdout().lock();
    let s = if config.server.tls_certificate.is_some() { "s" } else { "" };
    for addr in addresses {
        let microphone = if config.capture.enabled { "; session microphone" } else { "" };
        // Without a reader the server serves all the same.
        let _ = writeln!(
            out,
            "diarized {} is ready at http{s}://{addr} (audio: ws{s}://{addr}/v1/stream, events: \
             ws{s}://{addr}/v1/events?session=*{microphone})",
            env!("CARGO_PKG_VERSION"),
        );
    }
    let _ = out.flush();
}

fn report_shutdown(drained: &DrainReport) -> u8 {
    if drained.is_empty() {
        tracing::info!("stopped; every session was finished");
        return exit::OK;
    }
    tracing::error!(
        sessions = drained.sessions.join(" "),
        connections = drained.n_connections,
        "stopped before everything was done, because the grace period (server.shutdown_grace_s) is over"
    );
    exit::FAILURE
}

/// Changes the level of the log while the process runs.
type LogHandle = tracing_subscriber::reload::Handle<EnvFilter, tracing_subscriber::Registry>;

/// Of libraries, warnings; of the decoders nothing, since a client could fill the log with what it sends them. A file that
/// cannot be decoded is an error of its request.
fn log_filter(config: &LogConfig) -> EnvFilter {
    EnvFilter::new(format!("warn,symphonia=off,diarized={}", config.level.as_str()))
}

/// Log lines go to standard error; neither audio, embeddings nor tokens are ever in them.
fn start_log(config: &LogConfig) -> LogHandle {
    let (filter, handle) = tracing_subscriber::reload::Layer::new(log_filter(config));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let log = tracing_subscriber::registry().with(filter);
    // A second start, as in tests, leaves the first log as it is.
    let _ = match config.format {
        LogFormat::Json => log.with(lines.json()).try_init(),
        _ => log.with(lines).try_init(),
    };
    handle
}

/// What SIGHUP loads again.
struct Reload {
    config: ConfigArgs,
    flags: Vec<FlagValue>,
    loaded: Loaded,
    log: LogHandle,
    access: AccessSetup,
}

/// Keys that take effect without a restart, besides the content of the files that the configuration names.
const LIVE_KEYS: [&str; 1] = ["log.level"];

impl Reload {
    /// Loads tokens, certificates and what of the configuration can change; what cannot be loaded stays as it was.
    fn reload(&mut self) {
        self.access.reload();
        let loaded = match self.config.load(&self.flags) {
            Ok(loaded) => loaded,
            Err(_) => return tracing::error!("the configuration is faulty and stays as it was"),
        };
        if let Err(error) = self.log.reload(log_filter(&loaded.config.log)) {
            tracing::warn!(%error, "the level of the log stays as it was");
        }
        let changed =
            loaded.settings.iter().zip(&self.loaded.settings).filter(|(new, old)| new.value != old.value);
        let (live, waiting): (Vec<_>, Vec<_>) =
            changed.map(|(new, _)| new.key).partition(|key| LIVE_KEYS.contains(key));
        tracing::info!(changed = live.join(" "), "tokens, certificates and configuration were loaded again");
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(" "), "these keys have changed and need a restart");
        }
    }
}

impl Args {
    fn flags(&self) -> Vec<FlagValue> {
        let is_set = |flag: bool| flag.then(|| "true".to_owned());
        vec![
            ("--listen", "server.listen", (!self.listen.is_empty()).then(|| self.listen.join(","))),
            ("--allow-insecure", "server.allow_insecure", is_set(self.allow_insecure)),
            ("--microphone", "capture.enabled", is_set(self.microphone.is_some())),
            ("--microphone", "capture.device", self.microphone.clone()),
            ("--source", "sources.urls", (!self.source.is_empty()).then(|| self.source.join(","))),
            ("--voices", "voices.enabled", is_set(self.voices)),
            ("--model", "model.path", self.model.as_ref().map(|path| path.display().to_string())),
        ]
    }
}
