"""Live diarization over gRPC, with grpcio as client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from diarized_client import Client
from grpc_daemon import FRAME, SECONDS, Grpc, Silent, Stubs, audio_of, ended, grpc, refused

pytest_plugins = ["grpc_daemon"]


def as_message(event: Any) -> Any:
    """An event as the same message over WebSocket: what is empty there is left out."""
    from google.protobuf.json_format import MessageToDict

    kind = event.WhichOneof("body")
    fields = MessageToDict(event, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    message: dict[str, Any] = {"type": kind, "session": event.session, **fields.pop(kind)}
    for key in ("seq", "at"):
        if event.HasField(key):
            message[key] = getattr(event, key)
    return normal(message)


def normal(value: Any) -> Any:
    """Without what is empty, and with numbers as numbers."""
    if isinstance(value, dict):
        if value.keys() == {"start", "end"}:
            return [normal(value["start"]), normal(value["end"])]
        kept = {key: normal(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one not in ("", [], {}, False, 0, None)}
    if isinstance(value, list):
        return [normal(one) for one in value]
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value


def over_websocket(running: Grpc, pcm: bytes) -> list[dict[str, Any]]:
    """The messages for the same audio."""
    url = running.server.url.replace("http", "ws") + "/v1/stream?session=over-websocket"
    with connect(url, max_size=None) as socket:

        def send() -> None:
            for at in range(0, len(pcm), FRAME):
                socket.send(pcm[at : at + FRAME])
            socket.send(json.dumps({"type": "close"}))

        sending = threading.Thread(target=send)
        sending.start()
        messages = [json.loads(message) for message in socket]
        sending.join()
    return messages


def test_a_stream_has_the_events_of_the_websocket(running: Grpc, channel: Any, stubs: Stubs, speech: bytes) -> None:
    pcm = speech[: 40 * 32000]
    diarizer = stubs.diarizer.DiarizerStub(channel)
    events = [as_message(event) for event in diarizer.Diarize(audio_of(stubs, pcm, session="over-grpc"))]
    messages = [normal(message) for message in over_websocket(running, pcm)]
    assert events[0]["type"] == "started" and events[0]["audio"]["sample_rate"] == 16000 and events[0]["token"]

    def of_session(all_messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "session": "it"} for one in all_messages if "seq" in one]

    got, expected = of_session(events), of_session(messages)
    assert [one["type"] for one in got] == [one["type"] for one in expected]
    assert got == expected
    kinds = {one["type"] for one in got}
    assert {"speaker", "segment", "ended"} <= kinds and got[-1]["reason"] == "closed"
    assert any(one["type"] == "ack" for one in events) and any(one["type"] == "stats" for one in events)


def test_a_stream_takes_the_messages_of_the_protocol(channel: Any, stubs: Stubs, speech: bytes) -> None:
    def audio() -> Iterator[Any]:
        yield from audio_of(stubs, speech[: 8 * 32000], session="with-messages", title="A talk", max_speakers=3)
        yield stubs.live.Audio(finalize=stubs.live.Finalize())
        settled.wait(SECONDS)
        yield stubs.live.Audio(message=json.dumps({"type": "rename", "speaker": "S1", "name": "Ann"}))
        yield stubs.live.Audio(message=json.dumps({"type": "note", "text": "who is this?"}))
        words = [{"start": 1.0, "end": 1.5, "text": "hello", "confidence": 0.5}]
        yield stubs.live.Audio(message=json.dumps({"type": "words", "words": words}))
        yield stubs.live.Audio(message=json.dumps({"type": "undo"}))
        yield stubs.live.Audio(message="no json")
        yield stubs.live.Audio(gap_s=2.5)
        yield stubs.live.Audio(keep_alive=stubs.live.KeepAlive())

    settled = threading.Event()
    events = []
    for event in stubs.diarizer.DiarizerStub(channel).Diarize(audio()):
        events.append(event)
        if event.WhichOneof("body") == "ack" and event.ack.finalized:
            settled.set()
    of = {
        kind: [e for e in events if e.WhichOneof("body") == kind]
        for kind in ("title", "speaker", "note", "words", "correction", "gap", "error", "ended")
    }
    assert of["title"][0].title.title == "A talk"
    assert any(e.speaker.name == "Ann" for e in of["speaker"])
    assert of["note"][0].note.text == "who is this?"
    word = of["words"][0].words.words[0]
    assert (word.text, word.speaker, word.final, word.confidence) == ("hello", "S1", True, 0.5)
    assert [e.correction.kind for e in of["correction"]] == ["rename", "note", "undo"]
    assert of["correction"][2].correction.of == 2 and of["correction"][2].correction.undo.kind == "rename"
    gap = of["gap"][0].gap
    assert round(gap.end - gap.start, 3) == 2.5 and gap.reason == "declared"
    assert of["error"][0].error.code == "bad_message"
    assert round(of["ended"][0].ended.duration_s, 2) == 10.5


def test_faults_of_a_stream_are_its_status(channel: Any, stubs: Stubs, speech: bytes) -> None:
    diarize = stubs.diarizer.DiarizerStub(channel).Diarize
    Audio, Start = stubs.live.Audio, stubs.live.Start
    cases = [
        ([], grpc.StatusCode.INVALID_ARGUMENT, "before its `start`"),
        ([Audio(pcm=bytes(320))], grpc.StatusCode.FAILED_PRECONDITION, "start"),
        ([Audio()], grpc.StatusCode.INVALID_ARGUMENT, "nothing that this server knows"),
        ([Audio(start=Start(session="a b"))], grpc.StatusCode.INVALID_ARGUMENT, "a b"),
        (
            [Audio(start=Start(audio=stubs.live.Format(sample_rate=10)))],
            grpc.StatusCode.INVALID_ARGUMENT,
            "sample_rate (10)",
        ),
        ([Audio(start=Start()), Audio(pcm=b"abc")], grpc.StatusCode.INVALID_ARGUMENT, "whole number of samples"),
        ([Audio(start=Start(resume=stubs.live.Resume(session="x", token="y")))], grpc.StatusCode.NOT_FOUND, "resume"),
    ]
    for messages, code, words in cases:
        got = refused(list, diarize(iter(messages), timeout=SECONDS))
        assert got[0] == code and words in got[1], (messages, got)
    with pytest.raises(grpc.RpcError) as caught:
        list(diarize(iter([Audio(start=Start(session="a b"))])))
    assert ("diarized-code", "bad_message") in caught.value.trailing_metadata()


def test_a_client_that_dies_can_come_back(
    running: Grpc, channel: Any, stubs: Stubs, speech: bytes, tmp_path: Path
) -> None:
    script = tmp_path / "dies.py"
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(Path(stubs.vp.__file__).parent)!r})
import grpc
from diarized.v1 import diarizer_pb2 as live, diarizer_pb2_grpc as diarizer
def audio():
    yield live.Audio(start=live.Start(session="dies"))
    yield live.Audio(pcm=open({str(tmp_path / "pcm")!r}, "rb").read())
    time.sleep(1000)
for event in diarizer.DiarizerStub(grpc.insecure_channel({running.address!r})).Diarize(audio()):
    if event.WhichOneof("body") == "started":
        print(event.started.token, flush=True)
    if event.WhichOneof("body") == "ack":
        print(event.ack.received_s, flush=True)
        time.sleep(1000)
""")
    (tmp_path / "pcm").write_bytes(speech[: 5 * 32000])
    client = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    token = client.stdout.readline().strip()
    assert float(client.stdout.readline()) > 1
    client.send_signal(signal.SIGKILL)
    client.wait()
    resume = stubs.live.Resume(session="dies", token=token, since=0)
    messages = iter(
        [stubs.live.Audio(start=stubs.live.Start(resume=resume)), stubs.live.Audio(pcm=speech[5 * 32000 : 8 * 32000])]
    )
    events = list(stubs.diarizer.DiarizerStub(channel).Diarize(messages, timeout=SECONDS))
    assert events[0].started.resumed and round(events[0].started.received_s, 2) == 5
    assert ended(events).reason == "closed" and round(ended(events).duration_s, 2) == 8
    numbers = [event.seq for event in events if event.HasField("seq")]
    assert numbers == list(range(1, numbers[-1] + 1))


def test_a_call_that_is_cancelled_is_no_orderly_end(running: Grpc, channel: Any, stubs: Stubs, speech: bytes) -> None:
    silent = Silent(stubs, speech[: 2 * 32000], session="cancelled")
    call = stubs.diarizer.DiarizerStub(channel).Diarize(silent.messages)
    next(iter(call))
    call.cancel()
    silent.over.set()
    with Client(running.server.url) as client:
        deadline = time.monotonic() + SECONDS
        while (one := next(s for s in client.sessions() if s["session"] == "cancelled"))["connected"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert one["live"], "it waits for its publisher"


def test_the_end_of_the_server_ends_streams_in_good_order(stubs: Stubs, tmp_path: Path, speech: bytes) -> None:
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
    from grpc_health.v1 import health_pb2_grpc

    running = Grpc(tmp_path)
    with grpc.insecure_channel(running.address) as channel:
        silent = Silent(stubs, speech[: 5 * 32000])
        call = stubs.diarizer.DiarizerStub(channel).Diarize(silent.messages)
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        events = [next(iter(call))]
        next(iter(watched))
        began = time.monotonic()
        running.server.process.terminate()
        with pytest.raises(grpc.RpcError) as caught:
            events.extend(call)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert ended(events).reason == "shutdown"
        assert running.server.process.wait(30) == 0
        assert time.monotonic() - began < 8, "a watched health does not hold up the end"
        silent.over.set()
