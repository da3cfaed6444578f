"""ECAPA-TDNN in the layouts of TaoRuijie's and SpeechBrain's checkpoints, arranged for export.

Desplanques et al., "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation"
(Interspeech 2020). The attention's first layer sees [x, mean, deviation] over channels; it is
computed as W1 x + (W2 mean + W3 deviation), which is the same and spares engines the
concatenation of an expanded mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (2, 3, 4)
SCALE = 8


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        # Positions 0, 2 and 4 of the public Sequential hold no weights.
        self.se = nn.ModuleDict(
            {"1": nn.Conv1d(channels, bottleneck, 1), "3": nn.Conv1d(bottleneck, channels, 1)}
        )

    def forward(self, x: Tensor) -> Tensor:
        squeezed = torch.relu(self.se["1"](x.mean(2, keepdim=True)))
        return x * torch.sigmoid(self.se["3"](squeezed))


class _Res2Block(nn.Module):
    def __init__(self, channels: int, dilation: int, bottleneck: int) -> None:
        super().__init__()
        self.width = channels // SCALE
        inner = self.width * SCALE
        self.conv1 = nn.Conv1d(channels, inner, 1)
        self.bn1 = nn.BatchNorm1d(inner)
        self.convs = nn.ModuleList(
            nn.Conv1d(self.width, self.width, 3, dilation=dilation, padding=dilation)
            for _ in range(SCALE - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(self.width) for _ in range(SCALE - 1))
        self.conv3 = nn.Conv1d(inner, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se = _SqueezeExcite(channels, bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.bn1(torch.relu(self.conv1(x))).split(self.width, dim=1)
        outputs: list[Tensor] = []
        for conv, norm, part in zip(self.convs, self.bns, parts[:-1], strict=True):
            carried = outputs[-1] + part if outputs else part
            outputs.append(norm(torch.relu(conv(carried))))
        y = torch.cat([*outputs, parts[-1]], dim=1)
        return self.se(self.bn3(torch.relu(self.conv3(y)))) + x


class Ecapa(nn.Module):
    """Log-mel (N, 80, T) to embeddings (N, embedding_dim); parameter names are public ones."""

    def __init__(
        self,
        channels: int = 1024,
        n_mels: int = 80,
        mfa_channels: int = 1536,
        attention_channels: int = 256,
        bottleneck: int = 128,
        embedding_dim: int = 192,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_mels, channels, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(channels)
        self.layer1, self.layer2, self.layer3 = (
            _Res2Block(channels, dilation, bottleneck) for dilation in DILATIONS
        )
        self.layer4 = nn.Conv1d(3 * channels, mfa_channels, 1)
        self.attention = nn.ModuleDict(
            {
                "0": nn.Conv1d(3 * mfa_channels, attention_channels, 1),
                "2": nn.BatchNorm1d(attention_channels),
                "4": nn.Conv1d(attention_channels, mfa_channels, 1),
            }
        )
        self.bn5 = nn.BatchNorm1d(2 * mfa_channels)
        self.fc6 = nn.Linear(2 * mfa_channels, embedding_dim)
        self.bn6 = nn.BatchNorm1d(embedding_dim)

    def _attend(self, x: Tensor) -> Tensor:
        first = self.attention["0"]
        for_frames, for_mean, for_deviation = first.weight.split(x.shape[1], dim=1)
        mean = x.mean(2, keepdim=True)
        # The public code takes the unbiased variance here. Frames are counted by a sum: with
        # arithmetic on the length, tract does not come to an end where any length is to do.
        n_frames = (0.0 * x[:, :1] + 1.0).sum(2, keepdim=True)
        variance = ((x - mean) ** 2).mean(2, keepdim=True) * (n_frames / (n_frames - 1.0))
        deviation = torch.sqrt(variance.clamp(min=1e-4))
        context = F.conv1d(mean, for_mean, first.bias) + F.conv1d(deviation, for_deviation)
        hidden = torch.relu(F.conv1d(x, for_frames) + context)
        return torch.softmax(self.attention["4"](torch.tanh(self.attention["2"](hidden))), 2)

    def forward(self, features: Tensor) -> Tensor:
        x = self.bn1(torch.relu(self.conv1(features)))
        x1 = self.layer1(x)
        x2 = self.layer2(x + x1)
        x3 = self.layer3(x + x1 + x2)
        x = torch.relu(self.layer4(torch.cat([x1, x2, x3], dim=1)))
        weights = self._attend(x)
        mean = (x * weights).sum(2)
        deviation = torch.sqrt(((x * x * weights).sum(2) - mean * mean).clamp(min=1e-4))
        return self.bn6(self.fc6(self.bn5(torch.cat([mean, deviation], dim=1))))


class _SbConv(nn.Module):
    """A convolution that keeps the length by reflection, as SpeechBrain's does."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)
        self.pad = dilation * (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.pad, self.pad), "reflect") if self.pad else x)


class _SbNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class _SbTdnn(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _SbConv(inputs, outputs, kernel, dilation)
        self.norm = _SbNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.relu(self.conv(x)))


class _SbRes2Net(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.width = channels // SCALE
        self.blocks = nn.ModuleList(
            _SbTdnn(self.width, self.width, 3, dilation) for _ in range(SCALE - 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, *parts = x.split(self.width, dim=1)
        outputs: list[Tensor] = []
        for block, part in zip(self.blocks, parts, strict=True):
            outputs.append(block(outputs[-1] + part if outputs else part))
        return torch.cat([first, *outputs], dim=1)


class _SbSqueezeExcite(nn.Module):
    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.conv1 = _SbConv(channels, bottleneck)
        self.conv2 = _SbConv(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = torch.relu(self.conv1(x.mean(2, keepdim=True)))
        return x * torch.sigmoid(self.conv2(squeezed))


class _SbBlock(nn.Module):
    def __init__(self, channels: int, dilation: int, bottleneck: int) -> None:
        super().__init__()
        self.tdnn1 = _SbTdnn(channels, channels)
        self.res2net_block = _SbRes2Net(channels, dilation)
        self.tdnn2 = _SbTdnn(channels, channels)
        self.se_block = _SbSqueezeExcite(channels, bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        return self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x)))) + x


class _SbPooling(nn.Module):
    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.tdnn = _SbTdnn(3 * channels, attention_channels)
        self.conv = _SbConv(attention_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        first = self.tdnn.conv.conv
        for_frames, for_mean, for_deviation = first.weight.split(x.shape[1], dim=1)
        mean = x.mean(2, keepdim=True)
        deviation = torch.sqrt(((x - mean) ** 2).mean(2, keepdim=True).clamp(min=1e-12))
        context = F.conv1d(mean, for_mean, first.bias) + F.conv1d(deviation, for_deviation)
        hidden = self.tdnn.norm(torch.relu(F.conv1d(x, for_frames) + context))
        weights = torch.softmax(self.conv(torch.tanh(hidden)), dim=2)
        mean = (x * weights).sum(2, keepdim=True)
        variance = (weights * (x - mean) ** 2).sum(2, keepdim=True)
        return torch.cat([mean, torch.sqrt(variance.clamp(min=1e-12))], dim=1)


class SpeechBrainEcapa(nn.Module):
    """Log-mel (N, 80, T) to embeddings (N, embedding_dim); parameter names are SpeechBrain's."""

    def __init__(
        self,
        channels: int = 1024,
        n_mels: int = 80,
        mfa_channels: int = 3072,
        attention_channels: int = 128,
        bottleneck: int = 128,
        embedding_dim: int = 192,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                _SbTdnn(n_mels, channels, 5),
                *(_SbBlock(channels, dilation, bottleneck) for dilation in DILATIONS),
            ]
        )
        self.mfa = _SbTdnn(len(DILATIONS) * channels, mfa_channels)
        self.asp = _SbPooling(mfa_channels, attention_channels)
        self.asp_bn = _SbNorm(2 * mfa_channels)
        self.fc = _SbConv(2 * mfa_channels, embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        x = self.blocks[0](features)
        outputs = []
        for block in self.blocks[1:]:
            x = block(x)
            outputs.append(x)
        pooled = self.asp(self.mfa(torch.cat(outputs, dim=1)))
        return self.fc(self.asp_bn(pooled))[:, :, 0]
