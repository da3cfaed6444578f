"""Times the voice model in the product's engine and in onnxruntime, in turns, on one core. `scripts/compare-engines`
builds and installs what this needs.

Every round gives each engine a few windows of each length, in an order that rotates. A round's figure is the median
of its windows, and a ratio is that of two figures of one round: a machine that slows down slows both. All engines get
the same features, those of the model's golden file, and must agree on the embeddings, or the figures mean nothing.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

FRAMES_A_SECOND = 100
# Windows that an engine computes in a row; one more before them is not counted.
WINDOWS_A_TURN = 5
MIN_COSINE = 0.9999
REFERENCE = "onnxruntime"


class OnnxRuntime:
    """onnxruntime in this process, on one thread."""

    def __init__(self, model: Path, windows: dict[int, np.ndarray]):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.inputs = {n: {"features": features[None]} for n, features in windows.items()}

    def embed(self, n_frames: int) -> np.ndarray:
        return self.session.run(None, self.inputs[n_frames])[0].ravel()

    def times_ms(self, n_frames: int) -> list[float]:
        self.embed(n_frames)
        times = []
        for _ in range(WINDOWS_A_TURN):
            began = time.perf_counter_ns()
            self.embed(n_frames)
            times.append((time.perf_counter_ns() - began) / 1e6)
        return times


class Program:
    """A build of models/examples/time-windows.rs, in a process of its own."""

    def __init__(self, program: str, folder: Path, lengths: list[int]):
        command = [program, str(folder), *map(str, lengths)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def read(self) -> list[str]:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"error: {self.process.args[0]} ended with {self.process.wait()}")
        return line.split()

    def ask(self, request: str) -> list[str]:
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.read()

    def embed(self, n_frames: int) -> np.ndarray:
        return np.array(self.ask(f"embed {n_frames}"), dtype=np.float64)

    def times_ms(self, n_frames: int) -> list[float]:
        return [int(word) / 1e6 for word in self.ask(f"time {n_frames} {WINDOWS_A_TURN}")]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def golden_windows(model: Path, lengths: list[int]) -> dict[int, np.ndarray]:
    """The features of the golden file at each length: cut off, or begun again from the first frame."""
    golden = json.loads((model / "golden.json").read_text())
    rows = np.array(golden["features"], np.float32).reshape(golden["n_mels"], golden["n_frames"])
    return {n: np.ascontiguousarray(np.resize(rows.T, (n, len(rows))).T) for n in lengths}


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def measure(engines: dict, lengths: list[int], n_rounds: int) -> dict:
    names = list(engines)
    figures = {n: {name: [] for name in names} for n in lengths}
    for idx in range(n_rounds):
        first = idx % len(names)
        for n_frames in lengths:
            for name in names[first:] + names[:first]:
                figures[n_frames][name].append(statistics.median(engines[name].times_ms(n_frames)))
    return figures


def print_table(engines: dict, figures: dict) -> None:
    print(f"| window | engine | ms | fastest | ratio to {REFERENCE} | 1 - cosine |")
    print("|---|---|---|---|---|---|")
    for n_frames, by_engine in figures.items():
        expected = engines[REFERENCE].embed(n_frames)
        for name, times in by_engine.items():
            ratios = [ours / reference for ours, reference in zip(times, by_engine[REFERENCE], strict=True)]
            agreement = cosine(engines[name].embed(n_frames), expected)
            if agreement < MIN_COSINE:
                sys.exit(f"error: {name} has cosine {agreement} to {REFERENCE} at {n_frames} frames")
            last = ["", ""] if name == REFERENCE else [spread(ratios), f"{max(0.0, 1 - agreement):.0e}"]
            cells = [f"{n_frames / FRAMES_A_SECOND:g} s", name, spread(times), f"{min(times):.2f}", *last]
            print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", action="append", default=[], metavar="NAME=PATH", required=True,
                        help="a build of the example time-windows; repeat it to compare versions")
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx and golden.json")
    parser.add_argument("--seconds", default="1,1.5,2,3", help="window lengths [%(default)s]")
    parser.add_argument("--rounds", type=int, default=60, help="[%(default)s]")
    parser.add_argument("--core", type=int, help="core of all engines [the last one allowed]")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {args.rounds}")
    try:
        lengths = [round(float(seconds) * FRAMES_A_SECOND) for seconds in args.seconds.split(",")]
    except ValueError:
        parser.error(f"--seconds must be numbers with commas between, not {args.seconds!r}")

    allowed = os.sched_getaffinity(0)
    core = max(allowed) if args.core is None else args.core
    if core not in allowed:
        parser.error(f"--core must be one of {sorted(allowed)}, not {core}")
    # Also of the programs that are started below.
    os.sched_setaffinity(0, {core})
    windows = golden_windows(args.model, lengths)
    with tempfile.TemporaryDirectory() as folder:
        for n_frames, features in windows.items():
            features.astype("<f4").tofile(Path(folder) / f"{n_frames}.f32")
        engines = {REFERENCE: OnnxRuntime(args.model / "model.onnx", windows)}
        for program in args.program:
            name, found, path = program.partition("=")
            if not found or name in engines:
                parser.error(f"--program must be NAME=PATH with a name of its own, not {program!r}")
            engines[name] = Program(path, Path(folder), lengths)
    print(f"{args.model.name} on core {core} of {processor()}, {REFERENCE} {onnxruntime.__version__}, {args.rounds} "
          f"rounds of {WINDOWS_A_TURN} windows. Medians, in brackets the quartiles over the rounds.\n")
    print_table(engines, measure(engines, lengths, args.rounds))


if __name__ == "__main__":
    main()
