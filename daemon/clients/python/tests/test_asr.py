"""`[asr]` with a real speech recogniser behind each protocol: pocketsphinx, with its English model."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Server, score
from diarized_client import Client
from recognisers import Running, free_port

EXAMPLES = ROOT / "daemon/clients/python/examples"
sys.path.append(str(EXAMPLES))
pytest.importorskip("pocketsphinx", reason="not run: a recogniser (pip install pocketsphinx)")

# The recogniser is about as fast as the audio on a busy machine: a part of the conversation is enough.
SECONDS = 30
PATIENT = ["--set", "asr.timeout_s=60", "--set", "asr.end_wait_s=60", "--set", "asr.queue_s=3600"]


@pytest.fixture(scope="module")
def vosk() -> Iterator[str]:
    running = Running("--port", str(free_port()))
    yield running.url
    running.stop()


@pytest.fixture(scope="module")
def wyoming() -> Iterator[str]:
    pytest.importorskip("wyoming", reason="not run: Wyoming (pip install wyoming)")
    running = Running("--wyoming", "--port", str(free_port()))
    yield running.url
    running.stop()


def who_said_what(folder: Path, speech: bytes, *args: str) -> tuple[list[dict[str, Any]], str]:
    """Words and transcript of the begin of the conversation; nothing is lost and nothing fails."""
    server = Server(folder, *PATIENT, *args)
    with Client(server.url) as client, client.publish("talk") as stream:
        stream.send(speech[: SECONDS * 32000])
        stream.finish()
        words = client.snapshot("talk")["words"]
        transcript = client.export("talk", "txt")
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        metrics = answer.read().decode()
    server.stop()
    assert "diarized_asr_failures_total 0\n" in metrics, metrics
    assert "diarized_asr_audio_dropped_seconds_total 0\n" in metrics, metrics
    assert all(word["final"] for word in words)
    return words, transcript


def check(words: list[dict[str, Any]], transcript: str, least_right: float) -> None:
    right, total = score(words)
    print(f"{right} of {total} words inside one person's speech get that person; {len(words)} words")
    assert len(words) > 50
    assert right >= least_right * total, (right, total, transcript)
    assert "S1: good morning everybody" in transcript


def test_vosk(vosk: str, speech: bytes, tmp_path: Path) -> None:
    words, transcript = who_said_what(tmp_path, speech, "--set", "asr.kind=vosk", "--set", f"asr.url={vosk}")
    check(words, transcript, 0.95)
    assert all("confidence" in word for word in words)


def test_wyoming(wyoming: str, speech: bytes, tmp_path: Path) -> None:
    words, transcript = who_said_what(tmp_path, speech, "--set", "asr.kind=wyoming", "--set", f"asr.url={wyoming}")
    # The protocol has no times of words: they share the time of the utterance.
    check(words, transcript, 0.8)


def test_openai(speech: bytes, tmp_path: Path) -> None:
    import email.parser
    import io
    import wave

    from pocketsphinx_server import Stream as Recogniser

    class Transcriptions(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/audio/transcriptions" and self.headers["Authorization"] == "Bearer secret"
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            body = head + self.rfile.read(int(self.headers["Content-Length"]))
            parts: dict[str, bytes] = {}
            for part in email.parser.BytesParser().parsebytes(body).walk():
                name = str(part.get_param("name", header="content-disposition"))
                content = part.get_payload(decode=True)
                if isinstance(content, bytes):
                    parts[name] = content
            assert parts["response_format"] == b"verbose_json" and parts["language"] == b"en"
            with wave.open(io.BytesIO(parts["file"])) as audio:
                assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (16000, 1, 2)
                words = Recogniser().take(audio.readframes(audio.getnframes()), is_last=True)
            text = " ".join(word["word"] for word in words)
            answer = json.dumps({"text": text, "words": words}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    (tmp_path / "token").write_text("secret\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Transcriptions) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"asr.url=http://127.0.0.1:{server.server_port}"
        args = ["asr.kind=openai", url, f"asr.token_file={tmp_path}/token", "asr.language=en"]
        words, transcript = who_said_what(tmp_path, speech, *(part for arg in args for part in ("--set", arg)))
        server.shutdown()
    check(words, transcript, 0.95)


def test_deepgram(speech: bytes, tmp_path: Path) -> None:
    from pocketsphinx_server import Stream as Recogniser
    from websockets.asyncio.server import ServerConnection, serve

    def results(words: list[dict[str, Any]], is_final: bool, text: str) -> str:
        found = [{**word, "confidence": word["conf"]} for word in words]
        channel = {"alternatives": [{"transcript": text, "confidence": 0.9, "words": found}]}
        return json.dumps({"type": "Results", "is_final": is_final, "channel": channel})

    async def listen(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path.startswith("/v1/listen?encoding=linear16&sample_rate=16000")
        assert connection.request.headers["Authorization"] == "Token secret"
        recogniser = Recogniser()
        async for message in connection:
            is_last = isinstance(message, str) and json.loads(message)["type"] == "CloseStream"
            if isinstance(message, str) and not is_last:
                continue
            pcm = message if isinstance(message, bytes) else b""
            words = await asyncio.to_thread(recogniser.take, pcm, is_last)
            if words:
                await connection.send(results(words, True, " ".join(word["word"] for word in words)))
            elif partial := recogniser.partial():
                await connection.send(results([], False, partial))
            if is_last:
                await connection.send(json.dumps({"type": "Metadata", "duration": 1.0}))
                return

    ready: list[int] = []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with serve(listen, "127.0.0.1", 0) as server:
            ready.append(next(iter(server.sockets)).getsockname()[1])
            await asyncio.Event().wait()

    task = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])), daemon=True)
    thread.start()
    while not ready:
        pass
    (tmp_path / "token").write_text("secret\n")
    args = ["asr.kind=deepgram", f"asr.url=ws://127.0.0.1:{ready[0]}", f"asr.token_file={tmp_path}/token"]
    words, transcript = who_said_what(tmp_path, speech, *(part for arg in args for part in ("--set", arg)))
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    check(words, transcript, 0.95)
