//! The note on a recording whose speakers are separated with little confidence.

use diarized_models::{Segment, SessionState};

/// Mean confidence of a recording below which a note is printed. Of 219 excerpts of 3 to 30 s of real conversations, with and
/// without noise, 34 % of those below it had a fifth of their speech wrong, and 7 % of those above it. The 14 whole recordings
/// that they were cut from are above it.
const LITTLE_CONFIDENCE: f64 = 0.8;
/// Speech that is named as little, in seconds.
const LITTLE_SPEECH_S: f64 = 10.0;
/// Signal-to-noise ratio that is named as noise, in dB.
const NOISY_DB: f64 = 10.0;

/// What is uncertain about who speaks in a recording, why, and what would help; `None` where nothing is. A recording without
/// speech is worth a note, too, and one in which fewer speakers than the number in `expected` were found.
pub(super) fn doubt(state: &SessionState, expected: Option<usize>) -> Option<String> {
    let speech_s = state.segments().map(spoken_s).sum::<f64>();
    let Some(confidence) = mean(state, |segment| Some(segment.confidence)) else {
        return Some("no speech was found".to_owned());
    };
    let mut found: Vec<_> = state.segments().map(|segment| segment.speaker).collect();
    found.sort_unstable();
    found.dedup();
    let n_found = found.len();
    if let Some(n_expected) = expected.filter(|n| *n > n_found) {
        return Some(format!(
            "{n_found} of {n_expected} expected speakers found: {speech_s:.1} s of speech can be split no further"
        ));
    }
    if confidence >= LITTLE_CONFIDENCE {
        return None;
    }
    let mut causes = Vec::new();
    if speech_s < LITTLE_SPEECH_S {
        causes.push(format!("{speech_s:.1} s of speech only"));
    }
    let snr_db = mean(state, |segment| segment.snr_db);
    if let Some(snr_db) = snr_db.filter(|snr_db| *snr_db < NOISY_DB) {
        causes.push(format!("noise only {snr_db:.0} dB below the speech"));
    }
    let what = match n_found {
        1 => "whether one person speaks or more is known with little confidence",
        _ => "speakers are distinguished with little confidence",
    };
    let percent = 100.0 * confidence;
    let because = if causes.is_empty() { String::new() } else { format!(": {}", causes.join(", ")) };
    let help = match expected {
        Some(_) => "more speech of each or a clearer recording would help",
        None => "more speech of each, a clearer recording or the number of speakers (--speakers) would help",
    };
    Some(format!("{what} ({percent:.0} %){because}; {help}"))
}

/// Speech in a segment, in seconds.
fn spoken_s(segment: &Segment) -> f64 {
    segment.speech.iter().map(|part| part.duration_s()).sum()
}

/// Mean over the segments that have a value, weighted by their speech. `None` without speech.
fn mean(state: &SessionState, value: impl Fn(&Segment) -> Option<f32>) -> Option<f64> {
    let (mut sum, mut speech_s) = (0.0, 0.0);
    for segment in state.segments() {
        let Some(value) = value(segment) else { continue };
        sum += spoken_s(segment) * f64::from(value);
        speech_s += spoken_s(segment);
    }
    (speech_s > 0.0).then(|| sum / speech_s)
}

#[cfg(test)]
mod tests {
    use diarized_dsp::{SampleIndex, SampleRange};
    use diarized_models::events::{Event, SpeakerInfo};
    use diarized_models::{SegmentId, SpeakerId};

    use super::*;

    /// A state with segments of these speakers, lengths in seconds, confidences and signal-to-noise ratios.
    fn state(segments: &[(u32, u64, f32, Option<f32>)]) -> SessionState {
        let mut state = SessionState::new();
        let mut at = SampleIndex::ZERO;
        for (n, (speaker, length_s, confidence, snr_db)) in segments.iter().enumerate() {
            let id = SpeakerId(*speaker);
            let range = SampleRange::with_len(at, length_s * 16_000);
            state.apply(&Event::Speaker(SpeakerInfo::new(id, at))).unwrap();
            let segment = Segment {
                id: SegmentId(n as u64 + 1),
                range,
                speech: vec![range],
                speaker: id,
                confidence: *confidence,
                is_final: true,
                overlap: false,
                snr_db: *snr_db,
                c50_db: None,
            };
            state.apply(&Event::Segment(segment)).unwrap();
            at = at.plus(length_s * 16_000);
        }
        state
    }

    #[test]
    fn a_note_names_what_is_uncertain_and_why() {
        assert_eq!(doubt(&SessionState::new(), None).as_deref(), Some("no speech was found"));
        assert_eq!(doubt(&state(&[(1, 30, 0.9, Some(30.0)), (2, 5, 0.5, Some(30.0))]), None), None);
        let short = doubt(&state(&[(1, 3, 0.6, Some(30.0))]), None).unwrap();
        assert!(short.starts_with("whether one person speaks or more"), "{short}");
        assert!(short.contains("(60 %): 3.0 s of speech only;") && !short.contains("noise"), "{short}");
        let noisy = doubt(&state(&[(1, 30, 0.7, Some(4.0)), (2, 10, 0.5, None)]), None).unwrap();
        assert!(
            noisy.starts_with("speakers are distinguished with little confidence (65 %): noise"),
            "{noisy}"
        );
        assert!(
            noisy.contains("only 4 dB below the speech;") && !noisy.contains("of speech only"),
            "{noisy}"
        );
        let few = doubt(&state(&[(1, 30, 0.9, None), (2, 4, 0.9, None)]), Some(6)).unwrap();
        assert_eq!(few, "2 of 6 expected speakers found: 34.0 s of speech can be split no further");
        let known = doubt(&state(&[(1, 30, 0.5, None)]), Some(1)).unwrap();
        assert!(!known.contains("--speakers"), "{known}");
        let neither = doubt(&state(&[(1, 30, 0.7, Some(30.0)), (2, 10, 0.7, None)]), None).unwrap();
        assert!(neither.contains("(70 %); more speech of each"), "{neither}");
    }
}
