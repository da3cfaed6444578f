"""Archives, unpacked so that every file that is there is whole and lies in its folder."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from ..data import DataError
from .fetching import BLOCK_BYTES, need_room, room_in

# Longest name, and most entries, that an archive of audio has any use for.
MAX_NAME_BYTES = 255
MAX_ENTRIES = 5_000_000


class Parts(io.RawIOBase):
    """Files one after the other, read as one: an archive that was published in parts."""

    def __init__(self, paths: list[Path]) -> None:
        self.handles = [path.open("rb") for path in paths]
        self.starts = [0]
        for path in paths:
            self.starts.append(self.starts[-1] + path.stat().st_size)
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.starts[-1]}[whence]
        if base + offset < 0:
            raise OSError("seek before the start")
        self.at = base + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer) -> int:
        for handle, (start, end) in zip(self.handles, pairwise(self.starts), strict=True):
            if start <= self.at < end:
                handle.seek(self.at - start)
                block = handle.read(min(len(buffer), end - self.at))
                buffer[: len(block)] = block
                self.at += len(block)
                return len(block)
        return 0

    def close(self) -> None:
        for handle in self.handles:
            handle.close()
        super().close()


@dataclass(frozen=True)
class Entry:
    """A file in an archive or in a folder; in a folder it may have changed at ``changed_ns``."""

    name: PurePosixPath
    size: int
    open: Callable[[], io.BufferedIOBase]
    changed_ns: int = 0


@contextmanager
def entries(name: str, paths: list[Path]) -> Iterator[list[Entry]]:
    """The files of a folder, or of an archive that may be in several parts."""
    if len(paths) == 1 and paths[0].is_dir():
        yield _of_folder(paths[0])
        return
    with io.BufferedReader(Parts(paths), BLOCK_BYTES) as stream:
        if zipfile.is_zipfile(stream):
            stream.seek(0)
            with _named_faults(name), zipfile.ZipFile(stream) as archive:
                yield _of_zip(name, archive)
            return
        stream.seek(0)
        try:
            archive = tarfile.TarFile.open(fileobj=stream, mode="r:*")
        except tarfile.TarError:
            raise DataError(f"{name}: {_no_archive(stream)}") from None
        with archive, _named_faults(name):
            yield _of_tar(name, archive)


def _no_archive(stream: io.BufferedReader) -> str:
    stream.seek(0)
    head = stream.read(512)
    if head.startswith(b"PK"):
        return "the zip archive is cut: its end is missing; fetch it again, and give all its parts in order"
    if head.lstrip()[:1] == b"<":
        return "this is a web page and no archive; the address may need a login"
    return "this is no zip or tar archive"


@contextmanager
def _named_faults(name: str):
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{name}: the archive is damaged or cut: {error}; fetch it again") from error


def _of_folder(folder: Path) -> list[Entry]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            relative, facts = PurePosixPath(path.relative_to(folder).as_posix()), path.stat()
            found.append(Entry(relative, facts.st_size, lambda path=path: path.open("rb"), facts.st_mtime_ns))
    return found


def _of_zip(name: str, archive: zipfile.ZipFile) -> list[Entry]:
    found = []
    for info in archive.infolist():
        if info.is_dir():
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{name}: entry {info.filename!r} is a link; an archive of a corpus has none")
        found.append(Entry(_safe(name, info.filename), info.file_size, lambda info=info: archive.open(info)))
    return _bounded(name, found)


def _of_tar(name: str, archive: tarfile.TarFile) -> list[Entry]:
    found = []
    for info in archive:
        if info.isdir():
            continue
        if not info.isfile():
            raise DataError(f"{name}: entry {info.name!r} is a link or a device; an archive of a corpus has none")
        found.append(Entry(_safe(name, info.name), info.size, lambda info=info: archive.extractfile(info)))
    return _bounded(name, found)


def _safe(archive: str, name: str) -> PurePosixPath:
    """The name of an entry, which stays below the folder that it is unpacked to."""
    path = PurePosixPath(name)
    is_outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    if is_outside or not path.parts or any(ord(c) < 32 for c in name):
        raise DataError(f"{archive}: entry {name!r} would lie outside the folder; nothing was unpacked")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in path.parts):
        raise DataError(f"{archive}: entry {name[:40]!r}… has a name of more than {MAX_NAME_BYTES} bytes")
    return path


def _bounded(name: str, found: list[Entry]) -> list[Entry]:
    if len(found) > MAX_ENTRIES:
        raise DataError(f"{name}: {len(found)} entries, at most {MAX_ENTRIES} are read")
    return found


def unpack(name: str, sources: list[Path], wanted: list[tuple[Entry, Path]], folder: Path) -> None:
    """Writes each entry to its path below ``folder``; ``sources`` are the files that the entries come from.

    What is there of these sources already stays; nothing is half-written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with room_in(folder):
        since_ns = _begun(folder / "archives" / f"{name}.unpacked", sources)
    missing = [(entry, path) for entry, path in wanted if not _is_there(entry, path, since_ns)]
    need_room(folder, sum(entry.size for entry, _ in missing))
    total = sum(entry.size for entry, _ in missing)
    with tqdm(total=total, desc=f"unpack {name}", unit="B", unit_scale=True, disable=not missing) as bar:
        for entry, path in missing:
            with room_in(folder), _named_faults(name):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(name, entry, path, bar)


def _begun(marker: Path, sources: list[Path]) -> int:
    """When these sources were first unpacked, by the clock of the disk: what is older came from others."""
    # The files of a folder have times of their own.
    facts = [(path, path.stat() if path.is_file() else None) for path in sources]
    text = json.dumps([[str(path.resolve()), *((f.st_size, f.st_mtime_ns) if f else ())] for path, f in facts])
    if not marker.is_file() or marker.read_text(encoding="utf-8") != text:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(text, encoding="utf-8")
    return marker.stat().st_mtime_ns


def _is_there(entry: Entry, path: Path, since_ns: int) -> bool:
    if not path.is_file():
        return False
    facts = path.stat()
    return facts.st_size == entry.size and facts.st_mtime_ns >= max(since_ns, entry.changed_ns)


def _write(name: str, entry: Entry, path: Path, bar: tqdm) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with entry.open() as stream, part.open("wb") as out:
            written = 0
            while block := stream.read(BLOCK_BYTES):
                written += len(block)
                if written > entry.size:
                    raise DataError(f"{name}: {entry.name} is longer than the archive declares")
                out.write(block)
                bar.update(len(block))
        if written != entry.size:
            raise DataError(f"{name}: {entry.name} has {written} of {entry.size} bytes; fetch the archive again")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
