//! Conversion between words of a session and of the wire, both ways.

use std::sync::Arc;

use diarized_dsp::SampleRange;
use diarized_models::events;

use super::view::{ViewError, number};
use super::words::{Word, Words};

impl Words {
    /// The view of an event.
    pub(super) fn of(words: &[events::Word], removed: &[events::WordId]) -> Self {
        Self { words: words.iter().map(Word::of).collect(), removed: removed.iter().map(|id| id.0).collect() }
    }

    /// The event of a view.
    pub(super) fn to_event(&self) -> Result<events::Event, ViewError> {
        Ok(events::Event::Words {
            words: self.words.iter().map(Word::to_word).collect::<Result<_, _>>()?,
            removed: self.removed.iter().map(|id| events::WordId(*id)).collect(),
        })
    }
}

impl Word {
    /// The view of a word.
    pub(super) fn of(word: &events::Word) -> Self {
        Self {
            id: word.id.0,
            start: word.range.start().into(),
            end: word.range.end().into(),
            text: word.text.to_string(),
            confidence: word.confidence.map(number),
            is_final: word.is_final,
            speaker: word.spoken_by.map(|by| by.speaker.to_string()),
            segment: word.spoken_by.map(|by| by.segment.0),
            speaker_confidence: word.spoken_by.map(|by| number(by.confidence)),
        }
    }

    /// The word of a view.
    pub(super) fn to_word(&self) -> Result<events::Word, ViewError> {
        let spoken_by = match (&self.speaker, self.segment) {
            (Some(speaker), Some(segment)) => Some(events::SpokenBy {
                speaker: speaker.parse()?,
                segment: events::SegmentId(segment),
                confidence: self.speaker_confidence.map_or(1.0, |c| c.0 as f32),
            }),
            _ => None,
        };
        Ok(events::Word {
            id: events::WordId(self.id),
            range: SampleRange::new(self.start.into(), self.end.into()),
            text: Arc::from(self.text.as_str()),
            confidence: self.confidence.map(|c| c.0 as f32),
            is_final: self.is_final,
            spoken_by,
        })
    }
}
