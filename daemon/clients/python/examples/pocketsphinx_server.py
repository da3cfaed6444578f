"""A small speech recogniser for English: pocketsphinx behind vosk-server's WebSocket, or behind Wyoming.

pip install pocketsphinx websockets wyoming
python pocketsphinx_server.py                        # vosk's WebSocket on ws://127.0.0.1:2700
python pocketsphinx_server.py --wyoming --port 10300 # Wyoming on tcp://127.0.0.1:10300
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from pocketsphinx import Decoder, Endpointer
from websockets.asyncio.server import ServerConnection, serve

RATE = 16000


def words_of(decoder: Decoder, began: float) -> list[dict[str, Any]]:
    """Words of the utterance that has just ended, with times from the start of the stream."""
    real = (part for part in decoder.seg() if part.word[0] not in "<[")
    return [
        {
            "word": part.word.split("(")[0],
            "start": began + part.start_frame / 100,
            "end": began + (part.end_frame + 1) / 100,
            "conf": min(1.0, max(0.0, decoder.get_logmath().exp(part.prob))),
        }
        for part in real
    ]


class Stream:
    """Recognises one stream, utterance by utterance."""

    def __init__(self) -> None:
        self.decoder = Decoder(samprate=RATE, loglevel="FATAL")
        self.ends = Endpointer(sample_rate=RATE)
        self.rest = b""
        self.began = 0.0

    def take(self, pcm: bytes, is_last: bool = False) -> list[dict[str, Any]]:
        """Words of the utterances that end in this audio."""
        words: list[dict[str, Any]] = []
        self.rest += pcm
        size = self.ends.frame_bytes
        while len(self.rest) > size or (is_last and self.rest):
            frame, self.rest = self.rest[:size], self.rest[size:]
            was_speech = self.ends.in_speech
            is_end = is_last and not self.rest
            speech = self.ends.end_stream(frame) if is_end else self.ends.process(frame)
            if speech is None:
                continue
            if not was_speech:
                self.decoder.start_utt()
                self.began = self.ends.speech_start
            self.decoder.process_raw(speech)
            if not self.ends.in_speech:
                self.decoder.end_utt()
                words += words_of(self.decoder, self.began)
        return words

    def partial(self) -> str:
        """What is recognised of the utterance that goes on."""
        guess = self.decoder.hyp() if self.ends.in_speech else None
        return guess.hypstr if guess else ""


def final(words: list[dict[str, Any]]) -> str:
    text = " ".join(word["word"] for word in words)
    return json.dumps({"result": words, "text": text} if words else {"text": text})


async def vosk(socket: ServerConnection) -> None:
    """vosk-server's dialect: every frame is answered, with what is final or with a guess."""
    stream = Stream()
    async for message in socket:
        if isinstance(message, str):
            request = json.loads(message)
            if "eof" in request:
                await socket.send(final(await asyncio.to_thread(stream.take, b"", True)))
                return
            rate = request.get("config", {}).get("sample_rate", RATE)
            if rate != RATE:
                await socket.close(1008, f"sample_rate must be {RATE}")
            continue
        words = await asyncio.to_thread(stream.take, message)
        await socket.send(final(words) if words else json.dumps({"partial": stream.partial()}))


async def serve_wyoming(host: str, port: int) -> None:
    from wyoming.asr import Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.event import Event
    from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
    from wyoming.server import AsyncEventHandler, AsyncTcpServer

    us = Attribution(name="CMU Sphinx", url="https://cmusphinx.github.io")
    about: dict[str, Any] = {"attribution": us, "installed": True, "description": "pocketsphinx", "version": "5"}
    model = AsrModel(name="en-us", languages=["en"], **about)
    info = Info(asr=[AsrProgram(name="pocketsphinx", models=[model], **about)]).event()

    class Handler(AsyncEventHandler):
        pcm = b""

        async def handle_event(self, event: Event) -> bool:
            if Describe.is_type(event.type):
                await self.write_event(info)
            elif AudioStart.is_type(event.type):
                self.pcm = b""
            elif AudioChunk.is_type(event.type):
                self.pcm += AudioChunk.from_event(event).audio
            elif AudioStop.is_type(event.type):
                words = await asyncio.to_thread(Stream().take, self.pcm, True)
                await self.write_event(Transcript(text=" ".join(word["word"] for word in words)).event())
            return True

    server = AsyncTcpServer(host, port)
    await server.start(Handler)
    print(f"ready at tcp://{host}:{port}", flush=True)
    await asyncio.Event().wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description="pocketsphinx as a server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--wyoming", action="store_true")
    args = parser.parse_args()
    if args.wyoming:
        await serve_wyoming(args.host, args.port or 10300)
        return
    async with serve(vosk, args.host, 2700 if args.port is None else args.port, max_size=1 << 20) as server:
        print(f"ready at ws://{args.host}:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
