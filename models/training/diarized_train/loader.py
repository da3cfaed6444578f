"""Batches of augmented features, made in a process of their own beside each trainer."""

from __future__ import annotations

import multiprocessing as mp
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .augment import Augmenter, AugmentParams
from .data import SAMPLE_RATE_HZ, Cache, load_cache, read_audio
from .front_end import FrontEnd, LogMel

QUEUED_BATCHES = 6
# A speaker's chance grows with its speech up to here, so that a voice heard for two
# seconds does not come as often as one heard for minutes.
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


@dataclass
class Batch:
    """Features (N, n_mels, T) float32, class (N,), teacher targets (N, D) float32."""

    features: Tensor
    classes: Tensor
    targets: Tensor


def read_noises(folder: Path) -> list[np.ndarray]:
    """Every file of the folder, in the order of their names."""
    return [read_audio(p) for p in sorted(folder.iterdir()) if p.is_file()]


def draw_length(mix: tuple[list[float], list[float]], rng: np.random.Generator) -> int:
    """Samples of the next batch's crops; ``mix`` has lengths in seconds and the chance of each."""
    lengths, chances = mix
    return int(lengths[rng.choice(len(lengths), p=np.asarray(chances))] * SAMPLE_RATE_HZ)


def speaker_targets(cache: Cache, embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What a piece's student should match: the teacher, centred, drawn to its speaker.

    The teacher's vectors are all positive, so raw cosines of strangers lie near 0.6;
    subtracting the mean spreads them. Half of the target is the speaker's own mean, which
    holds less of the piece's words and noise.
    """
    heard = embeddings.any(1)
    centred = (embeddings - mean) * heard[:, None]
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    speakers = cache.pieces[:, 0]
    sums = np.zeros((len(cache.speakers), centred.shape[1]), np.float32)
    np.add.at(sums, speakers, centred)
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    blended = centred + means[speakers]
    blended /= np.maximum(np.linalg.norm(blended, axis=1, keepdims=True), 1e-9)
    return blended.astype(np.float32)


class Sampler:
    """Draws crops: speaker first, then one of its pieces, then a place in it."""

    def __init__(self, params: LoaderParams) -> None:
        self.params = params
        self.caches = [load_cache(Path(p)) for p in params.caches]
        tables = [np.load(f"{p}.teacher.npy") for p in params.caches]
        mean = tables[0][tables[0].any(1)].mean(0)
        self.targets = [
            speaker_targets(c, t, mean) for c, t in zip(self.caches, tables, strict=True)
        ]
        base = self.caches[0]
        n_speakers = len(base.speakers)
        self.n_classes = n_speakers * len(self.caches)
        # A piece that the teacher has not heard is not drawn.
        heard = [t.any(1) for t in tables]
        self.rows = [
            [np.flatnonzero((c.pieces[:, 0] == s) & h) for s in range(n_speakers)]
            for c, h in zip(self.caches, heard, strict=True)
        ]
        seconds = np.zeros(n_speakers)
        lengths = (base.pieces[:, 2] - base.pieces[:, 1]) / SAMPLE_RATE_HZ
        np.add.at(seconds, base.pieces[:, 0], lengths)
        self.chance = np.sqrt(np.minimum(seconds, FULL_CHANCE_S))
        sets = np.asarray(base.sets)
        self.members = {name: np.flatnonzero(sets == name) for name in sorted(set(base.sets))}
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

    def draw(self, n_samples: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Crops (N, n_samples), classes (N,), targets (N, D)."""
        speakers = self.speakers(self.params.batch, rng)
        n_speeds = len(self.caches) - 1
        crops, classes, targets = [], [], []
        for speaker in speakers:
            changed = n_speeds and rng.random() < self.params.speed_share
            cache_idx = 1 + rng.integers(n_speeds) if changed else 0
            if len(self.rows[cache_idx][speaker]) == 0:
                cache_idx = 0
            row = rng.choice(self.rows[cache_idx][speaker])
            crops.append(self.crop(cache_idx, row, n_samples, rng))
            classes.append(cache_idx * len(self.chance) + speaker)
            targets.append(self.targets[cache_idx][row])
        return np.stack(crops), np.asarray(classes, np.int64), np.stack(targets)


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
    augmenter = Augmenter(augment, noises, params.seed)
    mel = LogMel(front, np.float32)
    last = None
    while True:
        crops, classes, targets = sampler.draw(draw_length(mixes[stage.value], rng), rng)
        others = crops if last is None or last.shape[1] < crops.shape[1] else last
        dirty = augmenter(crops, others[:, : crops.shape[1]], rng)
        last = crops
        features = augmenter.mask(mel(dirty), rng)
        queue.put((features, classes, targets))


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
