"""Both clients against a real server: publish, follow, resume, correct, words, voices."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import time
import wave
from pathlib import Path

import pytest

from conftest import Server
from diarized_client import ApiError, AsyncClient, Client, Closed, DiarizedError, SessionModel

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


class Cable:
    """A TCP proxy that can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cuts: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Cable:
        self.server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self.server.close()

    def cut(self) -> None:
        """Breaks every connection without a word."""
        for writer in self.cuts:
            writer.transport.abort()
        self.cuts.clear()

    async def _carry(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_connection("127.0.0.1", self.port)
        self.cuts += [near_out, far_out]

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while block := await reader.read(4096):
                    writer.write(block)
                    await writer.drain()
                writer.close()

        await asyncio.gather(pump(near_in, far_out), pump(far_in, near_out))


def port_of(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


def test_a_stream_that_breaks_goes_on_to_the_sample(server: Server, speech: bytes) -> None:
    async def run() -> None:
        async with Cable(port_of(server)) as cable, AsyncClient(cable.url) as client:
            async with client.publish("broken") as stream:
                for n, start in enumerate(range(0, len(speech), 32000)):
                    await stream.send(speech[start : start + 32000])
                    if n in (10, 30, 50, 51):
                        n_resumed = stream.resumed
                        cable.cut()
                        # The first time audio goes on meanwhile.
                        while n != 10 and stream.resumed == n_resumed:
                            await asyncio.sleep(0.01)
                ended = await stream.finish()
            assert stream.resumed >= 3
            assert ended is not None and ended["duration_s"] == pytest.approx(len(speech) / 32000, abs=0.001)
        async with AsyncClient(server.url) as direct:
            async with direct.publish("whole") as stream:
                await stream.send(speech)
            broken, whole = [await direct.snapshot(session) for session in ("broken", "whole")]
        # A file and a stream get the same labels, however often the connection broke.
        assert broken["segments"] == whole["segments"]
        assert broken["gaps"] == []
        held = stream.model.to_snapshot()
        assert held["segments"] == whole["segments"]
        assert held["seq"] == whole["seq"]

    asyncio.run(run())


def test_a_follower_that_breaks_holds_what_the_server_holds(server: Server, speech: bytes) -> None:
    async def run() -> None:
        async with Cable(port_of(server)) as cable, AsyncClient(cable.url) as client, AsyncClient(server.url) as direct:
            async with direct.publish("followed") as stream:
                follow = client.follow("followed")

                async def read() -> None:
                    async for message in follow:
                        if message["type"] == "segment" and message["final"]:
                            cable.cut()

                reading = asyncio.create_task(read())
                for start in range(0, 20 * 32000, 16000):
                    await stream.send(speech[start : start + 16000])
                    await asyncio.sleep(0.02)
                await stream.finish()
            await asyncio.wait_for(reading, 60)
            assert follow.reconnects > 0
            held, snapshot = follow.model.to_snapshot(), await direct.snapshot("followed")
            for speaker in snapshot["speakers"]:
                del speaker["total_s"]
            assert held == snapshot

    asyncio.run(run())


def test_corrections_and_words_come_back_as_events(server: Server, speech: bytes) -> None:
    with Client(server.url) as client, client.publish("corrected") as stream:
        stream.send(speech[: 20 * 32000])
        stream.words([{"start": 1.0, "end": 1.3, "text": "hello"}, {"start": 9.0, "end": 9.2, "text": "well"}])
        stream.command({"type": "finalize"})
        messages = client.follow("corrected")
        snapshot = next(messages)
        # Labels are revised while speech goes on: once there is a third speaker, the first two are settled.
        while len(messages.model.speakers) < 3 or len(messages.model.words) < 2:
            next(messages)
        assert snapshot["type"] == "snapshot"
        ada, other = (word.speaker for word in messages.model.words.values())
        assert ada == "S1" and other not in (None, "S1")
        client.rename("corrected", "S1", "Ada")
        while messages.model.name_of("S1") != "Ada":
            next(messages)
        messages.send({"type": "merge", "from": other, "into": "S1"})
        while other in messages.model.speakers or {word.speaker for word in messages.model.words.values()} != {"S1"}:
            next(messages)
        client.words("corrected", [{"start": 1.3, "end": 1.5, "text": "there"}])
        with pytest.raises(ApiError) as refused:
            client.rename("corrected", "S9", "Eve")
        assert (refused.value.status, refused.value.code) == (404, "unknown_speaker")
        with pytest.raises(ApiError, match=r"words\[0\]\.end"):
            client.words("corrected", [{"start": 2.0, "end": 1.0, "text": "no"}])
        ended = stream.finish()
        assert ended is not None and ended["reason"] == "closed"
        for _ in messages:
            pass
        assert not messages.model.live
        assert "Ada: hello there" in client.export("corrected", "txt")
        client.delete("corrected")
        with pytest.raises(ApiError) as gone:
            client.snapshot("corrected")
        assert gone.value.status == 404


def test_what_cannot_be_is_said(server: Server) -> None:
    with Client(server.url) as client:
        with pytest.raises(Closed) as gone:
            next(client.follow("nobody"))
        assert (gone.value.close, gone.value.code) == (4404, "not_found")
        with pytest.raises(Closed, match="sample_rate"), client.publish("bad", sample_rate=5):
            pass
        with pytest.raises(ValueError, match="whole samples"), client.publish("odd") as stream:
            stream.send(b"123")
    with Client("http://127.0.0.1:9") as client, pytest.raises(ApiError, match="cannot reach"):
        client.sessions()
    with Client("http://127.0.0.1:9") as client, pytest.raises(Closed, match="cannot reach"), client.publish("a"):
        pass
    with pytest.raises(DiarizedError, match="is not an address"):
        Client("localhost")


def block(heading: str) -> str:
    found = re.search(rf"## {heading}\n.*?```python\n(.*?)```", README, re.S)
    assert found, heading
    return found[1]


def run_block(server: Server, heading: str) -> str:
    """Runs an example of the README; what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = block(heading).replace("http://127.0.0.1:7007", server.url)
        exec(compile(code, heading, "exec"), {"__name__": "example"})
    return out.getvalue()


def test_the_examples_of_the_readme_run(
    server: Server, speech: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Ann is the first speaker of the conversation, who speaks alone for 6 s.
    for name, part in (("talk.wav", speech), ("ann.wav", speech[int(0.9 * 32000) : int(7.0 * 32000)])):
        with wave.open(name, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(16000)
            wav.writeframes(part)
    Path("meeting.pcm").write_bytes(speech[: 10 * 32000])

    work = server.stream("kitchen", "16")
    with Client(server.url) as client:
        while not any(listed["session"] == "kitchen" for listed in client.sessions()):
            pass
    followed = run_block(server, "Follow a session")
    work.join()
    assert len(followed.splitlines()) > 5 and re.match(r"\d+\.\d s to \d+\.\d s: S1", followed), followed
    assert re.fullmatch(r"\d+ speakers in 73\.\d+ s\n", run_block(server, "Publish audio"))
    assert "Ada: hello" in run_block(server, "Words and corrections")
    assert run_block(server, "Known voices").splitlines() == ["Ann", "404 unknown_voice"]
    printed = run_block(server, "With asyncio")
    assert "segment" in printed and "'hall'" in printed
    assert README.count("```python") == 5, "every example is run"


def wait_for_audio(client: Client, session: str, n_bytes: int) -> None:
    """Returns when so much is written; the file comes into being with its first second."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if len(client.audio(session)) >= n_bytes:
                return
        except ApiError as error:
            if error.status != 404:
                raise
        time.sleep(0.1)


def test_kept_audio_is_read_in_parts_and_can_be_refused(tmp_path: Path, speech: bytes) -> None:
    store = f"storage.path={tmp_path}/sessions.sqlite"
    server = Server(tmp_path, "--set", store, "--set", "storage.audio=opus")
    with Client(server.url) as client:
        for session, keep_audio in (("kept", None), ("refused", False)):
            with client.publish(session, keep_audio=keep_audio) as stream:
                stream.send(speech[: 10 * 32000])
                stream.finish()
        wait_for_audio(client, "kept", 20_000)
        whole, part = client.audio("kept"), client.audio("kept", 2.0, 3.5)
        assert whole[:4] == part[:4] == b"OggS" and len(part) < len(whole) / 3
        model = SessionModel("kept")
        model.apply(client.snapshot("kept"))
        assert model.audio_kept and model.to_snapshot()["audio_kept"]
        for session, start, status in (("refused", None, 404), ("kept", 60.0, 416), ("kept", -1.0, 400)):
            with pytest.raises(ApiError) as refused:
                client.audio(session, start)
            assert refused.value.status == status
    server.stop()
