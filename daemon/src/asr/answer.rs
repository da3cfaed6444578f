//! Answers of recognisers, the same for all kinds, and what is usable of them.

use crate::protocol::words::{MAX_WORD_CHARS, SentWord};

/// Words of one answer at most; a longer one is cut off.
const MAX_WORDS: usize = 1000;

/// What a recogniser has recognised. Times are seconds on its own clock, which counts the audio of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) text: Recognition,
    /// Whether it changes no more.
    pub(super) is_final: bool,
}

/// The words of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Recognition {
    /// Words with times.
    Timed(Vec<SentWord>),
    /// Text without times, of all audio since the last final answer.
    Text(String),
}

impl Answer {
    pub(super) fn timed(words: Vec<SentWord>, is_final: bool) -> Self {
        Self { text: Recognition::Timed(words), is_final }
    }

    pub(super) fn text(text: impl Into<String>, is_final: bool) -> Self {
        Self { text: Recognition::Text(text.into()), is_final }
    }
}

/// A word with a confidence that may be out of range, as a recogniser wrote it.
pub(super) fn word(start: f64, end: f64, text: &str, confidence: Option<f64>) -> SentWord {
    let confidence = confidence.filter(|c| c.is_finite()).map(|c| c.clamp(0.0, 1.0));
    SentWord { start, end, text: text.to_owned(), confidence }
}

/// The words of a text, without control characters and empty words.
pub(super) fn split(text: &str) -> Vec<String> {
    let clean =
        |word: &str| word.chars().filter(|c| !c.is_control()).take(MAX_WORD_CHARS).collect::<String>();
    text.split_whitespace().map(clean).filter(|word| !word.is_empty()).take(MAX_WORDS).collect()
}

/// Splits texts of several words with one time each, in proportion to their letters, and cleans them.
pub(super) fn single_words(words: Vec<SentWord>) -> Vec<SentWord> {
    let mut all = Vec::new();
    for whole in words {
        let parts = split(&whole.text);
        let n_chars: usize = parts.iter().map(|part| part.chars().count()).sum();
        let mut done = 0;
        for part in parts {
            let n = part.chars().count();
            let at = |n: usize| whole.start + (whole.end - whole.start) * n as f64 / n_chars as f64;
            all.push(SentWord {
                start: at(done),
                end: at(done + n),
                text: part,
                confidence: whole.confidence,
            });
            done += n;
        }
        if all.len() >= MAX_WORDS {
            break;
        }
    }
    all.truncate(MAX_WORDS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_words_is_divided_by_its_letters() {
        let got = single_words(vec![
            word(1.0, 2.0, " ab\u{7} cdefgh \n", Some(7.0)),
            word(3.0, 3.5, "\u{1}", None),
        ]);
        assert_eq!(got, [word(1.0, 1.25, "ab", Some(1.0)), word(1.25, 2.0, "cdefgh", Some(1.0))]);
        assert_eq!(split("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(split(&"x ".repeat(5000)).len(), MAX_WORDS);
        assert_eq!(split(&"y".repeat(500))[0].len(), MAX_WORD_CHARS);
    }
}
