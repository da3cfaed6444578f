//! The second voice where two people speak at once.
//!
//! Where the network hears overlap inside settled speech, a second segment is published beside the first one. Whose it
//! is follows from who speaks nearest in time (after Otterson and Ostendorf, "Efficient use of overlap information in
//! speaker diarization", 2007) and from how well the voices fit what was heard. When labels are revised, so are these.
//! Look-ahead: that of settling; memory: [`MAX_PARTS`] stretches that may still change, about 700 bytes each.

use std::collections::VecDeque;

use diarized_dsp::{SampleIndex, SampleRange};

use super::{FRAME_SAMPLES, Labeller, Region};
use crate::calibration::sigmoid;
use crate::events::{Change, Event, RevisionReason, Segment, SegmentId, SpeakerId};

/// Stretches of overlap that may still get another speaker; older ones stay as they are.
const MAX_PARTS: usize = 512;
/// Settled segments in whose neighbourhood a second voice is looked for.
const MAX_TURNS: usize = 24;
/// Overlap is told by the mean of the log odds over so many frames each side.
const SMOOTH_FRAMES: usize = 5;
/// Shorter overlap is not labelled, and shorter lapses of it are bridged: 400 ms and 150 ms, in frames.
const MIN_FRAMES: usize = 40;
const BRIDGED_FRAMES: usize = 15;
/// Longer overlap is settled in pieces, so that what waits for its end is bounded: 10 s, in frames.
const LONGEST_FRAMES: usize = 1000;
/// Weight of the voices' evidence against nearness in time.
const VOICE_SHARE: f32 = 1.0;
/// Log odds that a second voice loses with the logarithm of the seconds since, or until, it speaks alone.
const FAR_COST: f32 = 1.5;
/// Nobody that is silent for longer than this around the overlap is the second voice: 30 s.
const FARTHEST_S: f32 = 30.0;
/// Windows whose centre is at most so far from the overlap tell whose it is: 0.4 s.
const WINDOW_REACH_SAMPLES: u64 = 6400;

/// One stretch of overlap inside one settled segment.
#[derive(Debug)]
struct Part {
    range: SampleRange,
    /// The segment of the first voice.
    host: SegmentId,
    /// The published second segment, if there is somebody whose it can be.
    id: Option<SegmentId>,
    odds: f32,
    /// Weighted sum and weight of the windows around it.
    sum: Vec<f32>,
    weight: f32,
    /// Segments near it and their distance in seconds.
    near: Vec<(SegmentId, f32)>,
}

/// What the session remembers of overlap.
#[derive(Debug, Default)]
pub(super) struct Overlaps {
    parts: VecDeque<Part>,
    /// The latest settled segments, in the order in which they were settled.
    turns: VecDeque<SegmentId>,
}

impl Overlaps {
    pub(super) fn settled(&mut self, id: SegmentId) {
        if self.turns.back() != Some(&id) {
            self.turns.push_back(id);
        }
        if self.turns.len() > MAX_TURNS {
            self.turns.pop_front();
        }
    }

    /// The segment that was settled last.
    pub(super) fn latest_turn(&self) -> Option<SegmentId> {
        self.turns.back().copied()
    }

    /// A person said whose this segment is: it is left alone.
    pub(super) fn told(&mut self, id: SegmentId) {
        self.parts.retain(|part| part.id != Some(id));
    }
}

/// Stretches of `odds` above `onset`, in frames.
fn stretches(odds: &[f32], onset: f32) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for i in 0..odds.len() {
        let around = &odds[i.saturating_sub(SMOOTH_FRAMES)..(i + SMOOTH_FRAMES + 1).min(odds.len())];
        if around.iter().sum::<f32>() / around.len() as f32 <= onset {
            continue;
        }
        match found.last_mut() {
            Some(last) if i <= last.end + BRIDGED_FRAMES => last.end = i + 1,
            _ => found.push(i..i + 1),
        }
    }
    found
}

impl Labeller {
    /// Publishes the second voices of what is settled up to `until`; with `closing` nothing of the region is to come.
    pub(super) fn settle_overlap(&mut self, until: SampleIndex, closing: bool) {
        let onset = self.params.overlap_onset();
        let Some(region) = self.region.as_ref() else { return };
        let first = region.overlap_done.0.saturating_sub(region.frames.start) / FRAME_SAMPLES;
        let end = until.0.saturating_sub(region.frames.start) / FRAME_SAMPLES;
        let known = region.frames.overlap.len();
        let (first, end) = ((first as usize).min(known), (end as usize).min(known));
        let origin = region.frames.start;
        let at = |frame: usize| SampleIndex(origin + frame as u64 * FRAME_SAMPLES);
        let mut done = until;
        let mut parts = Vec::new();
        for found in stretches(&region.frames.overlap[first..end.max(first)], onset) {
            let found = first + found.start..first + found.end;
            if !closing && found.end + BRIDGED_FRAMES >= end && found.len() < LONGEST_FRAMES {
                // It may go on in what is not settled yet.
                done = at(found.start);
                break;
            }
            if found.len() >= MIN_FRAMES {
                let odds = &region.frames.overlap[found.clone()];
                let mean = odds.iter().sum::<f32>() / odds.len() as f32;
                parts.extend(self.parts_of(region, SampleRange::new(at(found.start), at(found.end)), mean));
            }
        }
        if let Some(region) = self.region.as_mut() {
            region.overlap_done = done.max(region.overlap_done);
            let keep = region.overlap_done.minus(2 * WINDOW_REACH_SAMPLES).0;
            while region.passed.front().is_some_and(|w| w.centre() < keep) {
                region.passed.pop_front();
            }
        }
        for mut part in parts {
            if let Some((speaker, confidence)) = self.second_voice_of(&part) {
                self.publish_part(&mut part, speaker, confidence);
            }
            self.overlaps.parts.push_back(part);
        }
        let surplus = self.overlaps.parts.len().saturating_sub(MAX_PARTS);
        self.overlaps.parts.drain(..surplus);
    }

    /// The pieces of a stretch of overlap, by the settled segment that each lies in.
    fn parts_of(&self, region: &Region, range: SampleRange, odds: f32) -> Vec<Part> {
        let turns: Vec<&Segment> =
            self.overlaps.turns.iter().chain(&region.open).filter_map(|id| self.state.segment(*id)).collect();
        let mut parts = Vec::new();
        for host in &turns {
            let Some(inside) = host.range.intersection(&range) else { continue };
            if inside.len() < MIN_FRAMES as u64 / 2 * FRAME_SAMPLES || region.open.contains(&host.id) {
                continue;
            }
            let mut sum = vec![0.0_f32; self.history.plda().dim()];
            let mut weight = 0.0;
            let (low, high) =
                (inside.start().minus(WINDOW_REACH_SAMPLES), inside.end().plus(WINDOW_REACH_SAMPLES));
            for window in region.passed.iter().chain(&region.windows) {
                if (low.0..high.0).contains(&window.centre()) {
                    sum.iter_mut().zip(&window.projected).for_each(|(mine, other)| *mine += other);
                    weight += window.trust;
                }
            }
            let near = turns
                .iter()
                .filter(|other| other.id != host.id)
                .map(|other| {
                    let before = inside.start().0.saturating_sub(other.range.end().0);
                    let after = other.range.start().0.saturating_sub(inside.end().0);
                    (other.id, SampleIndex(before.max(after)).seconds() as f32)
                })
                .filter(|(_, distance_s)| *distance_s < FARTHEST_S)
                .collect();
            parts.push(Part { range: inside, host: host.id, id: None, odds, sum, weight, near });
        }
        parts
    }

    /// Who else speaks there, and how sure that is.
    fn second_voice_of(&self, part: &Part) -> Option<(SpeakerId, f32)> {
        let first = self.state.segment(part.host)?.speaker;
        let mut scores: Vec<(SpeakerId, f32)> = Vec::new();
        for &(id, distance_s) in &part.near {
            let Some(speaker) = self.state.segment(id).map(|s| s.speaker).filter(|s| *s != first) else {
                continue;
            };
            let fit = self.history.model(speaker).map_or(0.0, |voice| voice.fits(&part.sum, part.weight));
            let score = VOICE_SHARE * fit - FAR_COST * (1.0 + distance_s).ln();
            match scores.iter_mut().find(|(s, _)| *s == speaker) {
                Some((_, best)) => *best = best.max(score),
                None => scores.push((speaker, score)),
            }
        }
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let &(speaker, best) = scores.first()?;
        let share = 1.0 / scores.iter().map(|(_, score)| (score - best).exp()).sum::<f32>();
        Some((speaker, (sigmoid(part.odds) * share * 1000.0).round() / 1000.0))
    }

    fn publish_part(&mut self, part: &mut Part, speaker: SpeakerId, confidence: f32) {
        let id = SegmentId(self.next_segment);
        self.next_segment += 1;
        part.id = Some(id);
        let (range, is_final, snr_db) = (part.range, true, None);
        self.say(Event::Segment(Segment { id, range, speaker, confidence, is_final, overlap: true, snr_db }));
    }

    /// Brings second voices in line with labels that were revised.
    pub(super) fn revise_overlap(&mut self, reason: RevisionReason) {
        let mut parts = std::mem::take(&mut self.overlaps.parts);
        let mut changes = Vec::new();
        for part in &mut parts {
            let held = part.id.and_then(|id| self.state.segment(id)).map(|s| (s.id, s.speaker));
            match (held, self.second_voice_of(part)) {
                (Some((segment, from)), Some((to, _))) if from != to => {
                    changes.push(Change { segment, from, to });
                }
                (Some((id, _)), None) => {
                    part.id = None;
                    self.say(Event::SegmentRemoved { id });
                }
                (None, Some((speaker, confidence))) => self.publish_part(part, speaker, confidence),
                _ => {}
            }
        }
        self.overlaps.parts = parts;
        if !changes.is_empty() {
            self.say(Event::Revision { changes, reason });
        }
    }
}

#[cfg(test)]
mod tests;
