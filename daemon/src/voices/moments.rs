//! The best moments of a speaker in a session: where kept audio has that voice alone.

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex, SampleRange};
use diarized_models::{Segment, SessionState, SpeakerId};

/// Audio of a person at most: more makes the voiceprint hardly better.
const MAX_SAMPLES: u64 = 60 * SAMPLE_RATE_HZ as u64;
/// A shorter moment is left out: 1 s.
const MIN_SAMPLES: u64 = SAMPLE_RATE_HZ as u64;
/// What is cut off at both ends, where a neighbour may be heard: 0.1 s.
const EDGE_SAMPLES: u64 = SAMPLE_RATE_HZ as u64 / 10;

/// Moments in which only `speaker` speaks, by the labels, at most a minute in all: the surest and longest first choice, given
/// in order of time; and their mean signal-to-noise ratio in dB, where it was measured.
#[must_use]
pub fn best_moments(state: &SessionState, speaker: SpeakerId) -> (Vec<SampleRange>, Option<f32>) {
    let others: Vec<SampleRange> =
        state.segments().filter(|s| s.speaker != speaker).map(|segment| segment.range).collect();
    let own = state.segments().filter(|s| s.speaker == speaker && s.is_final && !s.overlap);
    let mut moments: Vec<(SampleRange, &Segment)> = own
        .flat_map(|segment| segment.speech.iter().map(move |part| (*part, segment)))
        .flat_map(|(part, segment)| alone(part, &others).into_iter().map(move |range| (range, segment)))
        .filter_map(|(range, segment)| Some((trimmed(range)?, segment)))
        .collect();
    let worth = |(range, segment): &(SampleRange, &Segment)| range.len() as f32 * segment.confidence;
    moments.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(a.0.start().cmp(&b.0.start())));
    let (mut chosen, mut n_samples) = (Vec::new(), 0);
    let (mut weighted_db, mut n_measured) = (0.0_f32, 0.0_f32);
    for (range, segment) in moments {
        let range = SampleRange::with_len(range.start(), range.len().min(MAX_SAMPLES - n_samples));
        if range.len() < MIN_SAMPLES {
            break;
        }
        n_samples += range.len();
        if let Some(snr_db) = segment.snr_db {
            weighted_db += snr_db * range.len() as f32;
            n_measured += range.len() as f32;
        }
        chosen.push(range);
    }
    chosen.sort_by_key(|range| range.start());
    (chosen, (n_measured > 0.0).then(|| weighted_db / n_measured))
}

/// What is left of `part` without the ranges of others.
fn alone(part: SampleRange, others: &[SampleRange]) -> Vec<SampleRange> {
    let mut left = vec![part];
    for other in others.iter().filter(|other| other.intersection(&part).is_some()) {
        let without = |range: SampleRange| {
            let before = SampleRange::new(range.start(), other.start().clamp(range.start(), range.end()));
            let after = SampleRange::new(other.end().clamp(range.start(), range.end()), range.end());
            [before, after].into_iter().filter(|piece| !piece.is_empty())
        };
        left = left.into_iter().flat_map(without).collect();
    }
    left
}

/// A range without its edges, if it is long enough.
fn trimmed(range: SampleRange) -> Option<SampleRange> {
    let (start, end) =
        (range.start().plus(EDGE_SAMPLES), SampleIndex(range.end().0.saturating_sub(EDGE_SAMPLES)));
    (end.0 >= start.0 + MIN_SAMPLES).then(|| SampleRange::new(start, end))
}

#[cfg(test)]
mod tests {
    use diarized_models::SpeakerInfo;
    use diarized_models::events::{Event, SegmentId};

    use super::*;

    const ANN: SpeakerId = SpeakerId(1);
    const BOB: SpeakerId = SpeakerId(2);

    fn range(start_s: f64, end_s: f64) -> SampleRange {
        SampleRange::new(SampleIndex::from_seconds(start_s), SampleIndex::from_seconds(end_s))
    }

    /// A segment: speaker, speech in seconds, confidence.
    type Said<'a> = (SpeakerId, &'a [(f64, f64)], f32);

    fn state(segments: &[Said<'_>]) -> SessionState {
        let mut state = SessionState::new();
        for (id, (speaker, speech, confidence)) in (1..).zip(segments) {
            state.apply(&Event::Speaker(SpeakerInfo::new(*speaker, SampleIndex::ZERO))).unwrap();
            let speech: Vec<_> = speech.iter().map(|(start, end)| range(*start, *end)).collect();
            let segment = Segment {
                id: SegmentId(id),
                range: SampleRange::new(speech[0].start(), speech[speech.len() - 1].end()),
                speech,
                speaker: *speaker,
                confidence: *confidence,
                is_final: true,
                overlap: false,
                snr_db: Some(10.0 * id as f32),
                c50_db: None,
            };
            state.apply(&Event::Segment(segment)).unwrap();
        }
        state
    }

    #[test]
    fn only_moments_of_one_voice_are_chosen() {
        let state = state(&[
            (ANN, &[(0.0, 3.0), (3.5, 4.0), (5.0, 9.0)], 0.9),
            (BOB, &[(6.5, 7.0)], 0.9),
            (BOB, &[(10.0, 14.0)], 0.9),
        ]);
        let (moments, snr_db) = best_moments(&state, ANN);
        // The half second is too short, and Bob's word is cut out.
        assert_eq!(moments, [range(0.1, 2.9), range(5.1, 6.4), range(7.1, 8.9)]);
        assert_eq!(snr_db, Some(10.0));
        assert_eq!(best_moments(&state, SpeakerId(3)), (Vec::new(), None));
    }

    #[test]
    fn the_surest_and_longest_moments_fill_a_minute() {
        let state = state(&[
            (ANN, &[(0.0, 20.2)], 0.4),
            (ANN, &[(30.0, 70.2)], 0.9),
            (ANN, &[(80.0, 90.2)], 0.9),
            (ANN, &[(100.0, 105.0)], 0.1),
        ]);
        let (moments, snr_db) = best_moments(&state, ANN);
        assert_eq!(moments, [range(0.1, 10.1), range(30.1, 70.1), range(80.1, 90.1)]);
        let expected = (10.0 * 10.0 + 40.0 * 20.0 + 10.0 * 30.0) / 60.0;
        assert!((snr_db.unwrap() - expected).abs() < 1e-3, "{snr_db:?}");
    }
}
