//! Standard output, and what is said when it takes nothing: it is closed as by `head`, or its disk is full.

use std::io::{self, Write as _};

/// Standard output takes no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {reason}")]
pub struct StdoutError {
    /// What the system said.
    reason: io::Error,
}

impl StdoutError {
    /// Whether whoever read it has enough: no fault to tell.
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
