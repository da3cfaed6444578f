"""What happens to a voice in the field: telephone, codecs, far microphones, echo, whispers. For measuring only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

from .augment import RATE_HZ, add_echo, opus_round_trip
from .rooms import read_rooms
from .whisper import whisper

TELEPHONE_HZ = (300.0, 3400.0)
ECHO_S = (0.06, 0.4)
ECHO_DB = 6.0
OPUS_BITS_PER_S = 8e3

# (n_crops, n_samples) float32 in [-1, 1], and where random numbers come from, to the same shape.
Condition = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _level(changed: np.ndarray, original: np.ndarray) -> np.ndarray:
    """At the peak of the original."""
    peak = np.abs(changed).max(1, keepdims=True) + 1e-9
    return (changed * (np.abs(original).max(1, keepdims=True) / peak)).astype(np.float32)


def clean(crops: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return crops


def _narrow(crops: np.ndarray) -> np.ndarray:
    """At 8 kHz, without what a telephone does not carry."""
    sos = butter(4, TELEPHONE_HZ, "bandpass", fs=RATE_HZ / 2, output="sos")
    return sosfiltfilt(sos, resample_poly(crops, 1, 2, axis=1), axis=1)


def telephone(crops: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return _level(resample_poly(_narrow(crops), 2, 1, axis=1)[:, : crops.shape[1]], crops)


def mu_law(crops: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """A telephone's band in eight bits of G.711's curve."""
    x = np.clip(_narrow(crops), -1.0, 1.0)
    squeezed = np.sign(x) * np.log1p(255.0 * np.abs(x)) / np.log(256.0)
    squeezed = np.round(squeezed * 127.0) / 127.0
    x = np.sign(squeezed) * (256.0 ** np.abs(squeezed) - 1.0) / 255.0
    return _level(resample_poly(x, 2, 1, axis=1)[:, : crops.shape[1]], crops)


def opus(crops: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.stack([opus_round_trip(x, OPUS_BITS_PER_S) for x in crops])


def echo(crops: np.ndarray, random: np.random.Generator) -> np.ndarray:
    delays = (random.uniform(*ECHO_S, len(crops)) * RATE_HZ).astype(int)
    gain = 10.0 ** (-ECHO_DB / 20.0)
    return _level(np.stack([add_echo(x, d, gain) for x, d in zip(crops, delays, strict=True)]), crops)


def whispered(crops: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return _level(np.stack([whisper(x, random) for x in crops]), crops)


def far(rooms: list[np.ndarray]) -> Condition:
    """Each crop in one of the measured rooms, drawn for it."""

    def apply(crops: np.ndarray, random: np.random.Generator) -> np.ndarray:
        picks = random.integers(len(rooms), size=len(crops))
        wet = [fftconvolve(x, rooms[k])[: len(x)] for x, k in zip(crops, picks, strict=True)]
        return _level(np.stack(wet), crops)

    return apply


def conditions(rooms_dir: Path | None) -> dict[str, Condition]:
    """By the name that tables show."""
    table: dict[str, Condition] = {
        "clean": clean,
        "telephone band": telephone,
        "mu-law": mu_law,
        "Opus, 8 kbit/s": opus,
        "echo": echo,
        "whispered": whispered,
    }
    if rooms_dir is not None:
        table["far microphone"] = far(read_rooms(rooms_dir))
    return table
