"""Arguments of the commands that train networks."""

from __future__ import annotations

import argparse

from .arguments import Commands, Run, add_work
from .data import SPEEDS


def _add_run(parser: argparse.ArgumentParser, minutes: float) -> None:
    """What a run learns from, where it is kept, how long it takes, and its seed."""
    add_work(parser)
    parser.add_argument("--run", required=True, help="folder for checkpoints and the log")
    parser.add_argument("--noise", help="folder of noise recordings")
    parser.add_argument("--minutes", type=float, default=minutes, help="length of the schedule")
    parser.add_argument(
        "--steps", type=int, default=0, help="length of the schedule in steps, whatever time they take"
    )
    parser.add_argument("--seed", type=int, default=1)


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    """How the voice model learns, and from what it starts."""
    parser.add_argument("--ema", type=float, default=0.9995, help="decay of the averaged weights")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument(
        "--distillation", type=float, default=15.0, help="weight of the teachers' embeddings"
    )
    parser.add_argument(
        "--relation", type=float, default=10.0, help="weight of the teacher's cosines within a batch"
    )
    parser.add_argument("--evaluate-every", type=float, default=8.0, help="minutes")
    parser.add_argument("--evaluate-crops", type=int, default=8, help="crops a speaker")
    parser.add_argument(
        "--evaluate-windows", type=int, nargs="+", default=[1000, 1500, 2000, 3000]
    )
    parser.add_argument("--patience", type=int, default=0, help="evaluations; 0 never stops")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=4,
        default=[0.35, 0.4, 0.2, 0.05],
        help="shares of crops of 1, 1.5, 2 and 3 s",
    )
    parser.add_argument(
        "--late-shares",
        type=float,
        nargs=4,
        default=[0.25, 0.35, 0.25, 0.15],
        help="the same in the last stage, whose margin is larger",
    )
    parser.add_argument(
        "--device", default="cpu", help="cuda makes the batches there too; then --processes 1"
    )
    parser.add_argument(
        "--init-from", help="checkpoint to start from; blocks that it lacks start as identity"
    )


def add_train(commands: Commands, run: Run) -> None:
    """Arguments of training the voice model."""
    parser = commands.add_parser("train", help="train, or resume the run in --run")
    _add_run(parser, minutes=120.0)
    parser.add_argument("--processes", type=int, default=2, help="trainers of one thread each")
    parser.add_argument("--batch", type=int, default=32, help="crops a process and step")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument(
        "--depth", type=int, nargs="+", default=[2], help="blocks a stage: one for all, or each"
    )
    parser.add_argument("--kernels", type=int, nargs="+", default=[7, 65])
    parser.add_argument("--aggregation", default="vap_bn_tanh_fc_bn")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--no-speeds", action="store_true")
    parser.add_argument("--speeds", nargs="*", choices=list(SPEEDS), help="percent; all unless given")
    parser.add_argument("--teachers", nargs="+", default=["resemblyzer"], help="names")
    parser.add_argument("--teacher-weights", help="file of weigh-teachers; all alike without it")
    parser.add_argument(
        "--unlabelled-share", type=float, default=0.0, help="of a batch, from speech without speakers"
    )
    parser.add_argument("--hold-out", nargs="*", default=[], help="recording sets not to train on")
    parser.add_argument("--fold", metavar="N/M", help="hold out the sets of fold N of M")
    parser.add_argument("--rooms", help="folder of measured room responses")
    parser.add_argument("--measured", type=float, default=0.4, help="their share of the rooms")
    parser.add_argument("--echo", type=float, default=0.1, help="share of crops with an echo")
    parser.add_argument("--opus", type=float, default=0.1, help="share of crops through Opus")
    parser.add_argument(
        "--fit-heads-crops", type=int, default=5000, help="crops that fit the heads to a warm network"
    )
    _add_schedule(parser)
    parser.set_defaults(run_command=run)


def add_train_segmenter(commands: Commands, run: Run) -> None:
    """Arguments of training the voice activity network."""
    parser = commands.add_parser(
        "train-segmenter", help="train the voice activity network on synthetic talk"
    )
    _add_run(parser, minutes=20.0)
    parser.add_argument("--loaders", type=int, default=1, help="processes that make examples")
    parser.add_argument("--batch", type=int, default=12, help="examples of a step")
    parser.add_argument(
        "--overlap-weight", type=float, default=1.0, help="weight of overlap against speech"
    )
    parser.add_argument("--pool", type=int, default=4000, help="examples kept to be drawn again")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--init-from", help="last.pt, or a model folder's weights.pt, to start from")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument(
        "--dilations", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 1, 4, 16], help="one a block"
    )
    parser.add_argument("--talk", help="folder of make-talk, in place of talk made on the way")
    parser.add_argument("--rooms", help="folder of measured room responses")
    parser.add_argument(
        "--teacher-shares", type=float, nargs=2, default=[0.5, 0.5], help="of speech and overlap to learn"
    )
    parser.add_argument(
        "--frozen-blocks", type=int, default=0, help="number of first blocks that are not trained"
    )
    parser.add_argument("--evaluate-every", type=float, default=4.0, help="minutes")
    parser.add_argument("--validation-examples", type=int, default=120)
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16")
    parser.set_defaults(run_command=run)
