//! A real nats-server on a free port, or several as one cluster.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::until;

/// A running server with JetStream; ended when dropped.
pub(crate) struct Nats {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    monitor: u16,
    args: Vec<String>,
    child: Option<Child>,
}

/// Where the program is, if it is installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file())
}

/// Ports that are free now, none of them twice.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Nats {
    /// Starts a server that keeps its streams in `folder`; `None` on a machine without one.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        Self::start_with(folder, &["-js"])
    }

    /// Starts a server with these arguments.
    pub(crate) fn start_with(folder: &Path, args: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            println!("not run: cluster, because there is no nats-server (apt-get install nats-server)");
            return None;
        };
        let [port, monitor] = free_ports();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut nats = Self { program, folder: folder.to_owned(), port, monitor, args, child: None };
        nats.begin();
        Some(nats)
    }

    /// Starts three servers that keep their streams together.
    pub(crate) fn start_three(folder: &Path) -> Option<[Self; 3]> {
        let ports: [u16; 3] = free_ports();
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
        let servers = std::array::from_fn(|idx| {
            let name = format!("nats{idx}");
            let folder = folder.join(&name);
            std::fs::create_dir(&folder).unwrap();
            let others: Vec<&str> =
                routes.iter().filter(|route| **route != routes[idx]).map(String::as_str).collect();
            let others = others.join(",");
            let cluster = ["--cluster_name", "test", "--cluster", &routes[idx], "--routes", &others];
            Self::start_with(&folder, &[&["-js", "-n", &name], cluster.as_slice()].concat())
        });
        let [Some(one), Some(two), Some(three)] = servers else { return None };
        Some([one, two, three])
    }

    /// Starts it where it was.
    pub(crate) fn begin(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.streams()).args(&self.args).args(["-m", &self.monitor.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        until("nats-server", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.args.iter().any(|arg| arg == "--tls") { "tls" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The folder of its streams.
    pub(crate) fn streams(&self) -> PathBuf {
        self.folder.join("jetstream")
    }

    /// Waits until its streams are up to date.
    pub(crate) fn wait_until_current(&self) {
        until("its streams", || self.is_current().then_some(()));
    }

    /// Whether its streams are up to date and have a leader.
    pub(crate) fn is_current(&self) -> bool {
        self.ask("/healthz").contains("\"ok\"")
    }

    /// The answer of its monitoring port.
    fn ask(&self, path: &str) -> String {
        // Of HTTP 1.0 the body comes as it is, without chunks.
        let mut tcp = TcpStream::connect(("127.0.0.1", self.monitor)).unwrap();
        write!(tcp, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Messages in a stream.
    pub(crate) fn n_messages(&self, stream: &str) -> u64 {
        let all: Value = serde_json::from_str(&self.ask("/jsz?streams=1")).unwrap();
        let streams = all["account_details"][0]["stream_detail"].as_array().unwrap();
        let of = streams.iter().find(|listed| listed["name"] == stream);
        of.unwrap_or_else(|| panic!("no {stream}: {all}"))["state"]["messages"].as_u64().unwrap()
    }

    /// Whether a node is connected to this one of several servers.
    pub(crate) fn has(&self, node: &str) -> bool {
        if self.child.is_none() {
            return false;
        }
        let connections: Value = serde_json::from_str(&self.ask("/connz")).unwrap();
        let mut connections = connections["connections"].as_array().unwrap().iter();
        connections.any(|connection| connection["name"] == format!("diarized {node}"))
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.end();
    }
}
