"""Voices for synthetic talk: pieces of a cache with pauses put back in, or recordings as they were spoken."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .data import Cache, DataError, Utterance, read_audio, read_kaldi, read_sets, set_of, speech_mask

RATE_HZ = 16000
HOP_SAMPLES = 160
# Lengths of the pauses that are put between pieces and at quiet places inside them, in seconds.
PAUSE_S = (0.06, 2.0)
# Of one speaker's recordings so much is kept.
KEPT_S = 40.0


def fade_edges(speech: np.ndarray) -> np.ndarray:
    """In place: no click at either end."""
    fade = min(80, len(speech) // 2)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    if fade:
        speech[:fade] *= ramp
        speech[-fade:] *= ramp[::-1]
    return speech


def pause(rng: np.random.Generator) -> np.ndarray:
    """Silence of a length drawn evenly over its logarithm; every sixth has a breath in it."""
    n = int(np.exp(rng.uniform(*np.log(PAUSE_S))) * RATE_HZ)
    out = np.zeros(n, np.float32)
    length = int(rng.uniform(0.15, 0.4) * RATE_HZ)
    if rng.random() < 0.17 and n > length + 1600:
        at = int(rng.integers(n - length))
        breath = np.convolve(rng.standard_normal(length), np.ones(3) / 3, mode="same")
        shape = np.sin(np.linspace(0, np.pi, length)) ** 2
        out[at : at + length] = breath * shape * 10.0 ** (rng.uniform(-40, -24) / 20)
    return out


class CachedVoices:
    """Speech of a cache, whose pauses were cut: pauses of every length are put back in."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        rows = [np.flatnonzero(cache.pieces[:, 0] == s) for s in range(len(cache.speakers))]
        kept = [i for i, r in enumerate(rows) if len(r)]
        self.rows = [rows[i] for i in kept]
        sets = np.asarray(cache.sets)[kept]
        self.members = [np.flatnonzero(sets == name) for name in sorted(set(sets))]

    def __len__(self) -> int:
        return len(self.rows)

    def speech(self, speaker: int, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """(n_samples,) of one voice, at unit level over all."""
        parts, have = [], 0
        halting = rng.choice([0.0, 0.15, 0.5])
        while have < n_samples:
            _, start, end = self.cache.pieces[rng.choice(self.rows[speaker])]
            piece = self.cache.samples[start:end].astype(np.float32) / 32768.0
            offset = rng.integers(max(1, len(piece) - n_samples)) if have == 0 else 0
            for part in self._halting(piece[offset:], halting, rng):
                parts.append(part)
                have += len(part)
            if have < n_samples and rng.random() < 0.4:
                parts.append(pause(rng))
                have += len(parts[-1])
        speech = np.concatenate(parts)[:n_samples]
        return fade_edges(speech / (np.sqrt(np.mean(speech**2)) + 1e-6))

    def _halting(self, piece: np.ndarray, share: float, rng: np.random.Generator) -> list[np.ndarray]:
        """The piece, cut at some of its quietest frames, with pauses between."""
        if not share:
            return [piece]
        n = len(piece) // HOP_SAMPLES
        power = (piece[: n * HOP_SAMPLES].reshape(n, -1) ** 2).mean(1)
        quiet = power < 1e-3 * np.percentile(power, 95)
        starts = np.flatnonzero(quiet[1:] & ~quiet[:-1]) + 2
        cuts = [int(s) * HOP_SAMPLES for s in starts if rng.random() < share]
        out: list[np.ndarray] = []
        for part in np.split(piece, cuts):
            out += [fade_edges(part.copy()), pause(rng)]
        return out[:-1]


class WholeVoices:
    """Recordings as they were spoken, with the pauses and the rooms that they have; some of each speaker's."""

    def __init__(self, directories: list[Path], n_speakers: int, seed: int) -> None:
        by_speaker: dict[str, list[Utterance]] = {}
        listed_sets: dict[str, str] = {}
        for directory in directories:
            listed_sets |= read_sets(directory)
            for utterance in read_kaldi(directory, allow_unlabelled=True):
                by_speaker.setdefault(utterance.speaker, []).append(utterance)
        rng = np.random.default_rng(seed)
        names = list(by_speaker)
        names = [names[i] for i in rng.permutation(len(names))[:n_speakers]]
        # Speech and the level of its loud part.
        self.pieces: list[list[tuple[np.ndarray, float]]] = []
        sets = []
        for name in names:
            pieces = _some_of(by_speaker[name], rng)
            if pieces:
                self.pieces.append(pieces)
                sets.append(set_of(name, by_speaker[name][0].path, listed_sets))
        if not self.pieces:
            raise DataError(f"{directories[0]}: no speech there")
        names_of_sets = np.asarray(sets)
        self.members = [np.flatnonzero(names_of_sets == s) for s in sorted(set(sets))]

    def __len__(self) -> int:
        return len(self.pieces)

    def speech(self, speaker: int, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """(n_samples,) of one voice, at unit level where it speaks."""
        pieces = self.pieces[speaker]
        parts, have = [], 0
        while have < n_samples:
            whole, level = pieces[rng.integers(len(pieces))]
            piece = whole.astype(np.float32) / level
            offset = rng.integers(max(1, len(piece) - n_samples)) if have == 0 else 0
            parts.append(fade_edges(piece[offset:].copy()))
            have += len(parts[-1])
            if have < n_samples and rng.random() < 0.5:
                parts.append(pause(rng))
                have += len(parts[-1])
        return fade_edges(np.concatenate(parts)[:n_samples])


def _some_of(
    utterances: list[Utterance], rng: np.random.Generator
) -> list[tuple[np.ndarray, float]]:
    """16-bit utterances of one speaker and one recording, up to ``KEPT_S``, each with the level of its speech."""
    path = utterances[int(rng.integers(len(utterances)))].path
    spans = [u for u in utterances if u.path == path]
    first = int(rng.integers(len(spans)))
    out, have = [], 0.0
    for u in spans[first:] + spans[:first]:
        piece = read_audio(path, u.start_s, u.end_s)
        peak = float(np.abs(piece).max()) if len(piece) else 0.0
        if peak > 0.0 and len(piece) > 4 * HOP_SAMPLES:
            whole = (piece * (0.9 / peak) * 32767).round().astype(np.int16)
            mask = np.repeat(speech_mask(piece), HOP_SAMPLES)
            loud = whole[: len(mask)][mask].astype(np.float32)
            if len(loud):
                out.append((whole, float(np.sqrt(np.mean(loud**2))) + 1.0))
                have += len(piece) / RATE_HZ
        if have >= KEPT_S:
            break
    return out
