"""The model, against every message that docs/protocol.md shows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from conftest import ROOT
from diarized_client import OutOfStep, SessionModel, join
from diarized_client.model import EVENTS

DOCUMENT = (ROOT / "docs/protocol.md").read_text()


def examples(side: str) -> list[dict[str, Any]]:
    blocks = re.findall(rf"```json {side}\n(.*?)```", DOCUMENT, re.S)
    return [json.loads(line) for block in blocks for line in block.splitlines()]


def started() -> SessionModel:
    model = SessionModel("kitchen")
    segment = {"start": 0.0, "end": 1.0, "confidence": 1.0, "final": True}
    model.apply(
        {
            "type": "snapshot", "session": "kitchen", "seq": 0, "at": 0.0, "live": True, "source": "stream", "gaps": [],
            "speakers": [{"id": "S1", "first_s": 0.0, "total_s": 1.0}, {"id": "S3", "first_s": 0.0}],
            "segments": [{"id": 3, "speaker": "S1", **segment}, {"id": 5, "speaker": "S3", **segment},
                         {"id": 7, "speaker": "S3", **segment}],
            "words": [{"id": 2, "start": 0.0, "end": 1.0, "text": "well", "final": False}],
        }
    )
    return model


def test_every_event_of_the_document_can_be_applied_where_it_fits() -> None:
    said = [message for message in examples("server") if message["type"] in EVENTS]
    assert {message["type"] for message in said} == EVENTS
    for message in said:
        model = started()
        model.seq = message["seq"] - 1
        assert model.apply(message), message
        assert model.seq == message["seq"]


def test_every_snapshot_of_the_document_comes_back_as_it_was() -> None:
    shown = [message for message in examples("server") if message["type"] == "snapshot"]
    assert len(shown) > 2
    for message in shown:
        model = SessionModel(message["session"])
        model.apply(message)
        expected = dict(message, speakers=[{k: v for k, v in s.items() if k != "total_s"} for s in message["speakers"]])
        assert model.to_snapshot() == expected


@pytest.mark.parametrize(
    "event",
    [
        {"type": "segment", "id": 9, "start": 3, "end": 4, "speaker": "S7", "confidence": 1, "final": True},
        {"type": "segment", "id": 3, "start": 0, "end": 2, "speaker": "S3", "confidence": 1, "final": True},
        {"type": "segment_removed", "id": 8},
        {"type": "revision", "changes": [{"id": 5, "from": "S3", "to": "S1"}, {"id": 3, "from": "S3", "to": "S1"}]},
        {"type": "speaker_merged", "from": "S9", "into": "S1"},
        {"type": "words", "words": [{"id": 3, "start": 0, "end": 1, "text": "a", "final": True}], "removed": [9]},
        {"type": "words", "words": [{"id": 3, "start": 0, "end": 1, "text": "a", "final": True, "speaker": "S9"}]},
    ],
)
def test_an_event_that_does_not_fit_changes_nothing(event: dict[str, Any]) -> None:
    model = started()
    before = model.to_snapshot()
    with pytest.raises(OutOfStep):
        model.apply({"session": "kitchen", "seq": 1, "at": 1.0, "reason": "merge", **event})
    assert model.to_snapshot() == before


def test_a_lost_event_is_noticed_and_a_repeated_one_passed_over() -> None:
    model = started()
    gap = {"type": "gap", "session": "kitchen", "start": 1.0, "end": 2.0, "reason": "declared"}
    with pytest.raises(OutOfStep):
        model.apply({**gap, "seq": 2, "at": 2.0})
    assert model.apply({**gap, "seq": 1, "at": 2.0})
    assert not model.apply({**gap, "seq": 1, "at": 2.0})
    assert model.apply({**gap, "seq": 2, "at": 3.0, "start": 2.0, "end": 3.0})
    assert [(g.start, g.end) for g in model.gaps] == [(1.0, 3.0)]
    assert model.apply({"type": "weather", "session": "kitchen", "seq": 3, "at": 3.0})
    assert model.seq == 3


def test_words_are_joined_as_they_are_written() -> None:
    assert join(["hello", ",", "there", "!"]) == "hello, there!"
    assert join(["今日", "は", "。", "OK"]) == "今日は。 OK"
    assert join([]) == ""
