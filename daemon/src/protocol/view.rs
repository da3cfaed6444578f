//! Conversion between diarizer events and wire messages, both ways.

use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::events::{self, Event, GapReason, RevisionReason, SegmentId, SessionState, SpeakerId};

use super::decimal::Decimal;
use super::decimal::round_3;
use super::server_message::{
    Body, Change, EndReason, Gap, Revision, Segment, SegmentRemoved, Snapshot, Speaker, SpeakerMerged,
};
use super::words::{Word, Words};

/// A message without a diarizer event, or with values unknown to this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// Not a speaker label.
    #[error(transparent)]
    Speaker(#[from] events::ParseSpeakerIdError),
    /// A reason that this version does not know.
    #[error("unknown reason {got:?}")]
    Reason {
        /// The word.
        got: String,
    },
    /// A message about the connection or the session, not about labels.
    #[error("`{kind}` carries no labels")]
    NotLabels {
        /// Type of the message.
        kind: &'static str,
    },
    /// A type of event that the wire has no word for.
    #[error("the event has no form on the wire")]
    NoForm,
}

impl Body {
    /// The view of one event; `state` is the state after it and supplies names.
    ///
    /// # Errors
    /// `ViewError::NoForm` for an event that this version has no message for.
    pub fn from_event(event: &Event, state: &SessionState) -> Result<Self, ViewError> {
        Ok(match event {
            Event::Segment(segment) => Self::Segment(segment_view(segment, state)),
            Event::SegmentRemoved { id } => Self::SegmentRemoved(SegmentRemoved { id: id.0 }),
            Event::Revision { changes, reason } => Self::Revision(Revision {
                changes: changes
                    .iter()
                    .map(|c| Change { id: c.segment.0, from: c.from.to_string(), to: c.to.to_string() })
                    .collect(),
                reason: reason.as_str().to_owned(),
            }),
            Event::Speaker(info) => Self::Speaker(speaker_view(info, None)),
            Event::SpeakerMerged { from, into } => {
                Self::SpeakerMerged(SpeakerMerged { from: from.to_string(), into: into.to_string() })
            }
            Event::Words { words, removed } => Self::Words(Words::of(words, removed)),
            Event::Gap { range, reason } => Self::Gap(gap_view(*range, *reason)),
            _ => return Err(ViewError::NoForm),
        })
    }

    /// The event that a message carries, for applying it to a [`SessionState`]; times are exact to a millisecond.
    ///
    /// # Errors
    /// `ViewError` if the message carries no event or has values unknown to this version.
    pub fn to_event(&self) -> Result<Event, ViewError> {
        Ok(match self {
            Self::Segment(segment) => Event::Segment(segment.to_event()?),
            Self::SegmentRemoved(removed) => Event::SegmentRemoved { id: SegmentId(removed.id) },
            Self::Revision(revision) => Event::Revision {
                changes: revision
                    .changes
                    .iter()
                    .map(|c| {
                        let (segment, from, to) = (SegmentId(c.id), c.from.parse()?, c.to.parse()?);
                        Ok(events::Change { segment, from, to })
                    })
                    .collect::<Result<_, ViewError>>()?,
                reason: revision_reason(&revision.reason)?,
            },
            Self::Speaker(speaker) => Event::Speaker(speaker.to_event()?),
            Self::SpeakerMerged(merged) => {
                Event::SpeakerMerged { from: merged.from.parse()?, into: merged.into.parse()? }
            }
            Self::Words(words) => words.to_event()?,
            Self::Gap(gap) => Event::Gap { range: gap.range(), reason: gap_reason(&gap.reason)? },
            other => return Err(ViewError::NotLabels { kind: other.kind() }),
        })
    }
}

impl Segment {
    fn to_event(&self) -> Result<events::Segment, ViewError> {
        let range = SampleRange::new(self.start.into(), self.end.into());
        Ok(events::Segment {
            id: SegmentId(self.id),
            range,
            speech: match &self.speech {
                Some(parts) => parts
                    .iter()
                    .map(|(start, end)| SampleRange::new((*start).into(), (*end).into()))
                    .collect(),
                None => vec![range],
            },
            speaker: self.speaker.parse()?,
            confidence: self.confidence.0 as f32,
            is_final: self.is_final,
            overlap: self.overlap,
            snr_db: self.snr_db.map(|s| s.0 as f32),
            c50_db: self.c50_db.map(|s| s.0 as f32),
        })
    }
}

impl Speaker {
    pub(crate) fn to_event(&self) -> Result<events::SpeakerInfo, ViewError> {
        Ok(events::SpeakerInfo {
            id: self.id.parse()?,
            name: self.name.clone(),
            first: SampleIndex::from(self.first_s),
            voice: self.voice.as_ref().map(|id| events::VoiceMatch {
                id: id.as_str().into(),
                probability: self.probability.map_or(1.0, |p| p.0 as f32),
            }),
        })
    }
}

impl Gap {
    fn range(&self) -> SampleRange {
        SampleRange::new(self.start.into(), self.end.into())
    }
}

impl Snapshot {
    /// The view of a state.
    #[must_use]
    pub fn of(state: &SessionState, source: &str, ended: Option<EndReason>) -> Self {
        let mut totals = std::collections::BTreeMap::<SpeakerId, f64>::new();
        for segment in state.segments() {
            *totals.entry(segment.speaker).or_default() += segment.range.duration_s();
        }
        Self {
            live: ended.is_none(),
            source: source.to_owned(),
            reason: ended,
            audio_kept: false,
            title: None,
            undo: None,
            redo: None,
            notes: Vec::new(),
            speakers: state
                .speakers()
                .map(|info| speaker_view(info, Some(totals.get(&info.id).copied().unwrap_or(0.0))))
                .collect(),
            segments: state.segments().map(|segment| segment_view(segment, state)).collect(),
            gaps: state.gaps().iter().map(|(range, reason)| gap_view(*range, *reason)).collect(),
            words: state.words().map(Word::of).collect(),
        }
    }

    /// The state that the snapshot holds; times are exact to a millisecond.
    ///
    /// # Errors
    /// `ViewError` if a label or a word in it is unknown to this version, or a segment's speaker is missing.
    pub fn to_state(&self) -> Result<SessionState, ViewError> {
        let mut state = SessionState::new();
        let mut apply = |event: &Event| {
            // Only a segment whose speaker the snapshot does not list can fail to apply.
            state.apply(event).map_err(|e| ViewError::Reason { got: e.to_string() })
        };
        for speaker in &self.speakers {
            apply(&Event::Speaker(speaker.to_event()?))?;
        }
        for segment in &self.segments {
            apply(&Event::Segment(segment.to_event()?))?;
        }
        for gap in &self.gaps {
            apply(&Event::Gap { range: gap.range(), reason: gap_reason(&gap.reason)? })?;
        }
        let words = self.words.iter().map(Word::to_word).collect::<Result<_, _>>()?;
        apply(&Event::Words { words, removed: Vec::new() })?;
        Ok(state)
    }
}

fn segment_view(segment: &events::Segment, state: &SessionState) -> Segment {
    let parts = segment.speech.iter().map(|part| (part.start().into(), part.end().into())).collect();
    Segment {
        id: segment.id.0,
        start: segment.range.start().into(),
        end: segment.range.end().into(),
        speech: (segment.speech != [segment.range]).then_some(parts),
        speaker: segment.speaker.to_string(),
        name: state.speaker(segment.speaker).and_then(|s| s.name.clone()),
        confidence: number(segment.confidence),
        is_final: segment.is_final,
        overlap: segment.overlap,
        snr_db: segment.snr_db.map(number),
        c50_db: segment.c50_db.map(number),
    }
}

pub(crate) fn speaker_view(info: &events::SpeakerInfo, total_s: Option<f64>) -> Speaker {
    Speaker {
        id: info.id.to_string(),
        name: info.name.clone(),
        voice: info.voice.as_ref().map(|voice| voice.id.to_string()),
        probability: info.voice.as_ref().map(|voice| number(voice.probability)),
        first_s: info.first.into(),
        total_s: total_s.map(|t| Decimal(round_3(t))),
    }
}

fn gap_view(range: SampleRange, reason: GapReason) -> Gap {
    Gap { start: range.start().into(), end: range.end().into(), reason: reason.as_str().to_owned() }
}

/// A measured number as the wire carries it.
pub(super) fn number(value: f32) -> Decimal {
    Decimal(round_3(f64::from(value)))
}

fn revision_reason(word: &str) -> Result<RevisionReason, ViewError> {
    use RevisionReason::{Correction, FinalPass, Merge, Reassign, Split};
    [Merge, Split, Reassign, FinalPass, Correction]
        .into_iter()
        .find(|r| r.as_str() == word)
        .ok_or_else(|| ViewError::Reason { got: word.to_owned() })
}

/// The reason that this word stands for.
pub(crate) fn gap_reason(word: &str) -> Result<GapReason, ViewError> {
    use GapReason::{Declared, DeviceLost, Disconnected, Overrun};
    [Overrun, DeviceLost, Declared, Disconnected]
        .into_iter()
        .find(|r| r.as_str() == word)
        .ok_or_else(|| ViewError::Reason { got: word.to_owned() })
}
