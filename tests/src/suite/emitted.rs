//! Events as the diarizer emits them.

use diarized_models::TimedEvent;
use diarized_models::events::{Event, RevisionReason};

use super::{Kind, ScoredEvent};

impl ScoredEvent {
    /// The event of a diarizer in this process. `None` if it changes no label.
    #[must_use]
    pub fn of(emitted: &TimedEvent) -> Option<Self> {
        let kind = match &emitted.event {
            Event::Segment(s) => Kind::Segment {
                id: s.id.0,
                speech: s.speech.iter().map(|part| (part.start().seconds(), part.end().seconds())).collect(),
                speaker: s.speaker.to_string(),
            },
            Event::SegmentRemoved { id } => Kind::Removed { id: id.0 },
            Event::Revision { changes, reason } => Kind::Revision {
                changes: changes.iter().map(|c| (c.segment.0, c.to.to_string())).collect(),
                is_final_pass: *reason == RevisionReason::FinalPass,
            },
            _ => return None,
        };
        Some(Self { at_s: emitted.at.seconds(), kind })
    }
}
