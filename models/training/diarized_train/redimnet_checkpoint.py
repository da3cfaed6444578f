"""ReDimNet's checkpoints: ``model_config`` read and checked, and the older names of tensors turned into the newer."""

from __future__ import annotations

import re

from torch import Tensor

from .redimnet import BEFORE_CONV, ReDimNetConfig, Stage

BLOCKS_1D = ("fc", "conv", "att", "conv+att")
BLOCKS_2D = ("convnext_like", "convnext_like_relu", "basic_resnet", "basic_resnet_fwse")
STRIDES = (1, 2, 3)
# What has no part in the network's shape, or is known only with one value: its features are those of `front_end.py`.
ONLY = {
    "pooling_func": ("ASTP",),
    "feat_type": ("pt", "pt_mel"),
    "hop_length": (160,),
    "num_classes": (None,),
    "tf_optimized_arch": (False,),
    "offset_fm_weights": (0,),
    "is_subnet": (False,),
    "return_all_outputs": (False,),
}
ONLY_FEATURES = {
    "sample_rate": (16000,),
    "n_fft": (512,),
    "win_length": (400,),
    "f_min": (20,),
    "f_max": (7600,),
    "norm_signal": (False,),
    "do_preemph": (True,),
    "spec_norm": ("mn",),
}
SHAPES = (
    "F",
    "C",
    "block_1d_type",
    "block_2d_type",
    "stages_setup",
    "group_divisor",
    "out_channels",
    "embed_dim",
    "global_context_att",
    "emb_bn",
)
# Of training alone.
IGNORED = ("class_dropout", "feat_agg_dropout", "head_activation", "spec_params")


class ConfigError(ValueError):
    """A ``model_config`` that is not understood, with the key."""


def _one_of(table: dict, known: dict[str, tuple], where: str) -> None:
    for key, allowed in known.items():
        if key in table and table[key] not in allowed:
            options = " or ".join(repr(value) for value in allowed)
            raise ConfigError(f"{where}.{key} ({table[key]!r}) must be {options}")


def _positive(value: object, key: str, *, none: bool = False) -> int | None:
    if none and value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"model_config.{key} ({value!r}) must be a whole number of at least 1")
    return value


def _stage(row: object, index: int) -> Stage:
    key = f"stages_setup[{index}]"
    if not isinstance(row, list | tuple) or len(row) != 5:
        raise ConfigError(f"model_config.{key} ({row!r}) must be (stride, blocks, expansion, kernels, reduction)")
    stride, n_blocks, expansion, _, reduction = row
    if stride not in STRIDES:
        raise ConfigError(f"model_config.{key}: stride ({stride!r}) must be 1, 2 or 3")
    if not isinstance(expansion, int | float) or not 0 < expansion <= 64:
        raise ConfigError(f"model_config.{key}: expansion ({expansion!r}) must be a number in (0, 64]")
    return Stage(
        stride,
        _positive(n_blocks, key + ": blocks"),
        expansion,
        _positive(reduction, key + ": reduction", none=True),
    )


def read_config(table: object) -> ReDimNetConfig:
    """The network's shape; what the table leaves out is as in the public code."""
    if not isinstance(table, dict):
        raise ConfigError("model_config is missing: a ReDimNet checkpoint is {model_config, state_dict}")
    unknown = sorted(set(map(str, table)) - set(SHAPES) - set(ONLY) - set(IGNORED))
    if unknown:
        raise ConfigError(f"model_config has keys that are not known here: {', '.join(unknown)}")
    _one_of(table, ONLY, "model_config")
    _one_of(table.get("spec_params") or {}, ONLY_FEATURES, "model_config.spec_params")
    usual = ReDimNetConfig()
    kinds = {"block_1d_type": BLOCKS_1D, "block_2d_type": BLOCKS_2D}
    _one_of(table, kinds, "model_config")
    stages = table.get("stages_setup")
    if not isinstance(stages, list | tuple) or not stages:
        raise ConfigError(f"model_config.stages_setup ({stages!r}) must be a list of stages")
    divisor = _positive(table.get("group_divisor", 4), "group_divisor", none=True)
    return ReDimNetConfig(
        n_mels=_positive(table.get("F", usual.n_mels), "F"),
        channels=_positive(table.get("C", usual.channels), "C"),
        block_1d=table.get("block_1d_type", "att"),
        block_2d=table.get("block_2d_type", usual.block_2d),
        stages=tuple(_stage(row, index) for index, row in enumerate(stages)),
        group_divisor=divisor,
        out_channels=_positive(table.get("out_channels"), "out_channels", none=True),
        embedding_dim=_positive(table.get("embed_dim", usual.embedding_dim), "embed_dim"),
        global_context=bool(table.get("global_context_att", False)),
        embedding_norm=bool(table.get("emb_bn", False)),
    )


def newer_names(state: dict[str, Tensor], config: ReDimNetConfig) -> dict[str, Tensor]:
    """Tensors by the names of the newer public code. The older one had the sums beside the stages."""
    if not any(key.startswith("backbone.inputs_weights.") for key in state):
        return state
    renamed = {}
    for key, value in state.items():
        if m := re.match(r"backbone\.inputs_weights\.(\d+)$", key):
            index = int(m[1])
            key = f"backbone.stage{index}.0.w" if index < len(config.stages) else "backbone.fin_wght1d.w"
        elif m := re.match(r"backbone\.stage(\d+)\.(\d+)\.(.*)$", key):
            key = f"backbone.stage{m[1]}.{int(m[2]) + BEFORE_CONV}.{m[3]}"
        renamed[key] = value
    return renamed
