//! The number of speakers of a recording as a line, for `diarized label --count`.

use diarized_models::counting::SpeakerCount;
use serde::Serialize;

use crate::output::Labels;

/// One recording as a line of JSON.
#[derive(Serialize)]
struct CountLine<'a> {
    file: &'a str,
    speakers: usize,
    /// Null without speech.
    confidence: Option<f32>,
    /// Speech of all, in seconds.
    speech: f64,
}

/// The line of one recording, with its line feed.
pub(super) fn line(labels: &Labels<'_>, as_json: bool) -> String {
    let count = SpeakerCount::of(labels.state);
    if !as_json {
        return format!("{}  {}\n", labels.recording, in_words(count));
    }
    let parts = labels.state.segments().flat_map(|segment| &segment.speech);
    // A sum of nothing would be -0.0.
    let speech_s = parts.fold(0.0, |sum, part| sum + part.duration_s());
    let line = CountLine {
        file: labels.recording,
        speakers: count.n_speakers,
        confidence: count.confidence,
        speech: (speech_s * 100.0).round() / 100.0,
    };
    serde_json::to_string(&line).expect("a struct of numbers and texts has a JSON form") + "\n"
}

fn in_words(count: SpeakerCount) -> String {
    let SpeakerCount { n_speakers, confidence } = count;
    let Some(confidence) = confidence else { return "no speech".to_owned() };
    let plural = if n_speakers == 1 { "" } else { "s" };
    format!("{n_speakers} speaker{plural} ({:.0} %)", 100.0 * confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_at_a_glance() {
        let words = |n_speakers, confidence| in_words(SpeakerCount { n_speakers, confidence });
        assert_eq!(words(0, None), "no speech");
        assert_eq!(words(1, Some(0.97)), "1 speaker (97 %)");
        assert_eq!(words(12, Some(0.05)), "12 speakers (5 %)");
    }
}
