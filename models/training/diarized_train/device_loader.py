"""Batches made on the accelerator itself: what ``loader.py`` and ``augment.py`` do, a whole batch at a time.

All speech lies in device memory as 16-bit samples (12 h at five speeds are 7 GB). Every corruption is computed for
every crop and taken where it strikes, so that nothing waits for the processor. The draws differ from those of the
processor's loader, their distributions do not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import fft
from torch import Tensor

from .augment import ECHO_DB, ECHO_S, RATE_HZ, ROOM_SAMPLES, AugmentParams, shoebox_response
from .device_log_mel import DeviceLogMel
from .front_end import FrontEnd
from .loader import Batch, LoaderParams, Sampler, draw_length, read_noises
from .rooms import read_rooms, room_bank

N_ROOMS = 1000
CODEC_FFT = 320
# Half of each group of this size is drawn within one recording set.
GROUP = 64


class DeviceAugmenter:
    """``augment.Augmenter`` for batches in device memory; probabilities and ranges are the same."""

    def __init__(
        self,
        params: AugmentParams,
        noises: list[np.ndarray],
        seed: int,
        device: torch.device,
        n_rooms: int = N_ROOMS,
        measured: list[np.ndarray] | None = None,
    ) -> None:
        self.params = params
        self.device = device
        self.random = torch.Generator(device).manual_seed(seed)
        rng = np.random.default_rng(seed)
        rooms = np.stack([shoebox_response(rng) for _ in range(n_rooms)])
        # Simulated rooms first, measured ones after them.
        self.n_simulated = n_rooms
        if measured and params.measured:
            rooms = np.concatenate([rooms, room_bank(measured, ROOM_SAMPLES, rng)])
        self.rooms = torch.from_numpy(rooms).to(device)
        self.room_spectra: dict[int, Tensor] = {}
        self.noises = None
        if noises:
            lengths = torch.tensor([len(x) for x in noises])
            self.noise_lengths = lengths.to(device)
            self.noise_starts = (lengths.cumsum(0) - lengths).to(device)
            self.noises = torch.from_numpy(np.concatenate(noises).astype(np.float32)).to(device)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.random, device=self.device)

    def whole(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers in [low, high)."""
        return torch.randint(low, high, shape, generator=self.random, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, device=self.device)

    def strikes(self, n: int, chance: float) -> Tensor:
        """(n, 1) bools."""
        return self.uniform(0.0, 1.0, n, 1) < chance

    def edge(self, n: int, n_samples: int, low: float, high: float) -> Tensor:
        """(n, n_samples) bools: a share of the crop between ``low`` and ``high``, at one of its ends."""
        t = torch.arange(n_samples, device=self.device)
        span = (n_samples * self.uniform(low, high, n, 1)).long()
        return torch.where(self.strikes(n, 0.5), t < span, t >= n_samples - span)

    def rooms_at(self, n_fft: int, n: int) -> Tensor:
        """Spectra of ``n`` rooms drawn at random, (n, n_fft / 2 + 1)."""
        if n_fft not in self.room_spectra:
            self.room_spectra[n_fft] = torch.fft.rfft(self.rooms, n_fft)
        which = self.whole(0, self.n_simulated, n)
        if len(self.rooms) > self.n_simulated:
            real = self.whole(self.n_simulated, len(self.rooms), n)
            which = torch.where(self.strikes(n, self.params.measured)[:, 0], real, which)
        return self.room_spectra[n_fft][which]

    def coloured(self, n: int, n_freqs: int) -> Tensor:
        """Spectra of random noise with a random slope and a random broad peak."""
        f = torch.linspace(1e-3, 1.0, n_freqs, device=self.device)
        shape = f ** -self.uniform(0.0, 1.2, n, 1)
        centre, width = self.uniform(0.02, 0.7, n, 1), self.uniform(0.02, 0.3, n, 1)
        height = self.uniform(0.0, 8.0, n, 1) * self.strikes(n, 0.4)
        shape = shape * (1.0 + height * torch.exp(-(((f - centre) / width) ** 2)))
        return torch.complex(shape * self.normal(n, n_freqs), shape * self.normal(n, n_freqs))

    def recorded(self, n: int, n_samples: int) -> Tensor:
        which = self.whole(0, len(self.noise_lengths), n)
        length = self.noise_lengths[which][:, None]
        offset = (self.uniform(0.0, 1.0, n, 1) * (length - n_samples).clamp_min(1)).long()
        t = torch.arange(n_samples, device=self.device)
        return self.noises[self.noise_starts[which][:, None] + (offset + t) % length]

    def babble(self, voices: Tensor) -> Tensor:
        """Sums of two to six of the crops."""
        n = len(voices)
        heard = torch.arange(6, device=self.device) < self.whole(2, 7, n, 1)
        weights = torch.zeros(n, n, device=self.device)
        weights.scatter_add_(1, self.whole(0, n, n, 6), heard.float())
        return weights @ voices

    def channel(self, n: int, n_freqs: int) -> Tensor:
        """Magnitude responses of microphones, telephones, codecs."""
        p = self.params
        hz = torch.linspace(0.0, RATE_HZ / 2, n_freqs, device=self.device)
        knots = torch.tensor([0, 150, 400, 1000, 2000, 4000, 6000, 8000.0], device=self.device)
        right = torch.searchsorted(knots, hz.contiguous()).clamp(1, len(knots) - 1)
        share = (hz - knots[right - 1]) / (knots[right] - knots[right - 1])
        db = 4.0 * self.normal(n, len(knots)) * self.strikes(n, p.tilt)
        gain = 10.0 ** (torch.lerp(db[:, right - 1], db[:, right], share) / 20.0)
        kind = torch.where(self.strikes(n, p.band_limit), self.uniform(0.0, 1.0, n, 1), 2.0)
        telephone, codec, low_cut = kind < 0.35, (kind >= 0.35) & (kind < 0.75), (kind >= 0.75) & (kind < 1.0)
        low = torch.where(telephone, self.uniform(200, 350, n, 1), self.uniform(80, 300, n, 1))
        high = torch.where(telephone, self.uniform(3200, 3900, n, 1), self.uniform(2800, 7400, n, 1))
        steep = self.uniform(30.0, 250.0, n, 1)
        high_pass = torch.sigmoid((hz - low) / (steep / 4))
        low_pass = torch.sigmoid((high - hz) / steep)
        gain = torch.where(telephone | low_cut, gain * high_pass, gain)
        return torch.where(telephone | codec, gain * low_pass, gain)

    def echo(self, crops: Tensor) -> Tensor:
        """Each crop with itself, later and weaker, on top."""
        n, n_samples = crops.shape
        delay = (RATE_HZ * self.uniform(*ECHO_S, n, 1)).long()
        at = torch.arange(n_samples, device=self.device) - delay
        late = crops.gather(1, at.clamp_min(0)) * (at >= 0)
        return crops + late * 10.0 ** (-self.uniform(*ECHO_DB, n, 1) / 20.0)

    def coded(self, samples: Tensor) -> Tensor:
        """What a codec of few bits leaves: coarse magnitudes, weak parts gone, nothing above its band.

        The encoder itself runs on processors alone; ``augment.opus_round_trip`` is it.
        """
        n, n_samples = samples.shape
        window = torch.hann_window(CODEC_FFT, device=self.device)
        spectrum = torch.stft(samples, CODEC_FFT, CODEC_FFT // 4, window=window, return_complex=True)
        magnitude = spectrum.abs()
        # Bands of eight bins share one loudest bin; what lies far below it is not sent.
        bands = magnitude[:, :-1].unflatten(1, (-1, 8))
        loudest = bands.amax(2, keepdim=True)
        depth_db = self.uniform(8.0, 24.0, n, 1)[:, :, None, None]
        sent = (bands > loudest * 10.0 ** (-depth_db / 20.0)).flatten(1, 2)
        step = self.uniform(0.2, 0.7, n, 1)[:, :, None]
        coarse = torch.exp((magnitude.clamp_min(1e-6).log() / step).round() * step)
        hz = torch.linspace(0.0, RATE_HZ / 2, magnitude.shape[1], device=self.device)[:, None]
        kept = torch.nn.functional.pad(sent, (0, 0, 0, 1)) & (hz < self.uniform(3400, 8000, n, 1)[:, :, None])
        spectrum = spectrum * (coarse / magnitude.clamp_min(1e-6)) * kept
        return torch.istft(spectrum, CODEC_FFT, CODEC_FFT // 4, window=window, length=n_samples)

    def __call__(self, crops: Tensor) -> Tensor:
        """(N, n_samples) crops to corrupted crops in [-1, 1]."""
        p = self.params
        n, n_samples = crops.shape
        original = crops
        silenced = self.strikes(n, p.silence_edge) & self.edge(n, n_samples, 0.05, 0.35)
        crops = torch.where(silenced, crops * 0.02 * self.strikes(n, 0.5), crops)
        other = original[(torch.arange(n, device=self.device) + self.whole(1, n, n)) % n]
        ratio = (crops.square().mean(1, True) / (other.square().mean(1, True) + 1e-9)).sqrt()
        other = other * ratio * 10.0 ** (-self.uniform(2, 15, n, 1) / 20.0)
        heard = self.strikes(n, p.interferer) & self.edge(n, n_samples, 0.1, 0.4)
        crops = torch.where(heard, crops + other, crops)

        if p.echo:
            crops = torch.where(self.strikes(n, p.echo), self.echo(crops), crops)
        n_fft = fft.next_fast_len(n_samples + ROOM_SAMPLES, real=True)
        spectrum = torch.fft.rfft(crops, n_fft)
        n_freqs = spectrum.shape[1]
        spectrum = torch.where(self.strikes(n, p.room), spectrum * self.rooms_at(n_fft, n), spectrum)
        noise = self.coloured(n, n_freqs)
        kind = self.uniform(0.0, 1.0, n, 1)
        if self.noises is not None:
            recorded = torch.fft.rfft(self.recorded(n, n_samples), n_fft)
            noise = torch.where(kind < p.babble + 0.35, recorded, noise)
        babble = torch.fft.rfft(self.babble(original), n_fft)
        babble = torch.where(self.strikes(n, 0.5), babble * self.rooms_at(n_fft, n), babble)
        noise = torch.where(kind < p.babble, babble, noise)
        low_db = torch.where(kind < p.babble, 5.0, 0.0)
        snr_db = low_db + (22.0 - low_db) * self.uniform(0.0, 1.0, n, 1)
        ratio = spectrum.abs().square().sum(1, True) / (noise.abs().square().sum(1, True) + 1e-9)
        gain = (ratio * 10.0 ** (-snr_db / 10.0)).sqrt()
        spectrum = spectrum + noise * (gain * self.strikes(n, p.noise))
        out = torch.fft.irfft(spectrum * self.channel(n, n_freqs), n_fft)[:, :n_samples]

        out = out / (out.abs().amax(1, True) + 1e-6) * 10.0 ** (self.uniform(-14.0, -0.5, n, 1) / 20.0)
        levels = out[:, ::7].abs().sort(1).values
        limit = levels.gather(1, (self.uniform(0.95, 0.995, n, 1) * levels.shape[1]).long())
        out = torch.where(self.strikes(n, p.clip), out.clamp(-limit, limit), out)
        steps = torch.tensor([32.0, 64.0, 127.5], device=self.device)[self.whole(0, 3, n, 1)]
        squeezed = (out.sign() * torch.log1p(255.0 * out.abs()) / np.log(256.0) * steps).round() / steps
        expanded = squeezed.sign() * (256.0 ** squeezed.abs() - 1.0) / 255.0
        out = torch.where(self.strikes(n, p.mu_law), expanded, out)
        if p.opus:
            out = torch.where(self.strikes(n, p.opus), self.coded(out), out)
        quiet = 10.0 ** (-self.uniform(10.0, 35.0, n, 1) / 20.0)
        out = torch.where(self.strikes(n, p.quiet), out * quiet, out)
        out = torch.where(self.strikes(n, p.untouched), original, out)
        return (out * 32767.0).round() / 32768.0

    def mask(self, features: Tensor) -> Tensor:
        """SpecAugment on mean-normalised (N, n_mels, T) features."""
        n, n_mels, n_frames = features.shape

        def band(length: int, narrowest: int, widest: int) -> Tensor:
            width = self.whole(narrowest, widest, n, 1)
            start = (self.uniform(0.0, 1.0, n, 1) * (length - width)).long()
            at = torch.arange(length, device=self.device)
            return (at >= start) & (at < start + width)

        rows = band(n_mels, 2, 11) | (band(n_mels, 2, 11) & self.strikes(n, 0.5))
        rows = rows & self.strikes(n, self.params.frequency_mask)
        frames = band(n_frames, 3, max(4, n_frames // 8)) & self.strikes(n, self.params.time_mask)
        return features.masked_fill(rows[:, :, None] | frames[:, None, :], 0.0)


class DeviceSampler:
    """``loader.Sampler`` with the speech, its pieces and targets in device memory."""

    def __init__(self, params: LoaderParams, device: torch.device) -> None:
        self.params = params
        self.sampler = sampler = Sampler(params)
        self.device = device
        caches = sampler.caches
        self.samples = torch.empty(sum(len(c.samples) for c in caches), dtype=torch.int16, device=device)
        pieces, rows, position, n_pieces = [], [], 0, 0
        firsts = []
        for cache_idx, cache in enumerate(caches):
            end = position + len(cache.samples)
            self.samples[position:end] = torch.from_numpy(np.array(cache.samples)).to(device)
            pieces.append(cache.pieces[:, 1:] + position)
            if cache_idx < sampler.n_labelled:
                rows.extend(r + n_pieces for r in sampler.rows[cache_idx])
            firsts.append(n_pieces)
            position, n_pieces = end, n_pieces + len(cache.pieces)
        free = [firsts[cache_idx] + row for cache_idx, row in sampler.free_rows]
        self.free_rows = torch.tensor(free, dtype=torch.int64, device=device)
        self.pieces = torch.from_numpy(np.concatenate(pieces)).to(device)
        self.targets = torch.from_numpy(np.concatenate([t.vectors for t in sampler.targets])).to(device)
        self.weights = torch.from_numpy(np.concatenate([t.weights for t in sampler.targets])).to(device)
        # Rows of class k are rows[first[k] : first[k] + count[k]].
        count = np.array([len(r) for r in rows])
        self.count = torch.from_numpy(count).to(device)
        self.first = torch.from_numpy(np.cumsum(count) - count).to(device)
        self.rows = torch.from_numpy(np.concatenate(rows)).to(device)

    def draw(
        self, n_samples: int, rng: np.random.Generator, random: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Crops (N, n_samples), classes (N,), targets (N, D), weights (N, n_teachers)."""
        n_free = self.params.n_unlabelled
        n = self.params.batch - n_free
        groups = [self.sampler.speakers(min(GROUP, n - i), rng) for i in range(0, n, GROUP)]
        speakers = torch.from_numpy(np.concatenate(groups)).to(self.device)
        chance = torch.rand(4, n, generator=random, device=self.device)
        n_speeds = self.sampler.n_labelled - 1
        speed = (1 + (chance[0] * n_speeds).long()).clamp_max(n_speeds)
        speed = torch.where(chance[1] < self.params.speed_share, speed, 0)
        classes = speed * len(self.sampler.chance) + speakers
        classes = torch.where(self.count[classes] > 0, classes, speakers)
        nth = (chance[2] * self.count[classes]).long().clamp_max(self.count[classes] - 1)
        row = self.rows[self.first[classes] + nth]
        place = chance[3]
        if n_free:
            more = torch.rand(2, n_free, generator=random, device=self.device)
            nth = (more[0] * len(self.free_rows)).long().clamp_max(len(self.free_rows) - 1)
            row = torch.cat([row, self.free_rows[nth]])
            classes = torch.cat([classes, classes.new_full((n_free,), -1)])
            place = torch.cat([place, more[1]])
        start, end = self.pieces[row, :1], self.pieces[row, 1:]
        start = start + (place[:, None] * (end - start - n_samples).clamp_min(0)).long()
        length = (end - start).clamp_max(n_samples)
        t = torch.arange(n_samples, device=self.device)
        crops = self.samples[start + t % length].float() / 32768.0
        return crops, classes, self.targets[row], self.weights[row]


class DeviceLoader:
    """An endless row of batches; ``set_stage`` picks the mixture of crop lengths."""

    def __init__(
        self,
        params: LoaderParams,
        front: FrontEnd,
        augment: AugmentParams,
        mixes: list[tuple[list[float], list[float]]],
        device: torch.device,
    ) -> None:
        noises = read_noises(Path(params.noise_dir)) if params.noise_dir else []
        self.rng = np.random.default_rng(params.seed)
        self.sampler = DeviceSampler(params, device)
        measured = read_rooms(Path(params.rooms_dir)) if params.rooms_dir else None
        self.augmenter = DeviceAugmenter(augment, noises, params.seed, device, measured=measured)
        self.mel = DeviceLogMel(front, device)
        self.mixes = mixes
        self.stage = 0

    def set_stage(self, stage: int) -> None:
        self.stage = stage

    @torch.no_grad()
    def __next__(self) -> Batch:
        n_samples = draw_length(self.mixes[self.stage], self.rng)
        crops, classes, targets, weights = self.sampler.draw(n_samples, self.rng, self.augmenter.random)
        features = self.augmenter.mask(self.mel(self.augmenter(crops)))
        return Batch(features.contiguous(), classes, targets, weights)

    def close(self) -> None:
        """Nothing runs beside the trainer."""
