//! Delays between attempts to connect.

use std::time::Duration;

/// First wait; each further one doubles.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Waits that grow while nothing works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    wait: Duration,
    longest: Duration,
}

impl Backoff {
    /// Waits of at most [`LONGEST`].
    pub(crate) fn new() -> Self {
        Self::up_to(LONGEST)
    }

    /// Waits of at most `longest`.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { wait: FIRST, longest }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(self.longest);
        wait
    }

    /// Something worked: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.wait = FIRST;
    }
}
