//! Where the audio of a live source lies on the clock of its session: where it would lie if nothing had been missing.

use std::time::{Duration, Instant};

/// Samples in a second.
const RATE_HZ: f64 = 16_000.0;
/// A source that gives nothing for so long has stalled: what comes next may lie later than where the last audio ended.
pub(super) const STALL: Duration = Duration::from_secs(1);
/// Interval at which held audio is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Audio that comes faster than real time by this factor was buffered, and more of it is on its way.
const IS_BURST: f64 = 2.0;
/// Audio that is held at most, in samples: 60 s.
const MAX_HELD: u64 = 60 * 16_000;
/// Shorter gaps are no gaps: behind an opening, and behind a stall, in which a source may have buffered.
const SHORTEST_AT_OPENING: Duration = Duration::from_millis(250);
const SHORTEST_BEHIND_STALL: Duration = Duration::from_secs(1);

/// Whole samples in a time in seconds.
pub(super) fn samples_of(seconds: f64) -> u64 {
    (seconds * RATE_HZ) as u64
}

/// The moment at which a session's clock began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrueClock {
    began: Instant,
}

impl TrueClock {
    /// A clock whose first `n_samples` had come by `now`.
    pub(super) fn start(now: Instant, n_samples: u64) -> Self {
        let earlier = Duration::from_secs_f64(n_samples as f64 / RATE_HZ);
        Self { began: now.checked_sub(earlier).unwrap_or(now) }
    }

    /// Samples that are missing before the held ones, if they are a gap. `n_received` have come before.
    pub(super) fn missing(self, now: Instant, n_received: u64, held: &Held) -> Option<u64> {
        let elapsed_s = now.saturating_duration_since(self.began).as_secs_f64();
        let missing_s = elapsed_s - (n_received + held.n_samples()) as f64 / RATE_HZ;
        let shortest = if held.is_opening { SHORTEST_AT_OPENING } else { SHORTEST_BEHIND_STALL };
        (n_received > 0 && missing_s > shortest.as_secs_f64()).then(|| samples_of(missing_s))
    }
}

/// Audio that waits until it is clear how much of it was buffered elsewhere, and so where it lies.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// The source was opened, in contrast to a stall.
    is_opening: bool,
    look_at: Instant,
    n_at_last_look: u64,
}

impl Held {
    pub(super) fn new(now: Instant, is_opening: bool) -> Self {
        Self { bytes: Vec::new(), is_opening, look_at: now + LOOK_EVERY, n_at_last_look: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn n_samples(&self) -> u64 {
        self.bytes.len() as u64 / 2
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// When to look whether it [is complete](Self::is_complete).
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Whether no more buffered audio is on its way. Without audio it never is.
    pub(super) fn is_complete(&mut self, now: Instant) -> bool {
        let n_samples = self.n_samples();
        if n_samples >= MAX_HELD {
            return true;
        }
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_EVERY;
        let new_s = (n_samples - std::mem::replace(&mut self.n_at_last_look, n_samples)) as f64 / RATE_HZ;
        n_samples > 0 && new_s < IS_BURST * LOOK_EVERY.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 16_000;

    fn held(now: Instant, is_opening: bool, samples: u64) -> Held {
        let mut held = Held::new(now, is_opening);
        held.push(&vec![0; samples as usize * 2]);
        held
    }

    #[test]
    fn what_is_missing_is_the_time_less_all_audio() {
        let began = Instant::now();
        let clock = TrueClock::start(began + Duration::from_secs(2), 2 * SECOND);
        assert_eq!(clock, TrueClock { began });
        let now = began + Duration::from_secs(20);
        let missing =
            |n_received, is_opening, n_held| clock.missing(now, n_received, &held(now, is_opening, n_held));
        assert_eq!(missing(10 * SECOND, false, 5 * SECOND), Some(5 * SECOND));
        assert_eq!(missing(10 * SECOND, false, 10 * SECOND), None, "all of it was buffered");
        assert_eq!(missing(10 * SECOND, false, 12 * SECOND), None, "and more");
        assert_eq!(missing(19 * SECOND + 8000, true, 0), Some(8000));
        assert_eq!(missing(19 * SECOND + 8000, false, 0), None, "a short stall is no gap");
        assert_eq!(missing(0, true, SECOND), None, "before the first audio there is no gap");
        // A session of another process may have begun before this machine.
        let year_s: u32 = 365 * 86_400;
        let old = TrueClock::start(now, samples_of(f64::from(year_s)));
        let missing = old.missing(now, SECOND, &held(now, true, 0));
        assert_eq!(missing, Some((u64::from(year_s) - 1) * SECOND));
    }

    #[test]
    fn held_audio_waits_for_the_end_of_a_burst() {
        let began = Instant::now();
        let mut held = Held::new(began, true);
        let at = |look: u32| began + LOOK_EVERY * look;
        assert!(!held.is_complete(at(1)), "there is none");
        held.push(&[0; 64_000]);
        assert!(!held.is_complete(at(1)) && !held.is_complete(at(2)), "two seconds in one look");
        held.push(&[0; 9_600]);
        assert!(held.is_complete(at(3)));
        assert_eq!(held.n_samples(), 36_800);
        held.push(&vec![0; 2 * MAX_HELD as usize]);
        assert!(held.is_complete(began), "what is held is bounded");
    }
}
