"""The labels of one session as they stand: a snapshot and the events after it, applied in order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from .errors import OutOfStep

Message: TypeAlias = dict[str, Any]
"""A message of docs/protocol.md."""

EVENTS = frozenset(
    [
        *("segment", "segment_removed", "revision", "speaker", "speaker_merged", "words"),
        *("title", "note", "correction", "gap", "warning", "ended"),
    ]
)
KEPT_WARNINGS = 20


@dataclass(frozen=True)
class Speaker:
    """A speaker of a session; `voice` is the id of an enrolled person, the same in all sessions."""

    id: str
    first_s: float
    name: str | None = None
    voice: str | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of one speaker's speech, in seconds from the start of the stream."""

    id: int
    start: float
    end: float
    speaker: str
    confidence: float
    final: bool
    overlap: bool = False
    snr_db: float | None = None
    c50_db: float | None = None
    speech: list[list[float]] | None = None


@dataclass(frozen=True)
class Word:
    """A recognised word and, where a segment lies there, its speaker."""

    id: int
    start: float
    end: float
    text: str
    final: bool
    confidence: float | None = None
    speaker: str | None = None
    segment: int | None = None
    speaker_confidence: float | None = None


@dataclass(frozen=True)
class Gap:
    """A stretch without audio."""

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Change:
    """A segment that another speaker got."""

    id: int
    before: str
    now: str


def _read(kind: type[Any], fields: Message) -> Any:
    """A record of the fields that it knows; others are passed over."""
    known = kind.__dataclass_fields__
    return kind(**{name: value for name, value in fields.items() if name in known})


def _plain(record: Any) -> Message:
    """A record as the wire has it: what is not known is left out."""
    return {name: value for name, value in asdict(record).items() if value is not None and value is not False} | (
        {"final": record.final} if hasattr(record, "final") else {}
    )


@dataclass
class SessionModel:
    """What the server holds of a session, kept equal by applying its messages."""

    id: str
    seq: int = 0
    at: float = 0.0
    live: bool = True
    source: str = "stream"
    reason: str | None = None
    audio_kept: bool = False
    """Whether audio of the session is kept."""
    title: str | None = None
    notes: dict[int, Message] = field(default_factory=dict)
    """Notes by id: `id`, `text` and, where it is about one, `segment`."""
    undo: Message | None = None
    """The correction that `undo` would take back now: `id` and `kind`."""
    redo: Message | None = None
    speakers: dict[str, Speaker] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    words: dict[int, Word] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)
    stats: Message | None = None

    def apply(self, message: Message) -> bool:
        """Applies one message of the server; whether it changed something.

        Events that are held already, and messages about something else, are passed over.

        Raises OutOfStep if an event is missing before this one or this one does not fit; nothing is changed then.
        """
        kind, seq = message["type"], message.get("seq")
        if kind == "snapshot":
            self._load(message)
        elif kind == "stats":
            self.stats = message
        elif seq is None or seq <= self.seq:
            return False
        elif seq != self.seq + 1:
            raise OutOfStep(f"event {self.seq + 1} is missing; {seq} came")
        else:
            # An event that this version does not know still has its number.
            if kind in EVENTS:
                getattr(self, f"_{kind}")(message)
            self.seq = seq
            self.at = max(self.at, message.get("at", 0.0))
        return True

    def _load(self, snapshot: Message) -> None:
        self.speakers = {fields["id"]: _read(Speaker, fields) for fields in snapshot["speakers"]}
        self.segments = {fields["id"]: _read(Segment, fields) for fields in snapshot["segments"]}
        self.words = {fields["id"]: _read(Word, fields) for fields in snapshot.get("words", [])}
        self.gaps = [_read(Gap, fields) for fields in snapshot["gaps"]]
        self.seq, self.at, self.live = snapshot["seq"], snapshot["at"], snapshot["live"]
        self.source, self.reason = snapshot["source"], snapshot.get("reason")
        self.title, self.undo, self.redo = (snapshot.get(name) for name in ("title", "undo", "redo"))
        self.audio_kept = snapshot.get("audio_kept", False)
        self.notes = {note["id"]: note for note in snapshot.get("notes", [])}

    def _segment(self, event: Message) -> None:
        self._known_speaker(event["speaker"])
        held = self.segments.get(event["id"])
        if held and held.speaker != event["speaker"]:
            raise OutOfStep(f"segment {held.id} belongs to {held.speaker}, not to {event['speaker']}")
        self.segments[event["id"]] = _read(Segment, event)

    def _segment_removed(self, event: Message) -> None:
        del self.segments[self._known_segment(event["id"]).id]

    def _revision(self, event: Message) -> None:
        for change in event["changes"]:
            held = self._known_segment(change["id"])
            if held.speaker != change["from"]:
                raise OutOfStep(f"segment {held.id} belongs to {held.speaker}, not to {change['from']}")
            self._known_speaker(change["to"])
        for change in event["changes"]:
            self.segments[change["id"]] = replace(self.segments[change["id"]], speaker=change["to"])

    def _speaker(self, event: Message) -> None:
        self.speakers[event["id"]] = _read(Speaker, event)

    def _speaker_merged(self, event: Message) -> None:
        self._known_speaker(event["into"])
        self._known_speaker(event["from"])
        del self.speakers[event["from"]]

    def _words(self, event: Message) -> None:
        removed = event.get("removed", [])
        for word in event["words"]:
            if "speaker" in word:
                self._known_speaker(word["speaker"])
        for id in removed:
            if id not in self.words:
                raise OutOfStep(f"there is no word {id}")
        self.words.update((fields["id"], _read(Word, fields)) for fields in event["words"])
        for id in removed:
            del self.words[id]

    def _title(self, event: Message) -> None:
        self.title = event.get("title")

    def _note(self, event: Message) -> None:
        self.notes.pop(event["id"], None)
        if "text" in event:
            known = ("id", "segment", "text")
            self.notes[event["id"]] = {name: event[name] for name in known if name in event}

    def _correction(self, event: Message) -> None:
        self.undo, self.redo = event.get("undo"), event.get("redo")

    def _gap(self, event: Message) -> None:
        gap = Gap(event["start"], event["end"], event["reason"])
        if self.gaps and self.gaps[-1].reason == gap.reason and self.gaps[-1].end == gap.start:
            gap = Gap(self.gaps[-1].start, max(self.gaps.pop().end, gap.end), gap.reason)
        self.gaps.append(gap)

    def _warning(self, event: Message) -> None:
        self.warnings = [*self.warnings, event][-KEPT_WARNINGS:]

    def _ended(self, event: Message) -> None:
        self.live, self.reason = False, event["reason"]

    def _known_segment(self, id: int) -> Segment:
        if id not in self.segments:
            raise OutOfStep(f"there is no segment {id}")
        return self.segments[id]

    def _known_speaker(self, id: str) -> None:
        if id not in self.speakers:
            raise OutOfStep(f"there is no speaker {id}")

    def name_of(self, speaker: str) -> str:
        """Name of a speaker, or else the label."""
        held = self.speakers.get(speaker)
        return held.name if held and held.name else speaker

    def text_of(self, segment: int) -> str:
        """The words of a segment as text; empty without words."""
        words = [word for word in self.words.values() if word.segment == segment]
        return join(word.text for word in sorted(words, key=lambda word: (word.start, word.id)))

    def to_snapshot(self) -> Message:
        """The state as the server's `snapshot` has it, without the total speech of the speakers."""
        segments = []
        for id in sorted(self.segments):
            fields = _plain(self.segments[id])
            name = self.speakers[fields["speaker"]].name
            segments.append(fields | ({} if name is None else {"name": name}))
        speakers = sorted(self.speakers.values(), key=lambda speaker: int(speaker.id[1:]))
        snapshot: Message = {"type": "snapshot", "session": self.id, "seq": self.seq, "at": self.at, "live": self.live}
        snapshot |= {"source": self.source, "speakers": [_plain(speaker) for speaker in speakers], "segments": segments}
        snapshot["gaps"] = [asdict(gap) for gap in self.gaps]
        if self.words:
            snapshot["words"] = [_plain(self.words[id]) for id in sorted(self.words)]
        if self.notes:
            snapshot["notes"] = [self.notes[id] for id in sorted(self.notes)]
        rest: Message = {"reason": self.reason, "title": self.title, "undo": self.undo, "redo": self.redo}
        rest["audio_kept"] = self.audio_kept or None
        return snapshot | {name: value for name, value in rest.items() if value is not None}


_CLOSING = re.compile("[.,!?;:…%)\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]")
# Scripts without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_DENSE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff01-\uff0f\uff1a-\uff1f\U00020000-\U0003ffff]"
)


def join(words: Iterable[str]) -> str:
    """Joins words by spaces, where their script has them."""
    out = ""
    for word in words:
        is_joined = _CLOSING.match(word) or (out and _DENSE.match(out[-1]) and _DENSE.match(word))
        out += word if not out or is_joined else f" {word}"
    return out
