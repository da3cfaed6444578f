"""What a student should match: every teacher's view of a piece, and how much each counts there.

Each recording set has a weight for each teacher, chosen on validation speakers by what the teacher is good at
there. Targets of all teachers lie side by side, weights beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .data import Cache, DataError
from .teachers import TeacherError, table_path, unit

# A teacher's weight falls with this power of its error rate, and no lower than the floor.
EER_POWER = 2.0
LEAST_WEIGHT = 0.05
# Error rates are counted as at least this much, in percent: a set of six speakers shows none.
LEAST_EER = 0.5


@dataclass(frozen=True)
class SourceWeights:
    """Weights of the teachers by recording set, each row's sum one."""

    teachers: tuple[str, ...]
    otherwise: tuple[float, ...]
    by_set: dict[str, tuple[float, ...]]

    def of(self, name: str) -> tuple[float, ...]:
        return self.by_set.get(name, self.otherwise)

    @classmethod
    def even(cls, teachers: tuple[str, ...]) -> SourceWeights:
        return cls(teachers, (1.0 / len(teachers),) * len(teachers), {})

    @classmethod
    def read(cls, path: Path, teachers: tuple[str, ...]) -> SourceWeights:
        """From the file that ``weigh-teachers`` writes; columns are put in the order of ``teachers``."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            columns = [table["teachers"].index(name) for name in teachers]
            rows = {"otherwise": table["otherwise"], **table["sets"]}
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; weigh-teachers makes it") from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no table of teacher weights: {error}") from error
        except ValueError as error:
            raise DataError(f"{path} has no weights for a teacher: {error}") from error
        picked = {}
        for name, row in rows.items():
            part = np.asarray([row[c] for c in columns], float)
            if not (part >= 0).all() or part.sum() <= 0:
                raise DataError(f"{path}: weights of {name} ({row}) must be >= 0 and not all 0")
            picked[name] = tuple(part / part.sum())
        return cls(tuple(teachers), picked.pop("otherwise"), picked)

    def to_dict(self) -> dict:
        return {
            "teachers": list(self.teachers),
            "otherwise": [round(w, 4) for w in self.otherwise],
            "sets": {k: [round(w, 4) for w in v] for k, v in sorted(self.by_set.items())},
        }


def weights_from_eer(eer_percent: Sequence[float]) -> tuple[float, ...]:
    """Weights of the teachers from their error rates on the same trials."""
    rates = np.maximum(np.asarray(eer_percent, float), LEAST_EER)
    weight = np.maximum(rates**-EER_POWER / (rates**-EER_POWER).sum(), LEAST_WEIGHT)
    return tuple(weight / weight.sum())


def blend(cache: Cache, embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A teacher's targets: its embeddings, centred, half of each drawn to its speaker's mean.

    Raw cosines of strangers lie well above zero (Resemblyzer's near 0.6, its vectors are all positive);
    subtracting the mean spreads them. A speaker's mean holds less of the piece's words and noise.
    """
    heard = embeddings.any(1)
    centred = unit((embeddings - mean) * heard[:, None])
    speakers = cache.pieces[:, 0]
    sums = np.zeros((len(cache.speakers), centred.shape[1]), np.float32)
    np.add.at(sums, speakers, centred)
    blended = unit(centred + unit(sums)[speakers]) * heard[:, None]
    return blended.astype(np.float32)


@dataclass(frozen=True)
class Targets:
    """Of one cache: ``vectors`` (n_pieces, sum of dims), ``weights`` (n_pieces, n_teachers).

    A piece's weights have the sum one over the teachers that have embedded it, or are all zero.
    """

    vectors: np.ndarray
    weights: np.ndarray


def read_table(cache: Path, teacher: str, n_pieces: int) -> np.ndarray:
    path = table_path(cache, teacher)
    if not path.is_file():
        raise TeacherError(f"{path}: no such file; prepare with --teacher {teacher} makes it")
    with np.load(path) as saved:
        table = saved["embeddings"]
    if len(table) != n_pieces:
        raise TeacherError(
            f"{path} has {len(table)} rows, the cache {n_pieces} pieces; prepare makes it again"
        )
    return table


def _tables(
    paths: Sequence[Path], caches: Sequence[Cache], teacher: str, teachers: tuple[str, ...]
) -> list[np.ndarray]:
    """A teacher's answers by cache; it may lack all of a cache that is not the first, where another has some."""
    tables = [read_table(paths[0], teacher, len(caches[0].pieces))]
    for path, cache in zip(paths[1:], caches[1:], strict=True):
        others = (table_path(path, name).is_file() for name in teachers if name != teacher)
        if not table_path(path, teacher).is_file() and any(others):
            tables.append(np.zeros((len(cache.pieces), tables[0].shape[1]), np.float32))
        else:
            tables.append(read_table(path, teacher, len(cache.pieces)))
    return tables


def usable(cache_path: Path, cache: Cache, teacher: str) -> bool:
    """Whether the teacher's answers are of these very pieces."""
    path = table_path(cache_path, teacher)
    if not path.is_file():
        return False
    with np.load(path) as saved:
        return len(saved["embeddings"]) == len(cache.pieces)


def load_targets(
    paths: Sequence[Path], caches: Sequence[Cache], weights: SourceWeights
) -> tuple[list[Targets], tuple[int, ...]]:
    """Targets of every cache, and the teachers' sizes. The first cache's mean is taken off all."""
    vectors: list[list[np.ndarray]] = [[] for _ in caches]
    heard: list[list[np.ndarray]] = [[] for _ in caches]
    dims = []
    for teacher in weights.teachers:
        tables = _tables(paths, caches, teacher, weights.teachers)
        done = tables[0].any(1)
        if not done.any():
            raise TeacherError(f"{table_path(paths[0], teacher)} holds no embedding yet")
        mean = tables[0][done].mean(0)
        dims.append(tables[0].shape[1])
        for i, (cache, table) in enumerate(zip(caches, tables, strict=True)):
            vectors[i].append(blend(cache, table, mean))
            heard[i].append(table.any(1))
    out = []
    for cache, parts, known in zip(caches, vectors, heard, strict=True):
        by_speaker = np.asarray([weights.of(name) for name in cache.sets])
        row = by_speaker[cache.pieces[:, 0]] * np.stack(known, axis=1)
        row = row / np.maximum(row.sum(1, keepdims=True), 1e-9)
        out.append(Targets(np.concatenate(parts, axis=1), row.astype(np.float32)))
    return out, tuple(dims)
