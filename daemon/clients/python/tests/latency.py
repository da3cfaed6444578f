"""Measures what each foreign protocol adds to the daemon's own: the same events, at a follower and at another client.

    .venv/bin/python tests/latency.py [--seconds 60] [--server PROGRAM]

Each line is the time from the message of the own protocol to that of the other one, in ms: median, 95 %, number. The
clients are those of Deepgram, Wyoming and Eclipse Paho; that of vosk-server is as short as its own example.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import soundfile
from websockets.sync.client import connect

import conftest
from conftest import CONVERSATION, Server
from recognisers import free_port

FRAME_S = 0.02
FRAME_BYTES = 640
LIMIT_MS = 20.0


class Plain(threading.Thread):
    """A follower of all sessions by the own protocol: when each event came."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._socket = connect(url.replace("http", "ws") + "/v1/events?session=*")
        self.start()

    def run(self) -> None:
        for message in self._socket:
            self.events.append((time.perf_counter(), json.loads(message)))

    def first(self, fits: Callable[[dict[str, Any]], bool]) -> float | None:
        return next((at for at, event in self.events if fits(event)), None)


def paced(pcm: bytes, send: Callable[[bytes], None]) -> None:
    """Sends frames in real time."""
    began = time.perf_counter()
    for n, start in enumerate(range(0, len(pcm), FRAME_BYTES)):
        time.sleep(max(0.0, began + n * FRAME_S - time.perf_counter()))
        send(pcm[start : start + FRAME_BYTES])


def final_segment(session: str, start: float, end: float) -> Callable[[dict[str, Any]], bool]:
    """Whether an event is this segment, as it is final."""

    def fits(event: dict[str, Any]) -> bool:
        if event.get("session") != session or event["type"] != "segment" or not event["final"]:
            return False
        return abs(float(event["start"]) - start) < 0.002 and abs(float(event["end"]) - end) < 0.002

    return fits


def differences(pairs: Iterable[tuple[float, float | None]]) -> list[float]:
    return [(there - here) * 1000 for there, here in pairs if here is not None]


def websocket(server: Server, plain: Plain, pcm: bytes) -> list[float]:
    """The own protocol against itself: the publisher's connection, beside the follower's."""
    got: list[tuple[float, dict[str, Any]]] = []
    url = server.url.replace("http", "ws") + "/v1/stream?session=plain&sample_rate=16000"
    with connect(url) as socket:
        reader = threading.Thread(
            target=lambda: got.extend((time.perf_counter(), json.loads(message)) for message in socket)
        )
        reader.start()
        paced(pcm, socket.send)
        socket.send('{"type": "close"}')
        reader.join()
    numbered = [(at, event["seq"]) for at, event in got if "seq" in event]

    def numbered_as(seq: int) -> Callable[[dict[str, Any]], bool]:
        return lambda event: event.get("session") == "plain" and event.get("seq") == seq

    return [abs(ms) for ms in differences((at, plain.first(numbered_as(seq))) for at, seq in numbered)]


def deepgram(server: Server, plain: Plain, pcm: bytes) -> list[float]:
    """Final `Results` against final segments."""
    from deepgram import DeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    web = server.url.replace("http", "ws")
    here = DeepgramClientEnvironment(base=server.url, production=web, agent=web, agent_rest=server.url)
    client = DeepgramClient(api_key="none", environment=here)
    got: list[tuple[float, Any]] = []
    wanted: dict[str, Any] = {"model": "any", "encoding": "linear16", "sample_rate": 16000, "diarize": "true"}
    with client.listen.v1.connect(**wanted) as connection:
        reader = threading.Thread(
            target=lambda: got.extend((time.perf_counter(), message) for message in connection)
        )
        reader.start()
        paced(pcm, connection.send_media)
        connection.send_close_stream()
        reader.join()
    results = [(at, m) for at, m in got if m.type == "Results" and m.is_final]
    words = [(at, word) for at, m in results for word in m.channel.alternatives[0].words]
    return differences(
        (at, plain.first(final_segment("deepgram", word.start, word.end))) for at, word in words
    )


def vosk(server: Server, plain: Plain, pcm: bytes, port: int) -> list[float]:
    """Results against final segments. Its protocol answers frames, and so waits for the next one of 20 ms."""
    words: list[tuple[float, dict[str, Any]]] = []
    with connect(f"ws://127.0.0.1:{port}") as socket:
        socket.send(json.dumps({"config": {"sample_rate": 16000}}))

        def send(frame: bytes) -> None:
            socket.send(frame)
            answer = json.loads(socket.recv(60))
            at = time.perf_counter()
            words.extend((at, word) for word in answer.get("result", []))

        paced(pcm, send)
        socket.send('{"eof" : 1}')
        socket.recv(60)
    return differences(
        (at, plain.first(final_segment("vosk", word["start"], word["end"]))) for at, word in words
    )


def wyoming(plain: Plain, pcm: bytes, port: int) -> list[float]:
    """Transcripts of short utterances against the end of their sessions."""
    from wyoming.asr import Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncClient

    form: dict[str, Any] = {"rate": 16000, "width": 2, "channels": 1}

    async def utterance(part: bytes) -> float:
        async with AsyncClient.from_uri(f"tcp://127.0.0.1:{port}") as client:
            await client.write_event(AudioStart(**form, timestamp=0).event())
            for start in range(0, len(part), 3200):
                await client.write_event(AudioChunk(audio=part[start : start + 3200], **form).event())
            await client.write_event(AudioStop().event())
            while (event := await asyncio.wait_for(client.read_event(), 60)) is not None:
                if Transcript.is_type(event.type):
                    return time.perf_counter()
        raise AssertionError("no transcript")

    all_ms = []
    for start in range(0, len(pcm) - 96_000, 96_000):
        n_before = len(plain.events)
        at = asyncio.run(utterance(pcm[start : start + 96_000]))
        time.sleep(0.2)
        ends = [came for came, event in plain.events[n_before:] if event["type"] == "ended"]
        all_ms += [(at - came) * 1000 for came in ends[:1]]
    return all_ms


class Board:
    """A broker and a client of it: when each message about who speaks came."""

    def __init__(self, folder: Path) -> None:
        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self.port = free_port()
        (folder / "mosquitto.conf").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        command = ["mosquitto", "-c", str(folder / "mosquitto.conf")]
        path = f"{os.environ['PATH']}:/usr/sbin"
        self._broker = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PATH": path})
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)

        def take(_client: Any, _data: Any, message: Any) -> None:
            self.messages.append((time.perf_counter(), json.loads(message.payload)))

        self._client.on_message = take
        for _ in range(50):
            try:
                self._client.connect("127.0.0.1", self.port)
                break
            except ConnectionError:
                time.sleep(0.1)
        self._client.subscribe("diarized/+/speaking")
        self._client.loop_start()

    def differences(self, plain: Plain) -> list[float]:
        """Who begins to speak, against the first segment of it."""
        pairs, known = [], set()
        for at, message in self.messages:
            for speaker in message["speakers"]:
                key = (message["session"], speaker["id"])
                if key in known:
                    continue
                known.add(key)

                def is_first(event: dict[str, Any], key: tuple[str, str] = key) -> bool:
                    return event["type"] == "segment" and (event["session"], event["speaker"]) == key

                pairs.append((at, plain.first(is_first)))
        return differences(pairs)

    def stop(self) -> None:
        self._client.loop_stop()
        self._broker.terminate()
        self._broker.wait()


def report(name: str, all_ms: list[float]) -> bool:
    """Prints a line; whether the median holds the limit."""
    if not all_ms:
        print(f"{name:<10} nothing was measured", flush=True)
        return False
    all_ms.sort()
    median, most = all_ms[len(all_ms) // 2], all_ms[len(all_ms) * 95 // 100]
    print(f"{name:<10} median {median:6.1f} ms, 95 % {most:6.1f} ms, of {len(all_ms)}", flush=True)
    return median <= LIMIT_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="of the example conversation, for each protocol")
    parser.add_argument("--server", type=Path, default=conftest.BINARY, help="the program")
    args = parser.parse_args()
    conftest.BINARY = args.server
    samples, _ = soundfile.read(CONVERSATION, dtype="int16")
    pcm = samples.astype("<i2").tobytes()[: args.seconds * 32_000]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        board = Board(folder)
        ports = {"wyoming": free_port(), "vosk": free_port()}
        settings = [f"{kind}.listen=tcp://127.0.0.1:{port}" for kind, port in ports.items()]
        settings += [f"mqtt.url=mqtt://127.0.0.1:{board.port}", "log.level=error"]
        server = Server(folder, *(part for setting in settings for part in ("--set", setting)))
        plain = Plain(server.url)
        print(f"{args.seconds} s of the conversation by each protocol; limit of the median {LIMIT_MS:.0f} ms")
        held = [
            report("WebSocket", websocket(server, plain, pcm)),
            report("Deepgram", deepgram(server, plain, pcm)),
            report("vosk", vosk(server, plain, pcm, ports["vosk"])),
            report("Wyoming", wyoming(plain, pcm, ports["wyoming"])),
            report("MQTT", board.differences(plain)),
        ]
        server.stop()
        board.stop()
    return 0 if all(held) else 1


if __name__ == "__main__":
    raise SystemExit(main())
