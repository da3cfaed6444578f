"""Downloads that break, and the names of what is fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpus_server import Files
from diarized_train.corpora.checksums import read_checksums
from diarized_train.corpora.fetching import Patience, fetch
from diarized_train.corpora.sources import Source, parse_source
from diarized_train.data import DataError

QUICK = Patience(tries=3, first_wait_s=0.01)


def test_a_broken_download_goes_on_where_it_broke(server, tmp_path):
    body = os.urandom(300_000)
    server.files["a.zip"] = body
    server.cut, server.cuts = 100_000, 2
    got = fetch(Source("a.zip", url=server.url("a.zip")), tmp_path, QUICK)
    assert got.read_bytes() == body
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert tree(tmp_path) == {"a.zip"}


def test_what_was_fetched_serves_the_next_run_and_another_file_does_not(server, tmp_path):
    source = Source("a.zip", url=server.url("a.zip"))
    server.files["a.zip"] = os.urandom(300_000)
    server.cut, server.cuts = 70_000, 3
    with pytest.raises(DataError, match=r"ended after 210000 of 300000 bytes; run the same command again to go on"):
        fetch(source, tmp_path, QUICK)
    assert tree(tmp_path) == {"a.zip.part", "a.zip.part.json"}
    # The file on the server is another one now: nothing of the old one may be in the result.
    server.files["a.zip"] = os.urandom(250_000)
    assert fetch(source, tmp_path, QUICK).read_bytes() == server.files["a.zip"]
    assert server.ranges[-1] == "bytes=210000-"
    assert tree(tmp_path) == {"a.zip"}


def test_answers_of_servers_are_named(server, tmp_path):
    source = Source("a.zip", url=server.url("a.zip?key=secret"))
    with pytest.raises(DataError, match="the server answered 404") as missing:
        fetch(source, tmp_path, QUICK)
    assert "secret" not in str(missing.value)
    server.files["a.zip"], server.status = b"x", 503
    with pytest.raises(DataError, match=r"answered 503 .*run the same command again"):
        fetch(source, tmp_path, QUICK)
    assert len(server.ranges) == 4
    server.status, server.allowed = 0, "Basic YW5uOnA6dw=="
    with pytest.raises(DataError, match=r"answered 401 .*https://USER:PASSWORD@HOST"):
        fetch(source, tmp_path, QUICK)
    named = server.url("a.zip").replace("http://", "http://ann:p%3Aw@")
    assert fetch(Source("a.zip", url=named), tmp_path, QUICK).read_bytes() == b"x"
    with pytest.raises(DataError, match="no connection"):
        fetch(Source("b", url="http://127.0.0.1:9/b"), tmp_path, QUICK)


def test_sources_have_names(tmp_path):
    (tmp_path / "dev").mkdir()
    assert parse_source(str(tmp_path / "dev")).name == "dev"
    assert parse_source(f"test={tmp_path / 'dev'}").name == "test"
    assert parse_source("https://h/download?key=1&file=vox1_dev_wav_partaa").name == "vox1_dev_wav_partaa"
    assert parse_source("veri_test2.txt=https://h/x?key=1").url == "https://h/x?key=1"
    for text in ("https://h/", "a/b=https://h/", "../x=https://h/"):
        with pytest.raises(DataError, match=r"NAME=ADDRESS|no such file"):
            parse_source(text)


def tree(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def server():
    with Files() as running:
        yield running
        running.shutdown()


def test_damaged_lists_of_checksums_are_named(tmp_path):
    (tmp_path / "sums").write_text("# made by hand\nabc  a.zip\n")
    with pytest.raises(DataError, match="sums:2: expected DIGEST NAME"):
        read_checksums(tmp_path / "sums")
    (tmp_path / "sums").write_text(f"{'AB' * 16} *folder/a.zip\n")
    assert read_checksums(tmp_path / "sums") == {"a.zip": "ab" * 16}
