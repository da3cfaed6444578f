//! From window embeddings to published segments: provisional labels at once, settled ones a little later,
//! revisions when later speech says so.
//!
//! The labeller sees the stream as ordered facts (a region of speech opens, a window of it is embedded, the region
//! closes) and so does not depend on how audio was cut or when an embedding arrived. Inside the open region the
//! last few seconds are decoded anew with every window ([`super::viterbi`]); what is older is settled: it becomes
//! exemplars of the [`History`], whose clustering may still move whole segments between speakers.

mod people;

use std::collections::{BTreeMap, VecDeque};

use diarized_dsp::{SampleIndex, SampleRange};

use super::history::{Exemplar, History, Pin};
use super::viterbi::best_path;
use super::{CorrectionError, DiarizerParams, Said};
use crate::calibration::sigmoid;
use crate::embedding::Embedding;
use crate::events::{
    Change, Event, GapReason, RevisionReason, Segment, SegmentId, SessionState, SpeakerId, SpeakerInfo,
};
use crate::plda::{Plda, Voice, evidence};

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

/// Level of each frame of the open region, for boundaries and signal-to-noise ratio.
#[derive(Debug, Default)]
struct Levels {
    /// Sample at which the first frame starts.
    start: u64,
    db: Vec<f32>,
}

#[derive(Debug)]
struct Region {
    /// Start of the first cell that is not settled.
    zone_start: SampleIndex,
    windows: VecDeque<Window>,
    /// The segment that settled cells last went to; the zone may go on with it.
    head: Option<SegmentId>,
    /// Published segments of the zone after the head, in order of time.
    open: Vec<SegmentId>,
    levels: Levels,
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
    /// The stream is over: no window will be labelled any more.
    ended: bool,
}

impl Labeller {
    pub(crate) fn new(params: DiarizerParams, plda: Plda) -> Self {
        Self {
            history: History::new(params.history(), plda),
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
            ended: false,
        }
    }

    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    #[cfg(test)]
    pub(crate) fn n_exemplars(&self) -> usize {
        self.history.len()
    }

    pub(crate) fn poll(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    fn say(&mut self, event: Event) {
        let applied = self.state.apply(&event);
        debug_assert!(applied.is_ok(), "{event:?}: {applied:?}");
        self.said.push_back(Said { at: self.now, event });
    }

    /// Speech begins.
    pub(crate) fn open_region(&mut self, at: SampleIndex, start: SampleIndex) {
        self.now = at;
        self.region = Some(Region {
            zone_start: start,
            windows: VecDeque::new(),
            head: None,
            open: Vec::new(),
            levels: Levels { start: start.0, db: Vec::new() },
            remembered: false,
        });
    }

    /// Frame levels in dBFS that follow the ones given before; the first belongs to the region's start.
    pub(crate) fn add_levels(&mut self, levels_db: &[f32], noise_db: Option<f32>) {
        self.noise_db = noise_db.or(self.noise_db);
        if let Some(region) = &mut self.region {
            region.levels.db.extend_from_slice(levels_db);
        }
    }

    /// One more window of the open region, later than the ones before. A window without an embedding (the network
    /// refused it) leaves the labels as they are.
    pub(crate) fn add_window(
        &mut self,
        at: SampleIndex,
        support: SampleRange,
        embedding: Option<Embedding>,
        full: bool,
        mixed: bool,
    ) {
        self.now = at;
        let (Some(region), Some(embedding)) = (&mut self.region, embedding) else { return };
        let trust = self.params.window_weight() * if full { 1.0 } else { SHORT_WINDOW_TRUST };
        let trust = trust * if mixed { MIXED_WINDOW_TRUST } else { 1.0 };
        let mut projected = self.history.plda().project(embedding.as_slice());
        projected.iter_mut().for_each(|value| *value *= trust);
        region.windows.push_back(Window {
            support,
            embedding,
            projected,
            trust,
            full: full && !mixed,
            label: None,
        });
        let end = support.end();
        self.decode(false);
        self.publish(end);
        let horizon = end.minus(self.params.settle_samples());
        self.settle_until(|window| SampleIndex(window.centre()) < horizon);
    }

    /// The open region ends at `end`: everything in it is settled.
    pub(crate) fn close_region(&mut self, at: SampleIndex, end: SampleIndex) {
        self.now = at;
        if self.region.is_none() {
            return;
        }
        self.decode(true);
        self.publish(end);
        self.settle_until(|_| true);
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

    /// Labels the windows of the zone. With `closing`, new voices must be settled now.
    fn decode(&mut self, closing: bool) {
        let Some(region) = &self.region else { return };
        if region.windows.is_empty() {
            return;
        }
        let speakers: Vec<SpeakerId> = self.candidates();
        let zone_voices = self.zone_voices(region);
        let n_states = speakers.len() + 1;
        let mut fits = Vec::with_capacity(region.windows.len() * n_states);
        for (w, window) in region.windows.iter().enumerate() {
            for speaker in &speakers {
                fits.push(self.fit(window, *speaker, &zone_voices));
            }
            fits.push(self.fit_of_somebody_new(region, w));
        }
        let previous = region
            .head
            .and_then(|id| self.state.segment(id))
            .and_then(|segment| speakers.iter().position(|s| *s == segment.speaker));
        let path = best_path(&fits, n_states, self.params.switch_cost(), previous);
        let labels = self.name_new_voices(&speakers, &path, &zone_voices, closing);
        if let Some(region) = &mut self.region {
            for (window, label) in region.windows.iter_mut().zip(labels) {
                window.label = Some(label);
            }
        }
    }

    /// Speakers that a window may belong to, in order.
    fn candidates(&self) -> Vec<SpeakerId> {
        let mut speakers: Vec<SpeakerId> = self.history.speakers().collect();
        speakers.extend(self.tentative.keys().copied().filter(|s| !speakers.contains(s)).collect::<Vec<_>>());
        speakers.sort_unstable();
        speakers
    }

    /// Voices of speakers that the history does not know well yet, with the zone's own windows.
    fn zone_voices(&self, region: &Region) -> BTreeMap<SpeakerId, Voice> {
        let phi = self.history.plda().phi();
        let mut voices: BTreeMap<SpeakerId, Voice> = BTreeMap::new();
        for window in &region.windows {
            let Some(label) = window.label else { continue };
            let known = self.history.model(label);
            if known.is_some_and(|voice| voice.weight() > WELL_KNOWN_WINDOWS * self.params.window_weight()) {
                continue;
            }
            let voice =
                voices.entry(label).or_insert_with(|| known.cloned().unwrap_or_else(|| Voice::unheard(phi)));
            voice.add(&window.projected, window.trust);
        }
        voices.values_mut().for_each(|voice| voice.settle(phi));
        voices
    }

    /// Log-likelihood that `window` is `speaker`'s, up to a constant of the window.
    fn fit(&self, window: &Window, speaker: SpeakerId, zone: &BTreeMap<SpeakerId, Voice>) -> f32 {
        let known = self.history.model(speaker).filter(|voice| voice.weight() > 0.0);
        match zone.get(&speaker).or(known) {
            Some(voice) => voice.fits(&window.projected, window.trust),
            // A label of which nothing was heard: a person gave it a segment that sounds otherwise.
            None => evidence(&window.projected, window.trust, self.history.plda().phi()),
        }
    }

    /// The same for a voice never heard before: this window's share of the evidence that it and its neighbours are
    /// one such voice.
    fn fit_of_somebody_new(&self, region: &Region, w: usize) -> f32 {
        let around = w.saturating_sub(NEIGHBOURS)..(w + NEIGHBOURS + 1).min(region.windows.len());
        let n = around.len() as f32;
        self.evidence_of_one(region, around) / n
    }

    /// Log of the evidence that these windows are one voice never heard before.
    fn evidence_of_one(&self, region: &Region, windows: std::ops::Range<usize>) -> f32 {
        let (sum, weight) = self.sum_of(region, windows);
        evidence(&sum, weight, self.history.plda().phi())
    }

    /// Gain in log evidence when these windows join what the history, or else the zone, holds of `speaker`.
    fn gain(
        &self,
        region: &Region,
        windows: std::ops::Range<usize>,
        speaker: SpeakerId,
        zone: &BTreeMap<SpeakerId, Voice>,
    ) -> f32 {
        let phi = self.history.plda().phi();
        let (sum, weight) = self.sum_of(region, windows);
        let known = self.history.model(speaker).filter(|voice| voice.weight() > 0.0);
        known.or_else(|| zone.get(&speaker)).map_or(f32::NEG_INFINITY, |voice| voice.gain(&sum, weight, phi))
    }

    /// Weighted sum and weight of these windows.
    fn sum_of(&self, region: &Region, windows: std::ops::Range<usize>) -> (Vec<f32>, f32) {
        let mut sum = vec![0.0_f32; self.history.plda().dim()];
        let mut weight = 0.0;
        for window in region.windows.range(windows) {
            sum.iter_mut().zip(&window.projected).for_each(|(mine, other)| *mine += other);
            weight += window.trust;
        }
        (sum, weight)
    }

    /// Replaces the state "somebody new" by known speakers where it is too short to be believed, and by new
    /// speakers where it is not.
    fn name_new_voices(
        &mut self,
        speakers: &[SpeakerId],
        path: &[usize],
        zone: &BTreeMap<SpeakerId, Voice>,
        closing: bool,
    ) -> Vec<SpeakerId> {
        let unknown = speakers.len();
        let mut labels: Vec<SpeakerId> = Vec::with_capacity(path.len());
        let mut w = 0;
        while w < path.len() {
            let run_end = (w..path.len()).find(|&v| path[v] != path[w]).unwrap_or(path.len());
            let label = match path[w] {
                // Somebody whom only the zone knows is new already.
                state if state < unknown && self.tentative.contains_key(&speakers[state]) => speakers[state],
                state => {
                    let is_unknown = state == unknown;
                    match self.best_known(speakers, w..run_end, zone) {
                        Some((best, gain)) if !self.is_new_voice(w..run_end, gain, is_unknown, closing) => {
                            if is_unknown {
                                best
                            } else {
                                speakers[state]
                            }
                        }
                        _ => self.open_speaker(w),
                    }
                }
            };
            labels.extend(std::iter::repeat_n(label, run_end - w));
            w = run_end;
        }
        labels
    }

    /// The speaker whom these windows fit best, with the gain in evidence.
    fn best_known(
        &self,
        speakers: &[SpeakerId],
        windows: std::ops::Range<usize>,
        zone: &BTreeMap<SpeakerId, Voice>,
    ) -> Option<(SpeakerId, f32)> {
        let region = self.region.as_ref()?;
        let gains = speakers.iter().map(|s| (*s, self.gain(region, windows.clone(), *s, zone)));
        gains.fold(
            None,
            |best: Option<(SpeakerId, f32)>, (s, gain)| {
                if best.is_none_or(|(_, b)| gain > b) { Some((s, gain)) } else { best }
            },
        )
    }

    /// Whether these windows, by which the evidence for the best known speaker would gain `gain`, are a new person.
    fn is_new_voice(
        &self,
        windows: std::ops::Range<usize>,
        gain: f32,
        is_unknown: bool,
        closing: bool,
    ) -> bool {
        let Some(region) = &self.region else { return false };
        let enough = windows.len() >= self.params.new_speaker_windows();
        let doubt = if is_unknown { 0.0 } else { self.params.switch_cost() };
        let lead = self.evidence_of_one(region, windows) - gain - doubt;
        // What is short must be clear, and waits for the clustering unless nothing more will come.
        let needed = self.params.new_speaker_llr() + if enough { 0.0 } else { self.params.switch_cost() };
        (enough || closing) && lead > needed
    }

    fn fresh_speaker(&mut self, first: SampleIndex) -> SpeakerId {
        let id = SpeakerId(self.next_speaker);
        self.next_speaker += 1;
        self.say(Event::Speaker(SpeakerInfo::new(id, first)));
        id
    }

    fn open_speaker(&mut self, window_idx: usize) -> SpeakerId {
        let first = self.region.as_ref().map_or(self.now, |r| {
            if window_idx == 0 { r.zone_start } else { r.windows[window_idx].support.start() }
        });
        let id = self.fresh_speaker(first);
        self.tentative.insert(id, ());
        id
    }

    /// Runs of equal labels over the zone, up to `end`.
    fn runs(&self, end: SampleIndex) -> Vec<Run> {
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
    fn boundary(&self, region: &Region, w: usize) -> SampleIndex {
        let middle = u64::midpoint(region.windows[w].centre(), region.windows[w + 1].centre());
        let reach = self.params.boundary_reach_samples();
        let frame = |sample: u64| (sample.saturating_sub(region.levels.start) / FRAME_SAMPLES) as usize;
        let (low, high) = (frame(middle.saturating_sub(reach)), frame(middle + reach));
        let smooth = |i: usize| {
            let around = i.saturating_sub(SMOOTH_FRAMES)..(i + SMOOTH_FRAMES + 1).min(region.levels.db.len());
            let n = around.len().max(1) as f32;
            region.levels.db[around].iter().sum::<f32>() / n
        };
        let mut best: Option<(usize, f32)> = None;
        for i in low..high.min(region.levels.db.len()) {
            // A slight pull to the middle, so that an even level does not move the boundary.
            let distance = i.abs_diff(frame(middle)) as f32;
            let cost = smooth(i) + PULL_DB_PER_FRAME * distance;
            if best.is_none_or(|(_, b)| cost < b) {
                best = Some((i, cost));
            }
        }
        let at = best.map_or(middle, |(i, _)| region.levels.start + i as u64 * FRAME_SAMPLES);
        SampleIndex(at.clamp(region.zone_start.0, region.windows[w + 1].support.end().0))
    }

    /// Brings the published segments of the zone in line with its labels.
    fn publish(&mut self, end: SampleIndex) {
        let runs = self.runs(end);
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
            let reuse = self.best_match(&free, run);
            let id = match reuse {
                Some(at) => free.remove(at),
                None => {
                    let id = SegmentId(self.next_segment);
                    self.next_segment += 1;
                    id
                }
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

    /// The free segment that shares most with the run, one of its own speaker before all others.
    fn best_match(&self, free: &[SegmentId], run: &Run) -> Option<usize> {
        let mut best: Option<(usize, (bool, u64))> = None;
        for (at, id) in free.iter().enumerate() {
            let Some(segment) = self.state.segment(*id) else { continue };
            let shared = segment.range.intersection(&run.range).map_or(0, |r| r.len());
            let key = (segment.speaker == run.speaker, shared);
            if shared > 0 && best.is_none_or(|(_, b)| key > b) {
                best = Some((at, key));
            }
        }
        best.map(|(at, _)| at)
    }

    /// Publishes the run under `id`; `from_head` keeps the start that the settled part gave.
    fn update(&mut self, id: SegmentId, run: &Run, from_head: bool) {
        let held = self.state.segment(id).cloned();
        if let Some(held) = &held
            && held.speaker != run.speaker
        {
            let changes = vec![Change { segment: id, from: held.speaker, to: run.speaker }];
            self.say(Event::Revision { changes, reason: RevisionReason::Reassign });
        }
        let start = match (&held, from_head) {
            (Some(held), true) => held.range.start(),
            _ => run.range.start(),
        };
        let range = SampleRange::new(start, run.range.end());
        let confidence = self.confidence(run);
        let segment = Segment {
            id,
            range,
            speaker: run.speaker,
            confidence,
            is_final: false,
            overlap: false,
            snr_db: self.snr_db(range),
        };
        let same =
            held.is_some_and(|h| h.range == range && h.speaker == run.speaker && h.confidence == confidence);
        if !same {
            self.say(Event::Segment(segment));
        }
    }

    /// The head's segment ends where the zone's first run of another speaker starts.
    fn trim(&mut self, id: SegmentId, end: SampleIndex) {
        let Some(held) = self.state.segment(id).filter(|s| s.range.end() != end).cloned() else { return };
        self.say(Event::Segment(Segment { range: SampleRange::new(held.range.start(), end), ..held }));
    }

    fn finalise(&mut self, id: SegmentId) {
        let Some(held) = self.state.segment(id).filter(|s| !s.is_final).cloned() else { return };
        self.say(Event::Segment(Segment { is_final: true, ..held }));
    }

    /// Probability of the run's label against every other speaker and a stranger, at even priors.
    fn confidence(&self, run: &Run) -> f32 {
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

    fn snr_db(&self, range: SampleRange) -> Option<f32> {
        let region = self.region.as_ref()?;
        let frame = |at: SampleIndex| (at.0.saturating_sub(region.levels.start) / FRAME_SAMPLES) as usize;
        let frames =
            region.levels.db.get(frame(range.start())..frame(range.end()).min(region.levels.db.len()))?;
        if frames.is_empty() {
            return None;
        }
        let mean_power = frames.iter().map(|db| 10.0_f32.powf(db / 10.0)).sum::<f32>() / frames.len() as f32;
        let noise_power = 10.0_f32.powf(self.noise_db? / 10.0);
        let speech_power = (mean_power - noise_power).max(noise_power * 1e-2);
        Some((10.0 * (speech_power / noise_power).log10() * 10.0).round() / 10.0)
    }

    /// Settles the leading windows for which `old` holds: their labels no longer change inside the region.
    fn settle_until(&mut self, old: impl Fn(&Window) -> bool) {
        let Some(region) = self.region.as_ref() else { return };
        let n_old = region.windows.iter().take_while(|w| old(w)).count();
        let Some(end) = region.windows.back().map(|w| w.support.end()).filter(|_| n_old > 0) else { return };
        let runs = self.runs(end);
        for (n, run) in runs.iter().enumerate().take_while(|(_, run)| run.first < n_old) {
            let Some(id) = self.segment_of_run(n, run) else { continue };
            let turn = self.state.segment(id).map_or(run.range, |s| s.range);
            self.remember(id, run, turn, run.end.min(n_old));
            let previous = self.region.as_mut().and_then(|region| {
                region.open.retain(|other| *other != id);
                region.head.replace(id)
            });
            if let Some(previous) = previous.filter(|previous| *previous != id) {
                self.finalise(previous);
            }
        }
        let boundary = self.zone_boundary(&runs, n_old).unwrap_or(end);
        if let Some(region) = self.region.as_mut() {
            region.windows.drain(..n_old);
            region.zone_start = boundary.max(region.zone_start);
        }
        self.forget_levels();
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
            w.support.start().plus(slack) >= turn.start() && w.support.end() <= turn.end().plus(slack)
        };
        let all: Vec<&Window> = region.windows.range(run.first..until).collect();
        let mut exemplars: Vec<Exemplar> = Vec::new();
        for (n, part) in all.chunks(self.params.exemplar_windows()).enumerate() {
            let strong = part.iter().all(|w| w.full && clean(w));
            let mixed = if part.iter().all(|w| clean(w)) { 1.0 } else { MIXED_WINDOW_TRUST };
            let mut sum = vec![0.0_f32; part[0].embedding.dim()];
            let mut projected = vec![0.0_f32; part[0].projected.len()];
            for window in part {
                sum.iter_mut().zip(window.embedding.as_slice()).for_each(|(mine, other)| *mine += other);
                projected.iter_mut().zip(&window.projected).for_each(|(mine, other)| *mine += mixed * other);
            }
            exemplars.push(Exemplar {
                sum,
                weight: part.len() as f32,
                projected,
                trust: mixed * part.iter().map(|w| w.trust).sum::<f32>(),
                continues: n > 0 || region.remembered,
                strong,
                speaker: run.speaker,
                pin: Pin::Free,
            });
        }
        if let Some(region) = &mut self.region {
            region.remembered = true;
        }
        self.tentative.remove(&run.speaker);
        for exemplar in exemplars {
            self.exemplars_since_clustering += 1;
            self.history.add(id, exemplar);
        }
    }

    fn forget_levels(&mut self) {
        let keep = self.params.boundary_reach_samples() / FRAME_SAMPLES + SMOOTH_FRAMES as u64 + 1;
        let Some(region) = self.region.as_mut() else { return };
        let settled = region.zone_start.0.saturating_sub(region.levels.start) / FRAME_SAMPLES;
        // What is settled no longer needs its levels, except around the zone's first boundary.
        let n = (settled.saturating_sub(keep) as usize).min(region.levels.db.len());
        region.levels.db.drain(..n);
        region.levels.start += n as u64 * FRAME_SAMPLES;
    }

    /// Withdraws speakers opened in the region that no segment bears any more.
    fn retire_tentative(&mut self) {
        for (speaker, ()) in std::mem::take(&mut self.tentative) {
            if !self.state.segments().any(|s| s.speaker == speaker) {
                self.retire(speaker, None);
            }
        }
    }

    fn retire(&mut self, from: SpeakerId, into: Option<SpeakerId>) {
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
    fn recluster(&mut self, reason: RevisionReason) {
        self.exemplars_since_clustering = 0;
        let mut fresh = Vec::new();
        let mut next = self.next_speaker;
        let gone = self.history.recluster(reason == RevisionReason::FinalPass, || {
            let id = SpeakerId(next);
            next += 1;
            fresh.push(id);
            id
        });
        self.next_speaker = next;
        let gone: BTreeMap<SpeakerId, SpeakerId> = gone.into_iter().collect();
        let mut changes = Vec::new();
        for id in self.history.segments().collect::<Vec<_>>() {
            let (Some(held), Some(to)) = (self.state.segment(id), self.history.segment_speaker(id)) else {
                continue;
            };
            if held.speaker != to {
                changes.push(Change { segment: id, from: held.speaker, to });
            }
        }
        changes.extend(self.zone_changes(&gone));
        for id in &fresh {
            let first = changes
                .iter()
                .filter(|c| c.to == *id)
                .filter_map(|c| self.state.segment(c.segment).map(|s| s.range.start()))
                .min();
            self.say(Event::Speaker(SpeakerInfo::new(*id, first.unwrap_or(self.now))));
        }
        if !changes.is_empty() {
            let reason = match reason {
                RevisionReason::FinalPass => RevisionReason::FinalPass,
                _ if !gone.is_empty() => RevisionReason::Merge,
                _ if !fresh.is_empty() => RevisionReason::Split,
                other => other,
            };
            self.say(Event::Revision { changes, reason });
        }
        self.retire_unused(&gone);
        self.recognise();
    }

    /// Segments of the zone that the history holds nothing of, and whose speaker is no more.
    fn zone_changes(&mut self, gone: &BTreeMap<SpeakerId, SpeakerId>) -> Vec<Change> {
        let Some(region) = self.region.as_mut() else { return Vec::new() };
        for window in &mut region.windows {
            if let Some(into) = window.label.and_then(|l| gone.get(&l)) {
                window.label = Some(*into);
            }
        }
        let held = region.open.iter().filter_map(|id| self.state.segment(*id));
        held.filter(|s| self.history.segment_speaker(s.id).is_none())
            .filter_map(|s| gone.get(&s.speaker).map(|to| Change { segment: s.id, from: s.speaker, to: *to }))
            .collect()
    }

    /// Withdraws every speaker that bears no segment and of whom the history holds nothing; after the end of the
    /// stream every speaker that bears no segment.
    fn retire_unused(&mut self, gone: &BTreeMap<SpeakerId, SpeakerId>) {
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
        self.say(Event::Revision {
            changes: vec![Change { segment, from, to }],
            reason: RevisionReason::Correction,
        });
        self.retire_unused(&BTreeMap::from([(from, to)]));
        self.recognise();
        Ok(())
    }
}

/// Evidence of a window shorter than a full one against that of a full one.
const SHORT_WINDOW_TRUST: f32 = 0.6;
/// Evidence of windows that reach into another's turn.
const MIXED_WINDOW_TRUST: f32 = 0.3;
/// A voice of which the history holds so many windows needs no help from the zone.
const WELL_KNOWN_WINDOWS: f32 = 20.0;
/// Windows each side that tell with a window whether it is somebody new.
const NEIGHBOURS: usize = 2;
/// Samples of one level frame: 10 ms.
const FRAME_SAMPLES: u64 = 160;
/// Frames each side over which the level is averaged when a boundary looks for a pause: 50 ms.
const SMOOTH_FRAMES: usize = 5;
/// Pull of a boundary to where the windows say it is, in dB a frame.
const PULL_DB_PER_FRAME: f32 = 0.2;
/// Longest name that a speaker may bear.
const MAX_NAME_CHARS: usize = 100;
