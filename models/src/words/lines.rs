//! Lines of a transcript: words of one speaker in a row.

use diarized_dsp::SampleRange;

use super::join::join;
use crate::events::{SessionState, SpeakerId, Word};

/// Where a line ends besides a change of speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineParams {
    /// A longer pause ends a line, in samples.
    pub max_pause: u64,
    /// Length of a line, in samples; a single word may be longer.
    pub max_len: u64,
    /// Characters of a line; a single word may have more.
    pub max_chars: usize,
}

/// Words of one speaker in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// From the start of the first to the end of the last word.
    pub range: SampleRange,
    /// Who speaks, where that is known.
    pub speaker: Option<SpeakerId>,
    /// The words.
    pub text: String,
}

/// The words of a session as lines, in the order of their starts.
#[must_use]
pub fn lines(state: &SessionState, params: LineParams) -> Vec<Line> {
    let mut words: Vec<&Word> = state.words().collect();
    words.sort_by_key(|word| (word.range.start(), word.range.end(), word.id));
    let mut open: Vec<&Word> = Vec::new();
    let mut n_chars = 0;
    let mut out = Vec::new();
    for word in words {
        let word_chars = word.text.chars().count() + 1;
        if let (Some(first), Some(last)) = (open.first(), open.last()) {
            let continues = speaker_of(word) == speaker_of(last)
                && word.range.start() <= end_of(&open).plus(params.max_pause)
                && word.range.end().0.saturating_sub(first.range.start().0) <= params.max_len
                && n_chars + word_chars <= params.max_chars;
            if !continues {
                out.push(line(&open));
                open.clear();
                n_chars = 0;
            }
        }
        n_chars += word_chars;
        open.push(word);
    }
    if !open.is_empty() {
        out.push(line(&open));
    }
    out
}

fn speaker_of(word: &Word) -> Option<SpeakerId> {
    word.spoken_by.map(|by| by.speaker)
}

fn end_of(words: &[&Word]) -> diarized_dsp::SampleIndex {
    words.iter().map(|word| word.range.end()).max().unwrap_or_default()
}

fn line(words: &[&Word]) -> Line {
    let start = words.first().map_or_else(Default::default, |word| word.range.start());
    Line {
        range: SampleRange::new(start, end_of(words)),
        speaker: words.first().and_then(|word| speaker_of(word)),
        text: join(words.iter().map(|word| &*word.text)),
    }
}
