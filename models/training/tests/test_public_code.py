"""The references against the code of the public projects, where it is installed.

Neither torchaudio nor SpeechBrain is a requirement, and torchaudio's compiled part seldom loads
beside the newest torch. What is compared here is plain Python, so that part is left out:

    pip install --no-deps --target /tmp/public torchaudio speechbrain hyperpyyaml ruamel.yaml \\
        pyyaml sentencepiece huggingface_hub requests tqdm packaging joblib
    PYTHONPATH=/tmp/public python -m pytest -s tests/test_public_code.py
"""

import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import reference
import test_foreign
from diarized_train.export import cosine
from optional import need
from test_front_end import voice_like


@pytest.fixture(scope="module")
def torchaudio():
    need("torchaudio")
    compiled = types.ModuleType("torchaudio._extension")
    compiled.fail_if_no_align = lambda function: function
    compiled._IS_TORCHAUDIO_EXT_AVAILABLE = False
    compiled._IS_ALIGN_AVAILABLE = False
    compiled._IS_RIR_AVAILABLE = False
    sys.modules.setdefault("torchaudio._extension", compiled)
    import torchaudio
    import torchaudio.compliance.kaldi
    import torchaudio.transforms

    return torchaudio


def difference(a, b):
    assert a.shape == b.shape
    return float((a - b).abs().max())


@pytest.mark.parametrize("n_samples", [16000, 24123, 80123])
def test_official_and_ecapa(torchaudio, n_samples):
    x = torch.from_numpy(voice_like(n_samples))
    emphasised = F.conv1d(F.pad(x[None, None], (1, 0), "reflect"), torch.tensor([[[-0.97, 1.0]]]))
    mel = torchaudio.transforms.MelSpectrogram(
        16000, 512, 400, 160, f_min=20, f_max=7600, window_fn=torch.hamming_window, n_mels=80
    )
    features = torch.log(mel(emphasised[:, 0]) + 1e-6)[0]
    features = features - features.mean(-1, keepdim=True)
    assert difference(features, reference.official_features(x)) < 1e-4


def kaldi_fbank(torchaudio, x, dither):
    return torchaudio.compliance.kaldi.fbank(
        x[None] * 32768.0,
        num_mel_bins=80,
        low_freq=20,
        high_freq=7600,
        window_type="hamming",
        sample_frequency=16000,
        snip_edges=False,
        energy_floor=0.0,
        dither=dither,
    )


@pytest.mark.parametrize("n_samples", [16000, 24123, 80123])
def test_voice_personification(torchaudio, n_samples):
    x = torch.from_numpy(voice_like(n_samples))
    sliding = torchaudio.transforms.SlidingWindowCmn(cmn_window=300, center=True)
    features = sliding(kaldi_fbank(torchaudio, x, 0.0)).T
    assert difference(features, reference.voice_personification_features(x)) < 1e-4
    # What the dither that we leave out would change: next to nothing on 16-bit numbers.
    torch.manual_seed(1)
    dithered = sliding(kaldi_fbank(torchaudio, x, 1.0)).T
    change = float((dithered - features).abs().mean())
    print(f"dither of 1.0 changes the features by {change:.4f} on average")
    assert change < 0.01


@pytest.mark.parametrize("n_samples", [16000, 24123, 64000])
def test_speech_brain(torchaudio, n_samples):
    need("speechbrain")
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    checkpoint = test_foreign.speech_brain_checkpoint()
    network = ECAPA_TDNN(
        80,
        channels=[64, 64, 64, 64, 192],
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        attention_channels=128,
        lin_neurons=192,
    )
    network.load_state_dict(checkpoint)
    samples = voice_like(n_samples)
    samples[n_samples // 3 : n_samples // 2] = 0.0
    normalise = InputNormalization(norm_type="sentence", std_norm=False)
    with torch.inference_mode():
        features = normalise(Fbank(n_mels=80)(torch.from_numpy(samples)[None]), torch.ones(1))
        embedding = network.eval()(features, torch.ones(1))[:, 0].numpy()
    ours = reference.speech_brain_features(torch.from_numpy(samples))
    assert difference(features[0].T, ours) < 5e-4
    expected = test_foreign.expected_embedding("speech_brain", checkpoint, samples).numpy()
    assert cosine(embedding, expected) > 1 - 1e-9
    np.testing.assert_allclose(embedding, expected, atol=1e-3 * np.abs(expected).max())
