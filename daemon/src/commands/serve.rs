//! `diarized serve`: loads the model, listens, captures if asked, and ends in good order.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use diarized_config::{Config, LogConfig, LogFormat};
use tokio::net::TcpListener;

use super::config_args::ConfigArgs;
use crate::cli::exit;
use crate::engine::LiveEngines;
use crate::hub::{Hub, HubParams};
use crate::server::{Leftovers, Limits, Server, Voices};
use crate::session::{EngineFactory, JournalParams};
use crate::voices::Registry;

/// Arguments of `diarized serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Address to listen on; port 0 takes a free one. May be given several times.
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<String>,

    /// Listen on other than loopback addresses: whoever reaches the port may listen in and send audio.
    #[arg(long)]
    allow_remote: bool,

    /// Capture this device (`default` if none is named) as the session `microphone`.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "default")]
    microphone: Option<String>,

    /// Name the people who are enrolled, and enrol over HTTP (voices.enabled).
    #[arg(long)]
    voices: bool,

    /// Folder of another voice model: model.onnx and model.toml.
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
}

/// Threads that serve sockets; labelling has threads of its own.
const SOCKET_THREADS: usize = 2;
/// How often the voiceprint store is looked at for changes by others.
const VOICES_EVERY: Duration = Duration::from_secs(2);

/// Runs the command until SIGINT or SIGTERM, and gives the exit code.
///
/// # Errors
/// The model cannot be loaded, an address cannot be listened on, or the device cannot be opened.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let flags = [
        ("--listen", "server.listen", (!args.listen.is_empty()).then(|| args.listen.join(","))),
        ("--microphone", "capture.enabled", args.microphone.as_ref().map(|_| "true".to_owned())),
        ("--microphone", "capture.device", args.microphone.clone()),
        ("--voices", "voices.enabled", args.voices.then(|| "true".to_owned())),
        ("--model", "model.path", args.model.as_ref().map(|path| path.display().to_string())),
    ];
    let config = match args.config.load(&flags) {
        Ok(loaded) => loaded.config,
        Err(code) => return Ok(code),
    };
    start_log(&config.log);
    if let Some(addr) = config.server.listen.iter().find(|addr| !addr.ip().is_loopback())
        && !args.allow_remote
    {
        eprintln!(
            "diarized: {addr} can be reached from other machines, and there is no authentication: whoever reaches it \
             may listen in. Listen on 127.0.0.1, or say --allow-remote if the network is trusted"
        );
        return Ok(exit::CONFIG);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SOCKET_THREADS)
        .thread_name("server")
        .enable_all()
        .build()?;
    let code = runtime.block_on(serve(&config));
    // A capture that is stuck in its device must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(config: &Config) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let engines = match LiveEngines::start(config) {
        Ok(engines) => Arc::new(engines),
        Err(error) => {
            eprintln!("diarized: {:#}", anyhow::Error::new(error));
            return Ok(exit::NO_INPUT);
        }
    };
    let journal = JournalParams { max_events: config.server.journal_events, ..JournalParams::default() };
    let params = HubParams { max_sessions: config.server.max_sessions, journal, ..HubParams::default() };
    let hub = Hub::new(params, Arc::clone(&engines) as Arc<dyn EngineFactory>);
    let mut listeners = Vec::new();
    for &addr in &config.server.listen {
        listeners.push(listen(addr).await?);
    }
    let addresses: Vec<_> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let mut server = Server::new(Arc::clone(&hub), limits(config));
    if let Some(registry) = engines.voices() {
        let max_clip_bytes = config.voices.max_clip_bytes;
        server = server.with_voices(Voices::new(
            Arc::clone(registry),
            Arc::clone(engines.embedder()),
            max_clip_bytes,
        ));
        tokio::spawn(keep_known(Arc::clone(registry)));
    }
    let microphone = microphone::start(config, &hub)?;
    let mut running = tokio::spawn(server.run(listeners));
    tell_ready(&addresses, config);

    let down = async {
        signals.next().await;
        tracing::info!("stopping: a second signal ends the process at once");
        microphone.stop(config.server.shutdown_grace).await;
        hub.shut_down();
    };
    let leftovers = tokio::select! {
        leftovers = &mut running => leftovers,
        () = down => tokio::select! {
            leftovers = &mut running => leftovers,
            () = signals.next() => {
                tracing::warn!("stopped by a second signal; open segments are lost");
                return Ok(exit::FAILURE);
            }
        },
    };
    let leftovers = leftovers.context("the server panicked")?;
    Ok(tell_end(&leftovers))
}

/// Takes notice of who was enrolled or deleted by a command while the server runs.
async fn keep_known(registry: Arc<Registry>) {
    let mut told = false;
    loop {
        tokio::time::sleep(VOICES_EVERY).await;
        let registry = Arc::clone(&registry);
        match tokio::task::spawn_blocking(move || registry.refresh()).await {
            Ok(Ok(())) => told = false,
            Ok(Err(error)) if !told => {
                told = true;
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
        max_subscribers: server.max_subscribers_per_session,
        max_message_bytes: server.max_frame_bytes,
        idle: server.idle_timeout,
        resume_grace: server.resume_grace,
        ping: server.ping_interval,
        write: server.write_timeout,
        grace: server.shutdown_grace,
        ..Limits::default()
    }
}

async fn listen(addr: SocketAddr) -> anyhow::Result<TcpListener> {
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

/// The one line that says that the server is there, on standard output for whoever started it.
fn tell_ready(addresses: &[SocketAddr], config: &Config) {
    let mut out = std::io::stdout().lock();
    for addr in addresses {
        let microphone = if config.capture.enabled { "; session microphone" } else { "" };
        // Nobody may be reading; the server serves all the same.
        let _ = writeln!(
            out,
            "diarized {} is ready at http://{addr} (audio: ws://{addr}/v1/stream, events: \
             ws://{addr}/v1/events?session=*{microphone})",
            env!("CARGO_PKG_VERSION"),
        );
    }
    let _ = out.flush();
}

fn tell_end(leftovers: &Leftovers) -> u8 {
    if leftovers.is_empty() {
        tracing::info!("stopped; every session was finished");
        return exit::OK;
    }
    tracing::error!(
        sessions = leftovers.sessions.join(" "),
        connections = leftovers.n_connections,
        "stopped before everything was done, because the grace period (server.shutdown_grace_s) is over"
    );
    exit::FAILURE
}

/// Log lines go to standard error; neither audio nor embeddings are ever in them.
fn start_log(config: &LogConfig) {
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,diarized={}", config.level.as_str()));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start, as in tests, leaves the first log as it is.
    let _ = match config.format {
        LogFormat::Json => log.json().try_init(),
        _ => log.try_init(),
    };
}

/// SIGINT and SIGTERM, or Ctrl-C where there are no signals.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Without the handler there is nothing to wait for.
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// The capture device as a session.
#[cfg(feature = "microphone")]
mod microphone {
    use std::time::Duration;

    use diarized_config::{Channel, Config};
    use diarized_dsp::ChannelSelect;

    use crate::capture::{Capture, CaptureParams, open_microphone};
    use crate::hub::Hub;

    /// A running capture, if there is one.
    pub(super) struct Microphone(Option<Capture>);

    pub(super) fn start(config: &Config, hub: &Hub) -> anyhow::Result<Microphone> {
        if !config.capture.enabled {
            return Ok(Microphone(None));
        }
        let (channel, n_channels_min) = match config.capture.channel {
            Channel::Mix => (ChannelSelect::Mix, 1),
            Channel::One(idx) => (ChannelSelect::One(idx), idx + 1),
        };
        let params = CaptureParams {
            device: config.capture.device.clone(),
            n_channels_min,
            buffer_ms: config.capture.buffer_ms,
        };
        Ok(Microphone(Some(open_microphone(hub, params, channel)?)))
    }

    impl Microphone {
        /// Stops the device and lets what it delivered reach the session.
        pub(super) async fn stop(self, grace: Duration) {
            let Some(capture) = self.0 else { return };
            let joining = tokio::task::spawn_blocking(move || capture.join());
            match tokio::time::timeout(grace, joining).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::error!(%error, "the capture failed"),
                Ok(Err(error)) => tracing::error!(%error, "the capture could not be joined"),
                Err(_) => tracing::error!("the capture thread does not end; its device hangs"),
            }
        }
    }
}

/// A build without capture.
#[cfg(not(feature = "microphone"))]
mod microphone {
    use std::time::Duration;

    use diarized_config::Config;

    use crate::hub::Hub;

    pub(super) struct Microphone;

    pub(super) fn start(config: &Config, _hub: &Hub) -> anyhow::Result<Microphone> {
        anyhow::ensure!(!config.capture.enabled, "this build has no capture; it takes audio over WebSocket");
        Ok(Microphone)
    }

    impl Microphone {
        pub(super) async fn stop(self, _grace: Duration) {}
    }
}
