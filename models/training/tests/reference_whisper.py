"""Segmentation by the Whisper of transformers, without a cache; skips the test where it is not installed.

The sentence is decoded as VoicePersonification's code does it: each time from the first token on.
"""

import re

import torch

from optional import need

# Names of OpenAI's code and of transformers, in the order in which they are replaced.
NAMES = (
    (r"\.blocks\.", ".layers."),
    (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.attn\.", ".self_attn."),
    (r"\.query\.", ".q_proj."),
    (r"\.key\.", ".k_proj."),
    (r"\.value\.", ".v_proj."),
    (r"\.out\.", ".out_proj."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"encoder\.ln_post\.", "encoder.layer_norm."),
    (r"decoder\.ln\.", "decoder.layer_norm."),
    (r"token_embedding\.", "embed_tokens."),
    (r"positional_embedding$", "embed_positions.weight"),
)


def features(samples):
    """(n_samples,) of at most 30 s to (1, n_mels, 3000)."""
    need("transformers")
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=80)(samples, sampling_rate=16000, return_tensors="pt")["input_features"]


def model(checkpoint):
    """transformers' encoder and decoder with these weights."""
    need("transformers")
    from transformers import WhisperConfig, WhisperModel

    args, state = checkpoint["args"], {}
    for key, value in checkpoint["state_dict"].items():
        if key.startswith(("encoder.", "decoder.")):
            for old, new in NAMES:
                key = re.sub(old, new, key)
            state[key] = value
    config = WhisperConfig(
        vocab_size=args["n_vocab"],
        num_mel_bins=args["n_mels"],
        d_model=args["n_text_state"],
        encoder_layers=args["n_audio_layer"],
        encoder_attention_heads=args["n_audio_head"],
        encoder_ffn_dim=4 * args["n_audio_state"],
        decoder_layers=args["n_text_layer"],
        decoder_attention_heads=args["n_text_head"],
        decoder_ffn_dim=4 * args["n_text_state"],
        max_source_positions=args["n_audio_ctx"],
        max_target_positions=args["n_text_ctx"],
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    network = WhisperModel(config).eval()
    network.load_state_dict(state, strict=True)
    return network


def segment_chunk(checkpoint, inputs):
    """Tokens of the sentence after the start token, and the states where speakers were emitted."""
    args, state = checkpoint["args"], checkpoint["state_dict"]
    network = model(checkpoint)
    start_token, end_token = args["n_timestamps"], args["n_timestamps"] + 1
    with torch.inference_mode():
        audio = network.encoder(inputs).last_hidden_state
        tokens, embeddings = [start_token], []
        while len(tokens) + 3 <= args["n_text_ctx"]:
            emitted = []
            for part in range(3):
                hidden = network.decoder(
                    input_ids=torch.tensor([tokens + emitted]), encoder_hidden_states=audio, use_cache=False
                ).last_hidden_state[0, -1]
                if part < 2:
                    scores = hidden @ state["ts_head.weight"].T + state["ts_head.bias"]
                    token = int(scores.argmax())
                    if token >= start_token:
                        break
                else:
                    token = args["n_timestamps"] + 2 + int((hidden @ state["spk_head.kernel"]).argmax())
                    embeddings.append(hidden)
                emitted.append(token)
            if len(emitted) < 3:
                return [*tokens[1:], *emitted, end_token], embeddings
            tokens += emitted
    return tokens[1:], embeddings
