"""A whole run on a small scale: two teachers, free speech, rooms, a kill, the folder that comes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from diarized_train.calibrate import Calibration
from diarized_train.data import DataError
from diarized_train.evaluate_command import evaluate
from diarized_train.export_run import export_run, load_run
from diarized_train.held_out import condition_means, fold_sets
from diarized_train.model_folder import ExportError, write_folder
from diarized_train.nexttdnn import NeXtTdnnConfig
from diarized_train.teachers import FolderTeacher
from diarized_train.train import TrainParams, train
from test_teachers import cache_of, keep, prepared, random_table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Parameters of a run of seconds, its caches, and validation speakers of noise and a tone in two sets."""
    root = tmp_path_factory.mktemp("run")
    loader = prepared(root, ["a", "a", "b", "b"])
    n_speakers, per_speaker, length = 12, 2, 50000
    cache = cache_of(root / "val", [length] * (n_speakers * per_speaker), n_speakers, 0, ["a"] * 6 + ["b"] * 6)
    rng = np.random.default_rng(1)
    # A tone for each speaker, so that even this network's embeddings of its pieces are alike.
    hz = 150.0 * (1 + np.arange(n_speakers * per_speaker) % n_speakers)
    tones = 6000 * np.sin(2 * np.pi * hz[:, None] * np.arange(length) / 16000)
    samples = (tones.ravel() + 1000 * rng.standard_normal(len(cache.samples))).astype(np.int16)
    samples.tofile(root / "val.i16")
    for name, dim in (("one", 6), ("two", 4)):
        keep(root / "val", name, random_table(len(cache.pieces), dim, 9))
    rooms = root / "rooms"
    rooms.mkdir()
    decay = rng.standard_normal(16000) * np.exp(-np.arange(16000) / 1500.0)
    soundfile.write(rooms / "hall.wav", 0.5 * decay / np.abs(decay).max(), 16000)
    params = TrainParams(
        network=NeXtTdnnConfig(channels=16, depths=(1, 1, 1)),
        caches=loader.caches,
        validation=str(root / "val"),
        run_dir=str(root / "out"),
        minutes=0.1,
        batch=40,
        evaluate_every_minutes=0.05,
        evaluate_crops=2,
        evaluate_windows_ms=(1000,),
        teachers=loader.teachers,
        teacher_weights=loader.weights,
        unlabelled=loader.unlabelled,
        unlabelled_share=0.25,
        hold_out=("b",),
        rooms_dir=str(rooms),
    )
    train(params)
    return root, params


def test_a_run_ends_with_a_checkpoint_and_its_errors(run):
    root, _ = run
    saved = torch.load(root / "out/last.pt", weights_only=True)
    assert saved["state"]["crops"] > 0 and saved["state"]["seconds"] >= 6.0
    assert {"projects.0.weight", "projects.1.weight"} <= set(saved["heads"])
    entries = [json.loads(line) for line in (root / "out/log.jsonl").read_text().splitlines()]
    assert any("eer" in entry for entry in entries)


def test_a_kill_while_a_checkpoint_is_written_loses_only_that_one(run):
    root, params = run
    whole = (root / "out/last.pt").read_bytes()
    (root / "out/last.partial").write_bytes(whole[: len(whole) // 2])
    params = TrainParams.from_dict({**params.to_dict(), "minutes": 0.11})
    before = torch.load(root / "out/last.pt", weights_only=True)["state"]
    train(params)
    after = torch.load(root / "out/last.pt", weights_only=True)["state"]
    assert after["seconds"] > before["seconds"] and after["crops"] >= before["crops"]


def test_a_schedule_of_steps_ends_after_them_whatever_time_they_take(run, tmp_path):
    _, params = run
    options = {"run_dir": str(tmp_path), "minutes": 1e-6, "steps": 3, "evaluate_every_minutes": 9.0}
    params = TrainParams.from_dict({**params.to_dict(), **options})
    train(params)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["state"]["step"] == 3


def test_the_card_says_who_taught(run):
    root, _ = run
    folder = root / "small"
    export_run(
        root / "out/last.pt", folder, version="1", hardware="a test", sources=None, teachers=(), status=""
    )
    card = (folder / "CARD.md").read_text()
    assert "one; two" in card and "a 0.80/0.20" in card and "other sets 0.50/0.50" in card
    assert "25% of each batch is speech without speaker labels" in card
    assert "OpenAIR" not in card and "Rooms are simulated." in card
    assert FolderTeacher(folder).embed([np.ones(16000, np.int16) * 100]).shape == (1, 192)


def test_a_network_that_does_not_part_speakers_is_not_exported(run, tmp_path):
    root, _ = run
    network, params, _ = load_run(root / "out/last.pt")
    with pytest.raises(ExportError, match=r"scale at 1500 ms \(-0.10\) must be > 0"):
        write_folder(
            tmp_path / "small",
            network,
            network,
            params.front_end,
            name="small",
            version="1",
            architecture="",
            licence="",
            calibrations=[Calibration(window_ms=1500, scale=-0.1, offset=0.0, eer=0.5)],
            provenance={},
        )
    assert not (tmp_path / "small").exists()


def test_sets_are_measured_by_the_run_that_held_them_out(run):
    root, _ = run
    talk = root / "talk"
    talk.mkdir()
    rng = np.random.default_rng(2)
    soundfile.write(talk / "two.wav", 0.1 * rng.standard_normal(16000 * 24), 16000)
    turns = [f"SPEAKER two 1 {3 * i} 3 <NA> <NA> {'ab'[i % 2]} <NA> <NA>" for i in range(8)]
    (talk / "two.rttm").write_text("\n".join(turns) + "\n")
    out = root / "report"
    spec = f"run={root / 'out'}"
    for _ in range(2):
        evaluate(root, out, teachers=[spec], rooms_dir=root / "rooms", talk=[talk], fold_runs=[root / "out"])
    report = json.loads((out / "report.json").read_text())
    assert [row["windows"] for row in report["talk"]] == [16, 8]
    assert {row["condition"] for row in report["conditions"]} >= {
        "clean",
        "mu-law",
        "far microphone",
        "whispered",
        "clear against whispered",
    }
    held = {row["set"]: "folds" in row["eer"] for row in report["sets"] if row["set"] in "ab"}
    assert held == {"a": False, "b": True}
    text = (out / "report.md").read_text()
    assert "| b | 6 | no | 1.5 s |" in text and "folds" in text
    rows = report["fold_conditions"]
    assert [(row["condition"], row["window_ms"]) for row in rows[:2]] == [("clean", 1500), ("clean", 3000)]
    assert {(row["sets"], "folds" in row["eer"]) for row in rows} == {(1, True)}
    # Clean crops of the one set that is held out, whichever table they are in.
    by_set = {r["window_ms"]: r["eer"] for r in report["sets"] if r["set"] == "b"}
    assert rows[1]["eer"] == by_set[3000]
    with pytest.raises(DataError, match="different names"):
        evaluate(root, out, teachers=[spec, spec], rooms_dir=None, talk=[], fold_runs=[])


def test_conditions_of_held_out_sets_are_means_over_the_sets():
    rows = [
        {"set": name, "condition": condition, "window_ms": window_ms, "eer": {"folds": value, "other": 2 * value}}
        for name, value in (("a", 4.0), ("b", 8.0))
        for window_ms in (1500, 3000)
        for condition in ("clean", "echo")
    ]
    means = condition_means(rows)
    assert [(row["condition"], row["window_ms"]) for row in means] == [
        ("clean", 1500),
        ("clean", 3000),
        ("echo", 1500),
        ("echo", 3000),
    ]
    assert all(row["sets"] == 2 and row["eer"] == {"folds": 6.0, "other": 12.0} for row in means)


def test_folds_hold_every_set_once(tmp_path):
    sets = ["a"] * 9 + ["b"] * 5 + ["c"] * 4 + ["d"] * 2
    cache = cache_of(tmp_path / "c", [1000] * 20, 20, 0, sets)
    folds = fold_sets(cache, 3)
    assert folds == [("a",), ("b",), ("c", "d")]
    with pytest.raises(DataError, match="cannot make 5 folds"):
        fold_sets(cache, 5)
