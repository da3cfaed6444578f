//! What governs the diarizer: one checked set of values, each with its unit, range and reason.

use super::clustering::MemoryParams;
use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};

/// What tells speech from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpeechDetector {
    /// The network of [`Segmenter`](crate::Segmenter); answers 0.2 to 0.3 s late.
    Network,
    /// webrtc-vad.
    WebRtc {
        /// How eager it is to call a frame noise, 0 to 3.
        mode: u8,
    },
}

/// Values of a [`DiarizerParams`] before they are checked. [`DiarizerOptions::default`] is what the measurements
/// in `docs/` chose; times are in milliseconds, evidence in natural-log likelihood ratios.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DiarizerOptions {
    /// Length of a full window. Default 1500, range 500–5000, in tens.
    pub window_ms: u32,
    /// Distance between windows. Default 250, range 50–2000, in tens.
    pub step_ms: u32,
    /// Speech that must be heard before a first label is given. Default 800, range 300–`window_ms`, in tens.
    pub first_label_ms: u32,
    /// The newest so much audio waits for a label: what comes after a change of speaker is what tells it. A region's
    /// first label does not wait, nor does what a pause ends. Default 800, range 0–3000, at most `settle_ms`.
    pub hold_back_ms: u32,
    /// How long labels stay provisional before they are settled. Default 3000, range 500–30000.
    pub settle_ms: u32,
    /// What tells speech from the rest. Default the network.
    pub vad: SpeechDetector,
    /// Above this speech begins: the network's probability, or the share of frames that webrtc-vad calls voiced.
    /// Default 0.97, range 0–1; 0.6 goes with webrtc-vad.
    pub vad_onset: f32,
    /// Below this speech ends. Default 0.5, range 0–`vad_onset`; 0.35 goes with webrtc-vad.
    pub vad_offset: f32,
    /// Shorter speech is dropped. Default 150, range 0–2000.
    pub min_speech_ms: u32,
    /// Shorter pauses are bridged. Default 400, range 0–5000.
    pub min_silence_ms: u32,
    /// A pause up to this long between two stretches of one speaker's speech is part of the turn. Default 800, range
    /// 0–5000.
    pub bridge_ms: u32,
    /// Added to both ends of a region. Default 50, range 0–500.
    pub pad_ms: u32,
    /// Above this probability that two people speak a second one is labelled; 1 never labels one. Needs the network.
    /// Default 0.4, range 0–1.
    pub overlap_onset: f32,
    /// No more speakers than this. Default none, range 1–1000.
    pub max_speakers: Option<usize>,
    /// Number of speakers: never more at any moment, and this number at the end if the speech can be split so far. Default
    /// none, range 1–1000.
    pub expected_speakers: Option<usize>,
    /// Log evidence by which a clustering must beat the labels as they stand, so that labels do not flap.
    /// Default 2.0.
    pub stick_llr: f32,
    /// Log evidence beyond even by which a voice must fit nobody known to be somebody new at once. Default 8.0.
    pub new_speaker_llr: f32,
    /// Price of a change of speaker between windows. Default 4.0, at least 0.
    pub switch_cost: f32,
    /// Evidence of a quarter of a second of speech: neighbouring windows share most of their sound, so each counts
    /// for much less than one. More of it finds more speakers. In clusterings of more than three minutes of speech it
    /// fades. Default 0.14, range 0.001–1.
    pub voice_weight: f32,
    /// Windows in a row that must fit no one before a new speaker is opened. Default 3, at least 1.
    pub new_speaker_windows: usize,
    /// A speaker with less clean speech than this is joined to the one that fits best. Default 1250.
    pub min_speaker_ms: u32,
    /// Exemplars that the session remembers; bounds its memory and the cost of clustering. Default 1024, range
    /// 64–4096.
    pub max_exemplars: usize,
    /// Whether everything is clustered once more at the end of the stream. Default true.
    pub final_pass: bool,
}

impl Default for DiarizerOptions {
    fn default() -> Self {
        Self {
            window_ms: 1500,
            step_ms: 250,
            first_label_ms: 800,
            hold_back_ms: 800,
            settle_ms: 3000,
            vad: SpeechDetector::Network,
            vad_onset: 0.97,
            vad_offset: 0.5,
            min_speech_ms: 150,
            min_silence_ms: 400,
            bridge_ms: 800,
            pad_ms: 50,
            overlap_onset: 0.4,
            max_speakers: None,
            expected_speakers: None,
            stick_llr: 2.0,
            new_speaker_llr: 8.0,
            switch_cost: 4.0,
            voice_weight: 0.14,
            new_speaker_windows: 3,
            min_speaker_ms: 1250,
            max_exemplars: 1024,
            final_pass: true,
        }
    }
}

/// A value outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} ({got}) must be {rule}")]
pub struct ParamError {
    /// The field of [`DiarizerOptions`].
    pub name: &'static str,
    /// The value given.
    pub got: String,
    /// What it must be.
    pub rule: String,
}

/// Checked values.
#[derive(Debug, Clone, PartialEq)]
pub struct DiarizerParams(DiarizerOptions);

impl DiarizerParams {
    /// Checks `options`.
    ///
    /// # Errors
    /// Every fault at once, in the order of the fields.
    pub fn try_new(options: DiarizerOptions) -> Result<Self, Vec<ParamError>> {
        let mut faults = Vec::new();
        let o = &options;
        let mut check = |name: &'static str, ok: bool, got: String, rule: String| {
            if !ok {
                faults.push(ParamError { name, got, rule });
            }
        };
        let tens = |v: u32, low: u32, high: u32| v.is_multiple_of(10) && (low..=high).contains(&v);
        let ranged = |low: u32, high: u32| format!("a multiple of 10 in {low}..={high} ms");
        check("window_ms", tens(o.window_ms, 500, 5000), o.window_ms.to_string(), ranged(500, 5000));
        check("step_ms", tens(o.step_ms, 50, 2000), o.step_ms.to_string(), ranged(50, 2000));
        check(
            "first_label_ms",
            tens(o.first_label_ms, 300, o.window_ms),
            o.first_label_ms.to_string(),
            format!("a multiple of 10 in 300..=window_ms ({})", o.window_ms),
        );
        let plain = |low: u32, high: u32| format!("in {low}..={high} ms");
        for (name, got, low, high) in [
            ("settle_ms", o.settle_ms, 500, 30_000),
            ("min_speech_ms", o.min_speech_ms, 0, 2000),
            ("min_silence_ms", o.min_silence_ms, 0, 5000),
            ("bridge_ms", o.bridge_ms, 0, 5000),
            ("pad_ms", o.pad_ms, 0, 500),
            ("min_speaker_ms", o.min_speaker_ms, 0, 60_000),
        ] {
            check(name, (low..=high).contains(&got), got.to_string(), plain(low, high));
        }
        check(
            "hold_back_ms",
            o.hold_back_ms <= o.settle_ms.min(3000),
            o.hold_back_ms.to_string(),
            format!("in 0..=3000 ms and at most settle_ms ({})", o.settle_ms),
        );
        if let SpeechDetector::WebRtc { mode } = o.vad {
            check("vad mode", mode <= 3, mode.to_string(), "in 0..=3".to_owned());
        }
        check(
            "vad_onset",
            (0.0..=1.0).contains(&o.vad_onset),
            o.vad_onset.to_string(),
            "in 0..=1".to_owned(),
        );
        check(
            "vad_offset",
            (0.0..=o.vad_onset).contains(&o.vad_offset),
            o.vad_offset.to_string(),
            format!("in 0..=vad_onset ({})", o.vad_onset),
        );
        check(
            "overlap_onset",
            (0.0..=1.0).contains(&o.overlap_onset),
            o.overlap_onset.to_string(),
            "in 0..=1".to_owned(),
        );
        for (name, hint) in [("max_speakers", o.max_speakers), ("expected_speakers", o.expected_speakers)] {
            let ok = hint.is_none_or(|n| (1..=1000).contains(&n));
            check(name, ok, format!("{}", hint.unwrap_or(0)), "in 1..=1000".to_owned());
        }
        if let (Some(most), Some(expected)) = (o.max_speakers, o.expected_speakers) {
            let rule = format!("at most max_speakers ({most})");
            check("expected_speakers", expected <= most, expected.to_string(), rule);
        }
        for (name, got) in [("stick_llr", o.stick_llr), ("new_speaker_llr", o.new_speaker_llr)] {
            check(name, got.abs() <= 50.0, got.to_string(), "in -50..=50".to_owned());
        }
        check(
            "switch_cost",
            (0.0..=100.0).contains(&o.switch_cost),
            o.switch_cost.to_string(),
            "in 0..=100".to_owned(),
        );
        check(
            "voice_weight",
            (0.001..=1.0).contains(&o.voice_weight),
            o.voice_weight.to_string(),
            "in 0.001..=1".to_owned(),
        );
        check(
            "new_speaker_windows",
            (1..=100).contains(&o.new_speaker_windows),
            o.new_speaker_windows.to_string(),
            "in 1..=100".to_owned(),
        );
        check(
            "max_exemplars",
            (64..=4096).contains(&o.max_exemplars),
            o.max_exemplars.to_string(),
            "in 64..=4096".to_owned(),
        );
        if faults.is_empty() { Ok(Self(options)) } else { Err(faults) }
    }

    /// The values.
    #[must_use]
    pub fn options(&self) -> &DiarizerOptions {
        &self.0
    }

    pub(crate) fn memory(&self) -> MemoryParams {
        MemoryParams {
            stick_llr: self.0.stick_llr,
            window_weight: self.window_weight(),
            window_s: self.0.step_ms as f32 / 1000.0,
            min_speaker_windows: self.0.min_speaker_ms as f32 / self.0.step_ms as f32,
            max_exemplars: self.0.max_exemplars,
            max_speakers: self.0.max_speakers,
            expected_speakers: self.0.expected_speakers,
        }
    }

    /// Up to where running speech bears labels when audio up to `heard` is known.
    pub(crate) fn shown_when(&self, heard: SampleIndex) -> SampleIndex {
        heard.minus(samples(self.0.hold_back_ms))
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
        samples(self.0.bridge_ms)
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
        self.0.voice_weight * self.0.step_ms as f32 / 250.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let options = DiarizerOptions {
            window_ms: 1505,
            vad: SpeechDetector::WebRtc { mode: 9 },
            vad_offset: 0.98,
            max_speakers: Some(2),
            expected_speakers: Some(3),
            ..DiarizerOptions::default()
        };
        let faults = DiarizerParams::try_new(options).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|f| f.name).collect();
        assert_eq!(names, ["window_ms", "vad mode", "vad_offset", "expected_speakers"]);
        assert_eq!(faults[2].to_string(), "vad_offset (0.98) must be in 0..=vad_onset (0.97)");
    }
}
