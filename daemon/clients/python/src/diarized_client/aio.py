"""The asynchronous client."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import httpx

from .address import Address
from .errors import ApiError
from .follow import Follow
from .model import Message
from .publish import MAX_WORDS_SENT, Publisher

CLIP_TIMEOUT_S = 120.0


class AsyncClient:
    """A server. Use it as an asynchronous context manager; every method may raise ApiError or Closed."""

    def __init__(
        self, url: str = "http://127.0.0.1:7007", token: str | None = None, *, ca: str | None = None
    ) -> None:
        self.address = Address(url, token, ca)
        self._http = httpx.AsyncClient(verify=self.address.tls() or True, headers=self.address.headers(), timeout=20)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections of plain HTTP."""
        await self._http.aclose()

    # Sessions

    async def sessions(self) -> list[Message]:
        """The sessions that run, and the ended ones that are still readable."""
        listed = await self._request("GET", "v1/sessions")
        return list(listed.json()["sessions"])

    async def snapshot(self, session: str) -> Message:
        """The labels of a session as they stand."""
        return dict((await self._request("GET", f"v1/sessions/{session}")).json())

    async def export(self, session: str, form: str) -> str:
        """The labels as `rttm`, `srt`, `vtt`, `json` or `txt`, the transcript."""
        return (await self._request("GET", f"v1/sessions/{session}.{form}")).text

    async def audio(self, session: str, start: float | None = None, end: float | None = None) -> bytes:
        """The kept audio as an Ogg Opus file, or the part of it between two seconds of the session's clock.

        A part is at most an hour long. Raises ApiError: `status` 404 if none is kept, 416 if it ends before `start`.
        """
        part = {name: value for name, value in {"start": start, "end": end}.items() if value is not None}
        return (await self._request("GET", f"v1/sessions/{session}/audio", part)).content

    async def delete(self, session: str) -> None:
        """Ends a running session; forgets an ended one."""
        await self._request("DELETE", f"v1/sessions/{session}")

    def follow(self, session: str = "*") -> Follow:
        """The messages of a session, or of all of them, as an asynchronous iterator."""
        return Follow(self.address, session)

    def publish(
        self,
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
    ) -> Publisher:
        """A session to send audio into, as an asynchronous context manager."""
        return Publisher(
            self.address,
            session,
            encoding=encoding,
            sample_rate=sample_rate,
            channels=channels,
            channel=channel,
            expected_speakers=expected_speakers,
            max_speakers=max_speakers,
            latency=latency,
            keep_audio=keep_audio,
            asr=asr,
            on_message=on_message,
        )

    # Corrections and words

    async def rename(self, session: str, speaker: str, name: str) -> None:
        """Gives a speaker a name; an empty one takes it away."""
        await self._correct(session, "rename", {"speaker": speaker, "name": name})

    async def merge(self, session: str, source: str, into: str) -> None:
        """Two speakers are one person: `source` becomes `into`."""
        await self._correct(session, "merge", {"from": source, "into": into})

    async def reassign(self, session: str, segment: int, speaker: str) -> None:
        """A final segment belongs to another speaker."""
        await self._correct(session, "reassign", {"segment": segment, "speaker": speaker})

    async def split(self, session: str, speaker: str, segments: Sequence[int] = ()) -> None:
        """A speaker is two people; `segments` are the second one's, or those that sound like a second one."""
        await self._correct(session, "split", {"speaker": speaker, "segments": list(segments)})

    async def title(self, session: str, title: str) -> None:
        """Gives a session a title; an empty one takes it away."""
        await self._correct(session, "title", {"title": title})

    async def note(self, session: str, text: str, *, segment: int | None = None, id: int | None = None) -> None:
        """Adds a note to a session or to one of its segments, or changes the note `id`; an empty text removes it."""
        fields = {"text": text, "segment": segment, "id": id}
        await self._correct(session, "note", {name: value for name, value in fields.items() if value is not None})

    async def undo(self, session: str) -> None:
        """Takes back the newest correction that stands."""
        await self._correct(session, "undo", {})

    async def redo(self, session: str) -> None:
        """Makes the correction again that was undone last."""
        await self._correct(session, "redo", {})

    async def words(self, session: str, words: Sequence[Message], *, final: bool = True) -> None:
        """Adds recognised words: `text`, `start` and `end` in seconds on the session's clock, `confidence` if known."""
        for start in range(0, max(1, len(words)), MAX_WORDS_SENT):
            part = list(words[start : start + MAX_WORDS_SENT])
            await self._correct(session, "words", {"words": part, "final": final})

    # Known voices

    async def voices(self) -> list[Message]:
        """Everybody who is enrolled."""
        return list((await self._request("GET", "v1/speakers")).json()["speakers"])

    async def enrol(
        self,
        name: str,
        clip: bytes | None = None,
        *,
        session: str | None = None,
        speaker: str | None = None,
        consent: str | None = None,
        force: bool = False,
    ) -> Message:
        """Enrols a person from an audio file of that person alone, or from a speaker of a session."""
        fields: dict[str, Any] = {"name": name, "consent": consent, "force": force or None}
        fields = {key: value for key, value in fields.items() if value is not None}
        if clip is not None:
            query = {key: "true" if value is True else value for key, value in fields.items()}
            answer = await self._request("POST", "v1/speakers", query, content=clip)
        else:
            body = json.dumps(fields | {"session": session, "speaker": speaker})
            answer = await self._request("POST", "v1/speakers", content=body.encode(), kind="application/json")
        return dict(answer.json())

    async def rename_voice(self, voice: str, name: str) -> Message:
        """Gives an enrolled person another name."""
        body = json.dumps({"name": name}).encode()
        answer = await self._request("PATCH", f"v1/speakers/{voice}", content=body, kind="application/json")
        return dict(answer.json())

    async def forget_voice(self, voice: str) -> None:
        """Deletes an enrolled person for good."""
        await self._request("DELETE", f"v1/speakers/{voice}")

    async def identify(self, clip: bytes) -> Message:
        """Which enrolled person speaks in an audio file."""
        return dict((await self._request("POST", "v1/identify", content=clip)).json())

    async def verify(self, clip: bytes, speaker: str) -> Message:
        """Whether this enrolled person speaks in an audio file."""
        return dict((await self._request("POST", "v1/verify", {"speaker": speaker}, content=clip)).json())

    async def _correct(self, session: str, what: str, fields: Message) -> None:
        body = json.dumps(fields).encode()
        await self._request("POST", f"v1/sessions/{session}/{what}", content=body, kind="application/json")

    async def _request(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        *,
        content: bytes | None = None,
        kind: str = "application/octet-stream",
    ) -> httpx.Response:
        headers = {"Content-Type": kind} if content is not None else {}
        timeout = CLIP_TIMEOUT_S if content is not None else 20.0
        url = self.address.http(path, **(query or {}))
        try:
            answer = await self._http.request(method, url, content=content, headers=headers, timeout=timeout)
        except httpx.TimeoutException as error:
            raise ApiError("the server does not answer") from error
        except httpx.HTTPError as error:
            raise ApiError(f"cannot reach {self.address.base}: {error}") from error
        if answer.is_success:
            return answer
        try:
            fault = answer.json()
        except ValueError:
            # A proxy on the way answers in its own words.
            fault = {}
        reason = fault.get("reason", f"{method} {path}: {answer.status_code}")
        raise ApiError(reason, status=answer.status_code, code=fault.get("code"))
