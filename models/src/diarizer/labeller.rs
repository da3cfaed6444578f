//! From window embeddings to published segments: provisional labels at once, settled ones a little later,
//! revisions when later speech says so.
//!
//! The labeller sees the stream as ordered facts (a region of speech opens, a window of it is embedded, the region
//! closes) and so does not depend on how audio was cut or when an embedding arrived. Inside the open region the
//! last few seconds are decoded anew with every window ([`super::viterbi`]); what is older is settled: it becomes
//! exemplars of the [`History`], whose clustering may still move whole segments between speakers.

mod decode;
mod overlap;
mod people;
mod publish;
mod quality;
mod revise;

use std::collections::{BTreeMap, VecDeque};

use diarized_dsp::{SampleIndex, SampleRange};

use super::front_end::FrameQuality;
use super::history::{Exemplar, History, Pin, VoiceGroups};
use super::{DiarizerParams, Said};
use crate::calibration::Calibration;
use crate::embedding::Embedding;
use crate::events::{Event, GapReason, RevisionReason, SegmentId, SessionState, SpeakerId};
use crate::plda::Plda;
use quality::QualitySum;

/// One embedded window of the open region.
#[derive(Debug, Clone)]
struct Window {
    support: SampleRange,
    embedding: Embedding,
    /// The embedding projected and weighted, and its weight: what counts as evidence.
    projected: Vec<f32>,
    trust: f32,
    /// A full window, not a short one made longer by repeating it.
    full: bool,
    label: Option<SpeakerId>,
}

impl Window {
    fn centre(&self) -> u64 {
        (self.support.start().0 + self.support.end().0) / 2
    }
}

/// A run of equally labelled windows inside the open region.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: usize,
    /// One past the last window.
    end: usize,
    speaker: SpeakerId,
    range: SampleRange,
}

/// What is known of each frame of the open region beside its voice.
#[derive(Debug, Default)]
struct Frames {
    /// Sample at which the first frame starts.
    start: u64,
    /// Level, for boundaries.
    db: Vec<f32>,
    /// How clear it is, where somebody speaks and the network tells.
    quality: Vec<Option<FrameQuality>>,
    /// Log odds that two or more people speak, as far as they are known.
    overlap: Vec<f32>,
}

impl Frames {
    /// The frame that holds this sample; the first one for those before it.
    fn index(&self, at: SampleIndex) -> usize {
        (at.0.saturating_sub(self.start) / FRAME_SAMPLES) as usize
    }

    /// Where a frame starts.
    fn position(&self, frame: usize) -> SampleIndex {
        SampleIndex(self.start + frame as u64 * FRAME_SAMPLES)
    }
}

#[derive(Debug)]
struct Region {
    /// Start of the first cell that is not settled.
    zone_start: SampleIndex,
    /// Labels are published up to here.
    shown: SampleIndex,
    windows: VecDeque<Window>,
    /// The latest settled windows, for the overlap that is not settled yet.
    passed: VecDeque<Window>,
    /// Up to here second voices are settled.
    overlap_done: SampleIndex,
    /// Published segments of second voices that are not.
    seconds: Vec<SegmentId>,
    /// The segment before the region, if the pause between is short enough for one turn.
    before: Option<SegmentId>,
    /// The segment that settled cells last went to; the zone may go on with it.
    head: Option<SegmentId>,
    /// How clear the head was before the zone.
    head_quality: QualitySum,
    /// Published segments of the zone after the head, in order of time.
    open: Vec<SegmentId>,
    frames: Frames,
    /// Whether the history holds a part of this region already.
    remembered: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Labeller {
    params: DiarizerParams,
    history: History,
    state: SessionState,
    said: VecDeque<Said>,
    region: Option<Region>,
    /// Speakers opened inside the zone whose speech the history does not hold yet.
    tentative: BTreeMap<SpeakerId, ()>,
    next_segment: u64,
    next_speaker: u32,
    exemplars_since_clustering: usize,
    now: SampleIndex,
    noise_db: Option<f32>,
    people: people::People,
    overlaps: overlap::Overlaps,
    /// The stream is over: no window will be labelled any more.
    ended: bool,
}

impl Labeller {
    pub(crate) fn new(params: DiarizerParams, plda: Plda, calibration: Calibration) -> Self {
        Self {
            history: History::new(params.history(), plda, calibration),
            params,
            state: SessionState::new(),
            said: VecDeque::new(),
            region: None,
            tentative: BTreeMap::new(),
            next_segment: 1,
            next_speaker: 1,
            exemplars_since_clustering: 0,
            now: SampleIndex::ZERO,
            noise_db: None,
            people: people::People::default(),
            overlaps: overlap::Overlaps::default(),
            ended: false,
        }
    }

    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    pub(crate) fn voice_groups(&self) -> VoiceGroups {
        self.history.voice_groups()
    }

    #[cfg(test)]
    pub(crate) fn n_exemplars(&self) -> usize {
        self.history.len()
    }

    pub(crate) fn poll(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    fn fresh_segment(&mut self) -> SegmentId {
        let id = SegmentId(self.next_segment);
        self.next_segment += 1;
        id
    }

    fn say(&mut self, event: Event) {
        let applied = self.state.apply(&event);
        debug_assert!(applied.is_ok(), "{event:?}: {applied:?}");
        self.said.push_back(Said { at: self.now, event });
    }

    /// Speech begins.
    pub(crate) fn open_region(&mut self, at: SampleIndex, start: SampleIndex) {
        self.now = at;
        let longest = self.params.bridge_samples();
        let before = self.overlaps.latest_turn().and_then(|id| self.state.segment(id));
        let before = before.filter(|s| start.0.saturating_sub(s.range.end().0) <= longest).map(|s| s.id);
        self.region = Some(Region {
            zone_start: start,
            shown: start,
            windows: VecDeque::new(),
            passed: VecDeque::new(),
            overlap_done: start,
            seconds: Vec::new(),
            before,
            head: None,
            open: Vec::new(),
            frames: Frames { start: start.0, ..Frames::default() },
            head_quality: QualitySum::default(),
            remembered: false,
        });
    }

    /// Frame levels in dBFS, how clear the frames are, and log odds of overlap that follow the ones given before; the
    /// first belong to the region's start.
    pub(crate) fn add_frames(
        &mut self,
        levels_db: &[f32],
        quality: &[Option<FrameQuality>],
        noise_db: Option<f32>,
        overlap: &[f32],
    ) {
        self.noise_db = noise_db.or(self.noise_db);
        if let Some(region) = &mut self.region {
            region.frames.db.extend_from_slice(levels_db);
            region.frames.quality.extend_from_slice(quality);
            region.frames.overlap.extend_from_slice(overlap);
        }
    }

    /// One more window of the open region, later than the ones before. A window without an embedding (the network
    /// refused it) leaves the labels as they are. Speech is known up to `decided`.
    pub(crate) fn add_window(
        &mut self,
        at: SampleIndex,
        support: SampleRange,
        decided: SampleIndex,
        embedding: Option<Embedding>,
        full: bool,
    ) {
        self.now = at;
        let (Some(region), Some(embedding)) = (&mut self.region, embedding) else { return };
        let trust = self.params.window_weight() * if full { 1.0 } else { SHORT_WINDOW_TRUST };
        let mut projected = self.history.plda().project(embedding.as_slice());
        projected.iter_mut().for_each(|value| *value *= trust);
        region.windows.push_back(Window { support, embedding, projected, trust, full, label: None });
        let end = support.end();
        let begins = region.zone_start.plus(self.params.step_samples());
        region.shown = self.params.shown_when(at).max(begins).min(decided).max(region.shown);
        let shown = region.shown;
        self.decode(false);
        self.publish(end, shown);
        let horizon = end.minus(self.params.settle_samples());
        self.settle_until(|window| SampleIndex(window.centre()) < horizon);
        self.show_overlap();
    }

    /// The open region pauses after `voiced`; what waits for a label need not wait for the next window.
    pub(crate) fn pause(&mut self, at: SampleIndex, voiced: SampleIndex) {
        self.now = at;
        let Some(region) = &mut self.region else { return };
        let shown = self.params.shown_when(at).min(voiced);
        let Some(end) = region.windows.back().map(|w| w.support.end()).filter(|_| shown > region.shown)
        else {
            return;
        };
        region.shown = shown;
        self.publish(end, shown);
    }

    /// The open region ends at `end`: everything in it is settled.
    pub(crate) fn close_region(&mut self, at: SampleIndex, end: SampleIndex) {
        self.now = at;
        if self.region.is_none() {
            return;
        }
        self.decode(true);
        self.publish(end, end);
        self.settle_until(|_| true);
        self.settle_overlap(end, true);
        if let Some(region) = self.region.take()
            && let Some(head) = region.head
        {
            self.finalise(head);
        }
        self.retire_tentative();
        if self.exemplars_since_clustering >= self.params.recluster_exemplars(self.history.len()) {
            self.recluster(RevisionReason::Reassign);
        }
    }

    /// A stretch without audio; no region is open across it.
    pub(crate) fn gap(&mut self, at: SampleIndex, range: SampleRange, reason: GapReason) {
        self.now = at;
        self.say(Event::Gap { range, reason });
    }

    /// The last pass over everything that the history holds.
    pub(crate) fn finish(&mut self, at: SampleIndex) {
        self.now = at;
        self.ended = true;
        if self.params.final_pass() {
            self.recluster(RevisionReason::FinalPass);
        } else {
            self.retire_unused(&BTreeMap::new());
        }
    }

    /// Settles the leading windows for which `old` holds: their labels no longer change inside the region.
    fn settle_until(&mut self, old: impl Fn(&Window) -> bool) {
        let Some(region) = self.region.as_ref() else { return };
        let n_old = region.windows.iter().take_while(|w| old(w)).count();
        let Some(end) = region.windows.back().map(|w| w.support.end()).filter(|_| n_old > 0) else { return };
        let runs = self.runs(end);
        let boundary = self.zone_boundary(&runs, n_old).unwrap_or(end);
        for (n, run) in runs.iter().enumerate().take_while(|(_, run)| run.first < n_old) {
            let Some(id) = self.segment_of_run(n, run) else { continue };
            let turn = self.state.segment(id).map_or(run.range, |s| s.range);
            self.remember(id, run, turn, run.end.min(n_old));
            let previous = self.region.as_mut().and_then(|region| {
                region.open.retain(|other| *other != id);
                let mut quality =
                    if region.head == Some(id) { region.head_quality } else { QualitySum::default() };
                let settled = SampleRange::new(run.range.start(), run.range.end().min(boundary));
                quality.add(region.quality_frames(settled));
                region.head_quality = quality;
                region.head.replace(id)
            });
            self.overlaps.settled(id);
            if let Some(previous) = previous.filter(|previous| *previous != id) {
                self.finalise(previous);
            }
        }
        if let Some(region) = self.region.as_mut() {
            region.passed.extend(region.windows.drain(..n_old));
            region.zone_start = boundary.max(region.zone_start);
        }
        self.settle_overlap(boundary, false);
        self.forget_frames();
        self.recognise();
        let live = self.region.as_ref().is_some_and(|r| !r.windows.is_empty());
        if live && self.exemplars_since_clustering >= self.params.recluster_exemplars(self.history.len()) {
            self.recluster(RevisionReason::Reassign);
        }
    }

    /// Where the cell of window `n` starts: at the published boundary if the speaker changes there.
    fn zone_boundary(&self, runs: &[Run], n: usize) -> Option<SampleIndex> {
        let region = self.region.as_ref()?;
        let (before, after) = (region.windows.get(n.checked_sub(1)?)?, region.windows.get(n)?);
        let changed = runs.iter().find(|r| r.first == n).map(|r| r.range.start());
        Some(changed.unwrap_or(SampleIndex(u64::midpoint(before.centre(), after.centre()))))
    }

    /// The published segment that shows the zone's `n`th run.
    fn segment_of_run(&self, n: usize, run: &Run) -> Option<SegmentId> {
        let region = self.region.as_ref()?;
        let head = region
            .head
            .filter(|id| n == 0 && self.state.segment(*id).is_some_and(|s| s.speaker == run.speaker));
        head.or_else(|| {
            region.open.iter().copied().find(|id| {
                self.state
                    .segment(*id)
                    .is_some_and(|s| s.speaker == run.speaker && s.range.intersection(&run.range).is_some())
            })
        })
    }

    /// Puts windows `run.first..until` into the history as exemplars of segment `id`. `turn` is all that the
    /// segment covers: windows that reach far out of it hold somebody else too.
    fn remember(&mut self, id: SegmentId, run: &Run, turn: SampleRange, until: usize) {
        let Some(region) = &self.region else { return };
        let slack = self.params.straddle_samples();
        let clean = |w: &Window| {
            w.support.start().plus(slack) >= turn.start()
                && w.support.end() <= turn.end().plus(slack)
                && !self.is_mixed(region, w.support)
        };
        let all: Vec<&Window> = region.windows.range(run.first..until).collect();
        let mut exemplars: Vec<(SampleRange, Exemplar)> = Vec::new();
        for (n, part) in all.chunks(self.params.exemplar_windows()).enumerate() {
            let strong = part.iter().all(|w| w.full && clean(w));
            let mixed = if part.iter().all(|w| clean(w)) { 1.0 } else { MIXED_WINDOW_TRUST };
            let mut sum = vec![0.0_f32; part[0].embedding.dim()];
            let mut projected = vec![0.0_f32; part[0].projected.len()];
            for window in part {
                sum.iter_mut().zip(window.embedding.as_slice()).for_each(|(mine, other)| *mine += other);
                projected.iter_mut().zip(&window.projected).for_each(|(mine, other)| *mine += mixed * other);
            }
            let centre = |window: &Window| SampleIndex(window.centre());
            let span = SampleRange::new(centre(part[0]), centre(part[part.len() - 1]));
            let exemplar = Exemplar {
                sum,
                weight: part.len() as f32,
                projected,
                trust: mixed * part.iter().map(|w| w.trust).sum::<f32>(),
                continues: n > 0 || region.remembered,
                strong,
                speaker: run.speaker,
                former: None,
                pin: Pin::Free,
            };
            exemplars.push((span, exemplar));
        }
        if let Some(region) = &mut self.region {
            region.remembered = true;
        }
        self.tentative.remove(&run.speaker);
        for (span, exemplar) in exemplars {
            self.exemplars_since_clustering += 1;
            self.history.add(id, span, exemplar);
        }
    }

    fn forget_frames(&mut self) {
        // Boundaries and the windows of the zone reach back behind its start.
        let keep = self.params.boundary_reach_samples() / FRAME_SAMPLES + SMOOTH_FRAMES as u64 + 1;
        let keep = keep.max(self.params.window_frames());
        let Some(region) = self.region.as_mut() else { return };
        let settled = region.frames.index(region.zone_start.min(region.overlap_done));
        let n = settled.saturating_sub(keep as usize).min(region.frames.db.len());
        region.frames.db.drain(..n);
        region.frames.quality.drain(..n.min(region.frames.quality.len()));
        region.frames.overlap.drain(..n.min(region.frames.overlap.len()));
        region.frames.start += n as u64 * FRAME_SAMPLES;
    }

    /// Whether two people are believed to speak in a good part of `range`.
    fn is_mixed(&self, region: &Region, range: SampleRange) -> bool {
        let known = region.frames.overlap.len();
        let frame = |at: SampleIndex| region.frames.index(at).min(known);
        let frames = &region.frames.overlap[frame(range.start())..frame(range.end())];
        let n_mixed = frames.iter().filter(|odds| **odds > self.params.overlap_onset()).count();
        n_mixed as f32 > MIXED_SHARE * (range.len() / FRAME_SAMPLES) as f32
    }
}

/// Evidence of a window shorter than a full one against that of a full one.
const SHORT_WINDOW_TRUST: f32 = 0.6;
/// Evidence of windows that reach into another's turn, or hold much overlap.
const MIXED_WINDOW_TRUST: f32 = 0.3;
/// Share of overlap above which a window holds much of it.
const MIXED_SHARE: f32 = 0.3;
/// Samples of one level frame: 10 ms.
const FRAME_SAMPLES: u64 = 160;
/// Frames each side over which the level is averaged when a boundary looks for a pause: 50 ms.
const SMOOTH_FRAMES: usize = 5;
