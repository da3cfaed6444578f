"""Published corpora: fetched from a real server, checked, unpacked, listed, and read by the binary."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus_server import Files
from diarized_train.corpora.lists import Turn, alone
from diarized_train.data import build_cache, read_kaldi
from test_binary import CONVERSATION, binary

RECIPE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    """Of the example conversation."""
    found = []
    for line in CONVERSATION.with_suffix(".rttm").read_text().splitlines():
        fields = line.split()
        start = float(fields[3])
        found.append(Turn("conversation", start, start + float(fields[4]), fields[7]))
    return found


def wav(samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 16000, format="WAV", subtype="PCM_16")
    return out.getvalue()


@pytest.fixture(scope="module")
def clips(turns) -> dict[str, list[bytes]]:
    """Three clips of 2 s or more of each person of the example conversation."""
    samples, rate = soundfile.read(CONVERSATION, dtype="float32")
    found: dict[str, list[bytes]] = {}
    for turn in alone(turns):
        piece = samples[round(turn.start_s * rate) : round(turn.end_s * rate)]
        own = found.setdefault(turn.speaker, [])
        for start in range(0, len(piece) - 2 * rate + 1, 2 * rate):
            if len(own) < 3:
                own.append(wav(piece[start : start + 2 * rate]))
    assert all(len(own) == 3 for own in found.values()) and len(found) == 4
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def prepare(*args: object, limit_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """The command, as a process of its own."""
    command = [sys.executable, "-m", "diarized_train", "prepare", *map(str, args)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        command, cwd=RECIPE, capture_output=True, text=True, preexec_fn=limit if limit_bytes else None, check=False
    )


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def server():
    with Files() as running:
        yield running
        running.shutdown()


def voxceleb(clips: dict[str, list[bytes]], folder: Path) -> dict[str, bytes]:
    """Archives as published: two people in ``dev`` in four parts, two in ``test``, and two lists of trials."""
    people = {"dev": ["id10001", "id10002"], "test": ["id10270", "id10271"]}
    voices = iter(clips.values())
    files, names = {}, {}
    for part, ids in people.items():
        content = {}
        for speaker in ids:
            for n, clip in enumerate(next(voices), 1):
                name = f"{speaker}/5r0dWxy17C{n}/{n:05d}.wav"
                content[f"wav/{name}"] = clip
                names.setdefault(speaker, []).append(name)
        files[f"vox1_{part}_wav.zip"] = zipped(content)
    whole = files.pop("vox1_dev_wav.zip")
    size = len(whole) // 4 + 1
    for n, letter in enumerate("abcd"):
        files[f"vox1_dev_wav_parta{letter}"] = whole[n * size : (n + 1) * size]

    def trials(ids: list[str]) -> bytes:
        pairs = combinations([name for speaker in ids for name in names[speaker]], 2)
        return "".join(f"{int(a[:7] == b[:7])} {a} {b}\n" for a, b in pairs).encode()

    files["veri_test2.txt"] = trials(people["test"])
    files["list_test_all2.txt"] = trials(people["dev"] + people["test"])
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    (folder / "SHA256SUMS").write_text(sums)
    return files


def test_voxceleb_from_a_server_to_error_rates_of_the_binary(server, clips, tmp_path):
    server.files = voxceleb(clips, tmp_path)
    server.cut, server.cuts = 50_000, 1
    out = tmp_path / "vox"
    command = ["voxceleb1", out, "--checksums", tmp_path / "SHA256SUMS", "--from"]
    done = prepare(*command, *map(server.url, server.files))
    assert done.returncode == 0, done.stderr
    assert "6 clips of 2 people" in done.stdout and "list_test_all2.txt: 66 trials" in done.stdout
    assert "not checked" not in done.stdout
    assert not [name for name in tree(out) if name.endswith(".part")]
    # Without the server: everything is there, nothing is fetched or written again.
    clip = out / "test/wav/id10270/5r0dWxy17C1/00001.wav"
    before = clip.stat().st_mtime_ns
    n_requests = len(server.ranges)
    again = prepare(*command, *map(server.url, server.files))
    assert (again.returncode, clip.stat().st_mtime_ns, len(server.ranges)) == (0, before, n_requests)

    cache = build_cache(out / "dev", tmp_path / "cache", 1.0, 4.0, 1)
    assert (cache.speakers, cache.sets) == (["id10001", "id10002"], ["voxceleb1"] * 2)
    program = binary()
    lists = [(out / "test", "veri_test2.txt", 15), (out / "all", "list_test_all2.txt", 66)]
    for folder, name, n_trials in lists:
        ran = run(program, "eval", "eer", out / "trials" / name, "--wav-scp", folder / "wav.scp", "--json")
        report = json.loads(ran)
        assert report["target_trials"] + report["nontarget_trials"] == n_trials
        assert report["eer"] < 15.0


def run(program: Path, *args: object) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DIARIZED_")}
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, env=clean, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def test_a_list_of_missing_clips_is_left_out_and_said(clips, tmp_path):
    files = voxceleb(clips, tmp_path)
    chosen = {name: files[name] for name in ("vox1_test_wav.zip", "veri_test2.txt", "list_test_all2.txt")}
    paths = write(tmp_path / "mine", chosen)
    out = tmp_path / "vox"
    done = prepare("voxceleb1", out, "--checksums", tmp_path / "SHA256SUMS", "--from", *paths)
    assert done.returncode == 0, done.stderr
    assert "list_test_all2.txt names 6 clips that are not here, such as id10001/" in done.stdout
    assert {name for name in tree(out) if name.startswith("trials")} == {"trials/veri_test2.txt"}
    # Files of the user are read where they lie.
    assert not (out / "archives/vox1_test_wav.zip").exists()


def test_wrong_archives_are_refused_and_leave_nothing(clips, tmp_path):
    files = voxceleb(clips, tmp_path)
    mine = tmp_path / "mine"
    write(mine, files)
    out = tmp_path / "vox"
    sums = ["--checksums", tmp_path / "SHA256SUMS"]

    def refused(*sources: object, sums: list[object] = sums) -> str:
        done = prepare("voxceleb1", out, *sums, "--from", *sources)
        assert done.returncode == 1 and done.stderr.count("Traceback") == 0, done.stderr
        assert not [name for name in tree(out) if name.endswith((".wav", ".part", ".scp"))]
        return done.stderr.rsplit("error: ", 1)[1]

    # The published checksum of the real archive holds where the user gives none.
    assert "its sha256 is" in refused(mine / "vox1_test_wav.zip", sums=[])
    damaged = bytearray(files["vox1_test_wav.zip"])
    damaged[2000] ^= 0xFF
    write(tmp_path / "bad", {"vox1_test_wav.zip": bytes(damaged)})
    assert "expected" in refused(tmp_path / "bad/vox1_test_wav.zip")
    own = [f"test={tmp_path / 'bad/vox1_test_wav.zip'}"]
    assert "the archive is damaged or cut" in refused(*own)
    write(tmp_path / "cut", {"vox1_test_wav.zip": files["vox1_test_wav.zip"][:40_000]})
    assert "the zip archive is cut" in refused(f"test={tmp_path / 'cut/vox1_test_wav.zip'}")
    write(tmp_path / "page", {"vox1_test_wav.zip": b"<html>Log in</html>"})
    assert "a web page" in refused(f"test={tmp_path / 'page/vox1_test_wav.zip'}")
    three = [mine / f"vox1_dev_wav_parta{letter}" for letter in "abd"]
    assert "needs all of them: vox1_dev_wav_partac" in refused(*three)
    assert "it is not clear what this is" in refused(CONVERSATION)
    assert "no such file or folder" in refused(tmp_path / "gone.zip")


OUTSIDE = ["../../evil.wav", "/tmp/evil.wav", "wav/../../../evil.wav", "a\\..\\evil.wav", "C:/evil.wav"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_entry_leaves_the_folder(name, clips, tmp_path):
    clip = next(iter(clips.values()))[0]
    write(tmp_path, {"test.zip": zipped({"wav/id10270/v/00001.wav": clip, name: clip})})
    done = prepare("voxceleb1", tmp_path / "out/vox", "--from", tmp_path / "test.zip")
    assert "would lie outside the folder; nothing was unpacked" in done.stderr
    assert tree(tmp_path) == {"test.zip"}


def test_links_in_archives_are_refused(clips, tmp_path):
    with tarfile.open(tmp_path / "test.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("wav/id10270/v/00001.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    done = prepare("voxceleb1", tmp_path / "vox", "--from", tmp_path / "test.tar.gz")
    assert "is a link or a device" in done.stderr
    link = zipfile.ZipInfo("wav/id10270/v/00001.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    done = prepare("voxceleb1", tmp_path / "vox", "--from", tmp_path / "test.zip")
    assert "is a link" in done.stderr


def test_a_full_disk_is_said_and_the_next_run_goes_on(clips, tmp_path):
    paths = write(tmp_path / "mine", {"test.zip": voxceleb(clips, tmp_path)["vox1_test_wav.zip"]})
    out = tmp_path / "vox"
    # A limit on the size of files is what stops it here: the second half of each clip does not fit.
    done = prepare("voxceleb1", out, "--from", *paths, limit_bytes=30_000)
    assert done.returncode == 1 and "the disk is full" in done.stderr, done.stderr
    assert "run the same command again to go on" in done.stderr
    assert not [name for name in tree(out) if name.endswith((".wav", ".part"))]
    assert prepare("voxceleb1", out, "--from", *paths).returncode == 0
    assert len([name for name in tree(out) if name.endswith(".wav")]) == 6


def test_a_disk_that_fills_up_while_an_archive_comes(server, clips, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        reason = "not run: archives on a full disk, because this user may not mount one (root may)"
        print(reason)
        pytest.skip(reason)
    try:
        server.files["test.zip"] = voxceleb(clips, tmp_path)["vox1_test_wav.zip"]
        done = prepare("voxceleb1", disk / "vox", "--from", server.url("test.zip"))
        assert done.returncode == 1 and "the disk is full" in done.stderr and "MB more are needed" in done.stderr
        assert not [name for name in tree(disk) if name.endswith((".zip", ".wav"))]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def meetings(turns: list[Turn]) -> tuple[bytes, bytes, str]:
    """The example conversation, its first half minute, and the RTTM of that, whose recording is called `{name}`."""
    samples, rate = soundfile.read(CONVERSATION, dtype="float32")
    half = samples[: 30 * rate]
    return wav(samples), wav(half), "".join(
        f"SPEAKER {{name}} 1 {t.start_s:.6f} {min(t.end_s, 30.0) - t.start_s:.6f} <NA> <NA> {t.speaker} <NA> <NA>\n"
        for t in turns
        if t.start_s < 30.0
    )


def test_voxconverse_is_labelled_and_scored_by_the_binary(server, turns, tmp_path):
    whole, half, rttm = meetings(turns)
    server.files = {
        "voxconverse_dev_wav.zip": zipped({"audio/abjxc.wav": half, "__MACOSX/audio/._abjxc.wav": b"x"}),
        "voxconverse_test_wav.zip": zipped(
            {"voxconverse_test_wav/aepyx.wav": half, "voxconverse_test_wav/zzzzz.wav": whole}
        ),
        "master.zip": zipped({
            "voxconverse-master/README.md": b"#",
            "voxconverse-master/dev/abjxc.rttm": rttm.format(name="abjxc").encode(),
            "voxconverse-master/test/aepyx.rttm": rttm.format(name="aepyx").encode(),
        }),
    }
    out = tmp_path / "vc"
    done = prepare("voxconverse", out, "--from", *map(server.url, server.files))
    assert done.returncode == 0, done.stderr
    assert f"{out}/dev: 1 recordings" in done.stdout and f"{out}/test: 1 recordings" in done.stdout
    assert "not checked, for want of a checksum: master.zip" in done.stdout
    assert (out / "test/all.uem").read_text() == "aepyx 1 0.000 30.000\n"
    speakers = {u.speaker for u in read_kaldi(out / "dev")}
    assert speakers and all(name.startswith("abjxc-") for name in speakers)
    score(out / "test", tmp_path / "labels")


def score(folder: Path, labels: Path) -> None:
    """The binary reads audio, reference and regions as they are."""
    program = binary()
    run(program, "label", "--quiet", "-o", f"{labels}/", folder / "audio")
    reference = folder / "reference.rttm"
    report = json.loads(
        run(program, "eval", "der", reference, labels, "--uem", folder / "all.uem", "--collar", "0.25", "--json")
    )
    assert report["total"]["recordings"] == 1 and report["total"]["total_s"] > 10.0
    assert report["total"]["der"] < 10.0


def test_ami_by_its_setup_and_a_mirror(server, turns, tmp_path):
    _, half, rttm = meetings(turns)
    setup = tmp_path / "AMI-diarization-setup"
    for part, name in (("test", "IS1009a"), ("dev", "ES2011a"), ("train", "ES2002a")):
        for folder in ("only_words/rttms", "uems", "word_and_vocalsounds/rttms"):
            (setup / folder / part).mkdir(parents=True, exist_ok=True)
        (setup / "lists").mkdir(exist_ok=True)
        (setup / "lists" / f"{part}.meetings.txt").write_text(f"{name}\n")
        (setup / "only_words/rttms" / part / f"{name}.rttm").write_text(rttm.format(name=name))
        (setup / "word_and_vocalsounds/rttms" / part / f"{name}.rttm").write_text("wrong one\n")
        (setup / "uems" / part / f"{name}.uem").write_text(f"{name} 1 0.000 30.000\n")
    server.files["amicorpus/IS1009a/audio/IS1009a.Mix-Headset.wav"] = half
    out = tmp_path / "ami"
    mirror = server.url("amicorpus")
    done = prepare("ami", out, "--from", setup, "--audio", mirror, "--parts", "test")
    assert done.returncode == 0, done.stderr
    assert (out / "test/all.uem").read_text() == "IS1009a 1 0.000 30.000\n"
    assert {u.speaker for u in read_kaldi(out / "test")} <= {t.speaker for t in turns}
    score(out / "test", tmp_path / "labels")

    # Another part: its meeting is missing on the mirror, then lies in a folder; a cut recording is noticed.
    done = prepare("ami", out, "--from", setup, "--audio", mirror, "--parts", "dev")
    assert "ES2011a.Mix-Headset.wav: the server answered 404" in done.stderr
    mine = tmp_path / "mine/ES2011a/audio"
    mine.mkdir(parents=True)
    (mine / "ES2011a.Mix-Headset.wav").write_bytes(half)
    assert prepare("ami", out, "--from", setup, tmp_path / "mine", "--parts", "dev").returncode == 0
    assert (out / "dev/audio/ES2011a.wav").read_bytes() == half
    samples, rate = soundfile.read(io.BytesIO(half))
    (mine / "ES2011a.Mix-Headset.wav").write_bytes(wav(samples[: 5 * rate]))
    done = prepare("ami", out, "--from", setup, tmp_path / "mine", "--parts", "dev")
    assert "the audio ends at 5.0 s; the recording is cut" in done.stderr
    assert "must be among dev, test, train" in prepare("ami", out, "--from", setup, "--parts", "eval").stderr


def test_damaged_lists_are_named(tmp_path):
    setup = tmp_path / "voxconverse"
    (setup / "dev").mkdir(parents=True)
    for line, fault in [
        ("SPEAKER a 1 x 2 <NA> <NA> s <NA> <NA>", r"a.rttm:1: start ('x') must be a number"),
        ("SPEAKER a 1 0 -2 <NA> <NA> s <NA> <NA>", r"duration ('-2') must be"),
        ("SPEAKER a 1 0", "4 fields, expected 9 or 10"),
        ("SPEAKER b 1 0 2 <NA> <NA> s <NA> <NA>", "has turns of recording b, expected a alone"),
    ]:
        (setup / "dev/a.rttm").write_text(line + "\n")
        done = prepare("voxconverse", tmp_path / f"out{len(line)}", "--from", setup)
        assert fault in done.stderr, done.stderr


def test_speech_of_one_person_alone_is_found():
    turns = [Turn("r", 0.0, 5.0, "a"), Turn("r", 4.0, 8.0, "b"), Turn("r", 8.0, 9.5, "b"), Turn("r", 9.2, 9.9, "c")]
    assert alone(turns) == [Turn("r", 0.0, 4.0, "a"), Turn("r", 5.0, 9.2, "b")]


def test_prepare_itself_says_what_it_needs():
    assert "prepare needs --train, or a corpus: voxceleb1, ami, voxconverse" in prepare().stderr
