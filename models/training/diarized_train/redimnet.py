"""ReDimNet in the layout of its authors' checkpoints, arranged for export.

Yakovlev et al., "Reshape Dimensions Network for Speaker Recognition" (Interspeech 2024). Stages change between maps
(channels, bands, frames) and rows (channels times bands, frames); each starts from a weighted sum of all stages before.
The weights are softmaxes of parameters, so they are constants of the graph. The pooling's first layer sees
[x, mean, deviation] over channels; it is computed as W1 x + (W2 mean + W3 deviation), which is the same and spares
engines the concatenation of an expanded mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_HEADS = 4
POSITION_KERNEL = 59
ATTENTION_KERNELS = (7, 19, 31, 59)
CONV_KERNELS = (7, 15, 31)
# Layers before a stage's first convolution in the newer layout: the weighted sum, and the turn to a map.
BEFORE_CONV = 2


@dataclass(frozen=True)
class Stage:
    """``stride`` of the bands, blocks, factor of the channels inside, and by what the rows' channels are divided."""

    stride: int
    n_blocks: int
    expansion: float
    reduction: int | None


@dataclass(frozen=True)
class ReDimNetConfig:
    """``model_config`` of a checkpoint, as far as it shapes the network; the defaults are those of B2."""

    n_mels: int = 72
    channels: int = 16
    block_1d: str = "conv+att"
    block_2d: str = "convnext_like"
    stages: tuple[Stage, ...] = (
        Stage(1, 2, 1, 12),
        Stage(2, 2, 1, 12),
        Stage(1, 3, 1, 12),
        Stage(2, 4, 1, 8),
        Stage(1, 4, 1, 8),
        Stage(2, 4, 1, 4),
    )
    group_divisor: int | None = 4
    out_channels: int | None = None
    embedding_dim: int = 192
    global_context: bool = True
    embedding_norm: bool = False


class _Norm(nn.Module):
    """Layer normalisation over channels, (N, C, ...)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (x.dim() - 2)
        centred = x - x.mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-6) * self.weight.view(shape) + self.bias.view(shape)


def _groups(channels: int, divisor: int | None) -> int:
    return 1 if divisor is None else channels // divisor


class _ConvNeXt(nn.Module):
    def __init__(self, channels: int, dims: int, kernels: tuple[int, ...], divisor: int | None, relu: bool) -> None:
        super().__init__()
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if dims == 1 else (nn.Conv2d, nn.BatchNorm2d)
        self.dwconvs = nn.ModuleList(
            conv(channels, channels, k, padding=k // 2, groups=_groups(channels, divisor)) for k in kernels
        )
        self.norm = norm(channels * len(kernels))
        self.pwconv1 = conv(channels * len(kernels), channels, 1)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([conv(x) for conv in self.dwconvs], dim=1))
        return x + self.pwconv1(torch.relu(y) if self.relu else F.gelu(y))


class _BandGate(nn.Module):
    """Weighs each band by what all channels and frames of it hold."""

    def __init__(self, n_bands: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(n_bands, inner)
        # So spelt in the checkpoints.
        self.exitation = nn.Linear(inner, n_bands)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.exitation(torch.relu(self.squeeze(x.mean(3).mean(1)))))
        return x * gate[:, None, :, None]


class _Residual(nn.Module):
    def __init__(self, channels: int, n_bands: int, divisor: int | None, gated: bool) -> None:
        super().__init__()
        groups = _groups(channels, divisor)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        split = divisor is not None
        self.conv1pw = nn.Conv2d(channels, channels, 1) if split else nn.Identity()
        self.conv2pw = nn.Conv2d(channels, channels, 1) if split else nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = _BandGate(n_bands, min(64, max(channels, 32))) if gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(torch.relu(self.conv1pw(self.conv1(x))))
        return torch.relu(self.se(self.bn2(self.conv2pw(self.conv2(y)))) + x)


class _Block2d(nn.Module):
    def __init__(self, kind: str, channels: int, n_bands: int, divisor: int | None) -> None:
        super().__init__()
        if kind.startswith("convnext_like"):
            self.conv_block = _ConvNeXt(channels, 2, (3,), divisor, kind.endswith("_relu"))
        else:
            self.conv_block = _Residual(channels, n_bands, divisor, kind.endswith("_fwse"))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_block(x)


class _Position(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            channels, channels, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=channels
        )
        self.norm = _Norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x))


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % N_HEADS:
            raise ValueError(f"{channels} channels of an attention cannot be divided among {N_HEADS} heads")
        self.size = channels // N_HEADS
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(-1, N_HEADS, self.size).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        query = self._heads(self.q_proj(x) * self.size**-0.5)
        key, value = self._heads(self.k_proj(x)), self._heads(self.v_proj(x))
        mixed = torch.softmax(query @ key.transpose(1, 2), dim=2) @ value
        return self.out_proj(mixed.transpose(0, 1).reshape(1, -1, N_HEADS * self.size))


class _FeedForward(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(channels, inner)
        self.output_dense = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.intermediate_dense(x)
        x = 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))))
        return self.output_dense(x)


class _Transformer(nn.Module):
    """(1, C, T) to the same."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.attention = _Attention(channels)
        self.layer_norm = nn.LayerNorm(channels, eps=1e-6)
        self.feed_forward = _FeedForward(channels, inner)
        self.final_layer_norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = self.layer_norm(x + self.attention(x))
        return self.final_layer_norm(x + self.feed_forward(x)).transpose(1, 2)


class _Block1d(nn.Module):
    def __init__(self, kind: str, channels: int, inner: int) -> None:
        super().__init__()
        self.red_dim_conv = nn.Sequential(nn.Conv1d(channels, inner, 1), _Norm(inner))
        if kind == "fc":
            layers = [nn.Conv1d(inner, 2 * inner, 1), _Norm(2 * inner), nn.GELU(), nn.Conv1d(2 * inner, inner, 1)]
        elif kind == "conv":
            layers = [_ConvNeXt(inner, 1, CONV_KERNELS, 1, False) for _ in range(4)]
        elif kind == "att":
            layers = [_Position(inner), _Transformer(inner, 2 * inner)]
        else:
            layers = [_ConvNeXt(inner, 1, (kernel,), 1, False) for kernel in ATTENTION_KERNELS]
            layers.append(_Transformer(inner, inner))
        self.tcm = nn.Sequential(*layers)
        self.exp_dim_conv = nn.Conv1d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.exp_dim_conv(self.tcm(self.red_dim_conv(x)))


class _Sum(nn.Module):
    """A weighted sum of rows."""

    def __init__(self, n_inputs: int, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, n_inputs, channels if n_inputs > 1 else 1, 1))

    def forward(self, rows: list[Tensor]) -> Tensor:
        if len(rows) == 1:
            return rows[0]
        weights = torch.softmax(self.w, dim=1)
        total = weights[:, 0] * rows[0]
        for index, row in enumerate(rows[1:], 1):
            total = total + weights[:, index] * row
        return total


class _ToMap(nn.Module):
    def __init__(self, n_bands: int, channels: int) -> None:
        super().__init__()
        self.n_bands, self.channels = n_bands, channels

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, self.n_bands, self.channels, -1).transpose(1, 2)


class _ToRows(nn.Module):
    def __init__(self, n_bands: int, channels: int) -> None:
        super().__init__()
        self.n_rows = n_bands * channels

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).reshape(1, self.n_rows, -1)


class _Backbone(nn.Module):
    """Log-mel (1, 1, n_mels, T) to rows (1, C, T)."""

    def __init__(self, config: ReDimNetConfig) -> None:
        super().__init__()
        channels, n_bands = config.channels, config.n_mels
        rows = channels * n_bands
        self.n_stages = len(config.stages)
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1), _Norm(channels), _ToRows(n_bands, channels)
        )
        relu = "relu" in config.block_1d and "relu" in config.block_2d
        divisor = config.group_divisor
        for index, stage in enumerate(config.stages):
            if n_bands % stage.stride:
                raise ValueError(f"{n_bands} bands cannot be divided by the stride {stage.stride}")
            inside = int(stage.stride * channels * stage.expansion)
            stride = (stage.stride, 1)
            layers = [_Sum(index + 1, rows), _ToMap(n_bands, channels), nn.Conv2d(channels, inside, stride, stride)]
            channels, n_bands = stage.stride * channels, n_bands // stage.stride
            layers += [_Block2d(config.block_2d, inside, n_bands, divisor) for _ in range(stage.n_blocks)]
            if stage.expansion != 1:
                groups = _groups(channels, divisor)
                layers.append(
                    nn.Sequential(
                        nn.Conv2d(inside, channels, 3, padding=1, groups=groups),
                        nn.BatchNorm2d(channels, eps=1e-6),
                        nn.ReLU() if relu else nn.GELU(),
                        nn.Conv2d(channels, channels, 1),
                    )
                )
            layers.append(_ToRows(n_bands, channels))
            if stage.reduction is not None:
                layers.append(_Block1d(config.block_1d, rows, rows // stage.reduction))
            setattr(self, f"stage{index}", nn.Sequential(*layers))
        self.fin_wght1d = _Sum(self.n_stages + 1, rows)
        self.mfa = nn.Identity()
        if config.out_channels is not None:
            self.mfa = nn.Sequential(nn.Conv1d(rows, config.out_channels, 1), nn.BatchNorm1d(config.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.stem(x)]
        for index in range(self.n_stages):
            rows.append(getattr(self, f"stage{index}")(rows))
        return self.mfa(self.fin_wght1d(rows))


class _Pooling(nn.Module):
    """Attentive statistics, (N, C, T) to (N, 2 C)."""

    def __init__(self, channels: int, inner: int, global_context: bool) -> None:
        super().__init__()
        self.linear1 = nn.Conv1d(3 * channels if global_context else channels, inner, 1)
        self.linear2 = nn.Conv1d(inner, channels, 1)
        self.global_context = global_context

    def _hidden(self, x: Tensor) -> Tensor:
        if not self.global_context:
            return self.linear1(x)
        for_frames, for_mean, for_deviation = self.linear1.weight.split(x.shape[1], dim=1)
        mean = x.mean(2, keepdim=True)
        # Frames are counted by a sum: with arithmetic on the length, tract does not come to an end where any length is
        # to do.
        n_frames = (0.0 * x[:, :1] + 1.0).sum(2, keepdim=True)
        squares = ((x - mean) ** 2).sum(2, keepdim=True)
        deviation = torch.sqrt(squares / (n_frames - 1.0).clamp(min=1.0) + 1e-7)
        context = F.conv1d(mean, for_mean, self.linear1.bias) + F.conv1d(deviation, for_deviation)
        return F.conv1d(x, for_frames) + context

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.linear2(torch.tanh(self._hidden(x))), dim=2)
        mean = (weights * x).sum(2)
        variance = (weights * x * x).sum(2) - mean * mean
        return torch.cat([mean, torch.sqrt(variance.clamp(min=1e-7))], dim=1)


class ReDimNet(nn.Module):
    """Log-mel (1, n_mels, T) to embeddings (1, D); parameter names are the authors' newer ones."""

    def __init__(self, config: ReDimNetConfig, attention_channels: int = 128) -> None:
        super().__init__()
        self.config = config
        self.backbone = _Backbone(config)
        channels = config.out_channels or config.channels * config.n_mels
        self.pool = _Pooling(channels, attention_channels, config.global_context)
        self.bn = nn.BatchNorm1d(2 * channels)
        self.linear = nn.Linear(2 * channels, config.embedding_dim)
        self.bn2 = nn.BatchNorm1d(config.embedding_dim) if config.embedding_norm else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.pool(self.backbone(features.unsqueeze(1)))
        return self.bn2(self.linear(self.bn(pooled)))
