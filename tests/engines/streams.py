"""Compares the speed of one stream in two or more builds or configurations, in turns on one core.

    python3 tests/engines/streams.py before=old/diarized now=target/release/diarized
    python3 tests/engines/streams.py 'short=target/release/diarized bench --window-ms 1000' now=target/release/diarized

Each command is `diarized bench` with its options; the word `bench` may be left out where none follow. A ratio is that
of two figures of one round to the first command's, so it depends little on what else the machine does.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys

FIGURES = ["whole path", "network", "everything else"]


def factors(command: list[str], seconds: int) -> list[float]:
    """Real-time factors of one run, in the order of FIGURES."""
    options = ["--seconds", str(seconds), "--memory-sessions", "1", "--json", "--quiet"]
    try:
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    except OSError as error:
        sys.exit(f"error: {command[0]} cannot be started: {error.strerror}")
    if done.returncode:
        sys.exit(f"error: {shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    rtf = json.loads(done.stdout)["single"]["rtf"]
    return [rtf["total"], rtf["embedder"], rtf["rest"]]


def spread(values: list[float], digits: int) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--rounds", type=int, default=15, help="[%(default)s]")
    parser.add_argument("--seconds", type=int, default=60, help="audio of one run [%(default)s]")
    parser.add_argument("--core", type=int, help="core of all commands [the last one allowed]")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {args.rounds}")
    commands = {}
    for text in args.commands:
        name, found, command = text.partition("=")
        words = shlex.split(command)
        if not found or not words or name in commands:
            parser.error(f"a command must be NAME=COMMAND with a name of its own, not {text!r}")
        commands[name] = words if len(words) > 1 else [*words, "bench"]
    allowed = os.sched_getaffinity(0)
    core = max(allowed) if args.core is None else args.core
    if core not in allowed:
        parser.error(f"--core must be one of {sorted(allowed)}, not {core}")
    os.sched_setaffinity(0, {core})

    names = list(commands)
    runs = {name: [] for name in names}
    for idx in range(args.rounds):
        first = idx % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(factors(commands[name], args.seconds))
    print(f"Real-time factors on core {core}, {args.rounds} rounds of {args.seconds} s of audio. Medians, in brackets "
          "the quartiles over the rounds.\n")
    print(f"| | {' | '.join(names)} | {' | '.join(f'{name} to {names[0]}' for name in names[1:])} |")
    print(f"|---|{'---|' * (2 * len(names) - 1)}")
    for idx, figure in enumerate(FIGURES):
        by_name = {name: [run[idx] for run in runs[name]] for name in names}
        ratios = [[ours / reference for ours, reference in zip(by_name[name], by_name[names[0]], strict=True)]
                  for name in names[1:]]
        cells = [spread(by_name[name], 4) for name in names] + [spread(ratio, 2) for ratio in ratios]
        print(f"| {figure} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
