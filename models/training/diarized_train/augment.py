"""On-the-fly augmentation of a batch of crops: rooms, echo, noise, babble, channels, codecs.

Reverberation, noise and channel are one product in the frequency domain, so a whole batch
costs four transforms per crop.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from scipy import fft

from .rooms import room_bank

RATE_HZ = 16000
ROOM_SAMPLES = 8000
SPEED_OF_SOUND = 343.0
# A loudspeaker that the microphone picks up again, and a line: delays in seconds, decibels below the voice.
ECHO_S = (0.06, 0.4)
ECHO_DB = (3.0, 20.0)
OPUS_BITS_PER_S = (6e3, 16e3)


@dataclass(frozen=True)
class AugmentParams:
    """How often each corruption strikes; all probabilities per crop."""

    untouched: float = 0.15
    room: float = 0.6
    noise: float = 0.75
    babble: float = 0.35
    interferer: float = 0.15
    silence_edge: float = 0.2
    band_limit: float = 0.3
    tilt: float = 0.6
    mu_law: float = 0.08
    clip: float = 0.08
    quiet: float = 0.15
    frequency_mask: float = 0.5
    time_mask: float = 0.3
    # Share of the rooms that are measured ones, where there are any.
    measured: float = 0.0
    echo: float = 0.0
    opus: float = 0.0


def shoebox_response(rng: np.random.Generator) -> np.ndarray:
    """One room impulse response, (ROOM_SAMPLES,): images up to order 3, then a noise tail.

    Early reflections follow Allen and Berkley (1979) with one absorption for all walls and
    fractional delays spread over two samples; past the mixing time the response is Gaussian
    noise decaying by 60 dB in the room's reverberation time, coloured by air and walls.
    """
    size = rng.uniform([2.5, 2.5, 2.3], [10.0, 8.0, 4.0])
    volume = float(np.prod(size))
    surface = 2.0 * float(size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    rt60_s = float(np.clip(np.exp(rng.normal(np.log(0.4), 0.45)), 0.12, 1.1))
    absorption = float(np.clip(0.161 * volume / (surface * rt60_s), 0.02, 0.95))
    reflect = np.sqrt(1.0 - absorption)
    # Half of the sources are far from the microphone, as in meetings.
    microphone = rng.uniform(0.3, size - 0.3)
    for _ in range(8):
        source = rng.uniform(0.3, size - 0.3)
        distance = float(np.linalg.norm(source - microphone))
        if 0.2 < distance < rng.choice([1.0, 6.0]):
            break
    order = np.arange(-3, 4)
    nx, ny, nz = np.meshgrid(order, order, order, indexing="ij")
    n = np.stack([nx.ravel(), ny.ravel(), nz.ravel()], axis=1)
    bounces = np.abs(n).sum(1)
    keep = bounces <= 5
    n, bounces = n[keep], bounces[keep]
    images = np.where(n % 2 == 0, source, size - source) + n * size
    distances = np.linalg.norm(images - microphone, axis=1)
    amplitude = reflect**bounces * rng.uniform(0.8, 1.0, len(n)) / np.maximum(distances, 0.2)
    first = distances.min()
    delay = (distances - first) / SPEED_OF_SOUND * RATE_HZ
    response = np.zeros(ROOM_SAMPLES + 1)
    whole = delay.astype(int)
    inside = whole < ROOM_SAMPLES
    part = delay - whole
    np.add.at(response, whole[inside], ((1 - part) * amplitude)[inside])
    np.add.at(response, whole[inside] + 1, (part * amplitude)[inside])
    response = response[:ROOM_SAMPLES]
    # Diffuse tail: its energy against the direct sound by the room's critical distance.
    critical = 0.057 * np.sqrt(volume / rt60_s)
    t = np.arange(ROOM_SAMPLES) / RATE_HZ
    tail = rng.standard_normal(ROOM_SAMPLES) * 10.0 ** (-3.0 * t / rt60_s)
    smooth = rng.uniform(0.0, 0.6)
    tail[1:] = (1 - smooth) * tail[1:] + smooth * tail[:-1]
    mixing = min(0.02, 2e-3 * np.sqrt(volume))
    tail *= np.clip(t / mixing, 0.0, 1.0)
    energy = (amplitude.max() ** 2) * (max(first, 0.2) / critical) ** 2
    tail *= np.sqrt(energy / (np.sum(tail**2) + 1e-12))
    response = response + tail
    return (response / np.abs(response[:80]).max()).astype(np.float32)


def opus_round_trip(samples: np.ndarray, bits_per_s: float) -> np.ndarray:
    """(n_samples,) float32 through an Opus encoder and decoder; what the decoder lacks at the end is silent."""
    import soundfile

    # libsndfile maps the level from 0 to 1 to 256 to 6 kbit/s.
    level = float(np.clip((256e3 - bits_per_s) / 250e3, 0.0, 1.0))
    with io.BytesIO() as packets:
        soundfile.write(
            packets, samples, RATE_HZ, format="OGG", subtype="OPUS", compression_level=level
        )
        packets.seek(0)
        decoded, _ = soundfile.read(packets, dtype="float32")
    out = np.zeros_like(samples)
    out[: len(decoded)] = decoded[: len(samples)]
    return out


def add_echo(samples: np.ndarray, delay_samples: int, gain: float) -> np.ndarray:
    """(n_samples,) with itself, later and weaker, on top."""
    out = samples.copy()
    if 0 < delay_samples < len(samples):
        out[delay_samples:] += gain * samples[:-delay_samples]
    return out


class Augmenter:
    """Turns clean crops of a batch into features-ready crops; holds rooms and noises."""

    def __init__(
        self,
        params: AugmentParams,
        noises: list[np.ndarray],
        seed: int,
        n_rooms: int = 300,
        measured: list[np.ndarray] | None = None,
    ) -> None:
        self.params = params
        self.noises = noises
        rng = np.random.default_rng(seed)
        self.rooms = np.stack([shoebox_response(rng) for _ in range(n_rooms)])
        self.measured = room_bank(measured, ROOM_SAMPLES, rng) if measured else None

    def _coloured(self, rng: np.random.Generator, n_freqs: int) -> np.ndarray:
        """Spectrum of random noise with a random slope and a random broad peak."""
        f = np.linspace(1e-3, 1.0, n_freqs)
        slope = rng.uniform(0.0, 1.2)
        shape = f**-slope
        if rng.random() < 0.4:
            centre, width = rng.uniform(0.02, 0.7), rng.uniform(0.02, 0.3)
            shape = shape * (1.0 + rng.uniform(0, 8) * np.exp(-(((f - centre) / width) ** 2)))
        phase = rng.standard_normal(n_freqs) + 1j * rng.standard_normal(n_freqs)
        return (shape * phase).astype(np.complex64)

    def _noise(self, rng: np.random.Generator, n_samples: int) -> np.ndarray:
        noise = self.noises[rng.integers(len(self.noises))]
        start = rng.integers(max(1, len(noise) - n_samples))
        piece = noise[start : start + n_samples].astype(np.float32)
        return np.resize(piece, n_samples)

    def _channel(self, rng: np.random.Generator, freqs_hz: np.ndarray) -> np.ndarray:
        """Magnitude response of a microphone, a telephone, a codec."""
        p = self.params
        gain = np.ones(len(freqs_hz), np.float32)
        if rng.random() < p.tilt:
            knots = np.array([0, 150, 400, 1000, 2000, 4000, 6000, 8000.0])
            db = rng.normal(0.0, 4.0, len(knots))
            gain = (10.0 ** (np.interp(freqs_hz, knots, db) / 20.0)).astype(np.float32)
        if rng.random() < p.band_limit:
            kind = rng.random()
            low, high = 0.0, 8000.0
            if kind < 0.35:
                low, high = rng.uniform(200, 350), rng.uniform(3200, 3900)
            elif kind < 0.75:
                high = rng.uniform(2800, 7400)
            else:
                low = rng.uniform(80, 300)
            steep = rng.uniform(30.0, 250.0)
            if low > 0.0:
                gain = gain / (1.0 + np.exp(np.clip((low - freqs_hz) / (steep / 4), -30, 30)))
            if high < 8000.0:
                gain = gain / (1.0 + np.exp(np.clip((freqs_hz - high) / steep, -30, 30)))
        return gain.astype(np.float32)

    def __call__(
        self, crops: np.ndarray, others: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """(N, n_samples) crops and crops of other speakers to corrupted crops in [-1, 1]."""
        n, n_samples = crops.shape
        original = crops
        crops = self._other_sounds(crops.copy(), others, rng)
        n_fft = fft.next_fast_len(n_samples + ROOM_SAMPLES, real=True)
        spectrum = fft.rfft(crops, n_fft)
        n_freqs = spectrum.shape[1]
        freqs_hz = np.linspace(0.0, RATE_HZ / 2, n_freqs)
        self._add_rooms(spectrum, n_fft, rng)
        self._add_noise(spectrum, others, n_samples, rng)
        for i in range(n):
            spectrum[i] *= self._channel(rng, freqs_hz)
        out = fft.irfft(spectrum, n_fft)[:, :n_samples]
        peak = np.abs(out).max(axis=1, keepdims=True) + 1e-6
        out = self._transmit(out / peak * (10.0 ** (rng.uniform(-14.0, -0.5, (n, 1)) / 20.0)), rng)
        untouched = rng.random(n) < self.params.untouched
        out[untouched] = original[untouched]
        return (np.round(out * 32767.0) / 32768.0).astype(np.float32)

    def _other_sounds(
        self, crops: np.ndarray, others: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Silence at edges, pieces of other speakers and echoes; in place."""
        p = self.params
        n, n_samples = crops.shape
        for i in np.flatnonzero(rng.random(n) < p.silence_edge):
            span = int(n_samples * rng.uniform(0.05, 0.35))
            where = slice(0, span) if rng.random() < 0.5 else slice(n_samples - span, n_samples)
            crops[i, where] *= rng.choice([0.0, 0.02])
        for i in np.flatnonzero(rng.random(n) < p.interferer):
            span = int(n_samples * rng.uniform(0.1, 0.4))
            start = 0 if rng.random() < 0.5 else n_samples - span
            other = others[rng.integers(len(others)), :span]
            ratio = np.sqrt(np.mean(crops[i] ** 2) / (np.mean(other**2) + 1e-9))
            crops[i, start : start + span] += (
                other * ratio * 10.0 ** (-rng.uniform(2, 15) / 20.0)
            )
        if p.echo:
            for i in np.flatnonzero(rng.random(n) < p.echo):
                delay = int(rng.uniform(*ECHO_S) * RATE_HZ)
                crops[i] = add_echo(crops[i], delay, 10.0 ** (-rng.uniform(*ECHO_DB) / 20.0))
        return crops

    def _add_rooms(self, spectrum: np.ndarray, n_fft: int, rng: np.random.Generator) -> None:
        """Room responses, in place on spectra (N, n_freqs)."""
        p = self.params
        n = len(spectrum)
        roomy = np.flatnonzero(rng.random(n) < p.room)
        if len(roomy):
            picks = rng.integers(len(self.rooms), size=len(roomy))
            rooms = self.rooms[picks]
            if self.measured is not None and p.measured:
                real = np.flatnonzero(rng.random(len(roomy)) < p.measured)
                rooms[real] = self.measured[rng.integers(len(self.measured), size=len(real))]
            spectrum[roomy] *= fft.rfft(rooms, n_fft)

    def _add_noise(
        self, spectrum: np.ndarray, others: np.ndarray, n_samples: int, rng: np.random.Generator
    ) -> None:
        """Babble, recorded or coloured noise, in place on spectra (N, n_freqs)."""
        p = self.params
        n, n_freqs = spectrum.shape
        n_fft = fft.next_fast_len(n_samples + ROOM_SAMPLES, real=True)
        for i in np.flatnonzero(rng.random(n) < p.noise):
            kind = rng.random()
            if kind < p.babble:
                voices = rng.integers(len(others), size=rng.integers(2, 7))
                added, low_db = others[voices].sum(0), 5.0
                noise = fft.rfft(added, n_fft)
                if rng.random() < 0.5:
                    room = self.rooms[rng.integers(len(self.rooms))]
                    noise = noise * fft.rfft(room, n_fft)
            elif kind < p.babble + 0.35 and self.noises:
                noise, low_db = fft.rfft(self._noise(rng, n_samples), n_fft), 0.0
            else:
                noise, low_db = self._coloured(rng, n_freqs), 0.0
            power = np.vdot(spectrum[i], spectrum[i]).real
            ratio = power / (np.vdot(noise, noise).real + 1e-9)
            snr_db = rng.uniform(low_db, 22.0)
            spectrum[i] += noise * np.float32(np.sqrt(ratio * 10.0 ** (-snr_db / 10.0)))

    def _transmit(self, out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Clipping, codecs and low levels, in place on samples (N, n_samples)."""
        p = self.params
        n = len(out)
        for i in np.flatnonzero(rng.random(n) < p.clip):
            limit = np.quantile(np.abs(out[i, ::7]), rng.uniform(0.95, 0.995))
            out[i] = np.clip(out[i], -limit, limit)
        for i in np.flatnonzero(rng.random(n) < p.mu_law):
            levels = rng.choice([64, 128, 255])
            squeezed = np.sign(out[i]) * np.log1p(255.0 * np.abs(out[i])) / np.log(256.0)
            squeezed = np.round(squeezed * levels / 2) / (levels / 2)
            out[i] = np.sign(squeezed) * (256.0 ** np.abs(squeezed) - 1.0) / 255.0
        if p.opus:
            for i in np.flatnonzero(rng.random(n) < p.opus):
                out[i] = opus_round_trip(out[i].astype(np.float32), rng.uniform(*OPUS_BITS_PER_S))
        for i in np.flatnonzero(rng.random(n) < p.quiet):
            out[i] *= 10.0 ** (-rng.uniform(10.0, 35.0) / 20.0)
        return out

    def mask(self, features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """SpecAugment on mean-normalised (N, n_mels, T) features, in place."""
        n, n_mels, n_frames = features.shape
        for i in np.flatnonzero(rng.random(n) < self.params.frequency_mask):
            for _ in range(rng.integers(1, 3)):
                width = rng.integers(2, 11)
                start = rng.integers(n_mels - width)
                features[i, start : start + width] = 0.0
        for i in np.flatnonzero(rng.random(n) < self.params.time_mask):
            width = rng.integers(3, max(4, n_frames // 8))
            start = rng.integers(n_frames - width)
            features[i, :, start : start + width] = 0.0
        return features
