//! Measures of labels, and the confidence that the last pass publishes of them.

use super::Labeller;
use super::confidence::LabelMeasures;
use super::runs;
use super::scores::Scores;
use super::zone::{Run, Zone};
use crate::diarizer::clustering::VoiceGroups;
use crate::events::SegmentId;

impl Labeller {
    pub(crate) fn voice_groups(&self) -> VoiceGroups {
        self.memory.voice_groups()
    }

    #[cfg(test)]
    pub(crate) fn n_exemplars(&self) -> usize {
        self.memory.len()
    }

    /// Publishes the confidence of every settled label again, by what is known at the end.
    pub(super) fn publish_confidence(&mut self) {
        for (id, measures) in self.settled_measures() {
            self.publisher.set_confidence(id, measures.confidence());
        }
    }

    /// What is measured of every label that audio on its way may still change, or of every settled one after the end of
    /// the stream.
    pub(crate) fn label_measures(&self) -> Vec<(SegmentId, LabelMeasures)> {
        match &self.zone {
            _ if self.ended => self.settled_measures(),
            Some(zone) => self.unsettled_measures(zone),
            None => Vec::new(),
        }
    }

    fn unsettled_measures(&self, zone: &Zone) -> Vec<(SegmentId, LabelMeasures)> {
        let Some(end) = zone.windows_end() else { return Vec::new() };
        let runs = runs::cut_at(self.runs(zone, end), zone.published_until);
        let scores = Scores::new(&self.memory, &self.opened, zone, &self.params);
        let measures = |(n, run): (usize, &Run)| {
            let id = runs::segment_of(zone, self.publisher.state(), n, run)?;
            let snr_db = self.publisher.state().segment(id)?.snr_db;
            Some((id, LabelMeasures { snr_db, ..scores.measures(run) }))
        };
        runs.iter().enumerate().filter_map(measures).collect()
    }

    fn settled_measures(&self) -> Vec<(SegmentId, LabelMeasures)> {
        let window_s = self.params.memory().window_s;
        let held = self.memory.windows_by_speaker();
        let session_s = window_s * held.values().sum::<f32>();
        let measures = |(id, lead): (SegmentId, f32)| {
            let segment = self.publisher.state().segment(id)?;
            let measures = LabelMeasures {
                lead,
                label_s: segment.range.duration_s() as f32,
                speaker_s: window_s * held.get(&segment.speaker)?,
                session_s,
                n_speakers: held.len(),
                snr_db: segment.snr_db,
                is_last: true,
            };
            Some((id, measures))
        };
        self.memory.leads().into_iter().filter_map(measures).collect()
    }
}
