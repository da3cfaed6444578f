"""Examples of talk from which the segmenter learns: the latest ones, and those that were made before."""

from __future__ import annotations

import multiprocessing as mp
import queue as queues
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .talk_shards import read_shard


class Pool:
    """The latest examples, from which batches are drawn; 190 kB for each of ten seconds."""

    def __init__(
        self,
        capacity: int,
        seed: int,
        n_made: int = 0,
        first: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.capacity = capacity
        # What is done to an example's features before it is kept.
        self.first = first
        self.rows: list[tuple[np.ndarray, ...]] = []
        self.oldest = 0
        self.n_made = n_made
        self.rng = np.random.default_rng(seed)

    def add(self, batch: tuple[np.ndarray, ...]) -> None:
        """Keeps the examples of a batch, in place of the oldest ones."""
        features, voices, snr, c50, teacher = batch
        self.n_made += len(features)
        features = self.first(features) if self.first else features
        for row in zip(
            features,
            voices.astype(np.int8),
            snr.astype(np.float16),
            c50.astype(np.float16),
            teacher,
            strict=True,
        ):
            if len(self.rows) < self.capacity:
                self.rows.append(row)
            else:
                self.rows[self.oldest] = row
                self.oldest = (self.oldest + 1) % self.capacity

    def fill(self, queue: mp.Queue, least: int) -> None:
        """Takes in what has been made; waits only while there is less than ``least``."""
        while True:
            try:
                self.add(queue.get(timeout=120) if len(self.rows) < least else queue.get_nowait())
            except queues.Empty:
                if len(self.rows) < least:
                    raise SystemExit("error: no example was made in two minutes") from None
                return

    def draw(self, n: int, device: torch.device) -> list[Tensor]:
        """Features, voices, SNR, C50 and the teacher's answers of ``n`` examples."""
        drawn = [self.rows[i] for i in self.rng.integers(len(self.rows), size=n)]
        columns = [np.stack(column) for column in zip(*drawn, strict=True)]
        return [torch.from_numpy(column).to(device).float() for column in columns]


class Shards:
    """The folder of make-talk, read as it fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read: set[Path] = set()

    def into(self, pool: Pool, at_most: int) -> None:
        """Adds shards that were not read yet; none at all is an error."""
        fresh = sorted(p for p in self.folder.glob("*.npz") if p not in self.read)
        for path in fresh[:at_most]:
            pool.add(read_shard(path))
            self.read.add(path)
        if not self.read:
            raise SystemExit(f"error: {self.folder}: no shards there; make-talk makes them")
