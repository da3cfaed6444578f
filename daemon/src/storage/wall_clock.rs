//! The system clock, which may be corrected while sessions are stored: their age counts from the correction.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use rusqlite::{OptionalExtension as _, params};

use super::database::Database;
use super::error::StorageError;
use super::values::unix_ms;

/// Least that a clock is set forward by for it to be taken as wrong before, in ms: an hour.
const MIN_JUMP_MS: i64 = 3_600_000;

/// Time of the system clock, and time since the start of the machine, which cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) wall_ms: i64,
    pub(super) up_ms: i64,
    /// Id of the machine's boot; of the process if the system has none.
    pub(super) boot: String,
}

impl Reading {
    pub(super) fn now() -> Self {
        let wall_ms = unix_ms(SystemTime::now());
        let up_s = std::fs::read_to_string("/proc/uptime").ok();
        let up_s = up_s.as_deref().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        match (up_s, boot) {
            (Some(up_s), Some(boot)) => {
                Self { wall_ms, up_ms: (up_s * 1000.0) as i64, boot: boot.trim().to_owned() }
            }
            _ => {
                static FIRST: OnceLock<(Instant, i64)> = OnceLock::new();
                let (began, began_ms) = FIRST.get_or_init(|| (Instant::now(), wall_ms));
                let up_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
                Self { wall_ms, up_ms, boot: format!("{} {began_ms}", std::process::id()) }
            }
        }
    }

    /// Milliseconds by which the clock was set forward since `before`; 0 if it was not, or if that is unknown.
    pub(super) fn set_forward_since(&self, before: &Self) -> i64 {
        if self.boot != before.boot {
            return 0;
        }
        let went = self.up_ms.saturating_sub(before.up_ms);
        let jump = self.wall_ms.saturating_sub(before.wall_ms).saturating_sub(went);
        if jump >= MIN_JUMP_MS { jump } else { 0 }
    }
}

impl Database {
    /// Compares the clock with where it stood last time and remembers where it stands. Sessions that ended while it was
    /// behind are as old as if it had been right; gives the milliseconds by which it was behind.
    pub(super) fn follow_clock(&mut self, now: &Reading) -> Result<i64, StorageError> {
        let write = self.sqlite.transaction()?;
        let before = write
            .query_row("SELECT wall_ms, up_ms, boot FROM clock", [], |row| {
                Ok(Reading { wall_ms: row.get(0)?, up_ms: row.get(1)?, boot: row.get(2)? })
            })
            .optional()?;
        let jump = before.as_ref().map_or(0, |before| now.set_forward_since(before));
        if let Some(before) = before.filter(|_| jump > 0) {
            // What ended after the clock was set right has the right time. A time between the old clock and the new one was
            // written by yet another clock: nobody knows that age, which counts from the last look.
            let last_look_ms = before.wall_ms + jump;
            write.execute(
                "UPDATE sessions SET ended_ms = CASE WHEN ended_ms <= ?2 THEN ended_ms + ?1 ELSE max(ended_ms, ?3) END",
                params![jump, now.wall_ms - jump, last_look_ms],
            )?;
        }
        write.execute(
            "INSERT OR REPLACE INTO clock (key, wall_ms, up_ms, boot) VALUES (1, ?1, ?2, ?3)",
            params![now.wall_ms, now.up_ms, now.boot],
        )?;
        write.commit()?;
        Ok(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_forward_is_noticed() {
        const DAY_MS: i64 = 86_400_000;
        let reading = |wall_ms, up_ms, boot: &str| Reading { wall_ms, up_ms, boot: boot.to_owned() };
        let before = reading(1000 * DAY_MS, 5000, "a");
        let jump = |now: Reading| now.set_forward_since(&before);
        assert_eq!(jump(reading(1090 * DAY_MS + 7000, 12_000, "a")), 90 * DAY_MS);
        assert_eq!(jump(reading(1000 * DAY_MS + 7000, 12_000, "a")), 0, "time went on");
        assert_eq!(jump(reading(1003 * DAY_MS, 5000 + 3 * DAY_MS, "a")), 0, "the machine slept");
        assert_eq!(jump(reading(900 * DAY_MS, 12_000, "a")), 0, "it was set back");
        assert_eq!(jump(reading(1090 * DAY_MS, 12_000, "b")), 0, "nobody knows how long the machine was off");
        let now = Reading::now();
        assert!(!now.boot.is_empty() && now.up_ms >= 0);
    }
}
