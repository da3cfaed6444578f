//! Tells a recording from a live stream where both come by a URL: a recording that was opened again would repeat itself without
//! end, faster than real time.

use std::time::Duration;

use super::true_clock::samples_of;

/// Audio that a server of live streams may have kept and sends at once, in seconds.
const MOST_KEPT_S: f64 = 30.0;

/// Lengths of what a source gave each time that it was opened.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    last: Option<u64>,
    is_again: bool,
}

impl Lengths {
    /// Whether `n_samples` that came in `elapsed`, and then the end, are a recording: they came at more than twice the speed of
    /// real time, and either more of them than a server keeps of a live stream, or exactly as many as the time before.
    pub(super) fn is_recording(&mut self, n_samples: u64, elapsed: Duration) -> bool {
        self.is_again = self.last.replace(n_samples) == Some(n_samples) && n_samples > 0;
        let n_fast = 2 * samples_of(elapsed.as_secs_f64());
        n_samples > n_fast + samples_of(MOST_KEPT_S) || (self.is_again && n_samples > n_fast)
    }

    /// Whether it was as long the last time as the time before.
    pub(super) fn is_again(&self) -> bool {
        self.is_again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_faster_than_real_time_is_a_recording() {
        let is = |lengths: &mut Lengths, audio_s: f64, elapsed_s: f64| {
            lengths.is_recording(samples_of(audio_s), Duration::from_secs_f64(elapsed_s))
        };
        assert!(is(&mut Lengths::default(), 600.0, 3.0));
        // What a server has kept, and then a live stream.
        let mut live = Lengths::default();
        for (audio_s, elapsed_s) in
            [(20.0, 0.5), (18.0, 0.4), (400.0, 385.0), (400.0, 385.0), (0.0, 0.1), (0.0, 0.1)]
        {
            assert!(!is(&mut live, audio_s, elapsed_s), "{audio_s} s in {elapsed_s} s");
        }
        // A short recording is known by the second time.
        let mut short = Lengths::default();
        assert_eq!([is(&mut short, 23.0, 0.2), is(&mut short, 23.0, 0.2)], [false, true]);
    }
}
