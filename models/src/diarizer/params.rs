//! What governs the diarizer: one checked set of values, each with its unit, range and reason.

use super::clustering::MemoryParams;
use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
pub use diarized_parameters::{DiarizerOptions, Fault, SpeechDetector};

/// Checked values.
#[derive(Debug, Clone, PartialEq)]
pub struct DiarizerParams(DiarizerOptions);

impl DiarizerParams {
    /// Checks `options`.
    ///
    /// # Errors
    /// Every fault at once, in the order of the fields.
    pub fn try_new(options: DiarizerOptions) -> Result<Self, Vec<Fault>> {
        let faults = options.faults();
        if faults.is_empty() { Ok(Self(options)) } else { Err(faults) }
    }

    /// The values.
    #[must_use]
    pub fn options(&self) -> &DiarizerOptions {
        &self.0
    }

    pub(crate) fn memory(&self) -> MemoryParams {
        MemoryParams {
            recluster_margin_llr: self.0.recluster_margin_llr,
            window_weight: self.window_weight(),
            window_s: self.0.step_ms as f32 / 1000.0,
            min_speaker_windows: self.0.min_speaker_ms as f32 / self.0.step_ms as f32,
            max_exemplars: self.0.max_exemplars,
            max_speakers: self.0.max_speakers,
            expected_speakers: self.0.expected_speakers,
        }
    }

    /// Position up to which running speech is labelled when audio up to `heard` is known.
    pub(crate) fn shown_when(&self, heard: SampleIndex) -> SampleIndex {
        heard.minus(samples(self.0.label_delay_ms))
    }

    /// Time between windows.
    pub(crate) fn step_samples(&self) -> u64 {
        samples(self.0.step_ms)
    }

    pub(crate) fn settle_samples(&self) -> u64 {
        samples(self.0.settle_ms)
    }

    /// Log odds above which two people are believed to speak; infinite if nobody is ever.
    pub(crate) fn overlap_onset(&self) -> f32 {
        if self.0.overlap_onset < 1.0 { log_odds(self.0.overlap_onset) } else { f32::INFINITY }
    }

    pub(crate) fn bridge_samples(&self) -> u64 {
        samples(self.0.max_turn_pause_ms)
    }

    /// Length of a full window in frames of 10 ms.
    pub(crate) fn window_frames(&self) -> u64 {
        u64::from(self.0.window_ms / 10)
    }

    pub(crate) fn new_speaker_llr(&self) -> f32 {
        self.0.new_speaker_llr
    }

    /// No more speakers than this are shown at any moment.
    pub(crate) fn max_shown_speakers(&self) -> usize {
        self.0.max_speakers.or(self.0.expected_speakers).unwrap_or(usize::MAX)
    }

    pub(crate) fn switch_cost(&self) -> f32 {
        self.0.switch_cost
    }

    /// Evidence of one full window.
    pub(crate) fn window_weight(&self) -> f32 {
        self.0.acoustic_scale * self.0.step_ms as f32 / 250.0
    }

    pub(crate) fn new_speaker_windows(&self) -> usize {
        self.0.new_speaker_windows
    }

    pub(crate) fn final_pass(&self) -> bool {
        self.0.final_pass
    }

    /// A boundary may move by a window's step to find a pause.
    pub(crate) fn boundary_reach_samples(&self) -> u64 {
        samples(self.0.step_ms)
    }

    /// How far a window may reach into a neighbour's turn and still count as clean: a fifth of its length.
    pub(crate) fn straddle_samples(&self) -> u64 {
        samples(self.0.window_ms) / 5
    }

    /// Windows in one exemplar: about half a second of new speech.
    pub(crate) fn exemplar_windows(&self) -> usize {
        (500 / self.0.step_ms).clamp(1, 8) as usize
    }

    /// New exemplars that a clustering of `held` of them waits for: a long memory is worth less new light, and costs
    /// more.
    pub(crate) fn recluster_exemplars(&self, held: usize) -> usize {
        (held / 16).max(8)
    }
}

/// Of a probability; those of 0 and 1 are bounded.
pub(crate) fn log_odds(p: f32) -> f32 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

fn samples(ms: u32) -> u64 {
    u64::from(ms) * u64::from(SAMPLE_RATE_HZ) / 1000
}
