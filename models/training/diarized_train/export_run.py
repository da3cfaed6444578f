"""A training run's checkpoint to a model folder: calibration, trials, graph, card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from . import card
from .calibrate import cllr, corrupted_crops, eer_rows, embed_validation, fit, within_set_pairs
from .data import Cache, load_cache
from .evaluate import WINDOWS_MS, Trials, choose_trials, crops, groups
from .export import FoldedNeXtTdnn
from .front_end import LogMel
from .model_folder import write_folder
from .nexttdnn import NeXtTdnn
from .teachers import NOTICES, Teacher, best_way, open_teacher
from .train import TrainParams


def teacher_columns(
    teacher: Teacher, cache: Cache, trials: Trials, noise_dir: str | None, out: Path
) -> dict[str, dict[int, np.ndarray]]:
    """A teacher's embeddings of the trials' crops, clean and corrupted, by window; kept in ``out``."""
    if out.is_file():
        with np.load(out) as saved:
            table: dict[str, dict[int, np.ndarray]] = {}
            for key in saved.files:
                column, window_ms = key.rsplit("@", 1)
                table.setdefault(column, {})[int(window_ms)] = saved[key]
            return table
    clean, dirty = teacher.name, f"{teacher.name}, corrupted"
    table = {clean: {}, dirty: {}}
    for window_ms in WINDOWS_MS:
        for column, samples in (
            (clean, crops(cache, trials, window_ms)),
            (dirty, corrupted_crops(cache, trials, window_ms, noise_dir)),
        ):
            table[column][window_ms] = best_way(teacher, samples, trials.speakers)
    flat = {f"{c}@{w}": v for c, by_window in table.items() for w, v in by_window.items()}
    np.savez(out, **flat)
    return table


def load_run(checkpoint: Path) -> tuple[NeXtTdnn, TrainParams, dict]:
    """The averaged network of a checkpoint, its parameters and its state."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    params = TrainParams.from_dict(saved["params"])
    network = NeXtTdnn(params.network)
    network.load_state_dict(saved["ema"])
    return network.eval(), params, saved["state"]


def earlier_runs(params: TrainParams) -> list[str]:
    """What the runs were, first one first, whose weights this one began with; none if they were random."""
    runs: list[str] = []
    while params.init_from:
        source = Path(params.init_from)
        if not source.is_file():
            return [f"`{source}`, which is not here any more", *runs]
        saved = torch.load(source, map_location="cpu", weights_only=True)
        params, state = TrainParams.from_dict(saved["params"]), saved["state"]
        runs.insert(
            0,
            f"{params.network.describe()}, {state['crops']:,} crops in {state['seconds'] / 60:.0f} "
            f"minutes, learning rate {params.learning_rate:g}",
        )
    return runs


def _costs(
    calibrations: list, clean: dict[int, np.ndarray], dirty: dict[int, np.ndarray], trials: Trials
) -> list[str]:
    """The cost of each calibration on its own window, clean and corrupted speech together."""
    costs = []
    for c in calibrations:
        pairs = [
            within_set_pairs(version_of[c.window_ms], version_of[c.window_ms], trials)
            for version_of in (clean, dirty)
        ]
        scores = np.concatenate([p[0] for p in pairs])
        target = np.concatenate([p[1] for p in pairs])
        costs.append(f"{cllr(c.scale * scores + c.offset, target):.3f} at {c.window_ms / 1000:g} s")
    return costs


def _provenance(params: TrainParams, state: dict, train_cache: Cache, runs: list[str]) -> dict[str, str]:
    return {
        "trained_on": f"{len(train_cache.speakers)} speakers, {train_cache.hours:.1f} h of free "
        "speech, see CARD.md",
        "teacher": "; ".join(NOTICES.get(name, name) for name in params.teachers),
        "schedule": f"{state['crops']} crops, {state['seconds'] / 60:.0f} minutes, one cycle"
        + (f", after {len(runs)} earlier runs, see CARD.md" if runs else ""),
    }


def _schedule_fields(params: TrainParams, state: dict, runs: list[str]) -> dict[str, object]:
    """What the card says of how the network was trained."""
    return {
        "speeds": card.speeds_text(params.caches),
        "scale": params.scale,
        "margin": params.margin,
        "margin_grown": params.margin_grown,
        "large_margin": params.large_margin,
        "late": 1.0 - params.large_margin_from,
        "teachers": "; ".join(NOTICES.get(name, name) for name in params.teachers),
        "weights": card.weights_text(params.teacher_weights, params.teachers),
        "unlabelled": card.unlabelled_text(params.unlabelled, params.unlabelled_share),
        "rooms": card.rooms_text(params),
        "distillation": params.distillation,
        "relation": params.relation,
        "lengths": ", ".join(f"{v:g}" for v in params.lengths),
        "chances": "/".join(f"{v:g}" for v in params.chances),
        "late_chances": "/".join(f"{v:g}" for v in params.late_chances),
        "batch": params.batch * params.processes,
        "rate": params.learning_rate,
        "warm_up": params.warm_up,
        "ema": params.ema,
        "start": card.START.format(runs="; ".join(runs)) if runs else "",
        "crops_seen": state["crops"],
        "minutes": state["seconds"] / 60,
        "seed": params.seed,
    }


def _write_weights(folder: Path, network: NeXtTdnn, params: TrainParams, state: dict) -> None:
    weights = {"ema": {k: v.half() for k, v in network.state_dict().items()}}
    # Where things lay on the machine that trained is nobody's business.
    table = params.to_dict()
    places = {k: Path(v).name for k, v in table.items() if isinstance(v, str) and "/" in v}
    places["caches"] = tuple(Path(c).name for c in params.caches)
    torch.save({**weights, "params": table | places, "state": state}, folder / "weights.pt")


def export_run(
    checkpoint: Path,
    folder: Path,
    *,
    version: str,
    hardware: str,
    sources: Path | None,
    teachers: tuple[str, ...],
    status: str,
) -> None:
    """``teachers`` are specs of those whose error rates the card shows beside the model's; none is well."""
    network, params, state = load_run(checkpoint)
    cache = load_cache(Path(params.validation))
    trials = choose_trials(cache)
    log_mel = LogMel(params.front_end, np.float32)
    clean, dirty = embed_validation(network, log_mel, cache, trials, params.noise_dir)
    calibrations = fit(clean, dirty, trials)
    columns = {"this model": clean, "this model, corrupted": dirty}
    for spec in teachers:
        teacher = open_teacher(spec)
        kept = Path(params.validation).parent / f"trials.{teacher.name}.npz"
        columns |= teacher_columns(teacher, cache, trials, params.noise_dir, kept)
    rows = eer_rows(columns, trials)
    train_cache = load_cache(Path(params.caches[0]))
    runs = earlier_runs(params)
    names = {
        "name": folder.name,
        "version": version,
        "architecture": params.network.describe(),
        "licence": "Apache-2.0",
    }
    agreement = write_folder(
        folder,
        network,
        FoldedNeXtTdnn(network),
        params.front_end,
        **names,
        calibrations=calibrations,
        provenance=_provenance(params, state, train_cache, runs),
    )
    sizes = {g: len(set(trials.speakers[m])) for g, m in groups(trials).items()}
    text = card.CARD.format(
        **names,
        **_schedule_fields(params, state, runs),
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
        embedding_dim=params.network.embedding_dim,
        status=f"\n{status}\n" if status else "",
        crops=8,
        n_speakers=sizes["all"],
        n_crops=len(trials.rows),
        eer=card.eer_table(rows, sizes),
        data=card.data_table(train_cache, cache, sources),
        hardware=hardware,
        cllr=", ".join(_costs(calibrations, clean, dirty, trials)),
        calibration=card.calibration_table(calibrations),
        agreement=agreement,
    )
    (folder / "CARD.md").write_text(text, encoding="utf-8")
    _write_weights(folder, network, params, state)
    print(json.dumps({"agreement": agreement, "eer": [(g, w, r) for g, w, r in rows]}, indent=1))
