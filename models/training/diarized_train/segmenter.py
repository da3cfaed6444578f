"""A small causal network that says for every 10 ms whether and how people speak.

Log-mel rows in; out, for the frame ``DELAY_FRAMES`` before the newest one: the logit of speech,
the signal-to-noise ratio and the clarity (C50), both in dB; and for the frame
``OVERLAP_DELAY_FRAMES`` before it the logit of two or more voices, which takes longer to tell.
Depthwise-separable convolutions with growing dilation (Bai et al., "An empirical evaluation of
generic convolutional and recurrent networks", 2018): what a layer needs of the past is its cache,
so a stream computes every frame once and gets what a batch gets.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Number of later frames that the answer for a frame needs.
DELAY_FRAMES = 20
OVERLAP_DELAY_FRAMES = 60
OUTPUTS = ("speech", "overlap", "snr_db", "c50_db")
# Centre and spread of the two regressed outputs, which the last layer's scale undoes.
SNR_CENTRE_DB, SNR_SPREAD_DB = 15.0, 12.0
C50_CENTRE_DB, C50_SPREAD_DB = 15.0, 12.0


@dataclass(frozen=True)
class SegmenterConfig:
    """Shape of the network. Past that it sees: ``kernel - 1`` frames times the sum of the dilations."""

    n_mels: int = 80
    channels: int = 96
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 1, 4, 16)

    def to_dict(self) -> dict:
        return asdict(self)


class Block(nn.Module):
    """Depthwise causal convolution, then a pointwise one, around a residual."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.depthwise = nn.Conv1d(
            channels, channels, kernel, dilation=dilation, groups=channels, bias=False
        )
        self.norm = nn.BatchNorm1d(channels)
        self.pointwise = nn.Conv1d(channels, channels, 1, bias=False)
        self.norm_out = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, T), cache (N, C, reach) to the same; the cache is the input's tail."""
        seen = torch.cat([cache, x], dim=2)
        y = F.relu(self.norm(self.depthwise(seen)))
        y = F.relu(self.norm_out(self.pointwise(y)))
        return x + y, seen[:, :, seen.shape[2] - self.reach :]


class Segmenter(nn.Module):
    """See the module's documentation."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.BatchNorm1d(config.n_mels, affine=False)
        self.stem = nn.Conv1d(config.n_mels, config.channels, 1)
        self.blocks = nn.ModuleList(
            Block(config.channels, config.kernel, d) for d in config.dilations
        )
        self.head = nn.Conv1d(config.channels, len(OUTPUTS), 1)
        self.register_buffer(
            "scale", torch.tensor([1.0, 1.0, SNR_SPREAD_DB, C50_SPREAD_DB])[:, None]
        )
        self.register_buffer(
            "shift", torch.tensor([0.0, 0.0, SNR_CENTRE_DB, C50_CENTRE_DB])[:, None]
        )

    def empty_caches(self, n: int = 1) -> list[Tensor]:
        """Caches at the start of a stream."""
        device = self.head.weight.device
        return [torch.zeros(n, self.config.channels, b.reach, device=device) for b in self.blocks]

    def stream(self, features: Tensor, caches: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """features (N, n_mels, T) to outputs (N, 4, T) and the caches for what follows."""
        x = F.relu(self.stem(self.norm(features)))
        kept = []
        for block, cache in zip(self.blocks, caches, strict=True):
            x, cache = block(x, cache)
            kept.append(cache)
        return self.head(x) * self.scale + self.shift, kept

    def hidden(self, features: Tensor, n_blocks: int) -> Tensor:
        """features (N, n_mels, T) of whole sequences to what follows the first blocks, (N, channels, T)."""
        x = F.relu(self.stem(self.norm(features)))
        for block, cache in zip(self.blocks[:n_blocks], self.empty_caches(len(x)), strict=False):
            x, _ = block(x, cache)
        return x

    def answers(self, hidden: Tensor, n_blocks: int) -> Tensor:
        """The rest of the way: ``answers(hidden(features, n), n)`` is ``forward(features)``."""
        caches = self.empty_caches(len(hidden))[n_blocks:]
        for block, cache in zip(self.blocks[n_blocks:], caches, strict=True):
            hidden, _ = block(hidden, cache)
        return self.head(hidden) * self.scale + self.shift

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (N, 4, T) of whole sequences; frame t of the output is about t - delay."""
        return self.stream(features, self.empty_caches(len(features)))[0]


def _shape_beside(weights_file: Path, weights: dict[str, Tensor]) -> dict:
    """Shape of a folder's network: sizes by its tensors, dilations by what each layer keeps."""
    card = weights_file.parent / "model.toml"
    if not card.is_file():
        raise SystemExit(f"error: {card}: no such file; it states the dilations of {weights_file.name}")
    table = tomllib.loads(card.read_text())
    kernel = weights["blocks.0.depthwise.weight"].shape[2]
    return {
        "n_mels": table["n_mels"],
        "channels": table["channels"],
        "kernel": kernel,
        "dilations": [n // (kernel - 1) for n in table["caches"]],
    }


def load_segmenter(path: Path) -> Segmenter:
    """The averaged network of a run's ``last.pt``, or that of a folder or its ``weights.pt``."""
    file = path / "weights.pt" if path.is_dir() else path
    held = torch.load(file, map_location="cpu", weights_only=True)
    weights = held.get("averaged", held)
    shape = dict(held["params"]["network"]) if "params" in held else _shape_beside(file, weights)
    shape["dilations"] = tuple(shape["dilations"])
    network = Segmenter(SegmenterConfig(**shape))
    network.load_state_dict(weights)
    return network.eval()
