"""The page of docs/tutorials that trains a model, from the data in the repository to the daemon."""

from __future__ import annotations

import os
import subprocess
import sys

from test_binary import ROOT, binary


def test_the_commands_of_the_page_print_what_it_shows():
    program = binary()
    page = ROOT / "docs/tutorials/training.md"
    command = [sys.executable, ROOT / "docs/tutorials/check.py", page]
    ran = subprocess.run(
        command, env={**os.environ, "DIARIZED": str(program)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
