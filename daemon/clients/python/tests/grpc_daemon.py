"""A daemon that serves gRPC, and a client of it made by grpcio out of the descriptions."""

from __future__ import annotations

import io
import re
import resource
import sys
import threading
import time
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from conftest import CONVERSATION, ROOT, Server
from recognisers import free_port

grpc = pytest.importorskip("grpc", reason="not run: gRPC (pip install grpcio)")
PROTO = ROOT / "daemon/proto"
FILES = ["voice_personification.proto", "diarized/v1/diarizer.proto"]
SECONDS = 30
FRAME = 3200


class Stubs:
    """What a client makes of the descriptions."""

    def __init__(self, folder: Path) -> None:
        from grpc_tools import protoc

        out = [
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            f"--descriptor_set_out={folder}/description.bin",
        ]
        assert protoc.main(["protoc", f"-I{PROTO}", "--include_imports", *out, *FILES]) == 0
        sys.path.insert(0, str(folder))
        import voice_personification_pb2 as vp  # type: ignore[import-not-found]
        import voice_personification_pb2_grpc as services  # type: ignore[import-not-found]
        from diarized.v1 import diarizer_pb2 as live  # type: ignore[import-not-found]
        from diarized.v1 import diarizer_pb2_grpc as diarizer

        self.vp, self.services, self.live, self.diarizer = vp, services, live, diarizer
        self.description = (folder / "description.bin").read_bytes()

    def audio(self, name: str, data: bytes) -> Any:
        return self.vp.AudioRequest(filename=name, audio=data)


class Grpc:
    """A daemon that serves gRPC."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_port()
        settings = (f"grpc.listen=127.0.0.1:{self.port}", *settings)
        self.server = Server(folder, *(part for setting in settings for part in ("--set", setting)))
        self.address = f"127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Resident memory in bytes."""
        pages = int(Path(f"/proc/{self.server.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def metric(self, line: str) -> float:
        page = urllib.request.urlopen(f"{self.server.url}/metrics").read().decode()
        found = re.search(rf"^diarized_{re.escape(line)} (\S+)$", page, re.M)
        assert found, f"{line} is missing"
        return float(found[1])


class Peak:
    """The most memory of a daemon while this looks."""

    def __init__(self, running: Grpc) -> None:
        self.running, self.most, self.is_over = running, 0, False
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self) -> None:
        while not self.is_over:
            self.most = max(self.most, self.running.memory())
            time.sleep(0.02)

    def stop(self) -> int:
        self.is_over = True
        self.thread.join()
        return self.most


class Silent:
    """A stream that stays open without a message."""

    def __init__(self, stubs: Stubs, pcm: bytes, **fields: Any) -> None:
        self.over = threading.Event()
        self.messages = self._messages(stubs, pcm, fields)

    def _messages(self, stubs: Stubs, pcm: bytes, fields: dict[str, Any]) -> Iterator[Any]:
        yield from audio_of(stubs, pcm, **fields)
        self.over.wait()


def wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(pcm)
    return file.getvalue()


def turns() -> list[tuple[float, float, str]]:
    """Who speaks when in the example conversation."""
    lines = [line.split() for line in CONVERSATION.with_suffix(".rttm").read_text().splitlines()]
    return [(float(line[3]), float(line[3]) + float(line[4]), line[7]) for line in lines]


def turn_pcm(n: int) -> bytes:
    samples, rate = soundfile.read(CONVERSATION, dtype="int16")
    start, end, _ = turns()[n]
    return bytes(samples[int(start * rate) : int(end * rate)].astype("<i2").tobytes())


def refused(call: Any, *args: Any, **more: Any) -> tuple[Any, str]:
    """Code and reason of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **more)
    return caught.value.code(), caught.value.details()


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    norm = sum(x * x for x in a) ** 0.5 * sum(x * x for x in b) ** 0.5
    return float(dot / norm)


def start(stubs: Stubs, **fields: Any) -> bytes:
    return bytes(stubs.live.Audio(start=stubs.live.Start(**fields)).SerializeToString())


def audio_of(stubs: Stubs, pcm: bytes, **fields: Any) -> Iterator[Any]:
    """A whole stream: the start, the audio, the end."""
    yield stubs.live.Audio(start=stubs.live.Start(**fields))
    for at in range(0, len(pcm), FRAME):
        yield stubs.live.Audio(pcm=pcm[at : at + FRAME])


def ended(events: list[Any]) -> Any:
    """The end of a session."""
    return next(event.ended for event in events if event.WhichOneof("body") == "ended")


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Stubs:
    pytest.importorskip("grpc_tools", reason="not run: gRPC (pip install grpcio-tools)")
    return Stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grpc]:
    running = Grpc(tmp_path_factory.mktemp("grpc"), "grpc.ecapa=same", "server.max_connections=40")
    yield running
    running.server.stop()


@pytest.fixture(scope="session")
def channel(running: Grpc) -> Iterator[Any]:
    with grpc.insecure_channel(running.address) as channel:
        yield channel
