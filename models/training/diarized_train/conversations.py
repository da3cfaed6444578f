"""Synthetic talk with exact labels for every 10 ms: who speaks, how clear, how reverberant.

One example is a few seconds of turns of one to four voices with pauses, changes of speaker and
overlap, each voice at its own place in a room, simulated or measured, over noise, far babble, knocks,
music and signals; some are these sounds alone.
Labels come from the dry voices, so a room's tail is silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import fft

from .augment import ECHO_DB, ECHO_S, RATE_HZ, ROOM_SAMPLES, Augmenter, AugmentParams, add_echo
from .data import load_cache, speech_mask
from .loader import read_noises
from .rooms import read_rooms
from .sounds import laughter, modulated_noise, music, signals
from .voices import CachedVoices, WholeVoices

HOP_SAMPLES = 160
# Labels of clarity are bounded to the audible range.
SNR_RANGE_DB = (-10.0, 40.0)
C50_RANGE_DB = (-5.0, 35.0)
# Pauses inside a turn that are shorter than this are speech, as references of meetings have it.
BRIDGED_FRAMES = 25


# A frame of a voice is silent when it lies so far below the level at which the voice speaks.
SILENT_BELOW = 10.0**-3.4
# Kinds of sounds that are no speech, and how often one is alone or lies under the talk.
ALONE_SHARE = 0.12
MEASURED_SHARE, ECHO_SHARE, LAUGHTER_SHARE, UNBROKEN_SHARE = 0.3, 0.12, 0.08, 0.15
# What a teacher is asked about has its noise taken down to this, in decibels below the speech.
CLEAR_SNR_DB = 25.0


@dataclass
class Example:
    """Samples (n,) float32; per frame: number of voices, SNR in dB, C50 in dB.

    ``clear`` are the samples with little of what is no voice of the talk, for a teacher; None where nobody talks.
    """

    samples: np.ndarray
    voices: np.ndarray
    snr_db: np.ndarray
    c50_db: np.ndarray
    clear: np.ndarray | None = None


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


@dataclass
class _Talk:
    """The voices' spectrum before the channel, and the labels of each frame."""

    spectrum: np.ndarray
    voices: np.ndarray
    c50_db: np.ndarray


class Conversations:
    """Draws examples from a cache of speech, whole recordings, a folder of noises, one of room responses.

    ``alone_share`` of the examples hold no talk: music, signals, noise and knocks by themselves.
    """

    def __init__(
        self,
        cache: str,
        noise_dir: str | None,
        seed: int,
        seconds: float,
        rooms_dir: str | None = None,
        whole: list[str] | None = None,
        n_whole: int = 250,
        alone_share: float = ALONE_SHARE,
    ) -> None:
        self.alone_share = alone_share
        self.voices: list[CachedVoices | WholeVoices] = [CachedVoices(load_cache(Path(cache)))]
        if whole:
            self.voices.append(WholeVoices([Path(w) for w in whole], n_whole, seed))
        noises = read_noises(Path(noise_dir)) if noise_dir else []
        measured = read_rooms(Path(rooms_dir)) if rooms_dir else None
        self.augmenter = Augmenter(AugmentParams(), noises, seed, n_rooms=400, measured=measured)
        rooms, walls = self.augmenter.rooms, self.augmenter.measured
        self.rooms = [rooms] if walls is None else [rooms, walls]
        self.clarity = [np.array([clarity_db(r) for r in bank]) for bank in self.rooms]
        self.n_frames = round(seconds * RATE_HZ) // HOP_SAMPLES
        self.n_samples = self.n_frames * HOP_SAMPLES

    def _turns(self, rng: np.random.Generator) -> list[tuple[int, int, int]]:
        """(voice, first frame, frames) of the turns of one example."""
        n_voices = int(rng.choice([1, 2, 3, 4], p=[0.25, 0.4, 0.25, 0.1]))
        turns: list[tuple[int, int, int]] = []
        if rng.random() < self.alone_share:
            return turns
        if rng.random() < UNBROKEN_SHARE:
            return [(0, 0, self.n_frames)]
        at = int(rng.exponential(60)) if rng.random() < 0.8 else -int(rng.integers(50))
        pause = rng.choice([25.0, 60.0, 150.0, 300.0])
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
        n_fft = fft.next_fast_len(n + ROOM_SAMPLES, real=True)
        talk = self._talk(rng, n_fft)
        channel = self._channel(rng, np.linspace(0.0, 8000.0, n_fft // 2 + 1))
        speech = fft.irfft(talk.spectrum * channel, n_fft)[:n]
        loud = np.repeat(talk.voices > 0, HOP_SAMPLES)
        power = float(np.mean(speech[loud] ** 2)) if loud.any() else 1.0
        noise = self._background(rng, n_fft, channel, power, alone=not loud.any())

        def frame_power(x: np.ndarray) -> np.ndarray:
            return (x.reshape(frames, -1) ** 2).mean(1)

        smooth = np.ones(51) / 51
        near = np.convolve(frame_power(speech), smooth, mode="same")
        far = np.convolve(frame_power(noise), smooth, mode="same")
        snr = np.clip(10.0 * np.log10((near + 1e-12) / (far + 1e-12)), *SNR_RANGE_DB)
        clear = None
        if loud.any():
            noise_power = float(np.mean(noise**2)) + 1e-12
            clear = speech + noise * min(1.0, np.sqrt(power / noise_power * 10 ** (-CLEAR_SNR_DB / 10)))
            clear = (clear * (0.5 / (np.abs(clear).max() + 1e-6))).astype(np.float32)
        out = self._device(speech + noise, rng)
        return Example(out, talk.voices, snr.astype(np.float32), talk.c50_db, clear)

    def _device(self, out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A level, now and then an echo, clipping or mu-law, and sixteen bits."""
        if rng.random() < ECHO_SHARE:
            delay = int(rng.uniform(*ECHO_S) * RATE_HZ)
            out = add_echo(out, delay, 10.0 ** (-rng.uniform(*ECHO_DB) / 20.0))
        out = out / (np.abs(out).max() + 1e-6)
        if rng.random() < 0.1:
            squeezed = np.sign(out) * np.log1p(255.0 * np.abs(out)) / np.log(256.0)
            squeezed = np.round(squeezed * 127.5) / 127.5
            out = np.sign(squeezed) * (256.0 ** np.abs(squeezed) - 1.0) / 255.0
        out = out * 10.0 ** (rng.uniform(-45.0, 0.0) / 20.0)
        if rng.random() < 0.05:
            limit = np.quantile(np.abs(out[::7]), rng.uniform(0.97, 0.999))
            out = np.clip(out, -limit, limit)
        return (np.round(out * 32767.0) / 32768.0).astype(np.float32)

    def _channel(self, rng: np.random.Generator, freqs_hz: np.ndarray) -> np.ndarray:
        """A microphone; every sixth a telephone."""
        gain = self.augmenter._channel(rng, freqs_hz)
        if rng.random() < 0.17:
            low, high = rng.uniform(200, 350), rng.uniform(3200, 3900)
            steep = rng.uniform(30.0, 120.0)
            gain = gain / (1.0 + np.exp(np.clip((low - freqs_hz) / (steep / 4), -30, 30)))
            gain = gain / (1.0 + np.exp(np.clip((freqs_hz - high) / steep, -30, 30)))
        return gain.astype(np.float32)

    def _talk(self, rng: np.random.Generator, n_fft: int) -> _Talk:
        """The voices of one example, each at its place in the room."""
        turns = self._turns(rng)
        source = self.voices[rng.integers(len(self.voices))]
        members = source.members[rng.integers(len(source.members))]
        members = members if rng.random() < 0.5 and len(members) >= 4 else np.arange(len(source))
        chosen = rng.choice(members, 4, replace=len(members) < 4)
        roomy = rng.random() < 0.75
        bank = int(len(self.rooms) > 1 and rng.random() < MEASURED_SHARE)
        spread_db = rng.choice([3.0, 6.0])
        spectrum = np.zeros(n_fft // 2 + 1, np.complex64)
        voices = np.zeros(self.n_frames, np.int64)
        c50 = np.full(self.n_frames, C50_RANGE_DB[1], np.float32)
        for voice in sorted({v for v, _, _ in turns}):
            own = [(first, length) for v, first, length in turns if v == voice]
            dry, heard = self._voice(source, int(chosen[voice]), own, rng.normal(0.0, spread_db), rng)
            wet = fft.rfft(dry, n_fft)
            if roomy:
                room = int(rng.integers(len(self.rooms[bank])))
                wet = wet * fft.rfft(self.rooms[bank][room], n_fft)
                c50[heard] = np.minimum(c50[heard], self.clarity[bank][room])
            spectrum += wet.astype(np.complex64)
            voices += heard
        return _Talk(spectrum, voices, c50)

    def _voice(
        self,
        source: CachedVoices | WholeVoices,
        speaker: int,
        turns: list[tuple[int, int]],
        level_db: float,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The dry samples of one voice, and the frames in which it speaks; laughter is not speech."""
        dry = np.zeros(self.n_samples, np.float32)
        heard = np.zeros(self.n_frames, bool)
        for first, length in turns:
            speech = source.speech(speaker, length * HOP_SAMPLES, rng)
            laughs = length > 60 and rng.random() < LAUGHTER_SHARE
            if laughs:
                speech = laughter(speech, rng)
            power = (speech.reshape(length, -1) ** 2).mean(1)
            mask = speech_mask(speech) & (power > SILENT_BELOW) & (not laughs)
            mask = bridge(mask, BRIDGED_FRAMES)
            skip = max(0, -first)
            to = min(self.n_frames, first + length)
            if to <= first + skip:
                continue
            gain = 10.0 ** ((level_db + rng.normal(0.0, 2.0)) / 20.0)
            at = slice((first + skip) * HOP_SAMPLES, to * HOP_SAMPLES)
            dry[at] += speech[skip * HOP_SAMPLES : (to - first) * HOP_SAMPLES] * gain
            heard[first + skip : to] |= mask[skip : to - first]
        return dry, heard

    def _background(
        self, rng: np.random.Generator, n_fft: int, channel: np.ndarray, power: float, alone: bool
    ) -> np.ndarray:
        """Everything that is not a voice of the talk, relative to speech of ``power``; ``alone``: there is no talk."""
        n = self.n_samples
        total = np.zeros(n, np.float32)

        def add(noise: np.ndarray, snr_db: float) -> None:
            noise = fft.irfft(fft.rfft(noise, n_fft) * channel, n_fft)[:n]
            have = float(np.mean(noise**2)) + 1e-12
            total[:] += noise * np.float32(np.sqrt(power / have * 10.0 ** (-snr_db / 10.0)))

        colour = self.augmenter._coloured(rng, n_fft // 2 + 1)
        add(fft.irfft(colour, n_fft)[:n], rng.uniform(8.0, 50.0))
        if self.augmenter.noises and rng.random() < 0.5:
            add(self.augmenter._noise(rng, n), rng.uniform(0.0, 35.0))
        for share, make, low_db, high_db in (
            (0.12, self._babble, 12.0, 30.0),
            # Talk that is not of this conversation: next door, at another table.
            (0.3, self._distant, 20.0, 38.0),
            (0.35, self._bursts, 3.0, 30.0),
            (0.22, lambda r: music(n, r), -2.0, 25.0),
            (0.08, lambda r: signals(n, r), -2.0, 25.0),
            (0.15, lambda r: modulated_noise(n, r), 0.0, 25.0),
        ):
            if rng.random() < share:
                add(make(rng), rng.uniform(low_db, high_db))
        if alone:
            kinds = (
                lambda r: music(n, r),
                lambda r: signals(n, r),
                lambda r: modulated_noise(n, r),
                self._bursts,
            )
            add(kinds[rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])](rng), rng.uniform(-15.0, 5.0))
        return total

    def _some_voice(self, rng: np.random.Generator) -> np.ndarray:
        source = self.voices[rng.integers(len(self.voices))]
        return source.speech(int(rng.integers(len(source))), self.n_samples, rng)

    def _in_a_room(self, dry: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        room = self.rooms[0][rng.integers(len(self.rooms[0]))]
        n_fft = fft.next_fast_len(len(dry) + ROOM_SAMPLES, real=True)
        return fft.irfft(fft.rfft(dry, n_fft) * fft.rfft(room, n_fft), n_fft)[: len(dry)]

    def _babble(self, rng: np.random.Generator) -> np.ndarray:
        return self._in_a_room(sum(self._some_voice(rng) for _ in range(rng.integers(5, 9))), rng)

    def _distant(self, rng: np.random.Generator) -> np.ndarray:
        gate = np.zeros(self.n_samples, np.float32)
        at = int(rng.exponential(2.0) * RATE_HZ)
        while at < self.n_samples:
            length = int(rng.lognormal(np.log(1.5), 0.7) * RATE_HZ)
            gate[at : at + length] = 1.0
            at += length + int(rng.exponential(1.5) * RATE_HZ)
        return self._in_a_room(self._some_voice(rng) * gate, rng)
