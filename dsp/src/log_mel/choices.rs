//! What a log-mel recipe can choose from.

/// How the signal is cut into frames, and what frame `i` covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Framing {
    /// Only whole frames: frame `i` covers samples `[i hop, i hop + length)`; the tail is left out. Kaldi's
    /// `snip-edges=true`. The live path: nothing depends on where the signal ends.
    #[default]
    SnipEdges,
    /// Frame `i` has its centre at sample `i hop`; the signal is reflected at its ends without repeating the
    /// end sample. `torch.stft` with `center=True, pad_mode="reflect"`. `1 + n_samples / hop` frames.
    CenterReflect,
    /// The same with zeros beyond the ends: `torch.stft` with `pad_mode="constant"`.
    CenterZero,
    /// Frame `i` has its centre at sample `i hop + hop / 2`; the signal is mirrored at its ends with the end
    /// sample repeated. Kaldi's `snip-edges=false`. `(n_samples + hop / 2) / hop` frames.
    KaldiMirror,
}

/// The window that a frame is multiplied with. "Periodic" divides by the length, the others by the length − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Window {
    /// `0.54 − 0.46 cos`, symmetric.
    #[default]
    Hamming,
    /// `0.54 − 0.46 cos`, periodic: `torch.hamming_window`'s default.
    HammingPeriodic,
    /// `0.5 − 0.5 cos`, symmetric.
    Hann,
    /// `0.5 − 0.5 cos`, periodic: `torch.hann_window`'s default.
    HannPeriodic,
    /// The symmetric Hann window to the power of 0.85: Kaldi's default.
    Povey,
    /// All ones.
    Rectangular,
}

/// Where the frame lies inside the span of `n_fft` samples that is transformed.
///
/// Only the phase of the spectrum tells the two apart, and features have no phase. But it says what stands at
/// the frame's position: with the centred framings the span is centred, so the frame must be too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WindowPosition {
    /// The frame, then zeros: Kaldi.
    #[default]
    Left,
    /// Zeros on both sides: `torch.stft` with `win_length < n_fft`.
    Center,
}

/// What is pre-emphasised, by `y[n] = x[n] − c x[n − 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PreEmphasisAt {
    /// Each frame after its mean is removed; the sample before the first is taken to equal it. Kaldi.
    #[default]
    Frame,
    /// The whole signal before it is framed; the sample before the first is taken to equal the second (a
    /// reflection by one). The official NeXt-TDNN and ECAPA code.
    Signal,
}

/// What the mel filters weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Spectrum {
    /// Squared magnitude.
    #[default]
    Power,
    /// Magnitude.
    Magnitude,
}

/// On which axis the mel filters are triangles. But for the last their corners are the same, equally spaced in HTK mel,
/// `2595 log10(1 + f / 700)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MelTriangles {
    /// Straight sides over mel, and no weight on the Nyquist bin: Kaldi.
    #[default]
    Mel,
    /// Straight sides over Hz: torchaudio, librosa with `htk=True`.
    Hz,
    /// Straight sides over Hz, both as wide as the lower one would be: SpeechBrain.
    HzEven,
    /// Straight sides over Hz, all of one area: the peak is 2 / width in Hz. Corners equally spaced in Slaney's mel, which
    /// is linear up to 1 kHz: librosa's default, Whisper.
    Slaney,
}

/// What is taken from each mel channel's features so that the recording channel matters less. Applied apart
/// from [`LogMel`](super::LogMel), over a finished window: see [`subtract_mean`](super::subtract_mean).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MeanNormalisation {
    /// Nothing.
    None,
    /// The mean over all frames of the window.
    #[default]
    Window,
    /// The mean over `frames` frames centred on each frame. Near the ends the span is moved inwards, not
    /// shortened; a window shorter than the span uses all of its frames. Kaldi's `apply-cmvn-sliding
    /// --center=true`.
    Sliding {
        /// Width of the span in frames, at least 1.
        frames: usize,
    },
    /// The mean over all frames of the window, after what lies too far below the window's largest feature is raised.
    /// SpeechBrain's `top_db`.
    ClippedWindow {
        /// How far below is too far, in dB.
        range_db: u32,
    },
    /// The mean over all frames of the window, and what is left is divided by its deviation: by
    /// `sqrt(v + 1e-7)`, where `v` is the channel's unbiased variance (0 for a single frame). SeamlessM4T's features.
    StandardisedWindow,
}
