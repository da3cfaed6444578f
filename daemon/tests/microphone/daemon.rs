//! A `diarized serve --microphone` process, and one subscriber of its session.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::pulse::Pulse;

/// The process; killed when dropped.
pub(crate) struct Daemon {
    process: Child,
    address: String,
}

impl Daemon {
    /// Starts the daemon on a free port, capturing `pulse`, and waits until it says that it is ready.
    pub(crate) fn start(pulse: &Pulse) -> Self {
        Self::start_with(pulse, &[])
    }

    /// The same with `KEY=VALUE` settings.
    pub(crate) fn start_with(pulse: &Pulse, settings: &[&str]) -> Self {
        let mut command = super::common::diarized(&["serve", "--listen", "127.0.0.1:0", "--microphone"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        pulse.quiet_env(&mut command);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut ready = String::new();
        let stdout = process.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("a line of text");
        let address = ready
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("the daemon says where it is ready, not {ready:?}"))
            .to_owned();
        Self { process, address }
    }

    /// Asks the process to end in good order.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Kills the process at once.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("the process runs");
    }

    /// Waits for the end of the process; whether it went well.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every message of the microphone's session, each with when it came.
pub(crate) struct Subscriber {
    runtime: tokio::runtime::Runtime,
    socket: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
    pub(crate) messages: Vec<Value>,
}

impl Subscriber {
    pub(crate) fn connect(daemon: &Daemon) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("ws://{}/v1/events?session=microphone", daemon.address);
        let (socket, _) =
            runtime.block_on(tokio_tungstenite::connect_async(url)).expect("the session is there");
        Self { runtime, socket, messages: Vec::new() }
    }

    /// Reads on until a message satisfies `wanted`, and gives it; `None` when `patience` or the stream is over.
    pub(crate) fn read_until(
        &mut self,
        patience: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Option<Value> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let next = self.runtime.block_on(async { tokio::time::timeout(left, self.socket.next()).await });
            let Ok(Some(Ok(message))) = next else { return None };
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            self.messages.push(message.clone());
            if wanted(&message) {
                return Some(message);
            }
        }
    }
}
