//! A WebSocket connection to a server.

use std::time::Duration;

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::address::Address;
use super::dial::{DialError, dial};
use crate::byte_stream::ByteStream;

/// A connection to a server.
pub(super) type Socket = WebSocketStream<Box<dyn ByteStream>>;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a server is gone: it pings three times in this.
pub(super) const SILENCE: Duration = Duration::from_secs(75);
/// Largest message that a client takes: the snapshot of a day of talk fits several times.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No server at the address, or no WebSocket server.
    #[error("cannot reach {url}: {reason}")]
    Refused {
        /// Where.
        url: String,
        /// Error of the network or the server.
        reason: String,
    },
    /// No answer.
    #[error("{url} does not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout {
        /// Where.
        url: String,
    },
}

pub(super) async fn connect(address: &Address, path: &str) -> Result<Socket, ConnectError> {
    let url = address.url(path);
    match tokio::time::timeout(CONNECT_TIMEOUT, try_connect(address, &url)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(reason)) => Err(ConnectError::Refused { url, reason }),
        Err(_) => Err(ConnectError::Timeout { url }),
    }
}

async fn try_connect(address: &Address, url: &str) -> Result<Socket, String> {
    use tokio_tungstenite::tungstenite::Error;
    let mut request = url.into_client_request().map_err(|error| reason_of(&error))?;
    if let Some(token) = address.token() {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value
            .map_err(|_| "the token contains characters that are not allowed in an HTTP header".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let (host, port) = address.host_and_port();
    let stream = dial(host, port, address.authorities()).await.map_err(|error| match error {
        DialError::Tcp(error) => reason_of(&Error::Io(error)),
        DialError::Tls(reason) => reason,
    })?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    let (socket, _) = opening.await.map_err(|error| reason_of(&error))?;
    Ok(socket)
}

/// What went wrong, with a hint where the cause is a common one.
fn reason_of(error: &tokio_tungstenite::tungstenite::Error) -> String {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            "nothing listens there; start `diarized serve` or check the address".to_owned()
        }
        Error::Http(response) => format!("the server answers HTTP {}", response.status()),
        other => other.to_string(),
    }
}
