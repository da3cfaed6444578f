"""Small servers that speak OpenAI's and Deepgram's protocols, with pocketsphinx behind them."""

from __future__ import annotations

import asyncio
import contextlib
import email.parser
import io
import json
import sys
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from conftest import ROOT

sys.path.append(str(ROOT / "daemon/clients/python/examples"))


@contextlib.contextmanager
def openai_server() -> Iterator[str]:
    """Address of `/v1/audio/transcriptions`, for the token `secret` and the language `en`."""
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

    with ThreadingHTTPServer(("127.0.0.1", 0), Transcriptions) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def deepgram_server() -> Iterator[str]:
    """Address of live transcription, for the token `secret`."""
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

    port: list[int] = []
    is_ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with serve(listen, "127.0.0.1", 0) as server:
            port.append(next(iter(server.sockets)).getsockname()[1])
            is_ready.set()
            await asyncio.Event().wait()

    task = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])), daemon=True)
    thread.start()
    assert is_ready.wait(30)
    yield f"ws://127.0.0.1:{port[0]}"
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
