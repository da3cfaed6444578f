"""The teacher Resemblyzer: its voice encoder and what it listens to.

Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018). A piece's
embedding is the mean of the encoder's over windows of 1.6 s, 0.8 s apart, normalised.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import torch

EMBEDDING_DIM = 256
WINDOW_FRAMES = 160
STEP_FRAMES = 80


def _mel_filters() -> np.ndarray:
    import librosa

    return librosa.filters.mel(sr=16000, n_fft=400, n_mels=40).astype(np.float32)


_FILTERS: np.ndarray | None = None


def mel(samples: np.ndarray) -> np.ndarray:
    """The encoder's input, (n_frames, 40): mel power, no logarithm, 10 ms apart."""
    global _FILTERS
    if _FILTERS is None:
        _FILTERS = _mel_filters()
    rms = float(np.sqrt(np.mean(samples**2))) + 1e-12
    # The encoder's own preprocessing raises quiet audio to -30 dBFS and leaves the rest.
    samples = samples * max(1.0, 10 ** (-30 / 20) / rms)
    padded = np.pad(samples, 200)
    window = np.hanning(401)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160] * window
    spectrum = np.fft.rfft(frames)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power @ _FILTERS.T


def windows(features: np.ndarray, step: int = STEP_FRAMES) -> np.ndarray:
    """(n_frames, 40) to (n_windows, 160, 40); a short piece is padded with zeros."""
    n_frames = len(features)
    if n_frames < WINDOW_FRAMES:
        features = np.pad(features, ((0, WINDOW_FRAMES - n_frames), (0, 0)))
        n_frames = WINDOW_FRAMES
    starts = list(range(0, n_frames - WINDOW_FRAMES + 1, step))
    if n_frames - WINDOW_FRAMES - starts[-1] > STEP_FRAMES // 2:
        starts.append(n_frames - WINDOW_FRAMES)
    return np.stack([features[s : s + WINDOW_FRAMES] for s in starts])


def _prepare(samples: np.ndarray, step: int) -> np.ndarray:
    return windows(mel(samples.astype(np.float32) / 32768.0), step)


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 itself; elsewhere the recurrent layers refuse it."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


class Resemblyzer:
    """The encoder, loaded once; ``step`` is the distance between its windows in frames of 10 ms."""

    name = "resemblyzer"
    embedding_dim = EMBEDDING_DIM
    batch_pieces = 64

    def __init__(self, bf16: bool = False, step: int = STEP_FRAMES, device: str = "cpu") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from resemblyzer import VoiceEncoder

        self.encoder = VoiceEncoder(device, verbose=False).eval()
        self.bf16 = bf16
        self.step = step
        self.device = device

    def embed(self, pieces: list[np.ndarray]) -> np.ndarray:
        """int16 pieces to (n, 256) unit embeddings."""
        return self.embed_windows([_prepare(p, self.step) for p in pieces])

    def embed_unpadded(self, pieces: list[np.ndarray]) -> np.ndarray | None:
        """Pieces of one length shorter than a window, on as many frames as they have; else none."""
        if len(pieces[0]) // 160 >= WINDOW_FRAMES or len({len(p) for p in pieces}) > 1:
            return None
        return self.embed_windows([mel(p.astype(np.float32) / 32768.0)[None] for p in pieces])

    def embed_windows(self, prepared: list[np.ndarray]) -> np.ndarray:
        windows = torch.from_numpy(np.concatenate(prepared)).to(self.device)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, self.bf16):
            flat = self.encoder(windows).float().cpu().numpy()
        bounds = np.cumsum([0] + [len(p) for p in prepared])
        mean = np.stack([flat[a:b].mean(0) for a, b in pairwise(bounds)])
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)
