"""A real server, and the example conversation as PCM."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

# A helper with fixtures and checks.
pytest.register_assert_rewrite("grpc_daemon")

ROOT = Path(__file__).resolve().parents[4]
BINARY = Path(os.environ.get("DIARIZED", ROOT / "target/debug/diarized"))
CONVERSATION = ROOT / "tests/data/example/conversation.flac"


class Server:
    """`diarized serve` on a free port."""

    def __init__(self, folder: Path, *args: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIARIZED")}
        command: list[str | Path] = [BINARY, "serve", "--listen", "127.0.0.1:0", "--voices"]
        command += ["--set", f"voices.path={folder}/voices.db"]
        command += ["--set", f"voices.key_file={folder}/voices.key", *args]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"ready at (https?://\S+)", line)
        assert found, f"not ready: {line!r}"
        self.url = found[1]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0

    def stream(self, session: str, speed: str) -> threading.Thread:
        """Streams the example conversation by the binary's own client, in the background."""
        url = self.url.replace("http", "ws")
        command = [BINARY, "stream", CONVERSATION, "--url", url, "--session", session, "--speed", speed]
        work = threading.Thread(target=lambda: subprocess.run(command, check=True, capture_output=True))
        work.start()
        return work


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not BINARY.exists():
        pytest.fail(f"{BINARY} is missing: cargo build -p diarized")
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def speech() -> bytes:
    """The example conversation, 16 kHz, mono, signed 16 bit."""
    samples, rate = soundfile.read(CONVERSATION, dtype="int16")
    assert rate == 16000
    return bytes(samples.astype("<i2").tobytes())


def score(words: list[dict[str, Any]]) -> tuple[int, int]:
    """How many of the words inside one person's speech have that person, and how many there are."""
    turns = [line.split() for line in CONVERSATION.with_suffix(".rttm").read_text().splitlines()]
    spans = [(float(turn[3]), float(turn[3]) + float(turn[4]), turn[7]) for turn in turns]
    pairs: Counter[tuple[str, str]] = Counter()
    for word in words:
        inside = {who for start, end, who in spans if start <= word["start"] and word["end"] <= end}
        touched = {who for start, end, who in spans if start < word["end"] and word["start"] < end}
        if len(inside) == 1 and touched == inside:
            pairs[inside.pop(), word.get("speaker", "nobody")] += 1
    people: set[str] = set()
    labels = {"nobody"}
    right = 0
    for (person, label), n in pairs.most_common():
        if person not in people and label not in labels:
            people.add(person)
            labels.add(label)
            right += n
    return right, sum(pairs.values())
