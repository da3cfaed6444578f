"""The reference front ends against torchaudio, which the public projects call themselves.

torchaudio is no requirement, and its compiled part seldom loads beside the newest torch. What is
compared here is plain Python, so that part is left out:

    pip download --no-deps --dest /tmp/torchaudio torchaudio && cd /tmp/torchaudio && unzip -q *.whl
    PYTHONPATH=/tmp/torchaudio python -m pytest -s tests/test_torchaudio.py
"""

import importlib.util
import sys
import types

import pytest
import reference
import torch
import torch.nn.functional as F
from test_front_end import voice_like


@pytest.fixture(scope="module")
def torchaudio():
    if importlib.util.find_spec("torchaudio") is None:
        reason = "not run: front ends against torchaudio, because it is not installed"
        print(reason)
        pytest.skip(reason)
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
