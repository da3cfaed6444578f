"""Verification trials on held-out speakers: all pairs of a few crops of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .data import SAMPLE_RATE_HZ, Cache
from .front_end import LogMel

CROPS_PER_SPEAKER = 8
WINDOWS_MS = (1000, 1500, 2000, 3000)


@dataclass(frozen=True)
class Trials:
    """Crops of held-out speakers; ``rows`` indexes the cache's pieces."""

    rows: np.ndarray
    speakers: np.ndarray
    sets: np.ndarray


def choose_trials(cache: Cache, per_speaker: int = CROPS_PER_SPEAKER) -> Trials:
    """The first pieces of each speaker that hold the longest window."""
    longest = max(WINDOWS_MS) * SAMPLE_RATE_HZ // 1000
    rows: list[int] = []
    taken: dict[int, int] = {}
    for row, (speaker, start, end) in enumerate(cache.pieces):
        if end - start >= longest and taken.get(int(speaker), 0) < per_speaker:
            taken[int(speaker)] = taken.get(int(speaker), 0) + 1
            rows.append(row)
    index = np.asarray(rows)
    speakers = cache.pieces[index, 0]
    return Trials(index, speakers, np.asarray([cache.sets[s] for s in speakers]))


def crops(cache: Cache, trials: Trials, window_ms: int) -> np.ndarray:
    """(n, n_samples) int16: the middle of each piece's first longest window."""
    longest = max(WINDOWS_MS) * SAMPLE_RATE_HZ // 1000
    length = window_ms * SAMPLE_RATE_HZ // 1000
    begin = (longest - length) // 2
    starts = cache.pieces[trials.rows, 1] + begin
    return np.stack([cache.samples[s : s + length] for s in starts])


def eer(scores: np.ndarray, target: np.ndarray) -> float:
    """Equal error rate, a fraction, interpolated where the two rates cross."""
    order = np.argsort(-scores, kind="stable")
    target = target[order]
    miss = 1.0 - np.cumsum(target) / target.sum()
    alarm = np.cumsum(~target) / (~target).sum()
    crossing = int(np.argmax(alarm >= miss))
    if crossing == 0:
        return float((miss[0] + alarm[0]) / 2)
    gap_before = miss[crossing - 1] - alarm[crossing - 1]
    gap_after = alarm[crossing] - miss[crossing]
    share = gap_before / max(gap_before + gap_after, 1e-12)
    return float(alarm[crossing - 1] + share * (alarm[crossing] - alarm[crossing - 1]))


def pair_scores(
    left: np.ndarray, right: np.ndarray, speakers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all unordered pairs of different crops, and whether each is a target."""
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    i, j = np.triu_indices(len(left), 1)
    return (left @ right.T)[i, j], speakers[i] == speakers[j]


def groups(trials: Trials) -> dict[str, np.ndarray]:
    """Masks of the trial groups reported: the hard phone set alone, the others, all."""
    hard = trials.sets == "speechocean762"
    named = {"all": np.ones(len(hard), bool)}
    if hard.any() and not hard.all():
        named = {"speechocean762": hard, "others": ~hard, **named}
    return named


def eer_table(embeddings: dict[int, np.ndarray], trials: Trials) -> dict[str, dict[int, float]]:
    """EER in percent by group and window."""
    table: dict[str, dict[int, float]] = {}
    for name, mask in groups(trials).items():
        table[name] = {}
        for window_ms, vectors in embeddings.items():
            scores, target = pair_scores(vectors[mask], vectors[mask], trials.speakers[mask])
            table[name][window_ms] = round(100.0 * eer(scores, target), 3)
    return table


@torch.inference_mode()
def embed_crops(
    network: torch.nn.Module, mel: LogMel, samples: np.ndarray, bf16: bool, batch: int = 64
) -> np.ndarray:
    network.eval()
    out = []
    for start in range(0, len(samples), batch):
        features = mel(samples[start : start + batch].astype(np.float32) / 32768.0)
        device = next(network.parameters()).device
        tensor = torch.from_numpy(features).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            out.append(network(tensor).float().cpu().numpy())
    return np.concatenate(out)
