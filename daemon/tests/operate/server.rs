//! The binary as a server, and the few bytes of HTTP that the tests speak to it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::common::{diarized, request};

/// Longer than anything here takes on a busy machine: what waits this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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

    /// Starts it again where it was, once it has ended.
    pub(crate) fn start_at(addr: SocketAddr, args: &[&str], key: Option<&str>) -> Self {
        let mut command = diarized(&["serve", "--listen", &addr.to_string()]);
        command.args(args).envs(key.map(|key| ("DIARIZED_VOICES_KEY", key)));
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
        request(&self.addr.to_string(), method, path, "")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
