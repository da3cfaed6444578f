"""A checkpoint of the Whisper layout to a folder that ``diarized label --segmenter`` takes."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .export import OPSET, cosine
from .foreign import CheckpointError, load_checked, read_checkpoint
from .model_folder import MIN_AGREEMENT, ExportError, toml_value
from .whisper_layout import DecoderGraph, EncoderGraph, WhisperConfig, WhisperSegmentation, read_config

LAYOUT = "VoicePersonification segmentation"
# Stands in where nothing was fitted: segments of a cosine above it are one speaker's.
SAME_SPEAKER_COSINE = 0.5

CARD = """# {name}

{architecture}, taken from a checkpoint in the layout of {layout}; licence of the weights: {licence}. PyTorch and
onnxruntime agree on segments' embeddings to a cosine of {agreement:.8f}.

NOT calibrated: `same_speaker_cosine` in model.toml is a stand-in.
"""


def load_segmentation(path: Path) -> WhisperSegmentation:
    """Reads a checkpoint; nothing in it is executed."""
    checkpoint = read_checkpoint(path)
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    args = checkpoint.get("args") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not isinstance(args, dict):
        raise CheckpointError(f"{path}: a checkpoint of {LAYOUT} is {{args, state_dict}}")
    try:
        config = read_config(args, state)
        network = WhisperSegmentation(config)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    # Margins of the training, and a mask that some versions keep.
    state = {k: v for k, v in state.items() if k not in ("spk_head.m", "spk_head.t", "decoder.mask")}
    load_checked(network, state, LAYOUT)
    return network


def _write(graph: nn.Module, inputs: tuple, names: list[str], outputs: list[str], axes: dict, path: Path) -> str:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            inputs,
            buffer,
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    path.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def step_inputs(config: WhisperConfig, n_past: int, seed: int = 1) -> tuple[Tensor, ...]:
    """Some input of the decoder's graph."""
    generator = torch.Generator().manual_seed(seed)
    size = config.n_text_state // config.n_text_head
    shape = (config.n_text_layer, config.n_text_head)
    return (
        torch.tensor([config.n_timestamps]),
        torch.tensor([n_past]),
        torch.randn(n_past, 2 * config.n_text_layer, config.n_text_state, generator=generator),
        torch.randn(*shape, size, config.n_audio_ctx, generator=generator),
        torch.randn(*shape, config.n_audio_ctx, size, generator=generator),
    )


def _agreement(folder: Path, network: WhisperSegmentation) -> float:
    """The lowest cosine of PyTorch's and onnxruntime's outputs."""
    import onnxruntime

    config = network.config
    worst = 1.0
    features = np.sin(0.01 * np.arange(config.n_mels * 2 * config.n_audio_ctx, dtype=np.float32))
    features = features.reshape(1, config.n_mels, -1)
    runs = [("encoder.onnx", EncoderGraph(network), (torch.from_numpy(features),))]
    runs += [("decoder.onnx", DecoderGraph(network), step_inputs(config, n_past)) for n_past in (0, 1, 17)]
    for name, graph, inputs in runs:
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs, strict=True)}
        with torch.inference_mode():
            expected = graph.eval()(*inputs)
        for got, wanted in zip(session.run(None, feed), expected, strict=True):
            worst = min(worst, cosine(got, wanted.numpy()))
    return worst


def import_segmentation(checkpoint: Path, folder: Path, *, licence: str, version: str) -> float:
    """Writes the folder; returns the agreement of PyTorch and onnxruntime."""
    network = load_segmentation(checkpoint)
    config = network.config
    folder.mkdir(parents=True, exist_ok=True)
    features = torch.zeros(1, config.n_mels, 2 * config.n_audio_ctx)
    encoder = _write(
        EncoderGraph(network), (features,), ["features"], ["keys", "values"], {}, folder / "encoder.onnx"
    )
    decoder = _write(
        DecoderGraph(network),
        step_inputs(config, 3),
        ["token", "position", "past", "keys", "values"],
        ["state", "times", "speakers", "row"],
        {"past": {0: "n_past"}},
        folder / "decoder.onnx",
    )
    agreement = _agreement(folder, network)
    if not agreement >= MIN_AGREEMENT:
        raise ExportError(f"onnxruntime's cosine to PyTorch ({agreement:.6f}) must be >= {MIN_AGREEMENT}")
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    layers = f"{config.n_audio_layer} + {config.n_text_layer} layers of {config.n_text_state}"
    words = f"Whisper layout, {layers}, {millions:.1f} M parameters"
    table = {
        "schema": 1,
        "kind": "segmentation",
        "name": folder.name,
        "version": version,
        "architecture": words,
        "licence": licence,
        "encoder_sha256": encoder,
        "decoder_sha256": decoder,
        "n_mels": config.n_mels,
        "n_layers": config.n_text_layer,
        "n_heads": config.n_text_head,
        "state": config.n_text_state,
        "n_audio_ctx": config.n_audio_ctx,
        "n_text_ctx": config.n_text_ctx,
        "n_timestamps": config.n_timestamps,
        "n_speakers": config.n_spks,
        "same_speaker_cosine": SAME_SPEAKER_COSINE,
    }
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items()]
    (folder / "model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    card = CARD.format(name=folder.name, architecture=words, layout=LAYOUT, licence=licence, agreement=agreement)
    (folder / "CARD.md").write_text(card, encoding="utf-8")
    return agreement
