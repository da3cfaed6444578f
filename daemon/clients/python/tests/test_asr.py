"""`[asr]` with a real speech recogniser behind each protocol: pocketsphinx, with its English model."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, Server, score
from diarized_client import Client
from recogniser_servers import deepgram_server, openai_server
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
    (tmp_path / "token").write_text("secret\n")
    with openai_server() as url:
        args = ["asr.kind=openai", f"asr.url={url}", f"asr.token_file={tmp_path}/token", "asr.language=en"]
        words, transcript = who_said_what(tmp_path, speech, *(part for arg in args for part in ("--set", arg)))
    check(words, transcript, 0.95)


def test_deepgram(speech: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with deepgram_server() as url:
        args = ["asr.kind=deepgram", f"asr.url={url}", f"asr.token_file={tmp_path}/token"]
        words, transcript = who_said_what(tmp_path, speech, *(part for arg in args for part in ("--set", arg)))
    check(words, transcript, 0.95)
