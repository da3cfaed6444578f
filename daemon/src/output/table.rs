//! The table for the terminal: every turn, then the total speech of each speaker.

use std::fmt::Write as _;

use diarized_dsp::SampleIndex;
use diarized_models::SpeakerId;

use super::labels::{Labels, rounded};
use super::turns::{Turn, turns};

pub(super) fn table(labels: &Labels<'_>) -> String {
    let turns = turns(labels.state);
    let mut talk: Vec<(SpeakerId, u64, usize)> = Vec::new();
    for turn in &turns {
        match talk.iter_mut().find(|(speaker, ..)| *speaker == turn.speaker) {
            Some((_, n_samples, n_turns)) => {
                *n_samples += turn.n_speech_samples;
                *n_turns += 1;
            }
            None => talk.push((turn.speaker, turn.n_speech_samples, 1)),
        }
    }
    let mut out = heading(labels, &talk);
    if turns.is_empty() {
        return out;
    }
    // Writing to a string cannot fail, so results of `writeln` are ignored.
    let _ = writeln!(out, "\n{:>10}  {:>10}  {:>7}  {:>5}  speaker", "start", "end", "speech", "sure");
    for turn in &turns {
        let _ = writeln!(out, "{}", row(labels, turn));
    }
    let n_total: u64 = talk.iter().map(|(_, n_samples, _)| n_samples).sum();
    out.push('\n');
    for (speaker, n_samples, n_turns) in talk {
        let share = 100.0 * n_samples as f64 / n_total as f64;
        let seconds = SampleIndex(n_samples).seconds();
        let turns = plural(n_turns, "turn");
        let _ = writeln!(out, "{:>10}  {seconds:>8.1} s  {share:>5.1} %  {turns}", labels.speaker(speaker));
    }
    out
}

fn heading(labels: &Labels<'_>, talk: &[(SpeakerId, u64, usize)]) -> String {
    let length = clock(labels.duration_s);
    match talk.len() {
        0 => format!("{}  {length}, no speech\n", labels.recording),
        n => format!("{}  {length}, {}\n", labels.recording, plural(n, "speaker")),
    }
}

fn row(labels: &Labels<'_>, turn: &Turn) -> String {
    let (start, end) = (turn.range.start().seconds(), turn.range.end().seconds());
    let speech = SampleIndex(turn.n_speech_samples).seconds();
    let (start, end) = (clock(start), clock(end));
    let sure = 100.0 * rounded(turn.confidence, 4);
    format!("{start:>10}  {end:>10}  {speech:>5.1} s  {sure:>3.0} %  {}", labels.speaker(turn.speaker))
}

/// `1:02:03.4`, without hours where there are none.
pub(super) fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round().max(0.0) as u64;
    let (minutes, seconds) = (tenths / 600, (tenths % 600) as f64 / 10.0);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:04.1}"),
        hours => format!("{hours}:{:02}:{seconds:04.1}", minutes % 60),
    }
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}
