"""Training of the segmenter on synthetic talk, with a timed schedule; resumes from its checkpoint.

Talk is made as it goes on, by processes of its own, or was made before by ``make-talk``, with a teacher's answers.
"""

from __future__ import annotations

import json
import math
import multiprocessing as mp
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
from .segmenter_pool import Pool, Shards

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
    # Length of the schedule in steps where it is above 0; ``minutes`` has no effect then.
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
    # Number of first blocks that are frozen; their output is cached in place of the features.
    frozen_blocks: int = 0
    # Products in bfloat16: about half the time where the processor has them.
    bf16: bool = False
    weight_decay: float = 0.01
    seed: int = 1
    overlap_weight: float = 1.0
    # Making an example costs more than learning from it: this number is kept and drawn again.
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


class _Training:
    """The network that is trained, its running average and its optimiser; how far it is; and where it is kept."""

    def __init__(self, params: SegmenterTrainParams) -> None:
        self.params, run = params, Path(params.run_dir)
        run.mkdir(parents=True, exist_ok=True)
        self.last = run / "last.pt"
        torch.manual_seed(params.seed)
        self.device = torch.device(params.device)
        self.network = Segmenter(params.network).to(self.device)
        if params.init_from and not self.last.is_file():
            warm_start(self.network, Path(params.init_from))
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay
        )
        self.averaged = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.step, self.n_made, spent_s = 0, 0, 0.0
        if self.last.is_file():
            held = torch.load(self.last, map_location=self.device, weights_only=True)
            self.network.load_state_dict(held["network"])
            self.optimiser.load_state_dict(held["optimiser"])
            self.averaged, self.step, spent_s = held["averaged"], held["step"], held["seconds"]
            self.n_made = held["n_made"]
        self.spent_s = spent_s
        self.began = 0.0
        self.log = (run / "log.jsonl").open("a")

    def start_clock(self) -> None:
        self.began = time.monotonic() - self.spent_s

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def save(self, n_made: int) -> None:
        table = {
            "network": self.network.state_dict(),
            "averaged": self.averaged,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "n_made": n_made,
            "seconds": self.seconds(),
            "params": self.params.to_dict(),
        }
        torch.save(table, self.last.with_suffix(".new"))
        self.last.with_suffix(".new").replace(self.last)

    def write(self, row: dict) -> None:
        self.log.write(json.dumps(row) + "\n")
        self.log.flush()

    def evaluate(self, held_out: list) -> None:
        if held_out:
            self.write({"step": self.step} | _evaluated(self.params, self.averaged, held_out))

    def learn(self, batch: tuple[Tensor, ...], rate: float) -> dict[str, Tensor]:
        """One step; returns the parts of its loss."""
        params, network = self.params, self.network
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16, params.bf16):
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
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        self.optimiser.step()
        self.step += 1
        keep = min(0.998, (self.step + 1) / (self.step + 10))
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.averaged[name].lerp_(value, 1 - keep)
            else:
                self.averaged[name].copy_(value)
        return parts


def _held_out(params: SegmenterTrainParams) -> list:
    """Examples of speakers that training never hears."""
    if not params.validation:
        return []
    talk = Conversations(params.validation, params.noise_dir, 99, params.seconds, params.rooms_dir)
    rng, mel = np.random.default_rng(99), LogMel(params.front_end, np.float32)
    return [
        collate([talk.draw(rng) for _ in range(EXAMPLES_MADE_AT_ONCE)], mel)
        for _ in range(params.validation_examples // EXAMPLES_MADE_AT_ONCE)
    ]


def _bar(params: SegmenterTrainParams, training: _Training) -> tqdm:
    if params.steps:
        return tqdm(total=params.steps, initial=training.step, unit="step", desc="segmenter")
    return tqdm(total=int(params.minutes * 60), initial=int(training.spent_s), unit="s", desc="segmenter")


class _Examples:
    """Where the examples come from: processes that make them, or shards that are there."""

    def __init__(self, params: SegmenterTrainParams, training: _Training) -> None:
        self.params = params
        context = mp.get_context("spawn")
        self.queue = context.Queue(QUEUED_BATCHES)
        self.shards = Shards(Path(params.talk)) if params.talk else None
        self.workers = [
            context.Process(
                target=_work, args=(params, params.seed + 7 * i + training.step, self.queue), daemon=True
            )
            for i in range(0 if self.shards else params.loaders)
        ]
        for worker in self.workers:
            worker.start()
        self.pool: Pool

    def open_pool(self, training: _Training) -> None:
        params = self.params
        first = frozen_part(training.network, params) if params.frozen_blocks else None
        n_made = 0 if self.shards else training.n_made
        self.pool = Pool(params.pool, params.seed + training.step, n_made, first)

    def draw(self, training: _Training) -> tuple[Tensor, ...]:
        if self.shards is None:
            self.pool.fill(self.queue, 4 * self.params.batch)
        elif training.step % 50 == 0 or not self.pool.rows:
            self.shards.into(self.pool, 2 if self.pool.rows else 10_000)
        return self.pool.draw(self.params.batch, training.device)

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()


def train_segmenter(params: SegmenterTrainParams) -> Path:
    """Trains to the end of the schedule, or goes on with the run in ``run_dir``; returns last.pt."""
    torch.set_num_threads(1)
    training = _Training(params)
    examples = _Examples(params, training)
    held_out = _held_out(params)
    examples.open_pool(training)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    training.start_clock()
    evaluated_s = training.spent_s
    bar = _bar(params, training)
    if not training.step:
        training.evaluate(held_out)
    while not stopped and done_share(params, training.step, training.seconds()) < 1.0:
        seconds = training.seconds()
        done = done_share(params, training.step, seconds)
        rate = params.learning_rate * min(
            1.0, (training.step + 1) / 100, 0.5 * (1 + math.cos(math.pi * min(1.0, done))) + 1e-3
        )
        parts = training.learn(examples.draw(training), rate)
        bar.update((training.step if params.steps else int(training.seconds())) - bar.n)
        if training.step % 50 == 0:
            row = {"step": training.step, "seconds": round(seconds), "rate": rate}
            training.write(row | {k: round(v.item(), 5) for k, v in parts.items()})
            bar.set_postfix({k: f"{v.item():.3f}" for k, v in parts.items()}, refresh=False)
        if seconds - evaluated_s > params.evaluate_every_minutes * 60:
            evaluated_s = seconds
            training.save(examples.pool.n_made)
            training.evaluate(held_out)
    training.save(examples.pool.n_made)
    training.evaluate(held_out)
    training.log.close()
    bar.close()
    examples.close()
    return training.last


def _evaluated(params: SegmenterTrainParams, state: dict, held_out: list) -> dict[str, float]:
    network = Segmenter(params.network).to(params.device)
    network.load_state_dict(state)
    return {k: round(v, 3) for k, v in evaluate(network, held_out).items()}
