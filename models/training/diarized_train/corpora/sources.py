"""What a user names as the source of a corpus: files, folders and addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from ..data import DataError


@dataclass(frozen=True)
class Source:
    """One file, folder or address, and the name by which it is known."""

    name: str
    path: Path | None = None
    url: str | None = None

    @property
    def shown(self) -> str:
        """For messages: an address without user and password, and without the query, which may hold a key."""
        return without_secrets(self.url) if self.url else str(self.path)


def without_secrets(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


def is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _name_of_url(url: str) -> str:
    """The file of ``?file=NAME`` where there is one, else the last part of the path."""
    parts = urlsplit(url)
    named = parse_qs(parts.query).get("file", [])
    return PurePosixPath(named[0] if named else unquote(parts.path)).name


def parse_source(text: str) -> Source:
    """``[NAME=]PATH`` or ``[NAME=]ADDRESS``; the name is that of the file unless it is given."""
    name, equals, rest = text.partition("=")
    named = bool(equals) and "/" not in name and "?" not in name and not Path(text).exists()
    where = rest if named else text
    if is_url(where):
        name = name if named else _name_of_url(where)
        if not _is_plain(name):
            raise DataError(f"{without_secrets(where)}: the address names no file; give it as NAME=ADDRESS")
        return Source(name, url=where)
    path = Path(where)
    if not path.exists():
        raise DataError(f"{where}: no such file or folder; sources are files, folders, http:// and https:// addresses")
    return Source(name if named else path.resolve().name, path=path)


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")
