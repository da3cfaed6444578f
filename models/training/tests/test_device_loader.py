"""What the device's loader makes, on the processor: the same features, the same kinds of corruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from diarized_train.augment import Augmenter, AugmentParams
from diarized_train.device_loader import DeviceAugmenter, DeviceLoader
from diarized_train.device_log_mel import DeviceLogMel
from diarized_train.front_end import FrontEnd, LogMel
from diarized_train.loader import LoaderParams

CPU = torch.device("cpu")
KINDS = ["untouched", "room", "noise", "interferer", "silence_edge", "band_limit", "tilt", "mu_law", "clip", "quiet"]


def talk_like(n: int, n_samples: int, seed: int) -> np.ndarray:
    """Noise whose level comes and goes, below full scale."""
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.linspace(0, 9, n_samples) + rng.uniform(0, 3, (n, 1)))) + 0.05
    noise = np.cumsum(rng.standard_normal((n, n_samples)), axis=1)
    noise -= np.linspace(0, 1, n_samples) * noise[:, -1:]
    x = swell * np.diff(noise, axis=1, prepend=0) + 0.02 * noise
    return (0.5 * x / np.abs(x).max(1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("normalisation", ["none", "window"])
def test_features_are_those_of_the_reference(normalisation):
    front = FrontEnd(mean_normalisation=normalisation)
    samples = np.round(talk_like(4, 24000, 1) * 32767) / 32768
    expected = LogMel(front)(samples)
    got = DeviceLogMel(front, CPU)(torch.from_numpy(samples).float()).numpy()
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_other_front_ends_are_refused():
    with pytest.raises(ValueError, match="center_reflect"):
        DeviceLogMel(FrontEnd(framing="center_reflect"), CPU)


def spread(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9])


@pytest.mark.parametrize(
    "only",
    ["room", "noise", "tilt", "band_limit", "clip", "mu_law", "quiet", "silence_edge", "interferer", "echo"],
)
def test_each_corruption_is_as_strong_as_on_the_processor(only):
    params = AugmentParams(**dict.fromkeys(KINDS, 0.0) | {only: 1.0})
    crops = talk_like(192, 16000, 2)
    noises = [talk_like(1, 90000, 3)[0], talk_like(1, 40000, 4)[0]]
    reference = Augmenter(params, noises, 5, n_rooms=150)
    rng = np.random.default_rng(6)
    expected = np.concatenate([reference(crops, crops[::-1], rng) for _ in range(3)])
    device = DeviceAugmenter(params, noises, 5, CPU, n_rooms=150)
    got = np.concatenate([device(torch.from_numpy(crops)).numpy() for _ in range(3)])
    assert np.isfinite(got).all() and np.abs(got).max() <= 1.0
    # How far a log-mel row is from the clean one, by bin and over time, tells the corruptions apart.
    mel = LogMel(FrontEnd(), np.float32)
    clean = np.tile(mel(crops), (3, 1, 1))
    for axes in ((1, 2), (2,)):
        there, here = (np.abs(mel(x) - clean).mean(axes).ravel() for x in (expected, got))
        np.testing.assert_allclose(spread(here), spread(there), rtol=0.2, atol=0.03)
    level_there, level_here = (np.log10(np.square(x).mean(1) + 1e-12) for x in (expected, got))
    np.testing.assert_allclose(spread(level_here), spread(level_there), atol=0.12)


def test_a_codec_s_losses_keep_the_level_and_drop_what_is_weak():
    params = AugmentParams(**dict.fromkeys(KINDS, 0.0) | {"opus": 1.0})
    crops = talk_like(32, 16000, 8)
    got = DeviceAugmenter(params, [], 5, CPU, n_rooms=1)(torch.from_numpy(crops)).numpy()
    assert np.isfinite(got).all() and np.abs(got).max() <= 1.0
    before, after = (np.abs(np.fft.rfft(x)) for x in (crops, got))
    # Some of the band's top is gone from nearly all, and nothing that was loud is lost.
    share = (after[:, -800:] ** 2).sum(1) / (before[:, -800:] ** 2).sum(1)
    level = (got**2).sum(1) / (crops**2).sum(1)
    gain = level[:, None] ** 0.5
    assert np.median(share / level) < 0.2
    loud = before > 0.5 * before.max(1, keepdims=True)
    np.testing.assert_allclose(np.median((after / (before * gain))[loud]), 1.0, atol=0.25)


def test_measured_rooms_are_drawn_beside_the_others():
    hall = np.zeros(9000, np.float32)
    hall[[16, 4016]] = 1.0
    crops = np.zeros((64, 16000), np.float32)
    crops[:, 100] = 0.5
    params = AugmentParams(**dict.fromkeys(KINDS, 0.0) | {"room": 1.0, "measured": 1.0})
    got = DeviceAugmenter(params, [], 5, CPU, n_rooms=3, measured=[hall])(torch.from_numpy(crops)).numpy()
    there = Augmenter(params, [], 5, n_rooms=3, measured=[hall])(crops, crops, np.random.default_rng(1))
    for one in (got, there):
        late = np.abs(one[:, 4100:4130]).max(1) / np.abs(one[:, 100:130]).max(1)
        assert (late > 0.02).all(), "each crop has the hall's one reflection"
        assert np.ptp(late) > 0.1, "nearer in some, farther in others"


def test_masks_hide_as_much_as_the_processor_s():
    params = AugmentParams()
    rng = np.random.default_rng(7)
    features = np.ones((800, 80, 148), np.float32)
    expected = Augmenter(params, [], 1, n_rooms=1).mask(features.copy(), rng)
    got = DeviceAugmenter(params, [], 1, CPU, n_rooms=1).mask(torch.from_numpy(features)).numpy()
    for axis in (1, 2):
        hidden = [(1.0 - x.max(axis)).mean() for x in (expected, got)]
        assert hidden[1] == pytest.approx(hidden[0], rel=0.15)


def write_cache(path: Path, lengths: list[int], n_speakers: int, level: int) -> None:
    """Constant samples that name the piece they belong to."""
    rows, parts, position = [], [], 0
    for piece, length in enumerate(lengths):
        rows.append((piece % n_speakers, position, position + length))
        parts.append(np.full(length, level + piece, np.int16))
        position += length
    np.concatenate(parts).tofile(path.with_suffix(".i16"))
    table = {"speakers": [f"s{i}" for i in range(n_speakers)], "sets": ["a"] * n_speakers, "pieces": rows}
    path.with_suffix(".json").write_text(json.dumps(table))
    embeddings = np.random.default_rng(level).random((len(lengths), 256)).astype(np.float32)
    embeddings[3] = 0.0
    np.savez(f"{path}.resemblyzer.npz", embeddings=embeddings, keys=np.arange(len(lengths), dtype=np.uint64))


def test_crops_come_with_their_class_and_target(tmp_path):
    lengths = [9000, 20000, 40000, 16000, 3000, 17000, 30000, 16001]
    write_cache(tmp_path / "plain", lengths, 4, 1000)
    write_cache(tmp_path / "fast", lengths, 4, 2000)
    params = LoaderParams((str(tmp_path / "plain"), str(tmp_path / "fast")), None, 96, seed=3)
    loader = DeviceLoader(params, FrontEnd(), AugmentParams(), [([1.0], [1.0])], CPU)
    seen = set()
    for _ in range(6):
        crops, classes, targets, weights = loader.sampler.draw(16000, loader.rng, loader.augmenter.random)
        assert (weights == 1.0).all()
        values = (crops * 32768).round().long()
        assert (values == values[:, :1]).all(), "a crop runs over the end of its piece"
        for value, class_idx, target in zip(values[:, 0].tolist(), classes.tolist(), targets, strict=True):
            cache_idx, piece = value // 1000 - 1, value % 1000
            assert class_idx == cache_idx * 4 + piece % 4
            assert piece != 3, "a piece that the teacher has not heard"
            row = cache_idx * len(lengths) + piece
            torch.testing.assert_close(target, loader.sampler.targets[row])
            seen.add(value)
    assert len(seen) == 14
    batch = next(loader)
    assert batch.features.shape == (96, 80, 98) and torch.isfinite(batch.features).all()
