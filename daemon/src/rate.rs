//! Token bucket: a rate per second with bursts.

use std::time::Duration;

use tokio::time::Instant;

/// Counts what comes against what may come in a second.
#[derive(Debug)]
pub struct Rate {
    per_s: f64,
    at_once: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    /// `per_s` in a second, `at_once` together after a rest; both at least 1.
    #[must_use]
    pub fn new(per_s: u32, at_once: u32) -> Self {
        let (per_s, at_once) = (f64::from(per_s), f64::from(at_once));
        Self { per_s, at_once, left: at_once, at: Instant::now() }
    }

    fn grow(&mut self, now: Instant) {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * self.per_s;
        self.left = (self.left + grown).min(self.at_once);
        self.at = now;
    }

    /// Whether all that may come at once is left.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.grow(now);
        self.left >= self.at_once
    }

    /// Takes one even from an empty bucket, and returns the time to wait.
    pub fn owes_one_more(&mut self, now: Instant) -> Duration {
        self.grow(now);
        self.left -= 1.0;
        Duration::from_secs_f64((-self.left).max(0.0) / self.per_s)
    }

    /// Takes one, if one is left.
    pub fn takes_one_more(&mut self, now: Instant) -> bool {
        self.takes(now, 1)
    }

    /// Takes `n`, if as many are left; otherwise none.
    pub fn takes(&mut self, now: Instant, n: u32) -> bool {
        self.grow(now);
        let takes = self.left >= f64::from(n);
        self.left -= if takes { f64::from(n) } else { 0.0 };
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_earns_some_at_once_and_no_more() {
        let mut rate = Rate::new(5, 10);
        let now = Instant::now();
        assert_eq!((0..50).filter(|_| rate.takes_one_more(now)).count(), 10);
        assert_eq!((0..50).filter(|_| rate.takes_one_more(now + Duration::from_secs(1))).count(), 5);
        assert_eq!((0..50).filter(|_| rate.takes_one_more(now + Duration::from_secs(100))).count(), 10);
        assert_eq!(rate.owes_one_more(now + Duration::from_secs(100)), Duration::from_millis(200));
        assert!(
            !rate.takes(now + Duration::from_secs(200), 11) && rate.takes(now + Duration::from_secs(200), 10)
        );
    }
}
