"""Sounds that are no speech of a conversation, made by rule: music, signals, laughter; all (n_samples,) float32."""

from __future__ import annotations

import numpy as np

RATE_HZ = 16000
DTMF_LOW_HZ, DTMF_HIGH_HZ = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))


def _note(pitch_hz: float, n: int, rng: np.random.Generator, overtones: int, slope: float) -> np.ndarray:
    """One note with overtones, an attack, a decay, and a vibrato as a voice or a bow has it."""
    t = np.arange(n, dtype=np.float32) / RATE_HZ
    depth = rng.choice([0.0, 0.0, 0.005, 0.02])
    phase = 2 * np.pi * pitch_hz * (t - depth / 6.0 / np.pi * np.cos(2 * np.pi * rng.uniform(4, 7) * t))
    out = np.zeros(n, np.float32)
    for k in range(1, overtones + 1):
        if pitch_hz * k < 7600:
            out += np.sin(k * phase + rng.uniform(0, 6.28)).astype(np.float32) / k**slope
    attack = np.minimum(1.0, t / rng.choice([0.003, 0.02, 0.1]))
    return out * attack * np.exp(-t * rng.choice([0.3, 2.0, 6.0]))


def _drums(n: int, beat_s: float, rng: np.random.Generator) -> np.ndarray:
    """Kicks, snares and hats on a grid of half beats."""
    out = np.zeros(n + RATE_HZ, np.float32)
    step = max(800, int(beat_s * RATE_HZ / 2))
    pattern = rng.random((8, 3)) < [0.35, 0.25, 0.6]
    for i, at in enumerate(range(0, n, step)):
        length = int(0.18 * RATE_HZ)
        t = np.arange(length) / RATE_HZ
        if pattern[i % 8, 0]:
            out[at : at + length] += np.sin(2 * np.pi * (50 * t + 6 * (1 - np.exp(-t * 40)))) * np.exp(-t * 18)
        noise = rng.standard_normal(length)
        if pattern[i % 8, 1]:
            out[at : at + length] += 0.5 * noise * np.exp(-t * 25)
        if pattern[i % 8, 2]:
            out[at : at + length] += 0.3 * np.diff(noise, prepend=0.0) * np.exp(-t * 60)
    return out[:n]


def music(n: int, rng: np.random.Generator) -> np.ndarray:
    """Chords, a bass, a tune and drums, each there or not, in one key and tempo."""
    beat_s = 60.0 / rng.uniform(60, 160)
    beat = int(beat_s * RATE_HZ)
    scale = SCALES[rng.integers(len(SCALES))]
    root = 55.0 * 2.0 ** (rng.integers(0, 12) / 12.0)
    parts = rng.random(4) < [0.75, 0.6, 0.6, 0.5]
    if not parts.any():
        parts[0] = True
    timbre = [(int(rng.integers(1, 12)), float(rng.uniform(0.6, 2.0))) for _ in range(3)]
    out = np.zeros(n + 4 * beat, np.float32)

    def hz(step: int, octave: int) -> float:
        octave += step // len(scale)
        return root * 2.0 ** (octave + scale[step % len(scale)] / 12.0)

    for bar in range(0, n, 4 * beat):
        degree = int(rng.integers(len(scale)))
        if parts[0]:
            for k in (0, 2, 4):
                out[bar : bar + 4 * beat] += 0.4 * _note(hz(degree + k, 2), 4 * beat, rng, *timbre[0])
        for b in range(4):
            at = bar + b * beat
            if at >= n:
                break
            if parts[1] and rng.random() < 0.7:
                out[at : at + beat] += 0.7 * _note(hz(degree, 0), beat, rng, *timbre[1])
            if parts[2] and rng.random() < 0.8:
                pitch = hz(degree + int(rng.integers(-3, 6)) + 7, 2)
                length = beat if rng.random() < 0.6 else beat // 2
                out[at : at + length] += 0.5 * _note(pitch, length, rng, *timbre[2])
    out = out[:n]
    if parts[3]:
        out = out + 0.8 * _drums(n, beat_s, rng)
    return out.astype(np.float32)


SIGNALS = ("dtmf", "call tones", "sweeps", "tones of changing level", "tones of changing pitch", "beeps")


def signals(n: int, rng: np.random.Generator, kind: int | None = None) -> np.ndarray:
    """One kind of ``SIGNALS``, any unless given."""
    t = np.arange(n, dtype=np.float64) / RATE_HZ
    kind = int(rng.integers(len(SIGNALS))) if kind is None else kind
    if kind == 0:
        on, off = rng.uniform(0.05, 0.3), rng.uniform(0.03, 0.4)
        key = (t / (on + off)).astype(int)
        low = rng.choice(DTMF_LOW_HZ, key.max() + 1)[key]
        high = rng.choice(DTMF_HIGH_HZ, key.max() + 1)[key]
        out = (np.sin(2 * np.pi * low * t) + np.sin(2 * np.pi * high * t)) * (t % (on + off) < on)
    elif kind == 1:
        on, off = rng.uniform(0.2, 2.0), rng.uniform(0.2, 4.0)
        first, second = rng.uniform(350, 480, 2)
        out = (np.sin(2 * np.pi * first * t) + np.sin(2 * np.pi * second * t)) * (t % (on + off) < on)
    elif kind == 2:
        period = rng.uniform(0.3, 10.0)
        low, high = np.sort(rng.uniform(80, 7000, 2))
        place = (t % period) / period
        pitch = low * (high / low) ** place if rng.random() < 0.5 else low + (high - low) * place
        out = np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)
    elif kind == 3:
        carrier = rng.uniform(120, 3000)
        rate, depth = rng.uniform(1, 30), rng.uniform(0.3, 1.0)
        overtones = [k for k in range(1, int(rng.integers(2, 12))) if carrier * k < 7600]
        waves = sum(np.sin(2 * np.pi * carrier * k * t) / k for k in overtones)
        out = waves * (1 + depth * np.sin(2 * np.pi * rate * t))
    elif kind == 4:
        carrier, rate = rng.uniform(150, 2500), rng.uniform(0.5, 12)
        deviation = carrier * rng.uniform(0.02, 0.5)
        out = np.sin(2 * np.pi * carrier * t + deviation / rate * np.sin(2 * np.pi * rate * t))
    else:
        gate = np.repeat(rng.random(n // 1600 + 1) < rng.uniform(0.1, 0.6), 1600)[:n]
        wave = np.sign(np.sin(2 * np.pi * rng.uniform(150, 2500) * t))
        out = (wave if rng.random() < 0.5 else np.sin(2 * np.pi * rng.uniform(200, 4000) * t)) * gate
    return out.astype(np.float32)


def modulated_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose level goes up and down as fast as syllables do, or slowly: crowds, waves, engines."""
    rate = np.exp(rng.uniform(np.log(0.2), np.log(12)))
    knots = rng.standard_normal(max(4, int(n / RATE_HZ * rate * 2) + 4))
    level = np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)
    noise = rng.standard_normal(n)
    width = int(rng.choice([1, 2, 4, 12]))
    noise = np.convolve(noise, np.ones(width) / width, mode="same")
    return (noise * 10.0 ** (level * rng.uniform(2, 12) / 20)).astype(np.float32)


def laughter(voice: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of a voice: bursts of one short piece, four to six a second, ever weaker and breathier."""
    n = len(voice)
    length = int(rng.uniform(0.09, 0.16) * RATE_HZ)
    step = int(RATE_HZ / rng.uniform(3.8, 6.2))
    hops = max(1, (n - length) // 400)
    power = [float(np.mean(voice[i * 400 : i * 400 + length] ** 2)) for i in range(hops)]
    best = int(np.argmax(power)) * 400
    burst = voice[best : best + length] * np.hanning(len(voice[best : best + length]))
    out = np.zeros(n + length, np.float32)
    for i, at in enumerate(range(0, n - length, step)):
        breath = rng.standard_normal(len(burst)) * np.hanning(len(burst)) * float(np.abs(burst).max()) * 0.15
        out[at : at + len(burst)] += (burst * rng.uniform(0.7, 1.0) + breath) * 0.93**i
    return out[:n]
