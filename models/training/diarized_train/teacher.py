"""Embeddings of the teacher, Resemblyzer's voice encoder, for every piece of a cache.

Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018). A piece's
embedding is the mean of the encoder's over windows of 1.6 s, 0.8 s apart, normalised.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .data import Cache

EMBEDDING_DIM = 256
WINDOW_FRAMES = 160
STEP_FRAMES = 80
BATCH_PIECES = 64


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


class Teacher:
    """The encoder, loaded once."""

    def __init__(self, bf16: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from resemblyzer import VoiceEncoder

        self.encoder = VoiceEncoder("cpu", verbose=False).eval()
        self.bf16 = bf16

    def embed(self, pieces: list[np.ndarray], step: int = STEP_FRAMES) -> np.ndarray:
        """int16 pieces to (n, 256) unit embeddings."""
        return self.embed_windows([_prepare(p, step) for p in pieces])

    def embed_windows(self, prepared: list[np.ndarray]) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, self.bf16):
            flat = self.encoder(torch.from_numpy(np.concatenate(prepared))).float().numpy()
        bounds = np.cumsum([0] + [len(p) for p in prepared])
        mean = np.stack([flat[a:b].mean(0) for a, b in pairwise(bounds)])
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def teacher_embeddings(
    cache: Cache, out: Path, share: float = 1.0, step: int = STEP_FRAMES
) -> np.ndarray:
    """(n_pieces, 256) unit embeddings, computed once and kept in ``out``.

    Interrupted work resumes: finished rows are non-zero. With ``share`` below one, only
    that part of the pieces, drawn evenly, is done; the others are left zero and unused.
    ``step`` is the distance between the teacher's windows in frames.
    """
    n_pieces = len(cache.pieces)
    if out.is_file() and np.load(out, mmap_mode="r").shape == (n_pieces, EMBEDDING_DIM):
        table = np.load(out)
    else:
        table = np.zeros((n_pieces, EMBEDDING_DIM), np.float32)
    order = np.random.default_rng(0).permutation(n_pieces)[: round(share * n_pieces)]
    todo = order[~table[order].any(1)]
    if len(todo) == 0:
        return table
    teacher = Teacher(bf16_is_fast())
    batches = [todo[i : i + BATCH_PIECES] for i in range(0, len(todo), BATCH_PIECES)]
    for number, batch in enumerate(tqdm(batches, desc="teacher", mininterval=10)):
        pieces = [cache.samples[a:b] for _, a, b in cache.pieces[batch]]
        table[batch] = teacher.embed(pieces, step)
        if number % 50 == 49:
            np.save(out, table)
    np.save(out, table)
    return table
