//! Connections to servers, plain or encrypted.

use std::io;

use tokio::net::TcpStream;

use super::tls::Authorities;
use crate::byte_stream::ByteStream;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// No connection to the port.
    #[error(transparent)]
    Tcp(#[from] io::Error),
    /// No encryption.
    #[error("{0}")]
    Tls(String),
}

/// Connects to a port; with authorities the connection is encrypted, and the certificate of the host must be valid.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    authorities: Option<&Authorities>,
) -> Result<Box<dyn ByteStream>, DialError> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(match authorities {
        None => Box::new(tcp),
        Some(authorities) => Box::new(authorities.encrypt(host, tcp).await.map_err(DialError::Tls)?),
    })
}
