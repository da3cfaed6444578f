//! Voice activity by the WebRTC detector: one raw decision per 10 ms frame.

use webrtc_vad::SampleRate;

use crate::frame_cutter::{FRAME_SAMPLES, Frame, FrameCutter};

/// How readily a frame is called speech. Each step up misses more speech and lets less noise pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VadMode {
    /// Misses the least speech, passes the most noise.
    Quality,
    /// A little stricter than [`Quality`](Self::Quality).
    LowBitrate,
    /// Strict.
    Aggressive,
    /// Passes the least noise, misses the most speech. The best of the four on meetings recorded from afar,
    /// where the others call most of the room's noise speech.
    #[default]
    VeryAggressive,
}

impl From<VadMode> for webrtc_vad::VadMode {
    fn from(mode: VadMode) -> Self {
        match mode {
            VadMode::Quality => Self::Quality,
            VadMode::LowBitrate => Self::LowBitrate,
            VadMode::Aggressive => Self::Aggressive,
            VadMode::VeryAggressive => Self::VeryAggressive,
        }
    }
}

/// The detector of the C library, made movable between threads.
struct Detector(webrtc_vad::Vad);

// SAFETY: `webrtc_vad::Vad` is `!Send` only because it holds a raw pointer. It is that pointer's sole owner:
// it comes from `fvad_new` (one `malloc`), is neither `Clone` nor `Copy`, is never handed out, and goes to
// `fvad_free` once, on drop. libfvad keeps all of its state behind it and has no mutable statics and no
// thread-local data, so which thread calls makes no difference. Every call takes `&mut self`, and `Detector`
// is not `Sync`, so no two threads use it at once.
#[allow(unsafe_code)]
unsafe impl Send for Detector {}

/// The WebRTC voice activity detector (a Gaussian mixture over six sub-band energies) at 16 kHz.
///
/// Takes blocks of any size and gives one raw decision per 10 ms frame: decision `k` covers samples
/// `[160 k, 160 (k + 1))`. The detector adapts to the noise, so its first seconds are its least certain, and
/// it has a short hangover of its own (up to 14 frames, fewer in the stricter modes). Look-ahead: 10 ms.
/// Cost: about 1.2 µs per frame; no allocation after [`Vad::new`]. `Send`, for one thread at a time.
pub struct Vad {
    detector: Detector,
    mode: VadMode,
    cutter: FrameCutter,
}

impl std::fmt::Debug for Vad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vad").field("mode", &self.mode).field("cutter", &self.cutter).finish_non_exhaustive()
    }
}

impl Vad {
    /// A detector at the start of a stream. Allocates its state (under 2 kB), here only.
    #[must_use]
    pub fn new(mode: VadMode) -> Self {
        let detector = webrtc_vad::Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, mode.into());
        Self { detector: Detector(detector), mode, cutter: FrameCutter::new() }
    }

    /// The mode given at construction.
    #[must_use]
    pub fn mode(&self) -> VadMode {
        self.mode
    }

    /// Adds `samples` (mono, 16 kHz, full scale ±1) and calls `on_decision` once for each 10 ms frame that
    /// they complete, `true` for speech.
    ///
    /// Samples outside ±1 are clipped, NaN counts as 0.
    pub fn push(&mut self, samples: &[f32], mut on_decision: impl FnMut(bool)) {
        let Self { detector, cutter, .. } = self;
        cutter.push(samples, |frame| on_decision(detector.decide(frame)));
    }

    /// Decides about one frame. For callers that cut frames themselves; not to be mixed with
    /// [`push`](Self::push) inside one stream, because samples waiting in `push` are not seen here.
    pub fn decide(&mut self, frame: &Frame) -> bool {
        self.detector.decide(frame)
    }

    /// Decisions that [`push`](Self::push) has given so far.
    #[must_use]
    pub fn n_frames(&self) -> u64 {
        self.cutter.n_frames()
    }

    /// Samples that wait for the rest of their frame, in `0..160`. What waits at the end of a stream gets no
    /// decision.
    #[must_use]
    pub fn n_pending(&self) -> usize {
        self.cutter.n_pending()
    }

    /// Goes back to the start of a stream: the adapted noise model and a partial frame are forgotten.
    pub fn reset(&mut self) {
        self.detector.0.reset();
        // The library's reset also falls back to 8 kHz and the first mode.
        self.detector.0.set_sample_rate(SampleRate::Rate16kHz);
        self.detector.0.set_mode(self.mode.into());
        self.cutter.reset();
    }
}

impl Detector {
    fn decide(&mut self, frame: &Frame) -> bool {
        let mut pcm = [0i16; FRAME_SAMPLES];
        for (to, from) in pcm.iter_mut().zip(frame) {
            // `as` saturates and turns NaN into 0.
            *to = (from * 32_768.0).round() as i16;
        }
        self.0.is_voice_segment(&pcm).expect("160 samples at 16 kHz are 10 ms, a length the detector takes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_signal::{noise, speech_like};
    use proptest::prelude::*;

    const MODES: [VadMode; 4] =
        [VadMode::Quality, VadMode::LowBitrate, VadMode::Aggressive, VadMode::VeryAggressive];

    fn decisions(vad: &mut Vad, samples: &[f32]) -> Vec<bool> {
        let mut got = Vec::new();
        vad.push(samples, |speech| got.push(speech));
        got
    }

    fn share(decisions: &[bool]) -> f32 {
        decisions.iter().filter(|&&speech| speech).count() as f32 / decisions.len() as f32
    }

    /// Two seconds of faint noise, two of voiced sound over it, two of noise.
    fn quiet_loud_quiet() -> Vec<f32> {
        let mut samples = noise(96_000, 0.000_5, 1);
        for (to, from) in samples[32_000..64_000].iter_mut().zip(speech_like(32_000, 0.3)) {
            *to += from;
        }
        samples
    }

    #[test]
    fn voiced_sound_is_speech_and_faint_noise_is_not() {
        for mode in MODES {
            let got = decisions(&mut Vad::new(mode), &quiet_loud_quiet());
            assert_eq!(got.len(), 600);
            assert!(share(&got[100..200]) < 0.05, "{mode:?} hears speech in faint noise");
            assert!(share(&got[205..400]) > 0.7, "{mode:?} misses speech: {}", share(&got[205..400]));
            assert!(share(&got[420..]) < 0.05, "{mode:?} does not let go");
        }
    }

    #[test]
    fn stricter_modes_call_no_more_speech() {
        let samples = quiet_loud_quiet();
        let shares: Vec<f32> =
            MODES.iter().map(|&mode| share(&decisions(&mut Vad::new(mode), &samples))).collect();
        assert!(shares.windows(2).all(|pair| pair[1] <= pair[0]), "{shares:?}");
    }

    #[test]
    fn reset_equals_new() {
        let samples = quiet_loud_quiet();
        for mode in MODES {
            let mut used = Vad::new(mode);
            used.push(&speech_like(20_123, 0.9), |_| ());
            used.reset();
            assert_eq!((used.n_frames(), used.n_pending()), (0, 0));
            assert_eq!(decisions(&mut used, &samples), decisions(&mut Vad::new(mode), &samples), "{mode:?}");
        }
    }

    #[test]
    fn what_is_no_number_or_out_of_range_is_survived() {
        let mut vad = Vad::new(VadMode::Quality);
        let samples = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MIN_POSITIVE];
        assert_eq!(decisions(&mut vad, &samples.repeat(160)).len(), 6);
    }

    #[test]
    fn a_detector_may_move_to_another_thread() {
        let samples = quiet_loud_quiet();
        let (first, second) = samples.split_at(50_000);
        let mut vad = Vad::new(VadMode::Aggressive);
        let mut moved = decisions(&mut vad, first);
        let rest = second.to_vec();
        moved.extend(std::thread::spawn(move || decisions(&mut vad, &rest)).join().unwrap());
        assert_eq!(moved, decisions(&mut Vad::new(VadMode::Aggressive), &samples));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn decisions_do_not_depend_on_the_split(cuts in prop::collection::vec(0usize..96_000, 0..40)) {
            let samples = quiet_loud_quiet();
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (mut vad, mut got, mut from) = (Vad::new(VadMode::Aggressive), Vec::new(), 0);
            for to in cuts.into_iter().chain([samples.len()]) {
                got.extend(decisions(&mut vad, &samples[from..to]));
                from = to;
            }
            prop_assert_eq!(got, decisions(&mut Vad::new(VadMode::Aggressive), &samples));
        }
    }
}
