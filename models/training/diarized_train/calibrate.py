"""Cosine to log-likelihood ratio, per window length, from held-out speakers.

Logistic regression with both classes weighted equally, so that the fitted log odds are a
log-likelihood ratio free of any prior (Brümmer and du Preez, "Application-independent
evaluation of speaker detection", 2006). Non-targets are pairs of one recording set only:
in one room everybody shares the channel, and strangers on other channels would make the
evidence look stronger than it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .augment import Augmenter, AugmentParams
from .data import Cache
from .evaluate import WINDOWS_MS, Trials, crops, eer, embed_crops, groups, pair_scores
from .front_end import LogMel
from .loader import read_noises

AUGMENT_SEED = 20


@dataclass(frozen=True)
class Calibration:
    """llr = scale * cosine + offset for windows of ``window_ms``; ``eer`` is a fraction."""

    window_ms: int
    scale: float
    offset: float
    eer: float


def fit_logistic(scores: np.ndarray, target: np.ndarray, steps: int = 50) -> tuple[float, float]:
    """Scale and offset that minimise the class-balanced cross entropy, by Newton's method."""
    x = np.stack([scores, np.ones_like(scores)], axis=1).astype(np.float64)
    y = target.astype(np.float64)
    weight = np.where(target, 0.5 / target.sum(), 0.5 / (~target).sum())
    beta = np.array([10.0, -10.0 * float(np.median(scores))])

    def loss(b: np.ndarray) -> float:
        z = x @ b
        return float(weight @ (np.logaddexp(0.0, z) - y * z))

    current = loss(beta)
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ beta, -60, 60)))
        gradient = x.T @ (weight * (p - y))
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(beta - size * step) > current:
            size /= 2
        beta = beta - size * step
        previous, current = current, loss(beta)
        if previous - current < 1e-12:
            break
    return float(beta[0]), float(beta[1])


def cllr(llr: np.ndarray, target: np.ndarray) -> float:
    """Cost of the log-likelihood ratios in bits; 0 is perfect, 1 says nothing."""
    miss = np.logaddexp(0.0, -llr[target]).mean()
    alarm = np.logaddexp(0.0, llr[~target]).mean()
    return float((miss + alarm) / 2 / np.log(2))


def within_set_pairs(
    left: np.ndarray, right: np.ndarray, trials: Trials
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of ordered pairs of different pieces within one set, and whether target."""
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    right = right / np.linalg.norm(right, axis=1, keepdims=True)
    same_set = trials.sets[:, None] == trials.sets[None, :]
    np.fill_diagonal(same_set, False)
    i, j = np.nonzero(same_set)
    return (left @ right.T)[i, j], trials.speakers[i] == trials.speakers[j]


def fit(clean: dict[int, np.ndarray], dirty: dict[int, np.ndarray], trials: Trials):
    """Calibrations for every window, each on pairs with all windows, clean and corrupted."""
    out = []
    for window_ms in clean:
        scores, targets = [], []
        for version in (clean, dirty):
            for other_ms in clean:
                s, t = within_set_pairs(version[window_ms], version[other_ms], trials)
                scores.append(s)
                targets.append(t)
        scale, offset = fit_logistic(np.concatenate(scores), np.concatenate(targets))
        s, t = pair_scores(clean[window_ms], clean[window_ms], trials.speakers)
        out.append(Calibration(window_ms, scale, offset, eer(s, t)))
    return out


def corrupted_crops(
    cache: Cache, trials: Trials, window_ms: int, noise_dir: str | None
) -> np.ndarray:
    """The trials' crops through rooms, noise and channels, int16; the same at every call."""
    noises = []
    if noise_dir:
        noises = read_noises(Path(noise_dir))
    augmenter = Augmenter(AugmentParams(interferer=0.0, silence_edge=0.0), noises, AUGMENT_SEED)
    rng = np.random.default_rng(AUGMENT_SEED + window_ms)
    samples = crops(cache, trials, window_ms)
    out = []
    for start in range(0, len(samples), 64):
        batch = samples[start : start + 64].astype(np.float32) / 32768.0
        others = batch[rng.permutation(len(batch))]
        out.append(augmenter(batch, others, rng))
    return np.round(np.concatenate(out) * 32767.0).astype(np.int16)


def embed_validation(
    network: torch.nn.Module, mel: LogMel, cache: Cache, trials: Trials, noise_dir: str | None
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Embeddings of the trials' crops by window, clean and corrupted."""
    clean, dirty = {}, {}
    for window_ms in WINDOWS_MS:
        samples = crops(cache, trials, window_ms)
        clean[window_ms] = embed_crops(network, mel, samples, bf16=False)
        samples = corrupted_crops(cache, trials, window_ms, noise_dir)
        dirty[window_ms] = embed_crops(network, mel, samples, bf16=False)
    return clean, dirty


def eer_rows(
    columns: dict[str, dict[int, np.ndarray]], trials: Trials
) -> list[tuple[str, int, dict[str, float]]]:
    """(group, window, EER in percent by column), all columns on the same trials."""
    rows = []
    for name, mask in groups(trials).items():
        for window_ms in WINDOWS_MS:
            row = {}
            for column, embeddings in columns.items():
                vectors = embeddings[window_ms][mask]
                row[column] = 100.0 * eer(*pair_scores(vectors, vectors, trials.speakers[mask]))
            rows.append((name, window_ms, row))
    return rows
