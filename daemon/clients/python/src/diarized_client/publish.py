"""Sends audio: opens a session, streams PCM into it, takes it up again after a break, and sees it to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .address import Address
from .backoff import Backoff
from .errors import Closed, DiarizedError
from .follow import DONE, GOING_AWAY, open_socket
from .model import Message, SessionModel

BYTES = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1}
"""Bytes of a sample in each encoding."""
FRAME_BYTES = 64 << 10
"""Longer blocks are cut: the server takes messages of up to 1 MiB."""
MAX_WORDS_SENT = 1000
"""Words of one message."""
PATIENCE_S = 20.0
"""How long the server may take to answer a resume."""
WINDOW_S = 60.0
"""Audio that may be sent and not confirmed; beyond it `send` waits. A resume sends it again."""

PASSING = {"elsewhere", "overloaded", "shutting_down", "too_many_connections", "too_many_sessions"}
"""Refusals of a resume after which another try may succeed, here or at another node behind the same address."""


class Publisher:
    """One session that this client feeds. Use it as an asynchronous context manager.

    `model` holds the labels; `on_message` is called with every message after it was applied.
    """

    def __init__(
        self,
        address: Address,
        session: str | None = None,
        *,
        encoding: str = "pcm_s16le",
        sample_rate: int = 16000,
        channels: int = 1,
        channel: int | None = None,
        expected_speakers: int | None = None,
        max_speakers: int | None = None,
        latency: str | None = None,
        keep_audio: bool | None = None,
        asr: bool | None = None,
        on_message: Callable[[Message], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        if encoding not in BYTES:
            raise ValueError(f"encoding {encoding!r} must be one of {', '.join(BYTES)}")
        self._address = address
        self._wanted = {
            "session": session,
            "encoding": encoding,
            "sample_rate": sample_rate,
            "channels": channels,
            "channel": channel,
            "expected_speakers": expected_speakers,
            "max_speakers": max_speakers,
            "latency": latency,
            "keep_audio": None if keep_audio is None else str(keep_audio).lower(),
            "asr": None if asr is None else str(asr).lower(),
        }
        self.model = SessionModel(session or "")
        self.ended: Message | None = None
        self.resumed = 0
        self._on_message = on_message
        self._backoff = backoff or Backoff()
        self._step_bytes = BYTES[encoding] * channels
        self._window = int(WINDOW_S * sample_rate)
        self._rate = sample_rate
        self._socket: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._over = asyncio.Event()
        self._fault: DiarizedError | None = None
        self._error: Message | None = None
        self._token = ""
        self._grace_s = 0.0
        self._n_sent = 0
        self._n_confirmed = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._is_closing = False
        self._reader: asyncio.Task[None] | None = None

    @property
    def session(self) -> str:
        """Id of the session, as the server gave it."""
        return self.model.id

    @property
    def sent_s(self) -> float:
        """Seconds of audio sent."""
        return self._n_sent / self._rate

    async def __aenter__(self) -> Publisher:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.finish()
        else:
            await self.abort()

    async def open(self) -> None:
        """Opens the session.

        Raises Closed with the server's reason.
        """
        url = self._address.socket("v1/stream", **self._wanted)
        try:
            self._socket = await open_socket(self._address, url)
        except (OSError, InvalidHandshake, asyncio.TimeoutError) as error:
            raise Closed(f"cannot reach {self._address.base}: {error}") from error
        self._reader = asyncio.create_task(self._run())
        await self._wait(self._ready)

    async def send(self, audio: bytes) -> None:
        """Sends whole samples of every channel. Waits while the server is behind or the client reconnects.

        Raises Closed if the session is over.
        """
        if len(audio) % self._step_bytes:
            raise ValueError(f"audio ({len(audio)} bytes) must hold whole samples of {self._step_bytes} bytes")
        for start in range(0, len(audio), FRAME_BYTES - FRAME_BYTES % self._step_bytes):
            frame = audio[start : start + FRAME_BYTES - FRAME_BYTES % self._step_bytes]
            while self._n_sent - self._n_confirmed > self._window:
                self._confirmed.clear()
                await self._wait(self._confirmed)
            self._kept.append((self._n_sent, frame))
            self._n_sent += len(frame) // self._step_bytes
            # What a broken connection does not take is kept and follows.
            await self._write(frame)
            self._check()

    async def words(self, words: Sequence[Message], *, final: bool = True) -> None:
        """Adds recognised words, `{"start", "end", "text", "confidence"}` in seconds on the session's clock."""
        for start in range(0, max(1, len(words)), MAX_WORDS_SENT):
            part = list(words[start : start + MAX_WORDS_SENT])
            await self.command({"type": "words", "words": part, "final": final})

    async def command(self, message: Message) -> None:
        """Sends a message, such as `{"type": "rename", "speaker": "S1", "name": "Ada"}`."""
        self._check()
        await self._wait(self._ready)
        await self._write(json.dumps(message))

    async def finish(self) -> Message | None:
        """Ends the session, waits for its last labels, and returns the `ended` message."""
        if self._socket is not None and not self._over.is_set():
            self._is_closing = True
            if self._ready.is_set():
                await self._write('{"type": "close"}')
            await self._over.wait()
        await self._leave()
        if self.ended is None and self._fault is not None:
            raise self._fault
        return self.ended

    async def abort(self) -> None:
        """Leaves at once; the session waits for somebody who resumes it, and then ends."""
        self._over.set()
        await self._leave()

    async def _leave(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._socket is not None:
            # 4000 is no way to end a session, so that an aborted one can be resumed.
            await self._socket.close(4000)

    async def _write(self, frame: bytes | str) -> None:
        if self._socket is not None and self._ready.is_set():
            # The reader notices the break and resumes; audio is kept until it is confirmed.
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(frame)

    async def _wait(self, event: asyncio.Event) -> None:
        """Waits for an event, or for the end."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._check()

    def _check(self) -> None:
        if self._over.is_set():
            reason = f"the session has ended ({self.model.reason})" if self.ended else "the session is over"
            raise self._fault or Closed(reason)

    async def _run(self) -> None:
        """Reads until the end; resumes after a break."""
        try:
            while self.ended is None:
                try:
                    assert self._socket is not None
                    self._take(json.loads(await self._socket.recv()))
                except ConnectionClosed as closed:
                    await self._broke(closed.rcvd.code if closed.rcvd else None, str(closed))
        except DiarizedError as error:
            self._fault = error
        finally:
            self._over.set()

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "started":
            self.model.id, self._token = message["session"], message["token"]
            self._grace_s = message["resume_grace_s"]
            if not message.get("resumed"):
                self._ready.set()
        elif kind == "ack":
            self._confirm(int(message["received_s"] * self._rate))
        elif kind == "error":
            self._error = message if message["fatal"] else None
        else:
            self.model.apply(message)
            self.ended = message if kind == "ended" else None
        if self._on_message is not None:
            self._on_message(message)

    def _confirm(self, n_samples: int) -> None:
        self._n_confirmed = max(self._n_confirmed, n_samples)
        while self._kept and self._kept[0][0] + len(self._kept[0][1]) // self._step_bytes <= n_samples:
            self._kept.popleft()
        self._confirmed.set()

    def _after(self, n_samples: int) -> tuple[int, bytes] | None:
        """The kept frame that holds this sample, if there is one."""
        held = (item for item in self._kept if item[0] + len(item[1]) // self._step_bytes > n_samples)
        return next(held, None)

    async def _broke(self, code: int | None, text: str) -> None:
        """Takes the session up again after an accident.

        Raises Closed if the close was meant, or nobody could be reached in time.
        """
        self._ready.clear()
        reason = self._error["reason"] if self._error else text
        fault = Closed(reason, close=code, code=self._error["code"] if self._error else None)
        if code is not None and (code in (DONE, GOING_AWAY) or code >= 4000):
            raise fault
        until = time.monotonic() + self._grace_s
        while self._token and time.monotonic() < until:
            await asyncio.sleep(self._backoff.next())
            try:
                await self._resume()
            except (OSError, InvalidHandshake, ConnectionClosed, asyncio.TimeoutError) as error:
                passing = self._error is not None and self._error["code"] in PASSING
                if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code >= 4000 and not passing:
                    raise Closed(str(error), close=error.rcvd.code) from error
                continue
            return
        raise fault

    async def _resume(self) -> None:
        self._error = None
        socket = await open_socket(self._address, self._address.socket("v1/stream"))
        resume = {"session": self.session, "token": self._token, "since": self.model.seq}
        await socket.send(json.dumps({"type": "start", "resume": resume}))
        while True:
            message = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
            self._take(message)
            if message["type"] == "started":
                break
        n_received = message["received_samples"]
        self._confirm(n_received)
        # Frames that are queued while this waits come in their turn: `send` writes nothing before `_ready`.
        while (left := self._after(n_received)) is not None:
            start, frame = left
            if start > n_received:
                # A server that lost more than it may: the clock goes on all the same.
                gap = {"type": "gap", "duration_s": (start - n_received) / self._rate}
                await socket.send(json.dumps(gap))
                n_received = start
            await socket.send(frame[max(0, n_received - start) * self._step_bytes :])
            n_received = start + len(frame) // self._step_bytes
        self._socket = socket
        self.resumed += 1
        self._backoff.reset()
        self._ready.set()
        if self._is_closing:
            await self._write('{"type": "close"}')
