#!/usr/bin/env python3
"""Runs the commands of a tutorial in a fresh folder and compares what they print with what the page shows.

Usage: docs/tutorials/check.py PAGE…

``diarized`` of the PATH is run, or the program that DIARIZED names. The commands of a page are one script, so variables
and a server in the background last to its end. They see the clone by links to its folders, and a free port in place of
7007. A block of text behind commands is what they print. Numbers may differ a little, random ids altogether.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.S | re.M)
END = "@@@ end of block"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# More than any page needs on a busy machine.
PATIENCE_S = 900.0
# Ids of voices are random.
RANDOM = re.compile(r"\bv[0-9a-f]{16}\b")


def read(page: Path) -> list[tuple[str, str | None]]:
    """Commands, and what they print where the page shows it."""
    blocks: list[tuple[str, str | None]] = []
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "sh":
            blocks.append((text, None))
        else:
            blocks[-1] = (blocks[-1][0], text)
    return blocks


def is_near(shown: str, got: str) -> bool:
    """Whole numbers below 20 are counts and ids, and must agree; others may be a tenth off."""
    a, b = float(shown), float(got)
    if "." not in shown and a < 20:
        return a == b
    return abs(a - b) <= 0.1 * abs(a) + 0.5


def is_alike(shown: str, got: str) -> bool:
    shown, got = (RANDOM.sub("ID", " ".join(line.split())) for line in (shown, got))
    if NUMBER.split(shown) != NUMBER.split(got):
        return False
    return all(is_near(a, b) for a, b in zip(NUMBER.findall(shown), NUMBER.findall(got), strict=True))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def run(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; a script that hangs is ended with what it has started."""
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, trouble = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, trouble = process.communicate()
            trouble += f"not done after {PATIENCE_S:.0f} s\n"
    return process.returncode, said, trouble


def check(page: Path) -> list[str]:
    """What is wrong with the page: nothing, or lines that say it."""
    blocks = read(page)
    script = "set -euo pipefail\n" + "".join(f"{code}echo '{END}'\n" for code, _ in blocks)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIARIZED")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("models", "tests"):
            (folder / part).symlink_to(ROOT / part)
        programs = folder / "programs"
        programs.mkdir()
        if "DIARIZED" in os.environ:
            (programs / "diarized").symlink_to(Path(os.environ["DIARIZED"]).resolve())
        # A link would leave the packages of a virtual environment behind.
        python = programs / "python3"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        environment["PATH"] = f"{programs}:{environment['PATH']}"
        # A home of its own: no store and no configuration of the user is touched.
        environment |= {"HOME": name, "XDG_CONFIG_HOME": f"{name}/config", "XDG_DATA_HOME": f"{name}/data"}
        port = str(free_port())
        environment["DIARIZED_SERVER_LISTEN"] = f"127.0.0.1:{port}"
        code, said, trouble = run(script.replace("7007", port), folder, environment)
    outputs = said.split(f"{END}\n")
    faults = []
    if code != 0:
        failed = min(len(outputs), len(blocks)) - 1
        faults.append(f"exit code {code} in\n{blocks[failed][0]}{outputs[failed]}{trouble}")
    for (code, shown), got in zip(blocks, outputs, strict=False):
        if shown is not None and not same(shown, got):
            faults.append(f"{code}prints\n{got}and the page shows\n{shown}")
    return [f"{page.name}: {fault}" for fault in faults]


def same(shown: str, got: str) -> bool:
    pairs = (shown.splitlines(), got.splitlines())
    return len(pairs[0]) == len(pairs[1]) and all(map(is_alike, *pairs))


if __name__ == "__main__":
    found = [fault for page in sys.argv[1:] for fault in check(Path(page))]
    print("\n".join(found) or "the pages are right")
    sys.exit(bool(found) or len(sys.argv) < 2)
