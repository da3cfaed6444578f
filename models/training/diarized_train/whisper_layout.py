"""A Whisper encoder and decoder over tokens of time and speaker, arranged for export.

The layout of VoicePersonification's ``itmo_personification_model_segmentation``, whose parts have the names of
OpenAI's code (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022). The decoder's
sentence is start token, then start, end and speaker of each segment, then end token. Its state where it emits a speaker
is the segment's embedding.

Two graphs come of it. The encoder also projects its output to the keys and values of every decoder layer, once a chunk.
The decoder takes one token and the keys and values of those before it, as rows of a cache that grows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Tokens after those of time: the start and the end of a sentence.
N_SPECIAL = 2


@dataclass(frozen=True)
class WhisperConfig:
    """``args`` of a checkpoint; the defaults are the sizes of Whisper base."""

    n_mels: int = 80
    n_audio_ctx: int = 1500
    n_audio_state: int = 512
    n_audio_head: int = 8
    n_audio_layer: int = 6
    n_vocab: int = 8707
    n_text_ctx: int = 448
    n_text_state: int = 512
    n_text_head: int = 8
    n_text_layer: int = 6
    n_spks: int = 7205
    n_timestamps: int = 1500
    chunk_duration: float = 30.0


class _Attention(nn.Module):
    def __init__(self, state: int, n_heads: int) -> None:
        super().__init__()
        if state % n_heads:
            raise ValueError(f"a state of {state} cannot be divided among {n_heads} heads")
        self.n_heads, self.size = n_heads, state // n_heads
        self.query = nn.Linear(state, state)
        self.key = nn.Linear(state, state, bias=False)
        self.value = nn.Linear(state, state)
        self.out = nn.Linear(state, state)

    def heads(self, x: Tensor) -> Tensor:
        """(T, state) to (heads, T, size)."""
        return x.reshape(-1, self.n_heads, self.size).transpose(0, 1)

    def attend(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rows (T, state) that look at keys (heads, size, S) and values (heads, S, size)."""
        query = self.heads(self.query(x) * self.size**-0.5)
        mixed = torch.softmax(query @ keys, dim=2) @ values
        return self.out(mixed.transpose(0, 1).reshape(-1, self.n_heads * self.size))


class _Block(nn.Module):
    def __init__(self, state: int, n_heads: int, cross: bool) -> None:
        super().__init__()
        self.attn = _Attention(state, n_heads)
        self.attn_ln = nn.LayerNorm(state)
        if cross:
            self.cross_attn = _Attention(state, n_heads)
            self.cross_attn_ln = nn.LayerNorm(state)
        self.mlp = nn.ModuleDict({"0": nn.Linear(state, 4 * state), "2": nn.Linear(4 * state, state)})
        self.mlp_ln = nn.LayerNorm(state)

    def think(self, x: Tensor) -> Tensor:
        return x + self.mlp["2"](F.gelu(self.mlp["0"](self.mlp_ln(x))))


class _Encoder(nn.Module):
    """Log-mel (1, n_mels, 2 * n_audio_ctx) to rows (n_audio_ctx, state)."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        state = config.n_audio_state
        self.conv1 = nn.Conv1d(config.n_mels, state, 3, padding=1)
        self.conv2 = nn.Conv1d(state, state, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(config.n_audio_ctx, state))
        self.blocks = nn.ModuleList(_Block(state, config.n_audio_head, False) for _ in range(config.n_audio_layer))
        self.ln_post = nn.LayerNorm(state)

    def forward(self, features: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(features))))
        x = x[0].transpose(0, 1) + self.positional_embedding
        for block in self.blocks:
            y = block.attn_ln(x)
            keys = block.attn.heads(block.attn.key(y)).transpose(1, 2)
            x = block.think(x + block.attn.attend(y, keys, block.attn.heads(block.attn.value(y))))
        return self.ln_post(x)


class _Decoder(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        state = config.n_text_state
        self.token_embedding = nn.Embedding(config.n_vocab, state)
        self.positional_embedding = nn.Parameter(torch.zeros(config.n_text_ctx, state))
        self.blocks = nn.ModuleList(_Block(state, config.n_text_head, True) for _ in range(config.n_text_layer))
        self.ln = nn.LayerNorm(state)


class _SpeakerHead(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(config.n_text_state, config.n_spks))


class WhisperSegmentation(nn.Module):
    """The whole network; parameter names are public ones."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        if config.n_audio_state != config.n_text_state:
            raise ValueError(
                f"n_audio_state ({config.n_audio_state}) and n_text_state ({config.n_text_state}) must be equal"
            )
        self.config = config
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        self.ts_head = nn.Linear(config.n_text_state, config.n_timestamps + N_SPECIAL)
        self.spk_head = _SpeakerHead(config)


class EncoderGraph(nn.Module):
    """Log-mel (1, n_mels, 2 * n_audio_ctx) to keys (layers, heads, size, n_audio_ctx) and values (layers, heads,
    n_audio_ctx, size) of the decoder's layers."""

    def __init__(self, network: WhisperSegmentation) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.network.encoder(features)
        layers = [block.cross_attn for block in self.network.decoder.blocks]
        keys = torch.stack([layer.heads(layer.key(x)).transpose(1, 2) for layer in layers])
        return keys, torch.stack([layer.heads(layer.value(x)) for layer in layers])


class DecoderGraph(nn.Module):
    """One step: token and position (1,), the rows before (P, 2 * layers, state), the encoder's keys and values.

    Gives the state (1, state), the scores of times (1, n_timestamps + 2) and of speakers (1, n_spks), and the next row
    (1, 2 * layers, state).
    """

    def __init__(self, network: WhisperSegmentation) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, token: Tensor, position: Tensor, past: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, ...]:
        decoder = self.network.decoder
        x = F.embedding(token, decoder.token_embedding.weight)
        x = x + F.embedding(position, decoder.positional_embedding)
        row = []
        for index, block in enumerate(decoder.blocks):
            y = block.attn_ln(x)
            key, value = block.attn.key(y), block.attn.value(y)
            row += [key, value]
            before = torch.cat([past[:, 2 * index], key]), torch.cat([past[:, 2 * index + 1], value])
            own_keys, own_values = (block.attn.heads(rows) for rows in before)
            x = x + block.attn.attend(y, own_keys.transpose(1, 2), own_values)
            x = block.think(x + block.cross_attn.attend(block.cross_attn_ln(x), keys[index], values[index]))
        x = decoder.ln(x)
        return x, self.network.ts_head(x), x @ self.network.spk_head.kernel, torch.stack(row, 1)


def read_config(args: dict, state: dict[str, Tensor]) -> WhisperConfig:
    """``args`` of a checkpoint, checked against the tensors that tell the same; raises ``ValueError`` with the key."""
    names = set(WhisperConfig.__dataclass_fields__)
    unknown = sorted(set(map(str, args)) - names)
    if unknown:
        raise ValueError(f"args has keys that are not known here: {', '.join(unknown)}")
    missing = sorted(names - set(args) - {"n_timestamps", "chunk_duration"})
    if missing:
        raise ValueError(f"args lacks {', '.join(missing)}")
    for name in names - {"chunk_duration"}:
        value = args.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"args.{name} ({value!r}) must be a whole number of at least 1")
    config = WhisperConfig(**args)
    if config.chunk_duration != 30.0 or config.n_audio_ctx != 1500:
        raise ValueError(
            f"args.chunk_duration ({config.chunk_duration}) and args.n_audio_ctx ({config.n_audio_ctx}) must be 30 "
            "and 1500"
        )
    needed = config.n_timestamps + N_SPECIAL + config.n_spks
    if config.n_vocab < needed:
        raise ValueError(f"args.n_vocab ({config.n_vocab}) must be at least n_timestamps + 2 + n_spks ({needed})")
    for part, claimed in (("encoder", config.n_audio_layer), ("decoder", config.n_text_layer)):
        found = [int(m[1]) + 1 for key in state if (m := re.match(rf"{part}\.blocks\.(\d+)\.", key))]
        if found and max(found) != claimed:
            raise ValueError(f"args says {claimed} layers of the {part}, the tensors say {max(found)}")
    return config
