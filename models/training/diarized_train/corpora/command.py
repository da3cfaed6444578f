"""The commands ``prepare voxceleb1``, ``prepare ami`` and ``prepare voxconverse``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data import DataError
from .checksums import Checks, read_checksums
from .fetching import Patience
from .getting import Getting
from .meetings import prepare_ami, prepare_voxconverse
from .sources import is_url, parse_source
from .voxceleb import PUBLISHED, prepare_voxceleb1


def prepare_corpus(args: argparse.Namespace) -> None:
    """Fetches, checks, unpacks and lists the corpus; every step goes on where it was interrupted."""
    folder = Path(args.folder)
    sources = [parse_source(text) for text in args.sources]
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two sources are called {twice[0]}; name one of them, as in NAME=PATH")
    digests = dict(PUBLISHED) if args.corpus == "voxceleb1" else {}
    if args.checksums:
        digests |= read_checksums(Path(args.checksums))
    checks = Checks(digests, folder / "archives" / "checked.json")
    getting = Getting(folder, sources, checks, Patience(tries=args.tries))
    if args.corpus == "voxceleb1":
        prepare_voxceleb1(getting)
    elif args.corpus == "voxconverse":
        prepare_voxconverse(getting)
    else:
        if args.audio and not is_url(args.audio):
            raise DataError(f"--audio ({args.audio}) must be an http:// or https:// address; name a folder as a source")
        prepare_ami(getting, args.audio, args.microphone, args.parts)
    if checks.unchecked:
        getting.note(f"not checked, for want of a checksum: {', '.join(sorted(set(checks.unchecked)))} (--checksums)")
