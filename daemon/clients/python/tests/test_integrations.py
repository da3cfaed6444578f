"""The commands and the code of docs/integrations.md."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from conftest import BINARY, ROOT, Server
from diarized_client import Client

DOCUMENT = (ROOT / "docs/integrations.md").read_text()


def block(language: str, word: str) -> str:
    """The block of code that has this word."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.S)
    return next(code for code in found if word in code)


def test_the_commands_for_words_run(server: Server, speech: bytes) -> None:
    with Client(server.url) as client, client.publish("kitchen-of-words") as stream:
        stream.send(speech[: 5 * 32000])
        stream.command({"type": "finalize"})
        commands = block("sh", "curl").replace("http://127.0.0.1:7007", server.url).replace("kitchen", stream.session)
        ran = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert re.fullmatch(r"0:00\.5  (S1|\?): hello\n", ran.stdout), ran.stdout


@pytest.mark.parametrize("name", ["integrations.md", "home-assistant.md", "grpc.md"])
def test_the_configurations_of_the_documents_have_no_faults(name: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / name).read_text()
    blocks = re.findall(r"^( *)```toml\n(.*?)^ *```", text, re.S | re.M)
    assert blocks
    for indent, code in blocks:
        path = tmp_path / "diarized.toml"
        path.write_text("\n".join(line.removeprefix(indent) for line in code.splitlines()) + "\n")
        ran = subprocess.run([BINARY, "config", "--check", path], capture_output=True, text=True)
        assert ran.returncode == 0, f"{code}{ran.stderr}"


def test_the_check_of_a_signature_takes_ours_and_no_other(tmp_path: Path, speech: bytes) -> None:
    got: list[tuple[str, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.headers["X-Diarized-Signature"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    (tmp_path / "secret").write_text("top secret\n")
    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        hook = f"webhook.urls=http://127.0.0.1:{receiver.server_port}/hook"
        server = Server(tmp_path, "--set", hook, "--set", f"webhook.secret_file={tmp_path}/secret")
        with Client(server.url) as client, client.publish("a") as stream:
            stream.send(speech[:32000])
        server.stop()
        receiver.shutdown()
    assert got
    names: dict[str, object] = {}
    exec(block("python", "is_genuine"), names)
    is_genuine = names["is_genuine"]
    for signature, body in got:
        assert is_genuine("top secret", signature, body, time.time())  # type: ignore[operator]
        assert not is_genuine("other", signature, body, time.time())  # type: ignore[operator]
        assert not is_genuine("top secret", signature, body + b" ", time.time())  # type: ignore[operator]
        assert not is_genuine("top secret", signature, body, time.time() + 3600)  # type: ignore[operator]
