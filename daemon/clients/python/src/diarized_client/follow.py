"""Follows sessions: connects, applies what comes, reconnects, and resumes where it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .address import Address
from .backoff import Backoff
from .errors import Closed, OutOfStep
from .model import Message, SessionModel

MAX_MESSAGE_BYTES = 256 << 20

DONE, GOING_AWAY = 1000, 1001
FINAL = frozenset([4400, 4401, 4403, 4404, 4413])
"""Closes after which another try would meet the same answer."""


async def open_socket(address: Address, url: str) -> ClientConnection:
    """A WebSocket of the server; messages of any length that it sends are taken."""
    return await connect(
        url,
        additional_headers=address.headers(),
        ssl=address.tls(),
        max_size=MAX_MESSAGE_BYTES,
        open_timeout=10,
        # A server that answers no ping is gone; a session may be silent for long.
        ping_interval=20,
        ping_timeout=40,
    )


class Follow:
    """An asynchronous iterator over the messages of a session, or of all of them (`*`).

    The snapshot comes first. Every message is applied to the model of its session before it is given out, so
    `follow.model` is what the server holds. It ends when the session has ended and everything was delivered.

    Raises Closed where another try would not help: no such session, no right to it.
    """

    def __init__(self, address: Address, session: str, *, backoff: Backoff | None = None) -> None:
        self.session = session
        self.models: dict[str, SessionModel] = {}
        self.reconnects = 0
        self._address = address
        self._backoff = backoff or Backoff()
        self._socket: ClientConnection | None = None
        self._since: int | None = None
        self._error: Message | None = None
        self._is_over = False

    @property
    def model(self) -> SessionModel:
        """The labels of the session; of the only one, where all are followed."""
        if self.session == "*":
            raise ValueError("all sessions are followed: take one of `models`")
        return self.models.setdefault(self.session, SessionModel(self.session))

    async def send(self, message: Message) -> None:
        """Sends a message, such as a correction or words. Its events come like all others.

        Raises Closed while there is no connection.
        """
        if self._socket is None:
            raise Closed("there is no connection at the moment")
        await self._socket.send(json.dumps(message))

    async def aclose(self) -> None:
        """Leaves; the iterator ends."""
        self._is_over = True
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self._is_over:
            try:
                if self._socket is None:
                    url = self._address.socket("v1/events", session=self.session, since=self._since)
                    self._socket = await open_socket(self._address, url)
                message: Message = json.loads(await self._socket.recv())
                if message["type"] == "error" and message["fatal"]:
                    # The close follows, and tells whether it is worth another try.
                    self._error = message
                    continue
                self._take(message)
                return message
            except ConnectionClosed as closed:
                self._closed(closed.rcvd.code if closed.rcvd else None, str(closed))
                if self._is_over:
                    break
                await self._retry()
            except OutOfStep:
                # What is held cannot be trusted: begin again with a snapshot.
                self._since = None
                await self._retry()
            except (OSError, InvalidHandshake, asyncio.TimeoutError):
                await self._retry()
        raise StopAsyncIteration

    def _take(self, message: Message) -> None:
        session = message.get("session")
        if session is not None:
            model = self.models.setdefault(session, SessionModel(session))
            model.apply(message)
            self._backoff.reset()
            if self.session != "*":
                self._since = model.seq

    def _closed(self, code: int | None, text: str) -> None:
        model = self.models.get(self.session)
        if code == DONE or (model is not None and not model.live):
            self._is_over = True
        elif code in FINAL:
            self._is_over = True
            error = self._error or {}
            raise Closed(error.get("reason", text), close=code, code=error.get("code"))

    async def _retry(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        self.reconnects += 1
        await asyncio.sleep(self._backoff.next())
