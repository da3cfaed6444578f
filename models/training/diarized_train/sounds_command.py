"""The command ``measure-sounds``: how much of music, noise and signals a segmenter takes for speech."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from .loader import read_noises
from .sounds import RATE_HZ, SIGNALS, modulated_noise, music, signals
from .speech_command import Network
from .speech_errors import Gate, levels_db, mask_of, regions

PART_S = 20
Make = Callable[[int, np.random.Generator], np.ndarray]


def _pink(n: int, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0)), n)


def _hum(n: int, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(n) / RATE_HZ
    return sum(np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6.28)) / k for k in range(1, 20))


def kinds(noise_dir: str | None) -> dict[str, Make]:
    """Makers by name."""
    found: dict[str, Make] = {
        "white noise": lambda n, rng: rng.standard_normal(n),
        "pink noise": _pink,
        "noise of changing level": modulated_noise,
        "hum": _hum,
        "music": music,
    }
    for i, name in enumerate(SIGNALS):
        found[name] = lambda n, rng, i=i: signals(n, rng, i)
    if noise_dir:
        noises = read_noises(Path(noise_dir))
        found["recorded noise"] = lambda n, rng: np.resize(noises[rng.integers(len(noises))], n)
    return found


def sound(make: Make, seconds: float, seed: int) -> np.ndarray:
    """(n_samples,) in parts of 20 s, each made anew and at a level from -40 to -6 dBFS at its peak."""

    def parts() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(seed)
        for _ in range(max(1, round(seconds / PART_S))):
            part = np.asarray(make(PART_S * RATE_HZ, rng), np.float32)
            yield part / (np.abs(part).max() + 1e-9) * 10.0 ** (rng.uniform(-40, -6) / 20)

    return np.concatenate(list(parts())).astype(np.float32)


def measure_sounds(args: object) -> list[dict]:
    """Rows of every kind and network; prints them as a table, and writes the sounds where that is asked."""
    networks = [Network(Path(p)) for p in args.network]
    # Versions of one network have one name, so columns are named by their folders then.
    names = [n.name for n in networks]
    if len(set(names)) < len(names):
        names = [str(p) for p in args.network]
    gate = Gate(args.onset, args.offset)
    rows = []
    for i, (name, make) in enumerate(kinds(args.noise).items()):
        samples = sound(make, args.minutes * 60, args.seed + i)
        if args.write:
            out = Path(args.write)
            out.mkdir(parents=True, exist_ok=True)
            soundfile.write(out / f"{name.replace(' ', '-')}.flac", samples, RATE_HZ)
        row = {"sound": name}
        for column, network in zip(names, networks, strict=True):
            scores = network.scores(samples).speech
            said = mask_of(regions(scores, levels_db(samples), gate), len(scores))
            row[column] = float(said.sum()) / 100
        rows.append(row)
    print(f"Seconds of {args.minutes:g} minutes that the gate ({args.onset:g}, {args.offset:g}) takes for speech\n")
    print("| sound | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for row in rows:
        print(f"| {row['sound']} | " + " | ".join(f"{row[n]:.1f}" for n in names) + " |")
    return rows
