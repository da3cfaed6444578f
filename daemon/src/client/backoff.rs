//! Delays between attempts to connect.

use std::time::Duration;

/// First wait; each further one doubles.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Waits that grow while nothing works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (self.0 * 2).min(LONGEST);
        wait
    }

    /// Something worked: the next wait is short again.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}
