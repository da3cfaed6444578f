"""Compares `diarized eval der` with pyannote.metrics, and writes the golden cases of the Rust tests.

    python -m venv .venv && .venv/bin/pip install -r tests/scoring/requirements.txt
    .venv/bin/python tests/scoring/parity.py golden
    .venv/bin/python tests/scoring/parity.py compare --diarized target/debug/diarized --n-random 300
    .venv/bin/python tests/scoring/parity.py compare --diarized target/debug/diarized --rttm-dir DIR

`compare` exits with 1 if any figure differs by more than 0.01 points. `--rttm-dir` takes real reference
RTTM files (with a .uem beside them or without) and scores perturbed copies of them as hypotheses.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import (
    DiarizationErrorRate,
    DiarizationSpeakerCountError,
    JaccardErrorRate,
)

SETTINGS = [(0.0, False), (0.25, False), (0.0, True), (0.25, True), (0.1, False)]
GOLDEN = Path(__file__).parent / "golden"
Turns = list[tuple[float, float, str]]


def annotation(turns: Turns) -> Annotation:
    result = Annotation(uri="x")
    for track, (start, duration, speaker) in enumerate(turns):
        result[Segment(start, start + duration), track] = speaker
    return result


def peer(reference: Turns, hypothesis: Turns, uem, collar: float, skip_overlap: bool) -> dict:
    """The figures of pyannote.metrics; rates in per cent, lengths in seconds."""
    r, h = annotation(reference), annotation(hypothesis)
    timeline = None if uem is None else Timeline([Segment(*region) for region in uem])
    options = {"collar": 2 * collar, "skip_overlap": skip_overlap}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        der = DiarizationErrorRate(**options)(r, h, uem=timeline, detailed=True)
        jer = JaccardErrorRate(**options)(r, h, uem=timeline)
        count = DiarizationSpeakerCountError()(r, h, uem=timeline)
    return {
        "der": 100 * der["diarization error rate"],
        "missed_s": der["missed detection"],
        "false_alarm_s": der["false alarm"],
        "confusion_s": der["confusion"],
        "total_s": der["total"],
        "jer": 100 * jer,
        "speaker_count_error": count,
    }


def some_turns(rng: random.Random, n_speakers: int, n_turns: int, duration: float, prefix: str) -> Turns:
    turns = []
    for _ in range(n_turns if n_speakers else 0):
        start = round(rng.uniform(0, duration), 3)
        length = round(min(rng.expovariate(1 / 3) + 0.01, 30), 3)
        turns.append((start, length, f"{prefix}{rng.randrange(n_speakers)}"))
    return turns


def perturbed(rng: random.Random, reference: Turns) -> Turns:
    """A hypothesis as a system would make it: boundaries move, turns vanish, split, and change speaker."""
    names = sorted({speaker for _, _, speaker in reference}) or ["A"]
    renamed = {name: f"s{idx}" for idx, name in enumerate(rng.sample(names, len(names)))}
    turns = []
    for start, length, speaker in reference:
        if rng.random() < 0.1:
            continue
        if rng.random() < 0.15:
            speaker = rng.choice(names)
        label = renamed[speaker]
        if rng.random() < 0.1:
            label += "b"
        start = max(0.0, round(start + rng.gauss(0, 0.2), 3))
        turns.append((start, max(0.001, round(length + rng.gauss(0, 0.3), 3)), label))
    return turns


def random_case(rng: random.Random):
    duration = rng.choice([10, 60, 300])
    reference = some_turns(rng, rng.randrange(0, 7), rng.randrange(0, 40), duration, "ref")
    if reference and rng.random() < 0.7:
        hypothesis = perturbed(rng, reference)
    else:
        hypothesis = some_turns(rng, rng.randrange(0, 9), rng.randrange(0, 40), duration, "hyp")
    uem = None
    if rng.random() < 0.5:
        cuts = sorted(round(rng.uniform(0, duration), 3) for _ in range(2 * rng.randrange(1, 4)))
        uem = [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if b > a] or None
    return reference, hypothesis, uem


def edge_cases():
    a, b = [(0.0, 5.0, "A"), (5.0, 5.0, "B")], [(0.0, 10.0, "x")]
    same_overlap = [(0.0, 6.0, "A"), (4.0, 6.0, "A"), (3.0, 4.0, "B")]
    yield "identical", a, a, None
    yield "one_for_two", a, b, None
    yield "empty_reference", [], b, None
    yield "empty_reference_with_uem", [], b, [(0.0, 20.0)]
    yield "empty_hypothesis", a, [], None
    yield "both_empty", [], [], None
    yield "both_empty_with_uem", [], [], [(0.0, 20.0)]
    yield "same_speaker_overlaps", same_overlap, [(0.0, 10.0, "x"), (3.0, 4.0, "y")], None
    yield "same_speaker_overlaps_both", same_overlap, same_overlap, None
    yield "nothing_within_uem", a, b, [(30.0, 40.0)]
    yield "collar_takes_all", [(0.0, 0.3, "A"), (0.4, 0.3, "B")], [(0.0, 0.7, "x")], None
    yield "uem_regions_overlap", a, b, [(2.0, 6.0), (1.0, 3.0), (8.0, 9.5)]
    yield "many_hypothesis_speakers", a, [(float(i), 1.0, f"s{i}") for i in range(10)], None


def rttm(turns: Turns) -> str:
    return "".join(f"SPEAKER x 1 {s:.3f} {d:.3f} <NA> <NA> {who} <NA> <NA>\n" for s, d, who in turns)


def write_case(folder: Path, name: str, reference: Turns, hypothesis: Turns, uem) -> None:
    (folder / f"{name}.ref.rttm").write_text(rttm(reference))
    (folder / f"{name}.hyp.rttm").write_text(rttm(hypothesis))
    if uem is not None:
        (folder / f"{name}.uem").write_text("".join(f"x 1 {a:.3f} {b:.3f}\n" for a, b in uem))


def golden() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    rng = random.Random(2026)
    cases = list(edge_cases()) + [(f"random_{i:02}", *random_case(rng)) for i in range(24)]
    rows = []
    for name, reference, hypothesis, uem in cases:
        write_case(GOLDEN, name, reference, hypothesis, uem)
        for collar, skip_overlap in SETTINGS:
            figures = peer(reference, hypothesis, uem, collar, skip_overlap)
            rows.append({"case": name, "collar_s": collar, "skip_overlap": skip_overlap, **figures})
    lines = ",\n".join(json.dumps(row) for row in rows)
    (GOLDEN / "expected.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases, {len(rows)} scores written to {GOLDEN}")


def read_rttm(path: Path) -> Turns:
    lines = [line.split() for line in path.read_text().splitlines() if line.startswith("SPEAKER")]
    return [(float(f[3]), float(f[4]), f[7]) for f in lines]


def read_uem(path: Path):
    if not path.exists():
        return None
    return [(float(f[2]), float(f[3])) for f in map(str.split, path.read_text().splitlines())]


def ours(binary: str, folder: Path, name: str, with_uem: bool, collar: float, skip_overlap: bool) -> dict:
    command = [binary, "eval", "der", str(folder / f"{name}.ref.rttm"), str(folder / f"{name}.hyp.rttm")]
    command += ["--json", "--collar", str(collar)]
    command += ["--skip-overlap"] if skip_overlap else []
    command += ["--uem", str(folder / f"{name}.uem")] if with_uem else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["total"]


def compare(binary: str, n_random: int, rttm_dirs: list[Path], seed: int) -> int:
    rng = random.Random(seed)
    cases = list(edge_cases()) + [(f"random_{i}", *random_case(rng)) for i in range(n_random)]
    for folder in rttm_dirs:
        for path in sorted(folder.glob("*.rttm")):
            reference = read_rttm(path)
            cases.append((path.stem, reference, perturbed(rng, reference), read_uem(path.with_suffix(".uem"))))
    worst: dict[str, tuple[float, str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, reference, hypothesis, uem in cases:
            write_case(Path(scratch), name, reference, hypothesis, uem)
            # Both sides get what the files say.
            collar, skip_overlap = rng.choice(SETTINGS)
            mine = ours(binary, Path(scratch), name, uem is not None, collar, skip_overlap)
            reference, hypothesis = (read_rttm(Path(scratch) / f"{name}.{side}.rttm") for side in ("ref", "hyp"))
            theirs = peer(reference, hypothesis, uem, collar, skip_overlap)
            if theirs["total_s"] == 0 and theirs["false_alarm_s"] == 0:
                # Without speech on either side pyannote.metrics has a JER of 100 %; ours is 0.
                theirs["jer"] = 0.0
            total = theirs["total_s"] or 1.0
            for key, figure in theirs.items():
                points = abs(mine[key] - figure) * (100 / total if key.endswith("_s") else 1)
                if points >= worst.get(key, (-1.0, ""))[0]:
                    worst[key] = (points, f"{name}, collar {collar}, skip overlap {skip_overlap}")
    print(f"{len(cases)} pairs; largest differences in points (speaker_count_error: speakers):")
    for key, (points, where) in worst.items():
        print(f"  {key:20} {points:.6f}  ({where})")
    return 0 if all(points <= 0.01 for points, _ in worst.values()) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden", help="write tests/scoring/golden")
    compare_parser = commands.add_parser("compare", help="compare the binary with pyannote.metrics")
    compare_parser.add_argument("--diarized", default="target/debug/diarized")
    compare_parser.add_argument("--n-random", type=int, default=200)
    compare_parser.add_argument("--rttm-dir", type=Path, action="append", default=[])
    compare_parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.command == "golden":
        golden()
        return 0
    return compare(args.diarized, args.n_random, args.rttm_dir, args.seed)


if __name__ == "__main__":
    sys.exit(main())
