"""Synthetic talk with exact labels for every 10 ms: who speaks, how clear, how reverberant.

One example is a few seconds of turns of one to four voices with pauses, changes of speaker and
overlap, each voice at its own place in a room, over steady noise, far babble, knocks and tones.
Labels come from the dry voices, so a room's tail is silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import fft

from .augment import RATE_HZ, Augmenter, AugmentParams
from .data import load_cache, speech_mask
from .loader import read_noises

HOP_SAMPLES = 160
# Labels of clarity are bounded to what can be heard.
SNR_RANGE_DB = (-10.0, 40.0)
C50_RANGE_DB = (-5.0, 35.0)
# Pauses inside a turn that are shorter than this are speech, as references of meetings have it.
BRIDGED_FRAMES = 25


@dataclass
class Example:
    """Samples (n,) float32; per frame: number of voices, SNR in dB, C50 in dB."""

    samples: np.ndarray
    voices: np.ndarray
    snr_db: np.ndarray
    c50_db: np.ndarray


def clarity_db(response: np.ndarray) -> float:
    """C50 of a room impulse response: energy of its first 50 ms against the rest, bounded."""
    first = int(np.argmax(np.abs(response)))
    split = first + RATE_HZ // 20
    early, late = float(np.sum(response[:split] ** 2)), float(np.sum(response[split:] ** 2))
    return float(np.clip(10.0 * np.log10((early + 1e-12) / (late + 1e-12)), *C50_RANGE_DB))


def bridge(mask: np.ndarray, longest: int) -> np.ndarray:
    """Fills gaps of at most ``longest`` frames between frames that are set."""
    set_at = np.flatnonzero(mask)
    out = mask.copy()
    for before, after in pairwise(set_at):
        if 1 < after - before <= longest + 1:
            out[before:after] = True
    return out


class Conversations:
    """Draws examples from a cache of speech and a folder of noises."""

    def __init__(self, cache: str, noise_dir: str | None, seed: int, seconds: float) -> None:
        self.cache = load_cache(Path(cache))
        pieces = self.cache.pieces
        self.rows = [np.flatnonzero(pieces[:, 0] == s) for s in range(len(self.cache.speakers))]
        self.rows = [r for r in self.rows if len(r)]
        sets = np.asarray(self.cache.sets)
        self.members = [np.flatnonzero(sets == name) for name in sorted(set(self.cache.sets))]
        noises = read_noises(Path(noise_dir)) if noise_dir else []
        self.augmenter = Augmenter(AugmentParams(), noises, seed, n_rooms=400)
        self.clarity = np.array([clarity_db(r) for r in self.augmenter.rooms])
        self.n_frames = round(seconds * RATE_HZ) // HOP_SAMPLES
        self.n_samples = self.n_frames * HOP_SAMPLES

    def _speech(self, speaker: int, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Continuous speech of one voice, at unit level where it speaks."""
        parts, have = [], 0
        while have < n_samples:
            row = rng.choice(self.rows[speaker])
            _, start, end = self.cache.pieces[row]
            piece = self.cache.samples[start:end].astype(np.float32) / 32768.0
            offset = rng.integers(max(1, len(piece) - n_samples)) if have == 0 else 0
            parts.append(piece[offset:])
            have += len(parts[-1])
            if have < n_samples and rng.random() < 0.3:
                parts.append(np.zeros(rng.integers(800, 6400), np.float32))
                have += len(parts[-1])
        speech = np.concatenate(parts)[:n_samples]
        level = np.sqrt(np.mean(speech**2)) + 1e-6
        speech = speech / level
        fade = min(80, n_samples // 2)
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        speech[:fade] *= ramp
        speech[-fade:] *= ramp[::-1]
        return speech

    def _turns(self, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """(voice, first frame, frames) of the turns of one example."""
        n_voices = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
        turns: list[tuple[int, int, int]] = []
        if rng.random() < 0.06:
            return turns
        at = int(rng.exponential(60)) if rng.random() < 0.8 else -int(rng.integers(50))
        pause = rng.choice([25.0, 60.0, 150.0])
        overlap = rng.choice([0.1, 0.3, 0.5, 0.8])
        shared = rng.choice([40.0, 120.0])
        voice = 0
        while at < self.n_frames:
            length = int(np.clip(rng.lognormal(np.log(130), 0.9), 15, 700))
            turns.append((voice, at, length))
            end = at + length
            if rng.random() < overlap and n_voices > 1:
                at = max(at + 8, end - int(rng.exponential(shared)) - 5)
            else:
                at = end + int(rng.exponential(pause))
            if n_voices > 1:
                voice = int((voice + rng.integers(1, n_voices)) % n_voices)
                # A word of agreement inside the other's turn.
                if rng.random() < 0.3 and length > 100:
                    inside = end - int(rng.integers(20, length - 20))
                    turns.append((voice, inside, int(rng.integers(15, 60))))
        return turns

    def _tones(self, rng: np.random.Generator) -> np.ndarray:
        """A few notes with overtones: what is tonal and not a voice."""
        t = np.arange(self.n_samples, dtype=np.float32) / RATE_HZ
        out = np.zeros(self.n_samples, np.float32)
        at = 0
        while at < self.n_samples:
            length = int(rng.uniform(0.1, 1.5) * RATE_HZ)
            span = slice(at, min(at + length, self.n_samples))
            n = span.stop - span.start
            for _ in range(rng.integers(1, 4)):
                pitch = 110.0 * 2.0 ** (rng.integers(0, 48) / 12.0)
                for overtone in range(1, rng.integers(2, 9)):
                    if pitch * overtone < 7800:
                        phase = 2 * np.pi * rng.random()
                        wave = np.sin(2 * np.pi * pitch * overtone * t[:n] + phase)
                        out[span] += wave / overtone ** rng.uniform(0.5, 2)
            decay = np.exp(-t[:n] * rng.uniform(0.2, 6.0)) * np.minimum(1.0, t[:n] * 200)
            out[span] *= decay
            at += length if rng.random() < 0.8 else 2 * length
        return out

    def _bursts(self, rng: np.random.Generator) -> np.ndarray:
        """Knocks, rustle and slams: short stretches of noise with a fast rise."""
        out = np.zeros(self.n_samples, np.float32)
        for _ in range(rng.integers(1, 12)):
            length = int(rng.choice([0.01, 0.04, 0.2, 0.8]) * RATE_HZ * rng.uniform(0.5, 1.5))
            at = int(rng.integers(max(1, self.n_samples - length)))
            n_freqs = length // 2 + 1
            burst = fft.irfft(self.augmenter._coloured(rng, n_freqs), length)
            t = np.arange(length) / length
            burst = burst * np.exp(-t * rng.uniform(1, 8)) * np.minimum(1.0, t * 20)
            level = rng.uniform(0.2, 2.0) / (np.sqrt(np.mean(burst**2)) + 1e-9)
            out[at : at + length] += (burst * level).astype(np.float32)
        return out

    def draw(self, rng: np.random.Generator) -> Example:
        """One example. Several tens of milliseconds of work."""
        n, frames = self.n_samples, self.n_frames
        turns = self._turns(rng)
        n_fft = fft.next_fast_len(n + 8000, real=True)
        members = self.members[rng.integers(len(self.members))]
        members = members if rng.random() < 0.5 and len(members) >= 4 else np.arange(len(self.rows))
        chosen = rng.choice(members, 4, replace=False)
        roomy = rng.random() < 0.75
        spread_db = rng.choice([3.0, 6.0])
        wet = np.zeros(n_fft // 2 + 1, np.complex64)
        voices = np.zeros(frames, np.int64)
        c50 = np.full(frames, C50_RANGE_DB[1], np.float32)
        for voice in sorted({v for v, _, _ in turns}):
            dry = np.zeros(n, np.float32)
            heard = np.zeros(frames, bool)
            level_db = rng.normal(0.0, spread_db)
            for _, first, length in (t for t in turns if t[0] == voice):
                speech = self._speech(int(chosen[voice]), length * HOP_SAMPLES, rng)
                mask = bridge(speech_mask(speech), BRIDGED_FRAMES)
                skip = max(0, -first)
                to = min(frames, first + length)
                if to <= first + skip:
                    continue
                gain = 10.0 ** ((level_db + rng.normal(0.0, 2.0)) / 20.0)
                at = slice((first + skip) * HOP_SAMPLES, to * HOP_SAMPLES)
                part = slice(skip * HOP_SAMPLES, (to - first) * HOP_SAMPLES)
                dry[at] += speech[part] * gain
                heard[first + skip : to] |= mask[skip : to - first]
            spectrum = fft.rfft(dry, n_fft)
            if roomy:
                room = int(rng.integers(len(self.augmenter.rooms)))
                spectrum = spectrum * fft.rfft(self.augmenter.rooms[room], n_fft)
                c50[heard] = np.minimum(c50[heard], self.clarity[room])
            wet += spectrum.astype(np.complex64)
            voices += heard
        channel = self.augmenter._channel(rng, np.linspace(0.0, 8000.0, n_fft // 2 + 1))
        speech = fft.irfft(wet * channel, n_fft)[:n]
        loud = np.repeat(voices > 0, HOP_SAMPLES)
        power = float(np.mean(speech[loud] ** 2)) if loud.any() else 1.0
        noise = self._background(rng, n_fft, channel, power)

        def frame_power(x: np.ndarray) -> np.ndarray:
            return (x.reshape(frames, -1) ** 2).mean(1)

        smooth = np.ones(51) / 51
        near = np.convolve(frame_power(speech), smooth, mode="same")
        far = np.convolve(frame_power(noise), smooth, mode="same")
        snr = np.clip(10.0 * np.log10((near + 1e-12) / (far + 1e-12)), *SNR_RANGE_DB)
        out = speech + noise
        peak = np.abs(out).max() + 1e-6
        out = out / peak * 10.0 ** (rng.uniform(-45.0, 0.0) / 20.0)
        if rng.random() < 0.05:
            limit = np.quantile(np.abs(out[::7]), rng.uniform(0.97, 0.999))
            out = np.clip(out, -limit, limit)
        out = np.round(out * 32767.0) / 32768.0
        return Example(out.astype(np.float32), voices, snr.astype(np.float32), c50)

    def _background(
        self, rng: np.random.Generator, n_fft: int, channel: np.ndarray, power: float
    ) -> np.ndarray:
        """Everything that is not a voice of the talk, relative to speech of ``power``."""
        n = self.n_samples
        total = np.zeros(n, np.float32)

        def add(noise: np.ndarray, snr_db: float) -> None:
            have = float(np.mean(noise**2)) + 1e-12
            total[:] += noise * np.float32(np.sqrt(power / have * 10.0 ** (-snr_db / 10.0)))

        colour = self.augmenter._coloured(rng, n_fft // 2 + 1)
        add(fft.irfft(colour * channel, n_fft)[:n], rng.uniform(8.0, 50.0))
        if self.augmenter.noises and rng.random() < 0.55:
            recorded = self.augmenter._noise(rng, n)
            add(fft.irfft(fft.rfft(recorded, n_fft) * channel, n_fft)[:n], rng.uniform(0.0, 35.0))
        if rng.random() < 0.15:
            babble = sum(
                self._speech(int(v), n, rng)
                for v in rng.integers(len(self.rows), size=rng.integers(5, 9))
            )
            room = self.augmenter.rooms[rng.integers(len(self.augmenter.rooms))]
            babble = fft.irfft(fft.rfft(babble, n_fft) * fft.rfft(room, n_fft) * channel, n_fft)[:n]
            add(babble, rng.uniform(12.0, 30.0))
        if rng.random() < 0.35:
            # Talk that is not of this conversation: next door, at another table.
            gate = np.zeros(n, np.float32)
            at = int(rng.exponential(2.0) * RATE_HZ)
            while at < n:
                length = int(rng.lognormal(np.log(1.5), 0.7) * RATE_HZ)
                gate[at : at + length] = 1.0
                at += length + int(rng.exponential(1.5) * RATE_HZ)
            distant = self._speech(int(rng.integers(len(self.rows))), n, rng) * gate
            room = self.augmenter.rooms[rng.integers(len(self.augmenter.rooms))]
            distant = fft.irfft(fft.rfft(distant, n_fft) * fft.rfft(room, n_fft) * channel, n_fft)
            add(distant[:n], rng.uniform(18.0, 36.0))
        if rng.random() < 0.35:
            add(fft.irfft(fft.rfft(self._bursts(rng), n_fft) * channel, n_fft)[:n],
                rng.uniform(3.0, 30.0))
        if rng.random() < 0.12:
            add(fft.irfft(fft.rfft(self._tones(rng), n_fft) * channel, n_fft)[:n],
                rng.uniform(0.0, 25.0))
        return total
