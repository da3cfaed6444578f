"""The command ``evaluate``: tables of error rates of networks and teachers on the same crops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .data import DataError
from .evaluate import embed_crops
from .front_end import LogMel
from .held_out import (
    Measured,
    SetTrials,
    by_condition,
    by_set,
    by_set_and_condition,
    by_talk,
    condition_means,
    markdown,
    means,
    set_trials,
)
from .teachers import Teacher, open_teacher, unit


class RunTeacher:
    """A training run's averaged network."""

    batch_pieces = 64

    def __init__(self, run: Path, name: str) -> None:
        from .export_run import load_run

        checkpoint = run / "last.pt" if run.is_dir() else run
        if not checkpoint.is_file():
            raise DataError(f"{checkpoint}: no such file; train makes it")
        self.network, self.params, self.state = load_run(checkpoint)
        # A run goes on while it is measured; its step tells what was.
        self.name = f"{name}.{self.state['step']}"
        self.embedding_dim = self.params.network.embedding_dim
        self.mel = LogMel(self.params.front_end, np.float32)

    def embed(self, pieces: list[np.ndarray]) -> np.ndarray:
        return unit(embed_crops(self.network, self.mel, np.stack(pieces), bf16=False))


# Rows of columns on sets, such as ``by_set`` gives.
Rows = Callable[[Measured, list[SetTrials]], list[dict]]


def _place(row: dict) -> tuple:
    """What a row is about, whatever the columns are."""
    return row["set"], row.get("condition"), row["window_ms"]


def fold_rows(runs: list[Path], sets: list[SetTrials], out: Path, rows: list[dict], measure: Rows = by_set) -> None:
    """Adds the column ``folds`` to the rows of sets that one of the runs has held out; ``measure`` made the rows."""
    known = {_place(row): row for row in rows}
    networks = [RunTeacher(run, f"{run.parent.name}-{run.name}") for run in runs]
    for network in networks:
        held = set(network.params.hold_out)
        if not held:
            raise DataError(f"{network.name}: its run held out no recording set; train --fold N/M does")
        for row in measure(Measured([network], out), [s for s in sets if s.name in held]):
            known[_place(row)]["eer"]["folds"] = row["eer"][network.name]


def evaluate(
    work: Path,
    out: Path,
    *,
    teachers: list[str],
    rooms_dir: Path | None,
    talk: list[Path],
    fold_runs: list[Path],
) -> None:
    """Writes ``report.json`` and ``report.md`` to ``out``."""
    columns: list[Teacher] = [
        RunTeacher(Path(spec.removeprefix("run=")), "run") if spec.startswith("run=") else open_teacher(spec)
        for spec in teachers
    ]
    names = [column.name for column in columns]
    if len(set(names)) != len(names):
        raise DataError(f"columns must have different names, got {', '.join(names)}")
    measured = Measured(columns, out / "kept")
    report: dict[str, list[dict]] = {}
    text = []

    def table(name: str, title: str, head: list[str], keys: list[str], rows: list[dict]) -> None:
        report[name] = rows
        text.append(f"{title}\n\n{markdown(head, rows, keys)}\n")
        (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (out / "report.md").write_text("\n".join(text), encoding="utf-8")
        print(text[-1], flush=True)

    if talk:
        rows = by_talk(measured, talk)
        table("talk", "Real talk", ["recordings", "windows"], ["recordings", "windows"], rows)
    rows = by_condition(measured, work, rooms_dir)
    table("conditions", "Validation speakers", ["condition"], ["condition"], rows)
    sets = set_trials(work)
    rows = by_set(measured, sets)
    fold_rows(fold_runs, sets, out / "kept", rows)
    rows += means([r for r in rows if not fold_runs or "folds" in r["eer"]])
    head = ["set", "speakers", "in training"]
    for row in rows:
        row["in training"] = {True: "yes", False: "no"}.get(row["trained"], "")
    table("sets", "By recording set", head, ["set", "speakers", "in training"], rows)
    if fold_runs:

        def measure(some: Measured, of: list[SetTrials]) -> list[dict]:
            return by_set_and_condition(some, of, rooms_dir)

        rows = measure(measured, sets)
        fold_rows(fold_runs, sets, out / "kept", rows, measure)
        rows = condition_means([row for row in rows if "folds" in row["eer"]])
        table("fold_conditions", "Held-out sets, mean", ["condition", "sets"], ["condition", "sets"], rows)
