"""What only training needs: class centres and maps to the teachers' spaces, and warm starts."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .device_loader import DeviceLoader
from .loader import Batch, Loader
from .nexttdnn import NeXtTdnn, start_as_identity

# Pairs whose pieces share teachers by less than this say nothing about how alike they are.
LEAST_SHARED = 0.2


class Heads(nn.Module):
    """Class centres, and a linear map of the embedding to the space of each teacher."""

    def __init__(self, embedding_dim: int, n_classes: int, teacher_dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = tuple(teacher_dims)
        self.centres = nn.Parameter(torch.empty(n_classes, embedding_dim))
        nn.init.xavier_normal_(self.centres)
        self.projects = nn.ModuleList(nn.Linear(embedding_dim, dim) for dim in self.dims)

    def aam(self, unit: Tensor, classes: Tensor, margin: float, scale: float) -> tuple[Tensor, Tensor]:
        """AAM-softmax (Deng et al., "ArcFace", 2019, eq. 3) over crops with a class, and its accuracy."""
        known = classes >= 0
        unit, classes = unit[known], classes[known]
        cosine = (unit @ F.normalize(self.centres, dim=1).T).clamp(-1 + 1e-6, 1 - 1e-6)
        chosen = cosine.gather(1, classes[:, None])
        angle = torch.arccos(chosen)
        # Past pi the cosine would rise again; continue it linearly there.
        shifted = torch.where(
            angle + margin < math.pi,
            torch.cos(angle + margin),
            chosen - margin * math.sin(margin),
        )
        logits = scale * cosine.scatter(1, classes[:, None], shifted)
        accuracy = (cosine.argmax(1) == classes).float().mean()
        return F.cross_entropy(logits, classes), accuracy.detach()

    def distilled(self, embedding: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """(n_teachers,) mean of weight x (1 - cosine) to each teacher's target; the sum is the loss."""
        parts = []
        for project, target, weight in zip(
            self.projects, targets.split(self.dims, dim=1), weights.T, strict=True
        ):
            parts.append((weight * (1.0 - F.cosine_similarity(project(embedding), target))).mean())
        return torch.stack(parts)

    def relation(self, unit: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Mean squared difference of the batch's cosines to what the teachers say of each pair."""
        root = weights.sqrt()
        scaled = torch.cat(
            [t * r[:, None] for t, r in zip(targets.split(self.dims, dim=1), root.T, strict=True)], 1
        )
        shared = root @ root.T
        counted = shared > LEAST_SHARED
        counted.fill_diagonal_(False)
        wanted = (scaled @ scaled.T) / shared.clamp_min(LEAST_SHARED)
        return (((unit @ unit.T - wanted) ** 2) * counted).sum() / counted.sum().clamp_min(1)

    def forward(
        self, embedding: Tensor, batch: Batch, margin: float, scale: float
    ) -> dict[str, Tensor]:
        """Losses by name."""
        unit = F.normalize(embedding, dim=1)
        aam, accuracy = self.aam(unit, batch.classes, margin, scale)
        parts = self.distilled(embedding, batch.targets, batch.weights)
        return {
            "aam": aam,
            "distillation": parts.sum(),
            "relation": self.relation(unit, batch.targets, batch.weights),
            "accuracy": accuracy,
            **{f"distillation_{i}": part.detach() for i, part in enumerate(parts)},
        }


def load_weights(network: NeXtTdnn, path: Path) -> None:
    """Warm start: weights whose names and shapes agree.

    Blocks that the checkpoint does not have start as the identity, so a deeper network
    begins as the shallower one and has nothing to unlearn.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    weights = checkpoint.get("ema", checkpoint.get("network", checkpoint))
    own = network.state_dict()
    agreeing = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not agreeing:
        raise ValueError(f"{path} shares no weights with this network")
    network.load_state_dict(agreeing, strict=False)
    for stage_idx, stage in enumerate(network.model.stages):
        for block_idx, block in enumerate(stage):
            prefix = f"model.stages.{stage_idx}.{block_idx}."
            if not any(name.startswith(prefix) for name in agreeing):
                start_as_identity(block)
    print(f"warm start: {len(agreeing)} of {len(own)} tensors from {path}")


@torch.no_grad()
def fit_heads(
    network: NeXtTdnn, heads: Heads, loader: Loader | DeviceLoader, n_crops: int, world: int
) -> None:
    """Gives fresh heads a start that fits a warm network.

    Random heads would first pull the network away from what it knows. A class centre becomes
    the mean of its unit embeddings (classes not heard keep their random one), the maps to the
    teachers' spaces the ridge regression of the targets.
    """
    width = network.config.embedding_dim
    device = heads.centres.device
    sums = torch.zeros_like(heads.centres)
    square = torch.zeros(width + 1, width + 1, device=device)
    cross = torch.zeros(width + 1, sum(heads.dims), device=device)
    network.eval()
    heard = 0
    while heard < n_crops:
        batch = next(loader).to(device)
        heard += len(batch.classes)
        embedding = network(batch.features).float()
        known = batch.classes >= 0
        sums.index_add_(0, batch.classes[known], F.normalize(embedding)[known])
        rows = F.pad(embedding, (0, 1), value=1.0)
        square += rows.T @ rows
        cross += rows.T @ batch.targets
    network.train()
    if world > 1:
        for total in (sums, square, cross):
            dist.all_reduce(total)
    known = sums.norm(dim=1) > 0
    heads.centres[known] = F.normalize(sums[known])
    ridge = 1e-3 * square.diagonal().mean() * torch.eye(width + 1, device=device)
    solution = torch.linalg.solve(square + ridge, cross)
    for project, part in zip(heads.projects, solution.split(heads.dims, dim=1), strict=True):
        project.weight.copy_(part[:-1].T)
        project.bias.copy_(part[-1])
