//! What one node asks of another, over request and reply: to act on a session that runs there.

use std::sync::Arc;

use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::words::NewWord;
use diarized_models::{SegmentId, SpeakerId};
use serde::{Deserialize, Serialize};

use super::node::FORMAT;
use crate::session::{Again, Command, Correction, CorrectionError};

/// A question about one session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) format: u32,
    pub(super) session: String,
    pub(super) what: What,
}

/// What is wanted of the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// That it ends, or that an ended one is forgotten.
    Delete,
    /// That it is stopped for another node.
    HandOver,
    Finalize,
    Correct {
        how: How,
        by: Option<String>,
    },
    Words {
        words: Vec<WireWord>,
        is_final: bool,
    },
}

/// A correction, with plain numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Rename { speaker: u32, name: String },
    Merge { from: u32, into: u32 },
    Reassign { segment: u64, speaker: u32 },
    Split { speaker: u32, segments: Vec<u64> },
    Title { title: String },
    Note { id: Option<u64>, segment: Option<u64>, text: String },
    Undo { wanted: Option<u64> },
    Redo { wanted: Option<u64> },
}

/// A word, in samples at 16 kHz.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WireWord {
    start: u64,
    end: u64,
    text: String,
    confidence: Option<f32>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It was done: number of the session's last event then, and seconds of its audio that are safe.
    Done {
        seq: u64,
        safe_s: f64,
    },
    /// There is no such session on that node.
    NotFound,
    /// The session is being stopped for another node; NATS has all of it soon.
    Leaving,
    UnknownSpeaker(u32),
    UnknownSegment(u64),
    TooMany(u32),
    TooManyWords(u32),
    Refused(String),
    /// The node failed.
    Failed(String),
}

impl Ask {
    /// The question that makes a command; nothing for one that nodes do not pass on.
    pub(super) fn of(session: &str, command: &Command) -> Option<Self> {
        let what = match command {
            Command::Finalize => What::Finalize,
            Command::Correct { correction, by } => {
                What::Correct { how: How::of(correction)?, by: by.clone() }
            }
            Command::Words { words, is_final } => {
                What::Words { words: words.iter().map(WireWord::of).collect(), is_final: *is_final }
            }
        };
        Some(Self { format: FORMAT, session: session.to_owned(), what })
    }

    /// Reads a question.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let ask: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if ask.format != FORMAT {
            let got = ask.format;
            return Err(format!("the asking node is of another version (format {got}, here {FORMAT})"));
        }
        Ok(ask)
    }
}

impl How {
    fn of(correction: &Correction) -> Option<Self> {
        Some(match correction {
            Correction::Rename { speaker, name } => Self::Rename { speaker: speaker.0, name: name.clone() },
            Correction::Merge { from, into } => Self::Merge { from: from.0, into: into.0 },
            Correction::Reassign { segment, speaker } => {
                Self::Reassign { segment: segment.0, speaker: speaker.0 }
            }
            Correction::Split { speaker, segments } => {
                Self::Split { speaker: speaker.0, segments: segments.iter().map(|id| id.0).collect() }
            }
            Correction::Title { title } => Self::Title { title: title.clone() },
            Correction::Note { id, segment, text } => {
                Self::Note { id: *id, segment: *segment, text: text.clone() }
            }
            Correction::Again { again: Again::Undo, wanted } => Self::Undo { wanted: *wanted },
            Correction::Again { again: Again::Redo, wanted } => Self::Redo { wanted: *wanted },
            Correction::Restore(_) | Correction::Voice { .. } => return None,
        })
    }

    pub(super) fn correction(self) -> Correction {
        match self {
            Self::Rename { speaker, name } => Correction::Rename { speaker: SpeakerId(speaker), name },
            Self::Merge { from, into } => Correction::Merge { from: SpeakerId(from), into: SpeakerId(into) },
            Self::Reassign { segment, speaker } => {
                Correction::Reassign { segment: SegmentId(segment), speaker: SpeakerId(speaker) }
            }
            Self::Split { speaker, segments } => Correction::Split {
                speaker: SpeakerId(speaker),
                segments: segments.into_iter().map(SegmentId).collect(),
            },
            Self::Title { title } => Correction::Title { title },
            Self::Note { id, segment, text } => Correction::Note { id, segment, text },
            Self::Undo { wanted } => Again::Undo.correction(wanted),
            Self::Redo { wanted } => Again::Redo.correction(wanted),
        }
    }
}

impl WireWord {
    fn of(word: &NewWord) -> Self {
        let (start, end) = (word.range.start().0, word.range.end().0);
        Self { start, end, text: word.text.to_string(), confidence: word.confidence }
    }

    /// The word, if its times are in order.
    pub(super) fn word(self) -> Option<NewWord> {
        let range = (self.start <= self.end)
            .then(|| SampleRange::new(SampleIndex(self.start), SampleIndex(self.end)))?;
        let text: Arc<str> = self.text.into();
        Some(NewWord { range, text, confidence: self.confidence })
    }
}

impl Answer {
    pub(super) fn of(error: CorrectionError) -> Self {
        match error {
            CorrectionError::UnknownSpeaker(id) => Self::UnknownSpeaker(id.0),
            CorrectionError::UnknownSegment(id) => Self::UnknownSegment(id.0),
            CorrectionError::TooMany { max_per_s } => Self::TooMany(max_per_s),
            CorrectionError::TooManyWords { max_per_s } => Self::TooManyWords(max_per_s),
            CorrectionError::Refused { reason } => Self::Refused(reason),
        }
    }

    /// What the asking client gets; `node` is where it was asked.
    ///
    /// # Errors
    /// [`CorrectionError`], as the session gave it.
    pub(super) fn outcome(self, session: &str, node: &str) -> Result<(u64, f64), CorrectionError> {
        let refused = |reason: String| CorrectionError::Refused { reason };
        Err(match self {
            Self::Done { seq, safe_s } => return Ok((seq, safe_s)),
            Self::Leaving => refused(format!("session {session:?} leaves node {node:?}; try again")),
            Self::NotFound => refused(format!("node {node:?} has session {session:?} no more")),
            Self::UnknownSpeaker(id) => CorrectionError::UnknownSpeaker(SpeakerId(id)),
            Self::UnknownSegment(id) => CorrectionError::UnknownSegment(SegmentId(id)),
            Self::TooMany(max_per_s) => CorrectionError::TooMany { max_per_s },
            Self::TooManyWords(max_per_s) => CorrectionError::TooManyWords { max_per_s },
            Self::Refused(reason) => refused(reason),
            Self::Failed(reason) => refused(format!("node {node:?} failed: {reason}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_arrives() {
        let (speaker, segment) = (SpeakerId(2), SegmentId(7));
        for correction in [
            Correction::Rename { speaker, name: "Ann".to_owned() },
            Correction::Merge { from: speaker, into: SpeakerId(1) },
            Correction::Reassign { segment, speaker },
            Correction::Split { speaker, segments: vec![segment] },
            Correction::Title { title: "Weekly".to_owned() },
            Correction::Note { id: None, segment: Some(7), text: "late".to_owned() },
            Again::Undo.correction(Some(3)),
            Again::Redo.correction(None),
        ] {
            let command = Command::Correct { correction: correction.clone(), by: Some("ann".to_owned()) };
            let ask = Ask::of("kitchen", &command).unwrap();
            let read = Ask::parse(&serde_json::to_vec(&ask).unwrap()).unwrap();
            assert_eq!(read, ask);
            let What::Correct { how, .. } = read.what else { panic!("{read:?}") };
            assert_eq!(how.correction(), correction);
        }
        let range = SampleRange::new(SampleIndex(160), SampleIndex(320));
        let word = NewWord { range, text: "well".into(), confidence: Some(0.5) };
        assert_eq!(WireWord::of(&word).word(), Some(word));
        let backwards = WireWord { start: 2, end: 1, text: String::new(), confidence: None };
        assert_eq!(backwards.word(), None);
        assert!(
            Ask::parse(br#"{"format":9,"session":"a","what":"finalize"}"#).unwrap_err().contains("version")
        );
    }

    #[test]
    fn refusals_come_back_unchanged() {
        for error in [
            CorrectionError::UnknownSpeaker(SpeakerId(4)),
            CorrectionError::UnknownSegment(SegmentId(9)),
            CorrectionError::TooMany { max_per_s: 5 },
            CorrectionError::TooManyWords { max_per_s: 1000 },
            CorrectionError::Refused { reason: "there is no correction to undo".to_owned() },
        ] {
            let json = serde_json::to_vec(&Answer::of(error.clone())).unwrap();
            let answer: Answer = serde_json::from_slice(&json).unwrap();
            assert_eq!(answer.outcome("kitchen", "a"), Err(error));
        }
    }
}
