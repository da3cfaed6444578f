//! SRT and WebVTT: one cue per turn with the speaker, or cues of a readable length where there are words.

use std::collections::BTreeMap;

use diarized_dsp::{SAMPLE_RATE_HZ, SampleRange};
use diarized_models::SpeakerId;
use diarized_models::words::{LineParams, lines};

use super::labels::Labels;
use super::turns::{Turn, turns};

/// Cues of words: two lines of 42 characters, as subtitles have, and seven seconds at most.
const CUES: LineParams =
    LineParams { max_pause: SAMPLE_RATE_HZ as u64, max_len: 7 * SAMPLE_RATE_HZ as u64, max_chars: 84 };

/// Longest cue in samples: one word of a minute.
const LONGEST_CUE: u64 = 60 * SAMPLE_RATE_HZ as u64;

/// One cue: when, who, and the words as far as there are any.
struct Cue {
    range: SampleRange,
    speaker: Option<SpeakerId>,
    text: String,
}

pub(super) fn srt(labels: &Labels<'_>) -> String {
    let cue = |(idx, cue): (usize, Cue)| {
        let times = times(cue.range, ',');
        format!("{}\n{times}\n{}\n\n", idx + 1, cue.line(labels))
    };
    cues(labels).into_iter().enumerate().map(cue).collect()
}

pub(super) fn vtt(labels: &Labels<'_>) -> String {
    let cue = |cue: Cue| {
        let (times, line) = (times(cue.range, '.'), cue.line(labels));
        match cue.who(labels) {
            Some(speaker) => format!("\n{times}\n<v {speaker}>{line}</v>\n"),
            None => format!("\n{times}\n{line}\n"),
        }
    };
    let cues: String = cues(labels).into_iter().map(cue).collect();
    format!("WEBVTT\n{cues}")
}

impl Cue {
    fn who(&self, labels: &Labels<'_>) -> Option<String> {
        self.speaker.map(|speaker| escaped(&one_line(&labels.speaker(speaker))))
    }

    /// `Ann: hello there`, `Ann:`, or the words alone.
    fn line(&self, labels: &Labels<'_>) -> String {
        let text = escaped(&one_line(&self.text));
        match (self.who(labels), text.is_empty()) {
            (Some(speaker), true) => format!("{speaker}:"),
            (Some(speaker), false) => format!("{speaker}: {text}"),
            (None, _) => text,
        }
    }
}

/// Lines of words, and turns of speakers without a word in them, by time.
fn cues(labels: &Labels<'_>) -> Vec<Cue> {
    let words = lines(labels.state, CUES).into_iter();
    let mut cues: Vec<Cue> =
        words.map(|line| Cue { range: line.range, speaker: line.speaker, text: line.text }).collect();
    let mut worded: BTreeMap<SpeakerId, Vec<SampleRange>> = BTreeMap::new();
    for cue in &cues {
        worded.entry(cue.speaker.unwrap_or(SpeakerId(0))).or_default().push(cue.range);
    }
    for Turn { range, speaker, .. } in turns(labels.state) {
        if !worded.get(&speaker).is_some_and(|lines| any_touches(lines, range)) {
            cues.push(Cue { range, speaker: Some(speaker), text: String::new() });
        }
    }
    cues.sort_by_key(|cue| (cue.range.start(), cue.range.end()));
    cues
}

/// Whether one of these ranges, ordered by their starts, has a point in common with `range`.
fn any_touches(ranges: &[SampleRange], range: SampleRange) -> bool {
    let n_begun = ranges.partition_point(|r| r.start() <= range.end());
    let near = |r: &&SampleRange| r.start().plus(LONGEST_CUE) >= range.start();
    ranges[..n_begun].iter().rev().take_while(near).any(|r| r.end() >= range.start())
}

/// `00:01:02,345 --> 00:01:04,000`; hours grow beyond two digits.
fn times(range: SampleRange, decimal_mark: char) -> String {
    let clock = |samples: u64| {
        // Rounded to the nearest ms: a sample is a sixteenth of one.
        let ms = (samples + 8) / 16;
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        format!("{hours:02}:{minutes:02}:{:02}{decimal_mark}{ms:03}", seconds % 60)
    };
    format!("{} --> {}", clock(range.start().0), clock(range.end().0))
}

/// A name or a word cannot end a cue.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Markup of both formats is text in a name or a word.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
