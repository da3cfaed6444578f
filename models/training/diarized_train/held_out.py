"""Error rates where a network never was: recording sets left out of training, the field's conditions, real talk.

All columns, networks and teachers, embed the very same crops. Embeddings are kept, so that another column costs only
itself and an interrupted measurement goes on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .conditions import Condition, conditions, whispered
from .data import SAMPLE_RATE_HZ, Cache, DataError, load_cache, read_audio
from .evaluate import WINDOWS_MS, Trials, choose_trials, crops, eer, pair_scores
from .plda import clean_windows, read_turns
from .teachers import Teacher, best_way

LEAST_SPEAKERS = 5
MOST_SPEAKERS = 20
CROPS_PER_SPEAKER = 4
CONDITION_WINDOWS_MS = (1500, 3000)
# Windows of one person, their number in a recording.
MOST_WINDOWS = 400


@dataclass(frozen=True)
class SetTrials:
    """Crops of one recording set; ``trained`` says that its speakers are those of the training directory."""

    name: str
    cache: Cache
    trials: Trials
    trained: bool


def fold_sets(cache: Cache, n_folds: int) -> list[tuple[str, ...]]:
    """Recording sets dealt to folds, the largest first, each to the fold with the fewest speakers."""
    names, counts = np.unique(np.asarray(cache.sets), return_counts=True)
    if len(names) < n_folds:
        raise DataError(f"{len(names)} recording sets cannot make {n_folds} folds")
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    speakers = [0] * n_folds
    for i in np.argsort(-counts, kind="stable"):
        at = int(np.argmin(speakers))
        folds[at].append(str(names[i]))
        speakers[at] += int(counts[i])
    return [tuple(sorted(fold)) for fold in folds]


def _of_set(cache: Cache, name: str) -> Trials | None:
    trials = choose_trials(cache, CROPS_PER_SPEAKER)
    kept = np.zeros(len(trials.rows), bool)
    taken = 0
    for speaker in dict.fromkeys(trials.speakers[trials.sets == name].tolist()):
        own = trials.speakers == speaker
        # One crop of a speaker makes no pair of the same speaker.
        if own.sum() >= 2 and taken < MOST_SPEAKERS:
            kept |= own
            taken += 1
    if taken < LEAST_SPEAKERS:
        return None
    return Trials(trials.rows[kept], trials.speakers[kept], trials.sets[kept])


def set_trials(work: Path) -> list[SetTrials]:
    """Of every set with enough speakers: validation speakers where they are enough, else training speakers."""
    caches = [(load_cache(work / name), name) for name in ("val", "train") if (work / f"{name}.json").is_file()]
    if not caches:
        raise DataError(f"{work}: no cache of prepare there")
    found: dict[str, SetTrials] = {}
    for cache, where in caches:
        for name in sorted(set(cache.sets)):
            trials = None if name in found else _of_set(cache, name)
            if trials is not None:
                found[name] = SetTrials(name, cache, trials, where == "train")
    return [found[name] for name in sorted(found)]


class Measured:
    """Embeddings by column, kept in ``folder``."""

    def __init__(self, columns: list[Teacher], folder: Path) -> None:
        self.columns = columns
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def eer(
        self, samples: np.ndarray, speakers: np.ndarray, within: np.ndarray | None = None
    ) -> dict[str, float]:
        """Percent by column; ``within`` names what a pair must share, such as a recording."""
        vectors_of = self._vectors(samples, speakers)
        return {name: 100.0 * _eer(vectors, speakers, within) for name, vectors in vectors_of.items()}

    def eer_between(self, one: np.ndarray, other: np.ndarray, speakers: np.ndarray) -> dict[str, float]:
        """Percent by column, of pairs with one crop from each; the same crop in both makes no pair."""
        left, right = self._vectors(one, speakers), self._vectors(other, speakers)
        row = {}
        for name in left:
            scores, same = pair_scores(left[name], right[name], speakers)
            row[name] = 100.0 * eer(scores, same)
        return row

    def _vectors(self, samples: np.ndarray, speakers: np.ndarray) -> dict[str, np.ndarray]:
        """By column, from the folder where they are known."""
        content = hashlib.blake2b(np.ascontiguousarray(samples), digest_size=12)
        # Cut at other places, the same audio makes other crops.
        content.update(str(samples.shape).encode())
        digest = content.hexdigest()
        vectors_of = {}
        for column in self.columns:
            kept = self.folder / f"{column.name}.{digest}.npy"
            if kept.is_file():
                vectors = np.load(kept)
            else:
                vectors = best_way(column, samples, speakers)
                np.save(kept, vectors)
            vectors_of[column.name] = vectors
        return vectors_of


def _eer(vectors: np.ndarray, speakers: np.ndarray, within: np.ndarray | None) -> float:
    scores, same = pair_scores(vectors, vectors, speakers)
    if within is not None:
        i, j = np.triu_indices(len(vectors), 1)
        kept = within[i] == within[j]
        scores, same = scores[kept], same[kept]
    return eer(scores, same)


def by_set(measured: Measured, sets: list[SetTrials]) -> list[dict]:
    """Rows by set and window."""
    rows = []
    for one in sets:
        for window_ms in WINDOWS_MS:
            row = measured.eer(crops(one.cache, one.trials, window_ms), one.trials.speakers)
            n = len(set(one.trials.speakers.tolist()))
            rows.append({"set": one.name, "speakers": n, "trained": one.trained, "window_ms": window_ms, "eer": row})
    return rows


def by_condition(measured: Measured, work: Path, rooms_dir: Path | None) -> list[dict]:
    """Rows by condition and window, on validation speakers, both crops of a pair in the same condition.

    Who was enrolled with a clear voice and whispers has a row besides.
    """
    cache = load_cache(work / "val")
    trials = choose_trials(cache, CROPS_PER_SPEAKER)
    rows = []
    for name, apply in conditions(rooms_dir).items():
        for window_ms in CONDITION_WINDOWS_MS:
            samples = _changed(crops(cache, trials, window_ms), apply)
            row = measured.eer(samples, trials.speakers)
            rows.append({"condition": name, "window_ms": window_ms, "eer": row})
    for window_ms in CONDITION_WINDOWS_MS:
        clear = crops(cache, trials, window_ms)
        row = measured.eer_between(clear, _changed(clear, whispered), trials.speakers)
        rows.append({"condition": "clear against whispered", "window_ms": window_ms, "eer": row})
    return rows


def by_set_and_condition(measured: Measured, sets: list[SetTrials], rooms_dir: Path | None) -> list[dict]:
    """Rows by set, condition and window, both crops of a pair in the same condition, pairs within one set."""
    rows = []
    for one in sets:
        for window_ms in CONDITION_WINDOWS_MS:
            clear = crops(one.cache, one.trials, window_ms)
            for name, apply in conditions(rooms_dir).items():
                row = measured.eer(_changed(clear, apply), one.trials.speakers)
                rows.append({"set": one.name, "condition": name, "window_ms": window_ms, "eer": row})
    return rows


def _changed(samples: np.ndarray, apply: Condition) -> np.ndarray:
    changed = apply(samples.astype(np.float32) / 32768.0, np.random.default_rng(5))
    return np.clip(np.round(changed * 32768.0), -32768, 32767).astype(np.int16)


def talk_windows(recording: Path, window_ms: int) -> tuple[list[np.ndarray], list[str]]:
    """Windows of one person, side by side, and who it is."""
    samples = read_audio(recording)
    length = window_ms * SAMPLE_RATE_HZ // 1000
    turns = read_turns(recording.with_suffix(".rttm"))
    frames = window_ms // 10
    found = clean_windows(turns, len(samples) // 160, frames, frames)[:MOST_WINDOWS]
    pieces, names = [], []
    for first, speaker in found:
        piece = samples[first * 160 : first * 160 + length]
        if len(piece) == length:
            pieces.append(np.clip(np.round(piece * 32767.0), -32768, 32767).astype(np.int16))
            names.append(speaker)
    return pieces, names


def by_talk(measured: Measured, folders: list[Path]) -> list[dict]:
    """Rows by folder of recordings with RTTM, and window; pairs within one recording."""
    rows = []
    for folder in folders:
        recordings = sorted(p for p in folder.iterdir() if p.with_suffix(".rttm").is_file() and p.suffix != ".rttm")
        recordings = [p for p in recordings if p.suffix in (".flac", ".wav", ".opus")]
        if not recordings:
            raise DataError(f"{folder}: no recordings with .rttm beside them")
        for window_ms in CONDITION_WINDOWS_MS:
            pieces, who, where = [], [], []
            for number, recording in enumerate(recordings):
                found, names = talk_windows(recording, window_ms)
                pieces += found
                who += [f"{number}/{name}" for name in names]
                where += [number] * len(found)
            _, speakers = np.unique(who, return_inverse=True)
            row = measured.eer(np.stack(pieces), speakers, np.asarray(where))
            rows.append(
                {
                    "recordings": folder.name,
                    "n_recordings": len(recordings),
                    "windows": len(pieces),
                    "window_ms": window_ms,
                    "eer": row,
                }
            )
    return rows


def markdown(head: list[str], rows: list[dict], keys: list[str]) -> str:
    """A table: the columns ``keys`` of each row, its window, its error rates."""
    columns = list(dict.fromkeys(column for row in rows for column in row["eer"]))
    lines = ["| " + " | ".join([*head, "window", *columns]) + " |", "|---" * (len(head) + 1 + len(columns)) + "|"]
    for row in rows:
        cells = [str(row[key]) for key in keys] + [f"{row['window_ms'] / 1000:g} s"]
        cells += [f"{row['eer'][c]:.2f}" if c in row["eer"] else "–" for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(rows: list[dict]) -> dict[str, float]:
    return {c: float(np.mean([row["eer"][c] for row in rows])) for c in rows[0]["eer"]}


def means(rows: list[dict]) -> list[dict]:
    """The mean over sets by window."""
    out = []
    for window_ms in WINDOWS_MS:
        part = [r for r in rows if r["window_ms"] == window_ms]
        if part:
            name = f"mean of {len(part)}"
            out.append({"set": name, "speakers": "", "trained": "", "window_ms": window_ms, "eer": _mean(part)})
    return out


def condition_means(rows: list[dict]) -> list[dict]:
    """The mean over sets by condition and window."""
    out = []
    for name in dict.fromkeys(row["condition"] for row in rows):
        for window_ms in CONDITION_WINDOWS_MS:
            part = [r for r in rows if (r["condition"], r["window_ms"]) == (name, window_ms)]
            out.append({"condition": name, "sets": len(part), "window_ms": window_ms, "eer": _mean(part)})
    return out
