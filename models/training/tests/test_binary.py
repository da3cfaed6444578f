"""The whole way through the binary: waveform in, embedding out of ``diarized embed``.

What it gives is compared with the plain PyTorch forward pass of each public layout, front end
included. ``DIARIZED`` names the binary; without it the one that cargo has built is taken.
``python -m pytest -s tests/test_binary.py`` prints the cosines.
"""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import checkpoints
import reference
import test_foreign
from diarized_train.export import cosine
from diarized_train.front_end import FrontEnd, n_frames
from diarized_train.import_foreign import import_foreign

ROOT = Path(__file__).resolve().parents[3]
CONVERSATION = ROOT / "tests/data/example/conversation.flac"
# The bound that is asked for, and one that a shift of the audio by half a frame does not pass:
# random networks give all voices much the same direction, so the mean is taken off first.
MIN_COSINE = 0.9999
MIN_CENTRED_COSINE = 0.9999

# Stride, blocks, expansion, kernels (which the public code does not use) and reduction of each stage of ReDimNet B2.
REDIMNET_B2 = [
    (1, 2, 1, [(3, 3)], 12),
    (2, 2, 1, [(3, 3)], 12),
    (1, 3, 1, [(3, 3)], 12),
    (2, 4, 1, [(3, 3)], 8),
    (1, 4, 1, [(3, 3)], 8),
    (2, 4, 1, [(3, 3)], 4),
]
# Checkpoints of the shapes that are published.
LAYOUTS = {
    "official": lambda: test_foreign.official_checkpoint(channels=128),
    "official_light": lambda: test_foreign.official_checkpoint(channels=128, light=True),
    "voice_personification": lambda: test_foreign.voice_personification_checkpoint(channels=128),
    "taoruijie": lambda: test_foreign.taoruijie_checkpoint(channels=1024),
    "speech_brain": lambda: test_foreign.speech_brain_checkpoint(channels=1024, mfa_channels=3072),
    "campplus": lambda: test_foreign.campplus_checkpoint(depths=(12, 24, 16)),
    # The published one has 8 layers of 1024: 0.8 GB.
    "large": lambda: checkpoints.large_checkpoint(n_layers=3, hidden=256, intermediate=512),
    "we_speaker": lambda: checkpoints.we_speaker_checkpoint(
        channels=32, depths=(3, 4, 6, 3), embedding_dim=256
    ),
    "redimnet": lambda: checkpoints.redimnet_checkpoint(stages_setup=REDIMNET_B2),
    "redimnet_residual": test_foreign.LAYOUTS["redimnet_residual"],
}


def binary() -> Path:
    """The binary, or the test is not run."""
    named = os.environ.get("DIARIZED")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [target / profile / "diarized" for profile in ("release", "debug")]
    candidates = [Path(named)] if named else [path for path in built if path.is_file()]
    if not candidates or not candidates[0].is_file():
        reason = "not run: foreign models in the binary, because it is not built (cargo build)"
        print(reason)
        pytest.skip(reason)
    return max(candidates, key=lambda path: path.stat().st_mtime).resolve()


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> dict[str, tuple[Path, np.ndarray]]:
    """Pieces of the example conversation as 16-bit wav files, and their samples."""
    folder = tmp_path_factory.mktemp("speech")
    samples, rate = soundfile.read(CONVERSATION, dtype="float32")
    assert rate == 16000 and samples.ndim == 1
    pieces = {
        "one": samples[13600:37600],
        "another": samples[137600:161601],
        "turns": samples[120000:190123],
        # So quiet that floors and offsets of the logarithm count.
        "quiet": 0.003 * samples[223200:271200],
        # Longer than the sliding mean, with pauses that are digital silence.
        "long": samples[360000:456000] * (np.arange(96000) % 30000 > 4000),
    }
    written = {}
    for name, piece in pieces.items():
        path = folder / f"{name}.wav"
        soundfile.write(path, piece, rate, subtype="PCM_16")
        written[name] = (path, soundfile.read(path, dtype="float32")[0])
    return written


def embed(program: Path, *args: object) -> list[dict]:
    command = [str(program), "embed", "--quiet", *map(str, args)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DIARIZED_")}
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def centred_cosines(got: np.ndarray, expected: np.ndarray) -> list[float]:
    """Cosines after the mean of what was expected is taken from both."""
    mean = expected.mean(0)
    return [cosine(a - mean, b - mean) for a, b in zip(got, expected, strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_binary_embeds_as_the_public_code_does(layout, speech, tmp_path):
    program = binary()
    checkpoint = LAYOUTS[layout]()
    path, folder = tmp_path / "foreign.ckpt", tmp_path / f"foreign-{layout}"
    torch.save(checkpoint, path)
    import_foreign(
        path, folder, licence="MIT", validation=None, noise_dir=None, version="test"
    )
    expected = np.concatenate(
        [
            test_foreign.expected_embedding(layout, checkpoint, samples).numpy()
            for _, samples in speech.values()
        ]
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)

    # Whole files, for which the plan takes any length.
    files = [path for path, _ in speech.values()]
    rows = embed(program, "--model", folder, *files)
    assert [row["id"] for row in rows] == list(speech)
    got = np.array([row["embedding"] for row in rows])
    # Windows, each of which covers its file: the plan of one fixed length.
    front = FrontEnd.from_dict(tomllib.loads((folder / "model.toml").read_text())["front_end"])
    fixed = []
    for file, samples in speech.values():
        window_ms = 10 * n_frames(front, len(samples))
        (row,) = embed(program, "--model", folder, "--window-ms", window_ms, file)
        fixed.append(row["embedding"])
    fixed = np.array(fixed)

    for kind, embeddings in (("any length", got), ("fixed length", fixed)):
        cosines = [cosine(a, b) for a, b in zip(embeddings, expected, strict=True)]
        centred = centred_cosines(embeddings, expected)
        print(
            f"{layout}, {kind}: lowest cosine 1 - {1 - min(cosines):.1e}, "
            f"centred 1 - {1 - min(centred):.1e}"
        )
        assert min(cosines) >= MIN_COSINE
        assert min(centred) >= MIN_CENTRED_COSINE

    table = tmp_path / "v.npy"
    assert embed(program, "--model", folder, "-o", table, *files) == []
    np.testing.assert_allclose(np.load(table), got, atol=1e-6)
    ids = [line.split()[0] for line in table.with_suffix(".ids").read_text().splitlines()]
    assert ids == list(speech)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bound_tells_a_wrong_front_end(layout, speech):
    """What the comparison above is worth: it fails with the features of another project."""
    checkpoint = LAYOUTS[layout]()
    other = "voice_personification" if layout != "voice_personification" else "official"
    features = {
        "official": reference.official_features,
        "voice_personification": reference.voice_personification_features,
    }[other]
    expected, wrong = [], []
    for _, samples in speech.values():
        expected.append(test_foreign.expected_embedding(layout, checkpoint, samples).numpy())
        x = features(torch.from_numpy(samples))[None]
        if layout.startswith("redimnet"):
            x = x[:, : checkpoint["model_config"]["F"]]
        wrong.append(test_foreign.forward(layout, checkpoint, x).numpy())
    expected, wrong = np.concatenate(expected), np.concatenate(wrong)
    assert min(centred_cosines(wrong, expected)) < MIN_CENTRED_COSINE


def write_clips(folder):
    """Two clips of each speaker of the example conversation, each of half of the speech; by speaker."""
    samples, rate = soundfile.read(CONVERSATION, dtype="float32")
    turns = {}
    for line in CONVERSATION.with_suffix(".rttm").read_text().splitlines():
        fields = line.split()
        start_s, length_s = float(fields[3]), float(fields[4])
        piece = samples[int(rate * start_s) : int(rate * (start_s + length_s))]
        turns.setdefault(fields[7], []).append(piece)
    clips = {}
    for speaker, pieces in turns.items():
        for half, piece in enumerate(np.array_split(np.concatenate(pieces), 2)):
            path = folder / f"{speaker}-{half}.wav"
            soundfile.write(path, piece, rate, subtype="PCM_16")
            clips.setdefault(speaker, []).append(path)
    return clips


@pytest.mark.parametrize("layout", ["large", "redimnet"])
def test_people_are_verified_identified_and_scored_with_an_imported_model(layout, tmp_path):
    program = binary()
    make = {"large": checkpoints.large_checkpoint, "redimnet": checkpoints.redimnet_checkpoint}[layout]
    torch.save(make(), tmp_path / "foreign.ckpt")
    folder = tmp_path / f"my-{layout}"
    import_foreign(tmp_path / "foreign.ckpt", folder, licence="MIT", validation=None, noise_dir=None, version="test")
    clips = write_clips(tmp_path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DIARIZED_", "XDG_"))}

    def run(*args, codes=(0,)):
        command = [str(program), *map(str, args), "--model", str(folder)]
        environment["HOME"] = str(tmp_path)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode in codes, done.stderr
        return json.loads(done.stdout) if "--json" in args else done.stdout

    # A random network takes all voices for one, so there is no more to know than that its embeddings are used.
    first, other = list(clips)[:2]
    for speaker in (first, other):
        run("enrol", speaker, clips[speaker][0], "--force", "--json")
    shown = subprocess.run(
        [str(program), "voices", "show", first, "--json"], capture_output=True, text=True, env=environment, check=True
    )
    assert [recording["model"] for recording in json.loads(shown.stdout)["made_from"]] == [folder.name]
    verified = run("verify", *clips[first], "--json", codes=(0, 1))
    assert 0 < verified["cosine"] <= 1 and 0 < verified["probability"] < 1
    found = run("identify", clips[other][1], "--json", codes=(0, 1))
    assert {candidate["name"] for candidate in found["candidates"]} == {first, other}

    # The scores of the trials are the cosines of what `embed` gives, and the EER is that of these scores.
    every = [path for paths in clips.values() for path in paths]
    rows = {row["id"]: np.array(row["embedding"]) for row in embed(program, "--model", folder, *every)}
    trials = [(a, b) for n, a in enumerate(every) for b in every[:n]]
    same = [a.name.split("-")[0] == b.name.split("-")[0] for a, b in trials]
    lines = [f"{int(is_same)} {a} {b}\n" for (a, b), is_same in zip(trials, same, strict=True)]
    (tmp_path / "trials").write_text("".join(lines))
    report = run("eval", "eer", tmp_path / "trials", "--scores", tmp_path / "scores", "--json")
    assert (report["model"], report["target_trials"]) == (folder.name, sum(same))
    expected = np.array([cosine(rows[a.stem], rows[b.stem]) for a, b in trials])
    got = [float(line.split()[2]) for line in (tmp_path / "scores").read_text().splitlines()]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    is_same = np.array(same)
    rates = [
        (np.mean(expected[is_same] < threshold), np.mean(expected[~is_same] >= threshold))
        for threshold in [*np.sort(expected), np.inf]
    ]
    crossing = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    assert min(crossing) - 0.2 <= report["eer"] / 100 <= max(crossing) + 0.2, (report, crossing)
