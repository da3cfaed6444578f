//! Connections of hostile clients: from addresses of their own, with and without a token, with short patience.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Where a hostile client comes from, and whom it attacks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    pub(super) server: SocketAddr,
    /// Its own address: of the loopback network, as is the server's.
    pub(super) from: Ipv4Addr,
}

impl Wire {
    /// A connection.
    ///
    /// # Errors
    /// The server refuses it, or is too slow.
    pub(super) async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.from, 0)))?;
        Ok(timeout(PATIENCE, socket.connect(self.server)).await??)
    }

    /// Status and body of a plain request.
    ///
    /// # Errors
    /// No answer comes.
    pub(super) async fn request(
        &self,
        token: Option<&str>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> anyhow::Result<(u16, String)> {
        let mut tcp = self.connect().await?;
        tcp.write_all(self.head(token, method, path, body.len()).as_bytes()).await?;
        // The server may answer, and close, before it has read all.
        let _ = tcp.write_all(body).await;
        let mut answer = Vec::new();
        let read = timeout(PATIENCE, tcp.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)).await?;
        anyhow::ensure!(read.is_ok() || !answer.is_empty(), "no answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| anyhow::anyhow!("no status in {head:.60}"))?, body.to_owned()))
    }

    /// The head of a request with a body of `n_bytes`.
    pub(super) fn head(&self, token: Option<&str>, method: &str, path: &str, n_bytes: usize) -> String {
        let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let is_json = path.starts_with("/v1/sessions/") || path == "/v1/speakers";
        let kind = if is_json { "Content-Type: application/json\r\n" } else { "" };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}{kind}Content-Length: {n_bytes}\r\n\r\n",
            self.server
        )
    }

    /// A WebSocket.
    ///
    /// # Errors
    /// The server refuses it, or is too slow.
    pub(super) async fn ws(
        &self,
        token: Option<&str>,
        path: &str,
    ) -> anyhow::Result<WebSocketStream<TcpStream>> {
        let mut request = format!("ws://{}{path}", self.server).into_client_request()?;
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let tcp = self.connect().await?;
        let (socket, _) = timeout(PATIENCE, tokio_tungstenite::client_async(request, tcp)).await??;
        Ok(socket)
    }
}
