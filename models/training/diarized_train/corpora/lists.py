"""Lists in the forms of Kaldi and NIST: read strictly, written whole or not at all."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import soundfile

from ..data import DataError
from .fetching import room_in

# Speech of one person alone that is worth an utterance of training data, in seconds.
SHORTEST_UTTERANCE_S = 1.0


@dataclass(frozen=True)
class Turn:
    recording: str
    start_s: float
    end_s: float
    speaker: str


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """In place of what was there, once all of it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with room_in(path.parent):
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _text_lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list: {error}") from error
    return [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]


def _seconds(path: Path, number: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0.0:
        raise DataError(f"{path}:{number}: {name} ({text!r}) must be a number of seconds from 0 on")
    return value


def read_rttm(path: Path) -> list[Turn]:
    """The SPEAKER lines; other kinds of lines are no turns."""
    turns = []
    for number, line in _text_lines(path):
        fields = line.split()
        if fields[0] != "SPEAKER":
            continue
        if len(fields) not in (9, 10):
            raise DataError(f"{path}:{number}: {len(fields)} fields, expected 9 or 10 of RTTM")
        start_s = _seconds(path, number, "start", fields[3])
        length_s = _seconds(path, number, "duration", fields[4])
        if length_s > 0.0:
            turns.append(Turn(fields[1], start_s, start_s + length_s, fields[7]))
    return turns


def rttm_line(turn: Turn) -> str:
    length_s = turn.end_s - turn.start_s
    return f"SPEAKER {turn.recording} 1 {turn.start_s:.3f} {length_s:.3f} <NA> <NA> {turn.speaker} <NA> <NA>"


def read_uem(path: Path) -> list[str]:
    """The lines, checked."""
    lines = []
    for number, line in _text_lines(path):
        fields = line.split()
        if len(fields) != 4:
            raise DataError(f"{path}:{number}: {len(fields)} fields, expected RECORDING CHANNEL START END")
        start_s, end_s = (_seconds(path, number, n, t) for n, t in zip(("start", "end"), fields[2:], strict=True))
        if start_s >= end_s:
            raise DataError(f"{path}:{number}: start ({start_s}) must be < end ({end_s})")
        lines.append(line)
    return lines


def read_names(path: Path) -> list[str]:
    """One name a line."""
    names = []
    for number, line in _text_lines(path):
        if len(line.split()) != 1 or "/" in line:
            raise DataError(f"{path}:{number}: expected one name, got {line!r}")
        names.append(line)
    return names


def length_s(path: Path) -> float:
    """Length of a recording; ``DataError`` names one that is empty or no audio."""
    try:
        facts = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio: {error}") from error
    if facts.frames == 0:
        raise DataError(f"{path} holds no audio")
    return facts.frames / facts.samplerate


def alone(turns: list[Turn]) -> list[Turn]:
    """Stretches in which one person speaks and nobody else, of at least ``SHORTEST_UTTERANCE_S``."""
    found = []
    by_recording: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        by_recording[turn.recording].append(turn)
    for recording, own in by_recording.items():
        edges = sorted({t for turn in own for t in (turn.start_s, turn.end_s)})
        changes: dict[float, list[tuple[int, str]]] = defaultdict(list)
        for turn in own:
            changes[turn.start_s].append((1, turn.speaker))
            changes[turn.end_s].append((-1, turn.speaker))
        active: dict[str, int] = defaultdict(int)
        stretches: list[Turn] = []
        for start_s, end_s in pairwise(edges):
            for step, speaker in changes[start_s]:
                active[speaker] += step
            speaking = [speaker for speaker, n in active.items() if n > 0]
            if len(speaking) != 1:
                continue
            if stretches and stretches[-1].end_s == start_s and stretches[-1].speaker == speaking[0]:
                stretches[-1] = Turn(recording, stretches[-1].start_s, end_s, speaking[0])
            else:
                stretches.append(Turn(recording, start_s, end_s, speaking[0]))
        found += [turn for turn in stretches if turn.end_s - turn.start_s >= SHORTEST_UTTERANCE_S]
    return found


def write_meetings(
    folder: Path, recordings: dict[str, Path], turns: list[Turn], uem: list[str], *, speakers_are_global: bool
) -> None:
    """``wav.scp``, ``reference.rttm``, ``all.uem``; and ``segments``, ``utt2spk`` of speech of one person alone.

    The audio lies below the folder. Speakers whose names count for one recording only are called after it.
    """
    lengths = {name: length_s(path) for name, path in recordings.items()}
    for turn in turns:
        if turn.start_s >= lengths[turn.recording]:
            raise DataError(
                f"{turn.recording}: the reference has a turn at {turn.start_s:.1f} s, the audio ends at "
                f"{lengths[turn.recording]:.1f} s; the recording is cut, fetch it again"
            )
    uem = uem or [f"{name} 1 0.000 {length:.3f}" for name, length in sorted(lengths.items())]
    turns = sorted(turns, key=lambda turn: (turn.recording, turn.start_s))
    write_lines(folder / "reference.rttm", [rttm_line(turn) for turn in turns])
    write_lines(folder / "all.uem", uem)
    segments, utt2spk = [], []
    for turn in sorted(alone(turns), key=lambda t: (t.recording, t.start_s)):
        end_s = min(turn.end_s, lengths[turn.recording])
        if end_s - turn.start_s < SHORTEST_UTTERANCE_S:
            continue
        speaker = turn.speaker if speakers_are_global else f"{turn.recording}-{turn.speaker}"
        name = f"{speaker}-{turn.recording}-{round(turn.start_s * 1000):08d}"
        segments.append(f"{name} {turn.recording} {turn.start_s:.3f} {end_s:.3f}")
        utt2spk.append(f"{name} {speaker}")
    write_lines(folder / "segments", sorted(segments))
    write_lines(folder / "utt2spk", sorted(utt2spk))
    scp = [f"{name} {path.relative_to(folder).as_posix()}" for name, path in sorted(recordings.items())]
    write_lines(folder / "wav.scp", scp)
