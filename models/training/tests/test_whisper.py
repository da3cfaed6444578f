"""Pseudo-whispers: no voice is left, and the vocal tract is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from diarized_train.whisper import RATE_HZ, predictors, whisper
from test_binary import CONVERSATION


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, rate = soundfile.read(CONVERSATION, dtype="float32")
    assert rate == RATE_HZ
    return samples[13600:77600]


def periodicity(samples: np.ndarray) -> float:
    """Mean of the highest autocorrelation at the lags of voices, over loud frames; near 0 in noise."""
    found = []
    for frame in samples[: len(samples) // 640 * 640].reshape(-1, 640).astype(np.float64):
        frame = frame - frame.mean()
        correlation = np.correlate(frame, frame, "full")[639:]
        if correlation[0] > 1e-2:
            found.append(correlation[40:250].max() / correlation[0])
    return float(np.mean(found))


def band_levels_db(samples: np.ndarray) -> np.ndarray:
    """Mean power in six bands."""
    frames = samples[: len(samples) // 400 * 400].reshape(-1, 400) * np.hanning(400)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).mean(0)
    edges = [0, 8, 16, 32, 64, 128, 201]
    return 10.0 * np.log10([power[i:j].sum() for i, j in pairwise(edges)])


def test_the_voice_is_gone_and_the_spectrum_stays(speech):
    got = whisper(speech, np.random.default_rng(1))
    assert got.shape == speech.shape and got.dtype == np.float32
    assert periodicity(speech) > 0.5 and periodicity(got) < 0.6 * periodicity(speech)
    np.testing.assert_allclose(band_levels_db(got), band_levels_db(speech), atol=3.0)
    # Loud and quiet stay where they are.
    levels = [np.sqrt((x[:63000].reshape(-1, 3000) ** 2).mean(1)) for x in (speech, got)]
    assert np.corrcoef(*np.log(np.maximum(levels, 1e-4)))[0, 1] > 0.95


def test_the_recursion_solves_the_equations_of_prediction():
    rng = np.random.default_rng(3)
    signal = lfilter([1.0], [1.0, -1.3, 0.8], rng.standard_normal(4000))
    correlation = np.array([(signal[k:] * signal[: len(signal) - k]).sum() for k in range(7)])
    a, error = predictors(correlation[None])
    expected = solve_toeplitz(correlation[:-1], -correlation[1:])
    np.testing.assert_allclose(a[0, 1:], expected, atol=1e-6)
    np.testing.assert_allclose(a[0, 1:3], [-1.3, 0.8], atol=0.05)
    assert error[0] == pytest.approx(correlation[0] + expected @ correlation[1:], rel=1e-6)


def test_silence_and_short_pieces_stay_finite():
    for samples in (np.zeros(16000), np.zeros(1), np.full(200, 0.5)):
        got = whisper(samples.astype(np.float32), np.random.default_rng(1))
        assert got.shape == samples.shape and np.isfinite(got).all()
    assert np.abs(whisper(np.zeros(16000, np.float32), np.random.default_rng(1))).max() < 1e-3
