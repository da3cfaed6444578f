"""Kaldi directories, joining, trials, calibration and the schedule."""

import numpy as np
import pytest
import soundfile

from diarized_train.augment import Augmenter, AugmentParams, shoebox_response
from diarized_train.calibrate import cllr, fit_logistic
from diarized_train.data import DataError, build_cache, join_pieces, read_kaldi, trim
from diarized_train.evaluate import eer
from diarized_train.train import TrainParams, learning_rate, margin


def write_kaldi(root, segments=True):
    (root / "audio").mkdir()
    data = root / "train"
    data.mkdir()
    rng = np.random.default_rng(0)
    lines = {"wav.scp": [], "segments": [], "utt2spk": []}
    for speaker in ("ann", "bob"):
        x = 0.3 * rng.standard_normal(16000 * 6)
        x[16000 * 2 : 16000 * 3] *= 1e-4
        soundfile.write(root / "audio" / f"{speaker}.wav", x, 16000)
        lines["wav.scp"].append(f"{speaker} audio/{speaker}.wav")
        for i in range(2):
            lines["segments"].append(f"{speaker}_{i} {speaker} {3 * i} {3 * i + 3}")
            lines["utt2spk"].append(f"{speaker}_{i} {speaker}")
    if not segments:
        del lines["segments"]
        lines["utt2spk"] = ["ann ann", "bob bob"]
    for name, rows in lines.items():
        (data / name).write_text("\n".join(rows) + "\n")
    return data


def test_cache_holds_trimmed_speech_of_every_speaker(tmp_path):
    data = write_kaldi(tmp_path)
    cache = build_cache(data, tmp_path / "cache" / "train", 1.0, 4.0, 1)
    assert cache.speakers == ["ann", "bob"]
    assert cache.sets == ["audio", "audio"]
    seconds = (cache.pieces[:, 2] - cache.pieces[:, 1]).sum() / 16000
    # Twelve seconds less two of silence, of which a little is kept at the edges.
    assert 9.9 < seconds < 10.6
    again = build_cache(data, tmp_path / "cache" / "train", 1.0, 4.0, 1)
    np.testing.assert_array_equal(cache.samples, again.samples)


def test_directory_without_segments(tmp_path):
    utterances = read_kaldi(write_kaldi(tmp_path, segments=False))
    assert [u.speaker for u in utterances] == ["ann", "bob"]
    assert utterances[0].end_s is None


def test_bad_lines_are_named(tmp_path):
    data = write_kaldi(tmp_path)
    segments = data / "segments"
    segments.write_text(segments.read_text() + "ann_9 ann 3 1\n")
    with pytest.raises(DataError, match=r"segments:5: ann_9 is not in utt2spk"):
        read_kaldi(data)
    (data / "utt2spk").write_text((data / "utt2spk").read_text() + "ann_9 ann\n")
    with pytest.raises(DataError, match=r"segments:5: start 3 must be < end 1"):
        read_kaldi(data)
    (data / "wav.scp").write_text("ann audio/gone.wav\n")
    with pytest.raises(DataError, match=r"wav.scp:1: no such file"):
        read_kaldi(data)


def test_joined_pieces_keep_every_sample():
    pieces = [np.full(n, i, np.int16) for i, n in enumerate([5, 50, 3, 200, 1])]
    joined = join_pieces(pieces, 20, 60)
    np.testing.assert_array_equal(np.concatenate(joined), np.concatenate(pieces))
    assert min(map(len, joined)) >= 20


def test_trim_drops_silence_and_keeps_noise_only_input_finite():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.zeros(16000), 0.3 * rng.standard_normal(16000)]).astype(np.float32)
    assert 16000 <= len(trim(x)) < 19000
    assert len(trim(np.zeros(100, np.float32))) == 0


def test_eer_of_known_scores():
    target = np.array([True] * 4 + [False] * 4)
    assert eer(np.array([4, 3, 2, 1, 0, -1, -2, -3.0]), target) == 0.0
    assert eer(np.array([4, 3, 2, 0.0, 1, -1, -2, -3]), target) == pytest.approx(0.25, abs=0.13)
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(1, 1, 40000), rng.normal(-1, 1, 40000)])
    got = eer(scores, np.arange(80000) < 40000)
    assert got == pytest.approx(0.15866, abs=0.004)


def test_calibration_finds_the_true_log_likelihood_ratio():
    # Two Gaussians at +-d with unit variance: the ratio is 2 d x.
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(0.8, 1, 30000), rng.normal(-0.8, 1, 90000)])
    target = np.arange(120000) < 30000
    scale, offset = fit_logistic(scores, target)
    assert scale == pytest.approx(1.6, abs=0.05)
    assert offset == pytest.approx(0.0, abs=0.05)
    assert 0.0 < cllr(scale * scores + offset, target) < 1.0


def test_augmented_crops_keep_shape_range_and_repeat():
    rng = np.random.default_rng(2)
    crops = (0.1 * rng.standard_normal((8, 16000))).astype(np.float32)
    noises = [rng.standard_normal(40000).astype(np.float32)]
    augmenter = Augmenter(AugmentParams(), noises, 3, n_rooms=5)
    first = augmenter(crops, crops[::-1], np.random.default_rng(4))
    again = augmenter(crops, crops[::-1], np.random.default_rng(4))
    assert first.shape == crops.shape and first.dtype == np.float32
    assert np.isfinite(first).all() and np.abs(first).max() <= 1.0
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - crops).mean() > 1e-3


def test_rooms_start_with_the_direct_sound_and_decay():
    for seed in range(20):
        room = shoebox_response(np.random.default_rng(seed))
        assert np.isfinite(room).all()
        assert np.sum(room[:4000] ** 2) > np.sum(room[4000:] ** 2)


def test_schedule_anneals_by_progress():
    params = TrainParams()
    rates = [learning_rate(params, p) for p in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(params.learning_rate, rel=0.01)
    assert rates[-1] == pytest.approx(params.final_rate)
    assert margin(params, 0.0) == 0.0
    assert margin(params, 0.5) == params.margin
    assert margin(params, 0.99) == params.large_margin
    assert TrainParams.from_dict(params.to_dict()) == params
