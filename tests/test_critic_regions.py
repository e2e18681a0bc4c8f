"""Linear regions of critics, against torch's forward passes and autograd inside them, and dense sampling."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from helpers.wgan import (
    activation_pattern,
    boundary_crossings,
    boundary_jump,
    effective_bias,
    gradient_normalize,
    grid_lines,
    input_gradient,
    region_boundary_mask,
)


def network(widths=(2, 8, 8, 1), activation=None, seed: int = 0, bias: bool = True) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for m, n in pairwise(widths):
        layers += [nn.Linear(m, n, bias=bias), activation or nn.LeakyReLU(0.2)]
    net = nn.Sequential(*layers[:-1]).double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return net


def line(*pieces: tuple[float, float, float], slope: float = 0.2) -> nn.Sequential:
    """Σ v·leaky(wx + b) over pieces (w, b, v), on the line."""
    net = nn.Sequential(nn.Linear(1, len(pieces)), nn.LeakyReLU(slope), nn.Linear(len(pieces), 1)).double()
    w, b, v = (torch.tensor(each, dtype=torch.float64) for each in zip(*pieces, strict=True))
    net[0].weight.data, net[0].bias.data, net[2].weight.data = w[:, None], b, v[None]
    net[2].bias.data.zero_()
    return net


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


VECTOR = nn.PReLU(8)
VECTOR.weight.data = torch.linspace(-0.5, 0.5, 8)
ACTIVATIONS = [nn.LeakyReLU(0.2), nn.ReLU(), nn.LeakyReLU(-1.0), nn.PReLU(), VECTOR]
rng = np.random.default_rng(0)
STARTS, ENDS = rng.uniform(-3, 3, (2, 12, 2))


# --- patterns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pattern_is_the_sign_of_every_preactivation(activation):
    net = network(activation=activation)
    due, h = [], tensor(STARTS)
    for layer in net:
        if layer is activation:
            due.append(h > 0)
        h = layer.double()(h)
    pattern = activation_pattern(net, STARTS)
    assert pattern.shape == (12, 16)
    assert pattern.dtype == bool
    assert np.array_equal(pattern, torch.cat(due, 1).numpy())
    assert 0.2 < pattern.mean() < 0.8


def test_pattern_at_a_boundary_is_off():
    assert activation_pattern(line((1, 0, 1), (-1, 0, 1)), [[0.0], [1e-300]]).tolist() == [[False] * 2, [True, False]]


def test_mask_is_true_where_a_neighbour_to_the_right_or_above_has_another_pattern():
    net = network((2, 3, 1), seed=3)
    axis = np.linspace(-2, 2, 7)
    mask = region_boundary_mask(net, 2.0, 7)
    assert mask.shape == (7, 7)
    for i in range(7):
        for j in range(7):
            own = activation_pattern(net, [[axis[j], axis[i]]])
            others = [[axis[b], axis[a]] for a, b in ((i, j + 1), (i + 1, j)) if max(a, b) < 7]
            due = any((activation_pattern(net, [other]) != own).any() for other in others)
            assert mask[i, j] == due
    assert 5 < mask.sum() < 44
    assert not np.array_equal(mask, mask.T)


# --- crossings ------------------------------------------------------------------------------------------


def test_crossings_on_the_line():
    """|x|-like pieces at -1, 0.5, 2: known places, values and slopes on both sides."""
    net = line((1, 1, 1.0), (2, -1, 1.0), (-1, 2, -3.0), slope=0.5)

    def slope(x: float) -> float:
        return (1 if x > -1 else 0.5) + 2 * (1 if x > 0.5 else 0.5) + 3 * (1 if x < 2 else 0.5)

    forth = boundary_crossings(net, [[-3.0]], [[3.0]])
    back = boundary_crossings(net, [[3.0]], [[-3.0]])
    assert forth.segment.tolist() == back.segment.tolist() == [0, 0, 0]
    np.testing.assert_allclose(forth.t, [1 / 3, 3.5 / 6, 5 / 6], rtol=1e-14)
    np.testing.assert_allclose(back.t, [1 / 6, 2.5 / 6, 2 / 3], rtol=1e-14)
    np.testing.assert_allclose(forth.point, [[-1], [0.5], [2]], rtol=1e-14)
    np.testing.assert_allclose(back.point, [[2], [0.5], [-1]], rtol=1e-14)
    value = net(tensor(forth.point))[:, 0].detach().numpy()
    np.testing.assert_allclose(forth.value, value, rtol=1e-13)
    np.testing.assert_allclose(back.value, value[::-1], rtol=1e-13)
    norms = [slope(-2), slope(0), slope(1), slope(2.5)]
    np.testing.assert_allclose(forth.norm_before, norms[:3], rtol=1e-14)
    np.testing.assert_allclose(forth.norm_after, norms[1:], rtol=1e-14)
    np.testing.assert_allclose(back.norm_before, norms[:0:-1], rtol=1e-14)
    np.testing.assert_allclose(back.norm_after, norms[-2::-1], rtol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(2, 8, 1), (2, 8, 8, 1), (2, 8, 8, 8, 1)])
def test_every_boundary_is_found(activation, widths):
    """Between two crossings the pattern is one and D affine; at each exactly one unit switches; ends included."""
    net = network(widths, activation=activation, seed=len(widths))
    found = boundary_crossings(net, STARTS, ENDS)
    assert (np.diff(found.segment) >= 0).all()
    assert len(found.t) > 20
    for k, (a, b) in enumerate(zip(STARTS, ENDS, strict=True)):
        own = found.segment == k
        ends = np.concatenate([[0], found.t[own], [1]])
        assert (np.diff(ends) > 0).all()
        inside = ends[:-1, None] + np.diff(ends)[:, None] * np.array([0.001, 0.25, 0.5, 0.75, 0.999])
        points = a + inside[..., None] * (b - a)
        pattern = activation_pattern(net, points.reshape(-1, 2)).reshape(*inside.shape, -1)
        assert (pattern == pattern[:, :1]).all()
        assert (np.count_nonzero(pattern[1:, 0] != pattern[:-1, 0], axis=-1) == 1).all()
        value, grad = input_gradient(net, tensor(points[:, 2]))
        norm = grad.detach().norm(dim=1).numpy()
        np.testing.assert_allclose(found.norm_before[own], norm[:-1], rtol=1e-10)
        np.testing.assert_allclose(found.norm_after[own], norm[1:], rtol=1e-10)
        first, last = (net(tensor(end[None]))[0].detach() for end in (a, b))
        at_ends = np.concatenate([first, found.value[own], last])
        np.testing.assert_allclose(value.detach(), (at_ends[1:] + at_ends[:-1]) / 2, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.point, STARTS[found.segment] + found.t[:, None] * (ENDS - STARTS)[found.segment])


@pytest.mark.parametrize("mode", ["raw", "gn", "gran", "plain", "add_eps"])
def test_jumps_are_what_the_normalised_critic_does_there(mode):
    net = network()
    found = boundary_crossings(net, STARTS, ENDS)
    step = 1e-8 * (ENDS - STARTS)[found.segment]
    sides = [gradient_normalize(net, tensor(found.point + side * step), mode, 0.3).detach() for side in (-1, 1)]
    np.testing.assert_allclose(found.jumps(mode, 0.3), sides[1] - sides[0], atol=1e-6)
    if mode != "raw":
        assert np.abs(found.jumps(mode)).max() > 0.01
    assert np.array_equal(
        found.jumps(mode, 0.3), boundary_jump(found.value, found.norm_before, found.norm_after, mode, 0.3)
    )
    assert np.array_equal(found.jumps(), found.jumps("gn"))
    assert np.array_equal(found.jumps("gran"), found.jumps("gran", 0.1))


def test_thin_regions_are_not_missed():
    net = line((1, 0, 1), (1, -1e-11, 1))
    np.testing.assert_allclose(boundary_crossings(net, [[-1.0]], [[1.0]]).point[:, 0], [0, 1e-11], atol=1e-15)


def test_boundaries_that_coincide_are_both_crossed():
    found = boundary_crossings(line((1, -0.5, 1), (2, -1, 1), (-4, 2, 1)), [[0.0]], [[1.0]])
    assert found.t.tolist() == [0.5] * 3
    assert found.norm_before[1:].tolist() == found.norm_after[:-1].tolist()
    np.testing.assert_allclose([found.norm_before[0], found.norm_after[-1]], [abs(0.6 - 4), 3 - 0.8], rtol=1e-14)


def test_segments_from_and_to_a_boundary():
    net = line((1, 0, 1))
    assert boundary_crossings(net, [[0.0]], [[1.0]]).t.tolist() == [0.0]  # off at 0, on after it
    assert len(boundary_crossings(net, [[0.0]], [[-1.0]]).t) == 0
    assert len(boundary_crossings(net, [[-1.0]], [[0.0]]).t) == 0  # t = 1 is the start of the next segment
    assert len(boundary_crossings(net, [[-1.0]], [[-1.0]]).t) == 0
    assert boundary_crossings(net, [[5.0], [1.0]], [[4.0], [-1.0]]).segment.tolist() == [1]


def test_no_jumps_where_every_crossing_is_a_reflection():
    """|z| after orthogonal square layers folds space: all norms are the same, at any value."""
    net = network((2, 2, 2, 1), nn.LeakyReLU(-1.0))
    for k in (0, 2):
        net[k].weight.data = torch.linalg.qr(net[k].weight.data)[0]
    found = boundary_crossings(net, *grid_lines(4.0, 9))
    assert len(found.t) > 20
    np.testing.assert_allclose(found.norm_before, net[4].weight.norm().item(), rtol=1e-13)
    np.testing.assert_allclose(found.jumps("plain"), 0, atol=1e-12)
    assert np.abs(found.value).max() > 1


def test_grid_lines():
    a, b = grid_lines(3.0, 4)
    assert a.shape == b.shape == (8, 2)
    axis = [-3, -1, 1, 3]
    assert a.tolist() == [*([-3, y] for y in axis), *([x, -3] for x in axis)]
    assert b.tolist() == [*([3, y] for y in axis), *([x, 3] for x in axis)]


def test_networks_without_biases_in_float32():
    net = network(bias=False).float()
    found = boundary_crossings(net, STARTS, ENDS)
    assert found.value.dtype == np.float64
    np.testing.assert_allclose(found.value, net.double()(tensor(found.point))[:, 0].detach(), rtol=1e-10, atol=1e-13)


# --- the effective bias ---------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(0.2, inplace=True), nn.GELU()])
def test_effective_bias_is_the_derivative_by_a_common_factor_of_all_biases(activation):
    """Oracle: a central difference of D in that factor."""
    net, x = network(activation=activation), tensor(STARTS)
    have = effective_bias(net, x)
    assert have.shape == (12,)
    assert not have.requires_grad
    due, h = torch.zeros(12, dtype=torch.float64), 1e-6
    for side in (h, -h):
        scaled = network(activation=activation)
        for layer in scaled:
            if isinstance(layer, nn.Linear):
                layer.bias.data *= 1 + side
        due += scaled(x.clone())[:, 0].detach() / (2 * side)
    torch.testing.assert_close(have, due, rtol=1e-7, atol=1e-8)


def test_eulers_identity_holds_for_piecewise_linear_critics_alone():
    x = tensor(STARTS)
    for activation, exact in ((nn.ReLU(), True), (nn.LeakyReLU(0.2), True), (nn.GELU(), False)):
        net = network(activation=activation)
        value, grad = input_gradient(net, x)
        residual = (value - (grad * x).sum(1) - effective_bias(net, x)).abs().max().item()
        assert residual < 1e-13 if exact else residual > 0.01


def test_inner_critic_lacks_the_effective_bias():
    net, x = network(), tensor(STARTS)
    n = input_gradient(net, x)[1].norm(dim=1)
    gap = gradient_normalize(net, x, "plain") - gradient_normalize(net, x, "inner")
    torch.testing.assert_close(gap, effective_bias(net, x) / n, rtol=1e-11, atol=1e-13)
    assert gap.abs().max() > 0.1
    assert effective_bias(network(bias=False), x).tolist() == [0.0] * 12
    free = network(bias=False)
    plain, inner = (gradient_normalize(free, x, mode) for mode in ("plain", "inner"))
    torch.testing.assert_close(plain, inner, rtol=1e-12, atol=0)


def test_effective_bias_leaves_the_network_as_it_was():
    class Tokens(nn.Module):  # a Linear layer used twice, and one more axis
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 2), nn.Linear(2, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(self.first(x).relu()).relu()).sum((1, 2))

    net, x = Tokens().double().requires_grad_(False), torch.ones(3, 4, 2, dtype=torch.float64)
    net.first.weight.data, net.first.bias.data = torch.eye(2).double(), torch.tensor([1.0, 2.0]).double()
    net.last.weight.data.fill_(1.0)
    with torch.no_grad():
        assert effective_bias(net, x).tolist() == [2 * 4 * 3.0] * 3
    assert not net.first._forward_hooks
    assert x.requires_grad is False
    broken = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0, 0), nn.Linear(3, 1))
    with pytest.raises(RuntimeError):
        effective_bias(broken, torch.ones(2, 2))
    assert not broken[0]._forward_hooks


# --- bad input ------------------------------------------------------------------------------------------

LINEAR, RELU, LAST = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
NETWORKS = {
    "net must be a torch.nn.Sequential, got Linear": nn.Linear(2, 1),
    "net must alternate Linear and ReLU, LeakyReLU or PReLU, got GELU out of place": nn.Sequential(
        LINEAR, nn.GELU(), LAST
    ),
    "net must alternate Linear and ReLU, LeakyReLU or PReLU, got ReLU out of place": nn.Sequential(RELU, LINEAR, LAST),
    "net must alternate Linear and ReLU, LeakyReLU or PReLU, got Linear out of place": nn.Sequential(LINEAR, LAST),
    "net must have a hidden layer and end in a Linear layer with one output": None,
}
END = [nn.Sequential(LAST), nn.Sequential(LINEAR, RELU), nn.Sequential(LINEAR, RELU, nn.Linear(3, 2)), nn.Sequential()]


@pytest.mark.parametrize("message", NETWORKS)
def test_other_networks_are_refused(message):
    for net in END if NETWORKS[message] is None else [NETWORKS[message]]:
        for call in (
            lambda net=net: activation_pattern(net, [[0.0, 0.0]]),
            lambda net=net: region_boundary_mask(net, 1.0, 3),
            lambda net=net: boundary_crossings(net, [[0.0, 0.0]], [[1.0, 1.0]]),
        ):
            with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
                call()


NET = network()
OK = [[0.0, 0.0]]
BAD = [
    (lambda: activation_pattern(NET, [0.0, 0.0]), "x must have 2 dimension(s), got shape (2,)"),
    (lambda: activation_pattern(NET, [[0.0]]), "x must have 2 columns, got 1"),
    (lambda: activation_pattern(NET, [[math.nan, 0.0]]), "x must be finite, got 1 NaN or infinite value(s)"),
    (lambda: boundary_crossings(NET, [[0.0]], OK), "a must have 2 columns, got 1"),
    (lambda: boundary_crossings(NET, OK, [[math.inf, 0.0]]), "b must be finite, got 1 NaN or infinite value(s)"),
    (lambda: boundary_crossings(NET, OK, OK * 2), "a and b must have the same shape, got (1, 2) and (2, 2)"),
    (lambda: region_boundary_mask(NET, 0.0, 3), "lim must be a finite number > 0, got 0.0"),
    (lambda: region_boundary_mask(NET, math.inf, 3), "lim must be a finite number > 0, got inf"),
    (lambda: region_boundary_mask(NET, 1.0, 1), "n must be an integer >= 2, got 1"),
    (lambda: region_boundary_mask(network((3, 4, 1)), 1.0, 3), "x must have 3 columns, got 2"),
    (lambda: grid_lines(-1.0, 3), "lim must be a finite number > 0, got -1.0"),
    (lambda: grid_lines(1.0, 1.5), "n must be an integer >= 2, got 1.5"),
    (
        lambda: effective_bias(NET, torch.zeros(2)),
        "x must have rows of features after 1 batch axes, got shape (2,)",
    ),
    (
        lambda: effective_bias(nn.Sequential(nn.Linear(2, 2, dtype=torch.float64)), torch.zeros(3, 2).double()),
        "critic(x) must have shape (3,) or (3, 1), one value per row, got (3, 2)",
    ),
    (
        lambda: effective_bias(nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.Linear(2, 1)), torch.zeros(3, 2)),
        "critic must not mix the rows of a batch, got a layer BatchNorm1d that does",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_biases_elsewhere_are_refused():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    with pytest.raises(TypeError, match=r"^net must have its biases in Linear layers, got one in LayerNorm$"):
        effective_bias(net, torch.zeros(1, 2))
    with pytest.raises(TypeError, match=r"^x must be a floating torch.Tensor, got torch.int64$"):
        effective_bias(NET, torch.zeros(1, 2, dtype=torch.int64))
    plain = nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Conv1d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(2, 1))
    assert effective_bias(plain, torch.zeros(3, 2)).tolist() == pytest.approx([plain[3].bias.item()] * 3)


def test_jumps_of_the_inner_critic_lack_the_effective_bias():
    """Against values on both sides of each boundary, and against plain less the bias part of Euler's identity."""
    net = network()
    a, b = np.array([[-4.0, 0.3]]), np.array([[4.0, 0.9]])
    found = boundary_crossings(net, a, b)
    step = 1e-9 * (b - a)
    sides = [torch.tensor(found.point + side * step) for side in (-1, 1)]
    before, after = (gradient_normalize(net, x, "inner").detach().numpy() for x in sides)
    assert found.jumps("inner").size > 5
    assert found.jumps("inner") == pytest.approx(after - before, abs=1e-6)
    before, after = (effective_bias(net, x) / input_gradient(net, x)[1].detach().norm(dim=1) for x in sides)
    assert found.jumps("inner") == pytest.approx(found.jumps("plain") - (after - before).numpy(), abs=1e-6)


def test_a_side_without_a_gradient_has_no_jump():
    found = boundary_crossings(line((1.0, 0.0, 1.0), slope=0.0), [[-1.0]], [[1.0]])
    assert [*found.norm_before, *found.norm_after] == [0, 1]
    for mode in ("inner", "plain"):
        with pytest.raises(ValueError, match=r"^n1 must be > 0, got 0\.0$"):
            found.jumps(mode)
