//! Labelling: from embedded windows to published segments. This file holds the order of the steps.
//!
//! The labeller receives the stream as ordered facts: a region of speech opens, a window of it is embedded, the region
//! closes. So labels depend neither on block sizes nor on when an embedding arrives. With every window:
//!
//! 1. [`decode`](mod@decode) labels the unsettled windows of the [`zone`] by their [`scores`], and may open speakers;
//! 2. [`runs`] makes runs of equal labels with boundaries at pauses, and the [`publisher`] emits what changed;
//! 3. windows older than a few seconds are settled: [`settling`] makes exemplars of them for the [`SpeechMemory`];
//! 4. [`second_voice`] finds the second speaker of overlap, [`naming`] names speakers by their voiceprints;
//! 5. after enough new exemplars the memory is clustered again, and [`relabelling`] finds what that changes.
//!
//! Steps take and return values; only the publisher emits events. [`corrections`] come from users.

mod confidence;
mod continuing;
mod corrections;
mod decode;
mod known_voices;
#[cfg(test)]
mod made;
mod measuring;
mod naming;
mod publisher;
mod relabelling;
mod runs;
mod scores;
mod second_voice;
mod settling;
mod speech_parts;
mod zone;

use std::collections::BTreeSet;

use diarized_dsp::{SampleIndex, SampleRange};

use super::clustering::{SecondEmbedding, SpeechMemory};
use super::front_end::FrameMeasures;
use super::interface::TimedEvent;
use super::params::DiarizerParams;
use crate::calibration::Calibration;
use crate::embedding::Embedding;
use crate::events::{GapReason, RevisionReason, SegmentId, SessionState, SpeakerId};
use crate::plda::Plda;
pub use confidence::{LabelMeasures, N_FEATURES};
use decode::{NewSpeakerRules, decode};
use naming::Names;
use publisher::Publisher;
use relabelling::Replaced;
use runs::SMOOTH_FRAMES;
use scores::Scores;
use second_voice::{OverlapRules, Revision, SecondVoices};
use settling::{ExemplarRules, exemplars};
use zone::{FRAME_SAMPLES, Run, Window, Zone};

/// Weight of a short window's evidence against that of a full one.
const SHORT_WINDOW_TRUST: f32 = 0.6;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Labeller {
    params: DiarizerParams,
    memory: SpeechMemory,
    publisher: Publisher,
    /// The unsettled part of the open region, while somebody speaks.
    zone: Option<Zone>,
    /// Speakers opened in the zone that the memory holds nothing of.
    opened: BTreeSet<SpeakerId>,
    second_voices: SecondVoices,
    names: Names,
    /// Exemplars since the latest clustering.
    n_new_exemplars: usize,
    noise_db: Option<f32>,
    /// Whether the stream is over: no window follows.
    ended: bool,
    /// Everything before this is labelled; the open region may have come further.
    labelled_until: SampleIndex,
    /// Speakers of a session that went on without its voices.
    lost: BTreeSet<SpeakerId>,
}

impl Labeller {
    pub(crate) fn new(params: DiarizerParams, plda: Plda, calibration: Calibration) -> Self {
        Self {
            memory: SpeechMemory::new(params.memory(), plda, calibration),
            params,
            publisher: Publisher::new(),
            zone: None,
            opened: BTreeSet::new(),
            n_new_exemplars: 0,
            noise_db: None,
            names: Names::default(),
            second_voices: SecondVoices::default(),
            ended: false,
            labelled_until: SampleIndex::ZERO,
            lost: BTreeSet::new(),
        }
    }

    pub(crate) fn state(&self) -> &SessionState {
        self.publisher.state()
    }

    pub(crate) fn poll(&mut self) -> Option<TimedEvent> {
        self.publisher.poll()
    }

    /// Speech begins at `start`.
    pub(crate) fn open_region(&mut self, at: SampleIndex, start: SampleIndex) {
        self.publisher.set_position(at);
        self.publisher.open_region(start);
        let max_pause = self.params.bridge_samples();
        let previous = self.second_voices.latest_turn().and_then(|id| self.publisher.state().segment(id));
        let previous = previous.filter(|s| start.0.saturating_sub(s.range.end().0) <= max_pause);
        self.zone = Some(Zone::new(start, previous.map(|s| s.id)));
    }

    /// Measures of the open region's next frames. Each series begins with the region.
    pub(crate) fn add_frames(&mut self, measures: &FrameMeasures) {
        self.noise_db = measures.noise_db.or(self.noise_db);
        if let Some(zone) = &mut self.zone {
            zone.frames.add(measures);
            self.publisher.add_frames(&measures.voiced);
        }
    }

    /// One more window of the open region, later than the ones before. A window without an embedding (the embedder
    /// failed) leaves the labels as they are. Speech is decided up to `decided`.
    pub(crate) fn add_window(
        &mut self,
        at: SampleIndex,
        support: SampleRange,
        decided: SampleIndex,
        embedding: Option<(Embedding, SecondEmbedding)>,
        full: bool,
    ) {
        self.publisher.set_position(at);
        let Some((embedding, second)) = embedding else { return };
        let trust = self.params.window_weight() * if full { 1.0 } else { SHORT_WINDOW_TRUST };
        let mut projected = self.memory.plda().project(embedding.as_slice());
        projected.iter_mut().for_each(|value| *value *= trust);
        let window = Window { support, embedding, second, projected, trust, full, label: None };
        self.with_zone(|labeller, zone| {
            zone.windows.push_back(window);
            let end = support.end();
            let earliest = zone.unsettled_start.plus(labeller.params.step_samples());
            let published_until = labeller.params.shown_when(at).max(earliest).min(decided);
            zone.published_until = published_until.max(zone.published_until);
            labeller.decode(zone, false);
            labeller.publish(zone, end);
            labeller.settle(zone, end.minus(labeller.params.settle_samples()));
            labeller.show_second_voices(zone);
        });
    }

    /// The open region pauses after `voiced`. Labels up to there are published without waiting for another window.
    pub(crate) fn pause(&mut self, at: SampleIndex, voiced: SampleIndex) {
        self.publisher.set_position(at);
        let published_until = self.params.shown_when(at).min(voiced);
        self.with_zone(|labeller, zone| {
            if let Some(end) = zone.windows_end().filter(|_| published_until > zone.published_until) {
                zone.published_until = published_until;
                labeller.publish(zone, end);
            }
        });
    }

    /// The open region ends at `end`: everything in it is settled.
    pub(crate) fn close_region(&mut self, at: SampleIndex, end: SampleIndex) {
        self.publisher.set_position(at);
        self.labelled_until = self.labelled_until.max(end);
        let Some(mut zone) = self.zone.take() else { return };
        self.decode(&mut zone, true);
        zone.published_until = end;
        self.publish(&mut zone, end);
        self.settle(&mut zone, SampleIndex(u64::MAX));
        self.settle_second_voices(&mut zone, end, true);
        if let Some(open) = zone.open_segment {
            self.publisher.finalise(open);
        }
        self.remove_opened();
        if self.is_clustering_due() {
            self.recluster(None, RevisionReason::Reassign);
        }
    }

    /// A stretch without audio; no region is open across it.
    pub(crate) fn gap(&mut self, at: SampleIndex, range: SampleRange, reason: GapReason) {
        self.publisher.set_position(at);
        self.labelled_until = self.labelled_until.max(range.end());
        self.publisher.gap(range, reason);
    }

    /// The stream ends: the last clustering of everything that the memory holds.
    pub(crate) fn finish(&mut self, at: SampleIndex) {
        self.publisher.set_position(at);
        self.ended = true;
        if self.params.final_pass() {
            self.with_any_zone(|labeller, zone| labeller.recluster(zone, RevisionReason::FinalPass));
            self.publish_confidence();
        } else {
            self.remove_unused(&Replaced::new());
        }
    }

    /// Runs `step` on the open region, if there is one.
    fn with_zone(&mut self, step: impl FnOnce(&mut Self, &mut Zone)) {
        if let Some(mut zone) = self.zone.take() {
            step(self, &mut zone);
            self.zone = Some(zone);
        }
    }

    /// Runs `step` inside or outside a region.
    fn with_any_zone(&mut self, step: impl FnOnce(&mut Self, Option<&mut Zone>)) {
        let mut zone = self.zone.take();
        step(self, zone.as_mut());
        self.zone = zone;
    }

    /// Labels the unsettled windows. With `closing` no window follows in this region.
    fn decode(&mut self, zone: &mut Zone, closing: bool) {
        let open = zone.open_segment.and_then(|id| self.publisher.state().segment(id));
        let scores = Scores::new(&self.memory, &self.opened, zone, &self.params);
        let rules = NewSpeakerRules::of(&self.params, self.n_shown());
        let labels = decode(&scores, rules, open.map(|s| s.speaker), closing);
        for run in labels {
            let speaker = run.speaker.unwrap_or_else(|| {
                let opened = self.publisher.open_speaker(zone.start_of_window(run.windows.start));
                self.opened.insert(opened);
                opened
            });
            zone.label(run.windows, speaker);
        }
    }

    /// Brings the published segments of the zone in line with its labels, which reach up to `end`.
    fn publish(&mut self, zone: &mut Zone, end: SampleIndex) {
        let runs = runs::cut_at(self.runs(zone, end), zone.published_until);
        let scores = Scores::new(&self.memory, &self.opened, zone, &self.params);
        let drafts = runs::drafts(zone, self.publisher.state(), &runs, &scores, self.noise_db);
        self.publisher.publish(zone, &drafts);
    }

    fn runs(&self, zone: &Zone, end: SampleIndex) -> Vec<Run> {
        runs::runs(zone, end, self.params.boundary_reach_samples())
    }

    /// Settles the leading windows with their centre before `horizon`: no later decoding changes them.
    fn settle(&mut self, zone: &mut Zone, horizon: SampleIndex) {
        let n_old = zone.windows.iter().take_while(|w| w.centre() < horizon.0).count();
        let Some(end) = zone.windows_end().filter(|_| n_old > 0) else { return };
        let runs = self.runs(zone, end);
        let boundary = runs::end_of_first(zone, &runs, n_old).unwrap_or(end);
        for (n, run) in runs.iter().enumerate().take_while(|(_, run)| run.windows.start < n_old) {
            if let Some(id) = runs::segment_of(zone, self.publisher.state(), n, run) {
                self.remember(zone, id, run, run.windows.end.min(n_old));
                let settled = SampleRange::new(run.range.start(), run.range.end().min(boundary));
                let previous = zone.settle_segment(id, settled);
                self.second_voices.add_turn(id);
                if let Some(previous) = previous.filter(|previous| *previous != id) {
                    self.publisher.finalise(previous);
                }
            }
        }
        zone.settle_windows(n_old, boundary);
        self.settle_second_voices(zone, boundary, false);
        self.drop_frames(zone);
        self.recognise();
        if !zone.windows.is_empty() && self.is_clustering_due() {
            self.recluster(Some(zone), RevisionReason::Reassign);
        }
    }

    /// Adds the run's windows before `until` to the memory as exemplars of segment `id`.
    fn remember(&mut self, zone: &mut Zone, id: SegmentId, run: &Run, until: usize) {
        let turn = self.publisher.state().segment(id).map_or(run.range, |s| s.range);
        let exemplars =
            exemplars(zone, run, turn, until, ExemplarRules::of(&self.params), self.memory.second_plda());
        zone.has_exemplars = true;
        self.opened.remove(&run.speaker);
        self.n_new_exemplars += exemplars.len();
        exemplars.into_iter().for_each(|(span, exemplar)| self.memory.add(id, span, exemplar));
    }

    /// Publishes the second speakers of overlap before `until` for good. With `closing` nothing of the region follows.
    fn settle_second_voices(&mut self, zone: &mut Zone, until: SampleIndex, closing: bool) {
        let rules = OverlapRules::of(&self.params, &self.memory);
        let (settled, done) = self.second_voices.settled(zone, self.publisher.state(), until, closing, rules);
        second_voice::settle_until(zone, done);
        let mut shown = std::mem::take(&mut zone.second_speaker_segments);
        for mut stretch in settled {
            if let Some(voice) = stretch.speaker(self.publisher.state(), &self.memory) {
                stretch.id = Some(self.publisher.publish_second(&mut shown, stretch.range, voice, true));
            }
            self.second_voices.add_stretch(stretch);
        }
        if closing {
            self.publisher.remove(shown);
        } else {
            zone.second_speaker_segments = shown;
        }
    }

    /// Publishes the second speakers of overlap that is not settled, as they are for now.
    fn show_second_voices(&mut self, zone: &mut Zone) {
        let state = self.publisher.state();
        let rules = OverlapRules::of(&self.params, &self.memory);
        let stretches = self.second_voices.unsettled(zone, state, rules);
        let voices = stretches.iter().map(|stretch| (stretch.range, stretch.speaker(state, &self.memory)));
        let voices: Vec<_> = voices.filter_map(|(range, voice)| Some((range, voice?))).collect();
        let mut shown = std::mem::take(&mut zone.second_speaker_segments);
        for (range, voice) in voices {
            let id = self.publisher.publish_second(&mut shown, range, voice, false);
            zone.second_speaker_segments.push(id);
        }
        self.publisher.remove(shown);
    }

    /// Brings second speakers in line with revised labels.
    fn revise_second_voices(&mut self, zone: Option<&mut Zone>, reason: RevisionReason) {
        let mut changes = Vec::new();
        for stretch in &mut self.second_voices.stretches {
            match stretch.revision(self.publisher.state(), &self.memory) {
                Some(Revision::Speaker(change)) => changes.push(change),
                Some(Revision::Gone(id)) => {
                    stretch.id = None;
                    self.publisher.remove([id]);
                }
                Some(Revision::New(voice)) => {
                    let none_shown = &mut Vec::new();
                    stretch.id = Some(self.publisher.publish_second(none_shown, stretch.range, voice, true));
                }
                None => {}
            }
        }
        self.publisher.revise(changes, reason);
        if let Some(zone) = zone {
            self.show_second_voices(zone);
        }
    }

    /// Drops the frames that no later step reads: boundaries and windows reach back behind the unsettled part.
    fn drop_frames(&self, zone: &mut Zone) {
        let n_kept = self.params.boundary_reach_samples() / FRAME_SAMPLES + SMOOTH_FRAMES as u64 + 1;
        zone.drop_frames(n_kept.max(self.params.window_frames()) as usize);
    }

    fn is_clustering_due(&self) -> bool {
        self.n_new_exemplars >= self.params.recluster_exemplars(self.memory.len())
    }

    /// Clusters the memory again and publishes what that changes.
    fn recluster(&mut self, mut zone: Option<&mut Zone>, kind: RevisionReason) {
        self.n_new_exemplars = 0;
        let is_last = kind == RevisionReason::FinalPass;
        let n_elsewhere = self.n_elsewhere();
        let fresh = || self.publisher.new_speaker_id();
        let gone = match is_last && self.memory.is_seen_by_second() {
            true => self.memory.recluster_by_second(n_elsewhere, fresh),
            false => self.memory.recluster(is_last, n_elsewhere, fresh),
        };
        let gone: Replaced = gone.into_iter().collect();
        let new = relabelling::new_speakers(&self.memory, self.publisher.state());
        self.divide_segments(zone.as_deref_mut());
        let changes = relabelling::changes(&self.memory, self.publisher.state(), &gone);
        let state = self.publisher.state();
        self.memory.settle_touched(|id| state.segment(id).is_some_and(|s| !s.is_final));
        if let Some(zone) = zone.as_deref_mut() {
            relabelling::relabel(zone, &gone);
        }
        for &speaker in &new {
            let first = relabelling::first_speech(&changes, self.publisher.state(), speaker);
            self.publisher.add_speaker(speaker, first);
            let renamed = self.names.returned(self.publisher.state(), speaker);
            renamed.into_iter().for_each(|info| self.publisher.set_speaker(info));
        }
        let reason = relabelling::reason(kind, !gone.is_empty(), !new.is_empty());
        self.publisher.revise(changes, reason);
        self.revise_second_voices(zone, reason);
        self.remove_unused(&gone);
        self.recognise();
    }

    /// Divides final segments in which the clustering found several speakers. The parts keep the segment's speaker until
    /// the revision that follows.
    fn divide_segments(&mut self, mut zone: Option<&mut Zone>) {
        for (id, starts) in relabelling::divisions(&self.memory, self.publisher.state()) {
            let parts = self.publisher.divide(id, &starts);
            for pair in parts.windows(2) {
                self.memory.divide(pair[0].0, pair[1].1.start(), pair[1].0);
            }
            self.second_voices.divide(&parts);
            if let Some(zone) = zone.as_deref_mut().filter(|zone| zone.previous_segment == Some(id)) {
                zone.previous_segment = parts.last().map(|(last, _)| *last);
            }
        }
    }

    /// Removes speakers that the closed region opened and that have no segment.
    fn remove_opened(&mut self) {
        for speaker in std::mem::take(&mut self.opened) {
            if !self.publisher.state().segments().any(|s| s.speaker == speaker) {
                self.replace_speaker(speaker, None);
            }
        }
    }

    /// Removes speakers without a segment; before the end of the stream only those that the memory holds nothing of.
    fn remove_unused(&mut self, gone: &Replaced) {
        let memory = Some(&self.memory).filter(|_| !self.ended);
        let unused = relabelling::unused_speakers(self.publisher.state(), &self.opened, memory);
        for &id in &unused {
            self.replace_speaker(id, gone.get(&id).copied().filter(|into| !unused.contains(into)));
        }
    }

    /// Removes `from` in favour of `into`, or else of the newest segment's speaker.
    fn replace_speaker(&mut self, from: SpeakerId, into: Option<SpeakerId>) {
        if let Some(into) = relabelling::replacement(self.publisher.state(), from, into) {
            self.remove_speaker(from, into);
        }
    }

    fn remove_speaker(&mut self, from: SpeakerId, into: SpeakerId) {
        if let Some(info) = self.names.inherit(self.publisher.state(), from, into) {
            self.publisher.set_speaker(info);
        }
        self.publisher.merge_speakers(from, into);
    }
}
