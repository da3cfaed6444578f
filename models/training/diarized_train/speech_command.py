"""The command ``measure-speech``: what networks and labels miss and add, speech alone, by group of recordings."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .front_end import FrontEnd, LogMel
from .plda import read_turns
from .segmenter import DELAY_FRAMES, OVERLAP_DELAY_FRAMES, load_segmenter
from .segmenter_batch import features_of
from .speech_errors import (
    Gate,
    Recording,
    SpeechError,
    levels_db,
    log_odds,
    mask_of,
    measure,
    read_group,
    regions,
    ticks_of_turns,
)
from .train_segmenter import average_precision


@dataclass(frozen=True)
class Scores:
    """Of one recording: log odds of speech and of overlap for each tick."""

    speech: np.ndarray
    overlap: np.ndarray


class Network:
    """A segmenter of this project: a folder, its weights.pt or a run's last.pt."""

    def __init__(self, path: Path) -> None:
        self.network = load_segmenter(path)
        self.mel = LogMel(FrontEnd(mean_normalisation="none"), np.float32)
        self.name = path.name if path.is_dir() else path.parent.name

    def scores(self, samples: np.ndarray) -> Scores:
        features = features_of(self.mel, samples)
        # What the stream's end still owes, as if the last row went on.
        features = np.pad(features, ((0, 0), (0, OVERLAP_DELAY_FRAMES)), mode="edge")
        with torch.inference_mode():
            out = self.network(torch.from_numpy(features[None]))[0].numpy()
        n = features.shape[1] - OVERLAP_DELAY_FRAMES
        return Scores(out[0, DELAY_FRAMES : DELAY_FRAMES + n], out[1, OVERLAP_DELAY_FRAMES:])


class Powerset:
    """The powerset teacher, windows of 10 s a second apart."""

    def __init__(self, path: Path) -> None:
        from .powerset import PowersetTeacher

        self.teacher = PowersetTeacher(path)
        self.name = self.teacher.name

    def scores(self, samples: np.ndarray) -> Scores:
        said = np.clip(self.teacher.whole(samples), 1e-4, 1 - 1e-4)
        odds = np.log(said / (1 - said))
        return Scores(odds[:, 0], odds[:, 1])


def plain(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Speech where the odds are above a probability, and nothing else done to them."""
    return scores > log_odds(threshold)


def row_of(name: str, setting: str, group: str, error: SpeechError) -> dict:
    return {
        "what": name,
        "setting": setting,
        "group": group,
        "missed": error.percent(error.missed),
        "added": error.percent(error.added),
        "sum": error.percent(error.missed + error.added),
        "added_by_pause": [error.percent(n) for n in error.by_pause],
    }


def total(errors: list[SpeechError]) -> SpeechError:
    return sum(errors, SpeechError())


def settings_of(args: object) -> list[tuple[str, Gate | float]]:
    """Plain thresholds and gates that are swept."""
    found: list[tuple[str, Gate | float]] = [(f"p > {p:g}", p) for p in args.thresholds]
    for onset, offset, silence, pad in itertools.product(
        args.onset, args.offset, args.min_silence_ms, args.pad_ms
    ):
        if offset <= onset:
            gate = Gate(onset, offset, min_silence=silence // 10, pad=pad // 10)
            found.append((f"gate {onset:g} {offset:g}, {silence} ms, pad {pad}", gate))
    return found


def said_by(scores: Scores, recording: Recording, setting: Gate | float) -> np.ndarray:
    n = len(recording.voices)
    if isinstance(setting, Gate):
        return mask_of(regions(scores.speech, levels_db(recording.samples), setting), n)
    return plain(scores.speech[:n], setting)


def overlap_row(name: str, group: str, pairs: list[tuple[Scores, Recording]]) -> dict:
    scores = np.concatenate([s.overlap[r.scored] for s, r in pairs])
    truth = np.concatenate([(r.voices > 1)[r.scored] for _, r in pairs])
    share = 100.0 * float(truth.mean())
    return {"what": name, "group": group, "average_precision": average_precision(scores, truth), "share": share}


def measure_speech(args: object) -> list[dict]:
    """Rows of every detector, setting and group; prints them as a table and writes them to ``--out``."""
    collar = round(args.collar / 0.01)
    groups = {Path(folder).name: read_group(Path(folder)) for folder in args.talk}
    detectors = [Network(Path(p)) for p in args.network]
    detectors += [Powerset(Path(args.powerset))] if args.powerset else []
    rows, overlaps = [], []
    for detector in detectors:
        for group, recordings in groups.items():
            bar = tqdm(recordings, desc=f"{detector.name} {group}", leave=False)
            pairs = [(detector.scores(r.samples), r) for r in bar]
            for label, setting in settings_of(args):
                errors = [measure(r, said_by(s, r, setting), collar) for s, r in pairs]
                rows.append(row_of(detector.name, label, group, total(errors)))
            overlaps.append(overlap_row(detector.name, group, pairs))
    for folder in args.labels:
        for group, recordings in groups.items():
            errors = []
            for r in recordings:
                turns = read_turns(Path(folder) / f"{r.name}.rttm")
                errors.append(measure(r, ticks_of_turns(turns, len(r.voices)) > 0, collar))
            rows.append(row_of(Path(folder).name, "labels", group, total(errors)))
    print(table(rows, overlaps, args.collar))
    if args.out:
        Path(args.out).write_text(json.dumps({"speech": rows, "overlap": overlaps}, indent=1) + "\n")
    return rows


def table(rows: list[dict], overlaps: list[dict], collar: float) -> str:
    """Markdown."""
    lines = [
        f"Percent of the reference's speech, collar {collar:g} s; added by the length of the reference's pause",
        "",
        "| detector | setting | group | missed | added | sum | < 0.25 s | < 0.8 s | < 2 s | longer |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        parts = " | ".join(f"{v:.1f}" for v in r["added_by_pause"])
        lines.append(
            f"| {r['what']} | {r['setting']} | {r['group']} | {r['missed']:.1f} | {r['added']:.1f} "
            f"| {r['sum']:.1f} | {parts} |"
        )
    lines += ["", "| detector | group | overlap: average precision | share of time |", "|---|---|---|---|"]
    lines += [
        f"| {r['what']} | {r['group']} | {r['average_precision']:.1f} | {r['share']:.1f} |" for r in overlaps
    ]
    return "\n".join(lines)
