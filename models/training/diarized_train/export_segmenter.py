"""The segmenter's folder that ``diarized`` carries: model.onnx, model.toml, golden.json, weights.pt, CARD.md.

The graph takes one chunk of log-mel rows and the caches, and gives the outputs and the caches
for the next chunk. BatchNorms are folded; its shapes are fixed.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .export import OPSET
from .segmenter import (
    DELAY_FRAMES,
    OUTPUTS,
    OVERLAP_DELAY_FRAMES,
    Segmenter,
    SegmenterConfig,
)
from .speech_errors import log_odds

CHUNK_FRAMES = 10
MAX_DIFFERENCE = 1e-3


class Chunk(nn.Module):
    """One chunk of a stream, with flat arguments, as ONNX wants it."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, features: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        out, kept = self.network.stream(features, list(caches))
        return (out, *kept)


def _write_onnx(network: Segmenter, path: Path) -> None:
    n_mels = network.config.n_mels
    caches = network.empty_caches()
    names = [f"cache_{i}" for i in range(len(caches))]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Chunk(network).eval(),
            (torch.randn(1, n_mels, CHUNK_FRAMES), *caches),
            buffer,
            input_names=["features", *names],
            output_names=["scores", *(f"next_{n}" for n in names)],
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    path.write_bytes(buffer.getvalue())


def _stream_onnx(path: Path, features: np.ndarray, network: Segmenter) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    caches = [c.numpy() for c in network.empty_caches()]
    parts = []
    for at in range(0, features.shape[2], CHUNK_FRAMES):
        feed = {"features": features[:, :, at : at + CHUNK_FRAMES]}
        feed |= {f"cache_{i}": c for i, c in enumerate(caches)}
        out, *caches = session.run(None, feed)
        parts.append(out)
    return np.concatenate(parts, axis=2)


# The diarizer's own thresholds: speech begins and ends, two people speak.
GATE_ONSET, GATE_OFFSET, OVERLAP_ONSET = 0.97, 0.5, 0.4


def fit_to_gate(
    network: Segmenter, gate: tuple[float, float] | None, overlap: float | None
) -> None:
    """Scales the odds so that these probabilities of the network come out as the diarizer's thresholds."""
    with torch.no_grad():
        if gate is not None:
            begins, ends = map(log_odds, gate)
            scale = (log_odds(GATE_ONSET) - log_odds(GATE_OFFSET)) / (begins - ends)
            network.head.weight[0] *= scale
            network.head.bias[0] = scale * (network.head.bias[0] - ends) + log_odds(GATE_OFFSET)
        if overlap is not None:
            network.head.bias[1] += log_odds(OVERLAP_ONSET) - log_odds(overlap)


def _scaled(gate: tuple[float, float] | None, overlap: float | None) -> str:
    parts = []
    if gate is not None:
        parts.append(f"{gate[0]:g} and {gate[1]:g} of speech became {GATE_ONSET:g} and {GATE_OFFSET:g}")
    if overlap is not None:
        parts.append(f"{overlap:g} of overlap became {OVERLAP_ONSET:g}")
    if not parts:
        return ""
    return f"\n* **Scaled** to the diarizer's thresholds after training: a probability of {', '.join(parts)}."


def _taught(params: dict) -> str:
    """What a run says of its teacher and of what it left as it was; runs of earlier versions know neither."""
    out = ""
    if params.get("talk"):
        speech, overlap = params["teacher_shares"]
        out += (
            f", the answers of pyannote segmentation 3.0 (MIT) counting {speech:g} of speech and {overlap:g} of "
            "overlap where somebody talks"
        )
    if params.get("frozen_blocks"):
        out += f", the first {params['frozen_blocks']} blocks left as they were"
    return out


def _runs(held: dict) -> list[str]:
    """What this run and those before it, as far as their checkpoints are here, learned from; the first one first."""
    params = held["params"]
    hours = held["n_made"] * params["seconds"] / 3600
    times = held["step"] * params["batch"] / max(held["n_made"], 1)
    own = (
        f"{hours:.0f} h, each drawn {times:.1f} times, in {held['seconds'] / 60:.0f} minutes, "
        f"overlap weighing {params['overlap_weight']:g}{_taught(params)}"
    )
    source = Path(params["init_from"] or "")
    if not source.is_file():
        return [own]
    before = torch.load(source, map_location="cpu", weights_only=True)
    return [*(_runs(before) if "n_made" in before else ["one that left only its weights"]), own]


def _golden(n_mels: int) -> np.ndarray:
    """Frames that look like log-mel rows, without randomness, more than the longest delay."""
    t, m = np.arange(OVERLAP_DELAY_FRAMES + 30)[None, :], np.arange(n_mels)[:, None]
    golden = 9.0 + 3.0 * np.sin(0.21 * t + 0.13 * m) + np.cos(0.05 * t * (1 + m % 5)) - 0.03 * m
    return np.round(golden, 4).astype(np.float32)[None]


def _write_settings(out: Path, version: str, shape: dict) -> None:
    digest = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    (out / "model.toml").write_text(
        f"""schema = 1
name = "{out.name}"
version = "{version}"
licence = "Apache-2.0"
onnx_sha256 = "{digest}"
n_mels = {shape["n_mels"]}
channels = {shape["channels"]}
caches = {[(shape["kernel"] - 1) * d for d in shape["dilations"]]}
chunk_frames = {CHUNK_FRAMES}
delay_frames = {DELAY_FRAMES}
overlap_delay_frames = {OVERLAP_DELAY_FRAMES}
"""
    )


def _card(
    name: str, figures: dict, runs: str, hardware: str, n_parameters: int, difference: float, scaled: str
) -> str:
    return f"""# {name}

Says for every 10 ms whether somebody speaks, whether two do, and how clear it is: outputs
{", ".join(OUTPUTS)}. {n_parameters:,} parameters, causal, {DELAY_FRAMES * 10} ms of look-ahead,
{OVERLAP_DELAY_FRAMES * 10} ms for the overlap.

* **Trained** on synthetic talk (`conversations.py`): the voices and noises of the voice model's
  training data, in simulated and measured rooms, with knocks, music, signals, babble and distant talk
  that is no speech of the conversation. Runs, each from the weights of the one before: {runs}.
  The last one on {hardware}.
* **On synthetic talk of speakers that training never saw**, at a probability of one half, in per
  cent of all frames: missed {figures["miss_percent"]:.1f}, false alarm
  {figures["false_alarm_percent"]:.1f}. Overlap found {figures["overlap_recall_percent"]:.0f} %,
  right {figures["overlap_precision_percent"]:.0f} %, average precision
  {figures["overlap_average_precision_percent"]:.0f} %. Mean error of the signal-to-noise ratio
  {figures["snr_error_db"]:.1f} dB, of C50 {figures["c50_error_db"]:.1f} dB.{scaled}
* **Agreement** of the exported graph, streamed, with the network: {difference:.1e} at most.
* **Not good for**: singing, music with voices, and telling a loud television from people.
* **Privacy**: it holds no voices and knows nobody.
* **Licence**: Apache-2.0; the training data's licences are in the voice model's card.
"""


def export_segmenter(
    checkpoint: Path,
    out: Path,
    version: str,
    hardware: str,
    gate: tuple[float, float] | None = None,
    overlap: float | None = None,
    tables: Path | None = None,
) -> float:
    """Writes the folder; returns the largest difference between PyTorch and onnxruntime."""
    held = torch.load(checkpoint, map_location="cpu", weights_only=True)
    params = held["params"]
    shape = dict(params["network"])
    shape["dilations"] = tuple(shape["dilations"])
    network = Segmenter(SegmenterConfig(**shape))
    network.load_state_dict(held["averaged"])
    fit_to_gate(network.eval(), gate, overlap)
    out.mkdir(parents=True, exist_ok=True)
    onnx = out / "model.onnx"
    _write_onnx(network, onnx)
    golden = _golden(shape["n_mels"])
    with torch.inference_mode():
        whole = network(torch.from_numpy(golden)).numpy()
    streamed = _stream_onnx(onnx, golden, network)
    difference = float(np.abs(whole - streamed).max())
    if difference > MAX_DIFFERENCE:
        raise SystemExit(f"error: the exported graph differs from the network by {difference}")
    table = {
        "description": "frame-major log-mel rows, and onnxruntime's scores of them, frame-major",
        "n_mels": shape["n_mels"],
        "features": [round(float(v), 4) for v in golden[0].T.ravel()],
        "scores": [round(float(v), 5) for v in streamed[0].T.ravel()],
    }
    (out / "golden.json").write_text(json.dumps(table) + "\n")
    torch.save(network.state_dict(), out / "weights.pt")
    n_parameters = sum(p.numel() for p in network.parameters())
    rows = [json.loads(line) for line in (checkpoint.parent / "log.jsonl").read_text().splitlines()]
    figures = [r for r in rows if "miss_percent" in r][-1]
    runs = "; then ".join(_runs(held))
    _write_settings(out, version, shape)
    text = _card(out.name, figures, runs, hardware, n_parameters, difference, _scaled(gate, overlap))
    (out / "CARD.md").write_text(text + (f"\n{tables.read_text().strip()}\n" if tables else ""))
    return difference
