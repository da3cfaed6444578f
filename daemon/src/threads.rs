//! Numbers of threads.

use std::num::NonZeroUsize;

/// Cores that this process may use; 1 if the system does not know.
#[must_use]
pub fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The configured number of threads, where 0 takes one a core.
#[must_use]
pub fn n_threads(configured: usize) -> usize {
    if configured == 0 { n_cores() } else { configured }
}
