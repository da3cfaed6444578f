//! A labeller that goes on with a session of another process.

use super::Labeller;
use crate::diarizer::voice_memory::{Continuation, KeptVoices, VoicesMark};
use crate::events::SegmentId;
use diarized_dsp::SampleIndex;

impl Labeller {
    /// Takes the labels and voices of a session over, at the start.
    pub(crate) fn go_on(&mut self, before: Continuation) {
        let Continuation { state, at, last_segment, last_speaker, voices } = before;
        let (mut next_segment, mut next_speaker) = (last_segment.0 + 1, last_speaker.0 + 1);
        if let Some(kept) = voices {
            let KeptVoices { memory, names, next_segment: segment, next_speaker: speaker } = kept.into_body();
            (next_segment, next_speaker) = (next_segment.max(segment), next_speaker.max(speaker));
            self.memory.take_back(memory, &state);
            self.names.take_back(names);
        }
        self.names.take_users(&state);
        let known: Vec<_> = self.memory.speakers().collect();
        self.lost = state.speakers().map(|s| s.id).filter(|id| !known.contains(id)).collect();
        let open: Vec<SegmentId> = state.segments().filter(|s| !s.is_final).map(|s| s.id).collect();
        self.publisher.go_on(state, at, next_segment, next_speaker);
        open.into_iter().for_each(|id| self.publisher.finalise(id));
        self.labelled_until = at;
    }

    /// What goes on with the session, beside its labels.
    pub(crate) fn keep(&self) -> KeptVoices {
        let (next_segment, next_speaker) = self.publisher.next_ids();
        KeptVoices { memory: self.memory.keep(), names: self.names.keep(), next_segment, next_speaker }
    }

    pub(crate) fn voices_mark(&self) -> VoicesMark {
        VoicesMark { version: self.memory.version(), n_speakers: self.memory.speakers().count() }
    }

    /// End of what is labelled.
    pub(crate) fn labelled_until(&self) -> SampleIndex {
        let open = self.zone.as_ref().map(|zone| zone.published_until);
        open.map_or(self.labelled_until, |open| open.max(self.labelled_until))
    }

    /// Speakers that are shown, without those whose voices were lost: they cannot be recognised, and leave room for others.
    pub(super) fn n_shown(&self) -> usize {
        let is_lost = |id| self.lost.contains(&id) && self.memory.model(id).is_none();
        self.publisher.state().speakers().filter(|s| !is_lost(s.id)).count()
    }

    /// Number of shown speakers without any speech in the memory, except those whose voices were lost.
    pub(super) fn n_elsewhere(&self) -> usize {
        let outside = super::relabelling::outside(&self.memory, self.publisher.state());
        outside.filter(|id| !self.lost.contains(id)).count()
    }
}
