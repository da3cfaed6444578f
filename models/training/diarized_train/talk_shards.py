"""Synthetic talk kept on disk with a teacher's answers: made once, at leisure, and drawn again by training."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .conversations import Conversations, Example
from .data import DataError
from .front_end import FrontEnd, LogMel
from .powerset import PowersetTeacher
from .segmenter_batch import collate

SHARD_EXAMPLES = 24
COLUMNS = ("features", "voices", "snr_db", "c50_db", "teacher")


def ask(teacher: PowersetTeacher | None, examples: list[Example]) -> np.ndarray:
    """(N, T, 2) float16 probabilities of speech and overlap; NaN where the teacher is not asked."""
    n_frames = len(examples[0].voices)
    out = np.full((len(examples), n_frames, 2), np.nan, np.float16)
    asked = [i for i, e in enumerate(examples) if e.clear is not None]
    if teacher is not None and asked:
        out[asked] = teacher.answers(np.stack([examples[i].clear for i in asked]))
    return out


def make_shard(
    path: Path, talk: Conversations, mel: LogMel, teacher: PowersetTeacher | None, rng: np.random.Generator
) -> None:
    """Written beside its place and then moved there: a run that is killed leaves no half shard."""
    examples = [talk.draw(rng) for _ in range(SHARD_EXAMPLES)]
    features, voices, snr, c50 = collate(examples, mel)
    columns = (
        features.astype(np.float16),
        voices.astype(np.int8),
        snr.astype(np.float16),
        c50.astype(np.float16),
        ask(teacher, examples),
    )
    beside = path.with_suffix(".new")
    with beside.open("wb") as handle:
        np.savez(handle, **dict(zip(COLUMNS, columns, strict=True)))
    beside.replace(path)


def read_shard(path: Path) -> tuple[np.ndarray, ...]:
    """The columns of a shard; ``DataError`` names a file that is none."""
    try:
        with np.load(path) as held:
            return tuple(held[c] for c in COLUMNS)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no shard of make-talk ({error}); delete it") from error


def make_talk(args: object) -> None:
    """Fills ``--out`` up to ``--count`` shards; what is there stays, so another call goes on."""
    import torch

    torch.set_num_threads(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    work = Path(args.work)
    teacher = PowersetTeacher(Path(args.powerset)) if args.powerset else None
    talk = Conversations(
        str(work / args.cache),
        args.noise,
        args.seed,
        args.seconds,
        args.rooms,
        args.whole,
        args.whole_speakers,
        args.alone,
    )
    mel = LogMel(FrontEnd(mean_normalisation="none"), np.float32)
    for i in tqdm(range(args.count), desc="talk", unit="shard"):
        path = out / f"{args.seed:03d}-{i:05d}.npz"
        if not path.is_file():
            make_shard(path, talk, mel, teacher, np.random.default_rng([args.seed, i]))
