"""Log-mel front ends, driven by the ``[front_end]`` table of a model folder.

One function reproduces ours, the official NeXt-TDNN / ECAPA one (torchaudio-like), SpeechBrain's,
SeamlessM4T's and Kaldi's fbank; the reference for every other implementation of them. numpy only.

Order of work per window of samples: scale, signal pre-emphasis, framing, per-frame DC
removal, frame pre-emphasis, window, power (or magnitude) spectrum, mel filters, log, mean
normalisation over time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

# Keeps the deviation of a constant channel above zero.
VARIANCE_OFFSET = 1e-7

_CHOICES = {
    "framing": ("snip_edges", "center_reflect", "center_zero", "kaldi_mirror"),
    "window": (
        "hamming",
        "hamming_periodic",
        "hann",
        "hann_periodic",
        "povey",
        "rectangular",
    ),
    "window_position": ("left", "center"),
    "pre_emphasis_at": ("frame", "signal"),
    "spectrum": ("power", "magnitude"),
    "mel_triangles": ("mel", "hz", "hz_even", "slaney"),
    "log": ("natural",),
    "mean_normalisation": ("none", "window", "sliding", "clipped_window", "standardised_window"),
}


@dataclass(frozen=True)
class FrontEnd:
    """The ``[front_end]`` table; the defaults are the front end of our own models."""

    sample_rate_hz: int = 16000
    scale: float = 32768.0
    frame_length_samples: int = 400
    hop_samples: int = 160
    n_fft: int = 512
    framing: str = "snip_edges"
    window: str = "hamming"
    window_position: str = "left"
    remove_dc: bool = True
    pre_emphasis: float = 0.97
    pre_emphasis_at: str = "frame"
    spectrum: str = "power"
    n_mels: int = 80
    low_hz: float = 20.0
    high_hz: float = 7600.0
    mel_triangles: str = "mel"
    log: str = "natural"
    log_floor: float = 1.1920929e-7
    log_offset: float = 0.0
    dither: float = 0.0
    mean_normalisation: str = "window"
    sliding_frames: int = 300
    clip_range_db: int = 80

    def __post_init__(self) -> None:
        for key, allowed in _CHOICES.items():
            value = getattr(self, key)
            if value not in allowed:
                raise ValueError(f"{key} ({value!r}) must be one of {', '.join(allowed)}")
        if self.frame_length_samples > self.n_fft:
            raise ValueError(
                f"frame_length_samples ({self.frame_length_samples}) must be <= n_fft "
                f"({self.n_fft})"
            )

    @classmethod
    def from_dict(cls, table: dict) -> FrontEnd:
        unknown = sorted(set(table) - {f.name for f in fields(cls)})
        if unknown:
            raise ValueError(f"unknown front_end keys: {', '.join(unknown)}")
        return cls(**table)

    def to_dict(self) -> dict:
        table = asdict(self)
        if self.mean_normalisation != "clipped_window":
            del table["clip_range_db"]
        return table


# The table the official NeXt-TDNN code and TaoRuijie's ECAPA-TDNN were trained with.
OFFICIAL = FrontEnd(
    scale=1.0,
    framing="center_reflect",
    window="hamming_periodic",
    window_position="center",
    remove_dc=False,
    pre_emphasis_at="signal",
    mel_triangles="hz",
    log_floor=0.0,
    log_offset=1e-6,
)

# SpeechBrain's ECAPA-TDNN, but for the logarithm: there it is in dB, which is 4.34 times ours.
SPEECH_BRAIN = FrontEnd(
    scale=1.0,
    n_fft=400,
    framing="center_zero",
    window="hamming_periodic",
    window_position="center",
    remove_dc=False,
    pre_emphasis=0.0,
    low_hz=0.0,
    high_hz=8000.0,
    mel_triangles="hz_even",
    log_floor=1e-10,
    mean_normalisation="clipped_window",
)

# VoicePersonification's: Kaldi fbank and a sliding mean, on 16-bit numbers. Its fbank scales
# nothing; its experiments/next-tdnn/test.yaml has the samples read as `dtype: int16`, and its
# dither of 1.0 is Kaldi's for that range: one step of a 16-bit sample. On samples in [-1, 1]
# it would drown all speech.
VOICE_PERSONIFICATION = FrontEnd(
    framing="kaldi_mirror",
    dither=1.0,
    mean_normalisation="sliding",
    sliding_frames=300,
)


# CAM++ as 3D-Speaker trains it: Kaldi fbank with its defaults on samples in [-1, 1], without dither.
CAM_PLUS_PLUS = FrontEnd(scale=1.0, window="povey", high_hz=8000.0)

# WeSpeaker's: Kaldi fbank on 16-bit numbers, up to half the rate, without dither at inference.
WE_SPEAKER = FrontEnd(high_hz=8000.0)

# w2v-BERT 2.0's, SeamlessM4TFeatureExtractor of transformers, but for the pairs of frames, which the graph makes.
W2V_BERT = FrontEnd(window="povey", high_hz=8000.0, mean_normalisation="standardised_window")


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """HTK mel scale; Kaldi's 1127 ln(1 + f / 700) is the same to seven digits."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz, np.float64) / 700.0)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (np.asarray(mel, np.float64) / 2595.0) - 1.0)


def hz_to_slaney(hz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel, linear up to 1 kHz."""
    hz = np.asarray(hz, np.float64)
    return np.where(hz < 1000.0, hz * 3 / 200, 15.0 + np.log(np.maximum(hz, 1.0) / 1000.0) * 27 / np.log(6.4))


def slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp(np.log(6.4) / 27 * (mel - 15.0)))


def mel_filters(front: FrontEnd) -> np.ndarray:
    """Triangular filters, (n_mels, n_fft / 2 + 1), with peak 1; Slaney's have one area."""
    n_bins = front.n_fft // 2 + 1
    bins_hz = np.arange(n_bins) * front.sample_rate_hz / front.n_fft
    slaney = front.mel_triangles == "slaney"
    to_mel = hz_to_slaney if slaney else hz_to_mel
    edges_mel = np.linspace(to_mel(front.low_hz), to_mel(front.high_hz), front.n_mels + 2)
    if slaney:
        points, edges = bins_hz, slaney_to_hz(edges_mel)
    elif front.mel_triangles == "mel":
        points, edges = hz_to_mel(bins_hz), edges_mel
    else:
        points, edges = bins_hz, mel_to_hz(edges_mel)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    if front.mel_triangles == "hz_even":
        right = 2.0 * centre - left
    rising = (points - left) / (centre - left)
    falling = (right - points) / (right - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if slaney:
        filters = filters * 2.0 / (right - left)
    if front.mel_triangles == "mel":
        # Kaldi has no Nyquist bin.
        filters[:, -1] = 0.0
    return filters


def window_samples(front: FrontEnd) -> np.ndarray:
    length = front.frame_length_samples
    name = front.window
    period = length if name.endswith("_periodic") else length - 1
    phase = 2.0 * np.pi * np.arange(length) / period
    base = name.removesuffix("_periodic")
    if base == "hamming":
        return 0.54 - 0.46 * np.cos(phase)
    if base == "hann":
        return 0.5 - 0.5 * np.cos(phase)
    if base == "povey":
        return (0.5 - 0.5 * np.cos(phase)) ** 0.85
    return np.ones(length)


def n_frames(front: FrontEnd, n_samples: int) -> int:
    """Frames that ``n_samples`` give under the table's framing."""
    if front.framing == "snip_edges":
        if n_samples < front.frame_length_samples:
            return 0
        return 1 + (n_samples - front.frame_length_samples) // front.hop_samples
    if front.framing in ("center_reflect", "center_zero"):
        return 1 + n_samples // front.hop_samples
    return (n_samples + front.hop_samples // 2) // front.hop_samples


def _mirror(indices: np.ndarray, n_samples: int) -> np.ndarray:
    """Kaldi's reflection about the ends of the signal, the edge samples repeated."""
    folded = np.mod(indices, 2 * n_samples)
    return np.where(folded < n_samples, folded, 2 * n_samples - 1 - folded)


def frames(front: FrontEnd, samples: np.ndarray) -> np.ndarray:
    """(..., n_samples) to (..., n_frames, frame_length): cut, not yet windowed.

    With a centred window inside a longer n_fft (torch.stft), the cut already skips the
    zeros on the left.
    """
    count = n_frames(front, samples.shape[-1])
    if front.framing == "snip_edges" and count:
        view = np.lib.stride_tricks.sliding_window_view(
            samples, front.frame_length_samples, axis=-1
        )
        return view[..., :: front.hop_samples, :]
    starts = np.arange(count) * front.hop_samples
    if front.framing in ("center_reflect", "center_zero"):
        pad = front.n_fft // 2
        spec = [(0, 0)] * (samples.ndim - 1) + [(pad, pad)]
        mode = "reflect" if front.framing == "center_reflect" else "constant"
        samples = np.pad(samples, spec, mode=mode)
        starts = starts + (front.n_fft - front.frame_length_samples) // 2
    elif front.framing == "kaldi_mirror":
        starts = starts + front.hop_samples // 2 - front.frame_length_samples // 2
    indices = starts[:, None] + np.arange(front.frame_length_samples)
    if front.framing == "kaldi_mirror":
        indices = _mirror(indices, samples.shape[-1])
    return samples[..., indices]


def sliding_mean(features: np.ndarray, width: int) -> np.ndarray:
    """Mean over a centred window of ``width`` frames, shifted inwards at the ends.

    Features are (..., n_mels, T). Frame t sees [t - width/2, t + width/2), moved (not
    shortened) to lie within [0, T), as Kaldi's apply-cmvn-sliding --center=true.
    """
    count = features.shape[-1]
    start = np.arange(count) - width // 2
    stop = start + width
    shift = np.maximum(0, -start)
    start, stop = start + shift, stop + shift
    over = np.maximum(0, stop - count)
    start, stop = np.maximum(0, start - over), np.minimum(stop, count)
    zero = np.zeros((*features.shape[:-1], 1))
    total = np.concatenate([zero, np.cumsum(features, axis=-1, dtype=np.float64)], axis=-1)
    return (total[..., stop] - total[..., start]) / (stop - start)


class LogMel:
    """A front end with its tables computed once; ``dtype`` is that of the arithmetic."""

    def __init__(self, front: FrontEnd, dtype: type = np.float64) -> None:
        self.front = front
        self.dtype = dtype
        self.window = window_samples(front).astype(dtype)
        self.filters = np.ascontiguousarray(mel_filters(front).T.astype(dtype))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(..., n_samples) in [-1, 1] to (..., n_mels, n_frames)."""
        front = self.front
        x = np.asarray(samples, self.dtype) * self.dtype(front.scale)
        if front.pre_emphasis and front.pre_emphasis_at == "signal":
            # Reflect padding by one: the sample before the first is the second.
            before = np.concatenate([x[..., 1:2], x[..., :-1]], axis=-1)
            x = x - self.dtype(front.pre_emphasis) * before
        x = frames(front, x)
        if front.remove_dc:
            x = x - x.mean(-1, keepdims=True)
        if front.pre_emphasis and front.pre_emphasis_at == "frame":
            ahead = x[..., 1:] - self.dtype(front.pre_emphasis) * x[..., :-1]
            first = x[..., :1] * self.dtype(1.0 - front.pre_emphasis)
            x = np.concatenate([first, ahead], axis=-1)
        # Where the window sits in n_fft turns only phases, which the spectrum drops.
        spectrum = np.fft.rfft(x * self.window, front.n_fft)
        power = spectrum.real**2 + spectrum.imag**2
        if front.spectrum == "magnitude":
            power = np.sqrt(power)
        mel = power.astype(self.dtype) @ self.filters
        if front.log_floor > 0.0:
            mel = np.maximum(mel, self.dtype(front.log_floor))
        mel = np.swapaxes(np.log(mel + self.dtype(front.log_offset)), -1, -2)
        if front.mean_normalisation == "clipped_window":
            floor = mel.max((-2, -1), keepdims=True) - front.clip_range_db / 10 * np.log(10.0)
            mel = np.maximum(mel, floor)
        if front.mean_normalisation in ("window", "clipped_window"):
            mel = mel - mel.mean(-1, keepdims=True)
        elif front.mean_normalisation == "standardised_window":
            mel = mel - mel.mean(-1, keepdims=True)
            variance = (mel**2).sum(-1, keepdims=True) / max(1, mel.shape[-1] - 1)
            mel = mel / np.sqrt(variance + self.dtype(VARIANCE_OFFSET))
        elif front.mean_normalisation == "sliding":
            mel = mel - sliding_mean(mel, front.sliding_frames)
        return np.ascontiguousarray(mel, self.dtype)


def log_mel(front: FrontEnd, samples: np.ndarray) -> np.ndarray:
    """Features of one window in double precision, (n_mels, n_frames)."""
    return LogMel(front)(samples)
