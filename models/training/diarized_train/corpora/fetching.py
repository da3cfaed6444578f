"""Downloads that go on where they were interrupted."""

from __future__ import annotations

import base64
import errno
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from tqdm import tqdm

from ..data import DataError
from .sources import Source, without_secrets

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60.0
# Answers after which the same request may succeed.
PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Patience:
    """How often a broken download is taken up again, and the first pause before that; each one is twice as long."""

    tries: int = 6
    first_wait_s: float = 1.0


class FullDiskError(DataError):
    """There is no room; nothing half-written has the name of a whole file."""

    def __init__(self, folder: Path, needed: int | None = None) -> None:
        wanted = f", {needed / 1e6:.1f} MB more are needed" if needed else ""
        super().__init__(f"{folder}: the disk is full{wanted}; make room and run the same command again to go on")


@contextmanager
def room_in(folder: Path):
    """Turns a full disk into a clear error."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise FullDiskError(folder) from error
        raise


def need_room(folder: Path, n_bytes: int) -> None:
    """Refuses work that the disk cannot hold, before it begins."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise FullDiskError(folder, n_bytes - free)


def fetch(source: Source, folder: Path, patience: Patience) -> Path:
    """The file of an address, in ``folder``. What is half there is in ``NAME.part``, and is gone on with."""
    target = folder / source.name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    wait_s = patience.first_wait_s
    for left in reversed(range(patience.tries)):
        try:
            _fetch_once(source, target)
            return target
        except _Broken as broken:
            if left == 0:
                raise DataError(f"{source.shown}: {broken}; run the same command again to go on") from broken
            time.sleep(wait_s)
            wait_s *= 2
    raise DataError(f"{source.shown}: no try was allowed")


class _Broken(Exception):
    """The connection or the server failed in a way that may pass."""


def _request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """User and password of the address go into a header."""
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = {**headers, "Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return urllib.request.Request(plain, headers={"Accept-Encoding": "identity", **headers})


def _fetch_once(source: Source, target: Path) -> None:
    part, facts = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
    begun, validator = _begun(part, facts)
    headers = {"Range": f"bytes={begun}-", "If-Range": validator} if begun else {}
    try:
        answer = urllib.request.urlopen(_request(source.url, headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and begun:
            # The server has less than was taken: another file now lies there.
            part.unlink(missing_ok=True)
            raise _Broken("the file on the server is shorter than before") from error
        if error.code in PASSING_STATUS:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
        hint = "; it needs user and password: https://USER:PASSWORD@HOST/…" if error.code in (401, 403) else ""
        raise DataError(f"{source.shown}: the server answered {error.code} {error.reason}{hint}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"no connection: {getattr(error, 'reason', error)}") from error
    with answer:
        if answer.status != 206:
            begun = 0
        elif not (answer.headers.get("Content-Range") or "").startswith(f"bytes {begun}-"):
            part.unlink(missing_ok=True)
            raise _Broken("the server answered another range than was asked for")
        _receive(source, answer, part, facts, begun)
    os.replace(part, target)
    facts.unlink(missing_ok=True)


def _begun(part: Path, facts: Path) -> tuple[int, str]:
    """Bytes that are there, and what proves that the server still has the same file; none without a proof."""
    try:
        validator = json.loads(facts.read_text(encoding="utf-8"))["validator"]
        return (part.stat().st_size, validator) if validator else (0, "")
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def _receive(source: Source, answer: http.client.HTTPResponse, part: Path, facts: Path, begun: int) -> None:
    length = answer.headers.get("Content-Length")
    total = begun + int(length) if length and length.isdigit() else None
    # A weak ETag does not prove the same bytes.
    etag = answer.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    if total is not None:
        need_room(part.parent, total - begun)
    with room_in(part.parent):
        facts.write_text(json.dumps({"validator": validator, "url": without_secrets(source.url)}), encoding="utf-8")
        got = _copy(source.name, answer, part, begun, total)
    if total is not None and got < total:
        raise _Broken(f"the connection ended after {got} of {total} bytes")


def _copy(name: str, answer: http.client.HTTPResponse, part: Path, begun: int, total: int | None) -> int:
    got = begun
    bar = tqdm(total=total, initial=begun, desc=name, unit="B", unit_scale=True, unit_divisor=1024)
    with bar, part.open("r+b" if begun else "wb") as out:
        out.seek(begun)
        out.truncate()
        while True:
            try:
                block = answer.read1(BLOCK_BYTES)
            except (http.client.HTTPException, OSError) as error:
                raise _Broken(f"the connection broke after {got} bytes: {error}") from error
            if not block:
                return got
            out.write(block)
            got += len(block)
            bar.update(len(block))
