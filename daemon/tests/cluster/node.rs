//! The binary as a node, and a publisher that talks into it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::common::{address_of_ready, diarized, request, until};

/// A node on a free port; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) addr: String,
    log: Arc<Mutex<String>>,
}

impl Node {
    /// Starts a node of this name.
    pub(crate) fn start(nats: &str, name: &str) -> Self {
        Self::start_with(nats, name, &[])
    }

    /// Starts a node of this name with further keys of the configuration.
    pub(crate) fn start_with(nats: &str, name: &str, keys: &[&str]) -> Self {
        Self::run(diarized(&["serve", "--listen", "127.0.0.1:0"]), nats, name, keys)
    }

    /// Starts a node whose clock goes `ahead_s` seconds ahead; `None` on a machine without what sets it.
    pub(crate) fn start_ahead(nats: &str, name: &str, keys: &[&str], ahead_s: i32) -> Option<Self> {
        let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().map_while(Result::ok);
        let mut libraries = libraries.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.find(|library| library.exists()) else {
            println!("not run: clocks, because there is no libfaketime (apt-get install faketime)");
            return None;
        };
        let mut command = diarized(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("LD_PRELOAD", library).env("FAKETIME", format!("{ahead_s:+}s"));
        // Durations are measured by another clock, which nobody sets.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Some(Self::run(command, nats, name, keys))
    }

    fn run(mut command: Command, nats: &str, name: &str, keys: &[&str]) -> Self {
        let (nats, node) = (format!("cluster.nats={nats}"), format!("cluster.node={name}"));
        // NATS sets this much of its disk aside, and a little for what is no event.
        let max_bytes = "cluster.max_bytes=268435456";
        for key in [nats.as_str(), node.as_str(), max_bytes].iter().chain(keys) {
            command.args(["--set", key]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, logged) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *logged.lock() += &(line + "\n");
            }
        });
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { child, addr, log }
    }

    /// Waits until it has joined its cluster.
    pub(crate) fn joined(self) -> Self {
        self.wait_for_ready("ready");
        self
    }

    /// Waits until `/readyz` says this.
    pub(crate) fn wait_for_ready(&self, text: &str) {
        until(text, || self.get("/readyz").1.contains(text).then_some(()));
    }

    /// Waits until it has logged this.
    pub(crate) fn wait_for_log(&self, text: &str) {
        until(text, || self.log.lock().contains(text).then_some(()));
    }

    /// Status and body of a `GET`.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        request(&self.addr, "GET", path, "")
    }

    /// The JSON of a `GET`, once it succeeds.
    pub(crate) fn json(&self, path: &str) -> Value {
        until(path, || {
            let (status, body) = self.get(path);
            (status == 200).then(|| serde_json::from_str(&body).unwrap())
        })
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics");
        let of =
            |line: &str| line.strip_prefix("diarized_")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(of).unwrap_or_else(|| panic!("no {name}: {page}"))
    }

    /// Sends it a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Ends it in good order.
    pub(crate) fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log.lock());
    }

    /// Ends it without any order.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the log of {}:\n{}", self.addr, self.log.lock());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A WebSocket to a node.
pub(crate) struct Socket(tungstenite::WebSocket<TcpStream>);

impl Node {
    /// Opens a WebSocket.
    pub(crate) fn socket(&self, path: &str) -> Socket {
        self.socket_of(format!("ws://{}{path}", self.addr))
    }

    /// Opens a WebSocket by this request.
    pub(crate) fn socket_of(&self, request: impl IntoClientRequest) -> Socket {
        let tcp = TcpStream::connect(&self.addr).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        tcp.set_write_timeout(Some(Duration::from_secs(90))).unwrap();
        Socket(tungstenite::client(request, tcp).unwrap().0)
    }

    /// Status and body of a correction.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        request(&self.addr, "POST", path, body)
    }

    /// Status and answer of a request with a token and a body.
    pub(crate) fn voices(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        token: &str,
        body: &[u8],
    ) -> (u16, Value) {
        let (status, body) = self.ask(method, path, kind, token, body);
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The same, with the body as it came.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        token: &str,
        body: &[u8],
    ) -> (u16, String) {
        let mut tcp = TcpStream::connect(&self.addr).unwrap();
        let (addr, n) = (&self.addr, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: {kind}\r\nAuthorization: \
             Bearer {token}\r\nContent-Length: {n}\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).unwrap();
        tcp.write_all(body).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) fn delete(&self, session: &str) -> (u16, String) {
        request(&self.addr, "DELETE", &format!("/v1/sessions/{session}"), "")
    }

    /// The events of a session after `since` as this node sends them, to the end of the session.
    pub(crate) fn events_since(&self, session: &str, since: u64) -> Vec<String> {
        self.socket(&format!("/v1/events?session={session}&since={since}")).events()
    }

    /// One session in this node's list.
    pub(crate) fn listed(&self, session: &str) -> Option<Value> {
        let all = self.json("/v1/sessions");
        all["sessions"].as_array().unwrap().iter().find(|listed| listed["session"] == session).cloned()
    }
}

impl Socket {
    pub(crate) fn send(&mut self, json: &str) {
        self.0.send(Message::text(json)).unwrap();
    }

    /// Sends samples as fast as they are taken.
    pub(crate) fn talk(&mut self, samples: &[f32]) {
        for block in samples.chunks(8000) {
            let bytes: Vec<u8> = block.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
            self.0.send(Message::Binary(bytes.into())).unwrap();
        }
    }

    /// The next text frame; none when the other side has closed.
    pub(crate) fn next(&mut self) -> Option<String> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(frame)) => {
                    println!("closed: {frame:?}");
                    return None;
                }
                Err(error) => {
                    println!("broken: {error}");
                    return None;
                }
                Ok(_) => {}
            }
        }
    }

    /// The next message of this type.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        loop {
            let text = self.next().unwrap_or_else(|| panic!("no {kind} comes"));
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Every event to the close, as it was sent.
    pub(crate) fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(text) = self.next() {
            let message: Value = serde_json::from_str(&text).unwrap();
            assert!(!["lagged", "error"].contains(&message["type"].as_str().unwrap()), "{text}");
            if message.get("seq").is_some() {
                events.push(text);
            }
        }
        events
    }
}
