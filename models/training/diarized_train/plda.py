"""PLDA matrices of a model folder, fitted on conversations with known speakers.

The two-covariance model (Brümmer and de Villiers, "The speaker partitioning problem", 2010): the
scatter within a speaker is made the identity, the scatter between speakers diagonal. A "speaker"
is one person in one conversation, so that rooms, noise and devices count as in a session.
Windows that hold two people, or much silence, are left out. The result is ``plda.f32`` beside the
weights, and ``plda_dim`` in ``model.toml``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from tqdm import tqdm

from .data import SAMPLE_RATE_HZ, DataError, read_audio
from .front_end import FrontEnd, LogMel

WINDOW_FRAMES = 150
STEP_FRAMES = 50
FRAME_S = 0.01
# A window is clean with this much speech, nearly all of one person and hardly any overlap.
MIN_SPEECH, MIN_OWN, MAX_OVERLAP = 0.6, 0.95, 0.05
MIN_WINDOWS = 5
# Windows of a speaker overlap and so tell less of the mean than as many strangers would.
CORRELATED = 5.0
# A few hundred speakers of simulated rooms are few for 192 values, and no other talk: the scatter within is drawn to an
# even one.
WITHIN_SHRINKAGE = 0.6
BETWEEN_SHRINKAGE = 0.0
# The network has learnt to tell these very speakers apart: the variances between strangers are this share of theirs.
STRANGERS = 0.5


def read_turns(path: Path) -> list[tuple[float, float, str]]:
    """(start s, end s, speaker) of an RTTM file's SPEAKER lines."""
    turns = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if not parts or parts[0] != "SPEAKER":
            continue
        try:
            start, length = float(parts[3]), float(parts[4])
            turns.append((start, start + length, parts[7]))
        except (IndexError, ValueError):
            raise DataError(f"{path}:{number}: not a SPEAKER line of RTTM") from None
    return turns


def clean_windows(
    turns: list[tuple[float, float, str]],
    n_frames: int,
    window_frames: int = WINDOW_FRAMES,
    step_frames: int = STEP_FRAMES,
) -> list[tuple[int, str]]:
    """First frame and speaker of every window that holds one person."""
    speakers = sorted({speaker for _, _, speaker in turns})
    active = np.zeros((len(speakers), n_frames), bool)
    for start, end, speaker in turns:
        active[speakers.index(speaker), round(start / FRAME_S) : round(end / FRAME_S)] = True
    found = []
    for first in range(0, n_frames - window_frames + 1, step_frames):
        part = active[:, first : first + window_frames]
        speech, own = part.any(0).sum(), part.sum(1)
        if speech < MIN_SPEECH * window_frames or own.max() < MIN_OWN * speech:
            continue
        if (part.sum(0) > 1).mean() <= MAX_OVERLAP:
            found.append((first, speakers[int(own.argmax())]))
    return found


def embed_conversations(folder: Path, conversations: Path) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings (N, D) of all clean windows, and the speaker of each (N,)."""
    import tomllib

    import onnxruntime

    card = tomllib.loads((folder / "model.toml").read_text())
    front = FrontEnd.from_dict(card["front_end"] | {"mean_normalisation": "none"})
    mel = LogMel(front, np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    embeddings, names = [], []
    recordings = sorted(conversations.glob("*.wav"))
    if not recordings:
        raise DataError(f"{conversations}: no .wav files")
    for recording in tqdm(recordings, desc="embed"):
        samples = read_audio(recording)
        n_frames = len(samples) // (SAMPLE_RATE_HZ // 100)
        for first, speaker in clean_windows(read_turns(recording.with_suffix(".rttm")), n_frames):
            start = first * front.hop_samples
            length = (WINDOW_FRAMES - 1) * front.hop_samples + front.frame_length_samples
            piece = samples[start : start + length]
            if len(piece) < length:
                continue
            features = mel(piece)
            features = (features - features.mean(1, keepdims=True))[None].astype(np.float32)
            embedding = session.run(None, {"features": features})[0].ravel()
            embeddings.append(embedding / np.linalg.norm(embedding))
            names.append(f"{recording.stem}/{speaker}")
    _, speakers = np.unique(names, return_inverse=True)
    return np.stack(embeddings).astype(np.float64), speakers


def fit_plda(
    x: np.ndarray,
    speakers: np.ndarray,
    dim: int,
    within_shrinkage: float = WITHIN_SHRINKAGE,
    between_shrinkage: float = BETWEEN_SHRINKAGE,
) -> tuple[np.ndarray, ...]:
    """Mean (D,), between-speaker variances (dim,) and transform (dim, D)."""
    mean = x.mean(0)
    counts = np.bincount(speakers)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, speakers, x)
    means = sums / np.maximum(counts, 1)[:, None]
    enough = counts >= MIN_WINDOWS
    rest = (x - means[speakers])[enough[speakers]]
    dims = x.shape[1]
    within = rest.T @ rest / (len(rest) - enough.sum()) + 1e-6 * np.eye(dims)
    centred = means[enough] - mean
    between = centred.T @ centred / enough.sum()
    between -= within * np.mean(1.0 / counts[enough]) * CORRELATED
    even = np.trace(within) / dims * np.eye(dims)
    within = (1.0 - within_shrinkage) * within + within_shrinkage * even
    variances, vectors = eigh((between + between.T) / 2.0, within)
    order = np.argsort(-variances)[:dim]
    kept = np.maximum(variances[order], 1e-3)
    kept = (1.0 - between_shrinkage) * kept + between_shrinkage * kept.mean()
    return mean, kept, vectors[:, order].T


def write_plda(folder: Path, conversations: Path, dim: int, strangers: float = STRANGERS) -> int:
    """Fits and writes ``plda.f32`` and ``plda_dim``; returns the number of windows used.

    ``strangers`` is the share of the speakers' variances that strangers have, 1 where the network never
    learnt these speakers.
    """
    if not 0.0 < strangers <= 1.0:
        raise DataError(f"strangers ({strangers}) must be above 0 and at most 1")
    x, speakers = embed_conversations(folder, conversations)
    mean, variances, transform = fit_plda(x, speakers, dim)
    parts = (mean, strangers * variances, transform)
    values = np.concatenate([part.ravel() for part in parts]).astype("<f4")
    (folder / "plda.f32").write_bytes(values.tobytes())
    card = folder / "model.toml"
    lines = [line for line in card.read_text().splitlines() if not line.startswith("plda_dim")]
    at = next(i for i, line in enumerate(lines) if line.startswith("embedding_dim")) + 1
    card.write_text("\n".join([*lines[:at], f"plda_dim = {dim}", *lines[at:]]) + "\n")
    return len(x)
