//! What undoing or redoing a correction sets, as it is stored.

use diarized_models::corrections::Restoration;
use diarized_models::events;
use diarized_models::{SegmentId, SessionState, SpeakerId};
use serde::{Deserialize, Serialize};

use super::corrections::Note;
use super::server_message::{Change, Speaker, SpeakerMerged, Title};
use super::view::{ViewError, speaker_view};

/// What undoing or redoing a correction sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Step {
    /// Speakers that there are again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Speaker>,
    /// Speakers that are called so again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Speaker>,
    /// Segments that change their speaker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// A speaker that is merged into another again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<SpeakerMerged>,
    /// The title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// The note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

impl Step {
    /// Speakers `ids` of `state` are called so again.
    #[must_use]
    pub fn named(mut self, state: &SessionState, ids: impl IntoIterator<Item = SpeakerId>) -> Self {
        self.named.extend(infos(state, ids));
        self
    }

    /// Speakers `ids` of `state` are there again.
    #[must_use]
    pub fn missing(mut self, state: &SessionState, ids: impl IntoIterator<Item = SpeakerId>) -> Self {
        self.missing.extend(infos(state, ids));
        self
    }

    /// These segments go from one speaker to the other.
    #[must_use]
    pub fn moving(mut self, segments: &[SegmentId], from: SpeakerId, to: SpeakerId) -> Self {
        let change = |id: &SegmentId| Change { id: id.0, from: from.to_string(), to: to.to_string() };
        self.changes.extend(segments.iter().map(change));
        self
    }

    /// One speaker is merged into another.
    #[must_use]
    pub fn merging(mut self, from: SpeakerId, into: SpeakerId) -> Self {
        self.merged = Some(SpeakerMerged { from: from.to_string(), into: into.to_string() });
        self
    }

    /// What it sets of the labels; nothing where it is about a title or a note.
    ///
    /// # Errors
    /// `ViewError` if a label in it is none.
    pub fn restoration(&self) -> Result<Restoration, ViewError> {
        let infos =
            |speakers: &[Speaker]| speakers.iter().map(Speaker::to_event).collect::<Result<Vec<_>, _>>();
        let change = |c: &Change| {
            Ok(events::Change { segment: SegmentId(c.id), from: c.from.parse()?, to: c.to.parse()? })
        };
        let merged = self.merged.as_ref().map(|m| Ok::<_, ViewError>((m.from.parse()?, m.into.parse()?)));
        Ok(Restoration {
            missing: infos(&self.missing)?,
            named: infos(&self.named)?,
            changes: self.changes.iter().map(change).collect::<Result<_, ViewError>>()?,
            merged: merged.transpose()?,
        })
    }
}

fn infos(state: &SessionState, ids: impl IntoIterator<Item = SpeakerId>) -> Vec<Speaker> {
    ids.into_iter().filter_map(|id| Some(speaker_view(state.speaker(id)?, None))).collect()
}
