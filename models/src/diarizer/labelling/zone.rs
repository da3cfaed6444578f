//! The unsettled part of the open region of speech, as plain data: windows, frames and the segments that show it.

use std::collections::VecDeque;
use std::ops::Range;

use diarized_dsp::{SampleIndex, SampleRange};

use crate::diarizer::clustering::SecondEmbedding;
use crate::diarizer::front_end::{FrameMeasures, FrameQuality};
use crate::embedding::Embedding;
use crate::events::{SegmentId, SpeakerId};

/// Samples of one frame: 10 ms.
pub(super) const FRAME_SAMPLES: u64 = 160;
/// Share of frames with overlap above which a window is mixed.
const MIXED_SHARE: f32 = 0.3;

/// One embedded window of the open region.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) support: SampleRange,
    pub(super) embedding: Embedding,
    pub(super) second: SecondEmbedding,
    /// The projected embedding times `trust`, shape `(plda_dim,)`.
    pub(super) projected: Vec<f32>,
    /// Weight of the window's evidence.
    pub(super) trust: f32,
    /// Whether the window has its full length. A short one is repeated until it has.
    pub(super) full: bool,
    /// Speaker by the latest decoding.
    pub(super) label: Option<SpeakerId>,
}

impl Window {
    /// Middle of the support, in samples.
    pub(super) fn centre(&self) -> u64 {
        (self.support.start().0 + self.support.end().0) / 2
    }
}

/// A run of equally labelled unsettled windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Indices of the windows in the zone.
    pub(super) windows: Range<usize>,
    pub(super) speaker: SpeakerId,
    pub(super) range: SampleRange,
}

/// Measures of each frame of the open region. Frames before the unsettled part are dropped step by step.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Sample at which the first frame starts.
    start: u64,
    /// Level in dBFS.
    pub(super) db: Vec<f32>,
    /// Signal-to-noise ratio and C50, for frames with speech where the segmenter gives them.
    pub(super) quality: Vec<Option<FrameQuality>>,
    /// Log odds that two or more people speak. Known later than the level.
    pub(super) overlap: Vec<f32>,
}

impl Frames {
    /// Adds measures, each to its own series.
    pub(super) fn add(&mut self, measures: &FrameMeasures) {
        self.db.extend_from_slice(&measures.db);
        self.quality.extend_from_slice(&measures.quality);
        self.overlap.extend_from_slice(&measures.overlap);
    }

    /// Index of the frame that holds the sample `at`; 0 for earlier samples.
    pub(super) fn index(&self, at: SampleIndex) -> usize {
        (at.0.saturating_sub(self.start) / FRAME_SAMPLES) as usize
    }

    /// Start of a frame.
    pub(super) fn position(&self, frame: usize) -> SampleIndex {
        SampleIndex(self.start + frame as u64 * FRAME_SAMPLES)
    }

    /// Frames of `range` in a list of `n_known` frames.
    fn span(&self, range: SampleRange, n_known: usize) -> Range<usize> {
        self.index(range.start()).min(n_known)..self.index(range.end()).min(n_known)
    }

    /// Drops the frames before `settled` except the last `n_kept` of them.
    fn drop_before(&mut self, settled: SampleIndex, n_kept: usize) {
        let n = self.index(settled).saturating_sub(n_kept).min(self.db.len());
        self.db.drain(..n);
        self.quality.drain(..n.min(self.quality.len()));
        self.overlap.drain(..n.min(self.overlap.len()));
        self.start += n as u64 * FRAME_SAMPLES;
    }
}

/// Sums of signal-to-noise ratio and C50 over frames with speech.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QualitySum {
    snr_db: f32,
    c50_db: f32,
    n_frames: f32,
}

impl QualitySum {
    fn add(&mut self, frames: &[Option<FrameQuality>]) {
        for frame in frames.iter().flatten() {
            self.snr_db += frame.snr_db;
            self.c50_db += frame.c50_db;
            self.n_frames += 1.0;
        }
    }

    /// Means in dB to one decimal: signal-to-noise ratio and C50. `None` without a frame.
    fn means_db(&self) -> Option<(f32, f32)> {
        let mean = |sum: f32| (sum / self.n_frames * 10.0).round() / 10.0;
        (self.n_frames > 0.0).then(|| (mean(self.snr_db), mean(self.c50_db)))
    }
}

/// The open region of speech behind its settled part.
#[derive(Debug)]
pub(super) struct Zone {
    /// End of the settled part.
    pub(super) unsettled_start: SampleIndex,
    /// Labels are published up to here.
    pub(super) published_until: SampleIndex,
    /// Unsettled windows, in order of time.
    pub(super) windows: VecDeque<Window>,
    /// Latest settled windows, kept for overlap that is not settled yet.
    pub(super) settled_windows: VecDeque<Window>,
    /// Second speakers are settled up to here.
    pub(super) overlap_settled_until: SampleIndex,
    /// Published segments of second speakers that may still change.
    pub(super) second_speaker_segments: Vec<SegmentId>,
    /// The segment before the region, where the pause between is short enough for one turn.
    pub(super) previous_segment: Option<SegmentId>,
    /// The segment that got the latest settled windows. The unsettled part may continue it.
    pub(super) open_segment: Option<SegmentId>,
    /// Quality of the settled part of `open_segment`.
    pub(super) open_segment_quality: QualitySum,
    /// Published segments of the unsettled part after `open_segment`, in order of time.
    pub(super) unsettled_segments: Vec<SegmentId>,
    pub(super) frames: Frames,
    /// Whether exemplars were made of a part of this region.
    pub(super) has_exemplars: bool,
}

impl Zone {
    /// A region that begins at `start`.
    pub(super) fn new(start: SampleIndex, previous_segment: Option<SegmentId>) -> Self {
        Self {
            unsettled_start: start,
            published_until: start,
            windows: VecDeque::new(),
            settled_windows: VecDeque::new(),
            overlap_settled_until: start,
            second_speaker_segments: Vec::new(),
            previous_segment,
            open_segment: None,
            open_segment_quality: QualitySum::default(),
            unsettled_segments: Vec::new(),
            frames: Frames { start: start.0, ..Frames::default() },
            has_exemplars: false,
        }
    }

    /// End of the latest window.
    pub(super) fn windows_end(&self) -> Option<SampleIndex> {
        self.windows.back().map(|window| window.support.end())
    }

    /// Where a speaker opened with this unsettled window begins.
    pub(super) fn start_of_window(&self, window_idx: usize) -> SampleIndex {
        if window_idx == 0 { self.unsettled_start } else { self.windows[window_idx].support.start() }
    }

    /// Gives unsettled windows to `speaker`.
    pub(super) fn label(&mut self, windows: Range<usize>, speaker: SpeakerId) {
        self.windows.range_mut(windows).for_each(|window| window.label = Some(speaker));
    }

    /// Weighted sum, shape `(dim,)`, and weight of unsettled windows.
    pub(super) fn sum_of(&self, windows: Range<usize>, dim: usize) -> (Vec<f32>, f32) {
        add_up(self.windows.range(windows), dim)
    }

    /// The same of all windows, settled or not, with their centre at most `reach` samples from `range`.
    pub(super) fn sum_around(&self, range: SampleRange, reach: u64, dim: usize) -> (Vec<f32>, f32) {
        let (low, high) = (range.start().minus(reach).0, range.end().plus(reach).0);
        let all = self.settled_windows.iter().chain(&self.windows);
        add_up(all.filter(|window| (low..high).contains(&window.centre())), dim)
    }

    /// Gives the unsettled windows of `from` to `into`.
    pub(super) fn relabel(&mut self, from: SpeakerId, into: SpeakerId) {
        for window in self.windows.iter_mut().filter(|window| window.label == Some(from)) {
            window.label = Some(into);
        }
    }

    /// Whether two people speak in a good part of `range`, by frames with overlap log odds above `onset`.
    pub(super) fn is_mixed(&self, range: SampleRange, onset: f32) -> bool {
        let frames = &self.frames.overlap[self.frames.span(range, self.frames.overlap.len())];
        let n_mixed = frames.iter().filter(|odds| **odds > onset).count();
        n_mixed as f32 > MIXED_SHARE * (range.len() / FRAME_SAMPLES) as f32
    }

    /// Adds the settled part `settled` of segment `id` to the quality of the open segment, and makes `id` that
    /// segment. Returns the open segment before.
    pub(super) fn settle_segment(&mut self, id: SegmentId, settled: SampleRange) -> Option<SegmentId> {
        self.unsettled_segments.retain(|other| *other != id);
        if self.open_segment != Some(id) {
            self.open_segment_quality = QualitySum::default();
        }
        let frames = self.frames.span(settled, self.frames.quality.len());
        self.open_segment_quality.add(&self.frames.quality[frames]);
        self.open_segment.replace(id)
    }

    /// Moves the first `n` windows to the settled ones; the unsettled part begins at `boundary`.
    pub(super) fn settle_windows(&mut self, n: usize, boundary: SampleIndex) {
        self.settled_windows.extend(self.windows.drain(..n));
        self.unsettled_start = boundary.max(self.unsettled_start);
    }

    /// Drops frames that nothing needs any more, but for `n_kept` of them.
    pub(super) fn drop_frames(&mut self, n_kept: usize) {
        self.frames.drop_before(self.unsettled_start.min(self.overlap_settled_until), n_kept);
    }

    /// Signal-to-noise ratio and C50 in dB of a segment whose unsettled part is `range`, and whose settled part counts
    /// with `continues`. Without the segmenter's measures the ratio comes from levels, with a noise floor of `noise_db`.
    pub(super) fn quality_db(
        &self,
        range: SampleRange,
        continues: bool,
        noise_db: Option<f32>,
    ) -> (Option<f32>, Option<f32>) {
        let mut sum = if continues { self.open_segment_quality } else { QualitySum::default() };
        sum.add(&self.frames.quality[self.frames.span(range, self.frames.quality.len())]);
        match sum.means_db() {
            Some((snr_db, c50_db)) => (Some(snr_db), Some(c50_db)),
            None => (self.level_snr_db(range, noise_db), None),
        }
    }

    fn level_snr_db(&self, range: SampleRange, noise_db: Option<f32>) -> Option<f32> {
        let (first, end) = (self.frames.index(range.start()), self.frames.index(range.end()));
        let frames = self.frames.db.get(first..end.min(self.frames.db.len()))?;
        if frames.is_empty() {
            return None;
        }
        let mean_power = frames.iter().map(|db| 10.0_f32.powf(db / 10.0)).sum::<f32>() / frames.len() as f32;
        let noise_power = 10.0_f32.powf(noise_db? / 10.0);
        let speech_power = (mean_power - noise_power).max(noise_power * 1e-2);
        Some((10.0 * (speech_power / noise_power).log10() * 10.0).round() / 10.0)
    }
}

fn add_up<'a>(windows: impl Iterator<Item = &'a Window>, dim: usize) -> (Vec<f32>, f32) {
    let mut sum = vec![0.0_f32; dim];
    let mut weight = 0.0;
    for window in windows {
        sum.iter_mut().zip(&window.projected).for_each(|(mine, other)| *mine += other);
        weight += window.trust;
    }
    (sum, weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{ANN, BOB, at, range, zone};

    #[test]
    fn dropped_frames_leave_the_others_where_they_are() {
        let mut zone = zone(&[(ANN, None); 4]);
        (zone.unsettled_start, zone.overlap_settled_until) = (at(1.0), at(0.9));
        zone.frames.db[85] = -50.0;
        zone.frames.overlap = vec![-4.0; 95];
        let n_before = zone.frames.db.len();
        zone.drop_frames(10);
        assert_eq!(zone.frames.db.len(), n_before - 80, "overlap is settled up to frame 90");
        assert_eq!(zone.frames.overlap.len(), 15);
        let frame = zone.frames.index(at(0.85));
        assert_eq!((frame, zone.frames.db[frame], zone.frames.position(frame)), (5, -50.0, at(0.85)));
    }

    #[test]
    fn quality_is_the_mean_over_frames_with_speech() {
        let mut zone = zone(&[(ANN, None); 4]);
        let frame = |snr_db| Some(FrameQuality { snr_db, c50_db: 30.0 });
        zone.frames.quality = vec![frame(10.0), None, frame(20.0), frame(40.0)];
        assert_eq!(zone.quality_db(range(0.0, 0.03), false, None), (Some(15.0), Some(30.0)));
        assert_eq!(zone.settle_segment(SegmentId(1), range(0.0, 0.03)), None);
        assert_eq!(zone.quality_db(range(0.03, 0.04), true, None).0, Some(23.3));
        assert_eq!(zone.settle_segment(SegmentId(2), range(0.03, 0.04)), Some(SegmentId(1)));
        assert_eq!(zone.quality_db(range(0.5, 0.6), true, None).0, Some(40.0), "another segment begins anew");
        // By level: speech at -30 dBFS over noise at -50 dBFS.
        assert_eq!(zone.quality_db(range(0.5, 0.6), false, Some(-50.0)), (Some(20.0), None));
        assert_eq!(zone.quality_db(range(0.5, 0.6), false, None), (None, None));
    }

    #[test]
    fn a_range_with_much_overlap_is_mixed() {
        let mut zone = zone(&[(ANN, None); 4]);
        zone.frames.overlap = [vec![-4.0; 60], vec![4.0; 40]].concat();
        assert!(zone.is_mixed(range(0.0, 1.0), 0.0));
        assert!(!zone.is_mixed(range(0.0, 0.8), 0.0));
        assert!(!zone.is_mixed(range(0.0, 1.0), 5.0));
        assert!(!zone.is_mixed(range(1.0, 2.0), 0.0), "overlap is not known yet");
    }

    #[test]
    fn sums_count_the_windows_around_a_range() {
        let mut zone = zone(&[(ANN, None), (BOB, None), (BOB, None)]);
        assert_eq!(zone.sum_of(0..2, 2), (vec![3.0, 3.0], 2.0));
        zone.settle_windows(1, at(0.6));
        assert_eq!((zone.windows.len(), zone.settled_windows.len(), zone.unsettled_start), (2, 1, at(0.6)));
        // Centres at 0.5, 0.75 and 1 s.
        assert_eq!(zone.sum_around(range(0.55, 0.6), 1600, 2), (vec![3.0, 0.0], 1.0));
        assert_eq!(zone.sum_around(range(0.55, 0.6), 8000, 2), (vec![3.0, 6.0], 3.0));
    }
}
