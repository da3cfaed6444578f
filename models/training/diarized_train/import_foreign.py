"""A foreign checkpoint to a model folder, calibrated on speech that the user has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .calibrate import Calibration, embed_validation, fit
from .data import load_cache
from .evaluate import WINDOWS_MS, choose_trials
from .foreign import CheckpointError, load_foreign
from .front_end import LogMel
from .model_folder import write_folder

# Layouts that the short way names, and the licence of published weights where all have one.
NAMES = {
    "campplus": "CAM++",
    "large": "VoicePersonification large",
    "wespeaker": "WeSpeaker ResNet",
    "redimnet": "ReDimNet",
}
LICENCES = {"campplus": "Apache-2.0"}

# Stands in where nothing was fitted: even evidence at cosine 0.5.
UNFITTED = {"scale": 10.0, "offset": -5.0}

CARD = """# {name}

{architecture}, taken from a checkpoint in the layout of {layout}; licence of the weights:
{licence}. PyTorch and onnxruntime agree to a cosine of {agreement:.8f}.

{calibration}
"""


def import_foreign(
    checkpoint: Path,
    folder: Path,
    *,
    licence: str,
    validation: Path | None,
    noise_dir: str | None,
    version: str,
    layout: str | None = None,
) -> float:
    """Writes the folder; returns the agreement of PyTorch and onnxruntime.

    With ``layout``, one of ``NAMES``, a checkpoint of another layout is an error.
    """
    foreign = load_foreign(checkpoint)
    if layout and foreign.layout != NAMES[layout]:
        raise CheckpointError(f"{checkpoint}: a {NAMES[layout]} checkpoint is needed, this is {foreign.layout}")
    if validation:
        cache = load_cache(validation)
        trials = choose_trials(cache)
        mel = LogMel(foreign.front_end, np.float32)
        calibrations = fit(
            *embed_validation(foreign.network, mel, cache, trials, noise_dir), trials
        )
        note = f"Calibrated on {len(set(trials.speakers))} held-out speakers."
    else:
        calibrations = [
            Calibration(window_ms, **UNFITTED, eer=float("nan")) for window_ms in WINDOWS_MS
        ]
        note = (
            "NOT calibrated: scale and offset are stand-ins, so confidences and thresholds "
            "mean nothing until the import is repeated with --validation."
        )
    agreement = write_folder(
        folder,
        foreign.network,
        foreign.graph,
        foreign.front_end,
        name=folder.name,
        version=version,
        architecture=foreign.architecture,
        licence=licence,
        calibrations=calibrations,
        provenance={"layout": foreign.layout, "calibration": note},
    )
    text = CARD.format(
        name=folder.name,
        architecture=foreign.architecture,
        layout=foreign.layout,
        licence=licence,
        agreement=agreement,
        calibration=note,
    )
    (folder / "CARD.md").write_text(text, encoding="utf-8")
    return agreement
