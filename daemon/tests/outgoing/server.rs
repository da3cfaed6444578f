//! The binary as a server with a configuration file, and a client that talks into it.

use std::io::BufReader;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::Body;
use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::common::{address_of_ready, diarized, request, speech};

/// A server on a free port; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
}

impl Server {
    /// Starts `diarized serve` with this configuration, in `folder`.
    pub(crate) fn start(folder: &Path, config: &str) -> Self {
        let path = folder.join("diarized.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = diarized(&["serve", "--listen", "127.0.0.1:0", "--config", path.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { child, addr }
    }

    /// Status of a request.
    pub(crate) fn post(&self, path: &str, body: &str) -> u16 {
        request(&self.addr, "POST", path, body).0
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, page) = request(&self.addr, "GET", "/metrics", "");
        let of =
            |line: &str| line.strip_prefix("diarized_")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(of).unwrap_or_else(|| panic!("no {name}: {page}"))
    }

    /// A session as it stands, if there is one of this id.
    pub(crate) fn snapshot(&self, session: &str) -> Option<Value> {
        let (status, body) = request(&self.addr, "GET", &format!("/v1/sessions/{session}"), "");
        (status == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// Opens a session and sends the first seconds of the example conversation into it.
    pub(crate) fn talk(&self, session: &str, seconds: usize) -> Talk {
        let url = format!("ws://{}/v1/stream?session={session}", self.addr);
        let (mut socket, _) = tungstenite::client(url, TcpStream::connect(&self.addr).unwrap()).unwrap();
        for block in speech(Some(seconds)).chunks(8000) {
            let bytes: Vec<u8> = block.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
            socket.send(Message::Binary(bytes.into())).unwrap();
        }
        Talk { socket }
    }

    /// Ends the server in good order.
    pub(crate) fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Ends it without any order.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session that is being sent.
pub(crate) struct Talk {
    socket: tungstenite::WebSocket<TcpStream>,
}

impl Talk {
    /// Ends the session and returns its events.
    pub(crate) fn close(mut self) -> Vec<ServerMessage> {
        self.socket.send(Message::text(r#"{"type":"close"}"#)).unwrap();
        let mut all = Vec::new();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message = ServerMessage::parse(&text).unwrap();
                    let is_last = matches!(message.body, Body::Ended(_));
                    all.extend(message.seq.is_some().then_some(message));
                    if is_last {
                        return all;
                    }
                }
                Ok(_) => {}
                Err(error) => panic!("the session broke: {error}"),
            }
        }
    }
}
