"""Log-mel features in device memory, the same as ``front_end.LogMel`` on the processor."""

from __future__ import annotations

import torch
from torch import Tensor

from .front_end import FrontEnd, mel_filters, window_samples


class DeviceLogMel:
    """Log-mel rows of our own front end (the defaults of ``FrontEnd``), (N, samples) to (N, n_mels, T)."""

    def __init__(self, front: FrontEnd, device: torch.device) -> None:
        made = (front.framing, front.window_position, front.pre_emphasis_at, front.spectrum)
        if made != ("snip_edges", "left", "frame", "power") or front.log_offset:
            raise ValueError(f"no front end of this kind is made on the device: {front}")
        if front.mean_normalisation not in ("none", "window"):
            raise ValueError(f"mean_normalisation ({front.mean_normalisation!r}) is not made there")
        self.front = front
        self.window = torch.from_numpy(window_samples(front)).float().to(device)
        self.filters = torch.from_numpy(mel_filters(front).T.copy()).float().to(device)

    def __call__(self, samples: Tensor) -> Tensor:
        front = self.front
        x = samples.unfold(-1, front.frame_length_samples, front.hop_samples) * front.scale
        if front.remove_dc:
            x = x - x.mean(-1, keepdim=True)
        before = torch.cat([x[..., :1], x[..., :-1]], dim=-1)
        x = (x - front.pre_emphasis * before) * self.window
        spectrum = torch.fft.rfft(x, front.n_fft)
        mel = (spectrum.real**2 + spectrum.imag**2) @ self.filters
        mel = torch.log(mel.clamp_min(front.log_floor)).transpose(-1, -2)
        if front.mean_normalisation == "window":
            mel = mel - mel.mean(-1, keepdim=True)
        return mel
