//! Who speaks in the windows of the zone: the most likely path through the known speakers and somebody new.

use std::collections::BTreeMap;

use diarized_dsp::SampleIndex;

use super::{Labeller, Region, Window};
use crate::diarizer::viterbi::best_path;
use crate::events::{Event, SpeakerId, SpeakerInfo};
use crate::plda::{Voice, evidence};

/// A voice of which the history holds so many windows needs no help from the zone.
const WELL_KNOWN_WINDOWS: f32 = 20.0;
/// Windows each side that tell with a window whether it is somebody new.
const NEIGHBOURS: usize = 2;

impl Labeller {
    /// Labels the windows of the zone. With `closing`, new voices must be settled now.
    pub(super) fn decode(&mut self, closing: bool) {
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
    pub(super) fn candidates(&self) -> Vec<SpeakerId> {
        let mut speakers: Vec<SpeakerId> = self.history.speakers().collect();
        speakers.extend(self.tentative.keys().copied().filter(|s| !speakers.contains(s)).collect::<Vec<_>>());
        speakers.sort_unstable();
        speakers
    }

    /// Voices of speakers that the history does not know well yet, with the zone's own windows.
    pub(super) fn zone_voices(&self, region: &Region) -> BTreeMap<SpeakerId, Voice> {
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
    pub(super) fn fit(&self, window: &Window, speaker: SpeakerId, zone: &BTreeMap<SpeakerId, Voice>) -> f32 {
        let known = self.history.model(speaker).filter(|voice| voice.weight() > 0.0);
        match zone.get(&speaker).or(known) {
            Some(voice) => voice.fits(&window.projected, window.trust),
            // A label of which nothing was heard: a person gave it a segment that sounds otherwise.
            None => evidence(window.projected.iter().copied(), window.trust, self.history.plda().phi()),
        }
    }

    /// The same for a voice never heard before: this window's share of the evidence that it and its neighbours are
    /// one such voice.
    pub(super) fn fit_of_somebody_new(&self, region: &Region, w: usize) -> f32 {
        let around = w.saturating_sub(NEIGHBOURS)..(w + NEIGHBOURS + 1).min(region.windows.len());
        let n = around.len() as f32;
        self.evidence_of_one(region, around) / n
    }

    /// Log of the evidence that these windows are one voice never heard before.
    pub(super) fn evidence_of_one(&self, region: &Region, windows: std::ops::Range<usize>) -> f32 {
        let (sum, weight) = self.sum_of(region, windows);
        evidence(sum.iter().copied(), weight, self.history.plda().phi())
    }

    /// Gain in log evidence when these windows join what the history, or else the zone, holds of `speaker`.
    pub(super) fn gain(
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
    pub(super) fn sum_of(&self, region: &Region, windows: std::ops::Range<usize>) -> (Vec<f32>, f32) {
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
    pub(super) fn name_new_voices(
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
    pub(super) fn best_known(
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
    pub(super) fn is_new_voice(
        &self,
        windows: std::ops::Range<usize>,
        gain: f32,
        is_unknown: bool,
        closing: bool,
    ) -> bool {
        let Some(region) = &self.region else { return false };
        let enough = windows.len() >= self.params.new_speaker_windows();
        if !enough && !closing {
            // What is short waits for the clustering unless nothing more will come.
            return false;
        }
        let doubt = if is_unknown { 0.0 } else { self.params.switch_cost() };
        let lead = self.history.fading() * (self.evidence_of_one(region, windows) - gain) - doubt;
        // And it must be clear.
        let needed = self.params.new_speaker_llr() + if enough { 0.0 } else { self.params.switch_cost() };
        lead > needed
    }

    pub(super) fn fresh_speaker(&mut self, first: SampleIndex) -> SpeakerId {
        let id = SpeakerId(self.next_speaker);
        self.next_speaker += 1;
        self.say(Event::Speaker(SpeakerInfo::new(id, first)));
        id
    }

    pub(super) fn open_speaker(&mut self, window_idx: usize) -> SpeakerId {
        let first = self.region.as_ref().map_or(self.now, |r| {
            if window_idx == 0 { r.zone_start } else { r.windows[window_idx].support.start() }
        });
        let id = self.fresh_speaker(first);
        self.tentative.insert(id, ());
        id
    }
}
