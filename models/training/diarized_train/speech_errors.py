"""Speech alone, of any speaker: regions from scores as the diarizer makes them, and what they miss and add."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from .data import DataError, read_audio
from .plda import read_turns

TICK_S = 0.01
TICK_SAMPLES = 160
# Pauses of the reference by their length in seconds: where false alarm lies.
PAUSES_S = (0.25, 0.8, 2.0)
# The gate of the diarizer (models/src/diarizer/speech.rs), in ticks and decibels.
MEAN_TICKS, LEVEL_TICKS, LONGEST_RISE_TICKS = 5, 10, 100
USUAL_SPEECH_DB, SURE_SPEECH, RISE_SHARE, FALL_SHARE = -50.0, 2.0, 0.05, 0.002
QUIETER_DB, ODDS_PER_DB = 12.0, 0.2


@dataclass(frozen=True)
class Gate:
    """Settings of the diarizer's gate: probabilities, and durations in ticks."""

    onset: float = 0.97
    offset: float = 0.5
    min_speech: int = 15
    min_silence: int = 40
    pad: int = 5


@dataclass(frozen=True)
class Recording:
    """One recording: samples, who of the reference speaks in each tick, and which ticks are scored."""

    name: str
    samples: np.ndarray
    voices: np.ndarray
    scored: np.ndarray

    @property
    def speech(self) -> np.ndarray:
        return self.voices > 0


@dataclass
class SpeechError:
    """Ticks: scored speech of the reference, missed, added; the added ones by where they lie."""

    speech: int = 0
    missed: int = 0
    added: int = 0
    by_pause: tuple[int, ...] = (0,) * (len(PAUSES_S) + 1)

    def __add__(self, other: SpeechError) -> SpeechError:
        return SpeechError(
            self.speech + other.speech,
            self.missed + other.missed,
            self.added + other.added,
            tuple(a + b for a, b in zip(self.by_pause, other.by_pause, strict=True)),
        )

    def percent(self, ticks: int) -> float:
        """Share of the reference's speech."""
        return 100.0 * ticks / max(self.speech, 1)


def log_odds(p: float) -> float:
    p = min(max(p, 1e-4), 1 - 1e-4)
    return float(np.log(p / (1 - p)))


def ticks_of_turns(turns: list[tuple[float, float, str]], n_ticks: int) -> np.ndarray:
    """(n_ticks,) number of people who speak in the middle of each tick."""
    voices = np.zeros(n_ticks, np.int64)
    for speaker in {t[2] for t in turns}:
        on = np.zeros(n_ticks, bool)
        for start, end, _ in (t for t in turns if t[2] == speaker):
            on[max(0, round(start / TICK_S)) : max(0, round(end / TICK_S))] = True
        voices += on
    return voices


def read_recording(audio: Path) -> Recording:
    """The audio with NAME.rttm beside it, and NAME.uem where there is one."""
    rttm = audio.with_suffix(".rttm")
    if not rttm.is_file():
        raise DataError(f"{rttm}: no such file; a reference must lie beside {audio.name}")
    samples = read_audio(audio)
    n_ticks = len(samples) // TICK_SAMPLES
    if not n_ticks:
        raise DataError(f"{audio}: no audio")
    scored = np.ones(n_ticks, bool)
    uem = audio.with_suffix(".uem")
    if uem.is_file():
        scored[:] = False
        for number, line in enumerate(uem.read_text(encoding="utf-8").splitlines(), 1):
            parts = line.split()
            if len(parts) < 4:
                raise DataError(f"{uem}:{number}: expected name, channel, start, end")
            scored[round(float(parts[2]) / TICK_S) : round(float(parts[3]) / TICK_S)] = True
    return Recording(audio.stem, samples, ticks_of_turns(read_turns(rttm), n_ticks), scored)


def read_group(folder: Path) -> list[Recording]:
    """Every recording of a folder that has a reference, by name."""
    files = sorted(p for p in folder.iterdir() if p.suffix in (".wav", ".flac")) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder}: no .wav or .flac there")
    return [read_recording(p) for p in files]


def levels_db(samples: np.ndarray) -> np.ndarray:
    """(n_ticks,) dBFS."""
    n = len(samples) // TICK_SAMPLES
    power = (samples[: n * TICK_SAMPLES].reshape(n, -1).astype(np.float64) ** 2).mean(1)
    return np.maximum(10.0 * np.log10(np.maximum(power, 1e-10)), -100.0)


def regions(scores: np.ndarray, levels: np.ndarray, gate: Gate) -> list[tuple[int, int]]:
    """Regions in ticks that the diarizer's gate makes of log odds of speech; the same arithmetic."""
    onset, offset = log_odds(gate.onset), log_odds(gate.offset)
    least_pause = max(gate.min_silence, gate.pad) + 1
    speech_db, rise, floor = USUAL_SPEECH_DB, None, 0
    state, since = "inactive", 0
    odds_seen: list[float] = []
    out: list[tuple[int, int]] = []
    level_sums = np.concatenate([[0.0], np.cumsum(levels)])
    for tick, score in enumerate(scores):
        first = max(0, tick + 1 - LEVEL_TICKS)
        level = (level_sums[tick + 1] - level_sums[first]) / (tick + 1 - first)
        if score > SURE_SPEECH:
            speech_db += (RISE_SHARE if level > speech_db else FALL_SHARE) * (level - speech_db)
        odds_seen.append(score - ODDS_PER_DB * max(0.0, speech_db - QUIETER_DB - level))
        del odds_seen[:-MEAN_TICKS]
        odds = sum(odds_seen) / len(odds_seen)
        at = tick - len(odds_seen) // 2
        pause = odds < offset
        rise = None if pause else at if rise is None else rise
        start = max(at if rise is None else rise, at - LONGEST_RISE_TICKS)
        if state == "inactive" and odds >= onset:
            state, since = "rising", start
        elif state == "rising" and pause:
            state = "inactive"
        elif state == "active" and pause:
            state, since = "falling", at
        elif state == "falling" and not pause:
            state = "active"
        if state == "rising" and at + 1 - since >= gate.min_speech:
            state = "active"
            out.append((max(floor, since - gate.pad, 0), len(scores)))
        elif state == "falling" and at + 1 - since >= least_pause:
            state, floor = "inactive", since + gate.pad
            out[-1] = (out[-1][0], floor)
    if state == "falling":
        out[-1] = (out[-1][0], min(len(scores), since + gate.pad))
    return out


def mask_of(spans: list[tuple[int, int]], n_ticks: int) -> np.ndarray:
    mask = np.zeros(n_ticks, bool)
    for start, end in spans:
        mask[start:end] = True
    return mask


def measure(recording: Recording, said: np.ndarray, collar_ticks: int) -> SpeechError:
    """``said``: (n_ticks,) speech by a detector. Ticks within the collar of a reference boundary do not count."""
    truth = recording.speech
    counted = recording.scored.copy()
    for edge in np.flatnonzero(np.diff(truth.astype(np.int8))) + 1:
        counted[max(0, edge - collar_ticks) : edge + collar_ticks] = False
    added = said & ~truth & counted
    # How long the pause of the reference is in which each added tick lies.
    edges = np.concatenate([[0], np.flatnonzero(np.diff(truth.astype(np.int8))) + 1, [len(truth)]])
    by_pause = [0] * (len(PAUSES_S) + 1)
    for start, end in pairwise(edges):
        if not truth[start]:
            place = int(np.searchsorted(PAUSES_S, (end - start) * TICK_S))
            by_pause[place] += int(added[start:end].sum())
    return SpeechError(
        int((truth & counted).sum()),
        int((truth & ~said & counted).sum()),
        int(added.sum()),
        tuple(by_pause),
    )
