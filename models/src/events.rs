//! Events of a diarizer: segments, speakers, revisions, and the state that they build.
//!
//! The contract: a [`SessionState`] that applies every [`Event`] of a stream from its start, or a snapshot of
//! such a state and every event after it, equals the diarizer's own final state.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use diarized_dsp::{SampleIndex, SampleRange};
use strum::IntoStaticStr;

/// Identity of one published segment. Never reused within a session and never changed by an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Identity of a speaker across the windows of a session, counted from 1. Written `S1`, `S2`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpeakerId(pub u32);

impl fmt::Display for SpeakerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{}", self.0)
    }
}

/// Identity of one recognised word. Never reused within a session and never changed by an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WordId(pub u64);

/// A text that is not a speaker label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("speaker label {got:?} is not of the form S1, S2, …")]
pub struct ParseSpeakerIdError {
    /// The text that was given.
    pub got: String,
}

impl FromStr for SpeakerId {
    type Err = ParseSpeakerIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let number = s.strip_prefix('S').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        match number.and_then(|n| n.parse().ok()) {
            Some(n) if n > 0 => Ok(Self(n)),
            _ => Err(ParseSpeakerIdError { got: s.to_owned() }),
        }
    }
}

/// A region of one speaker's speech.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Stable identity: an event with the same id is an update of the same segment.
    pub id: SegmentId,
    /// From the first to the last word, on the stream's clock. Short pauses lie inside.
    pub range: SampleRange,
    /// The speech inside `range`, without its pauses: at least one part, in order, apart from each other.
    pub speech: Vec<SampleRange>,
    /// Who speaks.
    pub speaker: SpeakerId,
    /// Calibrated probability that the label is right, in `[0, 1]`.
    pub confidence: f32,
    /// `false` while the end still grows or the label may be settled by audio already on its way. A final segment's
    /// speaker changes through an [`Event::Revision`] alone; where two people are found in it, it comes again with an
    /// earlier end and its rest as new segments, before the revision that assigns them.
    pub is_final: bool,
    /// Whether another speaker is believed to speak inside this segment.
    pub overlap: bool,
    /// Signal-to-noise ratio of its speech in dB, where it could be measured.
    pub snr_db: Option<f32>,
    /// Clarity of its speech in dB: early against late reflections at 50 ms, where the network measures it.
    pub c50_db: Option<f32>,
}

/// One recognised word and its speaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Stable identity: an event with the same id is an update of the same word.
    pub id: WordId,
    /// Where the word is, on the stream's clock; whole milliseconds.
    pub range: SampleRange,
    /// The word as the recogniser gives it.
    pub text: Arc<str>,
    /// The recogniser's probability that the word is right, in `[0, 1]`, where it gives one.
    pub confidence: Option<f32>,
    /// `false` while the recogniser may still change or withdraw it.
    pub is_final: bool,
    /// Who spoke it, once a segment lies there.
    pub spoken_by: Option<SpokenBy>,
}

/// The speaker of a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpokenBy {
    /// Who.
    pub speaker: SpeakerId,
    /// The segment of that speaker that holds most of the word, or lies nearest to it.
    pub segment: SegmentId,
    /// Probability that it is that speaker's word, in `[0, 1]`, with three decimals.
    pub confidence: f32,
}

/// What is known of one speaker of the session.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeakerInfo {
    /// Identity within the session.
    pub id: SpeakerId,
    /// A name that a person or a voiceprint gave.
    pub name: Option<String>,
    /// Start of the first speech.
    pub first: diarized_dsp::SampleIndex,
    /// The enrolled voice with that name, where recognition or a user set it.
    pub voice: Option<VoiceMatch>,
}

impl SpeakerInfo {
    /// A speaker without a name, whose speech begins at `first`.
    #[must_use]
    pub fn new(id: SpeakerId, first: diarized_dsp::SampleIndex) -> Self {
        Self { id, name: None, first, voice: None }
    }
}

/// A speaker recognised as a known voice.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiceMatch {
    /// Identity of the voice, the same in all sessions.
    pub id: Arc<str>,
    /// Calibrated probability that it is that voice, in `[0, 1]`; 1 where a user set it.
    pub probability: f32,
}

/// One segment's change of speaker inside a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The segment that changes.
    pub segment: SegmentId,
    /// Its speaker before.
    pub from: SpeakerId,
    /// Its speaker now.
    pub to: SpeakerId,
}

/// Why published labels change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum RevisionReason {
    /// Later speech showed that two clusters are one person.
    Merge,
    /// Later speech showed that one cluster holds two persons.
    Split,
    /// Later speech showed that single segments belong to another speaker.
    Reassign,
    /// The last pass at the end of the stream.
    FinalPass,
    /// A person corrected the labels.
    Correction,
}

impl RevisionReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a stretch of the clock holds no audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum GapReason {
    /// Blocks were dropped because the front end fell behind the device.
    Overrun,
    /// The device was away.
    DeviceLost,
    /// The sender declared that audio is missing.
    Declared,
    /// The sender's connection was cut, and what it could not deliver was not sent again.
    Disconnected,
}

impl GapReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One event of a diarizer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A new segment, or a new version of the segment with this id: its speaker is the same as before, since only
    /// a revision changes that.
    Segment(Segment),
    /// The segment is withdrawn: its region was joined to another one or proved not to be speech.
    SegmentRemoved {
        /// The segment that is no more.
        id: SegmentId,
    },
    /// Segments change speaker.
    Revision {
        /// At least one change.
        changes: Vec<Change>,
        /// Why.
        reason: RevisionReason,
    },
    /// A new speaker, or a change of one (a name).
    Speaker(SpeakerInfo),
    /// `from` and `into` are one person; the segments of `from` follow in a revision before this event.
    SpeakerMerged {
        /// The label that is no more.
        from: SpeakerId,
        /// The label that stays.
        into: SpeakerId,
    },
    /// New words, new versions of words with these ids, and words that are no more.
    Words {
        /// New or changed words.
        words: Vec<Word>,
        /// Words that are withdrawn.
        removed: Vec<WordId>,
    },
    /// The stream holds no audio here.
    Gap {
        /// Where.
        range: SampleRange,
        /// Why.
        reason: GapReason,
    },
}

/// An event that does not fit the state it is applied to: the stream of events was cut or reordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A revision or removal names a segment that the state does not hold.
    #[error("the event names segment {} that the state does not hold", .0.0)]
    UnknownSegment(SegmentId),
    /// A revision's `from`, or the speaker of a segment's new version, is not the segment's speaker.
    #[error("segment {} belongs to {got}, the event expects {expected}", segment.0)]
    WrongSpeaker {
        /// The segment.
        segment: SegmentId,
        /// Speaker that the revision names as the present one.
        expected: SpeakerId,
        /// Speaker that the state holds.
        got: SpeakerId,
    },
    /// The event names a speaker that the state does not hold.
    #[error("the event names speaker {0} that the state does not hold")]
    UnknownSpeaker(SpeakerId),
    /// The event withdraws a word that the state does not hold.
    #[error("the event withdraws word {} that the state does not hold", .0.0)]
    UnknownWord(WordId),
}

/// The labels of a session as they stand: what applying its events gives, and what a late joiner gets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionState {
    segments: BTreeMap<SegmentId, Segment>,
    speakers: BTreeMap<SpeakerId, SpeakerInfo>,
    gaps: Vec<(SampleRange, GapReason)>,
    words: BTreeMap<WordId, Word>,
}

impl SessionState {
    /// An empty state, as at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Segments by id.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.segments.values()
    }

    /// The segment with this id.
    #[must_use]
    pub fn segment(&self, id: SegmentId) -> Option<&Segment> {
        self.segments.get(&id)
    }

    /// Speakers by id.
    pub fn speakers(&self) -> impl ExactSizeIterator<Item = &SpeakerInfo> {
        self.speakers.values()
    }

    /// The speaker with this id.
    #[must_use]
    pub fn speaker(&self, id: SpeakerId) -> Option<&SpeakerInfo> {
        self.speakers.get(&id)
    }

    /// Stretches without audio, in order.
    #[must_use]
    pub fn gaps(&self) -> &[(SampleRange, GapReason)] {
        &self.gaps
    }

    /// Recognised words by id.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &Word> {
        self.words.values()
    }

    /// The word with this id.
    #[must_use]
    pub fn word(&self, id: WordId) -> Option<&Word> {
        self.words.get(&id)
    }

    /// Applies one event.
    ///
    /// # Errors
    /// [`ApplyError`] if the event does not fit; the state is then unchanged and no later event may be trusted.
    pub fn apply(&mut self, event: &Event) -> Result<(), ApplyError> {
        match event {
            Event::Segment(segment) => {
                if !self.speakers.contains_key(&segment.speaker) {
                    return Err(ApplyError::UnknownSpeaker(segment.speaker));
                }
                if let Some(held) = self.segments.get(&segment.id).filter(|h| h.speaker != segment.speaker) {
                    return Err(ApplyError::WrongSpeaker {
                        segment: segment.id,
                        expected: segment.speaker,
                        got: held.speaker,
                    });
                }
                self.segments.insert(segment.id, segment.clone());
            }
            Event::SegmentRemoved { id } => {
                self.segments.remove(id).ok_or(ApplyError::UnknownSegment(*id))?;
            }
            Event::Revision { changes, .. } => {
                for change in changes {
                    let held = self
                        .segments
                        .get(&change.segment)
                        .ok_or(ApplyError::UnknownSegment(change.segment))?;
                    if held.speaker != change.from {
                        return Err(ApplyError::WrongSpeaker {
                            segment: change.segment,
                            expected: change.from,
                            got: held.speaker,
                        });
                    }
                    if !self.speakers.contains_key(&change.to) {
                        return Err(ApplyError::UnknownSpeaker(change.to));
                    }
                }
                for change in changes {
                    if let Some(held) = self.segments.get_mut(&change.segment) {
                        held.speaker = change.to;
                    }
                }
            }
            Event::Speaker(info) => {
                self.speakers.insert(info.id, info.clone());
            }
            Event::SpeakerMerged { from, into } => {
                if !self.speakers.contains_key(into) {
                    return Err(ApplyError::UnknownSpeaker(*into));
                }
                self.speakers.remove(from).ok_or(ApplyError::UnknownSpeaker(*from))?;
            }
            Event::Words { words, removed } => self.set_words(words, removed)?,
            Event::Gap { range, reason } => self.add_gap(*range, *reason),
        }
        Ok(())
    }

    fn set_words(&mut self, words: &[Word], removed: &[WordId]) -> Result<(), ApplyError> {
        if let Some(by) =
            words.iter().filter_map(|word| word.spoken_by).find(|by| self.speaker(by.speaker).is_none())
        {
            return Err(ApplyError::UnknownSpeaker(by.speaker));
        }
        if let Some(id) = removed.iter().find(|id| !self.words.contains_key(id)) {
            return Err(ApplyError::UnknownWord(*id));
        }
        self.words.extend(words.iter().map(|word| (word.id, word.clone())));
        for id in removed {
            self.words.remove(id);
        }
        Ok(())
    }

    /// A gap that begins where the last one of its kind ended makes that one longer, so that a stream of them is one.
    /// Places are compared to the millisecond, as the wire carries them, so that followers do the same.
    fn add_gap(&mut self, range: SampleRange, reason: GapReason) {
        let ms = |at: SampleIndex| (at.seconds() * 1000.0).round();
        match self.gaps.last_mut() {
            Some((last, of)) if *of == reason && ms(last.end()) == ms(range.start()) => {
                *last = SampleRange::new(last.start(), range.end().max(last.end()));
            }
            _ => self.gaps.push((range, reason)),
        }
    }
}
