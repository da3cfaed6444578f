"""The pages of docs/tutorials that need the program alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import BINARY, ROOT

TUTORIALS = ROOT / "docs/tutorials"


def check(*pages: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, TUTORIALS / "check.py", *pages]
    return subprocess.run(command, env={**os.environ, "DIARIZED": str(BINARY)}, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["people.md", "meeting.md"])
def test_the_commands_of_a_page_print_what_it_shows(name: str) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("not run: the tutorials, because ffmpeg is not installed (apt-get install ffmpeg)")
    ran = check(TUTORIALS / name)
    assert ran.returncode == 0, ran.stdout


def test_a_page_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    for shown, is_right in (("2 people, 31.4 %", True), ("3 people, 31.4 %", False), ("2 people, 51.4 %", False)):
        page = tmp_path / "page.md"
        page.write_text(f"```sh\necho '2 people, 31.5 %'\n```\n\n```text\n{shown}\n```\n")
        assert (check(page).returncode == 0) == is_right, shown
    page.write_text("```sh\nfalse\n```\n")
    assert "exit code 1 in\nfalse" in check(page).stdout
