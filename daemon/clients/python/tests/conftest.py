"""A real server, and the example conversation as PCM."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[4]
BINARY = Path(os.environ.get("DIARIZED", ROOT / "target/debug/diarized"))
CONVERSATION = ROOT / "tests/data/example/conversation.flac"


class Server:
    """`diarized serve` on a free port."""

    def __init__(self, folder: Path, *args: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIARIZED")}
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--voices", "--set", f"voices.path={folder}/voices.db"]
        command += ["--set", f"voices.key_file={folder}/voices.key", *args]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"ready at (http://\S+)", line)
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
