//! Recognised words: as a client sends them, and as the server emits them with their speakers.

use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::words::NewWord;
use serde::{Deserialize, Serialize};

use super::decimal::round_3;
use super::decimal::{Decimal, Seconds};
use super::object;

/// Words in one message of a client.
pub const MAX_WORDS_SENT: usize = 1000;
/// Characters of a word.
pub const MAX_WORD_CHARS: usize = 200;
/// Length of a word, in seconds.
const MAX_WORD_S: f64 = 60.0;
/// Latest possible time: a year.
const MAX_TIME_S: f64 = 366.0 * 86_400.0;

/// Words of a recogniser; they replace the provisional ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendWords {
    /// The words; none withdraws the provisional ones.
    #[serde(deserialize_with = "object::list")]
    pub words: Vec<SentWord>,
    /// Whether the recogniser changes them no more.
    #[serde(rename = "final", default = "yes", skip_serializing_if = "is_yes")]
    pub is_final: bool,
}

/// One word of a recogniser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentWord {
    /// Where it begins, in seconds on the session's clock.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// The word.
    pub text: String,
    /// Probability that it is right, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// Why words are not taken; none of the message is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// Too many in one message.
    #[error(
        "words ({got} of them) must be at most {MAX_WORDS_SENT} in a message; send the rest in another one"
    )]
    TooMany {
        /// How many came.
        got: usize,
    },
    /// Final words that are none.
    #[error("words must not be empty; only with final = false, which withdraws the provisional words")]
    None,
    /// A time is out of range.
    #[error("words[{idx}].{field} ({got}) must be seconds from 0 to {MAX_TIME_S}")]
    Time {
        /// Which word, counted from 0.
        idx: usize,
        /// Which of its fields.
        field: &'static str,
        /// Its value.
        got: f64,
    },
    /// A word ends before it begins, or is far too long.
    #[error(
        "words[{idx}].end ({end}) must not be before its start ({start}), and at most {MAX_WORD_S} s after it"
    )]
    Length {
        /// Which word, counted from 0.
        idx: usize,
        /// Its start.
        start: f64,
        /// Its end.
        end: f64,
    },
    /// The text is empty or too long.
    #[error(
        "words[{idx}].text must have 1 to {MAX_WORD_CHARS} characters, not {got}; send each word by itself"
    )]
    Text {
        /// Which word, counted from 0.
        idx: usize,
        /// Its length, without white space at both ends.
        got: usize,
    },
    /// The text holds a control character.
    #[error("words[{idx}].text must not hold control characters; leave U+{:04X} out", u32::from(*got))]
    Control {
        /// Which word, counted from 0.
        idx: usize,
        /// The first such character.
        got: char,
    },
    /// The confidence is out of range.
    #[error("words[{idx}].confidence ({got}) must be from 0 to 1; leave it out if it is not known")]
    Confidence {
        /// Which word, counted from 0.
        idx: usize,
        /// Its value.
        got: f64,
    },
}

impl SendWords {
    /// The words, checked; times are rounded to the millisecond, as the wire carries them.
    ///
    /// # Errors
    /// The first fault.
    pub fn checked(&self) -> Result<Vec<NewWord>, WordsError> {
        match self.words.len() {
            0 if self.is_final => return Err(WordsError::None),
            got if got > MAX_WORDS_SENT => return Err(WordsError::TooMany { got }),
            _ => {}
        }
        self.words.iter().enumerate().map(|(idx, word)| word.checked(idx)).collect()
    }
}

impl SentWord {
    fn checked(&self, idx: usize) -> Result<NewWord, WordsError> {
        let (start, end) = (self.start, self.end);
        for (field, got) in [("start", start), ("end", end)] {
            if !(0.0..=MAX_TIME_S).contains(&got) {
                return Err(WordsError::Time { idx, field, got });
            }
        }
        if end < start || end - start > MAX_WORD_S {
            return Err(WordsError::Length { idx, start, end });
        }
        let text = self.text.trim();
        let n_chars = text.chars().count();
        if !(1..=MAX_WORD_CHARS).contains(&n_chars) {
            return Err(WordsError::Text { idx, got: n_chars });
        }
        if let Some(got) = text.chars().find(|c| c.is_control()) {
            return Err(WordsError::Control { idx, got });
        }
        if let Some(got) = self.confidence.filter(|c| !(0.0..=1.0).contains(c)) {
            return Err(WordsError::Confidence { idx, got });
        }
        let at = |seconds| SampleIndex::from(Decimal(round_3(seconds)));
        Ok(NewWord {
            range: SampleRange::new(at(start), at(end)),
            text: text.into(),
            confidence: self.confidence.map(|c| round_3(c) as f32),
        })
    }
}

/// New words, new versions of words, and words that are no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// New or changed words.
    pub words: Vec<Word>,
    /// Ids of the words that are withdrawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<u64>,
}

/// One word with its speaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// Stable identity within the session.
    pub id: u64,
    /// Where it begins.
    pub start: Seconds,
    /// Where it ends.
    pub end: Seconds,
    /// The word.
    pub text: String,
    /// The recogniser's probability that it is right, 0 to 1, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Decimal>,
    /// Whether the recogniser changes it no more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Label of the speaker, where there is one; the next two fields come with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Id of the segment that holds most of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// Probability that it is that speaker's word, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker_confidence: Option<Decimal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(start: f64, end: f64, text: &str) -> SentWord {
        SentWord { start, end, text: text.to_owned(), confidence: None }
    }

    #[test]
    fn a_faulty_word_is_named_with_its_field() {
        let fault = |bad: SentWord| {
            let words = vec![word(0.0, 1.0, "good"), bad];
            SendWords { words, is_final: true }.checked().unwrap_err().to_string()
        };
        assert_eq!(fault(word(-1.0, 1.0, "a")), "words[1].start (-1) must be seconds from 0 to 31622400");
        assert!(fault(word(1.0, f64::INFINITY, "a")).starts_with("words[1].end (inf)"));
        assert!(fault(word(f64::NAN, 1.0, "a")).starts_with("words[1].start (NaN)"));
        assert!(
            fault(word(2.0, 1.5, "a")).starts_with("words[1].end (1.5) must not be before its start (2)")
        );
        assert!(fault(word(2.0, 62.5, "a")).contains("at most 60 s after it"));
        assert!(
            fault(word(0.0, 1.0, " \n ")).starts_with("words[1].text must have 1 to 200 characters, not 0")
        );
        assert!(fault(word(0.0, 1.0, &"é".repeat(201))).contains("not 201"));
        assert!(fault(word(0.0, 1.0, "a\u{1b}[2Jb")).ends_with("leave U+001B out"));
        let sure = SentWord { confidence: Some(1.5), ..word(0.0, 1.0, "a") };
        assert!(fault(sure).starts_with("words[1].confidence (1.5) must be from 0 to 1"));
        let many = SendWords { words: vec![word(0.0, 1.0, "a"); 1001], is_final: true };
        assert_eq!(many.checked(), Err(WordsError::TooMany { got: 1001 }));
        assert_eq!(SendWords { words: vec![], is_final: true }.checked(), Err(WordsError::None));
        assert_eq!(SendWords { words: vec![], is_final: false }.checked(), Ok(vec![]));
    }

    #[test]
    fn times_are_those_of_the_wire_and_texts_have_no_margin() {
        let words =
            SendWords { words: vec![word(0.123_456, 0.5, " hello ")], is_final: true }.checked().unwrap();
        assert_eq!(words[0].range.start().seconds(), 0.123);
        assert_eq!(&*words[0].text, "hello");
    }
}
