"""The same client without asyncio: each call waits in the calling thread, another thread runs the connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from .aio import AsyncClient
from .follow import Follow
from .model import Message, SessionModel
from .publish import Publisher

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="diarized-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` there and waits for it; an interrupt of the calling thread cancels it."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class PlainFollow:
    """The messages of a session as an iterator; `model` is what the server holds."""

    def __init__(self, loop: _Loop, follow: Follow) -> None:
        self._loop, self._follow = loop, follow

    @property
    def model(self) -> SessionModel:
        return self._follow.model

    @property
    def models(self) -> dict[str, SessionModel]:
        return self._follow.models

    def send(self, message: Message) -> None:
        """Sends a message, such as a correction."""
        self._loop.run(self._follow.send(message))

    def close(self) -> None:
        """Leaves."""
        self._loop.run(self._follow.aclose())

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        message = self._loop.run(self._next())
        if message is None:
            raise StopIteration
        return message

    async def _next(self) -> Message | None:
        try:
            return await self._follow.__anext__()
        except StopAsyncIteration:
            return None


class PlainPublisher:
    """A session to send audio into; use it as a context manager."""

    def __init__(self, loop: _Loop, publisher: Publisher) -> None:
        self._loop, self._publisher = loop, publisher

    @property
    def model(self) -> SessionModel:
        return self._publisher.model

    @property
    def session(self) -> str:
        return self._publisher.session

    @property
    def ended(self) -> Message | None:
        return self._publisher.ended

    def __enter__(self) -> PlainPublisher:
        self._loop.run(self._publisher.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._publisher.__aexit__(kind, error, trace))

    def send(self, audio: bytes) -> None:
        """Sends whole samples; waits while the server is behind."""
        self._loop.run(self._publisher.send(audio))

    def words(self, words: Sequence[Message], *, final: bool = True) -> None:
        """Adds recognised words."""
        self._loop.run(self._publisher.words(words, final=final))

    def command(self, message: Message) -> None:
        """Sends a message, such as a correction."""
        self._loop.run(self._publisher.command(message))

    def finish(self) -> Message | None:
        """Ends the session and waits for its last labels."""
        return self._loop.run(self._publisher.finish())


class Client:
    """A server. Use it as a context manager; every method may raise ApiError or Closed."""

    def __init__(
        self, url: str = "http://127.0.0.1:7007", token: str | None = None, *, ca: str | None = None
    ) -> None:
        self._loop = _Loop()
        self._client = AsyncClient(url, token, ca=ca)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections and their thread."""
        self._loop.run(self._client.aclose())
        self._loop.close()

    def sessions(self) -> list[Message]:
        """The sessions that run, and the ended ones that are still readable."""
        return self._loop.run(self._client.sessions())

    def snapshot(self, session: str) -> Message:
        """The labels of a session as they stand."""
        return self._loop.run(self._client.snapshot(session))

    def export(self, session: str, form: str) -> str:
        """The labels as `rttm`, `srt`, `vtt`, `json` or `txt`, the transcript."""
        return self._loop.run(self._client.export(session, form))

    def audio(self, session: str, start: float | None = None, end: float | None = None) -> bytes:
        """The kept audio as an Ogg Opus file, or the part of it between two seconds of the session's clock."""
        return self._loop.run(self._client.audio(session, start, end))

    def delete(self, session: str) -> None:
        """Ends a running session; forgets an ended one."""
        self._loop.run(self._client.delete(session))

    def follow(self, session: str = "*") -> PlainFollow:
        """The messages of a session, or of all of them, as an iterator."""
        return PlainFollow(self._loop, self._client.follow(session))

    def publish(
        self, session: str | None = None, *, on_message: Callable[[Message], None] | None = None, **wanted: Any
    ) -> PlainPublisher:
        """A session to send audio into, with the options of `AsyncClient.publish`.

        `on_message` runs in the other thread.
        """

        async def make() -> Publisher:
            return self._client.publish(session, on_message=on_message, **wanted)

        return PlainPublisher(self._loop, self._loop.run(make()))

    def rename(self, session: str, speaker: str, name: str) -> None:
        """Gives a speaker a name; an empty one takes it away."""
        self._loop.run(self._client.rename(session, speaker, name))

    def merge(self, session: str, source: str, into: str) -> None:
        """Two speakers are one person: `source` becomes `into`."""
        self._loop.run(self._client.merge(session, source, into))

    def reassign(self, session: str, segment: int, speaker: str) -> None:
        """A final segment belongs to another speaker."""
        self._loop.run(self._client.reassign(session, segment, speaker))

    def split(self, session: str, speaker: str, segments: Sequence[int] = ()) -> None:
        """A speaker is two people."""
        self._loop.run(self._client.split(session, speaker, segments))

    def title(self, session: str, title: str) -> None:
        """Gives a session a title; an empty one takes it away."""
        self._loop.run(self._client.title(session, title))

    def note(self, session: str, text: str, *, segment: int | None = None, id: int | None = None) -> None:
        """Adds a note to a session or to one of its segments, or changes the note `id`; an empty text removes it."""
        self._loop.run(self._client.note(session, text, segment=segment, id=id))

    def undo(self, session: str) -> None:
        """Takes back the newest correction that stands."""
        self._loop.run(self._client.undo(session))

    def redo(self, session: str) -> None:
        """Makes the correction again that was undone last."""
        self._loop.run(self._client.redo(session))

    def words(self, session: str, words: Sequence[Message], *, final: bool = True) -> None:
        """Adds recognised words."""
        self._loop.run(self._client.words(session, words, final=final))

    def voices(self) -> list[Message]:
        """Everybody who is enrolled."""
        return self._loop.run(self._client.voices())

    def enrol(self, name: str, clip: bytes | None = None, **wanted: Any) -> Message:
        """Enrols a person, with the options of `AsyncClient.enrol`."""
        return self._loop.run(self._client.enrol(name, clip, **wanted))

    def rename_voice(self, voice: str, name: str) -> Message:
        """Gives an enrolled person another name."""
        return self._loop.run(self._client.rename_voice(voice, name))

    def forget_voice(self, voice: str) -> None:
        """Deletes an enrolled person for good."""
        self._loop.run(self._client.forget_voice(voice))

    def identify(self, clip: bytes) -> Message:
        """Which enrolled person speaks in an audio file."""
        return self._loop.run(self._client.identify(clip))

    def verify(self, clip: bytes, speaker: str) -> Message:
        """Whether this enrolled person speaks in an audio file."""
        return self._loop.run(self._client.verify(clip, speaker))
