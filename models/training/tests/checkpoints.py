"""Checkpoints of the newer layouts, with random weights."""

import re

import torch

from diarized_train.nexttdnn import randomise
from diarized_train.redimnet import ReDimNet
from diarized_train.redimnet_checkpoint import read_config
from diarized_train.resnet import ResNet, ResNetConfig
from diarized_train.w2v_bert import W2vBert, W2vBertConfig


def large_checkpoint(**shape):
    """The published layout but for its size: 2 layers of 128 with heads of 64, unless given."""
    small = {"hidden": 128, "n_layers": 2, "intermediate": 256, "frame_channels": 96, "segment_dims": (64,)}
    network = W2vBert(W2vBertConfig(**{**small, **shape}))
    randomise(network, 10)
    state = dict(network.state_dict())
    # What training leaves in it.
    state["head.kernel"] = torch.zeros(64, 10)
    state["feat_extractor.w2v.masked_spec_embed"] = torch.zeros(network.config.hidden)
    return state


def we_speaker_checkpoint(**shape):
    network = ResNet(ResNetConfig(**{"channels": 8, "depths": (1, 2, 1, 1), "embedding_dim": 64, **shape}))
    randomise(network, 11)
    return {**network.state_dict(), "projection.weight": torch.zeros(10, 64)}


# As published for B2, with fewer blocks; F is the number of mel bins.
REDIMNET = {
    "F": 72,
    "C": 16,
    "block_1d_type": "conv+att",
    "block_2d_type": "convnext_like",
    "stages_setup": [(1, 1, 1, [(3, 3)], 12), (2, 2, 1, [(3, 3)], 12), (2, 1, 1, [(3, 3)], 8)],
    "group_divisor": 4,
    "out_channels": None,
    "embed_dim": 192,
    "pooling_func": "ASTP",
    "global_context_att": True,
    "spec_params": {"do_spec_aug": False, "freq_mask_width": (0, 6), "time_mask_width": (0, 8)},
}


def redimnet_checkpoint(**changes):
    config = {**REDIMNET, **changes}
    network = ReDimNet(read_config(config))
    randomise(network, 12)
    state = {**network.state_dict(), "spec.torchfbank.1.flipped_filter": torch.zeros(1, 1, 2)}
    return {"model_config": config, "state_dict": state}


def older_names(checkpoint):
    """The same checkpoint as the authors' first code names its tensors."""
    state = {}
    for key, value in checkpoint["state_dict"].items():
        if m := re.fullmatch(r"backbone\.stage(\d+)\.0\.w", key):
            key = f"backbone.inputs_weights.{m[1]}"
        elif key == "backbone.fin_wght1d.w":
            key = f"backbone.inputs_weights.{len(checkpoint['model_config']['stages_setup'])}"
        elif m := re.fullmatch(r"backbone\.stage(\d+)\.(\d+)\.(.*)", key):
            key = f"backbone.stage{m[1]}.{int(m[2]) - 2}.{m[3]}"
        state[key] = value
    return {**checkpoint, "state_dict": state}
