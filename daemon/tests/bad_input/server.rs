//! A server of the real binary, and clients that speak to it frame by frame or byte by byte.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, Error};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::common::address_of_ready;
use super::diarized;

/// Longer than any answer takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a free port, its log in a file; killed when dropped.
pub(crate) struct Server {
    child: Child,
    log: std::path::PathBuf,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let log = folder.join("server.log");
        let mut child = diarized(folder, &[&["serve", "--listen", "127.0.0.1:0"], args].concat())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap())).parse().unwrap();
        Self { child, log, addr }
    }

    /// Status line and body of one request.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut tcp = self.tcp();
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.addr).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp
    }

    pub(crate) fn ws(&self, path: &str) -> Client {
        let (socket, _) = tungstenite::client(format!("ws://{}{path}", self.addr), self.tcp()).unwrap();
        Client(socket)
    }

    /// Asks the server to stop; gives its exit code and its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let code = self.child.wait().unwrap().code();
        (code, std::fs::read_to_string(&self.log).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A WebSocket.
pub(crate) struct Client(pub(crate) WebSocket<TcpStream>);

impl Client {
    pub(crate) fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    pub(crate) fn binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.0.send(Message::Binary(bytes.into().into())).unwrap();
    }

    /// The next message, or the close code.
    pub(crate) fn next(&mut self) -> Result<ServerMessage, Option<u16>> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(ServerMessage::parse(&text).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(_) => return Err(None),
            }
        }
    }

    /// Messages up to the first of this type.
    pub(crate) fn until(&mut self, kind: &str) -> ServerMessage {
        loop {
            let message = self.next().unwrap_or_else(|code| panic!("closed with {code:?} before {kind}"));
            if message.body.kind() == kind {
                return message;
            }
        }
    }

    /// The error that comes next.
    pub(crate) fn error(&mut self) -> Error {
        match self.until("error").body {
            Body::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// All further messages and the close code.
    pub(crate) fn rest(mut self) -> (Vec<ServerMessage>, Option<u16>) {
        let mut all = Vec::new();
        loop {
            match self.next() {
                Ok(message) => all.push(message),
                Err(code) => return (all, code),
            }
        }
    }
}
