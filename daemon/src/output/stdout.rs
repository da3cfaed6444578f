//! Standard output and its errors: closed, as by `head`, or a full disk.

use std::io::{self, Write as _};

/// Standard output takes no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {reason}")]
pub struct StdoutError {
    /// Error of the system.
    reason: io::Error,
}

impl StdoutError {
    /// Whether the reader has closed it: no error to report.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        self.reason.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes `text` to standard output, all of it.
///
/// # Errors
/// [`StdoutError`]; some of it may have been written.
pub fn write_stdout(text: &str) -> Result<(), StdoutError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|reason| StdoutError { reason })
}
