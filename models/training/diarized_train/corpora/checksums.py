"""Checksums of archives: as published, or from a list in the form of sha256sum and md5sum."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from tqdm import tqdm

from ..data import DataError
from .fetching import BLOCK_BYTES

_KINDS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_LINE = re.compile(r"^([0-9a-fA-F]+)\s+\*?(\S.*)$")


def read_checksums(path: Path) -> dict[str, str]:
    """Digest by the name of the file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of checksums: {error}") from error
    digests = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.match(line)
        if not found or len(found[1]) not in _KINDS:
            raise DataError(f"{path}:{number}: expected DIGEST NAME, as sha256sum and md5sum write")
        digests[Path(found[2]).name] = found[1].lower()
    return digests


class Checks:
    """Checks files against their digests; what was checked is remembered until the file changes."""

    def __init__(self, digests: dict[str, str], memory: Path) -> None:
        self.digests = digests
        self.memory = memory
        self.unchecked: list[str] = []

    def check(self, name: str, path: Path, *, ours: bool) -> None:
        """``ours`` is a file that was fetched here: a wrong one is removed, so that the next run fetches it again."""
        expected = self.digests.get(name)
        if expected is None:
            self.unchecked.append(name)
            return
        facts = path.stat()
        stamp = [str(path.resolve()), facts.st_size, facts.st_mtime_ns, expected]
        known = self._known()
        if known.get(name) == stamp:
            return
        kind = _KINDS[len(expected)]
        got = _digest(path, kind)
        if got != expected:
            what = "it was removed; run the same command again to fetch it" if ours else "fetch the file again"
            if ours:
                path.unlink()
            raise DataError(f"{path}: its {kind} is {got}, expected {expected}; {what}")
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        self.memory.write_text(json.dumps({**known, name: stamp}), encoding="utf-8")

    def _known(self) -> dict:
        try:
            known = json.loads(self.memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind)
    with (
        path.open("rb") as handle,
        tqdm(total=path.stat().st_size, desc=f"check {path.name}", unit="B", unit_scale=True) as bar,
    ):
        while block := handle.read(BLOCK_BYTES):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()
