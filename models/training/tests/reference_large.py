"""The large model with the encoder and the feature extractor of transformers; skips the test where it is not installed.

What lies behind the encoder is plain torch, written from the published layout.
"""

import torch
import torch.nn.functional as F

from optional import need

ENCODER = "feat_extractor.w2v."


def feature_extractor():
    need("transformers")
    from transformers import SeamlessM4TFeatureExtractor

    # As in preprocessor_config.json of facebook/w2v-bert-2.0.
    return SeamlessM4TFeatureExtractor(padding_value=1.0, return_attention_mask=True)


def input_features(samples):
    """(n_samples,) in [-1, 1] to (1, T, 160), as VoicePersonification calls it."""
    extracted = feature_extractor()(samples, sampling_rate=16000, return_tensors="pt")
    return extracted["input_features"].float()


def paired(features):
    """Single frames (1, 80, T) to (1, ceil(T / 2), 160)."""
    rows = F.pad(features, (0, features.shape[2] % 2), value=1.0).transpose(1, 2)
    return rows.reshape(1, -1, 160)


def encoder(checkpoint):
    """The encoder of transformers with these weights."""
    need("transformers")
    from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

    state = {k.removeprefix(ENCODER): v for k, v in checkpoint.items() if k.startswith(ENCODER)}
    hidden = state["feature_projection.projection.weight"].shape[0]
    head_size = state["encoder.layers.0.self_attn.distance_embedding.weight"].shape[1]
    config = Wav2Vec2BertConfig(
        hidden_size=hidden,
        output_hidden_size=hidden,
        num_attention_heads=hidden // head_size,
        num_hidden_layers=1 + max(int(k.split(".")[2]) for k in state if k.startswith("encoder.layers.")),
        intermediate_size=state["encoder.layers.0.ffn1.intermediate_dense.weight"].shape[0],
    )
    model = Wav2Vec2BertModel(config).eval()
    outcome = model.load_state_dict(state, strict=False)
    assert set(outcome.missing_keys) <= {"masked_spec_embed"} and not outcome.unexpected_keys, outcome
    return model


def large(inputs, checkpoint):
    """(1, T, 160) to (1, D)."""
    x = encoder(checkpoint)(input_features=inputs).last_hidden_state.transpose(1, 2)
    x = F.conv1d(x, checkpoint["frame_level.weight"], checkpoint["frame_level.bias"])
    mean = x.mean(-1)
    x = torch.cat([mean, F.relu(x.pow(2).mean(-1) - mean.pow(2)).sqrt()], dim=-1)
    layer = 0
    while (prefix := f"segment_level.layers.{layer}.") + "linear1.weight" in checkpoint:
        one, other = (
            F.linear(x, checkpoint[f"{prefix}{name}.weight"], checkpoint[f"{prefix}{name}.bias"])
            for name in ("linear1", "linear2")
        )
        norm = f"segment_level.bn.{layer}."
        x = F.batch_norm(
            torch.max(one, other), checkpoint[norm + "running_mean"], checkpoint[norm + "running_var"]
        )
        layer += 1
    return x
