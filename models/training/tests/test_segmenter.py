"""The segmenter as a stream, the synthetic talk's labels, and the PLDA fit."""

from __future__ import annotations

import numpy as np
import torch

from diarized_train.conversations import bridge, clarity_db
from diarized_train.plda import clean_windows, fit_plda
from diarized_train.segmenter import Segmenter, SegmenterConfig
from diarized_train.segmenter_pool import Pool


def test_a_stream_gives_what_a_batch_gives() -> None:
    torch.manual_seed(1)
    network = Segmenter(SegmenterConfig(channels=8, dilations=(1, 4, 16)))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    network.eval()
    features = torch.randn(1, 80, 70)
    with torch.inference_mode():
        whole = network(features)
        caches, parts = network.empty_caches(), []
        for start, stop in ((0, 10), (10, 11), (11, 40), (40, 70)):
            out, caches = network.stream(features[:, :, start:stop], caches)
            parts.append(out)
    assert torch.allclose(torch.cat(parts, dim=2), whole, atol=1e-4)


def test_short_pauses_are_speech_and_long_ones_are_not() -> None:
    mask = np.array([1, 0, 0, 1, 0, 0, 0, 1], bool)
    assert bridge(mask, 2).tolist() == [True, True, True, True, False, False, False, True]


def test_clarity_is_the_ratio_at_50_ms() -> None:
    response = np.zeros(4000)
    response[0], response[900] = 1.0, 0.1
    assert abs(clarity_db(response) - 20.0) < 1e-6


def test_windows_of_two_people_are_left_out() -> None:
    turns = [(0.0, 4.0, "a"), (4.0, 8.0, "b")]
    found = clean_windows(turns, 800)
    assert {speaker for _, speaker in found} == {"a", "b"}
    assert all(first + 150 <= 402 or first >= 398 for first, _ in found)


def test_plda_finds_the_directions_in_which_speakers_differ() -> None:
    rng = np.random.default_rng(5)
    speakers = np.repeat(np.arange(300), 20)
    # Speakers differ in the first value alone, with three times the scatter of one speaker.
    x = rng.standard_normal((len(speakers), 4)) * [1.0, 2.0, 0.5, 1.0]
    x[:, 0] += 3.0 * rng.standard_normal(300)[speakers]
    mean, variances, transform = fit_plda(x, speakers, 2, 0.0, 0.0)
    assert np.abs(mean).max() < 0.6
    assert 7.0 < variances[0] < 11.0 and variances[1] < 0.5
    direction = np.abs(transform[0]) / np.linalg.norm(transform[0])
    assert direction[0] > 0.99
    # The scatter within a speaker is one there.
    within = ((x - mean) @ transform[0]).reshape(300, 20).std(axis=1, ddof=1)
    assert abs(within.mean() - 1.0) < 0.1
    # Shrinkage keeps the sum of the variances and makes them less unequal.
    _, drawn, _ = fit_plda(x, speakers, 2, 0.0, 0.4)
    assert np.isclose(drawn.sum(), variances.sum())
    assert variances[1] < drawn[1] < drawn[0] < variances[0]
    # With an even scatter within, the directions are those in which speakers differ most of all.
    _, _, even = fit_plda(x, speakers, 4, 1.0, 0.0)
    lengths = np.linalg.norm(even, axis=1)
    assert np.allclose(lengths, lengths[0])


def test_a_pool_keeps_the_latest_and_draws_whole_examples() -> None:
    pool = Pool(6, seed=1)
    for first in (0, 4, 8):
        numbers = np.arange(first, first + 4, dtype=np.float32)
        per_frame = np.repeat(numbers[:, None], 3, axis=1)
        features, answers = np.repeat(per_frame[:, None], 2, axis=1), np.repeat(per_frame[..., None], 2, axis=2)
        pool.add((features, per_frame, per_frame, per_frame, answers))
    assert (pool.n_made, len(pool.rows)) == (12, 6)
    features, voices, snr, c50, teacher = pool.draw(200, torch.device("cpu"))
    assert features.shape == (200, 2, 3) and voices.shape == (200, 3)
    assert set(voices[:, 0].tolist()) == {6.0, 7.0, 8.0, 9.0, 10.0, 11.0}
    assert all(torch.equal(x, voices) for x in (features[:, 0], snr, c50, teacher[..., 1]))
