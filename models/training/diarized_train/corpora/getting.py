"""What every corpus needs: its sources as files that are there and checked, and a word on what was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .checksums import Checks
from .fetching import Patience, fetch
from .sources import Source


@dataclass
class Getting:
    """The sources of one corpus and the folder that it is prepared in."""

    folder: Path
    sources: list[Source]
    checks: Checks
    patience: Patience
    _paths: dict[str, Path] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def path(self, source: Source) -> Path:
        """Where the source lies: fetched first where it is an address, and checked once a run."""
        known = self._paths.get(source.shown)
        if known is not None:
            return known
        path = source.path or fetch(source, self.folder / "archives", self.patience)
        if path.is_file():
            self.checks.check(source.name, path, ours=source.path is None)
        self._paths[source.shown] = path
        return path

    def wrote(self, part: str, what: str) -> None:
        self._say(f"{self.folder / part}: {what}")

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def _say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)
