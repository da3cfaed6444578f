"""The inference graph of a NeXt-TDNN: BatchNorms and affine maps folded, few plain operators.

Everything that is linear at inference is merged into its neighbour: BatchNorms into the
layer before or after, each block's LayerNorm gain and offset and GRN offset into the
products that follow. What remains is matrix products, depthwise convolutions, GELU and
three reductions, which every ONNX engine knows.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .nexttdnn import Aggregation, LightBlock, NeXtTdnn, TsBlock

OPSET = 17


def _normalise(x: Tensor, eps: float, dim: int) -> Tensor:
    centred = x - x.mean(dim, keepdim=True)
    variance = (centred * centred).mean(dim, keepdim=True)
    return centred / torch.sqrt(variance + eps)


def _batch_norm_affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """BatchNorm at inference as x * gain + offset, computed in double precision."""
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return gain, norm.bias.double() - norm.running_mean.double() * gain


class _Pointwise(nn.Module):
    """One matrix product over channels, weights (out, in), frames last (N, C, T)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().float().unsqueeze(-1).contiguous())
        self.bias = nn.Parameter(bias.detach().float().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight, self.bias)


class _Block(nn.Module):
    def __init__(self, block: TsBlock | LightBlock) -> None:
        super().__init__()
        self.light = isinstance(block, LightBlock)
        if self.light:
            self.dwconv = block.dwconv
        else:
            project = block.projection_linear
            self.project = _Pointwise(project.weight[:, :, 0], project.bias)
            self.scales = block.mscconv
            self.group = block.group
            self.mix = _Pointwise(block.pwconv_1stage.weight, block.pwconv_1stage.bias)
        self.eps = block.norm.eps
        expand, shrink = block.pwconv1, block.pwconv2
        gain, offset = block.norm.weight.double(), block.norm.bias.double()
        weight = expand.weight.double()
        self.expand = _Pointwise(weight * gain, expand.bias.double() + weight @ offset)
        weight = shrink.weight.double()
        beta = block.grn.beta.double().flatten()
        self.shrink = _Pointwise(weight, shrink.bias.double() + weight @ beta)
        self.gamma = nn.Parameter(block.grn.gamma.detach().reshape(1, -1, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.light:
            x = x + self.dwconv(x)
        else:
            parts = self.project(x).split(self.group, dim=1)
            parts = [conv(part) for part, conv in zip(parts, self.scales, strict=True)]
            x = x + self.mix(F.gelu(torch.cat(parts, dim=1)))
        y = F.gelu(self.expand(_normalise(x, self.eps, 1)))
        energy = torch.sqrt((y * y).sum(2, keepdim=True))
        share = energy / (energy.mean(1, keepdim=True) + 1e-6)
        return x + self.shrink(y * (1.0 + self.gamma * share))


class FoldedNeXtTdnn(nn.Module):
    """(1, n_mels, T) log-mel features to (1, embedding_dim), as exported."""

    def __init__(self, network: NeXtTdnn) -> None:
        super().__init__()
        network = network.eval()
        stem, norm = network.model.stem[0]
        self.stem = stem
        self.stem_eps = norm.eps
        self.stem_gain = nn.Parameter(norm.weight.detach().reshape(1, -1, 1).clone())
        self.stem_offset = nn.Parameter(norm.bias.detach().reshape(1, -1, 1).clone())
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(block) for block in stage)) for stage in network.model.stages
        )
        mfa, norm = network.model.MFA
        self.mfa = _Pointwise(mfa.weight[:, :, 0], mfa.bias)
        self.mfa_eps = norm.eps
        self.mfa_gain = nn.Parameter(norm.weight.detach().reshape(1, -1, 1).clone())
        self.mfa_offset = nn.Parameter(norm.bias.detach().reshape(1, -1, 1).clone())
        self._fold_aggregation(network.aggregate)

    def _fold_aggregation(self, aggregate: Aggregation) -> None:
        weight = aggregate.conv_1.weight[:, :, 0].double()
        bias = aggregate.conv_1.bias.double()
        before, after = aggregate.bn1, aggregate.bn2
        if aggregate.bn_inside:
            gain, offset = _batch_norm_affine(aggregate.bn1)
            weight, bias = weight * gain[:, None], bias * gain + offset
            before, after = aggregate.bn2, aggregate.bn3
        self.attend_in = _Pointwise(weight, bias)
        self.attend_out = _Pointwise(aggregate.conv_2.weight[:, :, 0], aggregate.conv_2.bias)
        gain_in, offset_in = _batch_norm_affine(before)
        gain_out, offset_out = _batch_norm_affine(after)
        weight, bias = aggregate.fc.weight.double(), aggregate.fc.bias.double()
        bias = (bias + weight @ offset_in) * gain_out + offset_out
        weight = weight * gain_in * gain_out[:, None]
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def forward(self, features: Tensor) -> Tensor:
        x = _normalise(self.stem(features), self.stem_eps, 1)
        x = x * self.stem_gain + self.stem_offset
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        x = _normalise(self.mfa(torch.cat(outputs, dim=1)), self.mfa_eps, 1)
        x = x * self.mfa_gain + self.mfa_offset
        weights = torch.softmax(self.attend_out(torch.tanh(self.attend_in(x))), dim=2)
        weighted = x * weights
        mean = weighted.sum(2)
        deviation = torch.sqrt(((x * weighted).sum(2) - mean * mean).clamp(min=1e-5))
        return self.head(torch.cat([mean, deviation], dim=1))


def write_onnx(module: nn.Module, n_mels: int, path: Path) -> None:
    """Writes ``module`` as ONNX: ``features`` (1, n_mels, n_frames) to ``embedding`` (1, D)."""
    example = torch.randn(1, n_mels, 150)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (example,),
            buffer,
            input_names=["features"],
            output_names=["embedding"],
            dynamic_axes={"features": {2: "n_frames"}},
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    path.write_bytes(buffer.getvalue())


def run_onnx(path: Path, features: np.ndarray) -> np.ndarray:
    """Embeds (1, n_mels, T) features with onnxruntime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"features": features.astype(np.float32)})[0]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
