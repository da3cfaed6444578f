"""Training of a NeXt-TDNN: AAM-softmax with a growing margin, distillation, a timed schedule.

The schedule runs on the clock, not on steps: whatever else the machine does, the learning
rate has come down when ``minutes`` are over. Several processes of one thread each share
the cores (gradients averaged after every step), which on a busy machine loses far less
than several threads of one process, since they meet once a step and not once a layer.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from tqdm import tqdm

from .augment import AugmentParams
from .data import load_cache
from .device_loader import DeviceLoader
from .evaluate import WINDOWS_MS, choose_trials, crops, eer_table, embed_crops
from .front_end import FrontEnd, LogMel
from .heads import Heads, fit_heads, load_weights
from .loader import Loader, LoaderParams
from .nexttdnn import NeXtTdnn, NeXtTdnnConfig
from .targets import read_table
from .teacher import bf16_is_fast


@dataclass
class TrainParams:
    """Everything a run depends on; kept in its checkpoints."""

    network: NeXtTdnnConfig = field(default_factory=NeXtTdnnConfig)
    front_end: FrontEnd = field(default_factory=FrontEnd)
    augment: AugmentParams = field(default_factory=AugmentParams)
    caches: tuple[str, ...] = ()
    validation: str = ""
    noise_dir: str | None = None
    run_dir: str = "run"
    minutes: float = 60.0
    # Length of the schedule in steps where it is above 0; ``minutes`` has no effect then.
    steps: int = 0
    processes: int = 1
    batch: int = 32
    seed: int = 1
    device: str = "cpu"
    learning_rate: float = 2e-3
    final_rate: float = 2e-6
    weight_decay: float = 0.05
    warm_up: float = 0.06
    scale: float = 30.0
    margin: float = 0.3
    margin_grown: float = 0.34
    large_margin: float = 0.4
    large_margin_from: float = 0.86
    distillation: float = 15.0
    relation: float = 10.0
    ema: float = 0.9995
    # Shares of crop lengths in seconds: main stage, then the large-margin one.
    lengths: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    chances: tuple[float, ...] = (0.35, 0.4, 0.2, 0.05)
    late_chances: tuple[float, ...] = (0.25, 0.35, 0.25, 0.15)
    evaluate_every_minutes: float = 8.0
    evaluate_crops: int = 8
    evaluate_windows_ms: tuple[int, ...] = WINDOWS_MS
    patience: int = 0
    init_from: str | None = None
    # Crops a process hears to fit the heads to a network that is warm.
    fit_heads_crops: int = 5000
    teachers: tuple[str, ...] = ("resemblyzer",)
    teacher_weights: str | None = None
    unlabelled: tuple[str, ...] = ()
    unlabelled_share: float = 0.1
    hold_out: tuple[str, ...] = ()
    rooms_dir: str | None = None
    n_threads: int = 1

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, table: dict) -> TrainParams:
        table = dict(table)
        table["network"] = NeXtTdnnConfig(**table["network"])
        table["front_end"] = FrontEnd(**table["front_end"])
        table["augment"] = AugmentParams(**table["augment"])
        for key, value in table.items():
            if isinstance(value, list):
                table[key] = tuple(value)
        return cls(**table)


def learning_rate(params: TrainParams, progress: float) -> float:
    """Linear warm-up, then a cosine down to the final rate."""
    if progress < params.warm_up:
        return params.learning_rate * max(0.02, progress / params.warm_up)
    done = min(1.0, (progress - params.warm_up) / (1.0 - params.warm_up))
    low = params.final_rate
    return low + (params.learning_rate - low) * 0.5 * (1.0 + math.cos(math.pi * done))


def margin(params: TrainParams, progress: float) -> float:
    if progress >= params.large_margin_from:
        return params.large_margin
    return params.margin * min(1.0, progress / params.margin_grown)


def _parameter_groups(modules: list[nn.Module], decay: float) -> list[dict]:
    parameters = [p for m in modules for p in m.parameters()]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def _average_gradients(parameters: list[nn.Parameter], world: int) -> None:
    flat = torch.cat([p.grad.flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= world
    position = 0
    for p in parameters:
        p.grad.copy_(flat[position : position + p.numel()].view_as(p))
        position += p.numel()


class _Stop:
    """Set by SIGTERM or Ctrl-C; the run saves and ends at the next step."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


class _Validation:
    def __init__(self, params: TrainParams) -> None:
        self.cache = load_cache(Path(params.validation))
        self.trials = choose_trials(self.cache, params.evaluate_crops)
        self.windows_ms = params.evaluate_windows_ms
        self.mel = LogMel(params.front_end, np.float32)

    def __call__(self, network: nn.Module, bf16: bool) -> dict[str, dict[int, float]]:
        embeddings = {
            window_ms: embed_crops(
                network, self.mel, crops(self.cache, self.trials, window_ms), bf16
            )
            for window_ms in self.windows_ms
        }
        return eer_table(embeddings, self.trials)


def _save(path: Path, **content: object) -> None:
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(path)


def _loader(params: TrainParams, device: torch.device, seed: int) -> Loader | DeviceLoader:
    """Batches from a process beside the trainer, or made on the device where there is one."""
    table = LoaderParams(
        params.caches,
        params.noise_dir,
        params.batch,
        seed,
        teachers=params.teachers,
        weights=params.teacher_weights,
        unlabelled=params.unlabelled,
        unlabelled_share=params.unlabelled_share,
        hold_out=params.hold_out,
        rooms_dir=params.rooms_dir,
    )
    mixes = [(list(params.lengths), list(c)) for c in (params.chances, params.late_chances)]
    if device.type == "cpu":
        return Loader(table, params.front_end, params.augment, mixes)
    return DeviceLoader(table, params.front_end, params.augment, mixes, device)


def _teacher_dims(params: TrainParams) -> tuple[int, ...]:
    first = Path(params.caches[0])
    n_pieces = len(load_cache(first).pieces)
    return tuple(read_table(first, name, n_pieces).shape[1] for name in params.teachers)


class _Networks:
    """The network that is trained, its heads, its running average, and their optimiser."""

    def __init__(self, params: TrainParams, device: torch.device) -> None:
        network = NeXtTdnn(params.network)
        if params.init_from:
            load_weights(network, Path(params.init_from))
        classes = sum(len(load_cache(Path(c)).speakers) for c in params.caches)
        heads = Heads(params.network.embedding_dim, classes, _teacher_dims(params))
        self.network, self.heads = network.to(device), heads.to(device)
        self.ema = deepcopy(self.network).eval()
        self.optimiser = torch.optim.AdamW(
            _parameter_groups([self.network, self.heads], params.weight_decay),
            lr=params.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.parameters = list(self.network.parameters()) + list(self.heads.parameters())

    def load(self, saved: dict) -> None:
        for name in ("network", "heads", "ema", "optimiser"):
            getattr(self, name).load_state_dict(saved[name])

    def checkpoint(self, run: Path, params: TrainParams, state: dict, seconds: float) -> None:
        """The whole state, replaced atomically: a kill leaves the one before."""
        _save(
            run / "last.pt",
            network=self.network.state_dict(),
            heads=self.heads.state_dict(),
            ema=self.ema.state_dict(),
            optimiser=self.optimiser.state_dict(),
            params=params.to_dict(),
            state={**state, "seconds": seconds},
        )

    def average(self, decay: float) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.network.parameters()), 1.0 - decay
            )
            for mine, theirs in zip(self.ema.buffers(), self.network.buffers(), strict=True):
                mine.copy_(theirs)


def _progress(params: TrainParams, step: int, seconds: float) -> float:
    """How much of the schedule is done; 1 is its end."""
    return step / params.steps if params.steps else seconds / (params.minutes * 60)


class _Log:
    """The log of the first process, and the bar that shows it; those of the others are mute."""

    def __init__(self, rank: int, run: Path, params: TrainParams, state: dict) -> None:
        self.file = (run / "log.jsonl").open("a", encoding="utf-8") if rank == 0 else None
        self.bar = tqdm(
            total=params.steps or round(params.minutes * 60),
            initial=state["step"] if params.steps else round(state["seconds"]),
            unit="step" if params.steps else "s",
            desc="train",
            mininterval=10.0,
            disable=rank != 0,
        )
        self.sums: dict[str, float | Tensor] = {}
        self.n_summed = 0
        self.crops, self.at = state["crops"], time.monotonic()

    def write(self, entry: dict) -> None:
        print(json.dumps(entry), file=self.file, flush=True)

    def add(self, figures: dict[str, Tensor]) -> None:
        for key, value in figures.items():
            # On a device this is not waited for.
            self.sums[key] = self.sums.get(key, 0.0) + value.detach()
        self.n_summed += 1

    def means(self, state: dict, seconds: float, rate: float, margin_now: float) -> None:
        """Writes the means since the last call."""
        now = time.monotonic()
        speed = (state["crops"] - self.crops) / (now - self.at)
        self.crops, self.at = state["crops"], now
        entry = {
            "seconds": round(seconds),
            "step": state["step"],
            "crops": state["crops"],
            "rate": rate,
            "margin": round(margin_now, 4),
            "crops_per_s": round(speed, 1),
            **{k: round(float(v) / self.n_summed, 4) for k, v in self.sums.items()},
        }
        self.sums, self.n_summed = {}, 0
        self.write(entry)
        self.bar.set_postfix(loss=entry["loss"], distillation=entry["distillation"])

    def show(self, done: float) -> None:
        """``done``: steps or seconds of the schedule, as the bar counts."""
        self.bar.update(max(0, round(done) - self.bar.n))


class _Rank:
    """One process of a training. All of them do the same; the first one writes."""

    def __init__(self, rank: int, params: TrainParams) -> None:
        self.rank, self.params, self.world = rank, params, params.processes
        self.stop, self.run = _Stop(), Path(params.run_dir)
        self.device = torch.device(params.device)
        self.networks = _Networks(params, self.device)
        self.state = {"seconds": 0.0, "step": 0, "crops": 0, "best": math.inf, "since_best": 0}
        last = self.run / "last.pt"
        if last.is_file():
            saved = torch.load(last, map_location=self.device, weights_only=True)
            self.networks.load(saved)
            self.state = saved["state"]
        self.loader = _loader(params, self.device, params.seed * 1000 + rank * 7919 + self.state["step"])
        if params.init_from and not last.is_file():
            fit_heads(
                self.networks.network, self.networks.heads, self.loader, params.fit_heads_crops, self.world
            )
        self.validation = _Validation(params) if rank == 0 and params.validation else None
        self.log = _Log(rank, self.run, params, self.state)
        self.bf16 = self.device.type != "cpu" or bf16_is_fast()
        self.clock = time.monotonic()
        self.next_evaluation = self.state["seconds"] + params.evaluate_every_minutes * 60

    def train(self) -> None:
        self.networks.network.train()
        while True:
            seconds, asked = self._largest(
                self.state["seconds"] + time.monotonic() - self.clock, float(self.stop.asked)
            )
            progress = _progress(self.params, self.state["step"], seconds)
            finished = progress >= 1.0
            if finished or asked or seconds >= self.next_evaluation:
                self.next_evaluation = seconds + self.params.evaluate_every_minutes * 60
                if self.rank == 0:
                    self._evaluate(seconds, bool(asked))
                (halt,) = self._largest(float(0 < self.params.patience <= self.state["since_best"]))
                if finished or asked or halt:
                    break
            self._step(seconds, progress)
        self.loader.close()
        self.log.bar.close()

    def _largest(self, *values: float) -> list[float]:
        """The largest of all processes: they stop together, so that none waits for another for ever."""
        signals = torch.tensor(values)
        if self.world > 1:
            dist.all_reduce(signals, op=dist.ReduceOp.MAX)
        return [float(value) for value in signals]

    def _evaluate(self, seconds: float, asked: bool) -> None:
        """Keeps the state, and the average where it is the best so far."""
        self.networks.checkpoint(self.run, self.params, self.state, seconds)
        if not self.validation or asked:
            return
        table = self.validation(self.networks.ema, self.bf16)
        score = float(np.mean(list(table["all"].values())))
        self.state["since_best"] += 1
        if score < self.state["best"]:
            self.state["best"], self.state["since_best"] = score, 0
            _save(
                self.run / "best.pt",
                ema=self.networks.ema.state_dict(),
                params=self.params.to_dict(),
                state={**self.state, "seconds": seconds},
                eer=table,
            )
        self.log.write({"seconds": round(seconds), "crops": self.state["crops"], "eer": table})

    def _step(self, seconds: float, progress: float) -> None:
        params, networks, state = self.params, self.networks, self.state
        rate = learning_rate(params, progress)
        for group in networks.optimiser.param_groups:
            group["lr"] = rate
        self.loader.set_stage(int(progress >= params.large_margin_from))
        batch = next(self.loader).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            embedding = networks.network(batch.features)
        losses = networks.heads(embedding.float(), batch, margin(params, progress), params.scale)
        loss = (
            losses["aam"]
            + params.distillation * losses["distillation"]
            + params.relation * losses["relation"]
        )
        networks.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.world > 1:
            _average_gradients(networks.parameters, self.world)
        norm = nn.utils.clip_grad_norm_(networks.parameters, 20.0)
        if torch.isfinite(norm):
            networks.optimiser.step()
        state["step"] += 1
        state["crops"] += len(batch.classes) * self.world
        networks.average(min(params.ema, (1 + state["step"]) / (10 + state["step"])))
        self.log.add({**losses, "loss": loss, "norm": norm})
        if self.rank == 0 and state["step"] % 100 == 0:
            self.log.means(state, seconds, rate, margin(params, progress))
        self.log.show(state["step"] if params.steps else seconds)


def _rank_main(rank: int, params: TrainParams, port: int) -> None:
    torch.set_num_threads(params.n_threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(params.seed)
    if params.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        dist.init_process_group("gloo", rank=rank, world_size=params.processes)
    _Rank(rank, params).train()
    if params.processes > 1:
        dist.destroy_process_group()


def train(params: TrainParams) -> None:
    if params.device != "cpu" and params.processes != 1:
        raise SystemExit(f"error: --processes ({params.processes}) must be 1 with --device {params.device}")
    run = Path(params.run_dir)
    run.mkdir(parents=True, exist_ok=True)
    (run / "params.json").write_text(json.dumps(params.to_dict(), indent=1))
    port = 20000 + os.getpid() % 20000
    if params.processes == 1:
        _rank_main(0, params, port)
        return
    context = mp.get_context("spawn")
    ranks = [
        context.Process(target=_rank_main, args=(rank, params, port))
        for rank in range(params.processes)
    ]
    for process in ranks:
        process.start()

    def forward(number: int, _: object) -> None:
        for process in ranks:
            if process.is_alive():
                os.kill(process.pid, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, lambda *_: None)
    for process in ranks:
        process.join()
    if any(process.exitcode for process in ranks):
        raise RuntimeError("a training process failed, see its output above")
