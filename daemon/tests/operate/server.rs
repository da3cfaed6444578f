//! The binary as a server, and the few bytes of HTTP that the tests speak to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longer than anything here takes on a busy machine: what waits this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A program with an environment that holds none of our variables.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DIARIZED_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary.
pub(crate) fn diarized(args: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_diarized"));
    command.args(args);
    command
}

/// Exit code, standard output and standard error.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/example/conversation.flac")
}

/// A server on a free port; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// `ws://` or `wss://` with the address.
    pub(crate) url: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `diarized serve` with these arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = diarized(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args);
        Self::run(command)
    }

    /// Starts a command that becomes a server.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, logged) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = logged.lock();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some((_, rest)) = line.split_once("is ready at http") else {
            panic!("not ready: {line:?}\n{}", log.lock())
        };
        let secure = if rest.starts_with('s') { "s" } else { "" };
        let addr = rest.split_once("://").unwrap().1.split(' ').next().unwrap();
        Self { child, addr: addr.parse().unwrap(), url: format!("ws{secure}://{addr}"), log }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Waits until it has logged this.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let began = Instant::now();
        while !self.log.lock().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text:?} in\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal by its name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end and gives its exit code; none if a signal ended it.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Status and body of a request without a body.
    pub(crate) fn http(&self, method: &str, path: &str) -> (u16, String) {
        let mut tcp = TcpStream::connect(self.addr).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr);
        tcp.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
