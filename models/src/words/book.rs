//! The words of a session beside its segments: takes words and changes of labels, gives the events that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diarized_dsp::{SampleIndex, SampleRange};

use super::attribution::{Label, REACH, attribute};
use super::buckets::Buckets;
use crate::events::{Event, SegmentId, SessionState, SpokenBy, Word, WordId};

/// Words that a session holds at most: more than eleven hours of speech without a pause.
pub const MAX_WORDS: usize = 100_000;
/// Words that touch one stretch of 4 s at most, so that a change of labels there stays cheap. Fast speech has some thirty.
const MAX_DENSE: usize = 500;
/// Words of one event.
const MAX_EVENT_WORDS: usize = 500;

/// A word as a recogniser gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWord {
    /// Where it is, on the stream's clock; whole milliseconds.
    pub range: SampleRange,
    /// Its text.
    pub text: Arc<str>,
    /// The recogniser's probability that it is right, in `[0, 1]`.
    pub confidence: Option<f32>,
}

/// The words are more than a session holds; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Full {
    /// In all.
    #[error("a session holds at most {MAX_WORDS} words and this one holds {held}; open another session")]
    InAll {
        /// How many it holds.
        held: usize,
    },
    /// At one place.
    #[error(
        "more than {MAX_DENSE} words would lie within 4 s at {at_s} s; send each word once, with its own times"
    )]
    Here {
        /// Where, in seconds.
        at_s: f64,
    },
}

/// Words and segments of a session by time.
///
/// Every event that it returns is to be applied to the session's state at once, before the next event of the labels.
#[derive(Debug, Clone, Default)]
pub struct Book {
    words: BTreeMap<WordId, Word>,
    words_by_time: Buckets<WordId>,
    labels: BTreeMap<SegmentId, Label>,
    labels_by_time: Buckets<SegmentId>,
    /// Provisional words, in the order in which they came.
    partial: Vec<WordId>,
    last_id: u64,
}

impl Book {
    /// The book of a session as it stands.
    #[must_use]
    pub fn of(state: &SessionState) -> Self {
        let mut book = Self::default();
        for segment in state.segments() {
            book.labels_by_time.insert(segment.range, segment.id);
            book.labels.insert(segment.id, segment.into());
        }
        for word in state.words() {
            book.words_by_time.insert(word.range, word.id);
            book.words.insert(word.id, word.clone());
            book.last_id = book.last_id.max(word.id.0);
            if !word.is_final {
                book.partial.push(word.id);
            }
        }
        book
    }

    /// Takes words that replace the provisional ones. Final words that are held already are passed over.
    ///
    /// # Errors
    /// [`Full`]
    pub fn add(&mut self, new: &[NewWord], is_final: bool) -> Result<Vec<Event>, Full> {
        let new: Vec<&NewWord> = new.iter().filter(|word| !(is_final && self.holds_final(word))).collect();
        let held = self.words.len() - self.partial.len();
        if held + new.len() > MAX_WORDS {
            return Err(Full::InAll { held });
        }
        self.check_density(&new)?;
        let old = std::mem::take(&mut self.partial);
        let mut changed = Vec::new();
        for (idx, new) in new.iter().enumerate() {
            // A provisional word and what takes its place are versions of one word.
            let id = old.get(idx).copied().unwrap_or_else(|| self.next_id());
            if !is_final {
                self.partial.push(id);
            }
            let word = Word {
                id,
                range: new.range,
                text: Arc::clone(&new.text),
                confidence: new.confidence,
                is_final,
                spoken_by: attribute(new.range, self.labels_around(new.range)),
            };
            if self.words.get(&id) != Some(&word) {
                self.hold(word.clone());
                changed.push(word);
            }
        }
        let removed: Vec<WordId> = old.into_iter().skip(new.len()).collect();
        for id in &removed {
            if let Some(word) = self.words.remove(id) {
                self.words_by_time.remove(word.range, *id);
            }
        }
        Ok(events(changed, removed))
    }

    /// Takes one event of the labels, and returns what it changes of the words.
    pub fn observe(&mut self, event: &Event) -> Vec<Event> {
        let mut touched = BTreeSet::new();
        match event {
            Event::Segment(segment) => {
                let range = self.replace(segment.into());
                self.touch(range, &mut touched);
            }
            Event::SegmentRemoved { id } => {
                if let Some(label) = self.labels.remove(id) {
                    self.labels_by_time.remove(label.range, *id);
                    self.touch(label.range, &mut touched);
                }
            }
            Event::Revision { changes, .. } => {
                for change in changes {
                    let Some(label) = self.labels.get_mut(&change.segment) else { continue };
                    label.speaker = change.to;
                    let range = label.range;
                    self.touch(range, &mut touched);
                }
            }
            Event::Speaker(_) | Event::SpeakerMerged { .. } | Event::Words { .. } | Event::Gap { .. } => {}
        }
        events(self.reattribute(touched), Vec::new())
    }

    /// Takes a version of a segment, and returns where it differs from the one before.
    fn replace(&mut self, label: Label) -> SampleRange {
        let (id, b, speaker, is_final) = (label.segment, label.range, label.speaker, label.is_final);
        let Some(old) = self.labels.insert(id, label) else {
            self.labels_by_time.insert(b, id);
            return b;
        };
        let a = old.range;
        self.labels_by_time.change(a, b, id);
        let end = a.end().max(b.end());
        let grew = a.start() == b.start() && old.speaker == speaker && !is_final;
        // A provisional segment grows many times: its earlier words wait for its final version.
        if grew {
            SampleRange::new(a.end().min(b.end()), end)
        } else {
            SampleRange::new(a.start().min(b.start()), end)
        }
    }

    /// Adds the words that a change of labels in `range` may concern.
    fn touch(&self, range: SampleRange, touched: &mut BTreeSet<WordId>) {
        touched.extend(self.words_by_time.around(widened(range)));
    }

    /// Attributes words again, and returns those that changed.
    fn reattribute(&mut self, ids: BTreeSet<WordId>) -> Vec<Word> {
        let mut changed = Vec::new();
        for id in ids {
            let Some(word) = self.words.get(&id) else { continue };
            let now = attribute(word.range, self.labels_around(word.range));
            if !self.differs(word.spoken_by, now) {
                continue;
            }
            let word = Word { spoken_by: now, ..word.clone() };
            changed.push(word.clone());
            self.words.insert(id, word);
        }
        changed
    }

    /// Whether an attribution is worth an event. The confidence of a provisional label changes with every version of it.
    fn differs(&self, old: Option<SpokenBy>, new: Option<SpokenBy>) -> bool {
        match (old, new) {
            (Some(a), Some(b)) => {
                let is_final = self.labels.get(&b.segment).is_some_and(|label| label.is_final);
                (a.speaker, a.segment) != (b.speaker, b.segment) || (is_final && a.confidence != b.confidence)
            }
            (None, None) => false,
            _ => true,
        }
    }

    fn labels_around(&self, range: SampleRange) -> impl Iterator<Item = &Label> {
        let ids = self.labels_by_time.around(widened(range));
        ids.into_iter().filter_map(|id| self.labels.get(&id))
    }

    fn check_density(&self, new: &[&NewWord]) -> Result<(), Full> {
        let mut added = Buckets::default();
        for (idx, word) in new.iter().enumerate() {
            added.insert(word.range, idx);
            if self.words_by_time.most_in(word.range) + added.most_in(word.range) > MAX_DENSE {
                return Err(Full::Here { at_s: word.range.start().seconds() });
            }
        }
        Ok(())
    }

    fn holds_final(&self, new: &NewWord) -> bool {
        let near = self.words_by_time.around(SampleRange::new(new.range.start(), new.range.start()));
        near.iter()
            .filter_map(|id| self.words.get(id))
            .any(|word| word.is_final && word.range == new.range && word.text == new.text)
    }

    fn hold(&mut self, word: Word) {
        let (id, range) = (word.id, word.range);
        match self.words.insert(id, word) {
            Some(old) => self.words_by_time.change(old.range, range, id),
            None => self.words_by_time.insert(range, id),
        }
    }

    fn next_id(&mut self) -> WordId {
        self.last_id += 1;
        WordId(self.last_id)
    }
}

/// The range with what a word or segment may reach on both sides.
fn widened(range: SampleRange) -> SampleRange {
    let start = SampleIndex(range.start().0.saturating_sub(REACH));
    SampleRange::new(start, range.end().plus(REACH))
}

/// Events for these changes, none where there are none; each of bounded size.
fn events(changed: Vec<Word>, removed: Vec<WordId>) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    let mut rest = changed;
    while rest.len() > MAX_EVENT_WORDS {
        let tail = rest.split_off(MAX_EVENT_WORDS);
        out.push(Event::Words { words: std::mem::replace(&mut rest, tail), removed: Vec::new() });
    }
    if !rest.is_empty() || !removed.is_empty() {
        out.push(Event::Words { words: rest, removed });
    }
    out
}
