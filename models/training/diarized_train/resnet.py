"""ResNets in the layout of WeSpeaker's checkpoints, arranged for export.

Wang et al., "Wespeaker: A research and production oriented speaker embedding learning toolkit" (ICASSP 2023); He et
al., "Deep Residual Learning for Image Recognition" (CVPR 2016). Frames are counted by a sum, since with arithmetic on
the length tract does not come to an end where any length is to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Depths of the published networks, and whether their blocks have a bottleneck.
NAMES = {
    ((2, 2, 2, 2), False): "ResNet18",
    ((3, 4, 6, 3), False): "ResNet34",
    ((3, 4, 6, 3), True): "ResNet50",
    ((3, 4, 23, 3), True): "ResNet101",
    ((3, 8, 36, 3), True): "ResNet152",
    ((6, 16, 48, 3), True): "ResNet221",
    ((10, 20, 64, 3), True): "ResNet293",
}
STAGES = 4
EXPANSION = 4


@dataclass(frozen=True)
class ResNetConfig:
    """Shape of the network; the defaults are those of the published ResNet34."""

    n_mels: int = 80
    channels: int = 32
    depths: tuple[int, ...] = (3, 4, 6, 3)
    bottleneck: bool = False
    embedding_dim: int = 256
    two_layers: bool = False

    def describe(self) -> str:
        return NAMES.get((self.depths, self.bottleneck), f"ResNet of depths {self.depths}")


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class _Block(nn.Module):
    """Two convolutions, or three with a bottleneck, over mel and time, and the way past them."""

    def __init__(self, inputs: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = channels * EXPANSION if bottleneck else channels
        self.conv1 = _conv(inputs, channels, 1) if bottleneck else _conv(inputs, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3, stride if bottleneck else 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv3 = _conv(channels, outputs, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Log-mel (N, n_mels, T) to embeddings (N, D); parameter names are WeSpeaker's."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.channels
        self.conv1 = _conv(1, inputs, 3)
        self.bn1 = nn.BatchNorm2d(inputs)
        for stage in range(STAGES):
            channels = config.channels << stage
            blocks = []
            for block in range(config.depths[stage]):
                stride = 2 if stage and block == 0 else 1
                blocks.append(_Block(inputs, channels, stride, config.bottleneck))
                inputs = channels * EXPANSION if config.bottleneck else channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        n_bands = config.n_mels // 8
        self.seg_1 = nn.Linear(2 * n_bands * inputs, config.embedding_dim)
        if config.two_layers:
            self.seg_bn_1 = nn.BatchNorm1d(config.embedding_dim, affine=False)
            self.seg_2 = nn.Linear(config.embedding_dim, config.embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(features.unsqueeze(1))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = x.flatten(1, 2)
        mean = x.mean(2, keepdim=True)
        n_frames = (0.0 * x[:, :1] + 1.0).sum(2, keepdim=True)
        squares = ((x - mean) ** 2).sum(2, keepdim=True)
        # One frame has no unbiased variance.
        deviation = torch.sqrt(squares / (n_frames - 1.0).clamp(min=1.0) + 1e-7)
        embedding = self.seg_1(torch.cat([mean, deviation], dim=1)[:, :, 0])
        if self.config.two_layers:
            embedding = self.seg_2(self.seg_bn_1(torch.relu(embedding)))
        return embedding


def config_of(state: dict[str, Tensor]) -> ResNetConfig:
    """The network's shape, read from its tensors; what is missing stays as published."""
    usual = ResNetConfig()

    def size(key: str, axis: int, otherwise: int) -> int:
        return state[key].shape[axis] if key in state else otherwise

    depths = [0] * STAGES
    for key in state:
        if m := re.match(rf"layer([1-{STAGES}])\.(\d+)\.", key):
            depths[int(m[1]) - 1] = max(depths[int(m[1]) - 1], int(m[2]) + 1)
    bottleneck = any(re.match(r"layer\d\.\d+\.(conv3|bn3)\.", key) for key in state)
    channels = size("conv1.weight", 0, usual.channels)
    top = channels * 8 * (EXPANSION if bottleneck else 1)
    return ResNetConfig(
        n_mels=8 * (size("seg_1.weight", 1, 2 * top * usual.n_mels // 8) // (2 * top)),
        channels=channels,
        depths=tuple(depth or usual.depths[i] for i, depth in enumerate(depths)),
        bottleneck=bottleneck,
        embedding_dim=size("seg_1.weight", 0, usual.embedding_dim),
        two_layers=any(key.startswith(("seg_2.", "seg_bn_1.")) for key in state),
    )
