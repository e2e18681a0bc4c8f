"""Chains of unequal widths against reference values, torch's autograd and drawn matrices."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from helpers.initialization import (
    MODES,
    init_variance,
    log_gain_moments,
    marchenko_pastur_edges,
    relative_gradient_profile,
    second_moment_gains,
    semi_orthogonal,
    simulate_second_moments,
    singular_value_density,
    weighted_geometric_variance,
)

quick = settings(max_examples=25, deadline=None, derandomize=True)
chains = st.lists(st.integers(1, 300), min_size=2, max_size=8)
ODD = [100, 300, 50, 200, 10]


@pytest.mark.parametrize(
    ("widths", "mode", "forward", "backward"),
    [
        ([784, 256, 64, 10], "fan_in", 1, 0.01275510204),
        ([784, 256, 64, 10], "fan_out", 78.4, 1),
        ([784, 256, 64, 10], "fan_avg", 4.172640333, 0.05322245322),
        ([784, 256, 64, 10], "fan_geo_avg", 8.854377448, 0.1129384879),
        ([784, 256, 64, 10], "fan_harmonic", 18.7890625, 0.2396564094),
        ([784, 256, 64, 10], "quadratic", 1.591751144, 0.02030294827),
        ([784, 256, 64, 10], "max", 1, 0.01275510204),
        ([64, 128, 256, 512, 256, 128, 64], "fan_avg", 0.7023319616, 0.7023319616),
        ([64, 128, 256, 512, 256, 128, 64], "quadratic", 0.373248, 0.373248),
        ([64, 128, 256, 512, 256, 128, 64], "max", 0.125, 0.125),
        ([64, 128, 256, 512, 256, 128, 64], "fan_harmonic", 1.423828125, 1.423828125),
        ([64, 128, 256, 512, 256, 128, 64], "fan_out", 1, 1),
        (ODD, "fan_avg", 0.6530612245, 0.06530612245),
        (ODD, "fan_geo_avg", 3.16227766017, 0.316227766017),
        ([64, 256] * 10 + [64], "fan_avg", 0.0115292150461, 0.0115292150461),
        ([64, 256] * 50 + [64], "fan_avg", 2.03703597633e-10, 2.03703597633e-10),
        ([64, 128, 64], "wasserstein", 0.838779327123, 0.838779327123),
        ([64, 1024, 64], "quadratic", 0.0700086299565, 0.0700086299565),
        ([64, 512, 64], "fan_harmonic", 2.53125, 2.53125),
        ([64, 512, 64], "min", 8, 8),
    ],
)
def test_reference_gains(widths, mode, forward, backward):
    up, down = second_moment_gains(widths, mode)
    assert up.shape == down.shape == (len(widths),)
    assert (up[0], down[-1]) == (1, 1)
    assert up[-1] == pytest.approx(forward, rel=1e-9)
    assert down[0] == pytest.approx(backward, rel=1e-9)


@quick
@given(widths=chains, mode=st.sampled_from(MODES))
def test_invariant_of_every_scheme(widths, mode):
    up, down = second_moment_gains(widths, mode)
    assert up[-1] / down[0] == pytest.approx(widths[0] / widths[-1], rel=1e-10)
    relu = second_moment_gains(widths, mode, "relu")
    np.testing.assert_array_equal(relu, (up, down))


@quick
@given(widths=chains, alpha=st.floats(0, 1))
def test_the_weighted_geometric_family_telescopes(widths, alpha):
    n = np.array(widths, dtype=float)
    up, down = second_moment_gains(widths, lambda fan_in, fan_out: weighted_geometric_variance(fan_in, fan_out, alpha))
    np.testing.assert_allclose(up, (n[0] / n) ** alpha, rtol=1e-11)
    np.testing.assert_allclose(down, (n[-1] / n) ** (1 - alpha), rtol=1e-11)


def test_halving_ratio_of_the_arithmetic_mean():
    r = 3 + 2 * math.sqrt(2)  # 4r/(1+r)² = 1/2
    up, _ = second_moment_gains([10_000, round(10_000 * r), 10_000], "fan_avg")
    assert up[-1] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("fan_in", [10 / 3, 60, 2.5, 200]),
        ("fan_out", [300, 50 / 3, 400, 5]),
        ("fan_avg", [8.707483, 13.333333, 10.204082, 36]),
        ("fan_geo_avg", [math.sqrt(1000)] * 4),
    ],
)
def test_reference_profiles(mode, profile):
    np.testing.assert_allclose(relative_gradient_profile(ODD, mode), profile, rtol=1e-4)
    relu = relative_gradient_profile(ODD, mode, "relu")
    np.testing.assert_allclose(relu, np.array(profile) * [0.25, 0.25, 0.25, 1], rtol=1e-4)


def chain_in_torch(widths, v, activation, batch, rng, orthogonal=False):
    """The same draws as simulate_second_moments, through autograd."""
    h, g = rng.standard_normal((batch, widths[0])), rng.standard_normal((batch, widths[-1]))
    draws = [rng.standard_normal(shape) for shape in pairwise(widths)]
    if orthogonal:
        draws = [semi_orthogonal(W) * math.sqrt(max(W.shape)) for W in draws]
    weights = [torch.tensor(math.sqrt(s) * W, requires_grad=True) for s, W in zip(v, draws, strict=True)]
    states = [torch.tensor(h, requires_grad=True)]
    for layer, W in enumerate(weights):
        z = states[-1] @ W
        states.append(torch.relu(z) if activation == "relu" and layer < len(weights) - 1 else z)
    gradients = torch.autograd.grad(states[-1], states + weights, torch.tensor(g))
    up = np.array([float(state.detach().square().mean()) for state in states])
    down = np.array([float(gradient.square().mean()) for gradient in gradients[: len(states)]])
    return up / up[0], down / down[-1]


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_simulation_is_what_autograd_computes(activation, orthogonal):
    widths, rng = [5, 9, 3, 4], np.random.default_rng(3)
    v = np.array([init_variance(m, n, "fan_avg") for m, n in pairwise(widths)])
    if activation == "relu":
        v[:-1] *= 2
    expected = [chain_in_torch(widths, v, activation, 7, rng, orthogonal) for _ in range(2)]
    up, down = simulate_second_moments(
        widths, "fan_avg", activation, batch=7, seeds=2, generator=np.random.default_rng(3), orthogonal=orthogonal
    )
    np.testing.assert_allclose(up, [u for u, _ in expected], rtol=1e-10)
    np.testing.assert_allclose(down, [d for _, d in expected], rtol=1e-10)


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("mode", ["fan_geo_avg", "fan_avg", "max"])
def test_simulation_agrees_with_the_exact_gains(activation, mode):
    widths = [16, 48, 12, 30]
    measured = simulate_second_moments(widths, mode, activation, 8, 600, np.random.default_rng(0))
    for samples, exact in zip(measured, second_moment_gains(widths, mode, activation), strict=True):
        error = samples.std(axis=0) / math.sqrt(len(samples)) + 1e-12
        assert (np.abs(samples.mean(axis=0) - exact) < 4.5 * error).all()


def test_defaults_of_the_simulation():
    up, down = simulate_second_moments([2, 3], "fan_in")
    assert up.shape == down.shape == (20, 2)
    assert len(set(up[:, 1])) == 20
    sixteen, _ = simulate_second_moments([2, 3], "fan_in", batch=16, seeds=1, generator=np.random.default_rng(1))
    default, _ = simulate_second_moments([2, 3], "fan_in", seeds=1, generator=np.random.default_rng(1))
    np.testing.assert_array_equal(sixteen, default)


def test_orthogonal_matrices_lose_most_and_are_repaired_by_a_factor():
    """32-128-32: the first layer is an isometry, exactly; the pair keeps 1/4 with torch's scale, and 1 repaired."""
    rng = np.random.default_rng(0)
    plain, _ = simulate_second_moments([32, 128, 32], "max", "linear", 4, 100, rng, orthogonal=True)
    np.testing.assert_allclose(plain[:, 1], 0.25, rtol=1e-12)
    assert plain[:, 2].mean() == pytest.approx(0.25, abs=0.02)
    repaired, _ = simulate_second_moments([32, 128, 32], "fan_geo_avg", "linear", 4, 100, rng, orthogonal=True)
    np.testing.assert_allclose(repaired[:, 1], 0.5, rtol=1e-12)
    assert repaired[:, 2].mean() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (1, 3)])
def test_semi_orthogonal_is_gram_schmidt(shape):
    G = np.random.default_rng(0).standard_normal(shape)
    Q = semi_orthogonal(G)
    small = Q @ Q.T if shape[0] <= shape[1] else Q.T @ Q
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-13)
    assert Q.shape == shape
    first = G[:, 0] if shape[0] >= shape[1] else G[0]  # the first vector keeps its direction, and its sign
    mine = Q[:, 0] if shape[0] >= shape[1] else Q[0]
    np.testing.assert_allclose(mine, first / np.linalg.norm(first), rtol=1e-12)


# --- exact logarithms and the spectrum ------------------------------------------------------------


def test_log_gain_of_a_single_layer_is_that_of_a_chi_square():
    for n, mean, variance in (
        (16, -0.063800063724226, 0.13313701469403),
        (64, -0.015706372264739, 0.031743366520302),
        (256, -0.0039113362319776, 0.0078430970500146),
    ):
        assert log_gain_moments([16, n], "fan_in") == pytest.approx((mean, variance), rel=1e-11)
        log_chi = stats.chi2(n).expect(lambda x, n=n: math.log(x / n))
        assert log_chi == pytest.approx(mean, rel=1e-6)
    mean, variance = log_gain_moments([64] + [16, 64] * 5, "fan_geo_avg")
    assert (mean, variance) == pytest.approx((-0.397532, 0.824402), abs=6e-7)


def test_log_gain_of_a_drawn_chain():
    widths = [8, 3, 12]
    up, _ = simulate_second_moments(widths, "fan_avg", batch=1, seeds=3000, generator=np.random.default_rng(0))
    logs = np.log(up[:, -1])
    mean, variance = log_gain_moments(widths, "fan_avg")
    assert logs.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / 3000))
    assert logs.var() == pytest.approx(variance, rel=0.1)


def test_unit_determinant_of_a_square_matrix():
    """E log |det W|² = Σ (ψ((n-i)/2) + log 2) + n log v; for 64 x 64 it vanishes at n v = 2.8140."""
    v = math.exp(-np.mean(special.digamma((64 - np.arange(64)) / 2) + math.log(2)))
    assert 64 * v == pytest.approx(2.8140, abs=5e-5)
    W = math.sqrt(v) * np.random.default_rng(0).standard_normal((400, 64, 64))
    _, logs = np.linalg.slogdet(W)
    assert abs(logs.mean()) < 5 * logs.std() / 20


def test_reference_edges():
    assert marchenko_pastur_edges(64, 256, 1.0) == (8, 24)
    assert marchenko_pastur_edges(256, 64, 1.0) == (8, 24)
    geometric = marchenko_pastur_edges(64, 256, init_variance(64, 256, "fan_geo_avg"))
    assert geometric == pytest.approx((0.707106781187, 2.12132034356), rel=1e-11)
    glorot = marchenko_pastur_edges(64, 256, init_variance(64, 256, "fan_avg"))
    assert glorot == pytest.approx((0.632455532034, 1.8973665961), rel=1e-11)
    wide = marchenko_pastur_edges(64, 4096, init_variance(64, 4096, "fan_geo_avg"))
    assert wide == pytest.approx((2.47487373415, 3.18198051534), rel=1e-11)


@pytest.mark.parametrize(
    ("m", "n", "v"), [(64, 256, 0.01), (256, 64, 0.01), (40, 41, 0.1), (30, 30, 1 / 30), (1, 9, 2.0)]
)
def test_density_is_one_and_has_the_right_second_moment(m, n, v):
    low, high = marchenko_pastur_edges(m, n, v)

    def moment(power: int) -> float:
        def integrand(t: float) -> float:  # s = middle - half cos t smooths the square roots at the edges
            s = (low + high) / 2 - (high - low) / 2 * math.cos(t)
            return s**power * float(singular_value_density(s, m, n, v)) * (high - low) / 2 * math.sin(t)

        return integrate.quad(integrand, 0, math.pi, epsabs=1e-12)[0]

    assert moment(0) == pytest.approx(1, abs=1e-9)
    assert moment(2) == pytest.approx(max(m, n) * v, rel=1e-9)


def test_density_of_drawn_singular_values():
    W = 0.05 * np.random.default_rng(0).standard_normal((6, 100, 250))
    values = np.linalg.svd(W, compute_uv=False).ravel()
    for cut in (0.4, 0.7, 1.0):
        low, _ = marchenko_pastur_edges(100, 250, 0.0025)
        below = integrate.quad(lambda s: float(singular_value_density(s, 100, 250, 0.0025)), low, cut)[0]
        assert np.mean(values < cut) == pytest.approx(below, abs=0.02)
    np.testing.assert_array_equal(singular_value_density([[0.0, 0.1], [5.0, 0.2]], 100, 250, 0.0025), np.zeros((2, 2)))
    edges = marchenko_pastur_edges(100, 250, 0.0025)
    np.testing.assert_array_equal(singular_value_density(edges, 100, 250, 0.0025), [0, 0])
    np.testing.assert_allclose(
        singular_value_density([0, 1, 2, 3], 9, 9, 1 / 9),
        [2 / math.pi, math.sqrt(3) / math.pi, 0, 0],
        atol=1e-7,
    )
