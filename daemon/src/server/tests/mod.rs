//! The server on real sockets, its diarizer scripted: what is checked here is the protocol.

mod access;
mod after_end;
mod corrections;
mod crowd;
mod faults;
mod http;
mod load;
mod resume;
mod room;
mod sessions;
mod words;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use diarized_models::SessionState;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;
use crate::hub::HubParams;
use crate::protocol::server_message::{Body, EndReason, Ended, Error};
use crate::protocol::{ErrorCode, ServerMessage};
use crate::session::EngineFactory;
use crate::session::scripted::{Gate, ScriptedFactory, script};

/// Longer than anything here takes on a busy machine: what waits this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    gate: Arc<Gate>,
    factory: Arc<ScriptedFactory>,
    task: JoinHandle<DrainReport>,
}

pub(crate) async fn serve() -> Running {
    serve_with(HubParams::default(), Limits::default()).await
}

pub(crate) async fn serve_with(params: HubParams, limits: Limits) -> Running {
    serve_at("127.0.0.1:0", params, limits).await
}

/// A server with this access.
async fn serve_guarded(access: Arc<Access>, limits: Limits) -> Running {
    serve_all("127.0.0.1:0", HubParams::default(), limits, access).await
}

pub(crate) async fn serve_at(addr: &str, params: HubParams, limits: Limits) -> Running {
    serve_all(addr, params, limits, Arc::new(Access::open())).await
}

async fn serve_all(addr: &str, params: HubParams, limits: Limits, access: Arc<Access>) -> Running {
    let factory = Arc::new(ScriptedFactory::default());
    let gate = Arc::clone(&factory.gate);
    let hub = Hub::new(params, Arc::clone(&factory) as Arc<dyn EngineFactory>);
    let listener = TcpListener::bind(addr).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = Server::new(Arc::clone(&hub), limits, access, None);
    let task = tokio::spawn(server.run(vec![listener]));
    Running { addr, hub, gate, factory, task }
}

impl Running {
    async fn ws(&self, path: &str) -> Ws {
        let (socket, _) =
            tokio_tungstenite::connect_async(format!("ws://{}{path}", self.addr)).await.unwrap();
        Ws { socket }
    }

    /// A publisher of 16 kHz `pcm_s16le` that has read its `started`.
    pub(crate) async fn publisher(&self, id: &str) -> Ws {
        let mut ws = self.ws(&format!("/v1/stream?session={id}")).await;
        let started = ws.next().await;
        assert!(matches!(started.body, Body::Started(_)), "{started:?}");
        assert_eq!(started.session.as_deref(), Some(id));
        ws
    }

    /// The same, after its first segment.
    async fn speaking(&self, id: &str) -> Ws {
        let mut ws = self.publisher(id).await;
        ws.audio(script(&[(0.1, 3)])).await;
        ws.until("segment").await;
        ws
    }

    /// Status and body of one request.
    async fn http(&self, method: &str, path: &str) -> (u16, String) {
        let addr = self.addr;
        self.request(format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")).await
    }

    /// Status and body of the answer to these bytes.
    async fn request(&self, request: String) -> (u16, String) {
        let answer = self.raw(&request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// All that comes back for these bytes until the server closes; nothing if it resets.
    async fn raw(&self, request: &str) -> String {
        let (addr, request) = (self.addr, request.to_owned());
        let answering = tokio::task::spawn_blocking(move || {
            let mut tcp = std::net::TcpStream::connect(addr).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            tcp.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            // A reset loses what was not read; what came before it stays.
            let _ = tcp.read_to_end(&mut answer);
            String::from_utf8(answer).unwrap()
        });
        answering.await.unwrap()
    }

    pub(crate) async fn shut_down(self) -> DrainReport {
        self.hub.shut_down();
        timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

/// A client's end of a WebSocket.
pub(crate) struct Ws {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Ws {
    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn audio(&mut self, bytes: impl Into<axum::body::Bytes>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The next message, or the close code.
    async fn recv(&mut self) -> Result<ServerMessage, Option<u16>> {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("the server answers");
            match next {
                Some(Ok(Message::Text(text))) => return Ok(ServerMessage::parse(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|f| f.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next message.
    async fn next(&mut self) -> ServerMessage {
        self.recv().await.expect("a message, not a close")
    }

    /// Messages up to and including the first of this type.
    /// The code of the close, when nothing but messages comes before it.
    async fn next_close(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.recv().await {
                return code;
            }
        }
    }

    async fn until(&mut self, kind: &str) -> Vec<ServerMessage> {
        let mut all = Vec::new();
        loop {
            all.push(self.next().await);
            if all.last().unwrap().body.kind() == kind {
                return all;
            }
        }
    }

    /// All further messages and the close code.
    pub(crate) async fn rest(mut self) -> (Vec<ServerMessage>, Option<u16>) {
        let mut all = Vec::new();
        loop {
            match self.recv().await {
                Ok(message) => all.push(message),
                Err(code) => return (all, code),
            }
        }
    }
}

/// The only error among the messages.
fn error(messages: &[ServerMessage]) -> &Error {
    let errors: Vec<_> = messages
        .iter()
        .filter_map(|m| match &m.body {
            Body::Error(error) => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!(errors.len(), 1, "{messages:#?}");
    errors[0]
}

fn ended(messages: &[ServerMessage]) -> Option<&Ended> {
    messages.iter().find_map(|m| match &m.body {
        Body::Ended(ended) => Some(ended),
        _ => None,
    })
}

/// What the messages make of an empty state or of their own snapshots; the events must be gapless.
pub(crate) fn replay(messages: &[ServerMessage]) -> SessionState {
    let (mut state, mut seq) = (SessionState::new(), 0);
    for message in messages {
        match &message.body {
            Body::Snapshot(snapshot) => {
                state = snapshot.to_state().unwrap();
                seq = message.seq.unwrap();
            }
            body => {
                let Some(got) = message.seq else { continue };
                assert_eq!(got, seq + 1, "no loss, no doubling");
                seq = got;
                if !crate::session::About::takes(body) && !matches!(body, Body::Ended(_) | Body::Warning(_)) {
                    state.apply(&body.to_event().unwrap()).unwrap();
                }
            }
        }
    }
    state
}
