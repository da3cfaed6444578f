"""Who said what with a real speech recogniser: pocketsphinx gives the words of the example conversation."""

from __future__ import annotations

import sys

import pytest

from conftest import ROOT, Server, score
from diarized_client import Client

sys.path.append(str(ROOT / "daemon/clients/python/examples"))

LEAST_RIGHT = 0.95


def test_words_of_a_recogniser_get_the_people_who_spoke_them(server: Server, speech: bytes) -> None:
    pytest.importorskip("pocketsphinx", reason="not run: a recogniser (pip install pocketsphinx)")
    from pocketsphinx_server import Stream as Recogniser

    found = Recogniser().take(speech, is_last=True)
    words = [{"text": word["word"], "start": word["start"], "end": word["end"]} for word in found]
    assert len(words) > 100
    with Client(server.url) as client, client.publish("recognised") as stream:
        stream.send(speech)
        stream.words(words)
        stream.finish()
        held = client.snapshot("recognised")["words"]
        transcript = client.export("recognised", "txt")
    right, total = score(held)
    print(f"{right} of {total} words inside one person's speech get that person")
    assert total > 100
    assert right >= LEAST_RIGHT * total, (right, total)
    assert "S1: good morning everybody" in transcript
