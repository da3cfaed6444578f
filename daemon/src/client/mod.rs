//! The client's side: follow the sessions of a server, play a file into one, and show labels in a terminal.

mod address;
mod backoff;
mod follow;
mod outgoing;
mod publish;
mod terminal;
mod view;
mod wire_audio;

pub use address::{Address, AddressError};
pub use follow::{Follow, News};
pub use publish::{Playback, PublishError, Summary, publish};
pub use terminal::Terminal;
pub use view::View;

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A connection to a server.
type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has not been heard for so long is gone: it pings three times in this.
const SILENCE: Duration = Duration::from_secs(75);
/// Largest message that a client takes: the snapshot of a day of talk fits several times.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody is there, or it is no WebSocket server.
    #[error("cannot reach {url}: {reason}")]
    Refused {
        /// Where.
        url: String,
        /// What the network or the server says.
        reason: String,
    },
    /// No answer.
    #[error("{url} does not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout {
        /// Where.
        url: String,
    },
}

async fn connect(url: &str) -> Result<Socket, ConnectError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let connecting = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(ConnectError::Refused { url: url.to_owned(), reason: reason_of(&error) }),
        Err(_) => Err(ConnectError::Timeout { url: url.to_owned() }),
    }
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

#[cfg(test)]
mod tests;
