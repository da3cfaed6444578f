"""Compares the load of sources with that of as many sessions over WebSocket, on the same audio in real time.

    .venv/bin/python tests/source_load.py [--number 20] [--seconds 60] [--server PROGRAM]

Sources are files that ffmpeg reads; sessions are sent by `diarized stream`. Printed are processor seconds for each
second of the measurement, of the server and of what feeds it, the largest lag and the windows in the queue at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import conftest
from conftest import CONVERSATION, Server

TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP_S = 5.0
# The work of the server for sources, in that for sessions: equal, but for the error of the measurement.
LIMIT = 1.1


@dataclass
class Load:
    """What was measured; processor time is in seconds for each second."""

    server: float
    feeders: float
    lag_s: float
    waiting: float

    def line(self, name: str) -> str:
        """The figures as a line."""
        all_of_it = self.server + self.feeders
        return (
            f"{name:<9} server {self.server:.3f}, feeders {self.feeders:.3f}, together {all_of_it:.3f} processors; "
            f"largest lag {self.lag_s:.2f} s; {self.waiting:.0f} windows wait at the end"
        )


def stat_of(pid: int) -> tuple[int, float]:
    """Parent and processor seconds of a process."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent, _ = stat_of(int(entry.name))
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


def metrics(server: Server) -> dict[str, float]:
    """The plain numbers of /metrics."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        page = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^diarized_(\w+) (\S+)$", page, re.M)}


def measure(server: Server, feeders: list[int], seconds: float) -> Load:
    """Measures for so long, after a warm-up."""
    time.sleep(WARM_UP_S)
    before = [stat_of(pid)[1] for pid in (server.process.pid, *feeders)]
    began, lag_s = time.monotonic(), 0.0
    while time.monotonic() - began < seconds:
        time.sleep(1)
        lag_s = max(lag_s, metrics(server)["lag_seconds_max"])
    took = time.monotonic() - began
    after = [stat_of(pid)[1] for pid in (server.process.pid, *feeders)]
    used = [(late - early) / took for early, late in zip(before, after, strict=True)]
    return Load(used[0], sum(used[1:]), lag_s, metrics(server)["inference_queue"])


def of_sources(folder: Path, number: int, seconds: float) -> Load:
    """The load of files that the daemon opens by itself."""
    sources = [part for n in range(number) for part in ("--source", f"s{n}={CONVERSATION}")]
    server = Server(folder, *sources, "--set", "log.level=error")
    while metrics(server)["sessions"] < number:
        time.sleep(0.2)
    load = measure(server, children_of(server.process.pid), seconds)
    server.stop()
    return load


def of_sessions(folder: Path, number: int, seconds: float) -> Load:
    """The load of clients over WebSocket."""
    server = Server(folder, "--set", "log.level=error")
    url, quiet = server.url.replace("http", "ws"), subprocess.DEVNULL
    command = [conftest.BINARY, "stream", CONVERSATION, "--url", url, "--speed", "1"]
    clients = [subprocess.Popen(command, stdout=quiet, stderr=quiet) for _ in range(number)]
    while metrics(server)["sessions"] < number:
        time.sleep(0.2)
    load = measure(server, [client.pid for client in clients], seconds)
    for client in clients:
        client.kill()
        client.wait()
    server.stop()
    return load


def main() -> int:
    """Measures both and compares them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--number", type=int, default=20, help="of sources, and of sessions")
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement, less than the conversation has")
    parser.add_argument("--server", type=Path, default=conftest.BINARY, help="the program")
    args = parser.parse_args()
    conftest.BINARY = args.server
    with tempfile.TemporaryDirectory() as name:
        sessions = of_sessions(Path(name), args.number, args.seconds)
        print(sessions.line("sessions"), flush=True)
        sources = of_sources(Path(name), args.number, args.seconds)
        print(sources.line("sources"), flush=True)
    ratio = sources.server / sessions.server
    each = 1000 * sources.feeders / args.number
    print(f"the server does {ratio:.2f} times the work; ffmpeg adds {each:.1f} thousandths of a processor a source")
    return 0 if ratio <= LIMIT and sources.lag_s <= sessions.lag_s + 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
