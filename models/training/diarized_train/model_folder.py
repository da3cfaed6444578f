"""The folder that ``diarized`` loads: model.onnx, model.toml, golden.json, CARD.md."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from .calibrate import Calibration
from .export import cosine, run_onnx, write_onnx
from .front_end import FrontEnd

GOLDEN_FRAMES = 150
MIN_AGREEMENT = 0.9999


class ExportError(RuntimeError):
    """A network that no command could use: its graph answers otherwise, or its embeddings do not part speakers."""


def toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.9g}"
        if "e" in text and "." not in text:
            mantissa, exponent = text.split("e")
            return f"{mantissa}.0e{int(exponent)}"
        return text if "." in text or "e" in text else f"{text}.0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def golden_features(n_mels: int) -> np.ndarray:
    """A fixed input without randomness: waves over time and mel, mean removed."""
    t, m = np.arange(GOLDEN_FRAMES)[None, :], np.arange(n_mels)[:, None]
    x = 2.0 * np.sin(0.11 * t + 0.37 * m) + np.cos(0.031 * t * (1 + m % 7)) - 0.02 * m
    x = x - x.mean(axis=1, keepdims=True)
    return np.round(x, 5).astype(np.float32)


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{v:.8g}") for v in values]


def write_golden(onnx: Path, n_mels: int, window_ms: list[int]) -> np.ndarray:
    """Writes golden.json beside ``onnx``; returns the embedding of its features.

    Other lengths take the same features, cut off or begun again from the first frame.
    """
    features = golden_features(n_mels)
    embedding = run_onnx(onnx, features[None])[0]
    others = []
    for n_frames in sorted({ms // 10 for ms in window_ms} - {GOLDEN_FRAMES}):
        frames = np.arange(n_frames) % GOLDEN_FRAMES
        other = run_onnx(onnx, features[None][:, :, frames])[0]
        others.append({"n_frames": n_frames, "embedding": _rounded(other)})
    golden = {
        "description": "onnxruntime's embedding of fixed features, (n_mels, n_frames) row-major; "
        "other_lengths: the same frames cut off, or begun again from the first",
        "onnx_sha256": hashlib.sha256(onnx.read_bytes()).hexdigest(),
        "n_mels": n_mels,
        "n_frames": GOLDEN_FRAMES,
        "features": [round(float(v), 5) for v in features.ravel()],
        "embedding": _rounded(embedding),
        "other_lengths": others,
    }
    (onnx.parent / "golden.json").write_text(json.dumps(golden) + "\n")
    return embedding


def agreement(reference: torch.nn.Module, onnx: Path, n_mels: int) -> float:
    """Lowest cosine between PyTorch's and onnxruntime's embedding over several lengths."""
    rng = np.random.default_rng(3)
    worst = 1.0
    for n_frames in (98, 148, 198, 298):
        x = (2.0 * rng.standard_normal((1, n_mels, n_frames))).astype(np.float32)
        with torch.inference_mode():
            expected = reference.eval()(torch.from_numpy(x)).numpy()
        worst = min(worst, cosine(expected, run_onnx(onnx, x)))
    return worst


def write_folder(
    folder: Path,
    reference: torch.nn.Module,
    graph: torch.nn.Module,
    front: FrontEnd,
    *,
    name: str,
    version: str,
    architecture: str,
    licence: str,
    calibrations: list[Calibration],
    provenance: dict[str, str],
) -> float:
    """Writes everything but the card; returns the agreement PyTorch to onnxruntime."""
    for c in calibrations:
        if not c.scale > 0:
            raise ExportError(
                f"the calibration's scale at {c.window_ms} ms ({c.scale:.2f}) must be > 0: to this network "
                "one person's recordings are no more alike than two persons'; train it longer"
            )
    folder.mkdir(parents=True, exist_ok=True)
    onnx = folder / "model.onnx"
    write_onnx(graph, front.n_mels, onnx)
    worst = agreement(reference, onnx, front.n_mels)
    if not worst >= MIN_AGREEMENT:
        raise ExportError(f"onnxruntime's cosine to PyTorch ({worst:.6f}) must be >= 0.9999")
    embedding = write_golden(onnx, front.n_mels, [c.window_ms for c in calibrations])
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
    head = {
        "schema": 1,
        "name": name,
        "version": version,
        "architecture": architecture,
        "licence": licence,
        "onnx_sha256": digest,
        "embedding_dim": len(embedding),
        "window_ms": [c.window_ms for c in calibrations],
    }
    lines = [f"{k} = {toml_value(v)}" for k, v in head.items()]
    lines += ["", "[front_end]"]
    lines += [f"{k} = {toml_value(v)}" for k, v in front.to_dict().items()]
    for c in calibrations:
        lines += ["", "[[calibration]]", f"window_ms = {c.window_ms}"]
        lines += [f"scale = {c.scale:.4f}", f"offset = {c.offset:.4f}"]
        if c.eer == c.eer:
            lines.append(f"eer = {c.eer:.5f}")
    lines += ["", "[provenance]"]
    lines += [f"{k} = {toml_value(v)}" for k, v in provenance.items()]
    (folder / "model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return worst
