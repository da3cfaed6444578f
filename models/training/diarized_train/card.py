"""CARD.md of a trained model, every figure taken from the run, the caches and the trials."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .calibrate import Calibration
from .data import SAMPLE_RATE_HZ, Cache, load_cache
from .targets import SourceWeights
from .train import TrainParams


def data_table(train: Cache, validation: Cache, sources: Path | None) -> str:
    """Markdown rows by recording set: speakers, hours of trimmed speech, licence."""
    known = json.loads(sources.read_text(encoding="utf-8")) if sources else {}
    lines = [
        "| set | speakers | validation speakers | hours of speech | language, style | licence |",
        "|---|---|---|---|---|---|",
    ]

    def count(cache: Cache) -> dict[str, tuple[int, float]]:
        names = np.asarray(cache.sets)
        seconds = np.bincount(
            cache.pieces[:, 0],
            weights=cache.pieces[:, 2] - cache.pieces[:, 1],
            minlength=len(names),
        )
        return {
            name: (int((names == name).sum()), seconds[names == name].sum() / SAMPLE_RATE_HZ / 3600)
            for name in sorted(set(cache.sets))
        }

    trained, held = count(train), count(validation)
    for name in sorted(set(trained) | set(held), key=lambda n: -trained.get(n, (0, 0))[0]):
        n_train, hours = trained.get(name, (0, 0.0))
        n_held = held.get(name, (0, 0.0))[0]
        style, licence = known.get(name, ("not stated", "not stated"))
        lines.append(
            f"| {name} | {n_train} | {n_held or '–'} | {hours:.2f} | {style} | {licence} |"
        )
    total = sum(h for _, h in trained.values())
    lines.append(
        f"| **all** | **{len(train.speakers)}** | **{len(validation.speakers)}** "
        f"| **{total:.2f}** | | |"
    )
    return "\n".join(lines)


def eer_table(rows: list[tuple[str, int, dict[str, float]]], sizes: dict[str, int]) -> str:
    columns = list(rows[0][2])
    lines = [
        "| validation speakers | window | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for group, window_ms, row in rows:
        cells = " | ".join(f"{row[c]:.2f}" for c in columns)
        lines.append(f"| {group} ({sizes[group]}) | {window_ms / 1000:g} s | {cells} |")
    return "\n".join(lines)


def calibration_table(calibrations: list[Calibration]) -> str:
    lines = ["| window | scale | offset | cosine of even evidence |", "|---|---|---|---|"]
    for c in calibrations:
        even = -c.offset / c.scale
        lines.append(
            f"| {c.window_ms / 1000:g} s | {c.scale:.2f} | {c.offset:.2f} | {even:.3f} |"
        )
    return "\n".join(lines)


def weights_text(path: str | None, teachers: tuple[str, ...]) -> str:
    """How much each teacher counted, by recording set."""
    if len(teachers) == 1:
        return "One teacher for all sets."
    if path is None:
        return "All teachers count alike."
    if not Path(path).is_file():
        return f"Weights by set as in `{Path(path).name}`."
    table = SourceWeights.read(Path(path), teachers)
    rows = {**table.by_set, "other sets": table.otherwise}
    parts = [f"{name} " + "/".join(f"{w:.2f}" for w in row) for name, row in rows.items()]
    return "Weights by what each is good at on validation speakers: " + ", ".join(parts) + "."


def unlabelled_text(caches: tuple[str, ...], share: float) -> str:
    if not caches:
        return ""
    cache = load_cache(Path(caches[0]))
    return f" {share:.0%} of each batch is speech without speaker labels ({cache.hours:.2f} h), for distillation alone."


def speeds_text(caches: tuple[str, ...]) -> str:
    """The classes of speakers, and at which speeds their speech was added."""
    n_classes = sum(len(load_cache(Path(c)).speakers) for c in caches)
    speeds = sorted(int(c.rsplit("@")[1]) / 100 for c in caches if "@" in c)
    if not speeds:
        return f"{n_classes} classes, one a speaker."
    listed = ", ".join(f"{speed:g}" for speed in speeds)
    return f"Speech at {listed} times the speed counts as\nother speakers in training ({n_classes} classes)."


def rooms_text(params: TrainParams) -> str:
    """Which rooms, echoes and codecs the crops went through."""
    p = params.augment
    rooms = "Rooms are simulated"
    if params.rooms_dir and p.measured > 0:
        rooms += f" or measured ({p.measured:.0%}; OpenAIR, openairlib.net)"
    kinds = ((p.echo, "have an echo of 60 to 400 ms"), (p.opus, "go through Opus at 6 to 16 kbit/s"))
    extra = [f"{share:.0%} of crops {text}" for share, text in kinds if share]
    return "; ".join([rooms, *extra]) + "."


START = """
* Start: the weights of earlier runs, each going on from the one before: {runs}. Blocks that
  a run added began as the identity; class centres and the map to the teacher's space were fitted
  to the network before the first step."""

CARD = """# {name}

{architecture}, {parameters:.2f} M parameters, {embedding_dim}-value embeddings of windows of
1 to 3 s, compared by cosine. Version {version}, licence of the weights: {licence}.
{status}
## Equal error rate

All pairs of up to {crops} crops of each of {n_speakers} held-out speakers ({n_crops} crops,
pauses trimmed, no score normalisation), in percent. Teachers embed the very same crops;
where a window is shorter than Resemblyzer's own 1.6 s the better of its two ways (padding, or
running on fewer frames) is given.

{eer}

"corrupted" is the same crops through simulated rooms, noise, microphones and codecs of the
kind used in training (one fixed draw); the teachers had no such training, so those columns say
little about them on real rooms.

These speakers come from the same recording sets as the training speakers, one session each:
the figures flatter the model against new rooms and microphones, and the set with
the children is harder than most conversations.

## Data

{data}

Hours are of speech after pauses were cut. {speeds} Noise: kitchen, washing machine, boiler, tap,
exercise bike, white and pink (Speech Commands and an Arabic commands set, CC BY 4.0;
Picovoice's kitchen, Apache-2.0). {rooms} No recording is part of this repository.

## Training

* Loss: AAM-softmax (scale {scale:g}, margin growing to {margin:g} over the first
  {margin_grown:.0%}, {large_margin:g} with longer crops over the last {late:.0%}), plus
  {distillation:g} x (1 - cosine) between a linear map of the embedding and each teacher's, weighted, plus
  {relation:g} x the squared difference of the batch's cosines to the teachers'.
* Teachers: {teachers}. Embeddings of the clean 3 to 6 s piece a crop was cut from, mean-centred,
  averaged half and half with the speaker's mean. {weights}{unlabelled}
* Crops of {lengths} s, shares {chances} (last stage {late_chances}); batches of
  {batch}; half of each batch within one recording set.
* AdamW, learning rate {rate:g}, warm-up {warm_up:.0%}, cosine to zero by the clock; weights
  averaged with decay {ema:g}.{start}
* Cost: {crops_seen:,} crops in {minutes:.0f} minutes on {hardware}; seed {seed}.

## Calibration

log-likelihood ratio = scale x cosine + offset, fitted by logistic regression (both classes of
equal weight) on the validation speakers, pairs within one recording set, this window length
against all four, clean with clean and corrupted with corrupted. Cllr on those pairs: {cllr}.

{calibration}

## Agreement

PyTorch and onnxruntime: lowest cosine {agreement:.8f} over windows of 98 to 298 frames.
`golden.json` holds an input and onnxruntime's embedding for other engines to be checked against.

## Not good for

* Proving who somebody is: it is meant to tell the speakers of one conversation apart.
* Speech of less than a second, overlapping voices, singing, whispering, voices changed by
  effects; heavy reverberation and far microphones cost accuracy.
* Children and people alike in age, accent and telephone are confused more often than the table's
  mean says. Groups missing from the data above (most languages, older voices) are untested.

## Privacy

An embedding is biometric data: it can link recordings of one person. Store it only with that
person's consent and as briefly as you can. The weights hold no recordings; the training
speakers are volunteers of public sets under the licences above.
"""
