//! Two-threshold gate over ticks, with minimum durations and padding.

/// Start or end of an active region, as a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The region starts at this tick.
    Start(u64),
    /// The region ends before this tick.
    End(u64),
}

/// Durations of a [`Hysteresis`], in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HysteresisParams {
    /// A shorter region is dropped.
    pub min_active: u64,
    /// A shorter pause is bridged. The gate uses at least `pad`.
    pub min_inactive: u64,
    /// Added to both ends of a region. A region never reaches into the one before it.
    pub pad: u64,
}

/// How the score of one tick compares with the thresholds of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// High enough to begin a region.
    pub begins: bool,
    /// Low enough to end a region, and to drop one that is not yet confirmed. Never together with `begins`.
    pub ends: bool,
    /// High enough to continue a region inside a pause that is not yet confirmed. Never together with `ends`.
    pub resumes: bool,
}

/// Turns scores into regions: a region begins at the upper threshold, ends below the lower one, and both are emitted
/// after a minimum duration.
///
/// The caller owns thresholds and smoothing, so `start` and `end` of a region may lie before the tick of the decision.
/// Look-ahead in ticks: `min_active` for a start, the larger of `min_inactive` and `pad` for an end. Allocates nothing.
#[derive(Debug, Clone)]
pub struct Hysteresis {
    params: HysteresisParams,
    /// End of the last emitted region; the next one starts here at the earliest.
    floor: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Inactive,
    /// High since `start`, for less than `min_active`.
    Rising {
        start: u64,
    },
    Active,
    /// Low since `end`, for less than `min_inactive`.
    Falling {
        end: u64,
    },
}

impl Hysteresis {
    /// An inactive gate at tick 0.
    #[must_use]
    pub fn new(params: HysteresisParams) -> Self {
        Self { params, floor: 0, state: State::Inactive }
    }

    /// One more tick. `now` counts the ticks so far, this one included; it never falls. `start` and `end` give the tick
    /// of a change that begins with this tick, at most `now`; each is called at most once.
    pub fn push(
        &mut self,
        now: u64,
        score: Comparison,
        start: impl FnOnce() -> u64,
        end: impl FnOnce() -> u64,
    ) -> Option<Transition> {
        match self.state {
            State::Inactive if score.begins => self.rise(now, start()),
            State::Rising { .. } if score.ends => {
                self.state = State::Inactive;
                None
            }
            State::Rising { start } => self.rise(now, start),
            State::Active if score.ends => self.fall(now, end()),
            State::Falling { .. } if score.resumes => {
                self.state = State::Active;
                None
            }
            State::Falling { end } => self.fall(now, end),
            State::Inactive | State::Active => None,
        }
    }

    fn rise(&mut self, now: u64, start: u64) -> Option<Transition> {
        if now - start < self.params.min_active {
            self.state = State::Rising { start };
            return None;
        }
        self.state = State::Active;
        Some(Transition::Start(start.saturating_sub(self.params.pad).max(self.floor)))
    }

    fn fall(&mut self, now: u64, end: u64) -> Option<Transition> {
        if now - end < self.params.min_inactive.max(self.params.pad) {
            self.state = State::Falling { end };
            return None;
        }
        self.state = State::Inactive;
        self.floor = end + self.params.pad;
        Some(Transition::End(self.floor))
    }

    /// The stream ends at `tick`: an open region ends, at `tick` at the latest. The gate is then as new.
    pub fn finish(&mut self, tick: u64) -> Option<Transition> {
        let transition = match self.state {
            State::Inactive | State::Rising { .. } => None,
            State::Active => Some(Transition::End(tick)),
            State::Falling { end } => Some(Transition::End((end + self.params.pad).min(tick))),
        };
        *self = Self::new(self.params);
        transition
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARAMS: HysteresisParams = HysteresisParams { min_active: 3, min_inactive: 4, pad: 2 };

    /// Regions of a gate with thresholds 0.7 and 0.3 on the scores themselves.
    fn regions(params: HysteresisParams, scores: &[f32]) -> Vec<(u64, u64)> {
        let mut gate = Hysteresis::new(params);
        let mut transitions = Vec::new();
        for (tick, &score) in scores.iter().enumerate() {
            let tick = tick as u64;
            let comparison = Comparison { begins: score >= 0.7, ends: score < 0.3, resumes: score >= 0.7 };
            transitions.extend(gate.push(tick + 1, comparison, || tick, || tick));
        }
        transitions.extend(gate.finish(scores.len() as u64));
        transitions
            .chunks(2)
            .map(|pair| match pair {
                [Transition::Start(start), Transition::End(end)] => (*start, *end),
                other => panic!("not a start and an end: {other:?}"),
            })
            .collect()
    }

    fn scores(pieces: &[(usize, f32)]) -> Vec<f32> {
        pieces.iter().flat_map(|&(n, score)| std::iter::repeat_n(score, n)).collect()
    }

    #[test]
    fn a_region_is_padded_and_ends_with_the_stream() {
        assert_eq!(regions(PARAMS, &scores(&[(10, 0.0), (5, 1.0), (10, 0.0)])), [(8, 17)]);
        assert_eq!(regions(PARAMS, &scores(&[(1, 0.0), (5, 1.0), (1, 0.0)])), [(0, 7)]);
    }

    #[test]
    fn short_regions_are_dropped_and_short_pauses_bridged() {
        assert!(regions(PARAMS, &scores(&[(10, 0.0), (2, 1.0), (10, 0.0)])).is_empty());
        let pause = |n| scores(&[(10, 0.0), (5, 1.0), (n, 0.0), (5, 1.0), (10, 0.0)]);
        assert_eq!(regions(PARAMS, &pause(3)), [(8, 25)]);
        assert_eq!(regions(PARAMS, &pause(4)), [(8, 17), (17, 26)]);
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        assert!(regions(PARAMS, &scores(&[(30, 0.5)])).is_empty());
        assert_eq!(regions(PARAMS, &scores(&[(5, 1.0), (30, 0.5), (10, 0.0)])), [(0, 37)]);
        // A region that waits for its end continues at the upper threshold only.
        assert_eq!(regions(PARAMS, &scores(&[(5, 1.0), (1, 0.0), (30, 0.5)])), [(0, 7)]);
    }

    proptest! {
        #[test]
        fn regions_are_in_order_and_inside_the_stream(
            scores in prop::collection::vec(0.0f32..1.0, 0..200),
            min_active in 0u64..6, min_inactive in 0u64..6, pad in 0u64..6,
        ) {
            let mut floor = 0;
            for (start, end) in regions(HysteresisParams { min_active, min_inactive, pad }, &scores) {
                prop_assert!(floor <= start && start <= end && end <= scores.len() as u64);
                floor = end;
            }
        }
    }
}
