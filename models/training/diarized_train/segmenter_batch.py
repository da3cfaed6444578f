"""Examples of talk as arrays: what the network sees and what it learns."""

from __future__ import annotations

import numpy as np

from .conversations import Example
from .front_end import LogMel


def features_of(mel: LogMel, samples: np.ndarray) -> np.ndarray:
    """(n_mels, n_ticks): the frame that starts at each tick, the last ones repeated."""
    n_ticks = samples.shape[-1] // mel.front.hop_samples
    features = mel(samples)
    missing = n_ticks - features.shape[-1]
    return np.pad(features, ((0, 0), (0, missing)), mode="edge").astype(np.float32)


def collate(examples: list[Example], mel: LogMel) -> tuple[np.ndarray, ...]:
    """Features (N, n_mels, T); voices, SNR and C50, each (N, T)."""
    return (
        np.stack([features_of(mel, e.samples) for e in examples]),
        np.stack([e.voices for e in examples]),
        np.stack([e.snr_db for e in examples]),
        np.stack([e.c50_db for e in examples]),
    )
