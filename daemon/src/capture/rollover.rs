//! When the session of the microphone gives way to a new one: on another day, or after a silence.

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
use jiff::civil::Date;

/// Silence in which a session ends on another day, so that no sentence is cut.
const PAUSE_S: u64 = 10;
/// Time on another day after which a session ends without a pause.
const MAX_OVERTIME_S: u64 = 3600;

/// The age of one session, in the audio that it got.
#[derive(Debug)]
pub(super) struct Rollover {
    /// Silence after which a session with speech ends, in seconds; 0 for never.
    after_silence_s: u64,
    day: Date,
    n_samples: u64,
    /// The session's samples when another day began.
    day_over_at: Option<u64>,
}

impl Rollover {
    /// For a session that begins on `day`.
    pub(super) fn new(day: Date, after_silence_s: u64) -> Self {
        Self { after_silence_s, day, n_samples: 0, day_over_at: None }
    }

    /// Counts `n_samples` of the 16 kHz clock, audio or gap.
    pub(super) fn count(&mut self, n_samples: u64) {
        self.n_samples += n_samples;
    }

    /// Whether the session, whose last speech ended at `last_speech`, ends now. A clock that is set back ends none.
    pub(super) fn is_due(&mut self, today: Date, last_speech: Option<SampleIndex>) -> bool {
        let seconds_since = |at: u64| self.n_samples.saturating_sub(at) / u64::from(SAMPLE_RATE_HZ);
        let silence_s = seconds_since(last_speech.map_or(0, |at| at.0));
        if self.after_silence_s > 0 && last_speech.is_some() && silence_s >= self.after_silence_s {
            return true;
        }
        if today <= self.day {
            self.day_over_at = None;
            return false;
        }
        let over_at = *self.day_over_at.get_or_insert(self.n_samples);
        silence_s >= PAUSE_S || seconds_since(over_at) >= MAX_OVERTIME_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = SAMPLE_RATE_HZ as u64;

    fn day(day: i8) -> Date {
        Date::new(2026, 11, day).unwrap()
    }

    fn at(seconds: u64) -> Option<SampleIndex> {
        Some(SampleIndex(seconds * SECOND))
    }

    #[test]
    fn another_day_begins_in_a_pause_or_an_hour_later() {
        let mut rollover = Rollover::new(day(29), 0);
        rollover.count(100 * SECOND);
        assert!(!rollover.is_due(day(29), at(20)), "80 s of silence are nothing");
        assert!(!rollover.is_due(day(30), at(95)), "somebody speaks");
        rollover.count(5 * SECOND);
        assert!(rollover.is_due(day(30), at(95)));
        rollover.count(3590 * SECOND);
        assert!(!rollover.is_due(day(30), at(3690)));
        rollover.count(5 * SECOND);
        assert!(rollover.is_due(day(30), at(3699)), "an hour of talk past midnight");
        let mut silent = Rollover::new(day(29), 0);
        silent.count(10 * SECOND);
        assert!(silent.is_due(day(30), None));
    }

    #[test]
    fn a_silence_ends_a_session_in_which_somebody_spoke() {
        let mut rollover = Rollover::new(day(29), 600);
        rollover.count(900 * SECOND);
        assert!(!rollover.is_due(day(29), None), "nobody has spoken yet");
        assert!(!rollover.is_due(day(29), at(400)));
        rollover.count(100 * SECOND);
        assert!(rollover.is_due(day(29), at(400)));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_no_session() {
        let mut rollover = Rollover::new(day(29), 0);
        rollover.count(7200 * SECOND);
        assert!(!rollover.is_due(day(30), at(7199)));
        assert!(!rollover.is_due(day(28), at(10)));
        rollover.count(SECOND);
        assert!(!rollover.is_due(day(30), at(7199)), "the hour begins anew");
    }
}
