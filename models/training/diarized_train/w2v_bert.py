"""A w2v-BERT 2.0 encoder with a layer over frames, statistics pooling and maxout layers, arranged for export.

The layout of VoicePersonification's ``itmo_personification_model_large``. The encoder is a conformer (Barrault et al.,
"Seamless: Multilingual Expressive and Streaming Speech Translation", 2023) with embeddings of clamped distances as
Shaw et al. have them ("Self-Attention with Relative Position Representations", 2018). Three things are computed in
another way than in the public code, with the same result:

* Pairs of frames are made in the graph, by a convolution with a stride of 2, so that the front end gives single
  frames. An odd last frame is paired with what the feature extractor pads with.
* The public code keeps an embedding for each pair of positions, (T, T, size of a head). Here a query is multiplied with
  the few embeddings that there are, and each pair takes its value out of that table.
* Positions are a running sum over frames: with arithmetic on the length, tract does not come to an end where any
  length is to do.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ENCODER = "feat_extractor.w2v."
# Frames of 10 ms in a position of the encoder.
STRIDE = 2
# What the feature extractor of facebook/w2v-bert-2.0 pads with.
PADDING = 1.0
# Distances to the right that have an embedding of their own; those to the left are read from the tensors.
RIGHT_DISTANCES = 8


@dataclass(frozen=True)
class W2vBertConfig:
    """Shape of the network; the defaults are those of the published checkpoint."""

    n_mels: int = 80
    hidden: int = 1024
    n_layers: int = 8
    intermediate: int = 4096
    head_size: int = 64
    n_distances: int = 64 + 1 + RIGHT_DISTANCES
    kernel: int = 31
    frame_channels: int = 2048
    frame_kernel: int = 1
    segment_dims: tuple[int, ...] = (512,)
    segment_norm: bool = True


class _FeedForward(nn.Module):
    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(hidden, intermediate)
        self.output_dense = nn.Linear(intermediate, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_dense(F.silu(self.intermediate_dense(x)))


class _SelfAttention(nn.Module):
    """(1, T, hidden) to the same; ``pairs`` says where in a table (T, n_distances) each pair of positions looks."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.head_size = config.head_size
        self.n_heads = hidden // config.head_size
        self.linear_q = nn.Linear(hidden, hidden)
        self.linear_k = nn.Linear(hidden, hidden)
        self.linear_v = nn.Linear(hidden, hidden)
        self.linear_out = nn.Linear(hidden, hidden)
        self.distance_embedding = nn.Embedding(config.n_distances, config.head_size)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.n_heads, self.head_size).transpose(0, 1)

    def forward(self, x: Tensor, pairs: Tensor) -> Tensor:
        query = self._heads(self.linear_q(x) * self.head_size**-0.5)
        key, value = self._heads(self.linear_k(x)), self._heads(self.linear_v(x))
        by_distance = query @ self.distance_embedding.weight.t()
        near = by_distance.reshape(self.n_heads, -1)[:, pairs]
        weights = torch.softmax(query @ key.transpose(1, 2) + near, dim=2)
        mixed = (weights @ value).transpose(0, 1)
        return self.linear_out(mixed.reshape(1, -1, self.n_heads * self.head_size))


class _Convolution(nn.Module):
    """A gated convolution over the positions before, each channel by itself."""

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(hidden)
        self.pointwise_conv1 = nn.Conv1d(hidden, 2 * hidden, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(hidden, hidden, kernel, groups=hidden, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(hidden)
        self.pointwise_conv2 = nn.Conv1d(hidden, hidden, 1, bias=False)
        self.past = kernel - 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(self.layer_norm(x), self.pointwise_conv1.weight[:, :, 0])
        open_, gate = y.chunk(2, dim=2)
        y = F.pad((open_ * torch.sigmoid(gate)).transpose(1, 2), (self.past, 0))
        y = F.silu(self.depthwise_layer_norm(self.depthwise_conv(y).transpose(1, 2)))
        return F.linear(y, self.pointwise_conv2.weight[:, :, 0])


class _Layer(nn.Module):
    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.ffn1_layer_norm = nn.LayerNorm(hidden)
        self.ffn1 = _FeedForward(hidden, config.intermediate)
        self.self_attn_layer_norm = nn.LayerNorm(hidden)
        self.self_attn = _SelfAttention(config)
        self.conv_module = _Convolution(hidden, config.kernel)
        self.ffn2_layer_norm = nn.LayerNorm(hidden)
        self.ffn2 = _FeedForward(hidden, config.intermediate)
        self.final_layer_norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, pairs: Tensor) -> Tensor:
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn(self.self_attn_layer_norm(x), pairs)
        x = x + self.conv_module(x)
        x = x + 0.5 * self.ffn2(self.ffn2_layer_norm(x))
        return self.final_layer_norm(x)


class _Encoder(nn.Module):
    """Standardised log-mel (1, n_mels, T) to (1, ceil(T / 2), hidden)."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        inputs = STRIDE * config.n_mels
        self.n_mels = config.n_mels
        self.n_distances = config.n_distances
        self.feature_projection = nn.ModuleDict(
            {"layer_norm": nn.LayerNorm(inputs), "projection": nn.Linear(inputs, config.hidden)}
        )
        self.encoder = nn.ModuleDict(
            {"layers": nn.ModuleList(_Layer(config) for _ in range(config.n_layers))}
        )

    def _pair(self, features: Tensor) -> Tensor:
        one = torch.eye(self.n_mels, dtype=features.dtype, device=features.device)
        none = torch.zeros_like(one)
        taps = torch.cat([torch.stack([one, none], 2), torch.stack([none, one], 2)])
        padded = F.pad(features, (0, STRIDE - 1), value=PADDING)
        return F.conv1d(padded, taps, stride=STRIDE).transpose(1, 2)

    def _pairs(self, x: Tensor) -> Tensor:
        """(T, T): for query and key the place of their distance in a table (T, n_distances), row by row."""
        position = torch.cumsum(0.0 * x[0, :, :1] + 1.0, 0)
        left = self.n_distances - 1 - RIGHT_DISTANCES
        distance = (position.t() - position).clamp(-left, RIGHT_DISTANCES) + left
        return ((position - 1.0) * self.n_distances + distance + 0.5).long()

    def forward(self, features: Tensor) -> Tensor:
        x = self.feature_projection["layer_norm"](self._pair(features))
        x = self.feature_projection["projection"](x)
        pairs = self._pairs(x)
        for layer in self.encoder["layers"]:
            x = layer(x, pairs)
        return x


class _Maxout(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, outputs)
        self.linear2 = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(self.linear1(x), self.linear2(x))


class W2vBert(nn.Module):
    """Standardised log-mel (1, n_mels, T) to embeddings (1, D); parameter names are public ones."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        self.config = config
        self.feat_extractor = nn.ModuleDict({"w2v": _Encoder(config)})
        self.frame_level = nn.Conv1d(config.hidden, config.frame_channels, config.frame_kernel)
        dims = (2 * config.frame_channels, *config.segment_dims)
        self.segment_level = nn.ModuleDict(
            {
                "layers": nn.ModuleList(_Maxout(a, b) for a, b in itertools.pairwise(dims)),
                "bn": nn.ModuleList(
                    nn.BatchNorm1d(dim, affine=False) for dim in config.segment_dims if config.segment_norm
                ),
            }
        )

    def forward(self, features: Tensor) -> Tensor:
        x = self.frame_level(self.feat_extractor["w2v"](features).transpose(1, 2))
        mean = x.mean(2)
        deviation = torch.sqrt(torch.relu((x * x).mean(2) - mean * mean))
        x = torch.cat([mean, deviation], dim=1)
        for index, layer in enumerate(self.segment_level["layers"]):
            x = layer(x)
            if self.config.segment_norm:
                x = self.segment_level["bn"][index](x)
        return x


def config_of(state: dict[str, Tensor]) -> W2vBertConfig:
    """The network's shape, read from its tensors; what is missing stays as published."""
    usual = W2vBertConfig()

    def size(key: str, axis: int, otherwise: int) -> int:
        return state[key].shape[axis] if key in state else otherwise

    def count(pattern: str) -> int:
        found = (re.match(pattern, key) for key in state)
        return max((int(m[1]) + 1 for m in found if m), default=0)

    layer = ENCODER + "encoder.layers.0."
    n_segments = count(r"segment_level\.layers\.(\d+)\.") or len(usual.segment_dims)
    segments = tuple(
        size(f"segment_level.layers.{i}.linear1.weight", 0, usual.segment_dims[-1]) for i in range(n_segments)
    )
    return W2vBertConfig(
        n_mels=size(ENCODER + "feature_projection.projection.weight", 1, STRIDE * usual.n_mels) // STRIDE,
        hidden=size(ENCODER + "feature_projection.projection.weight", 0, usual.hidden),
        n_layers=count(re.escape(ENCODER) + r"encoder\.layers\.(\d+)\.") or usual.n_layers,
        intermediate=size(layer + "ffn1.intermediate_dense.weight", 0, usual.intermediate),
        head_size=size(layer + "self_attn.distance_embedding.weight", 1, usual.head_size),
        n_distances=size(layer + "self_attn.distance_embedding.weight", 0, usual.n_distances),
        kernel=size(layer + "conv_module.depthwise_conv.weight", 2, usual.kernel),
        frame_channels=size("frame_level.weight", 0, usual.frame_channels),
        frame_kernel=size("frame_level.weight", 2, usual.frame_kernel),
        segment_dims=segments,
        segment_norm=any(key.startswith("segment_level.bn.") for key in state) or not segments,
    )
