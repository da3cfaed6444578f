"""The example recogniser as a process."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

from conftest import ROOT

EXAMPLES = ROOT / "daemon/clients/python/examples"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Running:
    """The example server, as its users start it."""

    def __init__(self, *args: str) -> None:
        command = [sys.executable, str(EXAMPLES / "pocketsphinx_server.py"), *args]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"ready at (\S+)", self.process.stdout.readline())
        assert found
        self.url = found[1]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
