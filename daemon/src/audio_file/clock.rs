//! Compares timestamps of packets with the end of the decoded audio: gaps and overlaps of a track.

/// Tolerated difference of timestamps and samples, in seconds; beyond it the samples follow the timestamps: timestamps of milliseconds, of
/// clocks that drift and of blocks that hold several packets are that far off.
const TOLERANCE_S: f64 = 0.05;
/// Longest accepted overlap, in seconds; beyond it the timestamps restart.
const MAX_OVERLAP_S: f64 = 1.0;
/// Longest accepted gap, in seconds; beyond it the timestamps restart.
pub(super) const MAX_HOLE_S: f64 = 86_400.0;

/// How a packet fits behind what was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It goes on where the one before it ended.
    Here,
    /// Number of missing frames before it.
    Hole(u64),
    /// Number of its frames that repeat earlier ones.
    Overlap(u64),
}

/// Compares timestamps with what was decoded.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// What is added to timestamps, in seconds; none before the first.
    shift_s: Option<f64>,
    last_ts: Option<i64>,
}

impl Clock {
    /// The timestamps that follow count from elsewhere.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { shift_s: Some(f64::NAN), last_ts: None };
    }

    /// Fit of the packet with timestamp `ts` to the frames before it: `n_frames` frames at `rate_hz`. Its first frame
    /// belongs at `at_s`, in seconds.
    pub(super) fn fit(&mut self, ts: i64, at_s: f64, n_frames: u64, rate_hz: u32) -> Fit {
        let rate = f64::from(rate_hz.max(1));
        let is_first = self.shift_s.is_none();
        let end_s = n_frames as f64 / rate;
        let shift_s = *self.shift_s.get_or_insert(0.0);
        if shift_s.is_nan() {
            self.shift_s = Some(end_s - at_s);
        }
        // Packets of one block share its timestamp.
        if self.last_ts.replace(ts) == Some(ts) || shift_s.is_nan() {
            return Fit::Here;
        }
        let ahead_s = at_s + shift_s - end_s;
        let n_ahead = (ahead_s.abs() * rate).round() as u64;
        match ahead_s {
            s if s.abs() <= TOLERANCE_S => {
                if is_first {
                    self.shift_s = Some(-ahead_s);
                }
                Fit::Here
            }
            s if s > 0.0 && s <= MAX_HOLE_S => Fit::Hole(n_ahead),
            s if (-MAX_OVERLAP_S..0.0).contains(&s) => Fit::Overlap(n_ahead),
            _ => {
                self.shift_s = Some(shift_s - ahead_s);
                Fit::Here
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds packets of 20 ms at these times in ms; returns the position of each.
    fn heard_ms(stamps_ms: &[i64]) -> Vec<u64> {
        let (mut clock, mut n_frames) = (Clock::default(), 0_u64);
        let mut heard = Vec::new();
        for ts in stamps_ms {
            let mut n_left = 960;
            match clock.fit(*ts, *ts as f64 / 1000.0, n_frames, 48_000) {
                Fit::Here => {}
                Fit::Hole(n) => n_frames += n,
                Fit::Overlap(n) => n_left -= n.min(n_left),
            }
            heard.push(n_frames / 48);
            n_frames += n_left;
        }
        heard
    }

    #[test]
    fn holes_move_what_follows_and_small_differences_do_not() {
        assert_eq!(heard_ms(&[0, 21, 39, 60]), [0, 20, 40, 60]);
        assert_eq!(heard_ms(&[-7, 13, 33, 53]), [0, 20, 40, 60]);
        assert_eq!(heard_ms(&[0, 20, 5040, 5060]), [0, 20, 5040, 5060]);
        assert_eq!(heard_ms(&[3000, 3020]), [3000, 3020]);
        // A drift is followed.
        let drifting: Vec<i64> = (0..200).map(|n| n * 21).collect();
        let heard = heard_ms(&drifting);
        assert!(
            drifting.iter().zip(&heard).all(|(stamp, heard)| stamp.abs_diff(*heard as i64) <= 51),
            "{heard:?}"
        );
    }

    #[test]
    fn overlaps_are_heard_once_and_stamps_that_begin_anew_go_on() {
        let slow: Vec<i64> = (0..200).map(|n| n * 19).collect();
        let heard = heard_ms(&slow);
        assert!(
            slow.iter().zip(&heard).all(|(stamp, heard)| stamp.abs_diff(*heard as i64) <= 71),
            "{heard:?}"
        );
        // Blocks of four packets.
        assert_eq!(heard_ms(&[0, 0, 0, 0, 80, 80]), [0, 20, 40, 60, 80, 100]);
        assert_eq!(heard_ms(&[50_000, 50_020, 0, 20, 40])[2..], [50_040, 50_060, 50_080]);
        assert_eq!(heard_ms(&[90_000_000, 90_000_020, 90_001_000]), [0, 20, 1000]);
    }

    #[test]
    fn a_clock_that_begins_anew_goes_on_where_the_samples_end() {
        let mut clock = Clock::default();
        assert_eq!(clock.fit(0, 0.0, 0, 1000), Fit::Here);
        clock.begin_anew();
        assert_eq!(clock.fit(0, 0.0, 700, 1000), Fit::Here);
        assert_eq!(clock.fit(500, 0.5, 800, 1000), Fit::Hole(400));
    }
}
