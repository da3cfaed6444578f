"""How much each teacher counts for each recording set, by its error rate on validation speakers there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .data import DataError, load_cache
from .evaluate import choose_trials, eer, pair_scores
from .targets import SourceWeights, read_table, weights_from_eer

# Fewer speakers of a set say little; its weights are those of all sets together.
LEAST_SPEAKERS = 10


def weigh_teachers(
    work: Path, teachers: tuple[str, ...], out: Path
) -> dict[str, dict[str, tuple[float, float]]]:
    """Writes ``out``; (weight, EER in percent) by set and teacher, ``otherwise`` for sets unknown there."""
    path = work / "val"
    if not path.with_suffix(".json").is_file():
        raise DataError(f"{path}.json: no such file; prepare --validation makes it")
    cache = load_cache(path)
    trials = choose_trials(cache)
    # What training sees are pieces less their mean.
    tables = {}
    for name in teachers:
        whole = read_table(path, name, len(cache.pieces))
        tables[name] = (whole - whole[whole.any(1)].mean(0))[trials.rows]

    def rates(mask: np.ndarray) -> list[float]:
        speakers = trials.speakers[mask]
        return [100.0 * eer(*pair_scores(tables[t][mask], tables[t][mask], speakers)) for t in teachers]

    measured = {"otherwise": rates(np.ones(len(trials.rows), bool))}
    for name in sorted(set(trials.sets)):
        mask = trials.sets == name
        if len(set(trials.speakers[mask])) >= LEAST_SPEAKERS:
            measured[str(name)] = rates(mask)
    weights = {name: weights_from_eer(row) for name, row in measured.items()}
    by_set = {name: row for name, row in weights.items() if name != "otherwise"}
    table = SourceWeights(teachers, weights["otherwise"], by_set).to_dict()
    table["eer_percent"] = {k: [round(v, 3) for v in row] for k, row in measured.items()}
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return {
        name: {t: (w, e) for t, w, e in zip(teachers, weights[name], measured[name], strict=True)}
        for name in measured
    }
