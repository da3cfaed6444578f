//! The binary as a server with sources.

use std::io::BufReader;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, Snapshot};

use crate::common::{address_of_ready, diarized, request};

/// Longer than anything here takes on a busy machine: what waits this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The command of a server with these sources.
pub(crate) fn command(sources: &[String], settings: &[&str]) -> Command {
    let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
    sources.iter().for_each(|source| args.extend(["--source", source]));
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    diarized(&args)
}

/// A process that is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a free port, with sources.
pub(crate) struct Server {
    process: Running,
    pub(crate) addr: String,
}

impl Server {
    pub(crate) fn start(sources: &[String], settings: &[&str]) -> Self {
        Self::run(&mut command(sources, settings))
    }

    /// The same with standard input.
    pub(crate) fn with_stdin(sources: &[String]) -> (Self, ChildStdin) {
        let mut server = Self::run(command(sources, &[]).stdin(Stdio::piped()));
        let stdin = server.process.0.stdin.take().unwrap();
        (server, stdin)
    }

    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { process: Running(child), addr }
    }

    /// Ends it without any order.
    pub(crate) fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Ends it in good order.
    pub(crate) fn terminate(mut self) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.process.0.wait().unwrap().success());
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, page) = request(&self.addr, "GET", "/metrics", "");
        let of =
            |line: &str| line.strip_prefix("diarized_")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(of).unwrap_or_else(|| panic!("no {name}: {page}"))
    }

    pub(crate) fn snapshot(&self, session: &str) -> Option<Snapshot> {
        let (status, body) = request(&self.addr, "GET", &format!("/v1/sessions/{session}"), "");
        if status != 200 {
            return None;
        }
        match ServerMessage::parse(&body).unwrap().body {
            Body::Snapshot(snapshot) => Some(snapshot),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until `look` accepts the session.
    pub(crate) fn until(&self, session: &str, look: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let began = Instant::now();
        loop {
            if let Some(snapshot) = self.snapshot(session).filter(&look) {
                return snapshot;
            }
            assert!(began.elapsed() < PATIENCE, "{session}: {:?}", self.snapshot(session));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
