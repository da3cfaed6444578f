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

from . import arguments, arguments_corpora, arguments_export, arguments_train
from .data import SPEEDS, DataError, build_cache, build_speed_cache, load_cache


def _prepare(args: argparse.Namespace) -> None:
    from .teachers import embed_cache, open_teacher

    for option, value in (("--train", args.train), ("--work", args.work)):
        if not value:
            raise SystemExit(f"error: prepare needs {option}, or a corpus: voxceleb1, ami, voxconverse")
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


def _prepare_corpus(args: argparse.Namespace) -> None:
    from .corpora.command import prepare_corpus

    prepare_corpus(args)


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
        steps=args.steps,
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
    from .import_foreign import LICENCES, NAMES, import_foreign

    checkpoint, out = args.checkpoint, args.out
    layout = None
    if args.named:
        if len(args.named) != 3 or checkpoint or out:
            raise SystemExit("error: import takes LAYOUT FILE OUT, or --checkpoint FILE --out OUT")
        layout, checkpoint, out = args.named
        if layout not in (*NAMES, "segmentation"):
            raise SystemExit(f"error: layout ({layout!r}) must be one of {', '.join(NAMES)}, segmentation")
    licence = args.licence or LICENCES.get(layout)
    for option, value in (("--checkpoint", checkpoint), ("--out", out), ("--licence", licence)):
        if not value:
            raise SystemExit(f"error: import needs {option}")
    if layout == "segmentation":
        from .import_segmentation import import_segmentation

        agreement = import_segmentation(Path(checkpoint), Path(out), licence=licence, version=args.version)
        print(f"{out}: onnxruntime agrees with PyTorch to a cosine of {agreement:.8f}")
        return
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

    arguments_corpora.add_corpora(arguments.add_prepare(commands, _prepare), _prepare_corpus)
    arguments.add_weigh(commands, _weigh)
    arguments.add_evaluate(commands, _evaluate)
    arguments.add_make_talk(commands, _make_talk)
    arguments.add_measure_sounds(commands, _measure_sounds)
    arguments.add_measure_speech(commands, _measure_speech)
    arguments.add_offline(commands, _pack, _check_answers, _slim)
    arguments_train.add_train(commands, _train)
    arguments_export.add_export(commands, _export)
    arguments_train.add_train_segmenter(commands, _segment)
    arguments_export.add_fit_plda(commands, _fit_plda)
    arguments_export.add_export_segmenter(commands, _export_segmenter)
    arguments_export.add_import(commands, _import)

    args = parser.parse_args()
    from .foreign import CheckpointError
    from .model_folder import ExportError
    from .teachers import TeacherError

    try:
        args.run_command(args)
    except (CheckpointError, DataError, ExportError, TeacherError) as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
