"""Registration and login by voice, with a random phrase against recordings. An example, and no lock: see the page.

pip install diarized-client
python pocketsphinx_server.py
diarized serve --voices --set asr.kind=vosk --set asr.url=ws://127.0.0.1:2700
python voice_login.py                 # then open http://127.0.0.1:8080/

Every decision is made here, on the server: what a page decides, its visitor decides.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import secrets
import threading
import time
import wave
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from diarized_client import ApiError, Client, DiarizedError

RATE = 16000
PAGE = Path(__file__).with_suffix(".html")
MAX_BODY_BYTES = 20 * 2 * RATE
# A phrase is good for one attempt and so long, in seconds; no more are open than this.
PHRASE_S, MAX_OPEN = 60.0, 1000
# Share of the phrase's words that must be recognised, in order; recognisers err.
LEAST_WORDS = 0.6
# Probability, for even odds, that the voice is the enrolled one.
LEAST_PROBABILITY = 0.9
WORDS = [
    "morning", "evening", "yesterday", "tomorrow", "summer", "winter", "garden", "kitchen", "window",
    "mountain", "river", "ocean", "island", "village", "city", "teacher", "doctor", "farmer", "sister",
    "brother", "family", "children", "yellow", "orange", "purple", "silver", "seven", "eleven", "twenty",
    "hundred", "chicken", "butter", "sugar", "coffee", "paper", "letter", "number", "picture", "music",
    "dinner", "holiday", "weather", "thunder", "elephant", "tiger",
]


class Refused(Exception):
    """Why somebody is not let in or not registered; shown on the page."""


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def share_said(phrase: str, said: str) -> float:
    """Share of the words of the phrase that were recognised, in the order of the phrase."""
    wanted = words_of(phrase)
    matcher = SequenceMatcher(None, wanted, words_of(said), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(wanted)


@dataclass
class Desk:
    """Registers people and lets them in."""

    url: str
    token: str | None
    phrases: list[str]
    open: dict[str, tuple[str, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def challenge(self) -> dict[str, str]:
        """A random phrase, and the number under which it is asked for."""
        phrase = secrets.choice(self.phrases) if self.phrases else " ".join(secrets.choice(WORDS) for _ in range(6))
        id = secrets.token_urlsafe(16)
        with self.lock:
            now = time.monotonic()
            self.open = {key: value for key, value in self.open.items() if now - value[1] < PHRASE_S}
            if len(self.open) >= MAX_OPEN:
                raise Refused("too many people at once; try again in a minute")
            self.open[id] = (phrase, now)
        return {"challenge": id, "phrase": phrase}

    def register(self, name: str, pcm: bytes) -> dict[str, Any]:
        """Enrols a new name; a known one would let anybody add a voice to it."""
        with Client(self.url, self.token) as client:
            if any(person["name"] == name for person in client.voices()):
                raise Refused(f"{name} is registered already")
            person = client.enrol(name, wav_of(pcm), consent="registered on the page of voice_login.py")
        return {"name": person["name"], "speech_s": person["speech_s"]}

    def login(self, name: str, challenge: str, pcm: bytes) -> dict[str, Any]:
        """Lets somebody in who says the phrase with the voice of that name."""
        with self.lock:
            phrase, began = self.open.pop(challenge, ("", 0.0))
        if not phrase or time.monotonic() - began > PHRASE_S:
            raise Refused("the phrase is too old or was used before; ask for another one")
        with Client(self.url, self.token) as client:
            said, n_speakers = self.recognise(client, pcm)
            if not said:
                raise Refused("no words came: is a recogniser configured ([asr])? Without one nobody is let in")
            if n_speakers != 1:
                raise Refused(f"{n_speakers} voices were there; one is wanted")
            share = share_said(phrase, said)
            if share < LEAST_WORDS:
                raise Refused(f"that was another phrase: “{said}”")
            verdict = client.verify(wav_of(pcm), name)
        if verdict["probability"] < LEAST_PROBABILITY:
            raise Refused(f"that is not clearly the voice of {name}")
        return {"name": name, "said": said, "words": share, "probability": verdict["probability"]}

    def recognise(self, client: Client, pcm: bytes) -> tuple[str, int]:
        """Words and the number of speakers, by a session that is deleted at once."""
        with client.publish(keep_audio=False) as stream:
            stream.send(pcm)
            stream.finish()
            session = stream.session
        try:
            snapshot = client.snapshot(session)
        finally:
            client.delete(session)
        return " ".join(word["text"] for word in snapshot.get("words", [])), len(snapshot["speakers"])


def wav_of(pcm: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        wav.writeframes(pcm)
    return out.getvalue()


class Handler(BaseHTTPRequestHandler):
    desk: Desk

    def do_GET(self) -> None:
        if urlsplit(self.path).path != "/":
            return self.answer(404, {"reason": "there is only one page"})
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
        body = PAGE.read_text(encoding="utf-8").replace("NONCE", nonce).encode()
        return self.send("text/html; charset=utf-8", 200, body, {"Content-Security-Policy": policy})

    def do_POST(self) -> None:
        # Other pages in the same browser are not to act for their visitor.
        if self.headers.get("Origin") not in (None, f"http://{self.headers.get('Host')}"):
            return self.answer(403, {"reason": "only the own page may ask"})
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return self.answer(413, {"reason": "at most 20 s of audio are taken"})
        pcm = self.rfile.read(int(length))
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        name = query.get("name", "").strip()
        try:
            if address.path == "/challenge":
                return self.answer(200, self.desk.challenge())
            if not name or len(pcm) % 2:
                return self.answer(400, {"reason": "a name and whole samples of 16 bits are needed"})
            if address.path == "/register":
                return self.answer(200, self.desk.register(name, pcm))
            if address.path == "/login":
                return self.answer(200, self.desk.login(name, query.get("challenge", ""), pcm))
            return self.answer(404, {"reason": "no such thing"})
        except Refused as refusal:
            return self.answer(403, {"reason": str(refusal)})
        except ApiError as error:
            return self.answer(403, {"reason": str(error)})
        except (DiarizedError, OSError) as error:
            return self.answer(502, {"reason": f"diarized does not answer: {error}"})

    def answer(self, status: int, message: dict[str, Any]) -> None:
        self.send("application/json", status, json.dumps(message).encode(), {})

    def send(self, kind: str, status: int, body: bytes, more: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing: a request holds names and phrases."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:7007", help="diarized, with --voices and [asr]")
    parser.add_argument("--token", help="with the scopes voices, publish, subscribe and admin")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--phrases", type=Path, help="file of phrases, one a line; random words without it")
    args = parser.parse_args()
    phrases = [line for line in args.phrases.read_text().splitlines() if words_of(line)] if args.phrases else []
    Handler.desk = Desk(args.server, args.token, phrases)
    with ThreadingHTTPServer(("127.0.0.1", args.port), Handler) as server:
        print(f"ready at http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
