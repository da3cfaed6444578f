"""AMI and VoxConverse: recordings of several people with their references."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..data import DataError
from .getting import Getting
from .lists import Turn, read_names, read_rttm, read_uem, write_meetings
from .sources import Source
from .unpacking import Entry, entries, unpack

AUDIO = (".wav", ".flac")
MAX_REFERENCE_BYTES = 64 << 20


@dataclass
class References:
    """Turns and regions of each recording, and which part of the corpus it belongs to."""

    part_of: dict[str, str]
    turns: dict[str, list[Turn]]
    uem: dict[str, list[str]]


def _parts(references: References) -> list[str]:
    return sorted(set(references.part_of.values()))


def _unpack_references(getting: Getting, source: Source, keep: Callable[[PurePosixPath], PurePosixPath | None]) -> None:
    """Lists and references of one source, to ``references/``; an archive without any gives nothing."""
    folder = getting.folder / "references"
    with entries(source.name, [getting.path(source)]) as found:
        wanted = []
        for entry in found:
            place = keep(entry.name)
            if place is not None:
                if entry.size > MAX_REFERENCE_BYTES:
                    raise DataError(f"{source.name}: {entry.name} has {entry.size} bytes; no list is that long")
                wanted.append((entry, folder / place))
        unpack(source.name, [getting.path(source)], wanted, folder)


def _read_references(folder: Path) -> References:
    """``PART/*.rttm`` and ``PART/*.uem``, where every RTTM file is one recording of the name of the file."""
    references = References({}, {}, {})
    for path in sorted(folder.glob("*/*.rttm")):
        turns = read_rttm(path)
        name = path.stem
        strange = sorted({turn.recording for turn in turns} - {name})
        if strange:
            raise DataError(f"{path}: has turns of recording {strange[0]}, expected {name} alone")
        if name in references.part_of:
            raise DataError(f"{path}: {name} is in {references.part_of[name]} as well")
        references.part_of[name] = path.parent.name
        references.turns[name] = turns
        uem = path.with_suffix(".uem")
        if uem.is_file():
            references.uem[name] = read_uem(uem)
    return references


def _write(getting: Getting, references: References, audio: dict[str, Path], *, speakers_are_global: bool) -> None:
    missing = sorted(set(references.part_of) - set(audio))
    for part in _parts(references):
        folder = getting.folder / part
        own = {name: path for name, path in audio.items() if references.part_of.get(name) == part}
        if not own:
            getting.note(f"{part}: no recording of it is there; no lists were written")
            continue
        turns = [turn for name in own for turn in references.turns[name]]
        uem = [line for name in sorted(own) for line in references.uem.get(name, [])]
        if uem and any(name not in references.uem for name in own):
            uem = []
        write_meetings(folder, own, turns, uem, speakers_are_global=speakers_are_global)
        getting.wrote(part, f"{len(own)} recordings, {len(turns)} turns")
    if missing:
        getting.note(f"{len(missing)} recordings of the references have no audio here, such as {missing[0]}")


def _place_audio(
    getting: Getting, source: Source, references: References, name_of: Callable[[PurePosixPath], str | None]
) -> dict[str, Path]:
    """The recordings of one source that the references know, below ``PART/audio``."""
    with ExitStack() as stack:
        found: list[Entry] = stack.enter_context(entries(source.name, [getting.path(source)]))
        wanted, placed = [], {}
        for entry in found:
            name = name_of(entry.name)
            if name is None or "__MACOSX" in entry.name.parts or name not in references.part_of:
                continue
            path = getting.folder / references.part_of[name] / "audio" / f"{name}{entry.name.suffix.lower()}"
            wanted.append((entry, path))
            placed[name] = path
        unpack(source.name, [getting.path(source)], wanted, getting.folder)
    return placed


def prepare_voxconverse(getting: Getting) -> None:
    """``dev`` and ``test``: the part of a recording is the folder of its RTTM file."""

    def reference(name: PurePosixPath) -> PurePosixPath | None:
        is_rttm = name.suffix == ".rttm" and "__MACOSX" not in name.parts and name.parent.name in ("dev", "test")
        return PurePosixPath(name.parent.name, name.name) if is_rttm else None

    def audio(name: PurePosixPath) -> str | None:
        return name.stem if name.suffix.lower() in AUDIO else None

    for source in getting.sources:
        _unpack_references(getting, source, reference)
    references = _read_references(getting.folder / "references")
    if not references.part_of:
        raise DataError(
            "no source has dev/*.rttm or test/*.rttm; give the archive or a checkout of github.com/joonson/voxconverse"
        )
    placed = {}
    for source in getting.sources:
        placed |= _place_audio(getting, source, references, audio)
    _write(getting, references, placed, speakers_are_global=False)


def _ami_reference(name: PurePosixPath) -> PurePosixPath | None:
    """Of the setup of BUT: ``only_words/rttms/PART/M.rttm``, ``uems/PART/M.uem``, ``lists/PART.meetings.txt``."""
    parts = name.parts
    if name.suffix == ".rttm" and parts[-4:-2] == ("only_words", "rttms"):
        return PurePosixPath(parts[-2], name.name)
    if name.suffix == ".uem" and len(parts) >= 3 and parts[-3] == "uems":
        return PurePosixPath(parts[-2], name.name)
    if name.name.endswith(".meetings.txt") and name.parent.name == "lists":
        return PurePosixPath(name.name)
    return None


def prepare_ami(getting: Getting, audio_base: str | None, microphone: str, parts: list[str]) -> None:
    """``train``, ``dev``, ``test`` of the partition that the setup lists; audio a meeting from files or addresses."""
    for source in getting.sources:
        _unpack_references(getting, source, _ami_reference)
    folder = getting.folder / "references"
    references = _read_references(folder)
    if not references.part_of:
        raise DataError(
            "no source has only_words/rttms/PART/*.rttm; give the archive or a checkout of "
            "github.com/BUTSpeechFIT/AMI-diarization-setup"
        )
    listed = {path.name.removesuffix(".meetings.txt"): read_names(path) for path in folder.glob("*.meetings.txt")}
    for part, names in listed.items():
        strange = [name for name in names if references.part_of.get(name) != part]
        if strange:
            raise DataError(f"{folder}/{part}.meetings.txt: {strange[0]} has no RTTM file in {part}")
    if parts:
        unknown = sorted(set(parts) - set(_parts(references)))
        if unknown:
            raise DataError(f"--parts ({unknown[0]}) must be among {', '.join(_parts(references))}")
        references.part_of = {name: part for name, part in references.part_of.items() if part in parts}
    pattern = re.compile(rf"^(\w+)\.{re.escape(microphone)}$")

    def audio(name: PurePosixPath) -> str | None:
        found = pattern.match(name.stem) if name.suffix.lower() in AUDIO else None
        return found[1] if found else None

    placed = {}
    for source in getting.sources:
        placed |= _place_audio(getting, source, references, audio)
    if audio_base:
        placed |= _fetch_meetings(getting, references, audio_base.rstrip("/"), microphone, set(placed))
    _write(getting, references, placed, speakers_are_global=True)


def _fetch_meetings(
    getting: Getting, references: References, base: str, microphone: str, there: set[str]
) -> dict[str, Path]:
    """``BASE/MEETING/audio/MEETING.MICROPHONE.wav`` of each meeting, as the corpus's mirror has them."""
    placed = {}
    for name, part in sorted(references.part_of.items()):
        if name in there:
            continue
        file = f"{name}.{microphone}.wav"
        path = getting.folder / part / "audio" / f"{name}.wav"
        if not path.is_file():
            fetched = getting.path(Source(file, url=f"{base}/{name}/audio/{file}"))
            path.parent.mkdir(parents=True, exist_ok=True)
            fetched.replace(path)
        placed[name] = path
    return placed
