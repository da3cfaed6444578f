//! Where those clients come in: a port or a socket of this machine, with a limited number of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use diarized_config::Place;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::byte_stream::ByteStream;

/// Clients of one protocol at a time; further ones wait to be accepted.
pub(crate) const MAX_CLIENTS: usize = 64;
/// How long to wait when the operating system has no more file descriptors for us.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Why nobody can come in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {place} ({key})")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        place: String,
        /// Error of the system.
        source: io::Error,
    },
    /// Other machines could use it without authentication.
    #[error(
        "{place} ({key}) can be reached from other machines, and this protocol asks nobody for a token. Listen on \
         tcp://127.0.0.1 or on a unix socket, or set {allow_key} = true if everybody who can reach it is trusted"
    )]
    Open {
        /// The key of the address.
        key: &'static str,
        /// The key that allows it.
        allow_key: &'static str,
        /// The address.
        place: String,
    },
}

enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener, std::path::PathBuf),
}

/// A place where clients are accepted.
pub(crate) struct Door {
    listening: Listening,
    places: Arc<Semaphore>,
}

impl Door {
    /// Listens. With `is_trusted` other machines may come in, too.
    ///
    /// # Errors
    /// [`DoorError`]
    pub(crate) async fn open(
        place: &Place,
        key: &'static str,
        allow_key: &'static str,
        is_trusted: bool,
    ) -> Result<Self, DoorError> {
        let failed = |source| DoorError::Listen { key, place: place.to_string(), source };
        let listening = match place {
            Place::Net(endpoint) => {
                let tcp = TcpListener::bind((endpoint.host.as_str(), endpoint.port)).await.map_err(failed)?;
                let addr = tcp.local_addr().map_err(failed)?;
                if !addr.ip().is_loopback() && !is_trusted {
                    return Err(DoorError::Open { key, allow_key, place: place.to_string() });
                }
                Listening::Tcp(tcp)
            }
            #[cfg(unix)]
            Place::Unix(path) => Listening::Unix(unix(path).await.map_err(failed)?, path.clone()),
            _ => return Err(failed(io::Error::from(io::ErrorKind::Unsupported))),
        };
        Ok(Self { listening, places: Arc::new(Semaphore::new(MAX_CLIENTS)) })
    }

    /// The port, if it is one.
    pub(crate) fn addr(&self) -> Option<std::net::SocketAddr> {
        match &self.listening {
            Listening::Tcp(tcp) => tcp.local_addr().ok(),
            #[cfg(unix)]
            Listening::Unix(..) => None,
        }
    }

    /// The next client, and its place among the others.
    pub(crate) async fn next(&self) -> (Box<dyn ByteStream>, OwnedSemaphorePermit) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await.expect("nobody closes this semaphore");
            match self.accept().await {
                Ok(stream) => return (stream, place),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn ByteStream>> {
        Ok(match &self.listening {
            Listening::Tcp(tcp) => {
                let (stream, _) = tcp.accept().await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            #[cfg(unix)]
            Listening::Unix(listener, _) => Box::new(listener.accept().await?.0),
        })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Listening::Unix(_, path) = &self.listening {
            // What is gone already needs no removal.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on a socket; one that an earlier process left behind is replaced.
#[cfg(unix)]
async fn unix(path: &std::path::Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
