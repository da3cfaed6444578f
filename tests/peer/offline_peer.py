"""Labels recordings with an offline diarizer made of published parts, for `score-suite --peer` to compare with.

    python3.11 -m venv .venv && .venv/bin/pip install -r tests/peer/requirements.txt
    .venv/bin/python tests/peer/offline_peer.py DATA/real sim --out peer

Each NAME.wav or NAME.flac of the folders becomes OUT/NAME.rttm. The parts, each with the settings its authors publish:

- Silero VAD (`get_speech_timestamps` with its defaults, the model that lies in its wheel) finds the speech.
- Resemblyzer embeds it as its demo of diarization does: volume normalised, silence cut out, windows of 1.6 s. The
  demo takes 16 windows a second and says that 2 are enough; 2 is the default here, since what follows costs the
  third power of their number. `--voice FOLDER` takes a model folder in its place, with windows of 1.5 s: CAM++ as
  `python -m diarized_train import campplus` writes it, or the model of this project.
- SpectralCluster's `turntodiarize_clusterer` clusters all windows of a recording at once, into 2 to 7 speakers. Its
  constraints come from a detector of speaker turns, which is not published: without a constraint matrix it clusters
  without constraints.

A moment of speech has the speaker of the window whose middle is nearest. One speaker at a time: overlap is not handled.

Two options show what a part costs. `--speech reference` takes the speech of NAME.rttm beside the recording. `--nearest`
gives each window to the nearest of the true speakers' mean embeddings, which no clustering can know. It implies
`--speech reference`.
No network is needed once the packages are installed. Results do not depend on the order or number of recordings.
"""

import argparse
import copy
import functools
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

# The recipe reads model folders.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "training"))

# Deprecations inside the packages, which the user cannot act on.
warnings.filterwarnings("ignore", category=UserWarning, message="pkg_resources is deprecated")
warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
warnings.filterwarnings("ignore", category=DeprecationWarning)

import librosa  # noqa: E402
import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from resemblyzer import VoiceEncoder, normalize_volume, wav_to_mel_spectrogram  # noqa: E402
from resemblyzer.hparams import (  # noqa: E402
    audio_norm_target_dBFS,
    mel_window_step,
    partials_n_frames,
    sampling_rate,
)
from silero_vad import get_speech_timestamps, load_silero_vad  # noqa: E402
from spectralcluster import configs  # noqa: E402

# As in `VoiceEncoder.embed_utterance`.
MIN_COVERAGE = 0.75
# Windows embedded at once: bounds the memory that the network takes.
BATCH = 64
# The clusterer's eigengap is undefined for fewer windows; so little speech is given to one speaker.
MIN_WINDOWS = 3

# Windows of a model folder.
WINDOW_S = 1.5

Stretch = tuple[int, int]
Voice = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def read(path: Path) -> np.ndarray:
    """Mono samples at 16 kHz, float32."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(axis=1)
    if rate != sampling_rate:
        samples = librosa.resample(samples, orig_sr=rate, target_sr=sampling_rate)
    return samples


def speech_of(samples: np.ndarray, vad) -> list[Stretch]:
    """Stretches of speech as half-open ranges of samples, in order."""
    found = get_speech_timestamps(torch.from_numpy(samples), vad, sampling_rate=sampling_rate)
    return [(stretch["start"], min(stretch["end"], len(samples))) for stretch in found]


def resemblyzer_windows(encoder: VoiceEncoder, speech: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (n_windows, 256) and the middles of their windows in samples.

    The same as the partial embeddings of `embed_utterance`, but in batches.
    """
    slices, mel_slices = encoder.compute_partial_slices(len(speech), rate, MIN_COVERAGE)
    padding = max(0, slices[-1].stop - len(speech))
    mel = wav_to_mel_spectrogram(np.pad(speech, (0, padding)))
    embeddings = []
    with torch.inference_mode():
        for first in range(0, len(slices), BATCH):
            windows = np.stack([mel[part] for part in mel_slices[first : first + BATCH]])
            embeddings.append(encoder(torch.from_numpy(windows)).numpy())
    middles = np.array([(part.start + part.stop) / 2 for part in slices])
    return np.concatenate(embeddings), middles


def folder_windows(network, speech: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """The same by a model folder: unit vectors of windows of 1.5 s, the last one at the end."""
    length = min(len(speech), int(WINDOW_S * sampling_rate))
    starts = np.arange(0, len(speech) - length + 1, int(sampling_rate / rate))
    if starts[-1] + length < len(speech):
        starts = np.append(starts, len(speech) - length)
    whole = np.clip(np.round(speech * 32768.0), -32768, 32767).astype(np.int16)
    embeddings = network.embed([whole[start : start + length] for start in starts])
    return embeddings, starts + length / 2


def cluster(embeddings: np.ndarray) -> np.ndarray:
    """A speaker's number for each window."""
    if len(embeddings) < MIN_WINDOWS:
        return np.zeros(len(embeddings), dtype=int)
    # AutoTune narrows its own range of search as it runs, so each recording needs the clusterer as published.
    clusterer = copy.deepcopy(configs.turntodiarize_clusterer)
    return clusterer.predict(embeddings.astype(np.float64)).astype(int)


def reference_turns(path: Path) -> list[tuple[int, int, str]]:
    """(start, end, speaker) in samples from the RTTM beside a recording."""
    turns = []
    for line in path.with_suffix(".rttm").read_text().splitlines():
        fields = line.split()
        if fields and fields[0] == "SPEAKER":
            start_s, length_s = float(fields[3]), float(fields[4])
            turns.append((int(start_s * sampling_rate), int((start_s + length_s) * sampling_rate), fields[7]))
    return sorted(turns)


def reference_speech(path: Path, n_samples: int) -> list[Stretch]:
    """Stretches in which anybody speaks, without those too short for one analysis frame."""
    merged: list[Stretch] = []
    for start, end, _ in reference_turns(path):
        end = min(end, n_samples)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged


def nearest(path: Path, speech: list[Stretch], embeddings: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """For each window the number of the true speaker whose mean embedding is nearest."""
    turns = reference_turns(path)
    names = sorted({speaker for _, _, speaker in turns})
    joined = np.cumsum([0] + [end - start for start, end in speech])
    part = np.clip(np.searchsorted(joined, middles, side="right") - 1, 0, len(speech) - 1)
    moments = np.array([speech[p][0] for p in part]) + middles - joined[part]
    half = WINDOW_S * sampling_rate / 2
    shares = np.zeros((len(middles), len(names)))
    for start, end, speaker in turns:
        shared = np.minimum(end, moments + half) - np.maximum(start, moments - half)
        shares[:, names.index(speaker)] += np.maximum(0, shared)
    truth = shares.argmax(1)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    # Without the window itself, which would be nearest to a mean that it is part of.
    sums = np.stack([unit[truth == k].sum(0) for k in range(len(names))])
    counts = np.bincount(truth, minlength=len(names))
    best, label = np.full(len(unit), -np.inf), truth.copy()
    for k in range(len(names)):
        own = (truth == k)[:, None]
        mean = sums[k] - np.where(own, unit, 0.0)
        length = np.linalg.norm(mean, axis=1)
        cosine = np.where(length > 1e-9, (mean * unit).sum(1) / np.maximum(length, 1e-9), -np.inf)
        cosine[(counts[k] - own[:, 0]) <= 0] = -np.inf
        label = np.where(cosine > best, k, label)
        best = np.maximum(best, cosine)
    return label


def turns_of(speech: list[Stretch], middles: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, int]]:
    """(start, end, speaker) in samples of the recording, from windows over its speech put end to end."""
    # Where each window's label begins and ends to hold, as positions in the joined speech.
    between = (middles[:-1] + middles[1:]) / 2
    changes = np.flatnonzero(labels[:-1] != labels[1:])
    cuts = np.round(between[changes]).astype(int).tolist()
    speakers = labels[np.concatenate([[0], changes + 1])].tolist()
    turns = []
    joined = 0
    for start, end in speech:
        length = end - start
        inner = [cut for cut in cuts if joined < cut < joined + length]
        current = sum(cut <= joined for cut in cuts)
        edges = [joined, *inner, joined + length]
        for idx, (a, b) in enumerate(pairwise(edges)):
            turns.append((start + a - joined, start + b - joined, speakers[current + idx]))
        joined += length
    return turns


def rttm(name: str, turns: list[tuple[int, int, int]]) -> str:
    lines = []
    for start, end, speaker in turns:
        start_s, length_s = start / sampling_rate, (end - start) / sampling_rate
        lines.append(f"SPEAKER {name} 1 {start_s:.3f} {length_s:.3f} <NA> <NA> P{speaker + 1} <NA> <NA>\n")
    return "".join(lines)


def label(path: Path, vad, voice: Voice, args: argparse.Namespace) -> tuple[str, str]:
    """The RTTM of a recording and a line about it."""
    samples = read(path)
    known = args.nearest or args.speech == "reference"
    speech = reference_speech(path, len(samples)) if known else speech_of(samples, vad)
    length_s = len(samples) / sampling_rate
    if not speech:
        return "", f"{length_s:.0f} s, no speech"
    if not args.voice:
        samples = normalize_volume(samples, audio_norm_target_dBFS, increase_only=True).astype(np.float32)
    joined = np.concatenate([samples[start:end] for start, end in speech])
    embeddings, middles = voice(joined, args.rate)
    labels = nearest(path, speech, embeddings, middles) if args.nearest else cluster(embeddings)
    speech_s = len(joined) / sampling_rate
    facts = f"{length_s:.0f} s, {speech_s:.0f} s of speech, {len(labels)} windows, {len(set(labels))} speakers"
    return rttm(path.stem, turns_of(speech, middles, labels)), facts


def recordings(folders: list[Path]) -> list[Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            sys.exit(f"offline_peer: {folder} is not a folder")
        here = sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".flac"))
        if not here:
            sys.exit(f"offline_peer: {folder} holds no NAME.wav or NAME.flac")
        for path in here:
            if path.stem in found:
                sys.exit(f"offline_peer: {path} and {found[path.stem]} would have the same NAME.rttm")
            if any(c.isspace() for c in path.stem):
                sys.exit(f"offline_peer: {path}: white space in a name has no place in an RTTM")
            found[path.stem] = path
    return list(found.values())


def window_rate(text: str) -> float:
    """A rate at which windows leave no gap and at most every frame begins one."""
    fewest, most = 1000 / (partials_n_frames * mel_window_step), 1000 / mel_window_step
    try:
        rate = float(text)
    except ValueError:
        rate = float("nan")
    if not fewest <= rate <= most:
        raise argparse.ArgumentTypeError(f"rate ({text}) must be from {fewest:g} to {most:g} windows a second")
    return rate


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders of NAME.wav or NAME.flac")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for NAME.rttm")
    parser.add_argument(
        "--rate", type=window_rate, default=2.0, metavar="N", help="windows a second of speech (default: 2)"
    )
    parser.add_argument("--voice", type=Path, metavar="FOLDER", help="a model folder in place of Resemblyzer")
    parser.add_argument(
        "--speech", choices=("silero", "reference"), default="silero", help="where the speech is (default: silero)"
    )
    parser.add_argument(
        "--nearest", action="store_true", help="the nearest of the true speakers' means in place of clustering"
    )
    parser.add_argument("--resume", action="store_true", help="leave out recordings that have their NAME.rttm")
    args = parser.parse_args()

    files = recordings(args.folders)
    args.out.mkdir(parents=True, exist_ok=True)
    vad = load_silero_vad()
    if args.voice:
        from diarized_train.teachers import FolderTeacher

        voice = functools.partial(folder_windows, FolderTeacher(args.voice))
    else:
        voice = functools.partial(resemblyzer_windows, VoiceEncoder("cpu", verbose=False))
    failed = 0
    for idx, path in enumerate(files, 1):
        out = args.out / f"{path.stem}.rttm"
        head = f"[{idx}/{len(files)}] {path.name}"
        if args.resume and out.exists():
            print(f"{head}: is there", file=sys.stderr)
            continue
        print(f"{head}: …", file=sys.stderr, flush=True)
        began_s = time.process_time()
        try:
            text, facts = label(path, vad, voice, args)
        except Exception as error:  # One bad recording does not cost the others theirs; the exit code tells.
            failed += 1
            print(f"{head}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        # Whole or not at all, so that --resume never takes half a file for a result.
        part = out.with_suffix(".part")
        part.write_text(text)
        part.replace(out)
        took_s = time.process_time() - began_s
        print(f"{head}: {facts}, {took_s:.1f} s of processor time", file=sys.stderr, flush=True)
    if failed:
        print(f"offline_peer: {failed} of {len(files)} recordings failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
