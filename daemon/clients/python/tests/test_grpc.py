"""The services for clips, and what all gRPC has in common, with grpcio as client."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import BINARY, CONVERSATION, ROOT
from grpc_daemon import (
    PROTO,
    SECONDS,
    Grpc,
    Peak,
    Silent,
    Stubs,
    cosine,
    ended,
    grpc,
    refused,
    start,
    turn_pcm,
    turns,
    wav,
)
from recogniser_servers import deepgram_server, openai_server
from recognisers import Running, free_port

pytest_plugins = ["grpc_daemon"]
TLS = ROOT / "daemon/tests/tls"


def test_the_description_in_the_binary_is_that_of_the_repository(stubs: Stubs) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    kept = FileDescriptorSet.FromString((PROTO / "description.bin").read_bytes())
    made = FileDescriptorSet.FromString(stubs.description)
    assert kept == made, "make it again, as daemon/proto/README.md says"


def test_speech_and_its_clarity_come_for_every_frame(channel: Any, stubs: Stubs) -> None:
    stub = stubs.services.BrouhahaVADGrpcServiceStub(channel)
    response = stub.Predict(stubs.audio("conversation.flac", CONVERSATION.read_bytes()))
    assert response.filename == "conversation.flac"
    found = response.prediction
    assert found.sample_rate == 16000 and round(found.chunk_size_seconds, 3) == 0.1
    length_s = 60.0 if not turns() else max(end for _, end, _ in turns())
    assert len(found.speech) == len(found.snr) == len(found.c50) and len(found.speech) >= 100 * length_s - 100
    assert set(found.speech) == {0.0, 1.0}
    spoken = [any(start <= n / 100 < end for start, end, _ in turns()) for n in range(len(found.speech))]
    right = sum(is_spoken == (value > 0.5) for is_spoken, value in zip(spoken, found.speech, strict=True))
    assert right > 0.9 * len(spoken), f"{right} of {len(spoken)}"
    snr = [value for value, is_speech in zip(found.snr, found.speech, strict=True) if is_speech]
    assert 5 < sum(snr) / len(snr) < 60


def test_an_embedding_is_that_of_the_command(channel: Any, stubs: Stubs, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(bytes(turn_pcm(0))))
    stub = stubs.services.ECAPATDNNGrpcServiceStub(channel)
    embedding = stub.Embed(stubs.audio("clip.wav", path.read_bytes())).embedding
    ran = subprocess.run([BINARY, "embed", path], capture_output=True, text=True, check=True)
    expected = json.loads(ran.stdout)["embedding"]
    assert embedding.dimension == len(embedding.values) == len(expected)
    assert cosine(list(embedding.values), expected) > 0.99999


def test_segments_are_those_of_the_labels(channel: Any, stubs: Stubs) -> None:
    stub = stubs.services.ItmoPersonificationSegmentationGrpcServiceStub(channel)
    result = stub.Segment(stubs.audio("conversation.flac", CONVERSATION.read_bytes())).result
    ran = subprocess.run(
        [BINARY, "label", "-q", "-f", "json", CONVERSATION], capture_output=True, text=True, check=True
    )
    labels = [json.loads(line) for line in ran.stdout.splitlines()]
    labels = sorted(labels, key=lambda one: (one["start"], one["end"]))
    found = [(round(one.start, 2), round(one.end, 2)) for one in result.segments]
    assert found == [(round(one["start"], 2), round(one["end"], 2)) for one in labels]
    by_speaker: dict[str, list[list[float]]] = collections.defaultdict(list)
    for segment, label in zip(result.segments, labels, strict=True):
        assert len(segment.embedding) == result.mean_embedding.dimension
        # One voice, and enough of it.
        if not label.get("overlap") and label["end"] - label["start"] > 2:
            by_speaker[label["speaker"]].append(list(segment.embedding))
    first, second = sorted(by_speaker.values(), key=len)[-2:]
    same = [cosine(first[0], other) for other in first[1:]]
    others = [cosine(first[0], other) for other in second]
    assert min(same) > max(others), f"{same} {others}"
    assert abs(sum(value * value for value in result.mean_embedding.values) - 1) < 1e-3


def test_silence_has_no_segments(channel: Any, stubs: Stubs) -> None:
    stub = stubs.services.ItmoPersonificationSegmentationGrpcServiceStub(channel)
    result = stub.Segment(stubs.audio("silence.wav", wav(bytes(64000)))).result
    assert not result.segments and result.mean_embedding.dimension == 0


def test_what_is_not_configured_or_not_there_says_so(channel: Any, stubs: Stubs) -> None:
    audio = stubs.audio("a.wav", wav(bytes(64000)))
    code, reason = refused(stubs.services.ItmoPersonificationLargeGrpcServiceStub(channel).Embed, audio)
    assert code == grpc.StatusCode.UNIMPLEMENTED and "grpc.large" in reason
    code, reason = refused(stubs.services.WhisperRecognitionGrpcServiceStub(channel).Transcribe, audio)
    assert code == grpc.StatusCode.UNIMPLEMENTED and "asr.kind" in reason
    for method in ["/voicepersonification.Nobody/Embed", "/voicepersonification.ECAPATDNNGrpcService/Nothing", "/a/b"]:
        code, reason = refused(channel.unary_unary(method), b"")
        assert code == grpc.StatusCode.UNIMPLEMENTED and method in reason


@pytest.mark.parametrize("data", [b"", b"no audio", b"RIFF" + bytes(1000), os.urandom(5000), wav(b"")])
def test_audio_that_is_none_is_refused_with_its_name(channel: Any, stubs: Stubs, data: bytes) -> None:
    calls = [
        stubs.services.BrouhahaVADGrpcServiceStub(channel).Predict,
        stubs.services.ECAPATDNNGrpcServiceStub(channel).Embed,
        stubs.services.ItmoPersonificationSegmentationGrpcServiceStub(channel).Segment,
    ]
    for call in calls:
        code, reason = refused(call, stubs.audio("holiday\n.wav", data))
        assert code == grpc.StatusCode.INVALID_ARGUMENT and reason.startswith("holiday.wav: "), reason


def test_a_message_of_a_gigabyte_is_refused_and_not_held(running: Grpc, stubs: Stubs) -> None:
    options = [("grpc.max_send_message_length", -1)]
    before = running.memory()
    with grpc.insecure_channel(running.address, options) as channel:
        call = channel.unary_unary("/voicepersonification.ECAPATDNNGrpcService/Embed")
        peak = Peak(running)
        code, reason = refused(call, bytes(1 << 30), timeout=120)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "voices.max_clip_bytes" in reason, (code, reason)
        stream = channel.stream_stream("/diarized.v1.Diarizer/Diarize")
        code, reason = refused(list, stream(iter([start(stubs), bytes(1 << 30)]), timeout=120))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "server.max_frame_bytes" in reason, (code, reason)
        assert peak.stop() - before < 64 << 20
    code, _ = refused(
        grpc.insecure_channel(running.address).unary_unary("/voicepersonification.ECAPATDNNGrpcService/Embed"),
        b"\xff" * 100,
    )
    assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)


def test_health_and_reflection(running: Grpc, channel: Any, stubs: Stubs) -> None:
    pytest.importorskip("grpc_health", reason="not run: health of gRPC (pip install grpcio-health-checking)")
    pytest.importorskip("grpc_reflection", reason="not run: reflection of gRPC (pip install grpcio-reflection)")
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    health = health_pb2_grpc.HealthStub(channel)

    def state(name: str) -> Any:
        return health.Check(health_pb2.HealthCheckRequest(service=name)).status

    serving, absent = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    deadline = time.monotonic() + SECONDS
    while state("") != serving:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert state("diarized.v1.Diarizer") == state("voicepersonification.ECAPATDNNGrpcService") == serving
    assert state("voicepersonification.ItmoPersonificationLargeGrpcService") == absent
    assert refused(state, "nobody")[0] == grpc.StatusCode.NOT_FOUND
    watched = health.Watch(health_pb2.HealthCheckRequest(service=""))
    assert next(iter(watched)).status == serving
    watched.cancel()

    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {
        "diarized.v1.Diarizer",
        "voicepersonification.WhisperRecognitionGrpcService",
        "grpc.health.v1.Health",
    } <= services
    event = DescriptorPool(database).FindMessageTypeByName("diarized.v1.Event")
    assert [field.name for field in event.fields] == [field.name for field in stubs.live.Event.DESCRIPTOR.fields]


def test_the_recipe_of_the_documents_runs(running: Grpc, stubs: Stubs, speech: bytes, tmp_path: Path) -> None:
    document = (ROOT / "docs/integrations.md").read_text()
    blocks: list[str] = re.findall(r"```(?:sh|python)\n(.*?)```", document, re.S)
    command = next(block for block in blocks if "grpc_tools.protoc" in block).replace("daemon/proto", str(PROTO))
    compiling = ["bash", "-euc", command.replace("python ", f"{sys.executable} ")]
    subprocess.run(compiling, cwd=tmp_path, check=True)
    (tmp_path / "a.wav").write_bytes(wav(speech[: 15 * 32000]))
    code = next(block for block in blocks if "DiarizerStub" in block).replace("127.0.0.1:7008", running.address)
    (tmp_path / "recipe.py").write_text(f"wav = open('a.wav', 'rb').read()\npcm = wav[44:]\n{code}")
    ran = subprocess.run([sys.executable, "recipe.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    *labels, dimension = ran.stdout.splitlines()
    assert int(dimension) > 100 and labels and all(re.fullmatch(r"\d+\.\d S\d", line) for line in labels), ran.stdout


def test_calls_are_counted(running: Grpc, channel: Any, stubs: Stubs) -> None:
    before = [
        running.metric('grpc_calls_total{kind="predict"}'),
        running.metric('grpc_refused_total{code="invalid_argument"}'),
    ]
    refused(stubs.services.BrouhahaVADGrpcServiceStub(channel).Predict, stubs.audio("a", b"no audio"))
    after = [
        running.metric('grpc_calls_total{kind="predict"}'),
        running.metric('grpc_refused_total{code="invalid_argument"}'),
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1]


def test_tokens_and_tls(stubs: Stubs, tmp_path: Path, speech: bytes) -> None:
    tokens: dict[str, str] = {}
    for name in ("publish", "voices"):
        add: list[str | Path] = [BINARY, "token", "add", name, "--scope", name, "--file", tmp_path / "tokens"]
        ran = subprocess.run(add, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        tokens[name] = re.search(r"dz_\S+", ran.stdout)[0]  # type: ignore[index]
    running = Grpc(
        tmp_path,
        f"server.token_file={tmp_path}/tokens",
        f"server.tls_certificate={TLS}/first.pem",
        f"server.tls_key={TLS}/first.key",
        "grpc.large=same",
    )
    credentials = grpc.ssl_channel_credentials((TLS / "authority.pem").read_bytes())
    with grpc.secure_channel(f"localhost:{running.port}", credentials) as channel:
        embed = stubs.services.ItmoPersonificationLargeGrpcServiceStub(channel).Embed
        diarize = stubs.diarizer.DiarizerStub(channel).Diarize
        audio = stubs.audio("a.wav", wav(speech[: 3 * 32000]))
        shows = {name: [("authorization", f"Bearer {token}")] for name, token in tokens.items()}
        assert refused(embed, audio)[0] == grpc.StatusCode.UNAUTHENTICATED
        assert (
            refused(embed, audio, metadata=[("authorization", "Bearer dz_guess")])[0] == grpc.StatusCode.UNAUTHENTICATED
        )
        code, reason = refused(embed, audio, metadata=shows["publish"])
        assert code == grpc.StatusCode.PERMISSION_DENIED and "voices" in reason
        assert embed(audio, metadata=shows["voices"]).embedding.dimension > 0
        stream = [stubs.live.Audio(start=stubs.live.Start()), stubs.live.Audio(pcm=speech[:32000])]
        assert refused(list, diarize(iter(stream)))[0] == grpc.StatusCode.UNAUTHENTICATED
        assert refused(list, diarize(iter(stream), metadata=shows["voices"]))[0] == grpc.StatusCode.PERMISSION_DENIED
        assert ended(list(diarize(iter(stream), metadata=shows["publish"]))).reason == "closed"
        # A token that is revoked ends its open stream.
        silent = Silent(stubs, speech[:32000], session="revoked")
        call = diarize(silent.messages, metadata=shows["publish"])
        next(iter(call))
        subprocess.run(
            [BINARY, "token", "revoke", "publish", "--file", tmp_path / "tokens"], check=True, capture_output=True
        )
        running.server.process.send_signal(signal.SIGHUP)
        assert refused(list, call)[0] == grpc.StatusCode.UNAUTHENTICATED
        silent.over.set()
    with grpc.insecure_channel(running.address) as plain:
        assert (
            refused(stubs.services.ItmoPersonificationLargeGrpcServiceStub(plain).Embed, audio)[0]
            == grpc.StatusCode.UNAVAILABLE
        )
    running.server.stop()


def test_mute_connections_and_other_protocols_are_closed(stubs: Stubs, tmp_path: Path) -> None:
    running = Grpc(tmp_path, "server.header_timeout_s=0.5")
    for sent in (
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(200),
    ):
        with socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS) as raw:
            raw.sendall(sent)
            while raw.recv(4096):
                pass
    with grpc.insecure_channel(running.address) as channel:
        stub = stubs.services.BrouhahaVADGrpcServiceStub(channel)
        assert len(stub.Predict(stubs.audio("a.wav", wav(bytes(32000)))).prediction.speech) == 100
    running.server.stop()


def test_a_recogniser_transcribes(stubs: Stubs, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="not run: a recogniser (pip install pocketsphinx)")
    start_s, end_s, _ = turns()[0]
    for options, kind in ([], "vosk"), (["--wyoming"], "wyoming"):
        recogniser = Running(*options, "--port", str(free_port()))
        asr = [f"asr.kind={kind}", f"asr.url={recogniser.url}", "asr.timeout_s=60", "asr.language=en"]
        running = Grpc(tmp_path, *asr, "server.request_timeout_s=300")
        with grpc.insecure_channel(running.address) as channel:
            call = stubs.services.WhisperRecognitionGrpcServiceStub(channel).Transcribe
            found = call(stubs.audio("turn.wav", wav(bytes(32000) + turn_pcm(0)))).transcription
            assert found.text.startswith("good morning everybody") and found.language == "en", found
            assert found.text == " ".join(segment.text for segment in found.segments)
            assert 0.5 < found.segments[0].start < found.segments[-1].end < 1.2 + end_s - start_s
            assert call(stubs.audio("silence.wav", wav(bytes(64000)))).transcription.text == ""
            recogniser.stop()
            code, reason = refused(call, stubs.audio("turn.wav", wav(turn_pcm(0))))
            assert code == grpc.StatusCode.UNAVAILABLE and "asr.url" in reason
        running.server.stop()


@pytest.mark.parametrize("kind", ["openai", "deepgram"])
def test_recognisers_of_services_transcribe(kind: str, stubs: Stubs, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="not run: a recogniser (pip install pocketsphinx)")
    server = {"openai": openai_server, "deepgram": deepgram_server}[kind]
    start_s, end_s, _ = turns()[0]
    (tmp_path / "token").write_text("secret\n")
    with server() as url:
        asr = [f"asr.kind={kind}", f"asr.url={url}", f"asr.token_file={tmp_path}/token", "asr.language=en"]
        running = Grpc(tmp_path, *asr, "asr.timeout_s=60", "server.request_timeout_s=300")
        with grpc.insecure_channel(running.address) as channel:
            call = stubs.services.WhisperRecognitionGrpcServiceStub(channel).Transcribe
            found = call(stubs.audio("turn.wav", wav(bytes(32000) + turn_pcm(0)))).transcription
            assert found.text.startswith("good morning everybody") and found.language == "en", found
            assert found.text == " ".join(segment.text for segment in found.segments)
            assert 0.5 < found.segments[0].start < found.segments[-1].end < 1.2 + end_s - start_s, found
            assert call(stubs.audio("silence.wav", wav(bytes(64000)))).transcription.text == ""
    with grpc.insecure_channel(running.address) as channel:
        call = stubs.services.WhisperRecognitionGrpcServiceStub(channel).Transcribe
        code, reason = refused(call, stubs.audio("turn.wav", wav(turn_pcm(0))))
        assert code == grpc.StatusCode.UNAVAILABLE and "asr.url" in reason
    running.server.stop()


def other_model(folder: Path) -> Path:
    """A model with a digest and features of its own: the built-in one, of which bins begin at another frequency."""
    zoo = ROOT / "models/zoo/nexttdnn-c128-b122"
    shutil.copytree(zoo, folder)
    onnx = (zoo / "model.onnx").read_bytes()
    card = (zoo / "model.toml").read_text().replace(hashlib.sha256(onnx).hexdigest(), "DIGEST")
    # The field `doc_string` of the network, which means nothing to what runs it.
    onnx += b"\x32\x05other"
    card = re.sub(r"(?m)^low_hz = .*$", "low_hz = 150.0", card).replace("DIGEST", hashlib.sha256(onnx).hexdigest())
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "model.toml").write_text(card)
    return folder


def test_the_service_of_the_large_model_has_its_own(stubs: Stubs, tmp_path: Path) -> None:
    larger = other_model(tmp_path / "larger")
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(bytes(turn_pcm(0))))
    running = Grpc(tmp_path, f"grpc.large={larger}", f"model.second={larger}", "grpc.ecapa=same")
    with grpc.insecure_channel(running.address) as channel:
        audio = stubs.audio("clip.wav", path.read_bytes())
        large = stubs.services.ItmoPersonificationLargeGrpcServiceStub(channel).Embed(audio).embedding
        first = stubs.services.ECAPATDNNGrpcServiceStub(channel).Embed(audio).embedding
    running.server.stop()
    ran = subprocess.run([BINARY, "embed", path, "--model", larger], capture_output=True, text=True, check=True)
    expected = json.loads(ran.stdout)["embedding"]
    assert large.dimension == len(large.values) == len(expected)
    assert cosine(list(large.values), expected) > 0.99999
    assert cosine(list(large.values), list(first.values)) < 0.999, "the one that labels answers for it"


@pytest.mark.parametrize(
    "setting, words",
    [
        ("grpc.ecapa={}", "grpc.ecapa"),
        ("grpc.large={}", "grpc.large"),
        ("model.second={}", "model.second"),
        ("grpc.listen=0.0.0.0:0", "can be reached from other machines"),
        ("grpc.listen=nowhere", "grpc.listen"),
    ],
)
def test_a_faulty_configuration_is_named(setting: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("no model")
    settings = [setting.format(tmp_path), *([] if "listen" in setting else ["grpc.listen=127.0.0.1:0"])]
    command: list[str | Path] = [BINARY, "serve", "--listen", "127.0.0.1:0"]
    command += [part for one in settings for part in ("--set", one)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert ran.returncode in (66, 78) and words in ran.stderr, ran.stderr
