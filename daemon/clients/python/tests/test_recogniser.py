"""Who said what with a real speech recogniser: pocketsphinx gives the words of the example conversation."""

from __future__ import annotations

from collections import Counter

import pytest

from conftest import ROOT, Server
from diarized_client import Client

REFERENCE = ROOT / "tests/data/example/conversation.rttm"
LEAST_RIGHT = 0.95


def recognised(pcm: bytes) -> list[dict]:
    """Words and their times, as pocketsphinx with its English model has them."""
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="not run: a recogniser (pip install pocketsphinx)")
    decoder = pocketsphinx.Decoder(samprate=16000, loglevel="FATAL")
    ends = pocketsphinx.Endpointer(sample_rate=16000)
    words: list[dict] = []
    began = 0.0
    for start in range(0, len(pcm), ends.frame_bytes):
        frame, was_speech = pcm[start : start + ends.frame_bytes], ends.in_speech
        is_last = len(frame) < ends.frame_bytes
        speech = ends.end_stream(frame) if is_last else ends.process(frame)
        if speech is None:
            continue
        if not was_speech:
            decoder.start_utt()
            began = ends.speech_start
        decoder.process_raw(speech)
        if not ends.in_speech:
            decoder.end_utt()
            for part in decoder.seg():
                if part.word[0] not in "<[":
                    times = {"start": began + part.start_frame / 100, "end": began + (part.end_frame + 1) / 100}
                    words.append({"text": part.word.split("(")[0], **times})
    return words


def test_words_of_a_recogniser_get_the_people_who_spoke_them(server: Server, speech: bytes) -> None:
    words = recognised(speech)
    assert len(words) > 100
    with Client(server.url) as client, client.publish("recognised") as stream:
        stream.send(speech)
        stream.words(words)
        stream.finish()
        held = client.snapshot("recognised")["words"]
        transcript = client.export("recognised", "txt")
    turns = [line.split() for line in REFERENCE.read_text().splitlines()]
    turns = [(float(turn[3]), float(turn[3]) + float(turn[4]), turn[7]) for turn in turns]
    pairs: Counter[tuple[str, str]] = Counter()
    for word in held:
        # Words that lie inside one person's speech.
        inside = {who for start, end, who in turns if start <= word["start"] and word["end"] <= end}
        touched = {who for start, end, who in turns if start < word["end"] and word["start"] < end}
        if len(inside) == 1 and touched == inside:
            pairs[inside.pop(), word.get("speaker", "nobody")] += 1
    people: set[str] = set()
    labels = {"nobody"}
    right = 0
    for (person, label), n in pairs.most_common():
        if person not in people and label not in labels:
            people.add(person)
            labels.add(label)
            right += n
    total = sum(pairs.values())
    print(f"{right} of {total} words inside one person's speech get that person")
    assert total > 100
    assert right >= LEAST_RIGHT * total, (right, total, pairs)
    assert "S1: good morning everybody" in transcript
