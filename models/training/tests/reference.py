"""Plain forward passes straight from a public ``state_dict``: what parity is tested against.

Written from the published layouts, layer by layer in their own order and axis layout, and
sharing no code with the package.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def layer_norm_first(x, weight, bias, eps=1e-6):
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return weight[:, None] * ((x - mean) / torch.sqrt(variance + eps)) + bias[:, None]


def batch_norm(x, state, prefix, eps=1e-5):
    return F.batch_norm(
        x,
        state[prefix + ".running_mean"],
        state[prefix + ".running_var"],
        state[prefix + ".weight"],
        state[prefix + ".bias"],
        training=False,
        eps=eps,
    )


def linear(x, state, prefix):
    return F.linear(x, state[prefix + ".weight"], state[prefix + ".bias"])


def conv(x, state, prefix, **kwargs):
    return F.conv1d(x, state[prefix + ".weight"], state[prefix + ".bias"], **kwargs)


def ts_block(x, state, prefix, light):
    if light:
        weight = state[prefix + "dwconv.weight"]
        x = x + conv(
            x, state, prefix + "dwconv", padding=weight.shape[-1] // 2, groups=weight.shape[0]
        )
    else:
        residual = x
        y = conv(x, state, prefix + "projection_linear")
        n_scales = sum(k.startswith(prefix + "mscconv") for k in state) // 2
        parts = []
        for i, part in enumerate(y.chunk(n_scales, dim=1)):
            weight = state[f"{prefix}mscconv.{i}.weight"]
            parts.append(
                conv(
                    part,
                    state,
                    f"{prefix}mscconv.{i}",
                    padding=(weight.shape[-1] - 1) // 2,
                    groups=weight.shape[0],
                )
            )
        y = F.gelu(torch.cat(parts, dim=1)).permute(0, 2, 1)
        x = linear(y, state, prefix + "pwconv_1stage").permute(0, 2, 1) + residual
    residual = x
    y = x.permute(0, 2, 1)
    dim = y.shape[-1]
    y = F.layer_norm(
        y, (dim,), state[prefix + "norm.weight"], state[prefix + "norm.bias"], 1e-6
    )
    y = F.gelu(linear(y, state, prefix + "pwconv1"))
    g = torch.norm(y, p=2, dim=1, keepdim=True)
    n = g / (g.mean(dim=-1, keepdim=True) + 1e-6)
    y = state[prefix + "grn.gamma"] * (y * n) + state[prefix + "grn.beta"] + y
    return residual + linear(y, state, prefix + "pwconv2").permute(0, 2, 1)


def nexttdnn(features, state, trunk, head, depths, light=False):
    """(N, 80, T) to (N, D); ``trunk`` and ``head`` are the key prefixes of the layout."""
    x = conv(features, state, trunk + "stem.0.0")
    x = layer_norm_first(x, state[trunk + "stem.0.1.weight"], state[trunk + "stem.0.1.bias"])
    outputs = []
    for stage, depth in enumerate(depths):
        for block in range(depth):
            x = ts_block(x, state, f"{trunk}stages.{stage}.{block}.", light)
        outputs.append(x)
    x = conv(torch.cat(outputs, dim=1), state, trunk + "MFA.0")
    x = layer_norm_first(x, state[trunk + "MFA.1.weight"], state[trunk + "MFA.1.bias"])
    hidden = conv(x, state, head + "conv_1")
    inside = head + "bn3.weight" in state
    if inside:
        hidden = batch_norm(hidden, state, head + "bn1")
    weights = torch.softmax(conv(torch.tanh(hidden), state, head + "conv_2"), dim=2)
    mean = (x * weights).sum(2)
    deviation = torch.sqrt(((x**2 * weights).sum(2) - mean**2).clamp(min=1e-5))
    before, after = ("bn2", "bn3") if inside else ("bn1", "bn2")
    y = batch_norm(torch.cat([mean, deviation], dim=1), state, head + before)
    return batch_norm(linear(y, state, head + "fc"), state, head + after)


def ecapa_block(x, state, prefix, dilation):
    y = batch_norm(torch.relu(conv(x, state, prefix + "conv1")), state, prefix + "bn1")
    width = y.shape[1] // 8
    split = torch.split(y, width, 1)
    out = part = None
    for i in range(7):
        part = split[i] if part is None else part + split[i]
        part = conv(part, state, f"{prefix}convs.{i}", dilation=dilation, padding=dilation)
        part = batch_norm(torch.relu(part), state, f"{prefix}bns.{i}")
        out = part if out is None else torch.cat([out, part], 1)
    out = torch.cat([out, split[7]], 1)
    out = batch_norm(torch.relu(conv(out, state, prefix + "conv3")), state, prefix + "bn3")
    gate = F.adaptive_avg_pool1d(out, 1)
    gate = torch.relu(conv(gate, state, prefix + "se.se.1"))
    return out * torch.sigmoid(conv(gate, state, prefix + "se.se.3")) + x


def ecapa(features, state, prefix):
    """(N, 80, T) to (N, 192), with the concatenated, expanded context of the public code."""
    x = batch_norm(
        torch.relu(conv(features, state, prefix + "conv1", padding=2)), state, prefix + "bn1"
    )
    x1 = ecapa_block(x, state, prefix + "layer1.", 2)
    x2 = ecapa_block(x + x1, state, prefix + "layer2.", 3)
    x3 = ecapa_block(x + x1 + x2, state, prefix + "layer3.", 4)
    x = torch.relu(conv(torch.cat((x1, x2, x3), 1), state, prefix + "layer4"))
    t = x.shape[-1]
    context = torch.cat(
        (
            x,
            x.mean(2, keepdim=True).repeat(1, 1, t),
            torch.sqrt(torch.var(x, dim=2, keepdim=True).clamp(min=1e-4)).repeat(1, 1, t),
        ),
        dim=1,
    )
    hidden = torch.relu(conv(context, state, prefix + "attention.0"))
    hidden = torch.tanh(batch_norm(hidden, state, prefix + "attention.2"))
    weights = torch.softmax(conv(hidden, state, prefix + "attention.4"), dim=2)
    mean = (x * weights).sum(2)
    deviation = torch.sqrt(((x**2 * weights).sum(2) - mean**2).clamp(min=1e-4))
    y = batch_norm(torch.cat((mean, deviation), 1), state, prefix + "bn5")
    return batch_norm(linear(y, state, prefix + "fc6"), state, prefix + "bn6")


def speech_brain_conv(x, state, prefix, dilation=1):
    weight = state[prefix + ".conv.weight"]
    pad = dilation * (weight.shape[-1] - 1) // 2
    x = F.pad(x, (pad, pad), mode="reflect")
    return F.conv1d(x, weight, state[prefix + ".conv.bias"], dilation=dilation)


def speech_brain_tdnn(x, state, prefix, dilation=1):
    x = torch.relu(speech_brain_conv(x, state, prefix + ".conv", dilation))
    return batch_norm(x, state, prefix + ".norm.norm")


def speech_brain_statistics(x, weights):
    mean = (weights * x).sum(2)
    return mean, torch.sqrt((weights * (x - mean.unsqueeze(2)).pow(2)).sum(2).clamp(1e-12))


def speech_brain_ecapa(features, state):
    """(N, 80, T) to (N, 192), with the concatenated, expanded context of the public code."""
    x = speech_brain_tdnn(features, state, "blocks.0")
    outputs = []
    for n, dilation in ((1, 2), (2, 3), (3, 4)):
        y = speech_brain_tdnn(x, state, f"blocks.{n}.tdnn1")
        parts = []
        for i, part in enumerate(torch.chunk(y, 8, dim=1)):
            if i > 0:
                part = part + parts[-1] if i > 1 else part
                name = f"blocks.{n}.res2net_block.blocks.{i - 1}"
                part = speech_brain_tdnn(part, state, name, dilation)
            parts.append(part)
        y = speech_brain_tdnn(torch.cat(parts, 1), state, f"blocks.{n}.tdnn2")
        gate = y.mean(dim=2, keepdim=True)
        gate = torch.relu(speech_brain_conv(gate, state, f"blocks.{n}.se_block.conv1"))
        y = torch.sigmoid(speech_brain_conv(gate, state, f"blocks.{n}.se_block.conv2")) * y
        x = y + x
        outputs.append(x)
    x = speech_brain_tdnn(torch.cat(outputs, dim=1), state, "mfa")
    t = x.shape[-1]
    mean, deviation = speech_brain_statistics(x, torch.full((1, 1, t), 1.0 / t))
    context = [x, mean.unsqueeze(2).repeat(1, 1, t), deviation.unsqueeze(2).repeat(1, 1, t)]
    y = torch.tanh(speech_brain_tdnn(torch.cat(context, dim=1), state, "asp.tdnn"))
    weights = torch.softmax(speech_brain_conv(y, state, "asp.conv"), dim=2)
    pooled = torch.cat(speech_brain_statistics(x, weights), dim=1)[:, :, None]
    pooled = batch_norm(pooled, state, "asp_bn.norm")
    return speech_brain_conv(pooled, state, "fc")[:, :, 0]


def speech_brain_features(samples):
    """(n_samples,) to (80, T) in dB, as Fbank(n_mels=80) and the mean over a sentence removed."""
    window = torch.hamming_window(400, dtype=torch.float64)
    spectrum = torch.stft(
        samples.double(), 400, 160, 400, window, center=True, pad_mode="constant",
        return_complex=True,
    )  # fmt: skip
    power = spectrum.abs() ** 2
    mel = torch.linspace(0, 2595 * math.log10(1 + 8000 / 700), 82, dtype=torch.float64)
    hz = 700 * (10 ** (mel / 2595) - 1)
    band = (hz[1:] - hz[:-1])[:-1]
    slope = (torch.linspace(0, 8000, 201, dtype=torch.float64)[:, None] - hz[1:-1]) / band
    bank = torch.clamp(torch.minimum(slope + 1, 1 - slope), min=0)
    decibels = 10 * torch.log10(torch.clamp(bank.T @ power, min=1e-10))
    decibels = torch.clamp(decibels, min=float(decibels.max()) - 80)
    return (decibels - decibels.mean(1, keepdim=True)).float()


def official_features(samples, n_mels=80):
    """(n_samples,) to (n_mels, T), by torch.stft, as the official code's transform works."""
    x = samples.double()[None, None]
    x = F.pad(x, (1, 0), "reflect")
    kernel = torch.tensor([[[-0.97, 1.0]]], dtype=torch.float64)
    x = F.conv1d(x, kernel)[0, 0]
    window = torch.hamming_window(400, periodic=True, dtype=torch.float64)
    spectrum = torch.stft(
        x, 512, 160, 400, window, center=True, pad_mode="reflect", return_complex=True
    )
    power = spectrum.abs() ** 2
    points_mel = torch.linspace(
        2595 * math.log10(1 + 20 / 700), 2595 * math.log10(1 + 7600 / 700), n_mels + 2, dtype=torch.float64
    )
    points_hz = 700 * (10 ** (points_mel / 2595) - 1)
    freqs = torch.linspace(0, 8000, 257, dtype=torch.float64)
    slopes = points_hz[None, :] - freqs[:, None]
    widths = points_hz[1:] - points_hz[:-1]
    down, up = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    bank = torch.clamp(torch.minimum(down, up), min=0)
    features = torch.log(bank.T @ power + 1e-6)
    return (features - features.mean(1, keepdim=True)).float()


def kaldi_features(samples, snip_edges, povey=False, high_hz=7600):
    """(n_samples,) to (80, T): Kaldi's fbank without dither, with its Hamming or its own window."""
    x = samples.double()
    n = len(x)
    frames = []
    if snip_edges:
        count, first = 1 + (n - 400) // 160, 0
    else:
        count, first = (n + 80) // 160, -120
    for i in range(count):
        row = []
        for j in range(first + 160 * i, first + 160 * i + 400):
            while j < 0 or j >= n:
                j = -j - 1 if j < 0 else 2 * n - 1 - j
            row.append(j)
        frame = x[row]
        frame = frame - frame.mean()
        before = torch.cat([frame[:1], frame[:-1]])
        frames.append(frame - 0.97 * before)
    window = torch.hamming_window(400, periodic=False, dtype=torch.float64)
    if povey:
        window = torch.hann_window(400, periodic=False, dtype=torch.float64) ** 0.85
    power = torch.fft.rfft(torch.stack(frames) * window, 512).abs() ** 2
    low, high = 1127 * math.log(1 + 20 / 700), 1127 * math.log(1 + high_hz / 700)
    delta = (high - low) / 81
    mel = 1127 * torch.log(1 + torch.arange(256, dtype=torch.float64) * 31.25 / 700)
    bank = torch.zeros(80, 257, dtype=torch.float64)
    for b in range(80):
        left, right = low + b * delta, low + (b + 2) * delta
        rise, fall = (mel - left) / delta, (right - mel) / delta
        bank[b, :256] = torch.clamp(torch.minimum(rise, fall), min=0)
    return torch.log(torch.clamp(power @ bank.T, min=1.1920928955078125e-07)).T.float()


def sliding_mean_removed(features, width=300):
    """(80, T) without the mean of the frames around each, as SlidingWindowCmn(center=True)."""
    features = features.T
    count = len(features)
    out = torch.empty_like(features)
    for t in range(count):
        start = t - width // 2
        end = start + width
        if start < 0:
            start, end = 0, end - start
        if end > count:
            start, end = max(0, start - (end - count)), count
        out[t] = features[t] - features[start:end].mean(0)
    return out.T


def voice_personification_features(samples):
    """(n_samples,) in [-1, 1] to (80, T), on 16-bit numbers as that project reads them."""
    return sliding_mean_removed(kaldi_features(samples * 32768.0, False))


def cam_plus_plus_features(samples):
    """(n_samples,) in [-1, 1] to (80, T), the mean over the window removed."""
    features = kaldi_features(samples, True, povey=True, high_hz=8000)
    return features - features.mean(1, keepdim=True)


def we_speaker_features(samples):
    """(n_samples,) in [-1, 1] to (80, T), on 16-bit numbers, the mean over the window removed."""
    features = kaldi_features(samples * 32768.0, True, high_hz=8000)
    return features - features.mean(1, keepdim=True)


def cam_head_block(x, state, prefix, stride):
    def conv2d(y, name, **kwargs):
        return F.conv2d(y, state[f"{prefix}{name}.weight"], **kwargs)

    y = torch.relu(batch_norm(conv2d(x, "conv1", stride=(stride, 1), padding=1), state, prefix + "bn1"))
    y = batch_norm(conv2d(y, "conv2", padding=1), state, prefix + "bn2")
    if stride != 1:
        x = batch_norm(conv2d(x, "shortcut.0", stride=(stride, 1)), state, prefix + "shortcut.1")
    return torch.relu(y + x)


def segment_pooling(x, length=100):
    """Each segment's mean in place of its frames; the last segment may be short."""
    parts = [part.mean(2, keepdim=True).expand_as(part) for part in x.split(length, dim=2)]
    return torch.cat(parts, dim=2)


def cam_layer(x, state, prefix, dilation):
    y = torch.relu(batch_norm(x, state, prefix + "nonlinear1.batchnorm"))
    y = F.conv1d(y, state[prefix + "linear1.weight"])
    y = torch.relu(batch_norm(y, state, prefix + "nonlinear2.batchnorm"))
    weight = state[prefix + "cam_layer.linear_local.weight"]
    local = F.conv1d(y, weight, dilation=dilation, padding=(weight.shape[-1] - 1) // 2 * dilation)
    context = y.mean(2, keepdim=True) + segment_pooling(y)
    mask = torch.relu(conv(context, state, prefix + "cam_layer.linear1"))
    return local * torch.sigmoid(conv(mask, state, prefix + "cam_layer.linear2"))


def cam_plus_plus(features, state):
    """(N, 80, T) to (N, 192), with the pooled segments spread over their frames."""
    x = F.conv2d(features[:, None], state["head.conv1.weight"], padding=1)
    x = torch.relu(batch_norm(x, state, "head.bn1"))
    for layer in ("layer1", "layer2"):
        x = cam_head_block(x, state, f"head.{layer}.0.", 2)
        x = cam_head_block(x, state, f"head.{layer}.1.", 1)
    x = F.conv2d(x, state["head.conv2.weight"], stride=(2, 1), padding=1)
    x = torch.relu(batch_norm(x, state, "head.bn2"))
    x = x.reshape(x.shape[0], -1, x.shape[3])
    x = F.conv1d(x, state["xvector.tdnn.linear.weight"], stride=2, padding=2)
    x = torch.relu(batch_norm(x, state, "xvector.tdnn.nonlinear.batchnorm"))
    for block, dilation in ((1, 1), (2, 2), (3, 2)):
        layer = 1
        while f"xvector.block{block}.tdnnd{layer}.linear1.weight" in state:
            y = cam_layer(x, state, f"xvector.block{block}.tdnnd{layer}.", dilation)
            x, layer = torch.cat([x, y], dim=1), layer + 1
        x = torch.relu(batch_norm(x, state, f"xvector.transit{block}.nonlinear.batchnorm"))
        x = F.conv1d(x, state[f"xvector.transit{block}.linear.weight"])
    x = torch.relu(batch_norm(x, state, "xvector.out_nonlinear.batchnorm"))
    x = torch.cat([x.mean(2), x.std(2, unbiased=True)], dim=1)
    x = F.linear(x, state["xvector.dense.linear.weight"][:, :, 0])
    norm = "xvector.dense.nonlinear.batchnorm"
    return F.batch_norm(x, state[norm + ".running_mean"], state[norm + ".running_var"], training=False)
