"""Pseudo-whispered speech: linear prediction keeps the vocal tract, noise takes the place of the voice.

A whisper has no vibration of the vocal folds: the breath alone excites the vocal tract. Each frame's all-pole envelope
(linear prediction by the autocorrelation, Makhoul, 1975) gets white noise of the power of the frame's residual.
Real whispers differ further: higher first formants, less power at low frequencies, slower speech. So this shows the
effect of the lost voice itself, not of all that a whisper does.
"""

from __future__ import annotations

import numpy as np

RATE_HZ = 16000
FRAME_SAMPLES = 480
HOP_SAMPLES = 160
# Two coefficients a formant up to 8 kHz, and some for the slope.
ORDER = 20
FFT_SAMPLES = 1024
# Keeps the envelope from following single harmonics of a high voice, in Hz.
LAG_WINDOW_HZ = 60.0
FLOOR = 1e-9


def predictors(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (n, order + 1), the first one 1, and power (n,) of the residual, from (n, order + 1) correlations.

    Levinson and Durbin's recursion, all frames at once.
    """
    n, order = correlation.shape[0], correlation.shape[1] - 1
    a = np.zeros((n, order + 1))
    a[:, 0] = 1.0
    error = correlation[:, 0] + FLOOR
    for m in range(1, order + 1):
        reflection = -(a[:, :m] * correlation[:, m:0:-1]).sum(1) / error
        a[:, 1 : m + 1] += reflection[:, None] * a[:, m - 1 :: -1][:, :m]
        error = error * (1.0 - reflection**2) + FLOOR
    return a, error


def whisper(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n_samples,) in [-1, 1] to the same shape."""
    window = np.hanning(FRAME_SAMPLES + 1)[:-1]
    padded = np.pad(samples.astype(np.float64), (FRAME_SAMPLES, FRAME_SAMPLES))
    starts = np.arange(0, len(padded) - FRAME_SAMPLES + 1, HOP_SAMPLES)
    frames = padded[starts[:, None] + np.arange(FRAME_SAMPLES)] * window
    power = np.abs(np.fft.rfft(frames, FFT_SAMPLES)) ** 2
    correlation = np.fft.irfft(power, FFT_SAMPLES)[:, : ORDER + 1]
    lags = np.arange(ORDER + 1) / RATE_HZ
    correlation *= np.exp(-0.5 * (2.0 * np.pi * LAG_WINDOW_HZ * lags) ** 2)
    a, error = predictors(correlation)
    envelope = 1.0 / np.fft.rfft(a, FFT_SAMPLES)
    noise = random.standard_normal(len(padded))
    breath = np.fft.rfft(noise[starts[:, None] + np.arange(FRAME_SAMPLES)] * window, FFT_SAMPLES)
    # Power of the windowed noise is that of the window; the residual's is the error.
    gain = np.sqrt(error / (window**2).sum())
    voiced = np.fft.irfft(breath * envelope * gain[:, None], FFT_SAMPLES)
    out = np.zeros(len(padded) + FFT_SAMPLES)
    for start, frame in zip(starts, voiced, strict=True):
        out[start : start + FFT_SAMPLES] += frame
    # Of overlapping windows of one noise, and the window of the analysis besides.
    overlap = window.sum() / HOP_SAMPLES
    return (out[FRAME_SAMPLES : FRAME_SAMPLES + len(samples)] / overlap).astype(np.float32)
