"""The Whisper layout: checkpoints, both graphs, and the whole way through the binary, token by token."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import reference_whisper
from diarized_train.export import cosine
from diarized_train.foreign import CheckpointError
from diarized_train.front_end import FrontEnd, mel_filters
from diarized_train.import_segmentation import import_segmentation, load_segmentation
from diarized_train.nexttdnn import randomise
from diarized_train.whisper_layout import WhisperConfig, WhisperSegmentation
from optional import need
from test_binary import CONVERSATION, MIN_COSINE, binary

# A folder that the tests of the binary use.
FIXTURE = CONVERSATION.parents[1] / "segmentation-random"
SIZES = {
    "n_audio_state": 64,
    "n_audio_head": 2,
    "n_audio_layer": 2,
    "n_vocab": 1542,
    "n_text_ctx": 40,
    "n_text_state": 64,
    "n_text_head": 2,
    "n_text_layer": 3,
    "n_spks": 40,
}


def segmentation_checkpoint(seed=13, end_bias=0.0, **sizes):
    """The published layout but for its size. ``end_bias`` makes sentences end sooner or later."""
    config = WhisperConfig(**{**SIZES, **sizes})
    network = WhisperSegmentation(config)
    randomise(network, seed)
    with torch.no_grad():
        # Random weights make the sum over 1500 positions alike; tokens and places are to differ.
        network.decoder.token_embedding.weight.mul_(6.0)
        network.decoder.positional_embedding.mul_(6.0)
        network.ts_head.weight.mul_(3.0)
        network.ts_head.bias[config.n_timestamps + 1] += end_bias
    state = {**network.state_dict(), "spk_head.m": torch.tensor(0.35), "spk_head.t": torch.zeros(1)}
    args = {name: getattr(config, name) for name in WhisperConfig.__dataclass_fields__}
    return {"args": args, "state_dict": state}


def save(checkpoint, path):
    torch.save(checkpoint, path)
    return path


def normalised(samples):
    """As the network gets them: without their mean, divided by the largest."""
    centred = samples.astype(np.float64) - samples.mean(dtype=np.float64)
    return (centred / centred.max()).astype(np.float32)


def test_slaneys_filters_are_those_of_transformers():
    need("transformers")
    from transformers import WhisperFeatureExtractor

    front = FrontEnd(n_fft=400, low_hz=0.0, high_hz=8000.0, mel_triangles="slaney")
    expected = WhisperFeatureExtractor(feature_size=80).mel_filters.T
    np.testing.assert_allclose(mel_filters(front), expected, atol=1e-9)


@pytest.mark.parametrize(("seed", "end_bias"), [(13, 0.0), (15, 2.0)])
def test_the_binary_emits_the_tokens_and_embeddings_of_the_reference(seed, end_bias, tmp_path):
    program = binary()
    checkpoint = segmentation_checkpoint(seed, end_bias)
    folder = tmp_path / "model"
    import_segmentation(save(checkpoint, tmp_path / "c.ckpt"), folder, licence="MIT", version="test")
    # More than a chunk, whose second part is not whole.
    samples, rate = soundfile.read(CONVERSATION, dtype="float32", frames=46 * 16000)
    soundfile.write(tmp_path / "talk.wav", samples, rate, subtype="PCM_16")
    expected = reference_segments(checkpoint, tmp_path / "talk.wav")
    assert len({row[0] for row in expected}) > 3 and len({row[2] for row in expected}) > 1, expected
    agree(program, folder, tmp_path / "talk.wav", expected)


def reference_segments(checkpoint, path):
    """Start and end in seconds, speaker token and embedding of each segment by transformers, by their starts."""
    samples, _ = soundfile.read(path, dtype="float32")
    expected = []
    for number, start in enumerate(range(0, len(samples), 480000)):
        chunk = samples[start : start + 480000]
        tokens, states = reference_whisper.segment_chunk(checkpoint, reference_whisper.features(normalised(chunk)))
        end_s, n_timestamps = len(chunk) / 16000, checkpoint["args"]["n_timestamps"]
        for (first, last, speaker), state in zip(zip(*[iter(tokens)] * 3, strict=False), states, strict=True):
            first_s, last_s = min(first / 50, end_s), min(last / 50, end_s)
            if first_s < last_s:
                row = (30 * number + first_s, 30 * number + last_s, speaker - n_timestamps - 2, state.numpy())
                expected.append(row)
    return sorted(expected, key=lambda row: row[0])


def agree(program, folder, audio, expected):
    """The binary gives these segments, and embeddings next to these."""
    command = [str(program), "embed", "--quiet", "--segmenter", str(folder), str(audio)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    got = [(round(row["start"], 4), round(row["end"], 4), row["speaker"]) for row in rows]
    assert got == [(round(first, 4), round(last, 4), speaker) for first, last, speaker, _ in expected]
    cosines = [cosine(row["embedding"], of[3]) for row, of in zip(rows, expected, strict=True)]
    print(f"{len(rows)} segments: lowest cosine 1 - {1 - min(cosines):.1e}")
    assert min(cosines) >= MIN_COSINE


def fixture_checkpoint():
    """The small network of the binary's own tests."""
    sizes = {"n_audio_state": 8, "n_audio_layer": 1, "n_text_ctx": 24, "n_text_state": 8, "n_text_layer": 1}
    return segmentation_checkpoint(17, 1.0, **sizes, n_spks=6)


def write_fixture(folder):
    """Makes the folder of the binary's tests, with the segments of transformers in `expected.json`."""
    folder = Path(folder)
    checkpoint = save(fixture_checkpoint(), folder.with_suffix(".ckpt"))
    import_segmentation(checkpoint, folder, licence="Apache-2.0", version="random")
    checkpoint.unlink()
    rows = [
        {"start": first, "end": last, "speaker": speaker, "embedding": state.round(6).tolist()}
        for first, last, speaker, state in reference_segments(fixture_checkpoint(), CONVERSATION)
    ]
    (folder / "expected.json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def test_the_fixture_of_the_binary_is_what_the_recipe_makes(tmp_path):
    folder = tmp_path / FIXTURE.name
    import_segmentation(save(fixture_checkpoint(), tmp_path / "c.ckpt"), folder, licence="Apache-2.0", version="random")
    made, kept = (tomllib.loads((of / "model.toml").read_text()) for of in (folder, FIXTURE))
    digests = {"encoder_sha256", "decoder_sha256"}  # They change with the version of PyTorch.
    assert {key: made[key] for key in made.keys() - digests} == {key: kept[key] for key in kept.keys() - digests}
    expected = [(*map(row.get, ("start", "end", "speaker")), row["embedding"]) for row in fixture_rows()]
    for of in (folder, FIXTURE):
        agree(binary(), of, CONVERSATION, expected)


def test_the_segments_of_the_fixture_are_those_of_transformers():
    rows, expected = fixture_rows(), reference_segments(fixture_checkpoint(), CONVERSATION)
    assert [tuple(map(row.get, ("start", "end", "speaker"))) for row in rows] == [row[:3] for row in expected]
    assert min(cosine(row["embedding"], of[3]) for row, of in zip(rows, expected, strict=True)) >= MIN_COSINE


def fixture_rows():
    return json.loads((FIXTURE / "expected.json").read_text())


def test_labels_of_a_segmentation_model(tmp_path):
    program = binary()
    folder = tmp_path / "model"
    checkpoint = save(segmentation_checkpoint(), tmp_path / "c.ckpt")
    import_segmentation(checkpoint, folder, licence="MIT", version="test")

    def label(*args):
        command = [str(program), "label", "--quiet", "-f", "rttm", *map(str, args), str(CONVERSATION)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = label("--segmenter", folder, "--speakers", 2)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 and {line[7] for line in lines} == {"S1", "S2"}, done.stderr
    assert all(float(line[4]) > 0 for line in lines)
    refused = label("--segmenter", folder, "--voices")
    assert refused.returncode == 2 and "--segmenter" in refused.stderr
    (folder / "decoder.onnx").write_bytes(b"cut")
    broken = label("--segmenter", folder)
    assert broken.returncode == 66 and "decoder.onnx is damaged" in broken.stderr, broken.stderr
    (folder / "encoder.onnx").unlink()
    assert "encoder.onnx" in label("--segmenter", folder).stderr


def test_the_card_says_what_the_tensors_say(tmp_path):
    folder = tmp_path / "model"
    checkpoint = save(segmentation_checkpoint(), tmp_path / "c.ckpt")
    assert import_segmentation(checkpoint, folder, licence="MIT", version="test") >= MIN_COSINE
    card = tomllib.loads((folder / "model.toml").read_text())
    assert (card["kind"], card["n_layers"], card["state"], card["n_speakers"]) == ("segmentation", 3, 64, 40)


def test_what_is_wrong_with_a_checkpoint_is_named(tmp_path):
    whole = segmentation_checkpoint()
    state = dict(whole["state_dict"])
    del state["decoder.blocks.1.cross_attn.query.bias"]
    state["encoder.ln_post.bias"] = torch.zeros(7)
    state["surplus.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        load_segmentation(save({**whole, "state_dict": state}, tmp_path / "broken.ckpt"))
    text = str(caught.value)
    assert "missing keys: decoder.blocks.1.cross_attn.query.bias" in text and "surplus.weight" in text
    assert "encoder.ln_post.bias (expected (64,), got (7,))" in text
    for changes, words in (
        ({"n_text_layer": 4}, "args says 4 layers of the decoder, the tensors say 3"),
        ({"n_vocab": 10}, r"args.n_vocab \(10\) must be at least"),
        ({"n_audio_ctx": 750}, r"n_audio_ctx \(750\) must be 30 and 1500"),
        ({"n_text_head": 3}, "cannot be divided among 3 heads"),
        ({"colour": 1}, "not known here: colour"),
        ({"n_spks": 0}, r"args.n_spks \(0\)"),
    ):
        args = {**whole["args"], **changes}
        with pytest.raises(CheckpointError, match=words):
            load_segmentation(save({**whole, "args": args}, tmp_path / "odd.ckpt"))
    with pytest.raises(CheckpointError, match=r"is \{args, state_dict\}"):
        load_segmentation(save(whole["state_dict"], tmp_path / "bare.ckpt"))


def test_the_command_imports_a_segmentation_model(tmp_path):
    save(segmentation_checkpoint(), tmp_path / "c.ckpt")
    command = [sys.executable, "-m", "diarized_train", "import", "segmentation"]
    command += [str(tmp_path / "c.ckpt"), str(tmp_path / "out"), "--licence", "MIT"]
    folder = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0 and "agrees with PyTorch" in done.stdout, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"model.toml", "encoder.onnx", "decoder.onnx", "CARD.md"}
