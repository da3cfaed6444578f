//! Turns: speech of one speaker until another one speaks or a long pause.

use diarized_dsp::SampleRange;
use diarized_models::{SessionState, SpeakerId};

/// A pause that a turn may hold, in samples at 16 kHz: 1 s.
const MAX_PAUSE_SAMPLES: u64 = diarized_dsp::SAMPLE_RATE_HZ as u64;

/// Segments of one speaker without another speaker between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// From the start of the first to the end of the last segment.
    pub range: SampleRange,
    /// Who speaks.
    pub speaker: SpeakerId,
    /// Mean of the segments' confidences, weighted by their lengths.
    pub confidence: f32,
    /// Samples of speech, without the pauses.
    pub n_speech_samples: u64,
}

/// The turns of a session in the order of their start. Turns overlap where speakers do; segments without length are
/// left out.
#[must_use]
pub fn turns(state: &SessionState) -> Vec<Turn> {
    let mut segments: Vec<_> = state.segments().filter(|segment| !segment.range.is_empty()).collect();
    segments.sort_by_key(|segment| (segment.range.start(), segment.range.end(), segment.id));
    let mut turns: Vec<Turn> = Vec::new();
    for segment in segments {
        let n_samples = segment.range.len();
        let continued = turns.last_mut().filter(|turn| {
            turn.speaker == segment.speaker
                && segment.range.start() <= turn.range.end().plus(MAX_PAUSE_SAMPLES)
        });
        match continued {
            Some(turn) => {
                turn.range = SampleRange::new(turn.range.start(), turn.range.end().max(segment.range.end()));
                let n_total = turn.n_speech_samples + n_samples;
                let share = n_samples as f32 / n_total as f32;
                turn.confidence += (segment.confidence - turn.confidence) * share;
                turn.n_speech_samples = n_total;
            }
            None => turns.push(Turn {
                range: segment.range,
                speaker: segment.speaker,
                confidence: segment.confidence,
                n_speech_samples: n_samples,
            }),
        }
    }
    turns
}
