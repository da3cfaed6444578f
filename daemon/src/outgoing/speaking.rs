//! Who speaks now, by the labels so far. The page's client decides the same way (`speakingAt`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
use diarized_models::{Segment, SessionState, SpeakerId};

/// A speaker counts as speaking for so long after the last label: 0.7 s.
const HOLD: u64 = 7 * SAMPLE_RATE_HZ as u64 / 10;
/// A segment that still grows lies so far behind its speech: 0.6 s.
const LABEL_LAG: u64 = 6 * SAMPLE_RATE_HZ as u64 / 10;
/// Longest time for which the stream is taken to go on without a word of it.
const MAX_AHEAD: Duration = Duration::from_millis(2500);

/// The newest segment of each speaker that reaches `position`, who began first, first. Within the hold, a successor takes
/// the place of who has just ended.
pub(super) fn speaking_at(state: &SessionState, position: SampleIndex) -> Vec<&Segment> {
    let mut newest: BTreeMap<SpeakerId, &Segment> = BTreeMap::new();
    for segment in state.segments() {
        let lag = if segment.is_final { 0 } else { LABEL_LAG };
        let reaches = segment.range.start() <= position && segment.range.end().plus(HOLD + lag) >= position;
        if reaches && newest.get(&segment.speaker).is_none_or(|held| held.range.end() < segment.range.end()) {
            newest.insert(segment.speaker, segment);
        }
    }
    let all: Vec<&Segment> = newest.into_values().collect();
    let is_followed = |s: &Segment| all.iter().any(|other| other.range.start() >= s.range.end());
    let mut speaking: Vec<&Segment> = all.iter().copied().filter(|s| !is_followed(s)).collect();
    speaking.sort_by_key(|s| (s.range.start(), s.id));
    speaking
}

/// Where a live stream is now: the last reported position, and the time since.
#[derive(Debug, Clone, Copy)]
pub(super) struct LiveClock {
    heard: SampleIndex,
    at: Instant,
}

impl LiveClock {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: SampleIndex::ZERO, at: now }
    }

    /// The position at `now`, by the position of the last event.
    pub(super) fn position(&mut self, heard: SampleIndex, now: Instant) -> SampleIndex {
        if heard > self.heard {
            (self.heard, self.at) = (heard, now);
        }
        let ahead = now.saturating_duration_since(self.at).min(MAX_AHEAD);
        self.heard.plus((ahead.as_secs_f64() * f64::from(SAMPLE_RATE_HZ)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::SampleRange;
    use diarized_models::{Event, SegmentId, SpeakerInfo};

    use super::*;

    fn ms(at: u64) -> SampleIndex {
        SampleIndex(at * 16)
    }

    fn state(segments: &[(u64, u64, u32, bool)]) -> SessionState {
        let mut state = SessionState::new();
        for (id, &(start, end, speaker, is_final)) in (1..).zip(segments) {
            let (speaker, range) = (SpeakerId(speaker), SampleRange::new(ms(start), ms(end)));
            state.apply(&Event::Speaker(SpeakerInfo::new(speaker, ms(start)))).unwrap();
            let segment = Segment {
                id: SegmentId(id),
                range,
                speech: vec![range],
                speaker,
                confidence: 0.9,
                is_final,
                overlap: false,
                snr_db: None,
                c50_db: None,
            };
            state.apply(&Event::Segment(segment)).unwrap();
        }
        state
    }

    #[test]
    fn a_label_holds_for_a_moment_and_a_successor_ends_it() {
        let one = state(&[(0, 1000, 1, true)]);
        let who = |state: &SessionState, at| {
            speaking_at(state, ms(at)).iter().map(|s| s.speaker.0).collect::<Vec<_>>()
        };
        assert_eq!(who(&one, 500), [1]);
        assert_eq!(who(&one, 1700), [1]);
        assert_eq!(who(&one, 1701), [0; 0]);
        let growing = state(&[(0, 1000, 1, false)]);
        assert_eq!(who(&growing, 2300), [1]);
        assert_eq!(who(&growing, 2400), [0; 0]);
        let two = state(&[(0, 1000, 1, true), (1000, 1500, 2, false)]);
        assert_eq!(who(&two, 1400), [2]);
        let both = state(&[(0, 1000, 1, true), (900, 1500, 2, false)]);
        assert_eq!(who(&both, 1000), [1, 2]);
    }

    #[test]
    fn the_clock_goes_on_by_itself_for_a_while() {
        let began = Instant::now();
        let mut clock = LiveClock::new(began);
        let after = |s| began + Duration::from_secs(s);
        assert_eq!(clock.position(ms(1000), after(1)), ms(1000));
        assert_eq!(clock.position(ms(1000), after(2)), ms(2000));
        assert_eq!(clock.position(ms(1000), after(60)), ms(3500));
        assert_eq!(clock.position(ms(5000), after(61)), ms(5000));
    }
}
