"""Measured room responses: read, put at their direct sound, and varied for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .data import DataError, read_audio

RATE_HZ = 16000
# The direct sound and what the ear takes for part of it.
DIRECT_SAMPLES = 40
# What is left of a response before its loudest sample.
AHEAD_SAMPLES = 16
VARIANTS = 8


def read_room(path: Path) -> np.ndarray:
    """(n_samples,) float32 from just before the direct sound on, whose peak is one."""
    samples = read_audio(path)
    peak = int(np.abs(samples).argmax())
    if samples[peak] == 0.0:
        raise DataError(f"{path} is silent; it is no room response")
    return (samples[max(0, peak - AHEAD_SAMPLES) :] / np.abs(samples[peak])).astype(np.float32)


def read_rooms(folder: Path) -> list[np.ndarray]:
    """Every response of the folder, in the order of their names."""
    files = sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder}: no room responses there")
    return [read_room(p) for p in files]


def vary(response: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """(n_samples,): the response with the talker nearer or farther and the walls softer or harder."""
    out = np.zeros(n_samples, np.float32)
    part = response[:n_samples]
    out[: len(part)] = part
    t = np.arange(n_samples) / RATE_HZ
    early = AHEAD_SAMPLES + DIRECT_SAMPLES
    # A decay faster by up to 60 dB a second, a reverberant part weaker or stronger by up to 8 dB.
    late = 10.0 ** (rng.uniform(-8.0, 4.0) / 20.0 - 3.0 * rng.uniform(0.0, 1.0) * t)
    out[early:] *= late[early:]
    # Cut off without a click.
    fade = min(n_samples // 8, 800)
    out[-fade:] *= np.linspace(1.0, 0.0, fade)
    return out


def room_bank(responses: list[np.ndarray], n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """(VARIANTS * len(responses), n_samples)."""
    return np.stack([vary(r, n_samples, rng) for r in responses for _ in range(VARIANTS)])
