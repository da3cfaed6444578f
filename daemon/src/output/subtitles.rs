//! SRT and WebVTT: one cue per turn with the speaker.

use super::labels::Labels;
use super::turns::{Turn, turns};

pub(super) fn srt(labels: &Labels<'_>) -> String {
    let cue = |(idx, turn): (usize, Turn)| {
        let times = times(&turn, ',');
        format!("{}\n{times}\n{}:\n\n", idx + 1, escaped(&one_line(&labels.speaker(turn.speaker))))
    };
    turns(labels.state).into_iter().enumerate().map(cue).collect()
}

pub(super) fn vtt(labels: &Labels<'_>) -> String {
    let cue = |turn: Turn| {
        let speaker = escaped(&one_line(&labels.speaker(turn.speaker)));
        format!("\n{}\n<v {speaker}>{speaker}:</v>\n", times(&turn, '.'))
    };
    let cues: String = turns(labels.state).into_iter().map(cue).collect();
    format!("WEBVTT\n{cues}")
}

/// `00:01:02,345 --> 00:01:04,000`; hours grow beyond two digits.
fn times(turn: &Turn, decimal_mark: char) -> String {
    let clock = |samples: u64| {
        // Rounded to the nearest ms: a sample is a sixteenth of one.
        let ms = (samples + 8) / 16;
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}{decimal_mark}{ms:03}", seconds % 60)
    };
    format!("{} --> {}", clock(turn.range.start().0), clock(turn.range.end().0))
}

/// A name cannot end a cue.
fn one_line(name: &str) -> String {
    name.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Markup of both formats is text in a name.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
