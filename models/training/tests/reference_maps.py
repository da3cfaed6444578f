"""WeSpeaker's ResNets and ReDimNet as plain forward passes from a public checkpoint.

Written from the published layouts, layer by layer in their own order and axis layout, and sharing no code with the
package. They are networks over maps of channels, bands and frames.
"""

import torch
import torch.nn.functional as F

from reference import batch_norm, layer_norm_first, linear


def conv2d(x, state, prefix, **kwargs):
    return F.conv2d(x, state[prefix + ".weight"], state.get(prefix + ".bias"), **kwargs)


def conv1d(x, state, prefix, **kwargs):
    return F.conv1d(x, state[prefix + ".weight"], state.get(prefix + ".bias"), **kwargs)


def resnet_block(x, state, prefix, stride):
    if prefix + "conv3.weight" in state:
        y = torch.relu(batch_norm(conv2d(x, state, prefix + "conv1"), state, prefix + "bn1"))
        y = conv2d(y, state, prefix + "conv2", stride=stride, padding=1)
        y = torch.relu(batch_norm(y, state, prefix + "bn2"))
        y = batch_norm(conv2d(y, state, prefix + "conv3"), state, prefix + "bn3")
    else:
        y = conv2d(x, state, prefix + "conv1", stride=stride, padding=1)
        y = torch.relu(batch_norm(y, state, prefix + "bn1"))
        y = batch_norm(conv2d(y, state, prefix + "conv2", padding=1), state, prefix + "bn2")
    if prefix + "shortcut.0.weight" in state:
        x = conv2d(x, state, prefix + "shortcut.0", stride=stride)
        x = batch_norm(x, state, prefix + "shortcut.1")
    return torch.relu(y + x)


def we_speaker_resnet(features, state):
    """(N, 80, T) to (N, D); temporal statistics of every channel and band, the deviation unbiased."""
    x = torch.relu(batch_norm(conv2d(features[:, None], state, "conv1", padding=1), state, "bn1"))
    for stage in range(1, 5):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            stride = 2 if stage > 1 and block == 0 else 1
            x = resnet_block(x, state, f"layer{stage}.{block}.", stride)
            block += 1
    mean, deviation = x.mean(dim=-1), torch.sqrt(torch.var(x, dim=-1) + 1e-7)
    x = linear(torch.cat((mean.flatten(1), deviation.flatten(1)), 1), state, "seg_1")
    if "seg_2.weight" in state:
        mean, variance = state["seg_bn_1.running_mean"], state["seg_bn_1.running_var"]
        x = linear(F.batch_norm(F.relu(x), mean, variance), state, "seg_2")
    return x


def norm_first(x, state, prefix):
    """Over channels of (N, C, ...)."""
    shape = x.shape
    flat = layer_norm_first(x.flatten(2), state[prefix + ".weight"], state[prefix + ".bias"])
    return flat.reshape(shape)


def conv_next(x, state, prefix, activation=F.gelu):
    conv = conv2d if x.dim() == 4 else conv1d
    parts, index = [], 0
    while (name := f"{prefix}dwconvs.{index}") + ".weight" in state:
        groups = x.shape[1] // state[name + ".weight"].shape[1]
        parts.append(conv(x, state, name, padding="same", groups=groups))
        index += 1
    y = activation(batch_norm(torch.cat(parts, 1), state, prefix + "norm"))
    return x + conv(y, state, prefix + "pwconv1")


def residual(x, state, prefix):
    y = x
    for number in (1, 2):
        groups = x.shape[1] // state[f"{prefix}conv{number}.weight"].shape[1]
        y = conv2d(y, state, f"{prefix}conv{number}", padding=1, groups=groups)
        if f"{prefix}conv{number}pw.weight" in state:
            y = conv2d(y, state, f"{prefix}conv{number}pw")
        y = torch.relu(y) if number == 1 else y
        y = batch_norm(y, state, f"{prefix}bn{number}")
    if prefix + "se.squeeze.weight" in state:
        gate = torch.relu(linear(y.mean(dim=[1, 3]), state, prefix + "se.squeeze"))
        y = y * torch.sigmoid(linear(gate, state, prefix + "se.exitation"))[:, None, :, None]
    return torch.relu(y + x)


def transformer(x, state, prefix):
    x = x.permute(0, 2, 1)
    batch, length, size = x.shape

    def heads(name):
        y = linear(x, state, f"{prefix}attention.{name}_proj")
        return y.view(batch, length, 4, size // 4).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(heads("q"), heads("k"), heads("v"))
    mixed = mixed.transpose(1, 2).reshape(batch, length, size)
    x = x + linear(mixed, state, prefix + "attention.out_proj")
    names = [prefix + "layer_norm", prefix + "final_layer_norm"]
    x = F.layer_norm(x, (size,), state[names[0] + ".weight"], state[names[0] + ".bias"], 1e-6)
    y = F.gelu(linear(x, state, prefix + "feed_forward.intermediate_dense"), approximate="tanh")
    x = x + linear(y, state, prefix + "feed_forward.output_dense")
    x = F.layer_norm(x, (size,), state[names[1] + ".weight"], state[names[1] + ".bias"], 1e-6)
    return x.permute(0, 2, 1)


def time_context(x, state, prefix):
    y = norm_first(conv1d(x, state, prefix + "red_dim_conv.0"), state, prefix + "red_dim_conv.1")
    if prefix + "tcm.3.weight" in state:
        y = F.gelu(norm_first(conv1d(y, state, prefix + "tcm.0"), state, prefix + "tcm.1"))
        y = conv1d(y, state, prefix + "tcm.3")
    else:
        layers = sorted({k.removeprefix(prefix + "tcm.").split(".")[0] for k in state if k.startswith(prefix + "tcm.")})
        for layer in layers:
            name = f"{prefix}tcm.{layer}."
            if name + "conv.weight" in state:
                z = conv1d(y, state, name + "conv", padding="same", groups=y.shape[1])
                y = y + norm_first(z, state, name + "norm")
            elif name + "norm.weight" in state:
                y = conv_next(y, state, name)
            else:
                y = transformer(y, state, name)
    return x + conv1d(y, state, prefix + "exp_dim_conv")


def to_rows(x):
    return x.permute((0, 2, 1, 3)).reshape(x.shape[0], -1, x.shape[3])


def weighted(rows, weights):
    return (F.softmax(weights, dim=1) * torch.stack(rows, 1)).sum(1)


def redimnet(features, checkpoint):
    """(N, F, T) to (N, D), from {model_config, state_dict} with the newer names."""
    config, state = checkpoint["model_config"], checkpoint["state_dict"]
    channels, bands = config["C"], config["F"]
    relu = config["block_2d_type"].endswith("_relu")
    x = conv2d(features[:, None], state, "backbone.stem.0", padding=1)
    rows = [to_rows(norm_first(x, state, "backbone.stem.1"))]
    for index, (stride, n_blocks, expansion, _, reduction) in enumerate(config["stages_setup"]):
        stage = f"backbone.stage{index}."
        x = weighted(rows, state[stage + "0.w"])
        x = x.reshape(x.shape[0], bands, channels, x.shape[2]).permute((0, 2, 1, 3))
        x = conv2d(x, state, stage + "2", stride=(stride, 1))
        channels, bands, layer = stride * channels, bands // stride, 3
        for _ in range(n_blocks):
            block = f"{stage}{layer}.conv_block."
            if block + "norm.weight" in state:
                x = conv_next(x, state, block, torch.relu if relu else F.gelu)
            else:
                x = residual(x, state, block)
            layer += 1
        if expansion != 1:
            inner = f"{stage}{layer}."
            groups = x.shape[1] // state[inner + "0.weight"].shape[1]
            x = batch_norm(conv2d(x, state, inner + "0", padding=1, groups=groups), state, inner + "1", 1e-6)
            x = conv2d(F.gelu(x), state, inner + "3")
            layer += 1
        x = to_rows(x)
        if reduction is not None:
            x = time_context(x, state, f"{stage}{layer + 1}.")
        rows.append(x)
    x = weighted(rows, state["backbone.fin_wght1d.w"])
    if config.get("out_channels"):
        x = batch_norm(conv1d(x, state, "backbone.mfa.0"), state, "backbone.mfa.1")
    context = x
    if config.get("global_context_att"):
        mean = x.mean(-1, keepdim=True).expand_as(x)
        context = torch.cat((x, mean, torch.sqrt(torch.var(x, dim=-1, keepdim=True) + 1e-7).expand_as(x)), dim=1)
    alpha = torch.softmax(conv1d(torch.tanh(conv1d(context, state, "pool.linear1")), state, "pool.linear2"), dim=2)
    mean = torch.sum(alpha * x, dim=2)
    deviation = torch.sqrt((torch.sum(alpha * x**2, dim=2) - mean**2).clamp(min=1e-7))
    x = linear(batch_norm(torch.cat([mean, deviation], 1), state, "bn"), state, "linear")
    return batch_norm(x, state, "bn2") if config.get("emb_bn") else x
