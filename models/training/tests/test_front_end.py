"""Front ends against independent implementations in torch."""

import numpy as np
import pytest
import torch

import reference
import reference_large
from diarized_train.front_end import (
    OFFICIAL,
    SPEECH_BRAIN,
    VOICE_PERSONIFICATION,
    W2V_BERT,
    WE_SPEAKER,
    FrontEnd,
    LogMel,
    log_mel,
)


def voice_like(n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 16000
    tone = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 30))
    x = tone * (1 + 0.8 * np.sin(2 * np.pi * 3 * t)) + 0.05 * rng.standard_normal(n_samples)
    return (0.1 * x + 0.01).astype(np.float32)


@pytest.mark.parametrize("n_samples", [16000, 24000, 24123, 48000])
def test_default_is_kaldi_on_16_bit_samples(n_samples):
    x = voice_like(n_samples)
    got = log_mel(FrontEnd(), x)
    expected = reference.kaldi_features(torch.from_numpy(x) * 32768.0, True).numpy()
    expected -= expected.mean(1, keepdims=True)
    assert got.shape == (80, 1 + (n_samples - 400) // 160)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_official_matches_stft():
    x = voice_like(24123)
    got = log_mel(OFFICIAL, x)
    np.testing.assert_allclose(
        got, reference.official_features(torch.from_numpy(x)).numpy(), atol=2e-5
    )


def test_speech_brain_matches_stft_in_db():
    x = voice_like(24123)
    x[8000:12000] = 0.0
    got = log_mel(SPEECH_BRAIN, x) * 10.0 / np.log(10.0)
    expected = reference.speech_brain_features(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("n_samples", [16000, 80123])
def test_voice_personification_matches_kaldi_with_sliding_mean(n_samples):
    x = voice_like(n_samples)
    got = log_mel(VOICE_PERSONIFICATION, x)
    expected = reference.voice_personification_features(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_we_speaker_is_kaldi_up_to_half_the_rate():
    x = voice_like(24123)
    expected = reference.we_speaker_features(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(log_mel(WE_SPEAKER, x), expected, atol=2e-5)


@pytest.mark.parametrize("n_samples", [16000, 24123, 48080])
def test_w2v_bert_matches_the_feature_extractor_of_transformers(n_samples):
    x = voice_like(n_samples)
    x[8000:12000] = 0.0
    got = log_mel(W2V_BERT, x)
    expected = reference_large.input_features(x).numpy().reshape(-1, 80).T
    # Its spectra are in single precision; an odd last frame has a padded one beside it.
    assert expected.shape[1] == got.shape[1] + got.shape[1] % 2
    np.testing.assert_allclose(got, expected[:, : got.shape[1]], atol=2e-4)
    np.testing.assert_array_equal(expected[:, got.shape[1] :], 1.0)


def test_single_precision_batch_is_the_double_precision_window():
    batch = np.stack([voice_like(24000, seed) for seed in range(3)])
    got = LogMel(FrontEnd(), np.float32)(batch)
    for row, x in zip(got, batch, strict=True):
        np.testing.assert_allclose(row, log_mel(FrontEnd(), x), atol=5e-3)


def test_frames_are_shared_between_windows():
    front = FrontEnd(mean_normalisation="none")
    x = voice_like(48000)
    whole = log_mel(front, x)
    window = log_mel(front, x[160 * 50 : 160 * 50 + 24000])
    np.testing.assert_allclose(window, whole[:, 50 : 50 + window.shape[1]], atol=1e-9)


def test_unknown_key_and_value_are_named():
    with pytest.raises(ValueError, match="unknown front_end keys: hop"):
        FrontEnd.from_dict({"hop": 160})
    with pytest.raises(ValueError, match=r"window .*'kaiser'"):
        FrontEnd(window="kaiser")
