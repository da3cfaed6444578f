//! How well unsettled windows fit each speaker of the session, and how well a new one.
//!
//! All values are natural logarithms of likelihoods under the two-covariance model ([`crate::plda`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::confidence::LabelMeasures;
use super::zone::{Run, Window, Zone};
use crate::diarizer::clustering::SpeechMemory;
use crate::diarizer::params::DiarizerParams;
use crate::events::SpeakerId;
use crate::plda::{SpeakerPosterior, evidence};

/// Speakers with more windows in the memory than this are scored without the unsettled windows.
const WELL_KNOWN_WINDOWS: f32 = 20.0;
/// Windows each side that are scored together with a window for the state "new speaker".
const NEIGHBOURS: usize = 2;

/// The speakers that unsettled windows may belong to, with their voices. Valid while labels, memory and speakers stay
/// as they are.
#[derive(Debug)]
pub(super) struct Scores<'a> {
    memory: &'a SpeechMemory,
    /// Speakers opened in the zone that the memory holds nothing of.
    opened: &'a BTreeSet<SpeakerId>,
    zone: &'a Zone,
    new_speaker_llr: f32,
    /// Speech that a window stands for.
    window_s: f32,
    /// Windows of speech that the memory holds of each speaker.
    held: BTreeMap<SpeakerId, f32>,
    /// Speakers of the memory and of the zone, by id.
    speakers: Vec<SpeakerId>,
    /// Voices with the zone's own windows, for speakers with little memory.
    zone_voices: BTreeMap<SpeakerId, SpeakerPosterior>,
}

impl<'a> Scores<'a> {
    pub(super) fn new(
        memory: &'a SpeechMemory,
        opened: &'a BTreeSet<SpeakerId>,
        zone: &'a Zone,
        params: &DiarizerParams,
    ) -> Self {
        let speakers: BTreeSet<SpeakerId> = memory.speakers().chain(opened.iter().copied()).collect();
        let well_known = WELL_KNOWN_WINDOWS * params.window_weight();
        Self {
            memory,
            opened,
            zone,
            new_speaker_llr: params.new_speaker_llr(),
            window_s: params.memory().window_s,
            held: memory.windows_by_speaker(),
            speakers: speakers.into_iter().collect(),
            zone_voices: zone_voices(memory, zone, well_known),
        }
    }

    /// Speakers that a window may belong to, by id.
    pub(super) fn speakers(&self) -> &[SpeakerId] {
        &self.speakers
    }

    /// Whether only the zone knows a speaker: it was accepted as new before.
    pub(super) fn is_opened(&self, speaker: SpeakerId) -> bool {
        self.opened.contains(&speaker)
    }

    /// Log-likelihoods of every unsettled window for [`speakers`](Self::speakers) and then for a new speaker, shape
    /// `(n_windows, n_speakers + 1)`, row-major, up to a constant of the window.
    pub(super) fn of_windows(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.zone.windows.len() * (self.speakers.len() + 1));
        for (window_idx, window) in self.zone.windows.iter().enumerate() {
            values.extend(self.speakers.iter().map(|speaker| self.of(window, *speaker)));
            values.push(self.of_new_speaker(window_idx));
        }
        values
    }

    /// Log-likelihood that `window` is `speaker`'s, up to a constant of the window.
    fn of(&self, window: &Window, speaker: SpeakerId) -> f32 {
        let known = self.memory.model(speaker).filter(|voice| voice.weight() > 0.0);
        match self.zone_voices.get(&speaker).or(known) {
            Some(voice) => voice.log_likelihood(&window.projected, window.trust),
            // All speech of this label was assigned by a user and shapes no voice.
            None => evidence(window.projected.iter().copied(), window.trust, self.memory.plda().phi()),
        }
    }

    /// The same for a new speaker: the window's share of the evidence that it and its neighbours are one new voice.
    fn of_new_speaker(&self, window_idx: usize) -> f32 {
        let end = (window_idx + NEIGHBOURS + 1).min(self.zone.windows.len());
        let around = window_idx.saturating_sub(NEIGHBOURS)..end;
        let n = around.len() as f32;
        self.evidence_of_one(around) / n
    }

    /// Log evidence that these windows are one new voice.
    pub(super) fn evidence_of_one(&self, windows: Range<usize>) -> f32 {
        let (sum, weight) = self.zone.sum_of(windows, self.memory.plda().dim());
        evidence(sum.iter().copied(), weight, self.memory.plda().phi())
    }

    /// The speaker whose evidence gains most by these windows, and the gain. The lower id wins a tie.
    pub(super) fn best_known(&self, windows: Range<usize>) -> Option<(SpeakerId, f32)> {
        let mut best: Option<(SpeakerId, f32)> = None;
        for &speaker in &self.speakers {
            let gain = self.gain(windows.clone(), speaker);
            if best.is_none_or(|(_, b)| gain > b) {
                best = Some((speaker, gain));
            }
        }
        best
    }

    /// Gain in log evidence when these windows join what the memory, or else the zone, holds of `speaker`.
    fn gain(&self, windows: Range<usize>, speaker: SpeakerId) -> f32 {
        let plda = self.memory.plda();
        let (sum, weight) = self.zone.sum_of(windows, plda.dim());
        let known = self.memory.model(speaker).filter(|voice| voice.weight() > 0.0);
        let voice = known.or_else(|| self.zone_voices.get(&speaker));
        voice.map_or(f32::NEG_INFINITY, |voice| voice.merge_gain(&sum, weight, plda.phi()))
    }

    /// Share of the evidence for a new voice that counts after this much speech, in `(0, 1]`.
    pub(super) fn evidence_discount(&self) -> f32 {
        self.memory.fading()
    }

    /// What is measured of the run's label. Its signal-to-noise ratio is left for the caller.
    pub(super) fn measures(&self, run: &Run) -> LabelMeasures {
        let fit = |speaker: SpeakerId| {
            self.zone.windows.range(run.windows.clone()).map(|window| self.of(window, speaker)).sum::<f32>()
        };
        let own = fit(run.speaker);
        let new_speaker = self.evidence_of_one(run.windows.clone()) - self.new_speaker_llr;
        let rivals = self.speakers.iter().copied().filter(|s| *s != run.speaker);
        let rival = rivals.map(fit).fold(new_speaker, f32::max);
        let of_speaker = self.zone.windows.iter().filter(|w| w.label == Some(run.speaker)).count() as f32;
        let of_session = self.zone.windows.len() as f32 + self.held.values().sum::<f32>();
        LabelMeasures {
            lead: own - rival,
            label_s: run.range.duration_s() as f32,
            speaker_s: self.window_s * (of_speaker + self.held.get(&run.speaker).copied().unwrap_or(0.0)),
            session_s: self.window_s * of_session,
            n_speakers: self.speakers.len(),
            snr_db: None,
            is_last: false,
        }
    }
}

/// Voices of the speakers that unsettled windows are labelled with, those windows included, where the memory holds at
/// most `well_known` of them, as weight.
fn zone_voices(memory: &SpeechMemory, zone: &Zone, well_known: f32) -> BTreeMap<SpeakerId, SpeakerPosterior> {
    let phi = memory.plda().phi();
    let mut voices: BTreeMap<SpeakerId, SpeakerPosterior> = BTreeMap::new();
    for window in &zone.windows {
        let Some(label) = window.label else { continue };
        let known = memory.model(label);
        if known.is_some_and(|voice| voice.weight() > well_known) {
            continue;
        }
        let voice = voices
            .entry(label)
            .or_insert_with(|| known.cloned().unwrap_or_else(|| SpeakerPosterior::prior(phi)));
        voice.add(&window.projected, window.trust);
    }
    voices.values_mut().for_each(|voice| voice.update(phi));
    voices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{ANN, BOB, memory, params, range, zone};

    #[test]
    fn scores_have_a_column_for_each_speaker_and_one_for_a_new_one() {
        let (memory, opened) = (memory(&[(2, ANN), (4, BOB)]), BTreeSet::from([SpeakerId(3)]));
        let zone = zone(&[(ANN, None), (BOB, Some(3))]);
        let scores = Scores::new(&memory, &opened, &zone, &params());
        assert_eq!(scores.speakers(), [SpeakerId(2), SpeakerId(3), SpeakerId(4)]);
        assert!(scores.is_opened(SpeakerId(3)) && !scores.is_opened(SpeakerId(2)));
        let values = scores.of_windows();
        assert_eq!(values.len(), 2 * 4);
        assert!(values[0] > values[2], "the first window is nearer to speaker 2 than to 4: {values:?}");
        assert!(values[4 + 1] > values[4], "the zone's own windows shape speaker 3: {values:?}");
        assert_eq!(scores.best_known(0..1).map(|(best, _)| best), Some(SpeakerId(2)));
    }

    #[test]
    fn the_lead_falls_where_another_voice_fits_as_well() {
        let (memory, opened) = (memory(&[(1, ANN), (2, BOB)]), BTreeSet::new());
        let lead = |windows: &[_]| {
            let zone = zone(windows);
            let scores = Scores::new(&memory, &opened, &zone, &params());
            let run = Run { windows: 0..windows.len(), speaker: SpeakerId(1), range: range(0.0, 1.0) };
            scores.measures(&run).lead
        };
        let clear = lead(&[(ANN, None); 3]);
        let even = lead(&[([1.5, 1.5], None); 3]);
        let wrong = lead(&[(BOB, None); 3]);
        assert!(clear > 2.0 && even.abs() < 1.0 && wrong < -2.0, "{clear} {even} {wrong}");
    }
}
