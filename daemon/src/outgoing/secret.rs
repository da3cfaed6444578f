//! Passwords and secrets in files of their own.

use std::path::{Path, PathBuf};

use crate::client::TlsError;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// A file of a password or a secret cannot be read.
    #[error("cannot read {key} in {}", path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A file of a password or a secret holds nothing.
    #[error("{key} in {} must hold one line that is not empty", path.display())]
    Empty {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The authorities for a certificate cannot be read.
    #[error("mqtt.ca_file cannot be used")]
    Authorities(#[from] TlsError),
}

/// The first line of a file of a secret.
pub(crate) fn secret_line(key: &'static str, path: &Path) -> Result<String, OutgoingError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| OutgoingError::File { key, path: path.to_owned(), source })?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() {
        return Err(OutgoingError::Empty { key, path: path.to_owned() });
    }
    Ok(line)
}
