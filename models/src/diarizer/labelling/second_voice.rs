//! The second speaker where two people speak at once.
//!
//! Where the segmenter finds overlap inside a segment, a second segment is published over it. Its speaker is the one
//! with the best sum of nearness in time (after Otterson and Ostendorf, "Efficient use of overlap information in
//! speaker diarization", 2007) and voice likelihood. Re-clustering revises second speakers, too. Overlap that is not
//! settled is published again with every window.
//!
//! Look-ahead: that of the segmenter's overlap; to be final, that of settling. Memory: [`MAX_STRETCHES`] stretches that
//! may still change, about 700 bytes each.

use std::collections::VecDeque;
use std::ops::Range;

use diarized_dsp::{SampleIndex, SampleRange};

use super::zone::{FRAME_SAMPLES, Zone};
use crate::calibration::sigmoid;
use crate::diarizer::clustering::SpeechMemory;
use crate::diarizer::params::DiarizerParams;
use crate::events::{Change, Segment, SegmentId, SessionState, SpeakerId};

/// Stretches of overlap that may still get another speaker; older ones stay as they are.
const MAX_STRETCHES: usize = 512;
/// Latest settled segments that may be a host or near.
const MAX_TURNS: usize = 24;
/// Log odds are averaged over this number of frames each side.
const SMOOTH_FRAMES: usize = 5;
/// Shorter overlap is not labelled: 400 ms, in frames.
const MIN_FRAMES: usize = 40;
/// Shorter lapses of overlap are bridged: 150 ms, in frames.
const BRIDGED_FRAMES: usize = 15;
/// Longer overlap is settled in pieces, so that the unsettled rest is bounded: 10 s, in frames.
const LONGEST_FRAMES: usize = 1000;
/// Weight of the voice likelihood against nearness in time.
const VOICE_SHARE: f32 = 1.0;
/// Log odds lost with the logarithm of the seconds to a speaker's nearest segment.
const FAR_COST: f32 = 1.5;
/// A speaker without a segment within this time is no candidate: 30 s.
const FARTHEST_S: f32 = 30.0;
/// Largest distance from the overlap to the centre of a window that counts: 0.4 s, in samples.
const WINDOW_REACH_SAMPLES: u64 = 6400;

/// How overlap is found.
#[derive(Debug, Clone, Copy)]
pub(super) struct OverlapRules {
    /// Log odds above which two people speak.
    pub(super) onset: f32,
    /// Length of a projected embedding.
    pub(super) dim: usize,
}

impl OverlapRules {
    pub(super) fn of(params: &DiarizerParams, memory: &SpeechMemory) -> Self {
        Self { onset: params.overlap_onset(), dim: memory.plda().dim() }
    }
}

/// A speaker and the probability that it is the second one, in `[0, 1]`.
pub(super) type SecondVoice = (SpeakerId, f32);

/// One stretch of overlap inside one segment, its host.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) range: SampleRange,
    /// Segment of the first speaker.
    host: SegmentId,
    /// The published second segment, if there is a second speaker.
    pub(super) id: Option<SegmentId>,
    /// Mean log odds of overlap.
    odds: f32,
    /// Weighted sum and weight of the windows around it.
    sum: Vec<f32>,
    weight: f32,
    /// Segments near it and their distance in seconds.
    near: Vec<(SegmentId, f32)>,
}

/// What a re-clustering changes about a stretch.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Revision {
    /// The second segment gets another speaker.
    Speaker(Change),
    /// There is no second speaker any more.
    Gone(SegmentId),
    /// There is one now.
    New(SecondVoice),
}

impl Stretch {
    /// The second speaker by the labels of `state`, if any speaker is near.
    pub(super) fn speaker(&self, state: &SessionState, memory: &SpeechMemory) -> Option<SecondVoice> {
        let fit =
            |speaker| memory.model(speaker).map_or(0.0, |voice| voice.log_likelihood(&self.sum, self.weight));
        self.best_speaker(state, fit)
    }

    /// The same, by the log-likelihood `fit` of each speaker's voice.
    fn best_speaker(&self, state: &SessionState, fit: impl Fn(SpeakerId) -> f32) -> Option<SecondVoice> {
        let first = state.segment(self.host)?.speaker;
        let mut scores: Vec<(SpeakerId, f32)> = Vec::new();
        for &(id, distance_s) in &self.near {
            let Some(speaker) = state.segment(id).map(|s| s.speaker).filter(|s| *s != first) else {
                continue;
            };
            let score = VOICE_SHARE * fit(speaker) - FAR_COST * (1.0 + distance_s).ln();
            match scores.iter_mut().find(|(s, _)| *s == speaker) {
                Some((_, best)) => *best = best.max(score),
                None => scores.push((speaker, score)),
            }
        }
        scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let &(speaker, best) = scores.first()?;
        let share = 1.0 / scores.iter().map(|(_, score)| (score - best).exp()).sum::<f32>();
        Some((speaker, (sigmoid(self.odds) * share * 1000.0).round() / 1000.0))
    }

    /// What the labels of `state` change about the published second segment.
    pub(super) fn revision(&self, state: &SessionState, memory: &SpeechMemory) -> Option<Revision> {
        let held = self.id.and_then(|id| state.segment(id)).map(|s| (s.id, s.speaker));
        match (held, self.speaker(state, memory)) {
            (Some((segment, from)), Some((to, _))) if from != to => {
                Some(Revision::Speaker(Change { segment, from, to }))
            }
            (Some((id, _)), None) => Some(Revision::Gone(id)),
            (None, Some(voice)) => Some(Revision::New(voice)),
            _ => None,
        }
    }
}

/// The session's settled stretches of overlap and latest settled segments.
#[derive(Debug, Default)]
pub(super) struct SecondVoices {
    /// Settled stretches, in order of time.
    pub(super) stretches: VecDeque<Stretch>,
    /// The latest settled segments, in the order in which they were settled.
    turns: VecDeque<SegmentId>,
}

impl SecondVoices {
    /// Notes that a part of segment `id` is settled.
    pub(super) fn add_turn(&mut self, id: SegmentId) {
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

    /// Keeps a settled stretch for later revisions.
    pub(super) fn add_stretch(&mut self, stretch: Stretch) {
        self.stretches.push_back(stretch);
        if self.stretches.len() > MAX_STRETCHES {
            self.stretches.pop_front();
        }
    }

    /// Follows the division of a segment into `parts`, in order of time; the first part has its id.
    pub(super) fn divide(&mut self, parts: &[(SegmentId, SampleRange)]) {
        let Some(&(whole, _)) = parts.first() else { return };
        if let Some(at) = self.turns.iter().position(|id| *id == whole) {
            for (n, (id, _)) in parts.iter().enumerate().skip(1) {
                self.turns.insert(at + n, *id);
            }
            self.turns.drain(..self.turns.len().saturating_sub(MAX_TURNS));
        }
        for stretch in &mut self.stretches {
            let is_host = stretch.host == whole;
            if is_host {
                let shared = |range: &SampleRange| range.intersection(&stretch.range).map_or(0, |r| r.len());
                let host = parts.iter().max_by_key(|(_, range)| shared(range));
                stretch.host = host.map_or(whole, |(id, _)| *id);
            }
            let n_near = stretch.near.len();
            stretch.near.retain(|(id, _)| *id != whole);
            if is_host || stretch.near.len() < n_near {
                let others = parts.iter().filter(|(id, _)| *id != stretch.host);
                stretch.near.extend(others.map(|(id, range)| (*id, distance_s(range, &stretch.range))));
            }
        }
    }

    /// A user assigned this segment: no later revision changes it.
    pub(super) fn release(&mut self, id: SegmentId) {
        self.stretches.retain(|stretch| stretch.id != Some(id));
    }

    /// Overlap that is settled with the labels before `until`, and up to where. Overlap that may continue behind `until`
    /// waits, unless `closing`: nothing of the region follows.
    pub(super) fn settled(
        &self,
        zone: &Zone,
        state: &SessionState,
        until: SampleIndex,
        closing: bool,
        rules: OverlapRules,
    ) -> (Vec<Stretch>, SampleIndex) {
        let known = zone.frames.overlap.len();
        let first = zone.frames.index(zone.overlap_settled_until).min(known);
        let end = zone.frames.index(until).min(known);
        let mut settled = Vec::new();
        for found in overlaps(&zone.frames.overlap[first..end.max(first)], rules.onset) {
            let found = first + found.start..first + found.end;
            if !closing && found.end + BRIDGED_FRAMES >= end && found.len() < LONGEST_FRAMES {
                return (settled, zone.frames.position(found.start));
            }
            settled.extend(self.stretches_of(zone, state, found, false, rules.dim));
        }
        (settled, until)
    }

    /// Overlap that is not settled yet, as far as the segmenter knows.
    pub(super) fn unsettled(&self, zone: &Zone, state: &SessionState, rules: OverlapRules) -> Vec<Stretch> {
        let first = zone.frames.index(zone.overlap_settled_until).min(zone.frames.overlap.len());
        let found = overlaps(&zone.frames.overlap[first..], rules.onset);
        let stretches = |found: Range<usize>| {
            self.stretches_of(zone, state, first + found.start..first + found.end, true, rules.dim)
        };
        found.into_iter().flat_map(stretches).collect()
    }

    /// Divides overlap, in frames, by the segments that it lies in: the settled ones, or with `early` all of them.
    fn stretches_of(
        &self,
        zone: &Zone,
        state: &SessionState,
        found: Range<usize>,
        early: bool,
        dim: usize,
    ) -> Vec<Stretch> {
        if found.len() < MIN_FRAMES {
            return Vec::new();
        }
        let range = SampleRange::new(zone.frames.position(found.start), zone.frames.position(found.end));
        let odds = &zone.frames.overlap[found];
        let odds = odds.iter().sum::<f32>() / odds.len() as f32;
        let turns = self.turns.iter().chain(&zone.unsettled_segments);
        let turns: Vec<&Segment> = turns.filter_map(|id| state.segment(*id)).collect();
        let mut stretches = Vec::new();
        for host in &turns {
            let Some(inside) = host.range.intersection(&range) else { continue };
            let waits = !early && zone.unsettled_segments.contains(&host.id);
            if waits || inside.len() < MIN_FRAMES as u64 / 2 * FRAME_SAMPLES {
                continue;
            }
            let (sum, weight) = zone.sum_around(inside, WINDOW_REACH_SAMPLES, dim);
            let near = turns
                .iter()
                .filter(|other| other.id != host.id)
                .map(|other| (other.id, distance_s(&other.range, &inside)))
                .filter(|(_, distance_s)| *distance_s < FARTHEST_S)
                .collect();
            stretches.push(Stretch { range: inside, host: host.id, id: None, odds, sum, weight, near });
        }
        stretches
    }
}

/// Marks overlap before `until` as settled and drops the settled windows that no later overlap needs.
pub(super) fn settle_until(zone: &mut Zone, until: SampleIndex) {
    zone.overlap_settled_until = until.max(zone.overlap_settled_until);
    let keep = zone.overlap_settled_until.minus(2 * WINDOW_REACH_SAMPLES).0;
    while zone.settled_windows.front().is_some_and(|w| w.centre() < keep) {
        zone.settled_windows.pop_front();
    }
}

/// Seconds between two ranges; 0 where they touch.
fn distance_s(a: &SampleRange, b: &SampleRange) -> f32 {
    let gap = b.start().0.saturating_sub(a.end().0).max(a.start().0.saturating_sub(b.end().0));
    SampleIndex(gap).seconds() as f32
}

/// Stretches of frames with mean log odds above `onset`, short lapses bridged.
fn overlaps(odds: &[f32], onset: f32) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
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

#[cfg(test)]
mod tests;
