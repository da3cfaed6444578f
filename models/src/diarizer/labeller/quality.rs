//! How clear the sound of a segment is.

use diarized_dsp::SampleRange;

use super::{Labeller, Region};
use crate::diarizer::front_end::FrameQuality;

/// Sums over frames in which somebody speaks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QualitySum {
    snr_db: f32,
    c50_db: f32,
    n_frames: f32,
}

impl QualitySum {
    pub(super) fn add(&mut self, frames: &[Option<FrameQuality>]) {
        for frame in frames.iter().flatten() {
            self.snr_db += frame.snr_db;
            self.c50_db += frame.c50_db;
            self.n_frames += 1.0;
        }
    }

    /// Means in dB to one decimal, signal-to-noise ratio and C50; none without a frame.
    fn means_db(&self) -> Option<(f32, f32)> {
        let mean = |sum: f32| (sum / self.n_frames * 10.0).round() / 10.0;
        (self.n_frames > 0.0).then(|| (mean(self.snr_db), mean(self.c50_db)))
    }
}

impl Region {
    /// The frames of a stretch that the network told of, as far as they are still held.
    pub(super) fn quality_frames(&self, range: SampleRange) -> &[Option<FrameQuality>] {
        let place = |at| self.frames.index(at).min(self.frames.quality.len());
        &self.frames.quality[place(range.start())..place(range.end())]
    }
}

impl Labeller {
    /// Signal-to-noise ratio and C50 of a segment in dB, `range` being its part in the zone and `from_head` whether it
    /// began before: by the network, or else the ratio alone by the levels of speech and pauses.
    pub(super) fn quality_db(&self, range: SampleRange, from_head: bool) -> (Option<f32>, Option<f32>) {
        let Some(region) = &self.region else { return (None, None) };
        let mut sum = if from_head { region.head_quality } else { QualitySum::default() };
        sum.add(region.quality_frames(range));
        match sum.means_db() {
            Some((snr_db, c50_db)) => (Some(snr_db), Some(c50_db)),
            None => (self.level_snr_db(range), None),
        }
    }

    fn level_snr_db(&self, range: SampleRange) -> Option<f32> {
        let region = self.region.as_ref()?;
        let (first, end) = (region.frames.index(range.start()), region.frames.index(range.end()));
        let frames = region.frames.db.get(first..end.min(region.frames.db.len()))?;
        if frames.is_empty() {
            return None;
        }
        let mean_power = frames.iter().map(|db| 10.0_f32.powf(db / 10.0)).sum::<f32>() / frames.len() as f32;
        let noise_power = 10.0_f32.powf(self.noise_db? / 10.0);
        let speech_power = (mean_power - noise_power).max(noise_power * 1e-2);
        Some((10.0 * (speech_power / noise_power).log10() * 10.0).round() / 10.0)
    }
}
