"""Batches of augmented features, made in a process of their own beside each trainer."""

from __future__ import annotations

import multiprocessing as mp
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .augment import Augmenter, AugmentParams
from .data import SAMPLE_RATE_HZ, DataError, load_cache, read_audio
from .front_end import FrontEnd, LogMel
from .rooms import read_rooms
from .targets import SourceWeights, load_targets

QUEUED_BATCHES = 6
# A speaker's chance grows with its speech up to here, so that a voice of two seconds
# does not come as often as one of minutes.
FULL_CHANCE_S = 45.0


@dataclass(frozen=True)
class LoaderParams:
    """What the batches of one trainer are made of."""

    caches: tuple[str, ...]
    noise_dir: str | None
    batch: int
    seed: int
    same_set: float = 0.5
    speed_share: float = 0.5
    teachers: tuple[str, ...] = ("resemblyzer",)
    # File of weigh-teachers; without it all teachers count alike.
    weights: str | None = None
    # Caches without speakers, and their share of a batch.
    unlabelled: tuple[str, ...] = ()
    unlabelled_share: float = 0.1
    # Recording sets that training is not to hear.
    hold_out: tuple[str, ...] = ()
    rooms_dir: str | None = None

    @property
    def n_unlabelled(self) -> int:
        """Crops of a batch whose speaker is not known."""
        return round(self.batch * self.unlabelled_share) if self.unlabelled else 0


@dataclass
class Batch:
    """Features (N, n_mels, T), class (N,), -1 where no speaker is known, targets of all teachers side by side
    (N, D), the teachers' weights (N, n_teachers); all but the classes float32."""

    features: Tensor
    classes: Tensor
    targets: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device) for t in (self.features, self.classes, self.targets, self.weights)))


def read_noises(folder: Path) -> list[np.ndarray]:
    """Every file of the folder, in the order of their names."""
    return [read_audio(p) for p in sorted(folder.iterdir()) if p.is_file()]


def draw_length(mix: tuple[list[float], list[float]], rng: np.random.Generator) -> int:
    """Samples of the next batch's crops; ``mix`` has lengths in seconds and the chance of each."""
    lengths, chances = mix
    return int(lengths[rng.choice(len(lengths), p=np.asarray(chances))] * SAMPLE_RATE_HZ)


class Sampler:
    """Draws crops: speaker first, then one of its pieces, then a place in it."""

    def __init__(self, params: LoaderParams) -> None:
        self.params = params
        # Labelled caches first, those without speakers after them.
        self.n_labelled = len(params.caches)
        paths = [Path(p) for p in (*params.caches, *params.unlabelled)]
        self.caches = [load_cache(p) for p in paths]
        table = SourceWeights.even(params.teachers)
        if params.weights:
            table = SourceWeights.read(Path(params.weights), params.teachers)
        self.targets, self.dims = load_targets(paths, self.caches, table)
        base = self.caches[0]
        unknown = sorted(set(params.hold_out) - set(base.sets))
        if unknown:
            raise DataError(f"hold_out: no set {', '.join(unknown)}; there are {', '.join(sorted(set(base.sets)))}")
        n_speakers = len(base.speakers)
        self.n_classes = n_speakers * self.n_labelled
        # A piece that no teacher has embedded is not drawn.
        heard = [t.weights.any(1) for t in self.targets]
        self.rows = [
            [np.flatnonzero((c.pieces[:, 0] == s) & h) for s in range(n_speakers)]
            for c, h in zip(self.caches[: self.n_labelled], heard, strict=False)
        ]
        self.free_rows = [
            (cache_idx, row)
            for cache_idx in range(self.n_labelled, len(self.caches))
            for row in np.flatnonzero(heard[cache_idx])
        ]
        if params.n_unlabelled and not self.free_rows:
            raise DataError(f"{', '.join(params.unlabelled)}: no piece that a teacher has embedded")
        seconds = np.zeros(n_speakers)
        lengths = (base.pieces[:, 2] - base.pieces[:, 1]) / SAMPLE_RATE_HZ
        np.add.at(seconds, base.pieces[:, 0], lengths)
        self.chance = np.sqrt(np.minimum(seconds, FULL_CHANCE_S))
        held = np.isin(base.sets, params.hold_out)
        mute = np.asarray([len(rows) == 0 for rows in self.rows[0]])
        self.chance[held | mute] = 0.0
        if not self.chance.any():
            raise DataError(f"{params.caches[0]}: nothing to train on that is not held out")
        sets = np.asarray(base.sets)
        self.members = {
            name: np.flatnonzero((sets == name) & (self.chance > 0)) for name in sorted(set(base.sets))
        }
        self.members = {name: members for name, members in self.members.items() if len(members)}
        large = {n: m for n, m in self.members.items() if len(m) >= 10}
        self.set_names = list(large) or list(self.members)
        weight = np.array([self.chance[self.members[n]].sum() for n in self.set_names]) ** 0.75
        self.set_chance = weight / weight.sum()

    def speakers(self, n: int, rng: np.random.Generator) -> np.ndarray:
        n_same = round(n * self.params.same_set)
        members = self.members[self.set_names[rng.choice(len(self.set_names), p=self.set_chance)]]
        chance = self.chance[members]
        same = rng.choice(members, n_same, p=chance / chance.sum())
        rest = rng.choice(len(self.chance), n - n_same, p=self.chance / self.chance.sum())
        return np.concatenate([same, rest])

    def crop(self, cache_idx: int, row: int, n_samples: int, rng) -> np.ndarray:
        cache = self.caches[cache_idx]
        _, start, end = cache.pieces[row]
        if end - start > n_samples:
            start = start + rng.integers(end - start - n_samples)
        piece = cache.samples[start : min(end, start + n_samples)].astype(np.float32) / 32768.0
        return np.resize(piece, n_samples)

    def draw(self, n_samples: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Crops (N, n_samples), classes (N,), targets (N, D), weights (N, n_teachers)."""
        n_free = self.params.n_unlabelled
        speakers = self.speakers(self.params.batch - n_free, rng)
        n_speeds = self.n_labelled - 1
        picked, classes = [], []
        for speaker in speakers:
            changed = n_speeds and rng.random() < self.params.speed_share
            cache_idx = 1 + rng.integers(n_speeds) if changed else 0
            if len(self.rows[cache_idx][speaker]) == 0:
                cache_idx = 0
            picked.append((cache_idx, rng.choice(self.rows[cache_idx][speaker])))
            classes.append(cache_idx * len(self.chance) + speaker)
        for _ in range(n_free):
            picked.append(self.free_rows[rng.integers(len(self.free_rows))])
            classes.append(-1)
        crops = np.stack([self.crop(cache_idx, row, n_samples, rng) for cache_idx, row in picked])
        targets = np.stack([self.targets[c].vectors[row] for c, row in picked])
        weights = np.stack([self.targets[c].weights[row] for c, row in picked])
        return crops, np.asarray(classes, np.int64), targets, weights


def _work(
    params: LoaderParams,
    front: FrontEnd,
    augment: AugmentParams,
    queue: mp.Queue,
    stage: mp.Value,
    mixes: list[tuple[list[float], list[float]]],
) -> None:
    rng = np.random.default_rng(params.seed)
    sampler = Sampler(params)
    noises = read_noises(Path(params.noise_dir)) if params.noise_dir else []
    rooms = read_rooms(Path(params.rooms_dir)) if params.rooms_dir else []
    augmenter = Augmenter(augment, noises, params.seed, measured=rooms)
    mel = LogMel(front, np.float32)
    last = None
    while True:
        crops, classes, targets, weights = sampler.draw(draw_length(mixes[stage.value], rng), rng)
        others = crops if last is None or last.shape[1] < crops.shape[1] else last
        dirty = augmenter(crops, others[:, : crops.shape[1]], rng)
        last = crops
        features = augmenter.mask(mel(dirty), rng)
        queue.put((features, classes, targets, weights))


class Loader:
    """One process of batches; ``set_stage`` picks the mixture of crop lengths."""

    def __init__(
        self,
        params: LoaderParams,
        front: FrontEnd,
        augment: AugmentParams,
        mixes: list[tuple[list[float], list[float]]],
    ) -> None:
        context = mp.get_context("spawn")
        self.queue = context.Queue(QUEUED_BATCHES)
        self.stage = context.Value("i", 0)
        self.process = context.Process(
            target=_work,
            args=(params, front, augment, self.queue, self.stage, mixes),
            daemon=True,
        )
        self.process.start()

    def set_stage(self, stage: int) -> None:
        self.stage.value = stage

    def __next__(self) -> Batch:
        while True:
            try:
                return Batch(*map(torch.from_numpy, self.queue.get(timeout=30)))
            except Exception as error:
                if not self.process.is_alive():
                    raise RuntimeError("the loader process has died, see its output") from error

    def close(self) -> None:
        self.process.terminate()
