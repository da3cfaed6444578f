//! The second voice where two people speak at once.
//!
//! Where the network hears overlap inside settled speech, a second segment is published beside the first one. Whose it
//! is follows from who speaks nearest in time (after Otterson and Ostendorf, "Efficient use of overlap information in
//! speaker diarization", 2007) and from how well the voices fit what was heard. When labels are revised, so are these.
//! What is not settled yet is shown as it stands, and shown anew with every window.
//! Look-ahead: that of the network's overlap, to be final that of settling; memory: [`MAX_PARTS`] stretches that may still change, about 700 bytes each.

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

    /// The first of these segments was all of them together before.
    pub(super) fn divided(&mut self, parts: &[(SegmentId, SampleRange)]) {
        let Some(&(whole, _)) = parts.first() else { return };
        if let Some(at) = self.turns.iter().position(|id| *id == whole) {
            for (n, (id, _)) in parts.iter().enumerate().skip(1) {
                self.turns.insert(at + n, *id);
            }
            self.turns.drain(..self.turns.len().saturating_sub(MAX_TURNS));
        }
        for overlap in &mut self.parts {
            let is_host = overlap.host == whole;
            if is_host {
                let shared = |range: &SampleRange| range.intersection(&overlap.range).map_or(0, |r| r.len());
                let host = parts.iter().max_by_key(|(_, range)| shared(range));
                overlap.host = host.map_or(whole, |(id, _)| *id);
            }
            let n_near = overlap.near.len();
            overlap.near.retain(|(id, _)| *id != whole);
            if is_host || overlap.near.len() < n_near {
                let others = parts.iter().filter(|(id, _)| *id != overlap.host);
                overlap.near.extend(others.map(|(id, range)| (*id, distance_s(range, &overlap.range))));
            }
        }
    }

    /// A person said whose this segment is: it is left alone.
    pub(super) fn told(&mut self, id: SegmentId) {
        self.parts.retain(|part| part.id != Some(id));
    }
}

/// Seconds between two stretches; 0 where they touch.
fn distance_s(a: &SampleRange, b: &SampleRange) -> f32 {
    let gap = b.start().0.saturating_sub(a.end().0).max(a.start().0.saturating_sub(b.end().0));
    SampleIndex(gap).seconds() as f32
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
        let known = region.frames.overlap.len();
        let first = region.frames.index(region.overlap_done).min(known);
        let end = region.frames.index(until).min(known);
        let at = |frame: usize| region.frames.position(frame);
        let mut done = until;
        let mut parts = Vec::new();
        for found in stretches(&region.frames.overlap[first..end.max(first)], onset) {
            let found = first + found.start..first + found.end;
            if !closing && found.end + BRIDGED_FRAMES >= end && found.len() < LONGEST_FRAMES {
                // It may go on in what is not settled yet.
                done = at(found.start);
                break;
            }
            parts.extend(self.parts_of(region, found, false));
        }
        let Some(region) = self.region.as_mut() else { return };
        region.overlap_done = done.max(region.overlap_done);
        let keep = region.overlap_done.minus(2 * WINDOW_REACH_SAMPLES).0;
        while region.passed.front().is_some_and(|w| w.centre() < keep) {
            region.passed.pop_front();
        }
        let mut shown = std::mem::take(&mut region.seconds);
        for mut part in parts {
            if let Some((speaker, confidence)) = self.second_voice_of(&part) {
                let reuse = self.best_match(&shown, part.range, None).map(|at| shown.remove(at));
                part.id = Some(self.say_second(reuse, part.range, speaker, confidence, true));
            }
            self.overlaps.parts.push_back(part);
        }
        let surplus = self.overlaps.parts.len().saturating_sub(MAX_PARTS);
        self.overlaps.parts.drain(..surplus);
        if closing {
            for id in shown {
                self.say(Event::SegmentRemoved { id });
            }
        } else if let Some(region) = self.region.as_mut() {
            region.seconds = shown;
        }
    }

    /// Shows the second voices of what is not settled yet, as far as it is known.
    pub(super) fn show_overlap(&mut self) {
        let Some(region) = self.region.as_ref() else { return };
        let first = region.frames.index(region.overlap_done).min(region.frames.overlap.len());
        let found = stretches(&region.frames.overlap[first..], self.params.overlap_onset());
        let voices: Vec<(SampleRange, SpeakerId, f32)> = found
            .into_iter()
            .flat_map(|found| self.parts_of(region, first + found.start..first + found.end, true))
            .filter_map(|part| self.second_voice_of(&part).map(|(who, sure)| (part.range, who, sure)))
            .collect();
        let Some(region) = self.region.as_mut() else { return };
        let mut shown = std::mem::take(&mut region.seconds);
        let mut seconds = Vec::new();
        for (range, speaker, confidence) in voices {
            let reuse = self.best_match(&shown, range, None).map(|at| shown.remove(at));
            seconds.push(self.say_second(reuse, range, speaker, confidence, false));
        }
        for id in shown {
            self.say(Event::SegmentRemoved { id });
        }
        if let Some(region) = self.region.as_mut() {
            region.seconds = seconds;
        }
    }

    /// The pieces of a stretch of overlap, in frames, by the segment that each lies in: a settled one, or with `early`
    /// any.
    fn parts_of(&self, region: &Region, found: std::ops::Range<usize>, early: bool) -> Vec<Part> {
        if found.len() < MIN_FRAMES {
            return Vec::new();
        }
        let range = SampleRange::new(region.frames.position(found.start), region.frames.position(found.end));
        let odds = &region.frames.overlap[found];
        let odds = odds.iter().sum::<f32>() / odds.len() as f32;
        let turns: Vec<&Segment> =
            self.overlaps.turns.iter().chain(&region.open).filter_map(|id| self.state.segment(*id)).collect();
        let mut parts = Vec::new();
        for host in &turns {
            let Some(inside) = host.range.intersection(&range) else { continue };
            let waits = !early && region.open.contains(&host.id);
            if waits || inside.len() < MIN_FRAMES as u64 / 2 * FRAME_SAMPLES {
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
                .map(|other| (other.id, distance_s(&other.range, &inside)))
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

    /// Publishes a second voice, under the id by which it was shown, if it was; returns its id.
    fn say_second(
        &mut self,
        shown: Option<SegmentId>,
        range: SampleRange,
        speaker: SpeakerId,
        confidence: f32,
        is_final: bool,
    ) -> SegmentId {
        let id = shown.unwrap_or_else(|| self.fresh_segment());
        self.hand_over(id, speaker);
        let said =
            Segment { id, range, speaker, confidence, is_final, overlap: true, snr_db: None, c50_db: None };
        if self.state.segment(id) != Some(&said) {
            self.say(Event::Segment(said));
        }
        id
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
                (None, Some((speaker, confidence))) => {
                    part.id = Some(self.say_second(None, part.range, speaker, confidence, true));
                }
                _ => {}
            }
        }
        self.overlaps.parts = parts;
        if !changes.is_empty() {
            self.say(Event::Revision { changes, reason });
        }
        self.show_overlap();
    }
}

#[cfg(test)]
mod tests;
