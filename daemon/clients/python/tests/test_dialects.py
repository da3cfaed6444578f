"""Servers of the daemon for clients that others wrote: Wyoming, vosk's WebSocket, Deepgram's live transcription."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.sync.client import connect

from conftest import BINARY, CONVERSATION, ROOT, Server
from diarized_client import Client
from recognisers import Running, free_port

sys.path.append(str(ROOT / "daemon/clients/python/examples"))
SECONDS = 20


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    pytest.importorskip("pocketsphinx", reason="not run: a recogniser (pip install pocketsphinx)")
    pytest.importorskip("wyoming", reason="not run: Wyoming (pip install wyoming)")
    running = Running("--wyoming", "--port", str(free_port()))
    yield running.url
    running.stop()


class Ports:
    """A daemon with a recogniser, that serves the other protocols."""

    def __init__(self, folder: Path, asr: str | None, *settings: str) -> None:
        self.wyoming, self.vosk = free_port(), free_port()
        args = [f"wyoming.listen=tcp://127.0.0.1:{self.wyoming}", f"vosk.listen=tcp://127.0.0.1:{self.vosk}"]
        if asr:
            args += ["asr.kind=wyoming", f"asr.url={asr}", "asr.timeout_s=60", "asr.queue_s=3600"]
        self.server = Server(folder, *(part for arg in [*args, *settings] for part in ("--set", arg)))
        self.url = self.server.url


@pytest.fixture(scope="module")
def ports(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    running = Ports(tmp_path_factory.mktemp("ports"), upstream, "wyoming.text=[{name}] {text}", "vosk.vectors=true")
    yield running
    running.server.stop()


def turn(speech: bytes, start_s: float, end_s: float) -> bytes:
    return speech[int(start_s * 16000) * 2 : int(end_s * 16000) * 2]


def first_turn() -> tuple[float, float, str]:
    start, length, who = (CONVERSATION.with_suffix(".rttm").read_text().splitlines()[0].split()[n] for n in (3, 4, 7))
    return float(start), float(start) + float(length), who


async def wyoming_events(uri: str, pcm: bytes, is_paced: bool = False) -> list[Any]:
    """What a Wyoming client gets for one utterance."""
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncClient

    form: dict[str, Any] = {"rate": 16000, "width": 2, "channels": 1}
    events = []
    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(**form, timestamp=0).event())
        for start in range(0, len(pcm), 3200):
            await client.write_event(AudioChunk(audio=pcm[start : start + 3200], **form).event())
            if is_paced:
                await asyncio.sleep(0.1)
        await client.write_event(AudioStop().event())
        while (event := await asyncio.wait_for(client.read_event(), 60)) is not None:
            events.append(event)
            if Transcript.is_type(event.type):
                return events
    raise AssertionError(f"no transcript: {events}")


def test_wyoming_describes_itself(ports: Ports) -> None:
    from wyoming.client import AsyncClient
    from wyoming.info import Describe, Info
    from wyoming.ping import Ping, Pong

    async def ask() -> tuple[Info, Pong]:
        async with AsyncClient.from_uri(f"tcp://127.0.0.1:{ports.wyoming}") as client:
            await client.write_event(Describe().event())
            info = await client.read_event()
            await client.write_event(Ping(text="a").event())
            pong = await client.read_event()
            assert info is not None and pong is not None
            return Info.from_event(info), Pong.from_event(pong)

    info, pong = asyncio.run(asyncio.wait_for(ask(), 30))
    assert pong.text == "a"
    program = info.asr[0]
    assert program.name == "diarized" and program.installed and program.supports_transcript_streaming
    assert program.models[0].languages == ["en"]


def test_wyoming_names_who_speaks(ports: Ports, speech: bytes) -> None:
    from wyoming.asr import Transcript

    start, end, who = first_turn()
    with urllib.request.urlopen(
        urllib.request.Request(f"{ports.url}/v1/speakers?name={who.title()}", wav(speech, who), method="POST")
    ) as answer:
        voice = json.load(answer)["id"]
    pcm = turn(speech, start, end)
    events = asyncio.run(wyoming_events(f"tcp://127.0.0.1:{ports.wyoming}", pcm))
    kinds = [event.type for event in events]
    assert kinds.count("voice-started") >= 1 and kinds.count("voice-started") == kinds.count("voice-stopped")
    transcript = Transcript.from_event(events[-1])
    assert transcript.context is not None and transcript.language == "en"
    speaker = transcript.context["speaker"]
    assert speaker["name"] == who.title() and speaker["voice"] == voice, speaker
    assert 0.5 < speaker["probability"] <= 1 and speaker["stranger"] is False
    assert transcript.text.startswith(f"[{who.title()}] good morning everybody"), transcript.text


def wav(speech: bytes, who: str) -> bytes:
    """What one person says in the conversation, as a file."""
    import io

    pcm = b""
    for line in CONVERSATION.with_suffix(".rttm").read_text().splitlines():
        parts = line.split()
        if parts[7] == who:
            pcm += turn(speech, float(parts[3]), float(parts[3]) + float(parts[4]))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(pcm[: 15 * 32000])
    return out.getvalue()


def test_wyoming_over_a_unix_socket_and_without_a_recogniser(tmp_path: Path, speech: bytes) -> None:
    from wyoming.asr import Transcript

    path = tmp_path / "socket"
    server = Server(tmp_path, "--set", f"wyoming.listen=unix://{path}")
    events = asyncio.run(wyoming_events(f"unix://{path}", speech[: 8 * 32000]))
    transcript = Transcript.from_event(events[-1])
    assert transcript.text == ""
    assert transcript.context == {"speaker": {"id": "S1", "stranger": True}}
    server.stop()
    assert not path.exists()


def test_wyoming_is_found_on_the_network(tmp_path: Path) -> None:
    zeroconf = pytest.importorskip("zeroconf", reason="not run: zeroconf (pip install zeroconf)")
    port = free_port()
    settings = (f"wyoming.listen=tcp://0.0.0.0:{port}", "wyoming.allow_insecure=true")
    found: list[str] = []

    class Listener(zeroconf.ServiceListener):  # type: ignore[misc, name-defined]
        def add_service(self, zc: Any, kind: str, name: str) -> None:
            found.append(f"+{zc.get_service_info(kind, name).port}")

        def remove_service(self, zc: Any, kind: str, name: str) -> None:
            found.append(f"-{name.split('.')[0].rsplit('-')[-1]}")

        def update_service(self, *_: Any) -> None:
            """Nothing."""

    with zeroconf.Zeroconf() as network:
        zeroconf.ServiceBrowser(network, "_wyoming._tcp.local.", Listener())
        server = Server(tmp_path, *(part for setting in settings for part in ("--set", setting)))
        until(lambda: f"+{port}" in found)
        server.stop()
        until(lambda: f"-{port}" in found)


def until(is_so: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < 30
        time.sleep(0.1)


def test_wyoming_refuses_lies(ports: Ports) -> None:
    import socket

    for line in (b'{"type": "audio-chunk", "payload_length": 10485760}\n', b"x" * (10 << 20), b"[]\n"):
        with socket.create_connection(("127.0.0.1", ports.wyoming), timeout=30) as tcp:
            got = b""
            try:
                tcp.sendall(line)
                while part := tcp.recv(4096):
                    got += part
            except ConnectionError:
                pass
            assert b'"error"' in got, got
    test_wyoming_describes_itself(ports)


def vosk(ports: Ports, speech: bytes, config: dict[str, Any], eof: str | bytes) -> list[dict[str, Any]]:
    """As vosk-server's own test client: one answer for each frame."""
    with connect(f"ws://127.0.0.1:{ports.vosk}") as socket:
        socket.send(json.dumps({"config": config}))
        answers = []
        for start in range(0, len(speech), 8000):
            socket.send(speech[start : start + 8000])
            answers.append(json.loads(socket.recv(60)))
        socket.send(eof)
        answers.append(json.loads(socket.recv(60)))
        with pytest.raises(websockets.ConnectionClosedOK):
            socket.recv(60)
        return answers


def test_vosk(ports: Ports, speech: bytes) -> None:
    config = {"sample_rate": 16000.0, "words": True, "spk": True}
    answers = vosk(ports, speech[: SECONDS * 32000], config, '{"eof" : 1}')
    assert all(("partial" in answer) != ("text" in answer) for answer in answers)
    results = [answer for answer in answers if answer.get("result")]
    words = [word for answer in results for word in answer["result"]]
    assert len(words) > 25 and " ".join(word["word"] for word in words).startswith("good morning everybody")
    assert all(word["start"] <= word["end"] <= SECONDS and 0 <= word["conf"] <= 1 for word in words)
    assert len({word["speaker"] for word in words if "speaker" in word}) >= 2
    vectors = [answer["spk"] for answer in results if "spk" in answer]
    assert vectors and all(len(vector) > 100 for vector in vectors)


def test_vosk_with_the_client_of_its_package(ports: Ports, speech: bytes, tmp_path: Path) -> None:
    package = pytest.importorskip("vosk.transcriber.transcriber", reason="not run: vosk's client (pip install vosk)")
    if shutil.which("ffmpeg") is None:
        pytest.skip("not run: vosk's client, because ffmpeg is not installed")
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(speech[: SECONDS * 32000])
    # Its constructor loads a recogniser of its own, which a client of a server does not need.
    client = package.Transcriber.__new__(package.Transcriber)
    client.args = argparse.Namespace(server=f"ws://127.0.0.1:{ports.vosk}", output_type="txt")

    async def talk() -> tuple[list[dict[str, Any]], int]:
        return await client.recognize_stream_server(await client.resample_ffmpeg_async(path))  # type: ignore[no-any-return]

    results, n_bytes = asyncio.run(asyncio.wait_for(talk(), 120))
    assert n_bytes == SECONDS * 32000
    assert str(client.format_result(results)).startswith("good morning everybody")
    client.args.output_type = "srt"
    assert "good morning everybody" in client.format_result(results)


def test_vosk_without_a_recogniser(tmp_path: Path, speech: bytes) -> None:
    ports = Ports(tmp_path, None)
    answers = vosk(ports, speech[: SECONDS * 32000], {"sample_rate": "16000"}, b'{"eof":1}')
    segments = [word for answer in answers for word in answer.get("result", [])]
    assert len(segments) >= 2 and {word["word"] for word in segments} >= {"S1"}
    with connect(f"ws://127.0.0.1:{ports.vosk}") as socket:
        socket.send('{"config": {"spk": true}}')
        assert "vosk.vectors" in json.loads(socket.recv(30))["error"]
    # A web page of another site is refused.
    with pytest.raises(websockets.InvalidStatus):
        connect(f"ws://127.0.0.1:{ports.vosk}", origin=websockets.Origin("http://evil.example"))
    ports.server.stop()


def test_a_client_of_the_server_hears_the_same_session(ports: Ports, speech: bytes) -> None:
    vosk(ports, speech[: 6 * 32000], {"sample_rate": 16000}, '{"eof" : 1}')
    with Client(ports.url) as client:
        sessions = [session["session"] for session in client.sessions()]
    assert any(session.startswith("vosk") for session in sessions), sessions


def deepgram_code() -> str:
    """The example of docs/integrations.md."""
    document = (ROOT / "docs/integrations.md").read_text()
    found: list[str] = re.findall(r"```python\n(.*?)```", document, re.S)
    return next(code for code in found if "DeepgramClient" in code)


def deepgram(server: Server, pcm: bytes, **query: Any) -> list[Any]:
    pytest.importorskip("deepgram", reason="not run: Deepgram's client (pip install deepgram-sdk)")
    from deepgram import DeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    ws = server.url.replace("http", "ws")
    here = DeepgramClientEnvironment(base=server.url, production=ws, agent=ws, agent_rest=server.url)
    client = DeepgramClient(api_key=query.pop("token", "none"), environment=here)
    usual = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16000, "diarize": "true"}
    with client.listen.v1.connect(**{**usual, **query}) as connection:
        connection.send_keep_alive()
        for start in range(0, len(pcm), 3200):
            connection.send_media(pcm[start : start + 3200])
        connection.send_finalize()
        connection.send_close_stream()
        return list(connection)


def test_deepgram(ports: Ports, speech: bytes) -> None:
    pcm = speech[: SECONDS * 32000]
    messages = deepgram(ports.server, pcm, interim_results="true", vad_events="true")
    kinds = {message.type for message in messages}
    assert kinds == {"Results", "Metadata", "SpeechStarted"}, kinds
    assert messages[-1].type == "Metadata" and messages[-1].duration == SECONDS
    results = [message for message in messages if message.type == "Results"]
    assert any(message.from_finalize for message in results)
    final = [message for message in results if message.is_final]
    words = [word for message in final for word in message.channel.alternatives[0].words]
    assert len(words) > 25 and " ".join(word.word for word in words).startswith("good morning everybody")
    assert len({word.speaker for word in words if word.speaker is not None}) >= 2
    assert all(message.channel.alternatives[0].words for message in results if not message.is_final)


def test_the_deepgram_example_runs(ports: Ports, speech: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("deepgram", reason="not run: Deepgram's client (pip install deepgram-sdk)")
    address = ports.url.removeprefix("http://")
    exec(deepgram_code().replace("127.0.0.1:7007", address), {"pcm": speech[: 6 * 32000]})
    assert "('good', 0)" in capsys.readouterr().out


def test_deepgram_asks_for_a_token_and_refuses_by_name(tmp_path: Path, speech: bytes) -> None:
    pytest.importorskip("deepgram", reason="not run: Deepgram's client (pip install deepgram-sdk)")
    from deepgram.core.api_error import ApiError

    # Which of the two depends on the version of websockets.
    refusals = (ApiError, websockets.InvalidStatus)
    tokens = str(tmp_path / "tokens")
    add: list[str | Path] = [BINARY, "token", "add", "dg", "--scope", "publish", "--file", tokens]
    made = subprocess.run(add, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    token = re.search(r"\S{20,}", made.stdout)
    assert token, made.stdout
    server = Server(tmp_path, "--set", f"server.token_file={tokens}")
    with pytest.raises(refusals, match="401"):
        deepgram(server, b"", token="wrong")
    with pytest.raises(refusals, match="400"):
        deepgram(server, b"", token=token[0], smart_format="true")
    messages = deepgram(server, speech[: 6 * 32000], token=token[0])
    words = [word for m in messages if m.type == "Results" for word in m.channel.alternatives[0].words]
    assert {word.word for word in words} == {"S1"}
    server.stop()
