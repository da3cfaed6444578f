"""VoxCeleb1: clips of one person each, and the published lists of trials."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ..data import DataError
from .getting import Getting
from .lists import write_lines
from .sources import Source
from .unpacking import entries, unpack

# As torchaudio's data set (the archives) and PaddleSpeech's (the list) give them.
PUBLISHED = {
    "vox1_dev_wav_partaa": "21ec6ca843659ebc2fdbe04b530baa4f191ad4b0971912672d92c158f32226a0",
    "vox1_dev_wav_partab": "311d21e0c8cbf33573a4fce6c80e5a279d80736274b381c394319fc557159a04",
    "vox1_dev_wav_partac": "92b64465f2b2a3dc0e4196ae8dd6828cbe9ddd1f089419a11e4cbfe2e1750df0",
    "vox1_dev_wav_partad": "00e6190c770b27f27d2a3dd26ee15596b17066b715ac111906861a7d09a211a5",
    "vox1_test_wav.zip": "8de57f347fe22b2c24526e9f444f689ecf5096fc2a92018cf420ff6b5b15eaea",
    "veri_test2.txt": "b73110731c9223c1461fe49cb48dddfc",
}
DEV_PARTS = tuple(f"vox1_dev_wav_parta{letter}" for letter in "abcd")
_CLIP = re.compile(r"^(id\d{5})/([^/]+)/([^/]+\.wav)$")


def prepare_voxceleb1(getting: Getting) -> None:
    """``dev``, ``test`` and ``all`` with ``wav.scp``, ``utt2spk``, ``spk2set``; lists of trials in ``trials``.

    An utterance is called as the lists of trials call it: ``id10270/VIDEO/00001.wav``.
    """
    trials = [source for source in getting.sources if source.name.endswith(".txt")]
    archives = _archives([source for source in getting.sources if source not in trials])
    if not archives:
        raise DataError(
            "no archive of audio: name vox1_test_wav.zip, vox1_dev_wav.zip or its parts vox1_dev_wav_partaa to …ad, "
            "or folders called dev and test"
        )
    clips: dict[str, dict[str, Path]] = {part: _unpack(getting, part, sources) for part, sources in archives.items()}
    for part, own in clips.items():
        _write(getting.folder / part, own)
        getting.wrote(part, f"{len(own)} clips of {len({name.split('/')[0] for name in own})} people")
    together = {name: path for own in clips.values() for name, path in own.items()}
    if len(clips) > 1:
        _write(getting.folder / "all", together)
    for source in trials:
        _take_trials(getting, source, together)


def _archives(sources: list[Source]) -> dict[str, list[Source]]:
    """Sources of ``dev`` and ``test``, the parts of an archive in order."""
    archives: dict[str, list[Source]] = {}
    for source in sorted(sources, key=lambda source: source.name):
        found = re.match(r"^(?:vox1_)?(dev|test)\b|^vox1_(dev|test)_", source.name)
        if not found:
            raise DataError(
                f"{source.shown}: it is not clear what this is; expected vox1_dev_wav…, vox1_test_wav.zip, a folder "
                "dev or test, or a list of trials NAME.txt; give it as NAME=PATH"
            )
        archives.setdefault(found[1] or found[2], []).append(source)
    for sources in archives.values():
        names = tuple(source.name for source in sources)
        if any("_part" in name for name in names) and names != DEV_PARTS:
            missing = [name for name in DEV_PARTS if name not in names]
            raise DataError(f"an archive in parts needs all of them: {', '.join(missing or names)}")
        if len(names) > 1 and names != DEV_PARTS:
            raise DataError(f"{', '.join(names)}: name one of them")
    return archives


def _unpack(getting: Getting, part: str, sources: list[Source]) -> dict[str, Path]:
    label, paths = sources[0].name, [getting.path(source) for source in sources]
    with entries(label, paths) as found:
        wanted, clips = [], {}
        for entry in found:
            name = _clip(entry.name)
            if name is None:
                continue
            path = getting.folder / part / "wav" / name
            wanted.append((entry, path))
            clips[name] = path
        if not clips:
            raise DataError(f"{label}: no clip idNNNNN/VIDEO/NNNNN.wav in it")
        unpack(label, paths, wanted, getting.folder)
    return clips


def _clip(name: PurePosixPath) -> str | None:
    """The last three parts of the name, where they are person, video and clip."""
    last = "/".join(name.parts[-3:])
    return last if _CLIP.match(last) and "__MACOSX" not in name.parts else None


def _write(folder: Path, clips: dict[str, Path]) -> None:
    write_lines(folder / "utt2spk", [f"{name} {name.split('/')[0]}" for name in sorted(clips)])
    # One set: its people share their kinds of channel, where every video is a channel of its own.
    speakers = sorted({name.split("/")[0] for name in clips})
    write_lines(folder / "spk2set", [f"{speaker} voxceleb1" for speaker in speakers])
    base = folder.parent
    relative = {name: path.relative_to(base) for name, path in clips.items()}
    write_lines(folder / "wav.scp", [f"{name} {relative[name].as_posix()}" for name in sorted(clips)])


def _take_trials(getting: Getting, source: Source, clips: dict[str, Path]) -> None:
    """A list is taken as it is, where every clip that it names is there."""
    path = getting.path(source)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of trials: {error}") from error
    missing: list[str] = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            raise DataError(f"{path}:{number}: expected `1 CLIP CLIP` or `0 CLIP CLIP`, got {line[:80]!r}")
        missing += [name for name in fields[1:] if name not in clips]
    if missing:
        getting.note(
            f"{source.name} names {len(set(missing))} clips that are not here, such as {missing[0]}; it was left out"
        )
        return
    write_lines(getting.folder / "trials" / source.name, [line for line in lines if line.strip()])
    getting.wrote(f"trials/{source.name}", f"{sum(bool(line.strip()) for line in lines)} trials")
