#!/usr/bin/env python3
"""Makes the golden arrays that `tests/golden.rs` holds the log-mel features to. numpy only.

    python3 generate.py            writes the arrays beside this file
    python3 generate.py --check    compares them with independent implementations, those that are installed

Written from the definitions, frame by frame and in double precision, without a look at the Rust code:
Kaldi's feature-window.cc, feature-functions.cc and mel-computations.cc for the Kaldi kind, the documentation of
torch.stft and of torchaudio's MelSpectrogram and the official NeXt-TDNN front end for the second, SpeechBrain's
features.py for the third, the features of SeamlessM4T and w2v-BERT 2.0 as transformers documents them for the fourth.

Arrays (little-endian, row-major):

    signal.i16     int16 (n_samples,): 4 s at 16 kHz; divided by 32768 it is the input of all features
    ours.f32       float32 (n_frames, 80): first second; Kaldi fbank, snip edges, minus the mean over time
    official.f32   float32 (n_frames, 80): first second; official NeXt-TDNN front end
    speechbrain.f32  float32 (n_frames, 80): first second; SpeechBrain's Fbank(n_mels=80) in natural logarithms
    seamless.f32   float32 (n_frames, 80): first second; Kaldi fbank with its own window up to 8 kHz, standardised
    mirrored.f32   float32 (n_frames, 80): 4 s; Kaldi fbank without snip edges, minus a sliding mean of 300 frames

What --check says (numpy 2.4, torch 2.15, kaldi-native-fbank 1.23, transformers 5.23; largest absolute difference):
    kaldi-native-fbank, ours                8.4e-04   (its arithmetic is single precision)
    kaldi-native-fbank, mirrored            1.0e-03   (the same)
    torch.stft and np.interp, official      5.9e-13
    torch.stft, speechbrain                 1.3e-13
    transformers, seamless                  5.6e-07   (its spectra are single precision)
"""

import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
RATE = 16000
N_ONE_SECOND = 16123  # not a multiple of anything in the recipe


def signal() -> np.ndarray:
    """A chirp and noise of changing level, a stretch of digital silence, and a constant offset."""
    n = 4 * RATE + 77
    t = np.arange(n) / RATE
    state, noise = 12345, np.empty(n)
    for i in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        noise[i] = (state >> 8) / 2**23 - 1.0
    sweep_s = 1.3
    local = np.mod(t, sweep_s)
    phase = 2 * np.pi * (50.0 * local + 0.5 * (7800.0 - 50.0) / sweep_s * local**2)
    chirp = 0.3 * np.sin(phase) * (0.3 + 0.7 * np.abs(np.sin(2 * np.pi * 1.7 * t)))
    x = chirp + noise * 0.05 * np.abs(np.sin(2 * np.pi * 0.45 * t + 0.2)) + 0.01
    x[6400:8000] = 0.0
    return np.round(np.clip(x, -1, 1) * 32767).astype("<i2")


def kaldi_fbank(x: np.ndarray, snip_edges: bool, window_type: str = "hamming", high_hz: float = 7600.0) -> np.ndarray:
    """compute-fbank-feats --window-type=hamming --num-mel-bins=80 --low-freq=20 --high-freq=7600 --dither=0."""
    length, shift, padded = 400, 160, 512
    n = len(x)
    if snip_edges:
        n_frames = 0 if n < length else 1 + (n - length) // shift
    else:
        n_frames = (n + shift // 2) // shift
    if window_type == "hamming":
        window = np.array([0.54 - 0.46 * np.cos(2 * np.pi * i / (length - 1)) for i in range(length)])
    else:
        window = np.array([(0.5 - 0.5 * np.cos(2 * np.pi * i / (length - 1))) ** 0.85 for i in range(length)])

    def mel(f):
        return 1127.0 * np.log(1.0 + f / 700.0)

    # Bins 0 .. padded/2 - 1: Kaldi's banks do not see the Nyquist bin.
    n_bins = padded // 2
    mel_low, mel_high = mel(20.0), mel(high_hz)
    delta = (mel_high - mel_low) / 81
    banks = np.zeros((80, n_bins))
    for b in range(80):
        left, centre, right = mel_low + b * delta, mel_low + (b + 1) * delta, mel_low + (b + 2) * delta
        for i in range(n_bins):
            m = mel(i * RATE / padded)
            if left < m < right:
                banks[b, i] = (m - left) / (centre - left) if m <= centre else (right - m) / (right - centre)
    out = np.empty((n_frames, 80))
    for f in range(n_frames):
        start = f * shift if snip_edges else shift * f + shift // 2 - length // 2
        frame = np.empty(length)
        for s in range(length):
            i = s + start
            while i < 0 or i >= n:
                i = -i - 1 if i < 0 else 2 * n - 1 - i
            frame[s] = x[i]
        frame -= frame.mean()
        for s in range(length - 1, 0, -1):
            frame[s] -= 0.97 * frame[s - 1]
        frame[0] -= 0.97 * frame[0]
        power = np.abs(np.fft.rfft(frame * window, padded)) ** 2
        out[f] = np.log(np.maximum(banks @ power[:n_bins], np.finfo(np.float32).eps))
    return out


def kaldi_sliding_mean(features: np.ndarray, cmn_window: int) -> np.ndarray:
    """apply-cmvn-sliding --center=true --norm-vars=false, the window being moved inwards at the ends."""
    n = len(features)
    out = np.empty_like(features)
    for t in range(n):
        start = t - cmn_window // 2
        end = start + cmn_window
        if start < 0:
            end, start = end - start, 0
        if end > n:
            start, end = max(0, start - (end - n)), n
        out[t] = features[t] - features[start:end].mean(axis=0)
    return out


def standardised(features: np.ndarray) -> np.ndarray:
    """Each channel without its mean, divided by the root of its unbiased variance and 1e-7."""
    centred = features - features.mean(axis=0)
    return centred / np.sqrt((centred**2).sum(axis=0) / (len(features) - 1) + 1e-7)


def official(x: np.ndarray) -> np.ndarray:
    """Pre-emphasis with a reflection by one, MelSpectrogram(16000, n_fft=512, win_length=400, hop_length=160,
    f_min=20, f_max=7600, n_mels=80, window_fn=hamming_window), log(· + 1e-6), minus the mean over time."""
    x = np.concatenate([x[1:2], x])
    x = x[1:] - 0.97 * x[:-1]
    n_fft, win, hop = 512, 400, 160
    window = np.zeros(n_fft)
    window[(n_fft - win) // 2 : (n_fft - win) // 2 + win] = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(win) / win)
    padded = np.pad(x, n_fft // 2, mode="reflect")
    n_frames = 1 + len(x) // hop
    power = np.stack([np.abs(np.fft.rfft(padded[f * hop : f * hop + n_fft] * window)) ** 2 for f in range(n_frames)])

    freqs = np.linspace(0, RATE / 2, n_fft // 2 + 1)
    m = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 82)
    f_pts = 700 * (10 ** (m / 2595) - 1)
    slopes = f_pts[None, :] - freqs[:, None]
    down = -slopes[:, :-2] / (f_pts[1:-1] - f_pts[:-2])
    up = slopes[:, 2:] / (f_pts[2:] - f_pts[1:-1])
    banks = np.maximum(0, np.minimum(down, up))
    logs = np.log(power @ banks + 1e-6)
    return logs - logs.mean(axis=0)


def speechbrain_banks() -> np.ndarray:
    """(201, 80): triangles over Hz as wide on both sides as from the corner below to the peak."""
    freqs = np.linspace(0, RATE / 2, 201)
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)
    hz = 700 * (10 ** (mel / 2595) - 1)
    width, centre = np.diff(hz)[:-1], hz[1:-1]
    return np.maximum(0, 1 - np.abs(freqs[:, None] - centre) / width)


def speechbrain(x: np.ndarray) -> np.ndarray:
    """STFT of 25 ms with zeros around the signal, filters, log of at least 1e-10, what is 80 dB below the largest
    raised, minus the mean over time. There in dB; here in natural logarithms, which is the same but for a factor."""
    win, hop = 400, 160
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(win) / win)
    padded = np.concatenate([np.zeros(win // 2), x, np.zeros(win // 2)])
    frames = np.stack([padded[f * hop : f * hop + win] for f in range(1 + len(x) // hop)])
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    decibels = 10 * np.log10(np.maximum(power @ speechbrain_banks(), 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    return (decibels - decibels.mean(axis=0)) * np.log(10) / 10


def arrays(x: np.ndarray) -> dict:
    samples = x.astype(np.float64) / 32768
    second = samples[:N_ONE_SECOND]
    ours = kaldi_fbank(second * 32768, snip_edges=True)
    return {
        "ours": ours - ours.mean(axis=0),
        "official": official(second),
        "speechbrain": speechbrain(second),
        "seamless": standardised(kaldi_fbank(second * 32768, True, "povey", 8000.0)),
        "mirrored": kaldi_sliding_mean(kaldi_fbank(samples * 32768, snip_edges=False), 300),
    }


def say(what, a, b):
    print(f"    {what:<40}{np.abs(a - b).max():.1e}")


def check_kaldi(knf, samples: np.ndarray, made: dict) -> None:
    for name, snip, part in [("ours", True, samples[:N_ONE_SECOND]), ("mirrored", False, samples)]:
        options = knf.FbankOptions()
        options.frame_opts.dither = 0.0
        options.frame_opts.window_type = "hamming"
        options.frame_opts.snip_edges = snip
        options.mel_opts.num_bins = 80
        options.mel_opts.low_freq = 20.0
        options.mel_opts.high_freq = 7600.0
        bank = knf.OnlineFbank(options)
        bank.accept_waveform(RATE, (part * 32768).tolist())
        bank.input_finished()
        got = np.stack([bank.get_frame(f) for f in range(bank.num_frames_ready)]).astype(np.float64)
        got = got - got.mean(axis=0) if snip else kaldi_sliding_mean(got, 300)
        say(f"kaldi-native-fbank, {name}", got, made[name])


def check_transformers(transformers, samples: np.ndarray, made: dict) -> None:
    extractor = transformers.SeamlessM4TFeatureExtractor(padding_value=1.0)
    got = extractor(samples[:N_ONE_SECOND], sampling_rate=RATE, return_tensors="np")["input_features"][0]
    # Pairs of frames; the last is half padding where their number is odd.
    got = got.reshape(-1, 80)[: len(made["seamless"])].astype(np.float64)
    say("transformers, seamless", got, made["seamless"])


def check_torch(torch, samples: np.ndarray, made: dict) -> None:
    part = torch.from_numpy(samples[:N_ONE_SECOND].astype(np.float64))[None, None]
    kernel = torch.tensor([[[-0.97, 1.0]]], dtype=torch.float64)
    emphasised = torch.nn.functional.conv1d(torch.nn.functional.pad(part, (1, 0), "reflect"), kernel)[0]
    stft = torch.stft(
        emphasised,
        n_fft=512,
        hop_length=160,
        win_length=400,
        window=torch.hamming_window(400, dtype=torch.float64),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )[0]
    # The filters of torchaudio's documentation; torch brings none.
    freqs = np.arange(257) * 31.25
    corners = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([20, 7600]) / 700)), 82) / 2595) - 1)
    banks = np.stack([np.interp(freqs, corners[b : b + 3], [0, 1, 0]) for b in range(80)])
    logs = np.log(banks @ (stft.abs() ** 2).numpy() + 1e-6).T
    say("torch.stft and np.interp, official", logs - logs.mean(axis=0), made["official"])
    stft = torch.stft(
        part[0],
        n_fft=400,
        hop_length=160,
        win_length=400,
        window=torch.hamming_window(400, dtype=torch.float64),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )[0]
    decibels = 10 * np.log10(np.maximum(((stft.abs() ** 2).numpy().T @ speechbrain_banks()), 1e-10))
    logs = np.maximum(decibels, decibels.max() - 80) * np.log(10) / 10
    say("torch.stft, speechbrain", logs - logs.mean(axis=0), made["speechbrain"])


def check(x: np.ndarray, made: dict) -> None:
    samples = x.astype(np.float32) / np.float32(32768)
    try:
        import kaldi_native_fbank as knf
    except ImportError:
        print("    kaldi_native_fbank is not installed: not compared")
    else:
        check_kaldi(knf, samples, made)
    try:
        import torch
    except ImportError:
        print("    torch is not installed: not compared")
    else:
        check_torch(torch, samples, made)


    try:
        import transformers
    except ImportError:
        print("    transformers is not installed: not compared")
    else:
        check_transformers(transformers, samples, made)


if __name__ == "__main__":
    x = signal()
    made = arrays(x)
    if "--check" in sys.argv[1:]:
        check(x, made)
    else:
        x.tofile(HERE / "signal.i16")
        for name, features in made.items():
            features.astype("<f4").tofile(HERE / f"{name}.f32")
            print(name, features.shape)
