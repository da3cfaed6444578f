//! The zone's labels as published segments: runs of windows, boundaries at pauses, ids that live on.

use diarized_dsp::{SampleIndex, SampleRange};

use super::{Labeller, Region, Run, SMOOTH_FRAMES};
use crate::calibration::sigmoid;
use crate::events::{Change, Event, RevisionReason, Segment, SegmentId, SpeakerId};

/// Pull of a boundary to where the windows say it is, in dB a frame.
const PULL_DB_PER_FRAME: f32 = 0.2;

impl Labeller {
    /// Runs of equal labels over the zone, up to `end`.
    pub(super) fn runs(&self, end: SampleIndex) -> Vec<Run> {
        let Some(region) = &self.region else { return Vec::new() };
        let mut runs: Vec<Run> = Vec::new();
        let mut start = region.zone_start;
        let mut first = 0;
        for w in 0..region.windows.len() {
            let last = w + 1 == region.windows.len();
            let Some(speaker) = region.windows[w].label else { continue };
            if last || region.windows[w + 1].label != region.windows[w].label {
                let until = if last { end } else { self.boundary(region, w) };
                runs.push(Run {
                    first,
                    end: w + 1,
                    speaker,
                    range: SampleRange::new(start, until.max(start)),
                });
                start = until.max(start);
                first = w + 1;
            }
        }
        runs
    }

    /// Where the change between windows `w` and `w + 1` lies: at the quietest moment near the middle of their
    /// centres, since people change in the pauses.
    pub(super) fn boundary(&self, region: &Region, w: usize) -> SampleIndex {
        let middle = u64::midpoint(region.windows[w].centre(), region.windows[w + 1].centre());
        let reach = self.params.boundary_reach_samples();
        let frame = |sample: u64| region.frames.index(SampleIndex(sample));
        let (low, high) = (frame(middle.saturating_sub(reach)), frame(middle + reach));
        let smooth = |i: usize| {
            let around = i.saturating_sub(SMOOTH_FRAMES)..(i + SMOOTH_FRAMES + 1).min(region.frames.db.len());
            let n = around.len().max(1) as f32;
            region.frames.db[around].iter().sum::<f32>() / n
        };
        let mut best: Option<(usize, f32)> = None;
        for i in low..high.min(region.frames.db.len()) {
            // A slight pull to the middle, so that an even level does not move the boundary.
            let distance = i.abs_diff(frame(middle)) as f32;
            let cost = smooth(i) + PULL_DB_PER_FRAME * distance;
            if best.is_none_or(|(_, b)| cost < b) {
                best = Some((i, cost));
            }
        }
        let at = best.map_or(middle, |(i, _)| region.frames.position(i).0);
        SampleIndex(at.clamp(region.zone_start.0, region.windows[w + 1].support.end().0))
    }

    /// Brings the published segments of the zone in line with its labels, as far as `shown`.
    pub(super) fn publish(&mut self, end: SampleIndex, shown: SampleIndex) {
        let mut runs = self.runs(end);
        runs.retain(|run| run.range.start() < shown);
        if let Some(last) = runs.last_mut() {
            last.range = SampleRange::new(last.range.start(), last.range.end().min(shown));
        }
        let Some(region) = self.region.as_mut() else { return };
        if runs.is_empty() {
            return;
        }
        let (head, mut free) = (region.head, std::mem::take(&mut region.open));
        let mut open = Vec::new();
        for (n, run) in runs.iter().enumerate() {
            let continued =
                head.filter(|id| n == 0 && self.state.segment(*id).is_some_and(|s| s.speaker == run.speaker));
            if let Some(id) = continued {
                self.update(id, run, true);
                continue;
            }
            if n == 0
                && let Some(id) = head
            {
                self.trim(id, run.range.start());
            }
            let reuse = self.best_match(&free, run.range, Some(run.speaker));
            let id = match reuse {
                Some(at) => free.remove(at),
                None => self.fresh_segment(),
            };
            self.update(id, run, false);
            open.push(id);
        }
        for id in free {
            self.say(Event::SegmentRemoved { id });
        }
        if let Some(region) = self.region.as_mut() {
            region.open = open;
        }
    }

    /// The free segment that shares most with `range`, one of `speaker` before all others.
    pub(super) fn best_match(
        &self,
        free: &[SegmentId],
        range: SampleRange,
        speaker: Option<SpeakerId>,
    ) -> Option<usize> {
        let mut best: Option<(usize, (bool, u64))> = None;
        for (at, id) in free.iter().enumerate() {
            let Some(segment) = self.state.segment(*id) else { continue };
            let shared = segment.range.intersection(&range).map_or(0, |r| r.len());
            let key = (Some(segment.speaker) == speaker, shared);
            if shared > 0 && best.is_none_or(|(_, b)| key > b) {
                best = Some((at, key));
            }
        }
        best.map(|(at, _)| at)
    }

    /// Publishes the run under `id`; `from_head` keeps the start that the settled part gave.
    pub(super) fn update(&mut self, id: SegmentId, run: &Run, from_head: bool) {
        let held = self.state.segment(id).cloned();
        self.hand_over(id, run.speaker);
        let start = match (&held, from_head) {
            (Some(held), true) => held.range.start(),
            _ => self.start_of_turn(run),
        };
        let range = SampleRange::new(start, run.range.end());
        let confidence = self.confidence(run);
        let (snr_db, c50_db) = self.quality_db(run.range, from_head);
        let segment = Segment {
            id,
            range,
            speaker: run.speaker,
            confidence,
            is_final: false,
            overlap: false,
            snr_db,
            c50_db,
        };
        let same =
            held.is_some_and(|h| h.range == range && h.speaker == run.speaker && h.confidence == confidence);
        if !same {
            self.say(Event::Segment(segment));
        }
    }

    /// Revises a published segment that is another's than `speaker`'s; one that is not published yet is left alone.
    pub(super) fn hand_over(&mut self, id: SegmentId, speaker: SpeakerId) {
        let from = self.state.segment(id).map(|held| held.speaker);
        if let Some(from) = from.filter(|from| *from != speaker) {
            let changes = vec![Change { segment: id, from, to: speaker }];
            self.say(Event::Revision { changes, reason: RevisionReason::Reassign });
        }
    }

    /// Where a turn begins that begins with `run`: a speaker who pauses briefly and goes on has not stopped.
    fn start_of_turn(&self, run: &Run) -> SampleIndex {
        let before =
            self.region.as_ref().filter(|r| r.head.is_none() && run.first == 0).and_then(|r| r.before);
        let before = before.and_then(|id| self.state.segment(id)).filter(|s| s.speaker == run.speaker);
        before.map_or(run.range.start(), |s| s.range.end().min(run.range.start()))
    }

    /// The head's segment ends where the zone's first run of another speaker starts.
    pub(super) fn trim(&mut self, id: SegmentId, end: SampleIndex) {
        let Some(held) = self.state.segment(id).filter(|s| s.range.end() != end).cloned() else { return };
        self.say(Event::Segment(Segment { range: SampleRange::new(held.range.start(), end), ..held }));
    }

    pub(super) fn finalise(&mut self, id: SegmentId) {
        let Some(held) = self.state.segment(id).filter(|s| !s.is_final).cloned() else { return };
        self.say(Event::Segment(Segment { is_final: true, ..held }));
    }

    /// Probability of the run's label against every other speaker and a stranger, at even priors.
    pub(super) fn confidence(&self, run: &Run) -> f32 {
        let Some(region) = &self.region else { return 0.0 };
        let zone_voices = self.zone_voices(region);
        let fit = |speaker: SpeakerId| {
            region
                .windows
                .range(run.first..run.end)
                .map(|window| self.fit(window, speaker, &zone_voices))
                .sum::<f32>()
        };
        let own = fit(run.speaker);
        let stranger = self.evidence_of_one(region, run.first..run.end) - self.params.new_speaker_llr();
        let rivals = self.candidates().into_iter().filter(|s| *s != run.speaker);
        let rival = rivals.map(fit).fold(stranger, f32::max);
        (sigmoid(own - rival) * 1000.0).round() / 1000.0
    }
}
