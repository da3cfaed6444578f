//! The words of a session in the order in which a client of another protocol gets them, each once.
//!
//! Those protocols take nothing back. So a word is given out when its speaker is settled: when its segment is final, or
//! some seconds after it. Without a recogniser each final segment is given out in place of words.

use std::collections::BTreeSet;

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex, SampleRange};
use diarized_models::{SessionState, SpeakerId};

/// Words whose speaker is not final by then are given out as they are: 3 s.
const PATIENCE: u64 = 3 * SAMPLE_RATE_HZ as u64;

/// A speaker, as far as known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Who {
    /// The label, such as `S1`.
    pub(crate) label: String,
    /// The number in the label, counted from 0.
    pub(crate) number: u32,
    pub(crate) name: Option<String>,
    /// Id of the enrolled voice, and how sure that is.
    pub(crate) voice: Option<(String, f64)>,
    pub(crate) id: SpeakerId,
}

impl Who {
    /// The name, or the label where there is none.
    pub(crate) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.label)
    }

    fn of(state: &SessionState, id: SpeakerId) -> Self {
        let info = state.speaker(id);
        let voice = info.and_then(|info| info.voice.as_ref());
        Self {
            label: id.to_string(),
            number: id.0.saturating_sub(1),
            name: info.and_then(|info| info.name.clone()),
            voice: voice.map(|voice| (voice.id.to_string(), f64::from(voice.probability))),
            id,
        }
    }
}

/// A word, or a segment in its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SpokenWord {
    pub(crate) text: String,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
    /// The recogniser's, or of the label where there is no recogniser; 1 if not known.
    pub(crate) confidence: f64,
    pub(crate) speaker: Option<Who>,
    /// Probability that it is that speaker's.
    pub(crate) speaker_confidence: Option<f64>,
}

/// What was given out.
#[derive(Debug)]
pub(crate) struct Results {
    has_words: bool,
    given: BTreeSet<u64>,
    seq: Option<u64>,
}

impl Results {
    /// `has_words`: whether a recogniser gives words.
    pub(crate) fn new(has_words: bool) -> Self {
        Self { has_words, given: BTreeSet::new(), seq: None }
    }

    /// What is to be given out now, in the order of its times. `at`: the audio so far; `is_over`: all of it is known.
    pub(crate) fn take(
        &mut self,
        state: &SessionState,
        seq: u64,
        at: SampleIndex,
        is_over: bool,
    ) -> Vec<SpokenWord> {
        // Words of a session are many, and most looks find nothing new.
        if self.seq.replace(seq) == Some(seq) && !is_over {
            return Vec::new();
        }
        let mut new =
            if self.has_words { self.words(state, at, is_over) } else { self.segments(state, is_over) };
        new.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        new
    }

    fn words(&mut self, state: &SessionState, at: SampleIndex, is_over: bool) -> Vec<SpokenWord> {
        let is_settled = |word: &diarized_models::events::Word| {
            let segment = word.spoken_by.and_then(|by| state.segment(by.segment));
            is_over
                || segment.is_some_and(|segment| segment.is_final)
                || word.range.end().plus(PATIENCE) <= at
        };
        let mut new = Vec::new();
        for word in state.words().filter(|word| word.is_final) {
            if !self.given.contains(&word.id.0) && is_settled(word) {
                self.given.insert(word.id.0);
                let by = word.spoken_by;
                new.push(SpokenWord {
                    speaker: by.map(|by| Who::of(state, by.speaker)),
                    speaker_confidence: by.map(|by| f64::from(by.confidence)),
                    ..spoken(&word.text, word.range, word.confidence.unwrap_or(1.0))
                });
            }
        }
        new
    }

    fn segments(&mut self, state: &SessionState, is_over: bool) -> Vec<SpokenWord> {
        let mut new = Vec::new();
        for segment in state.segments().filter(|segment| segment.is_final || is_over) {
            if self.given.insert(segment.id.0) {
                let who = Who::of(state, segment.speaker);
                new.push(SpokenWord {
                    speaker_confidence: Some(f64::from(segment.confidence)),
                    ..spoken(who.shown(), segment.range, segment.confidence)
                });
                if let Some(last) = new.last_mut() {
                    last.speaker = Some(who);
                }
            }
        }
        new
    }

    /// The words that are recognised and not given out.
    pub(crate) fn pending(&self, state: &SessionState) -> Vec<SpokenWord> {
        let words = state.words().filter(|word| !self.given.contains(&word.id.0));
        let mut words: Vec<_> = words
            .map(|word| SpokenWord {
                speaker: word.spoken_by.map(|by| Who::of(state, by.speaker)),
                speaker_confidence: word.spoken_by.map(|by| f64::from(by.confidence)),
                ..spoken(&word.text, word.range, word.confidence.unwrap_or(1.0))
            })
            .collect();
        words.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        words
    }
}

fn spoken(text: &str, range: SampleRange, confidence: f32) -> SpokenWord {
    SpokenWord {
        text: text.to_owned(),
        start_s: range.start().seconds(),
        end_s: range.end().seconds(),
        confidence: f64::from(confidence),
        speaker: None,
        speaker_confidence: None,
    }
}

/// Who speaks most of the time.
pub(crate) fn main_speaker(words: &[SpokenWord]) -> Option<&SpokenWord> {
    let length = |id: SpeakerId| -> f64 {
        let of = |word: &&SpokenWord| word.speaker.as_ref().is_some_and(|who| who.id == id);
        words.iter().filter(of).map(|word| word.end_s - word.start_s).sum()
    };
    let ids: BTreeSet<SpeakerId> = words.iter().filter_map(|word| Some(word.speaker.as_ref()?.id)).collect();
    let most = ids.into_iter().max_by(|a, b| length(*a).total_cmp(&length(*b)))?;
    let of = |word: &&SpokenWord| word.speaker.as_ref().is_some_and(|who| who.id == most);
    words.iter().filter(of).max_by(|a, b| {
        a.speaker_confidence.partial_cmp(&b.speaker_confidence).unwrap_or(std::cmp::Ordering::Equal)
    })
}

#[cfg(test)]
mod tests {
    use diarized_models::events::{SpokenBy, Word, WordId};
    use diarized_models::{Event, Segment, SegmentId, SpeakerInfo};

    use super::*;

    fn range(start_ms: u64, end_ms: u64) -> SampleRange {
        SampleRange::new(SampleIndex(start_ms * 16), SampleIndex(end_ms * 16))
    }

    fn state(is_final: bool) -> SessionState {
        let mut state = SessionState::new();
        let speaker = SpeakerId(2);
        let named = SpeakerInfo { name: Some("Ann".to_owned()), ..SpeakerInfo::new(speaker, SampleIndex(0)) };
        state.apply(&Event::Speaker(named)).unwrap();
        let range_of = range(0, 1000);
        let segment = Segment {
            id: SegmentId(1),
            range: range_of,
            speech: vec![range_of],
            speaker,
            confidence: 0.75,
            is_final,
            overlap: false,
            snr_db: None,
            c50_db: None,
        };
        state.apply(&Event::Segment(segment)).unwrap();
        let by = SpokenBy { speaker, segment: SegmentId(1), confidence: 0.5 };
        let word = |id, start, text: &str, is_final| Word {
            id: WordId(id),
            range: range(start, start + 200),
            text: text.into(),
            confidence: None,
            is_final,
            spoken_by: Some(by),
        };
        let words = vec![word(1, 300, "there", true), word(2, 0, "hello", true), word(3, 600, "gu", false)];
        state.apply(&Event::Words { words, removed: Vec::new() }).unwrap();
        state
    }

    fn texts(words: &[SpokenWord]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn words_are_given_out_once_when_their_speaker_is_settled() {
        let mut results = Results::new(true);
        assert_eq!(results.take(&state(false), 5, SampleIndex(16_000), false), []);
        assert_eq!(texts(&results.pending(&state(false))), ["hello", "there", "gu"]);
        let settled = state(true);
        let words = results.take(&settled, 6, SampleIndex(16_000), false);
        assert_eq!(texts(&words), ["hello", "there"]);
        let who = words[0].speaker.as_ref().unwrap();
        assert_eq!((who.shown(), who.label.as_str(), who.number), ("Ann", "S2", 1));
        assert_eq!(main_speaker(&words).and_then(|w| w.speaker_confidence), Some(0.5));
        assert_eq!(texts(&results.pending(&settled)), ["gu"]);
        assert_eq!(results.take(&settled, 7, SampleIndex(16_000), true), []);
    }

    #[test]
    fn a_word_does_not_wait_for_ever() {
        let mut results = Results::new(true);
        assert_eq!(
            texts(&results.take(&state(false), 1, SampleIndex(200 * 16 + PATIENCE), false)),
            ["hello"]
        );
        assert_eq!(texts(&results.take(&state(false), 2, SampleIndex(0), true)), ["there"]);
    }

    #[test]
    fn without_words_segments_take_their_place() {
        let mut results = Results::new(false);
        assert_eq!(results.take(&state(false), 1, SampleIndex(0), false), []);
        let got = results.take(&state(true), 2, SampleIndex(0), false);
        assert_eq!((texts(&got), got[0].confidence, got[0].end_s), (vec!["Ann"], 0.75, 1.0));
    }
}
