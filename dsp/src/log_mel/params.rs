//! The recipe of the log-mel features, and its check.

use super::choices::{Framing, MelTriangles, PreEmphasisAt, Spectrum, Window, WindowPosition};
use super::faults::{LogMelFault, LogMelFaults};
use crate::clock::SAMPLE_RATE_HZ;

/// A log-mel recipe as written down, not yet checked: the `[front_end]` table of a model. The default is the
/// front end of our own models: Kaldi-like, 25 ms frames every 10 ms, 80 bands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogMelRecipe {
    /// Rate of the input; must be 16 000 Hz.
    pub sample_rate_hz: u32,
    /// Factor on the input, which has full scale ±1: 32 768 for features computed on 16-bit numbers. Positive.
    pub scale: f32,
    /// Samples in a frame, 2 to `n_fft`.
    pub frame_length_samples: usize,
    /// Samples from one frame's start to the next one's, 1 to 16 000.
    pub hop_samples: usize,
    /// Length of the transform, even, 4 to 8 192.
    pub n_fft: usize,
    /// How the signal is cut.
    pub framing: Framing,
    /// The window of a frame.
    pub window: Window,
    /// Where the frame lies in the transform's span.
    pub window_position: WindowPosition,
    /// Whether each frame's mean is removed before all else.
    pub remove_dc: bool,
    /// Coefficient of the pre-emphasis, 0 (none) to below 1.
    pub pre_emphasis: f32,
    /// What is pre-emphasised.
    pub pre_emphasis_at: PreEmphasisAt,
    /// What the mel filters weigh.
    pub spectrum: Spectrum,
    /// Mel filters, 1 to 512. Filters narrower than a bin of the transform may come out empty; their feature is
    /// constant.
    pub n_mels: usize,
    /// Lower corner of the lowest filter, in Hz, from 0.
    pub low_hz: f32,
    /// Upper corner of the highest filter, in Hz, above `low_hz`, at most 8 000.
    pub high_hz: f32,
    /// On which axis the filters are triangles.
    pub mel_triangles: MelTriangles,
    /// Energies below this are raised to it before the logarithm; 0 for none.
    pub log_floor: f32,
    /// Added to the energy before the (natural) logarithm, after the floor; 0 for none. Floor and offset must
    /// not both be 0.
    pub log_offset: f32,
}

impl Default for LogMelRecipe {
    fn default() -> Self {
        Self {
            sample_rate_hz: SAMPLE_RATE_HZ,
            scale: 32_768.0,
            frame_length_samples: 400,
            hop_samples: 160,
            n_fft: 512,
            framing: Framing::SnipEdges,
            window: Window::Hamming,
            window_position: WindowPosition::Left,
            remove_dc: true,
            pre_emphasis: 0.97,
            pre_emphasis_at: PreEmphasisAt::Frame,
            spectrum: Spectrum::Power,
            n_mels: 80,
            low_hz: 20.0,
            high_hz: 7_600.0,
            mel_triangles: MelTriangles::Mel,
            // Kaldi's floor, the distance from 1 to the next f32.
            log_floor: f32::EPSILON,
            log_offset: 0.0,
        }
    }
}

impl LogMelRecipe {
    /// The recipe of the official NeXt-TDNN code: pre-emphasis over the signal, then torchaudio's
    /// `MelSpectrogram`. Goes with [`MeanNormalisation::Window`](super::MeanNormalisation::Window).
    #[must_use]
    pub fn official_next_tdnn() -> Self {
        Self {
            scale: 1.0,
            framing: Framing::CenterReflect,
            window: Window::HammingPeriodic,
            window_position: WindowPosition::Center,
            remove_dc: false,
            pre_emphasis_at: PreEmphasisAt::Signal,
            mel_triangles: MelTriangles::Hz,
            log_floor: 0.0,
            log_offset: 1e-6,
            ..Self::default()
        }
    }

    /// The recipe of SpeechBrain's ECAPA-TDNN, but for the logarithm, which there is in dB. Goes with
    /// [`MeanNormalisation::ClippedWindow`](super::MeanNormalisation::ClippedWindow) of 80 dB.
    #[must_use]
    pub fn speech_brain() -> Self {
        Self {
            scale: 1.0,
            n_fft: 400,
            framing: Framing::CenterZero,
            window: Window::HammingPeriodic,
            window_position: WindowPosition::Center,
            remove_dc: false,
            pre_emphasis: 0.0,
            low_hz: 0.0,
            high_hz: 8_000.0,
            mel_triangles: MelTriangles::HzEven,
            log_floor: 1e-10,
            ..Self::default()
        }
    }

    /// The recipe of VoicePersonification's models without its dither: Kaldi's fbank with mirrored edges. Goes
    /// with [`MeanNormalisation::Sliding`](super::MeanNormalisation::Sliding) over 300 frames.
    #[must_use]
    pub fn voice_personification() -> Self {
        Self { framing: Framing::KaldiMirror, ..Self::default() }
    }
}

/// A checked log-mel recipe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogMelParams(LogMelRecipe);

impl Default for LogMelParams {
    fn default() -> Self {
        Self::try_new(LogMelRecipe::default()).expect("the default recipe is checked by a test")
    }
}

impl TryFrom<LogMelRecipe> for LogMelParams {
    type Error = LogMelFaults;

    fn try_from(recipe: LogMelRecipe) -> Result<Self, LogMelFaults> {
        Self::try_new(recipe)
    }
}

impl LogMelParams {
    /// Checks a recipe.
    ///
    /// # Errors
    /// Every fault at once, each with its field, value and rule.
    pub fn try_new(recipe: LogMelRecipe) -> Result<Self, LogMelFaults> {
        let mut faults = Vec::new();
        let mut check = |ok: bool, field, got: f64, expected| {
            if !ok {
                faults.push(LogMelFault::OutOfRange { field, got, expected });
            }
        };
        let r = &recipe;
        check(r.sample_rate_hz == SAMPLE_RATE_HZ, "sample_rate_hz", r.sample_rate_hz.into(), "16000");
        check(r.scale.is_finite() && r.scale > 0.0, "scale", r.scale.into(), "finite and > 0");
        check(r.frame_length_samples >= 2, "frame_length_samples", r.frame_length_samples as f64, ">= 2");
        check((1..=16_000).contains(&r.hop_samples), "hop_samples", r.hop_samples as f64, "from 1 to 16000");
        check(
            (4..=8_192).contains(&r.n_fft) && r.n_fft.is_multiple_of(2),
            "n_fft",
            r.n_fft as f64,
            "even and from 4 to 8192",
        );
        check(
            (0.0..1.0).contains(&r.pre_emphasis),
            "pre_emphasis",
            r.pre_emphasis.into(),
            "from 0 to below 1",
        );
        check((1..=512).contains(&r.n_mels), "n_mels", r.n_mels as f64, "from 1 to 512");
        check((0.0..=8_000.0).contains(&r.low_hz), "low_hz", r.low_hz.into(), "from 0 to 8000");
        check((0.0..=8_000.0).contains(&r.high_hz), "high_hz", r.high_hz.into(), "from 0 to 8000");
        for (field, got) in [("log_floor", r.log_floor), ("log_offset", r.log_offset)] {
            check(got.is_finite() && got >= 0.0, field, got.into(), "finite and >= 0");
        }
        if r.frame_length_samples > r.n_fft {
            faults.push(LogMelFault::FrameLongerThanFft {
                frame_length_samples: r.frame_length_samples,
                n_fft: r.n_fft,
            });
        }
        if r.low_hz >= r.high_hz {
            faults.push(LogMelFault::EmptyBand { low_hz: r.low_hz, high_hz: r.high_hz });
        }
        if r.log_floor == 0.0 && r.log_offset == 0.0 {
            faults.push(LogMelFault::LogOfZero);
        }
        let expected = match r.framing {
            Framing::CenterReflect | Framing::CenterZero => WindowPosition::Center,
            Framing::SnipEdges | Framing::KaldiMirror => WindowPosition::Left,
        };
        if r.window_position != expected && r.frame_length_samples != r.n_fft {
            faults.push(LogMelFault::WindowPosition { got: r.window_position, expected, framing: r.framing });
        }
        if faults.is_empty() { Ok(Self(recipe)) } else { Err(LogMelFaults(faults)) }
    }

    /// The recipe, known to be good.
    #[must_use]
    pub fn recipe(&self) -> &LogMelRecipe {
        &self.0
    }

    /// Features in a frame.
    #[must_use]
    pub fn n_mels(&self) -> usize {
        self.0.n_mels
    }

    /// Samples from one frame to the next.
    #[must_use]
    pub fn hop_samples(&self) -> usize {
        self.0.hop_samples
    }

    /// Samples in a frame.
    #[must_use]
    pub fn frame_length_samples(&self) -> usize {
        self.0.frame_length_samples
    }

    /// Frames that a signal of `n_samples` gives in all, once it has ended.
    #[must_use]
    pub fn n_frames(&self, n_samples: u64) -> u64 {
        let (length, hop) = (self.0.frame_length_samples as u64, self.0.hop_samples as u64);
        match self.0.framing {
            Framing::SnipEdges if n_samples < length => 0,
            Framing::SnipEdges => 1 + (n_samples - length) / hop,
            Framing::CenterReflect | Framing::CenterZero if n_samples == 0 => 0,
            Framing::CenterReflect | Framing::CenterZero => 1 + n_samples / hop,
            Framing::KaldiMirror => (n_samples + hop / 2) / hop,
        }
    }

    /// The fewest samples that give `n_frames` frames.
    #[must_use]
    pub fn n_samples(&self, n_frames: u64) -> u64 {
        let (length, hop) = (self.0.frame_length_samples as u64, self.0.hop_samples as u64);
        match (self.0.framing, n_frames) {
            (_, 0) => 0,
            (Framing::SnipEdges, n) => (n - 1) * hop + length,
            (Framing::CenterReflect | Framing::CenterZero, n) => ((n - 1) * hop).max(1),
            (Framing::KaldiMirror, n) => n * hop - hop / 2,
        }
    }

    /// First sample that frame `frame_idx` covers; negative where the frame reaches before the signal's start.
    #[must_use]
    pub fn frame_start(&self, frame_idx: u64) -> i64 {
        let (length, hop) = (self.0.frame_length_samples as i64, self.0.hop_samples as i64);
        let first = match self.0.framing {
            Framing::SnipEdges => 0,
            Framing::CenterReflect | Framing::CenterZero => {
                let n_fft = self.0.n_fft as i64;
                (n_fft - length) / 2 - n_fft / 2
            }
            Framing::KaldiMirror => hop / 2 - length / 2,
        };
        frame_idx as i64 * hop + first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_that_are_offered_are_good() {
        for recipe in [
            LogMelRecipe::default(),
            LogMelRecipe::official_next_tdnn(),
            LogMelRecipe::speech_brain(),
            LogMelRecipe::voice_personification(),
        ] {
            LogMelParams::try_new(recipe).unwrap();
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let recipe = LogMelRecipe {
            sample_rate_hz: 8_000,
            scale: 0.0,
            frame_length_samples: 600,
            hop_samples: 0,
            n_fft: 511,
            window_position: WindowPosition::Center,
            pre_emphasis: 1.0,
            n_mels: 0,
            low_hz: 7_000.0,
            high_hz: 300.0,
            log_floor: 0.0,
            ..LogMelRecipe::default()
        };
        let faults = LogMelParams::try_new(recipe).unwrap_err();
        assert_eq!(
            faults.to_string(),
            "sample_rate_hz (8000) must be 16000; scale (0) must be finite and > 0; \
             hop_samples (0) must be from 1 to 16000; n_fft (511) must be even and from 4 to 8192; \
             pre_emphasis (1) must be from 0 to below 1; n_mels (0) must be from 1 to 512; \
             frame_length_samples (600) must be <= n_fft (511); low_hz (7000) must be < high_hz (300); \
             log_floor (0) and log_offset (0) must not both be 0; \
             window_position (Center) must be Left with framing SnipEdges"
        );
        assert_eq!(faults.faults().len(), 10);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for field in 0..6 {
            let mut recipe = LogMelRecipe::default();
            *[
                &mut recipe.scale,
                &mut recipe.pre_emphasis,
                &mut recipe.low_hz,
                &mut recipe.high_hz,
                &mut recipe.log_floor,
                &mut recipe.log_offset,
            ][field] = f32::NAN;
            assert_eq!(LogMelParams::try_new(recipe).unwrap_err().faults().len(), 1, "field {field}");
        }
    }

    #[test]
    fn frames_and_samples_agree() {
        for framing in [Framing::SnipEdges, Framing::CenterReflect, Framing::CenterZero, Framing::KaldiMirror]
        {
            for (length, hop) in [(400, 160), (100, 160), (512, 512), (3, 1), (7, 5)] {
                let position = match framing {
                    Framing::CenterReflect | Framing::CenterZero => WindowPosition::Center,
                    _ => WindowPosition::Left,
                };
                let params = LogMelParams::try_new(LogMelRecipe {
                    framing,
                    window_position: position,
                    frame_length_samples: length,
                    hop_samples: hop,
                    ..LogMelRecipe::default()
                })
                .unwrap();
                for n_frames in 1..20 {
                    let n_samples = params.n_samples(n_frames);
                    assert!(params.n_frames(n_samples) >= n_frames, "{framing:?} {length} {hop} {n_frames}");
                    assert!(
                        params.n_frames(n_samples - 1) < n_frames,
                        "{framing:?} {length} {hop} {n_frames}"
                    );
                }
            }
        }
    }
}
