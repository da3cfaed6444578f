//! Corrections by a user: names, merges, reassigned segments and splits. They hold against every later clustering.

use std::collections::BTreeMap;

use super::Labeller;
use crate::corrections::{CorrectionError, Restoration, merged, reassigned, split};
use crate::events::{Change, RevisionReason, SegmentId, SpeakerId, VoiceMatch};

impl Labeller {
    /// A user names a speaker. An empty name clears it and marks the speaker as not enrolled.
    pub(crate) fn rename(&mut self, speaker: SpeakerId, name: &str) -> Result<(), CorrectionError> {
        self.set_name(speaker, name, None)
    }

    /// A user identifies a speaker as the enrolled voice `voice`.
    pub(crate) fn set_voice(
        &mut self,
        speaker: SpeakerId,
        voice: &str,
        name: &str,
    ) -> Result<(), CorrectionError> {
        self.set_name(speaker, name, Some(VoiceMatch { id: voice.into(), probability: 1.0 }))
    }

    fn set_name(
        &mut self,
        speaker: SpeakerId,
        name: &str,
        voice: Option<VoiceMatch>,
    ) -> Result<(), CorrectionError> {
        let info = self.names.set_name(self.publisher.state(), speaker, name, voice)?;
        self.publisher.set_speaker(info);
        Ok(())
    }

    /// A user merges two speakers.
    pub(crate) fn merge(&mut self, from: SpeakerId, into: SpeakerId) -> Result<(), CorrectionError> {
        let changes = merged(self.publisher.state(), from, into)?;
        self.memory.merge(from, into);
        self.opened.remove(&from);
        if let Some(zone) = &mut self.zone {
            zone.relabel(from, into);
        }
        self.correct(changes);
        self.remove_speaker(from, into);
        self.names.forget(from);
        self.recognise();
        Ok(())
    }

    /// A user gives a final segment to another speaker.
    pub(crate) fn reassign(&mut self, segment: SegmentId, to: SpeakerId) -> Result<(), CorrectionError> {
        let Some(change) = reassigned(self.publisher.state(), segment, to)? else { return Ok(()) };
        self.memory.reassign(segment, to);
        self.second_voices.release(segment);
        self.correct(vec![change]);
        self.remove_unused(&BTreeMap::from([(change.from, to)]));
        self.recognise();
        Ok(())
    }

    /// A user splits a speaker in two: `segments` go to the second one, or where none are given those with a different
    /// voice. Returns the second speaker.
    pub(crate) fn split(
        &mut self,
        speaker: SpeakerId,
        segments: &[SegmentId],
    ) -> Result<SpeakerId, CorrectionError> {
        let (moved, first) =
            split(self.publisher.state(), speaker, segments, || self.memory.second_voice(speaker))?;
        let new = self.publisher.open_speaker(first);
        self.memory.split(speaker, new, &moved);
        moved.iter().for_each(|id| self.second_voices.release(*id));
        self.correct(moved.into_iter().map(|segment| Change { segment, from: speaker, to: new }).collect());
        self.recognise();
        Ok(new)
    }

    /// A user undoes a correction or makes it again.
    pub(crate) fn restore(&mut self, restoration: &Restoration) -> Result<(), CorrectionError> {
        let changes = restoration.still_valid(self.publisher.state())?;
        let is_missing = |id| restoration.missing.iter().any(|info| info.id == id);
        for info in &restoration.missing {
            if self.publisher.state().speaker(info.id).is_none() {
                self.names.restore(info);
                self.publisher.set_speaker(info.clone());
            }
        }
        for info in &restoration.named {
            self.names.restore(info);
            if self.publisher.state().speaker(info.id) != Some(info) {
                self.publisher.set_speaker(info.clone());
            }
        }
        let mut moves = BTreeMap::<(SpeakerId, SpeakerId), Vec<SegmentId>>::new();
        for change in &changes {
            self.second_voices.release(change.segment);
            moves.entry((change.from, change.to)).or_default().push(change.segment);
        }
        for ((from, to), segments) in moves {
            if is_missing(to) {
                self.memory.split(from, to, &segments);
            } else {
                segments.iter().for_each(|segment| self.memory.reassign(*segment, to));
            }
        }
        self.correct(changes);
        if let Some((from, into)) = restoration.merged {
            self.merge(from, into)?;
        }
        self.recognise();
        Ok(())
    }

    /// Publishes corrected labels, and what follows from them for second speakers.
    fn correct(&mut self, changes: Vec<Change>) {
        let reason = RevisionReason::Correction;
        self.publisher.revise(changes, reason);
        self.with_any_zone(|labeller, zone| labeller.revise_second_voices(zone, reason));
    }
}
