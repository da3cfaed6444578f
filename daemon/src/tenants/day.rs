//! Days of UTC.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::access::date_of;

const DAY_S: u64 = 86_400;

/// A day of UTC, counted from 1970 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Day(pub(crate) u64);

impl Day {
    pub(crate) fn of(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY_S)
    }

    /// Today, by the clock of this machine.
    pub(crate) fn today() -> Self {
        Self::of(SystemTime::now())
    }

    /// When the next day begins, as `2026-02-01T00:00:00Z`.
    pub(crate) fn end_of_utc(self) -> String {
        format!("{}T00:00:00Z", Self(self.0 + 1))
    }

    /// Seconds from `now` until the next day, at least one.
    pub(crate) fn left_s(self, now: SystemTime) -> u64 {
        let end = UNIX_EPOCH + Duration::from_secs((self.0 + 1) * DAY_S);
        end.duration_since(now).unwrap_or_default().as_secs().max(1)
    }
}

impl fmt::Display for Day {
    /// As `2026-01-31`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&date_of(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_of_utc() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(Day::of(at(0)).to_string(), "1970-01-01");
        let (last, first) = (at(1_769_903_999), at(1_769_904_000));
        assert_eq!(
            (Day::of(last).to_string(), Day::of(first).to_string()),
            ("2026-01-31".into(), "2026-02-01".into())
        );
        assert_eq!(
            (Day::of(last).end_of_utc().as_str(), Day::of(last).left_s(last)),
            ("2026-02-01T00:00:00Z", 1)
        );
        assert_eq!(Day::of(first).left_s(first), DAY_S);
    }
}
