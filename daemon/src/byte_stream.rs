//! A connection as bytes in both directions, whatever carries it.

use tokio::io::{AsyncRead, AsyncWrite};

/// The bytes of a connection, plain or encrypted.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> ByteStream for T {}
