"""Training of the segmenter on synthetic talk, with a timed schedule; resumes from its checkpoint.

Talk is made as it goes on, by processes of its own, or was made before by ``make-talk``, with a teacher's answers.
"""

from __future__ import annotations

import json
import math
import multiprocessing as mp
import queue as queues
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .conversations import Conversations
from .front_end import FrontEnd, LogMel
from .segmenter import (
    C50_SPREAD_DB,
    DELAY_FRAMES,
    OVERLAP_DELAY_FRAMES,
    SNR_SPREAD_DB,
    Segmenter,
    SegmenterConfig,
)
from .segmenter_batch import collate
from .talk_shards import read_shard

QUEUED_BATCHES = 8
EXAMPLES_MADE_AT_ONCE = 12


@dataclass
class SegmenterTrainParams:
    """Everything a run depends on; kept in its checkpoint."""

    network: SegmenterConfig = field(default_factory=SegmenterConfig)
    front_end: FrontEnd = field(default_factory=lambda: FrontEnd(mean_normalisation="none"))
    cache: str = ""
    validation: str = ""
    noise_dir: str | None = None
    run_dir: str = "run"
    minutes: float = 20.0
    # Where it is above 0, the schedule is so many steps long, however long they take, and ``minutes`` says nothing.
    steps: int = 0
    loaders: int = 1
    batch: int = 12
    seconds: float = 10.0
    learning_rate: float = 3e-3
    # Folder of make-talk; what is added to it while training runs is taken in.
    talk: str | None = None
    rooms_dir: str | None = None
    # What a teacher's answer counts beside the exact label, where there is one: speech, overlap.
    teacher_shares: tuple[float, float] = (0.5, 0.5)
    # So many of the first blocks stay as they are; what they give is kept in place of the features.
    frozen_blocks: int = 0
    # Products in bfloat16: about half the time where the processor has them.
    bf16: bool = False
    weight_decay: float = 0.01
    seed: int = 1
    overlap_weight: float = 1.0
    # Making an example costs more than learning from it: so many are kept and drawn again.
    pool: int = 4000
    device: str = "cpu"
    evaluate_every_minutes: float = 4.0
    validation_examples: int = 120
    init_from: str | None = None

    def to_dict(self) -> dict:
        return asdict(self)


def _work(params: SegmenterTrainParams, seed: int, queue: mp.Queue) -> None:
    rng = np.random.default_rng(seed)
    talk = Conversations(params.cache, params.noise_dir, seed, params.seconds, params.rooms_dir)
    mel = LogMel(params.front_end, np.float32)
    while True:
        features, *labels = collate([talk.draw(rng) for _ in range(EXAMPLES_MADE_AT_ONCE)], mel)
        unasked = np.full((*labels[0].shape, 2), np.nan, np.float16)
        queue.put((features.astype(np.float16), *labels, unasked))


class Pool:
    """The latest examples, from which batches are drawn; 190 kB for each of ten seconds."""

    def __init__(
        self,
        capacity: int,
        seed: int,
        n_made: int = 0,
        first: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.capacity = capacity
        # What is done to an example's features before it is kept.
        self.first = first
        self.rows: list[tuple[np.ndarray, ...]] = []
        self.oldest = 0
        self.n_made = n_made
        self.rng = np.random.default_rng(seed)

    def add(self, batch: tuple[np.ndarray, ...]) -> None:
        """Keeps the examples of a batch, in place of the oldest ones."""
        features, voices, snr, c50, teacher = batch
        self.n_made += len(features)
        features = self.first(features) if self.first else features
        for row in zip(
            features,
            voices.astype(np.int8),
            snr.astype(np.float16),
            c50.astype(np.float16),
            teacher,
            strict=True,
        ):
            if len(self.rows) < self.capacity:
                self.rows.append(row)
            else:
                self.rows[self.oldest] = row
                self.oldest = (self.oldest + 1) % self.capacity

    def fill(self, queue: mp.Queue, least: int) -> None:
        """Takes in what has been made; waits only while there is less than ``least``."""
        while True:
            try:
                self.add(queue.get(timeout=120) if len(self.rows) < least else queue.get_nowait())
            except queues.Empty:
                if len(self.rows) < least:
                    raise SystemExit("error: no example was made in two minutes") from None
                return

    def draw(self, n: int, device: torch.device) -> list[Tensor]:
        """Features, voices, SNR, C50 and the teacher's answers of ``n`` examples."""
        drawn = [self.rows[i] for i in self.rng.integers(len(self.rows), size=n)]
        columns = [np.stack(column) for column in zip(*drawn, strict=True)]
        return [torch.from_numpy(column).to(device).float() for column in columns]


def varied(features: Tensor) -> Tensor:
    """Louder or softer, brighter or darker: the labels stay."""
    n, n_mels, _ = features.shape
    level, slope = torch.randn(2, n, 1, 1, device=features.device)
    tilt = slope * 0.6 * torch.linspace(-1, 1, n_mels, device=features.device)[None, :, None]
    return features + tilt + level


def frozen_part(network: Segmenter, params: SegmenterTrainParams) -> Callable[[np.ndarray], np.ndarray]:
    """Features to what the frozen blocks make of them, once for each example."""

    def hidden(features: np.ndarray) -> np.ndarray:
        network.eval()
        device = network.head.weight.device
        with torch.no_grad():
            x = varied(torch.from_numpy(features).to(device).float())
            out = network.hidden(x, params.frozen_blocks).cpu().numpy().astype(np.float16)
        network.train()
        return out

    return hidden


class Shards:
    """The folder of make-talk, read as it fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read: set[Path] = set()

    def into(self, pool: Pool, at_most: int) -> None:
        """Adds shards that were not read yet; none at all is an error."""
        fresh = sorted(p for p in self.folder.glob("*.npz") if p not in self.read)
        for path in fresh[:at_most]:
            pool.add(read_shard(path))
            self.read.add(path)
        if not self.read:
            raise SystemExit(f"error: {self.folder}: no shards there; make-talk makes them")


def targets(
    voices: Tensor, teacher: Tensor, shares: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Probabilities of speech and of overlap to learn, (N, T) each: exact labels, blended with the teacher's."""
    asked = ~teacher.isnan()
    teacher = torch.nan_to_num(teacher)
    out = []
    for i, exact in enumerate(((voices > 0).float(), (voices > 1).float())):
        share = shares[i] * asked[..., i].float()
        out.append((1 - share) * exact + share * teacher[..., i])
    return out[0], out[1]


def losses(
    out: Tensor,
    voices: Tensor,
    snr: Tensor,
    c50: Tensor,
    teacher: Tensor,
    shares: tuple[float, float],
) -> dict[str, Tensor]:
    """Losses by name; outputs (N, 4, T) are those of earlier frames, by the delay of each."""
    speech, many = targets(voices, teacher, shares)
    many = many[:, : voices.shape[1] - OVERLAP_DELAY_FRAMES]
    overlap = out[:, 1, OVERLAP_DELAY_FRAMES:]
    out = out[:, :, DELAY_FRAMES:]
    speech, voices, snr, c50 = (
        x[:, : x.shape[1] - DELAY_FRAMES] for x in (speech, voices, snr, c50)
    )
    spoken = (voices > 0).float()
    result = {
        "speech": F.binary_cross_entropy_with_logits(out[:, 0], speech),
        "overlap": F.binary_cross_entropy_with_logits(overlap, many),
    }
    for name, row, target, spread in (
        ("snr", 2, snr, SNR_SPREAD_DB),
        ("c50", 3, c50, C50_SPREAD_DB),
    ):
        wrong = F.smooth_l1_loss(out[:, row] / spread, target / spread, reduction="none")
        result[name] = (wrong * spoken).sum() / spoken.sum().clamp(min=1)
    return result


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under precision over recall, in percent."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    precision = hits / np.arange(1, len(order) + 1)
    return 100.0 * float((precision * truth[order]).sum() / max(hits[-1], 1))


def evaluate(network: Segmenter, batches: list[tuple[np.ndarray, ...]]) -> dict[str, float]:
    """Errors on fixed examples at a probability of one half: shares of all frames, dB."""
    network.eval()
    count = dict.fromkeys(("frames", "miss", "false"), 0.0)
    wrong = {"snr": 0.0, "c50": 0.0}
    spoken = 0.0
    overlaps: list[np.ndarray] = []
    really: list[np.ndarray] = []
    with torch.no_grad():
        for features, voices, snr, c50 in batches:
            device = network.head.weight.device
            out = network(torch.from_numpy(features).to(device)).cpu().numpy()
            overlaps.append(out[:, 1, OVERLAP_DELAY_FRAMES:].ravel())
            really.append((voices[:, :-OVERLAP_DELAY_FRAMES] > 1).ravel())
            out = out[:, :, DELAY_FRAMES:]
            voices, snr, c50 = (x[:, :-DELAY_FRAMES] for x in (voices, snr, c50))
            said, true = out[:, 0] > 0, voices > 0
            count["frames"] += true.size
            count["miss"] += (true & ~said).sum()
            count["false"] += (said & ~true).sum()
            wrong["snr"] += np.abs(out[:, 2] - snr)[true].sum()
            wrong["c50"] += np.abs(out[:, 3] - c50)[true].sum()
            spoken += true.sum()
    network.train()
    frames = count["frames"]
    scores, truth = np.concatenate(overlaps), np.concatenate(really)
    many = scores > 0
    return {
        "miss_percent": 100 * count["miss"] / frames,
        "false_alarm_percent": 100 * count["false"] / frames,
        "overlap_recall_percent": 100 * (many & truth).sum() / max(truth.sum(), 1),
        "overlap_precision_percent": 100 * (many & truth).sum() / max(many.sum(), 1),
        "overlap_average_precision_percent": average_precision(scores, truth),
        "snr_error_db": wrong["snr"] / max(spoken, 1),
        "c50_error_db": wrong["c50"] / max(spoken, 1),
    }


def warm_start(network: Segmenter, path: Path) -> None:
    """Takes the weights of ``path`` that agree in name and shape; what is new starts as it is."""
    weights = torch.load(path, map_location="cpu", weights_only=True)
    weights = weights.get("averaged", weights)
    own = network.state_dict()
    agreeing = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not agreeing:
        raise SystemExit(f"error: {path} shares no weights with this network")
    network.load_state_dict(agreeing, strict=False)
    with torch.no_grad():
        for idx, block in enumerate(network.blocks):
            if f"blocks.{idx}.pointwise.weight" not in agreeing:
                # A fresh block adds little at first, so that what is known already is kept.
                block.norm_out.weight.fill_(0.1)
    print(f"warm start: {len(agreeing)} of {len(own)} tensors from {path}")


def done_share(params: SegmenterTrainParams, step: int, seconds: float) -> float:
    """How much of the schedule is over, from 0 to 1 and beyond."""
    return step / params.steps if params.steps else seconds / (params.minutes * 60.0)


def train_segmenter(params: SegmenterTrainParams) -> Path:
    """Trains to the end of the schedule, or goes on with the run in ``run_dir``; returns last.pt."""
    torch.set_num_threads(1)
    run = Path(params.run_dir)
    run.mkdir(parents=True, exist_ok=True)
    last = run / "last.pt"
    torch.manual_seed(params.seed)
    device = torch.device(params.device)
    network = Segmenter(params.network).to(device)
    if params.init_from and not last.is_file():
        warm_start(network, Path(params.init_from))
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay
    )
    averaged = {k: v.clone() for k, v in network.state_dict().items()}
    step, n_made, spent_s = 0, 0, 0.0
    if last.is_file():
        held = torch.load(last, map_location=device, weights_only=True)
        network.load_state_dict(held["network"])
        optimiser.load_state_dict(held["optimiser"])
        averaged, step, spent_s = held["averaged"], held["step"], held["seconds"]
        n_made = held["n_made"]
    context = mp.get_context("spawn")
    queue = context.Queue(QUEUED_BATCHES)
    shards = Shards(Path(params.talk)) if params.talk else None
    workers = [
        context.Process(target=_work, args=(params, params.seed + 7 * i + step, queue), daemon=True)
        for i in range(0 if shards else params.loaders)
    ]
    for worker in workers:
        worker.start()
    held_out = []
    if params.validation:
        talk = Conversations(params.validation, params.noise_dir, 99, params.seconds, params.rooms_dir)
        rng, mel = np.random.default_rng(99), LogMel(params.front_end, np.float32)
        for _ in range(params.validation_examples // EXAMPLES_MADE_AT_ONCE):
            held_out.append(collate([talk.draw(rng) for _ in range(EXAMPLES_MADE_AT_ONCE)], mel))
    first = frozen_part(network, params) if params.frozen_blocks else None
    pool = Pool(params.pool, params.seed + step, 0 if shards else n_made, first)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    began, evaluated_s = time.monotonic() - spent_s, spent_s
    if params.steps:
        bar = tqdm(total=params.steps, initial=step, unit="step", desc="segmenter")
    else:
        bar = tqdm(total=int(params.minutes * 60), initial=int(spent_s), unit="s", desc="segmenter")
    log = (run / "log.jsonl").open("a")

    def save(state: dict[str, Tensor]) -> None:
        table = {
            "network": network.state_dict(),
            "averaged": state,
            "optimiser": optimiser.state_dict(),
            "step": step,
            "n_made": pool.n_made,
            "seconds": time.monotonic() - began,
            "params": params.to_dict(),
        }
        torch.save(table, last.with_suffix(".new"))
        last.with_suffix(".new").replace(last)

    if held_out and not step:
        log.write(json.dumps({"step": 0} | _evaluated(params, averaged, held_out)) + "\n")
        log.flush()
    while not stopped and done_share(params, step, time.monotonic() - began) < 1.0:
        seconds = time.monotonic() - began
        done = done_share(params, step, seconds)
        rate = params.learning_rate * min(
            1.0, (step + 1) / 100, 0.5 * (1 + math.cos(math.pi * min(1.0, done))) + 1e-3
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        if shards is None:
            pool.fill(queue, 4 * params.batch)
        elif step % 50 == 0 or not pool.rows:
            shards.into(pool, 2 if pool.rows else 10_000)
        batch = pool.draw(params.batch, device)
        with torch.autocast(device.type, torch.bfloat16, params.bf16):
            if params.frozen_blocks:
                out = network.answers(batch[0], params.frozen_blocks)
            else:
                out = network(varied(batch[0]))
        parts = losses(out.float(), *batch[1:], params.teacher_shares)
        total = (
            parts["speech"]
            + params.overlap_weight * parts["overlap"]
            + 0.1 * (parts["snr"] + parts["c50"])
        )
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        step += 1
        keep = min(0.998, (step + 1) / (step + 10))
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                averaged[name].lerp_(value, 1 - keep)
            else:
                averaged[name].copy_(value)
        bar.update((step if params.steps else int(time.monotonic() - began)) - bar.n)
        if step % 50 == 0:
            row = {"step": step, "seconds": round(seconds), "rate": rate}
            row |= {k: round(v.item(), 5) for k, v in parts.items()}
            log.write(json.dumps(row) + "\n")
            log.flush()
            bar.set_postfix({k: f"{v.item():.3f}" for k, v in parts.items()}, refresh=False)
        if seconds - evaluated_s > params.evaluate_every_minutes * 60:
            evaluated_s = seconds
            save(averaged)
            if held_out:
                log.write(json.dumps({"step": step} | _evaluated(params, averaged, held_out)) + "\n")
                log.flush()
    save(averaged)
    if held_out:
        log.write(json.dumps({"step": step} | _evaluated(params, averaged, held_out)) + "\n")
    log.close()
    bar.close()
    for worker in workers:
        worker.terminate()
    return last


def _evaluated(params: SegmenterTrainParams, state: dict, held_out: list) -> dict[str, float]:
    network = Segmenter(params.network).to(params.device)
    network.load_state_dict(state)
    return {k: round(v, 3) for k, v in evaluate(network, held_out).items()}
