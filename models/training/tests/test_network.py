"""The network: hand-written gradients, folding, both layouts, any width and depth."""

import pytest
import torch
import torch.nn.functional as F

import reference
from diarized_train.export import FoldedNeXtTdnn, cosine, run_onnx, write_onnx
from diarized_train.heads import Heads, fit_heads, load_weights
from diarized_train.loader import Batch
from diarized_train.nexttdnn import (
    NeXtTdnn,
    NeXtTdnnConfig,
    _BandedConv,
    _GrnFunction,
    randomise,
)


@pytest.mark.parametrize("kernel", [7, 15, 65])
@pytest.mark.parametrize("n_frames", [40, 98])
def test_banded_convolution_is_the_convolution(kernel, n_frames):
    torch.manual_seed(0)
    x = torch.randn(4, n_frames, 3, requires_grad=True)
    w = torch.randn(4, kernel, requires_grad=True)
    probe = torch.randn(4, n_frames, 3)
    got = _BandedConv.apply(x, w)
    plain = F.conv1d(x.permute(2, 0, 1), w[:, None], padding=kernel // 2, groups=4)
    plain = plain.permute(1, 2, 0)
    torch.testing.assert_close(got, plain, atol=1e-4, rtol=1e-4)
    for a, b in zip(
        torch.autograd.grad((got * probe).sum(), (x, w)),
        torch.autograd.grad((plain * probe).sum(), (x, w)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_grn_gradient():
    torch.manual_seed(0)
    x = torch.randn(3, 20, 8, requires_grad=True)
    gamma = torch.rand(1, 1, 8, requires_grad=True)
    beta = torch.rand(1, 1, 8, requires_grad=True)
    probe = torch.randn(3, 20, 8)
    norm = x.norm(dim=1, keepdim=True)
    plain = gamma * (x * (norm / (norm.mean(-1, keepdim=True) + 1e-6))) + beta + x
    got = _GrnFunction.apply(x, gamma, beta)
    torch.testing.assert_close(got, plain)
    for a, b in zip(
        torch.autograd.grad((got * probe).sum(), (x, gamma, beta)),
        torch.autograd.grad((plain * probe).sum(), (x, gamma, beta)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


CONFIGS = [
    NeXtTdnnConfig(channels=32, depths=(1, 1, 1)),
    NeXtTdnnConfig(channels=48, depths=(3, 1, 2), kernel_sizes=(7, 15, 65)),
    NeXtTdnnConfig(channels=32, depths=(2, 2, 2), aggregation="vap_tanh_fc_bn"),
    NeXtTdnnConfig(channels=32, depths=(1, 1, 1), kernel_sizes=(65,), light=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.describe())
def test_network_graph_and_reference_agree(config, tmp_path):
    network = NeXtTdnn(config)
    randomise(network, 1)
    network.eval()
    path = tmp_path / "model.onnx"
    write_onnx(FoldedNeXtTdnn(network), config.n_mels, path)
    for n_frames in (98, 148, 298):
        x = 2 * torch.randn(1, 80, n_frames, generator=torch.Generator().manual_seed(n_frames))
        with torch.inference_mode():
            own = network(x).numpy()
            plain = reference.nexttdnn(
                x, network.state_dict(), "model.", "aggregate.", config.depths, config.light
            ).numpy()
        assert cosine(own, plain) >= 0.999999
        assert cosine(run_onnx(path, x.numpy()), plain) >= 0.999999


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="odd"):
        NeXtTdnnConfig(kernel_sizes=(8, 65))
    with pytest.raises(ValueError, match="divide"):
        NeXtTdnnConfig(channels=50, kernel_sizes=(7, 15, 65))


@pytest.mark.parametrize("light", [False, True])
def test_a_deeper_network_starts_as_the_shallower_one(tmp_path, light):
    kernels = (65,) if light else (7, 65)
    shape = {"channels": 32, "kernel_sizes": kernels, "light": light}
    shallow = NeXtTdnn(NeXtTdnnConfig(depths=(1, 1, 1), **shape)).eval()
    randomise(shallow, 3)
    torch.save(shallow.state_dict(), tmp_path / "weights.pt")
    deep = NeXtTdnn(NeXtTdnnConfig(depths=(2, 3, 1), **shape)).eval()
    load_weights(deep, tmp_path / "weights.pt")
    features = torch.randn(2, 80, 120)
    with torch.inference_mode():
        torch.testing.assert_close(deep(features), shallow(features), atol=1e-5, rtol=1e-5)


def test_fresh_heads_are_fitted_to_a_network_that_is_warm():
    config = NeXtTdnnConfig(channels=32, depths=(1, 1, 1), embedding_dim=16)
    network = NeXtTdnn(config)
    randomise(network, 5)
    generator = torch.Generator().manual_seed(5)
    voices = torch.randn(6, 80, 1, generator=generator)
    features = voices[:, :, :].repeat(8, 1, 60) + 0.1 * torch.randn(48, 80, 60, generator=generator)
    classes = torch.arange(6).repeat(8)
    with torch.no_grad():
        embeddings = network.eval()(features)
    # The targets are a linear map of the embeddings, which the heads have to find again.
    targets = embeddings @ torch.randn(16, 256, generator=generator) + 0.5
    heads = Heads(16, 7, (256,))
    random = heads.centres[6].clone()
    batch = Batch(features, classes, targets, torch.ones(48, 1))
    fit_heads(network, heads, iter([batch] * 4), 100, 1)
    assert network.training
    losses = heads(embeddings, batch, margin=0.0, scale=30.0)
    assert losses["accuracy"] == 1.0
    assert losses["distillation"] < 0.01
    torch.testing.assert_close(heads.centres[6], random)
    unit = F.normalize(embeddings[classes == 2], dim=1).mean(0)
    torch.testing.assert_close(heads.centres[2], F.normalize(unit, dim=0), atol=1e-4, rtol=1e-3)
