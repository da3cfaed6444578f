//! Ids and times of what is stored.

use std::time::{SystemTime, UNIX_EPOCH};

/// `prefix` and 16 hexadecimal digits of the system's randomness.
pub(super) fn random_id(prefix: &str) -> String {
    format!("{prefix}{}", crate::secret::random_hex(8))
}

/// Seconds since 1970 by the machine's clock.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
