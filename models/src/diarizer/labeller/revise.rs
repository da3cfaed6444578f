//! What changes settled labels: clustering of the history, speakers that go, and the word of a person.

use std::collections::BTreeMap;

use diarized_dsp::SampleRange;

use super::Labeller;
use crate::diarizer::CorrectionError;
use crate::events::{Change, Event, RevisionReason, Segment, SegmentId, SpeakerId, SpeakerInfo};

impl Labeller {
    /// Withdraws speakers opened in the region that no segment bears any more.
    pub(super) fn retire_tentative(&mut self) {
        for (speaker, ()) in std::mem::take(&mut self.tentative) {
            if !self.state.segments().any(|s| s.speaker == speaker) {
                self.retire(speaker, None);
            }
        }
    }

    pub(super) fn retire(&mut self, from: SpeakerId, into: Option<SpeakerId>) {
        let into = into.or_else(|| self.state.segments().max_by_key(|s| s.id).map(|s| s.speaker));
        let Some(into) = into.filter(|into| *into != from) else { return };
        if self.state.speaker(from).is_none() || self.state.speaker(into).is_none() {
            return;
        }
        // What a person said outlives the label it was said of.
        self.inherit(from, into);
        self.say(Event::SpeakerMerged { from, into });
    }

    /// Clusters the history anew and publishes what changed.
    pub(super) fn recluster(&mut self, reason: RevisionReason) {
        self.exemplars_since_clustering = 0;
        let mut next = self.next_speaker;
        let gone = self.history.recluster(reason == RevisionReason::FinalPass, || {
            let id = SpeakerId(next);
            next += 1;
            id
        });
        self.next_speaker = next;
        // New ones, and those that have come back.
        let fresh: Vec<SpeakerId> =
            self.history.speakers().filter(|id| self.state.speaker(*id).is_none()).collect();
        let gone: BTreeMap<SpeakerId, SpeakerId> = gone.into_iter().collect();
        self.divide_segments();
        let mut changes = Vec::new();
        for id in self.history.segments().collect::<Vec<_>>() {
            let (Some(held), Some(to)) = (self.state.segment(id), self.history.segment_speaker(id)) else {
                continue;
            };
            if held.speaker != to {
                changes.push(Change { segment: id, from: held.speaker, to });
            }
        }
        changes.extend(self.orphans(&gone));
        for id in &fresh {
            let first = changes
                .iter()
                .filter(|c| c.to == *id)
                .filter_map(|c| self.state.segment(c.segment).map(|s| s.range.start()))
                .min();
            self.say(Event::Speaker(SpeakerInfo::new(*id, first.unwrap_or(self.now))));
        }
        let reason = match reason {
            RevisionReason::FinalPass => RevisionReason::FinalPass,
            _ if !gone.is_empty() => RevisionReason::Merge,
            _ if !fresh.is_empty() => RevisionReason::Split,
            other => other,
        };
        if !changes.is_empty() {
            self.say(Event::Revision { changes, reason });
        }
        self.revise_overlap(reason);
        self.retire_unused(&gone);
        self.recognise();
    }

    /// Makes several of each final segment in which the clustering found several people. They bear the same label until
    /// the revision that follows.
    fn divide_segments(&mut self) {
        for id in self.history.segments().collect::<Vec<_>>() {
            let Some(held) = self.state.segment(id).filter(|s| s.is_final).cloned() else { continue };
            let mut starts = self.history.changes_inside(id);
            starts.retain(|at| held.range.start() < *at && *at < held.range.end());
            if starts.is_empty() {
                continue;
            }
            let mut parts = vec![(id, held.range)];
            for at in starts {
                let next = self.fresh_segment();
                let (last, range) = parts[parts.len() - 1];
                let end = parts.len() - 1;
                parts[end].1 = SampleRange::new(range.start(), at);
                parts.push((next, SampleRange::new(at, range.end())));
                self.history.divide(last, at, next);
            }
            for (id, range) in &parts {
                self.say(Event::Segment(Segment { id: *id, range: *range, ..held.clone() }));
            }
            self.overlaps.divided(&parts);
            let last = parts[parts.len() - 1].0;
            if let Some(before) = self.region.as_mut().and_then(|r| r.before.as_mut()).filter(|b| **b == id) {
                *before = last;
            }
        }
    }

    /// Segments that the history holds nothing of, and whose speaker is no more.
    pub(super) fn orphans(&mut self, gone: &BTreeMap<SpeakerId, SpeakerId>) -> Vec<Change> {
        if gone.is_empty() {
            return Vec::new();
        }
        for window in self.region.iter_mut().flat_map(|region| &mut region.windows) {
            if let Some(into) = window.label.and_then(|l| gone.get(&l)) {
                window.label = Some(*into);
            }
        }
        let change =
            |s: &Segment| gone.get(&s.speaker).map(|to| Change { segment: s.id, from: s.speaker, to: *to });
        let held = |s: &&Segment| self.history.segment_speaker(s.id).is_none();
        self.state.segments().filter(held).filter_map(change).collect()
    }

    /// Withdraws every speaker that bears no segment and of whom the history holds nothing; after the end of the
    /// stream every speaker that bears no segment.
    pub(super) fn retire_unused(&mut self, gone: &BTreeMap<SpeakerId, SpeakerId>) {
        let mut used: BTreeMap<SpeakerId, ()> = self.tentative.clone();
        used.extend(self.state.segments().map(|s| (s.speaker, ())));
        if !self.ended {
            used.extend(self.history.speakers().map(|s| (s, ())));
        }
        let unused: Vec<SpeakerId> =
            self.state.speakers().map(|s| s.id).filter(|id| !used.contains_key(id)).collect();
        for id in unused {
            self.retire(id, gone.get(&id).copied().filter(|into| used.contains_key(into)));
        }
    }

    /// A person says that two labels are one speaker.
    pub(crate) fn merge(&mut self, from: SpeakerId, into: SpeakerId) -> Result<(), CorrectionError> {
        for speaker in [from, into] {
            self.state.speaker(speaker).ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
        }
        if from == into {
            return Err(CorrectionError::SameSpeaker(from));
        }
        self.history.merge(from, into);
        self.tentative.remove(&from);
        if let Some(region) = self.region.as_mut() {
            for window in region.windows.iter_mut().filter(|w| w.label == Some(from)) {
                window.label = Some(into);
            }
        }
        let changes: Vec<Change> = self
            .state
            .segments()
            .filter(|s| s.speaker == from)
            .map(|s| Change { segment: s.id, from, to: into })
            .collect();
        if !changes.is_empty() {
            self.say(Event::Revision { changes, reason: RevisionReason::Correction });
        }
        self.revise_overlap(RevisionReason::Correction);
        self.inherit(from, into);
        self.say(Event::SpeakerMerged { from, into });
        self.recognise();
        Ok(())
    }

    /// A person says that a final segment is another speaker's.
    pub(crate) fn reassign(&mut self, segment: SegmentId, to: SpeakerId) -> Result<(), CorrectionError> {
        let held = self.state.segment(segment).ok_or(CorrectionError::NoSuchSegment(segment))?;
        self.state.speaker(to).ok_or(CorrectionError::NoSuchSpeaker(to))?;
        if !held.is_final {
            return Err(CorrectionError::NotFinal(segment));
        }
        let from = held.speaker;
        if from == to {
            return Ok(());
        }
        self.history.reassign(segment, to);
        self.overlaps.told(segment);
        self.say(Event::Revision {
            changes: vec![Change { segment, from, to }],
            reason: RevisionReason::Correction,
        });
        self.revise_overlap(RevisionReason::Correction);
        self.retire_unused(&BTreeMap::from([(from, to)]));
        self.recognise();
        Ok(())
    }
}
