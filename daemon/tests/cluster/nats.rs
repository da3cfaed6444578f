//! A real nats-server on a free port.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::until;

/// A running server with JetStream; ended when dropped.
pub(crate) struct Nats {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    args: Vec<String>,
    child: Option<Child>,
}

/// Where the program is, if it is installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file())
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
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut nats = Self { program, folder: folder.to_owned(), port, args, child: None };
        nats.begin();
        Some(nats)
    }

    /// Starts it where it was.
    pub(crate) fn begin(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]);
        command.arg(self.folder.join("jetstream")).args(&self.args);
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
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.end();
    }
}
