"""NeXt-TDNN of any width and depth, in a form that trains fast and exports small.

Heo et al., "NeXt-TDNN: Modernizing Multi-Scale Temporal Convolution Backbone for
Speaker Verification" (ICASSP 2024). Parameter names and shapes are those of the public
checkpoints, so that a foreign ``state_dict`` loads without renaming; the forward pass is
our own: it keeps frames outermost (N, T, C), so that every pointwise layer is one matrix
product, and computes wide depthwise convolutions as banded matrix products, which
is an order of magnitude faster to differentiate than the convolution itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Depthwise kernels at least this wide are computed as banded matrix products in training.
BANDED_MIN_KERNEL = 5


@dataclass(frozen=True)
class NeXtTdnnConfig:
    """Shape of the network: everything needed to build it again.

    ``aggregation`` is ``"vap_bn_tanh_fc_bn"`` (official: BatchNorm inside the attention)
    or ``"vap_tanh_fc_bn"`` (VoicePersonification: none there). ``light`` selects the block
    with a single depthwise kernel and no projections.
    """

    n_mels: int = 80
    channels: int = 128
    depths: tuple[int, ...] = (2, 2, 2)
    kernel_sizes: tuple[int, ...] = (7, 65)
    embedding_dim: int = 192
    aggregation: str = "vap_bn_tanh_fc_bn"
    attention_channels: int = 0
    light: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "kernel_sizes", tuple(self.kernel_sizes))
        if self.attention_channels == 0:
            width = len(self.depths) * self.channels // 8
            object.__setattr__(self, "attention_channels", width)
        if self.aggregation not in ("vap_bn_tanh_fc_bn", "vap_tanh_fc_bn"):
            raise ValueError(f"aggregation ({self.aggregation!r}) is not a known one")
        if any(k % 2 == 0 for k in self.kernel_sizes):
            raise ValueError(f"kernel_sizes ({self.kernel_sizes}) must be odd")
        if self.light and len(self.kernel_sizes) != 1:
            raise ValueError(f"a light block has one kernel, not {len(self.kernel_sizes)}")
        if self.channels % len(self.kernel_sizes):
            raise ValueError(
                f"channels ({self.channels}) must divide by {len(self.kernel_sizes)} scales"
            )

    def to_dict(self) -> dict:
        return asdict(self)

    def describe(self) -> str:
        depth = str(self.depths[0]) if len(set(self.depths)) == 1 else str(self.depths)
        kind = "NeXt-TDNN-light" if self.light else "NeXt-TDNN"
        return f"{kind} C{self.channels} B{depth} K{','.join(map(str, self.kernel_sizes))}"


class _BandedConv(torch.autograd.Function):
    """Depthwise "same" convolution as one T x T banded product per channel.

    ``x`` is (C, T, N), ``weight`` (C, K). The band matrix is M[c, i, j] = w[c, j - i + K/2].
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        n_frames = x.shape[1]
        half = weight.shape[1] // 2
        ctx.half = half
        # Row i of the band is the kernel, zero-padded to 2T-1, read from T-1-i on.
        side = n_frames - 1 - half
        padded = F.pad(weight, (side, side)).contiguous()
        stride = padded.stride(0)
        band = padded.as_strided((x.shape[0], n_frames, n_frames), (stride, 1, 1))
        band = band.flip(1).to(x.dtype)
        ctx.save_for_backward(x, band)
        return torch.bmm(band, x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, band = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = torch.bmm(band.transpose(1, 2), grad)
        # The kernel's gradient is the sum of each of the K central diagonals of G = g x^T:
        # padded by K/2 on both sides, diagonal k starts at column k and steps a row and a
        # column at a time, which strides can say.
        outer = F.pad(torch.bmm(grad, x.transpose(1, 2)), (ctx.half, ctx.half))
        channels, n_frames, row = outer.shape
        diagonals = outer.as_strided(
            (channels, n_frames, 2 * ctx.half + 1), (n_frames * row, row + 1, 1)
        )
        return grad_x, diagonals.sum(1, dtype=torch.float32)


class _GrnFunction(torch.autograd.Function):
    """x (1 + gamma share) + beta with a hand-written gradient: half the passes over x."""

    @staticmethod
    def forward(ctx, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        energy = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
        energy = energy.clamp_min(1e-6)
        mean = energy.mean(-1, keepdim=True) + 1e-6
        gain = 1 + gamma * (energy / mean)
        ctx.save_for_backward(x, gamma, energy, mean, gain)
        return torch.addcmul(beta.to(x.dtype), x, gain.to(x.dtype))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gamma, energy, mean, gain = ctx.saved_tensors
        along = (grad * x).sum(1, keepdim=True, dtype=torch.float32)
        d_share = gamma * along
        d_mean = -(d_share * energy).sum(-1, keepdim=True) / mean**2
        d_energy = d_share / mean + d_mean / energy.shape[-1]
        d_x = torch.addcmul(grad * gain.to(x.dtype), x, (d_energy / energy).to(x.dtype))
        d_gamma = (along * energy / mean).sum(0, keepdim=True)
        d_beta = grad.sum((0, 1), dtype=torch.float32).view_as(gamma)
        return d_x, d_gamma, d_beta


class LayerNorm(nn.Module):
    """Normalises the last axis; the name of the parameters is all that is peculiar."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Grn(nn.Module):
    """Global response normalisation over time (Woo et al., 2023, ConvNeXt V2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        return _GrnFunction.apply(x, self.gamma, self.beta)


def _depthwise(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """(N, T, C) depthwise convolution."""
    kernel = conv.weight.shape[-1]
    n_frames = x.shape[1]
    if torch.onnx.is_in_onnx_export() or kernel < BANDED_MIN_KERNEL or n_frames <= kernel // 2:
        return conv(x.transpose(1, 2)).transpose(1, 2)
    packed = x.permute(2, 1, 0).contiguous()
    out = _BandedConv.apply(packed, conv.weight[:, 0])
    return out.permute(2, 1, 0) + conv.bias.to(out.dtype)


class TsBlock(nn.Module):
    """Two-step ConvNeXt block: multi-scale depthwise convolution, then a wide GRN MLP."""

    def __init__(self, dim: int, kernel_sizes: tuple[int, ...]) -> None:
        super().__init__()
        group = dim // len(kernel_sizes)
        self.group = group
        self.projection_linear = nn.Conv1d(dim, dim, 1)
        self.mscconv = nn.ModuleList(
            nn.Conv1d(group, group, k, padding=k // 2, groups=group) for k in kernel_sizes
        )
        self.pwconv_1stage = nn.Linear(dim, dim)
        self.norm = LayerNorm(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = Grn(4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.projection_linear.weight[:, :, 0], self.projection_linear.bias)
        parts = [
            _depthwise(part, conv)
            for part, conv in zip(y.split(self.group, dim=2), self.mscconv, strict=True)
        ]
        x = x + self.pwconv_1stage(F.gelu(torch.cat(parts, dim=2)))
        return x + self.pwconv2(self.grn(F.gelu(self.pwconv1(self.norm(x)))))


class LightBlock(nn.Module):
    """The light variant: one depthwise convolution beside a residual, then the same MLP."""

    def __init__(self, dim: int, kernel_sizes: tuple[int, ...]) -> None:
        super().__init__()
        kernel = kernel_sizes[0]
        self.dwconv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = LayerNorm(dim)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = Grn(4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + _depthwise(x, self.dwconv)
        return x + self.pwconv2(self.grn(F.gelu(self.pwconv1(self.norm(x)))))


class Trunk(nn.Module):
    """Frames to multi-layer features: (N, n_mels, T) to (N, T - 3, stages * C)."""

    def __init__(self, config: NeXtTdnnConfig) -> None:
        super().__init__()
        dim, n_stages = config.channels, len(config.depths)
        self.stem = nn.ModuleList(
            [nn.Sequential(nn.Conv1d(config.n_mels, dim, 4), LayerNorm(dim))]
        )
        block = LightBlock if config.light else TsBlock
        self.stages = nn.ModuleList(
            nn.Sequential(*(block(dim, config.kernel_sizes) for _ in range(depth)))
            for depth in config.depths
        )
        wide = n_stages * dim
        self.MFA = nn.Sequential(nn.Conv1d(wide, wide, 1), LayerNorm(wide))
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Conv1d) and module.groups > 1:
                # A 0.02 spread over 7 taps all but silences the branch; start it at the
                # scale of its fan-in so that both scales carry signal from the first step.
                nn.init.trunc_normal_(module.weight, std=module.weight.shape[-1] ** -0.5)

    def forward(self, features: Tensor) -> Tensor:
        x = self.stem[0][1](self.stem[0][0](features).transpose(1, 2))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        mfa = self.MFA[0]
        x = F.linear(torch.cat(outputs, dim=2), mfa.weight[:, :, 0], mfa.bias)
        return self.MFA[1](x)


class Aggregation(nn.Module):
    """Channel-wise attentive mean and deviation over time, then a linear embedding."""

    def __init__(self, config: NeXtTdnnConfig) -> None:
        super().__init__()
        wide = len(config.depths) * config.channels
        self.bn_inside = config.aggregation == "vap_bn_tanh_fc_bn"
        self.conv_1 = nn.Conv1d(wide, config.attention_channels, 1)
        self.conv_2 = nn.Conv1d(config.attention_channels, wide, 1)
        if self.bn_inside:
            self.bn1 = nn.BatchNorm1d(config.attention_channels)
            self.bn2 = nn.BatchNorm1d(2 * wide)
            self.bn3 = nn.BatchNorm1d(config.embedding_dim)
        else:
            self.bn1 = nn.BatchNorm1d(2 * wide)
            self.bn2 = nn.BatchNorm1d(config.embedding_dim)
        self.fc = nn.Linear(2 * wide, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, wide) to (N, embedding_dim)."""
        hidden = F.linear(x, self.conv_1.weight[:, :, 0], self.conv_1.bias)
        if self.bn_inside:
            hidden = self.bn1(hidden.flatten(0, 1)).view(hidden.shape)
        logits = F.linear(torch.tanh(hidden), self.conv_2.weight[:, :, 0], self.conv_2.bias)
        weights = torch.softmax(logits.float(), dim=1)
        x = x.float()
        mean = (x * weights).sum(1)
        deviation = ((x * x * weights).sum(1) - mean * mean).clamp_min(1e-5).sqrt()
        before, after = (self.bn2, self.bn3) if self.bn_inside else (self.bn1, self.bn2)
        return after(self.fc(before(torch.cat([mean, deviation], dim=1))))


class NeXtTdnn(nn.Module):
    """Log-mel windows (N, n_mels, T) to embeddings (N, embedding_dim), not normalised."""

    def __init__(self, config: NeXtTdnnConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.aggregate = Aggregation(config)

    def forward(self, features: Tensor) -> Tensor:
        return self.aggregate(self.model(features))


def start_as_identity(block: nn.Module) -> None:
    """Silences what a fresh block adds to its input; its first layers keep their spread."""
    lasts = [block.pwconv2]
    lasts.append(block.dwconv if isinstance(block, LightBlock) else block.pwconv_1stage)
    for last in lasts:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


def randomise(module: nn.Module, seed: int) -> None:
    """Gives every parameter and running statistic a value that exercises it.

    GRN starts at zero and norms at identity, so fresh weights would hide an error there.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        with torch.no_grad():
            tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for name, parameter in module.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if parameter.dim() >= 2 and leaf == "weight":
            bound = (3.0 / parameter[0].numel()) ** 0.5
            uniform(parameter, -bound, bound)
        elif leaf == "weight":
            uniform(parameter, 0.7, 1.3)
        else:
            uniform(parameter, -0.3, 0.3)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            uniform(buffer, -0.2, 0.2)
        elif name.endswith("running_var"):
            uniform(buffer, 0.6, 1.6)
