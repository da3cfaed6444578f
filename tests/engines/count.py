"""Counts the instructions of one window of the voice model on aarch64, in the product's kernels and in tract, both in
QEMU. `scripts/check-aarch64` builds and installs what this needs.

The program gets the windows of the model's golden file and must give its embeddings. A figure is the difference between
the counts of requests for a few windows and for one more than that many again, so load and request do not count.
"""

import argparse
import array
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

FRAMES_A_SECOND = 100
WINDOWS = 4
MIN_COSINE = 0.99999
LIBRARIES = "/usr/aarch64-linux-gnu"


class Emulated:
    """A build of models/examples/time-windows.rs for aarch64, with the plugin that counts."""

    def __init__(self, program: Path, plugin: Path, options: list[str], folder: Path, lengths: list[int]):
        command = ["qemu-aarch64", "-L", LIBRARIES, "-plugin", str(plugin.resolve()), str(program), *options]
        self.process = subprocess.Popen([*command, str(folder), *map(str, lengths)], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.read()

    def read(self) -> tuple[list[str], int]:
        """An answer, and the instructions until it was written."""
        line = self.process.stdout.readline()
        count = self.process.stderr.readline()
        if not line or not count.strip().isdigit():
            self.process.kill()
            sys.exit(f"error: {self.process.args[0]} failed: {count}{self.process.stderr.read()}")
        return line.split(), int(count)

    def ask(self, request: str) -> tuple[list[str], int]:
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.read()

    def embed(self, n_frames: int) -> list[float]:
        return [float(word) for word in self.ask(f"embed {n_frames}")[0]]

    def instructions(self, n_frames: int) -> float:
        """Instructions of one window."""
        before = self.ask(f"embed {n_frames}")[1]
        few = self.ask(f"time {n_frames} 1")[1]
        many = self.ask(f"time {n_frames} {1 + WINDOWS}")[1]
        return ((many - few) - (few - before)) / WINDOWS


def cosine(a: list[float], b: list[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(
        math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def golden_windows(golden: dict, folder: Path, lengths: list[int]) -> None:
    """Writes the features of the golden file at each length: cut off, or begun again from the first frame."""
    n_frames = golden["n_frames"]
    rows = [golden["features"][n * n_frames:(n + 1) * n_frames] for n in range(golden["n_mels"])]
    for length in lengths:
        values = array.array("f", [row[idx % n_frames] for row in rows for idx in range(length)])
        if sys.byteorder == "big":
            values.byteswap()
        (folder / f"{length}.f32").write_bytes(values.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, help="the example time-windows, built for aarch64")
    parser.add_argument("--plugin", type=Path, required=True, help="count_instructions.c, built for QEMU")
    parser.add_argument("--model", type=Path, required=True, help="folder with golden.json")
    parser.add_argument("--seconds", default="1,1.5,2,3", help="window lengths [%(default)s]")
    args = parser.parse_args()
    try:
        lengths = [round(float(seconds) * FRAMES_A_SECOND) for seconds in args.seconds.split(",")]
    except ValueError:
        parser.error(f"--seconds must be numbers with commas between, not {args.seconds!r}")
    golden = json.loads((args.model / "golden.json").read_text())
    known = golden["n_frames"]
    with tempfile.TemporaryDirectory() as folder:
        loaded = sorted({known, *lengths})
        golden_windows(golden, Path(folder), loaded)
        engines = {name: Emulated(args.program, args.plugin, options, Path(folder), loaded)
                   for name, options in [("kernels", []), ("tract", ["--in-tract"])]}
        for name, engine in engines.items():
            agreement = cosine(engine.embed(known), golden["embedding"])
            if not agreement >= MIN_COSINE:
                sys.exit(f"error: {name} has cosine {agreement} to the embedding of the golden file")
            print(f"{name}: 1 - cosine to the golden file {max(0.0, 1 - agreement):.0e}")
        print("\n| window | kernels | tract | ratio | 1 - cosine |")
        print("|---|---|---|---|---|")
        for n_frames in lengths:
            ours, theirs = (engine.instructions(n_frames) for engine in engines.values())
            agreement = cosine(*(engine.embed(n_frames) for engine in engines.values()))
            print(f"| {n_frames / FRAMES_A_SECOND:g} s | {ours / 1e6:.1f} M | {theirs / 1e6:.1f} M "
                  f"| {ours / theirs:.2f} | {max(0.0, 1 - agreement):.0e} |", flush=True)
        for engine in engines.values():
            engine.process.stdin.close()
            engine.process.wait()


if __name__ == "__main__":
    main()
