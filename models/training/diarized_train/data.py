"""Kaldi data directories, decoded once into a 16-bit cache of trimmed, joined speech.

``wav.scp`` holds ``recording path`` (relative paths are looked up in the directory itself,
then in its parent), ``segments`` (optional) ``utterance recording start end`` in seconds,
``utt2spk`` ``utterance speaker``. Without ``utt2spk`` no speaker is known and each utterance stands alone: speech
to distil from. ``spk2set`` (optional) holds ``speaker set``. The cache is one flat int16 file and an index: for every
speaker, pieces of continuous speech with the pauses cut to at most 0.15 s.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

SAMPLE_RATE_HZ = 16000
# A pause inside a piece keeps this much on each side; longer silence is cut out.
PAUSE_KEPT_FRAMES = 7
VAD_HOP_SAMPLES = 160
# Speech is what comes within this many dB of the utterance's loud frames.
VAD_BELOW_LOUD_DB = 32.0


class DataError(ValueError):
    """A data directory that cannot be read; names the file and line."""


@dataclass(frozen=True)
class Utterance:
    name: str
    speaker: str
    path: Path
    start_s: float
    end_s: float | None


def _read_table(path: Path, n_fields: int) -> list[tuple[int, list[str]]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split(maxsplit=n_fields - 1)
        if len(parts) != n_fields:
            raise DataError(f"{path}:{number}: expected {n_fields} fields, got {len(parts)}")
        rows.append((number, parts))
    return rows


def read_kaldi(directory: Path, allow_unlabelled: bool = False) -> list[Utterance]:
    """Utterances of a Kaldi data directory, in file order; unknown speakers are called as the utterance."""
    scp, utt2spk = directory / "wav.scp", directory / "utt2spk"
    if not scp.is_file():
        raise DataError(f"{scp}: no such file")
    labelled = utt2spk.is_file()
    if not labelled and not allow_unlabelled:
        raise DataError(f"{utt2spk}: no such file; speech without speakers goes to --unlabelled")
    recordings: dict[str, Path] = {}
    for number, (name, where) in _read_table(scp, 2):
        if where.rstrip().endswith("|"):
            raise DataError(f"{scp}:{number}: commands are not run, give a file")
        candidates = [directory / where, directory.parent / where]
        found = next((c for c in candidates if c.is_file()), None)
        if found is None:
            raise DataError(f"{scp}:{number}: no such file: {where}")
        recordings[name] = found
    speakers = {name: spk for _, (name, spk) in _read_table(utt2spk, 2)} if labelled else {}
    utterances = []
    segments = directory / "segments"
    if segments.is_file():
        for number, (name, recording, start, end) in _read_table(segments, 4):
            if recording not in recordings:
                raise DataError(f"{segments}:{number}: unknown recording {recording}")
            if labelled and name not in speakers:
                raise DataError(f"{segments}:{number}: {name} is not in utt2spk")
            try:
                start_s, end_s = float(start), float(end)
            except ValueError:
                raise DataError(f"{segments}:{number}: start and end must be numbers") from None
            if not 0.0 <= start_s < end_s:
                raise DataError(f"{segments}:{number}: start {start} must be < end {end}")
            speaker = speakers.get(name, name)
            utterances.append(Utterance(name, speaker, recordings[recording], start_s, end_s))
    else:
        for name, path in recordings.items():
            if labelled and name not in speakers:
                raise DataError(f"{scp}: {name} is not in utt2spk")
            utterances.append(Utterance(name, speakers.get(name, name), path, 0.0, None))
    return utterances


def read_audio(path: Path, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
    """Mono float32 at 16 kHz, all of it or a span; ``DataError`` names a file that cannot be read or holds nothing."""
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            file.seek(min(round(start_s * rate), file.frames))
            n = -1 if end_s is None else max(0, round(end_s * rate) - round(start_s * rate))
            samples = file.read(n, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio: {error}") from error
    if len(samples) == 0:
        raise DataError(f"{path} holds no audio; take it out of wav.scp")
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE_HZ:
        from scipy.signal import resample_poly

        common = gcd(rate, SAMPLE_RATE_HZ)
        mono = resample_poly(mono, SAMPLE_RATE_HZ // common, rate // common)
    return mono.astype(np.float32)


def speech_mask(samples: np.ndarray) -> np.ndarray:
    """Energy VAD: one bool per 10 ms, relative to the utterance's own loudness."""
    n_frames = len(samples) // VAD_HOP_SAMPLES
    if n_frames == 0:
        return np.zeros(0, bool)
    block = samples[: n_frames * VAD_HOP_SAMPLES].reshape(n_frames, -1)
    # The first difference keeps hum and rumble from passing for speech.
    power = (np.diff(block, axis=1) ** 2).mean(axis=1) + 1e-12
    level_db = 10.0 * np.log10(power)
    loud_db = np.percentile(level_db, 95)
    quiet_db = np.percentile(level_db, 5)
    threshold = max(loud_db - VAD_BELOW_LOUD_DB, min(quiet_db + 6.0, loud_db - 12.0))
    speech = level_db > threshold
    kernel = np.ones(2 * PAUSE_KEPT_FRAMES + 1)
    return np.convolve(speech, kernel, mode="same") > 0.5


def trim(samples: np.ndarray) -> np.ndarray:
    """Speech only, pauses cut to at most 0.15 s."""
    mask = np.repeat(speech_mask(samples), VAD_HOP_SAMPLES)
    return samples[: len(mask)][mask]


def _load_recording(job: tuple[Path, list[tuple[float, float | None]]]) -> list[np.ndarray]:
    path, spans = job
    samples = read_audio(path)
    out = []
    for start_s, end_s in spans:
        end = len(samples) if end_s is None else round(end_s * SAMPLE_RATE_HZ)
        piece = trim(samples[round(start_s * SAMPLE_RATE_HZ) : end])
        peak = float(np.abs(piece).max()) if len(piece) else 0.0
        if peak > 0.0:
            piece = piece * (0.9 / peak)
        out.append((piece * 32767.0).round().astype(np.int16))
    return out


@dataclass
class Cache:
    """Speech of every speaker as one flat int16 array and where each piece lies in it.

    ``pieces`` is (n_pieces, 3): speaker index, first sample, sample past the last. Pieces
    of one speaker are at least ``min_piece_s`` long where the speaker has that much.
    """

    speakers: list[str]
    sets: list[str]
    pieces: np.ndarray
    samples: np.ndarray

    @property
    def hours(self) -> float:
        return float((self.pieces[:, 2] - self.pieces[:, 1]).sum()) / SAMPLE_RATE_HZ / 3600


def read_sets(directory: Path) -> dict[str, str]:
    """Recording set by speaker, of ``spk2set``; empty without that file."""
    path = directory / "spk2set"
    return {speaker: name for _, (speaker, name) in _read_table(path, 2)} if path.is_file() else {}


def set_of(speaker: str, path: Path, sets: dict[str, str]) -> str:
    """The recording set, whose speakers share channel and style: as listed, else the folder of the recording."""
    return sets.get(speaker, path.parent.name)


def build_cache(
    directory: Path,
    out: Path,
    min_piece_s: float,
    max_piece_s: float,
    workers: int,
    allow_unlabelled: bool = False,
) -> Cache:
    """Decodes a data directory to ``out`` unless it is there already."""
    index, flat = out.with_suffix(".json"), out.with_suffix(".i16")
    if index.is_file() and flat.is_file():
        return load_cache(out)
    utterances = read_kaldi(directory, allow_unlabelled)
    listed_sets = read_sets(directory)
    jobs: dict[Path, list[Utterance]] = {}
    for utterance in utterances:
        jobs.setdefault(utterance.path, []).append(utterance)
    by_speaker: dict[str, list[np.ndarray]] = {}
    set_names: dict[str, str] = {}
    with ProcessPoolExecutor(workers) as pool:
        work = [(path, [(u.start_s, u.end_s) for u in us]) for path, us in jobs.items()]
        loaded = pool.map(_load_recording, work, chunksize=4)
        for us, pieces in tqdm(
            zip(jobs.values(), loaded, strict=True), total=len(work), desc="decode"
        ):
            for utterance, piece in zip(us, pieces, strict=True):
                by_speaker.setdefault(utterance.speaker, []).append(piece)
                set_names[utterance.speaker] = set_of(utterance.speaker, utterance.path, listed_sets)
    speakers = sorted(by_speaker)
    rows, position = [], 0
    out.parent.mkdir(parents=True, exist_ok=True)
    minimum, maximum = int(min_piece_s * SAMPLE_RATE_HZ), int(max_piece_s * SAMPLE_RATE_HZ)
    with flat.open("wb") as handle:
        for speaker_idx, speaker in enumerate(speakers):
            for piece in join_pieces(by_speaker[speaker], minimum, maximum):
                handle.write(piece.tobytes())
                rows.append((speaker_idx, position, position + len(piece)))
                position += len(piece)
    sets = [set_names[s] for s in speakers]
    index.write_text(json.dumps({"speakers": speakers, "sets": sets, "pieces": rows}))
    return load_cache(out)


def join_pieces(pieces: list[np.ndarray], minimum: int, maximum: int) -> list[np.ndarray]:
    """Joins neighbours until each is ``minimum`` long and splits what passes ``maximum``."""
    joined: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    for piece in pieces:
        pending.append(piece)
        if sum(map(len, pending)) >= minimum:
            joined.append(np.concatenate(pending))
            pending = []
    if pending:
        rest = np.concatenate(pending)
        if joined and len(rest) < minimum:
            joined[-1] = np.concatenate([joined[-1], rest])
        elif len(rest):
            joined.append(rest)
    out = []
    for piece in joined:
        n_parts = max(1, round(len(piece) / maximum))
        out.extend(part for part in np.array_split(piece, n_parts) if len(part))
    return out


def load_cache(out: Path) -> Cache:
    index = json.loads(out.with_suffix(".json").read_text())
    samples = np.memmap(out.with_suffix(".i16"), dtype=np.int16, mode="r")
    pieces = np.asarray(index["pieces"], np.int64)
    return Cache(index["speakers"], index["sets"], pieces, samples)


# Resampling ratios (up, down) whose result, played at the old rate, is the speed in percent.
SPEEDS = {"90": (10, 9), "110": (10, 11), "80": (5, 4), "120": (5, 6)}


def build_speed_cache(cache: Cache, speed: str, out: Path, workers: int) -> Cache:
    """A cache of the same pieces played faster or slower: other voices, so other speakers."""
    index, flat = out.with_suffix(".json"), out.with_suffix(".i16")
    if index.is_file() and flat.is_file():
        return load_cache(out)
    up, down = SPEEDS[speed]
    rows, position = [], 0
    with flat.open("wb") as handle, ProcessPoolExecutor(workers) as pool:
        jobs = ((cache.samples[a:b], up, down) for _, a, b in cache.pieces)
        resampled = pool.map(_resample, jobs, chunksize=32)
        speakers = cache.pieces[:, 0]
        for speaker_idx, piece in tqdm(
            zip(speakers, resampled, strict=True), total=len(speakers), desc=f"speed {speed}"
        ):
            handle.write(piece.tobytes())
            rows.append((int(speaker_idx), position, position + len(piece)))
            position += len(piece)
    names = [f"{speaker}@{speed}" for speaker in cache.speakers]
    index.write_text(json.dumps({"speakers": names, "sets": cache.sets, "pieces": rows}))
    return load_cache(out)


def _resample(job: tuple[np.ndarray, int, int]) -> np.ndarray:
    from scipy.signal import resample_poly

    samples, up, down = job
    resampled = resample_poly(samples.astype(np.float32), up, down)
    return np.clip(np.round(resampled), -32768, 32767).astype(np.int16)
