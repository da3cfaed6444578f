//! How people take turns in real meetings: empirical distributions drawn from RTTM files.

use std::collections::BTreeMap;

use diarized_models::scoring::Turn;

use super::rng::Rng;

/// A turn within another speaker's turn and shorter than this is a back-channel ("mhm"), in seconds.
const BACK_CHANNEL_S: f64 = 1.0;
/// A turn that starts after a longer pause than this begins a new exchange; the pause is drawn as this, in
/// seconds: meetings hold silences of minutes, of which a short conversation needs few.
const LONGEST_PAUSE_S: f64 = 6.0;

/// The distributions, each as the list of what was seen; lengths in seconds.
#[derive(Debug, Clone, Default)]
pub struct TurnStatistics {
    /// (pause before the turn, its length) where the speaker goes on after a pause of their own.
    continuations: Vec<(f64, f64)>,
    /// (pause before the turn, its length) where another speaker takes over; a negative pause is overlap.
    changes: Vec<(f64, f64)>,
    /// Of the changes, how many went back to the speaker before the last.
    n_returns: usize,
    /// Lengths of back-channels.
    back_channels: Vec<f64>,
    /// Speech in which back-channels may fall.
    floor_s: f64,
    /// Shares of the speakers of each meeting, largest first.
    shares: Vec<Vec<f64>>,
}

impl TurnStatistics {
    /// Adds one meeting.
    pub fn add(&mut self, turns: &[Turn]) {
        let mut turns: Vec<&Turn> = turns.iter().filter(|turn| !turn.span.is_empty()).collect();
        turns.sort_by_key(|turn| (turn.span.start, turn.span.end));
        let is_back_channel = |turn: &Turn| {
            turn.span.len_ns() as f64 / 1e9 < BACK_CHANNEL_S
                && turns.iter().any(|other| {
                    other.speaker != turn.speaker
                        && other.span.start <= turn.span.start
                        && turn.span.end <= other.span.end
                        && other.span.len_ns() > turn.span.len_ns()
                })
        };
        let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
        let (mut floor_end, mut holders): (Option<f64>, Vec<&str>) = (None, Vec::new());
        for turn in &turns {
            let (start, end) = (turn.span.start.seconds(), turn.span.end.seconds());
            *shares.entry(&turn.speaker).or_default() += end - start;
            if is_back_channel(turn) {
                self.back_channels.push(end - start);
                continue;
            }
            self.floor_s += end - start;
            let speaker = turn.speaker.as_str();
            if let (Some(floor_end), Some(last)) = (floor_end, holders.last().copied()) {
                let pause = (start - floor_end).min(LONGEST_PAUSE_S);
                if last == speaker {
                    self.continuations.push((pause.max(0.05), end - start));
                } else {
                    self.changes.push((pause, end - start));
                    let before = holders.iter().rev().find(|holder| **holder != last);
                    self.n_returns += usize::from(before == Some(&speaker));
                }
            }
            holders.push(speaker);
            floor_end = Some(floor_end.map_or(end, |reached: f64| reached.max(end)));
        }
        let total: f64 = shares.values().sum();
        let mut shares: Vec<f64> = shares.values().map(|s| s / total).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        self.shares.push(shares);
    }

    /// Whether there is enough to draw from.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.continuations.len() >= 10 && self.changes.len() >= 10 && !self.back_channels.is_empty()
    }

    /// Draws the next turn after the end of the last one: (whether the speaker changes, pause, length).
    pub fn next_turn(&self, rng: &mut Rng) -> (bool, f64, f64) {
        let n_changes = self.changes.len();
        let drawn = rng.below(n_changes + self.continuations.len());
        match drawn.checked_sub(n_changes) {
            None => (true, self.changes[drawn].0, self.changes[drawn].1),
            Some(idx) => (false, self.continuations[idx].0, self.continuations[idx].1),
        }
    }

    /// Probability that a change goes back to the speaker before the last.
    #[must_use]
    pub fn p_return(&self) -> f64 {
        self.n_returns as f64 / self.changes.len().max(1) as f64
    }

    /// Back-channels a second of other speech.
    #[must_use]
    pub fn back_channel_rate(&self) -> f64 {
        self.back_channels.len() as f64 / self.floor_s.max(1.0)
    }

    /// Draws the length of a back-channel.
    pub fn back_channel(&self, rng: &mut Rng) -> f64 {
        rng.pick(&self.back_channels).copied().unwrap_or(0.5)
    }

    /// Draws how much each of `n` speakers has to say: shares of a real meeting, largest first; where it had
    /// fewer people, the others are drawn like its quieter ones. The sum is 1.
    pub fn shares(&self, n: usize, rng: &mut Rng) -> Vec<f64> {
        let meeting = rng.pick(&self.shares).cloned().unwrap_or_default();
        let mut shares = meeting.clone();
        shares.truncate(n);
        while shares.len() < n {
            let quieter = &meeting[meeting.len().min(1)..];
            shares.push(rng.pick(quieter).copied().unwrap_or(1.0).max(0.03) * rng.between(0.7, 1.3));
        }
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total);
        shares.sort_by(|a, b| b.total_cmp(a));
        shares
    }
}

#[cfg(test)]
mod tests {
    use diarized_models::rttm::Nanos;

    use super::*;

    fn turn(start: f64, end: f64, who: &str) -> Turn {
        Turn::new(Nanos::from_seconds(start), Nanos::from_seconds(end), who)
    }

    #[test]
    fn changes_pauses_overlap_and_back_channels_are_told_apart() {
        let mut statistics = TurnStatistics::default();
        statistics.add(&[
            turn(0.0, 10.0, "A"),
            turn(4.0, 4.5, "B"),   // a back-channel
            turn(9.0, 12.0, "B"),  // a change with 1 s of overlap
            turn(12.5, 14.0, "B"), // goes on
            turn(15.0, 16.0, "A"), // goes back to A
            turn(60.0, 62.0, "C"), // after a long silence
        ]);
        assert_eq!(statistics.back_channels, [0.5]);
        assert_eq!(statistics.changes, [(-1.0, 3.0), (1.0, 1.0), (LONGEST_PAUSE_S, 2.0)]);
        assert_eq!(statistics.continuations, [(0.5, 1.5)]);
        assert_eq!(statistics.n_returns, 1);
        assert!((statistics.shares[0].iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn shares_are_unequal_sum_to_one_and_fit_the_number_asked_for() {
        let mut statistics = TurnStatistics::default();
        statistics.add(&[turn(0.0, 6.0, "A"), turn(6.0, 9.0, "B"), turn(9.0, 10.0, "C")]);
        let mut rng = Rng::new(1, 0);
        for n in 1..9 {
            let shares = statistics.shares(n, &mut rng);
            assert_eq!(shares.len(), n);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            assert!(shares.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }
}
