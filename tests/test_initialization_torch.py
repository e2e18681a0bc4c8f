"""Fans of convolutions counted by autograd, and torch.nn.init: where it is right, and where it is not."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from helpers.initialization import (
    conv_fans,
    geometric_,
    init_variance,
    sample_weight,
    scaled_orthogonal_,
    truncated_normal_variance,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def std_of(fill, *shape: int) -> float:
    """The deviation a normal initialiser multiplies standard numbers by, exactly: their quotient, on the same draws."""
    filled = fill(torch.empty(*shape, dtype=torch.float64))
    standard = torch.empty(*shape, dtype=torch.float64).normal_(generator=seeded())
    ratio = filled / standard
    assert float((ratio / ratio.flatten()[0] - 1).abs().max()) < 1e-9
    return float(ratio.flatten()[0])


LAYERS = {
    "dense": (lambda: nn.Linear(5, 7), ()),
    "1-D": (lambda: nn.Conv1d(4, 6, 5), (40,)),
    "plain": (lambda: nn.Conv2d(4, 6, 3), (30, 30)),
    "stride": (lambda: nn.Conv2d(4, 6, 3, stride=2), (31, 31)),
    "uneven stride": (lambda: nn.Conv2d(4, 6, (3, 5), stride=(1, 3)), (30, 35)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (30, 30)),
    "stride, groups": (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), (31, 31)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3), (20, 20)),
    "transposed, stride": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (20, 20)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=3, groups=2), (20, 20)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_fans_are_the_numbers_of_terms(name):
    """All weights and inputs 1: an output counts its terms, a gradient of the sum of outputs those of an input."""
    make, size = LAYERS[name]
    layer = make()
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    channels = layer.in_features if name == "dense" else layer.in_channels
    x = torch.ones(1, channels, *size, requires_grad=True)
    y = layer(x)
    (g,) = torch.autograd.grad(y.sum(), x)

    def middle(t: torch.Tensor) -> float:  # 12 positions per axis: whole periods of strides 1, 2 and 3
        cut = tuple(slice(k // 2 - 6, k // 2 + 6) for k in t.shape[2:])
        return float(t.detach()[(slice(None), slice(None), *cut)].mean())

    options = {} if name == "dense" else {"stride": layer.stride, "groups": layer.groups}
    fan_in, fan_out = conv_fans(layer.weight, transposed="transposed" in name, **options)
    assert middle(y) == pytest.approx(fan_in, rel=1e-6)
    assert middle(g) == pytest.approx(fan_out, rel=1e-6)
    assert type(fan_in) is type(fan_out) is float


def test_fans_that_torch_takes_from_the_shape():
    """torch's rule, seen through kaiming_normal_: right for stride 1 and one group only."""

    def torch_fan(mode: str, *shape: int) -> float:
        fill = lambda t: nn.init.kaiming_normal_(t, mode=mode, nonlinearity="linear", generator=seeded())  # noqa: E731
        return round(std_of(fill, *shape) ** -2, 6)

    weight = np.empty((64, 16, 3, 3))
    assert [torch_fan(mode, 64, 16, 3, 3) for mode in ("fan_in", "fan_out")] == [144, 576]
    assert conv_fans(weight) == (144, 576)
    assert conv_fans(weight, stride=2) == (144, 144)
    assert conv_fans(np.empty((64, 4, 3, 3)), groups=4) == (36, 144)
    assert [torch_fan(mode, 64, 4, 3, 3) for mode in ("fan_in", "fan_out")] == [36, 576]
    transposed = torch.empty(16, 64, 3, 3)
    assert conv_fans(transposed, transposed=True) == (144, 576)
    assert [torch_fan(mode, 16, 64, 3, 3) for mode in ("fan_in", "fan_out")] == [576, 144]
    assert conv_fans(np.empty((10, 1, 3, 3)), stride=2) == (9, 22.5)  # fans are averages
    assert conv_fans(np.empty((2, 3))) == (3, 2)
    assert conv_fans(np.empty((2, 3, 5)), stride=[2]) == conv_fans(np.empty((2, 3, 5)), stride=(2,)) == (15, 5)


def test_dense_rules_of_torch_are_ours():
    for shape in ((256, 64), (64, 256), (10, 784)):
        n, m = shape
        xavier = std_of(lambda t: nn.init.xavier_normal_(t, generator=seeded()), *shape)
        assert xavier**2 == pytest.approx(init_variance(m, n, "fan_avg"), rel=1e-12)
        he = std_of(lambda t: nn.init.kaiming_normal_(t, generator=seeded()), *shape)
        assert he**2 == pytest.approx(init_variance(m, n, "fan_in", gain=math.sqrt(2)), rel=1e-12)
        uniform = nn.init.xavier_uniform_(torch.empty(*shape), generator=seeded())
        assert float(uniform.abs().max()) == pytest.approx(math.sqrt(3 * init_variance(m, n, "fan_avg")), rel=0.02)
        orthogonal = nn.init.orthogonal_(torch.empty(*shape), generator=seeded())
        assert float(orthogonal.square().mean()) == pytest.approx(init_variance(m, n, "max"), rel=1e-5)
    linear = nn.Linear(300, 200).weight.detach()  # uniform within 1/√m: a third of 1/m
    assert float(linear.abs().max()) <= 300**-0.5
    assert float(linear.square().mean()) == pytest.approx(1 / 900, rel=0.02)
    stacked = nn.MultiheadAttention(64, 1).in_proj_weight.detach()  # one Xavier for three matrices: half of 1/d
    assert float(stacked.square().mean()) == pytest.approx(1 / 128, rel=0.05)


def test_trunc_normal_cuts_at_absolute_bounds():
    """torch.nn.init.trunc_normal_(std=0.02) truncates at ±2, not at two standard deviations: not at all."""
    x = nn.init.trunc_normal_(torch.empty(100_000), std=0.02, generator=seeded())
    assert float(x.abs().max()) > 0.07
    assert float(x.std()) == pytest.approx(0.02, rel=0.01)
    cut = nn.init.trunc_normal_(torch.empty(100_000), std=0.02, a=-0.04, b=0.04, generator=seeded())
    assert float(cut.std()) == pytest.approx(0.02 * math.sqrt(truncated_normal_variance()), rel=0.01)
    ours = sample_weight((100, 1000), "truncated_normal", rng=np.random.default_rng(0))
    assert ours.std() == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "options", "fans"),
    [
        ((256, 64), {}, (64, 256)),
        ((64, 16, 3, 3), {"stride": 2}, (144, 144)),
        ((64, 4, 3, 3), {"groups": 4}, (36, 144)),
        ((16, 64, 3, 3), {}, (144, 576)),
        ((10, 1, 3, 3), {"stride": 2}, (9, 22.5)),
    ],
)
def test_geometric_has_the_variance_of_the_true_fans(shape, options, fans):
    std = std_of(lambda t: geometric_(t, generator=seeded(), **options), *shape)
    assert std**4 == pytest.approx(1 / (fans[0] * fans[1]), rel=1e-12)
    doubled = std_of(lambda t: geometric_(t, 2.0, seeded(), **options), *shape)
    assert doubled == pytest.approx(2 * std, rel=1e-12)


def test_geometric_on_real_convolutions():
    """Second moments of outputs and gradients at 16 -> 64 channels: 1/2 and 2 at stride 1, 1 and 1 at stride 2."""
    for stride, forward, backward in ((1, 0.5, 2.0), (2, 1.0, 1.0)):
        layer = nn.Conv2d(16, 64, 3, stride=stride, padding=1, padding_mode="circular", bias=False)
        geometric_(layer.weight, generator=seeded(), stride=stride)
        x = torch.randn(2, 16, 16, 16, generator=seeded(1), requires_grad=True)
        y = layer(x)
        (g,) = torch.autograd.grad(y, x, torch.randn(y.shape, generator=seeded(2)))
        assert float(y.detach().square().mean()) == pytest.approx(forward, rel=0.1)
        assert float(g.square().mean()) == pytest.approx(backward, rel=0.1)


@pytest.mark.parametrize("fill", [geometric_, scaled_orthogonal_])
def test_filling_works_in_place_on_a_parameter(fill):
    weight = nn.Parameter(torch.zeros(6, 4))
    assert fill(weight, generator=seeded()) is weight
    assert bool((weight != 0).all())
    assert weight.requires_grad
    assert weight.is_leaf
    again = fill(torch.empty(6, 4), generator=seeded())
    assert torch.equal(again, weight.detach())
    assert not torch.equal(fill(torch.empty(6, 4), generator=seeded(1)), again)
    state = torch.random.get_rng_state()
    fill(weight, generator=seeded())
    assert torch.equal(torch.random.get_rng_state(), state)
    fill(weight)  # torch's global generator, then
    assert not torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("shape", [(6, 24), (24, 6), (5, 5)])
def test_singular_values_of_scaled_orthogonal(shape):
    W = scaled_orthogonal_(torch.empty(*shape, dtype=torch.float64), generator=seeded())
    expected = (max(shape) / min(shape)) ** 0.25
    np.testing.assert_allclose(torch.linalg.svdvals(W), expected, rtol=1e-12)
    plain = scaled_orthogonal_(torch.empty(*shape, dtype=torch.float64), "max", seeded())
    np.testing.assert_allclose(torch.linalg.svdvals(plain), 1, rtol=1e-12)
    np.testing.assert_allclose(plain * expected, W, rtol=1e-12)
    n, m = shape
    assert float(W.square().mean()) == pytest.approx(init_variance(m, n, "fan_geo_avg"), rel=1e-12)


def test_scaled_orthogonal_convolution():
    W = scaled_orthogonal_(torch.empty(8, 3, 2, 5), "fan_in", seeded())
    flat = W.flatten(1).double()
    assert float(W.square().mean()) == pytest.approx(1 / 30, rel=1e-5)
    np.testing.assert_allclose(flat @ flat.T, np.eye(8), atol=1e-6)
    geometric = scaled_orthogonal_(torch.empty(8, 3, 2, 5), generator=seeded())
    assert float(geometric.square().mean()) == pytest.approx((30 * 80) ** -0.5, rel=1e-5)


def test_orthogonal_of_torch_loses_three_quarters_over_a_wide_layer():
    x = torch.randn(500, 64, generator=seeded())
    for fill, kept in ((nn.init.orthogonal_, 0.25), (scaled_orthogonal_, 1.0)):
        up, down = fill(torch.empty(256, 64), generator=seeded(1)), fill(torch.empty(64, 256), generator=seeded(2))
        y = x @ up.T @ down.T
        assert float(y.square().mean() / x.square().mean()) == pytest.approx(kept, rel=0.05)
