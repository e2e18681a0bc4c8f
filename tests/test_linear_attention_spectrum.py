"""Ranks and spectra: Mehler's staircase against quadrature, measured matrices and mpmath; Poisson energies."""

import math

import mpmath
import numpy as np
import pytest
from scipy import spatial, special, stats

from helpers.linear_attention import (
    attention_matrix,
    effective_rank,
    numerical_rank,
    poisson_tail,
    polynomial_feature_map,
    scaled_tokens,
    score_degree_energy,
    softmax_attention,
    softmax_attention_spectrum,
    taylor_coefficients,
)


def softmax_weights(q, k, scale=1.0):
    return softmax_attention(q, k, k, scale=scale, return_weights=True)[1]


# --- rank -----------------------------------------------------------------------------------------


def test_numerical_rank_counts_singular_values_above_the_tolerance():
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    a = (U[:, :4] * [2.0, 1.0, 0.25, 0.01]) @ V[:4]
    assert [numerical_rank(a, rtol) for rtol in (0.6, 0.4, 0.126, 0.124, 0.006, 0.004, 1e-10)] == [1, 2, 2, 3, 3, 4, 4]
    assert numerical_rank(a[:, :3], 1e-10) == 3
    assert numerical_rank(np.diag([2.0, 1.0]), 0.5) == 1  # above, not at
    assert numerical_rank(np.zeros((2, 3)), 0.1) == 0
    assert numerical_rank([[1.0, 0.0], [0.0, 1e-300]], 0.0) == 2


def test_effective_rank_is_the_exponential_of_the_entropy():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7):
        assert effective_rank(3 * np.linalg.qr(rng.normal(size=(n, n)))[0]) == pytest.approx(n, rel=1e-12)
    assert effective_rank(np.outer([1.0, 2.0], [3.0, 4.0, 5.0])) == pytest.approx(1, rel=1e-12)
    expected = math.exp(stats.entropy([5.0, 3.0, 1.0]))
    assert effective_rank(np.diag([1.0, -3.0, 5.0])) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", range(1, 9))
def test_polynomial_attention_has_the_rank_of_its_features(order):
    """(i): rank min(N, C(d + n, n)) for generic tokens; in the causal matrix only blocks off the diagonal (iv)."""
    q, k = scaled_tokens(np.random.default_rng(order).normal(size=(2, 40, 2)))
    phi, psi = (polynomial_feature_map(tokens, taylor_coefficients(order)) for tokens in (q, k))
    matrix = attention_matrix(phi, psi, normalize=False)
    dimension = math.comb(2 + order, 2)
    values = np.linalg.svd(matrix, compute_uv=False)
    if dimension < 40:
        assert values[dimension] < 1e-12 * values[0]
    assert numerical_rank(matrix, 1e-12) == min(40, dimension)
    causal = np.tril(matrix)
    assert numerical_rank(causal[20:, :20], 1e-12) == min(20, dimension)


def test_causal_linear_attention_has_full_rank_with_one_feature():
    """(iv): triangular with a diagonal that is not zero; det = product of the diagonal."""
    phi, psi = np.random.default_rng(0).uniform(0.5, 2, size=(2, 12, 1))
    full, causal = attention_matrix(phi, psi), attention_matrix(phi, psi, causal=True)
    assert numerical_rank(full, 1e-12) == 1
    assert numerical_rank(causal, 1e-12) == 12
    assert np.linalg.det(causal) == pytest.approx(np.prod(np.diag(causal)), rel=1e-9)


def test_hot_attention_has_rank_one():
    """(ii): β -> 0."""
    q, k = np.random.default_rng(0).normal(size=(2, 30, 8))
    assert numerical_rank(softmax_weights(q, k, 1e-9), 1e-6) == 1
    np.testing.assert_allclose(softmax_weights(q, k, 1e-9), 1 / 30, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_cold_attention_picks_corners_of_the_convex_hull(seed):
    """(iii): as β -> ∞ the rank is the number of keys that win for some query; all are vertices of the hull of keys."""
    q, k = np.random.default_rng(seed).normal(size=(2, 512, 2))
    winners = np.unique((q @ k.T).argmax(axis=1))
    weights = softmax_weights(q, k, 1e6)
    corners = spatial.ConvexHull(k).vertices
    assert numerical_rank(weights, 1e-2) == len(winners)
    assert set(winners) <= set(corners)
    assert len(winners) >= len(corners) - 2
    everyone = softmax_weights(np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 4000)), np.sin(a)], axis=1), k, 1e9)
    assert set(everyone.argmax(axis=1)) == set(corners)  # queries from all sides: each corner wins once


# --- spectrum -------------------------------------------------------------------------------------

REFERENCE = {  # dim, β: ratio and largest value of e^{q·k}/N, then of softmax
    (2, 0.3 * math.sqrt(2)): (1 / 3, 10 / 9, 0.3012325588437998, 1.004108529479333),
    (4, 0.5): (2 - math.sqrt(3), 1.148748315591853, 0.2504916501726719, 1.003937068899652),
    (16, 1.0): (2 - math.sqrt(3), 1.74140405075921, 0.2504916501726719, 1.015841523014323),
    (64, 1.0): (0.1270166537925831, 1.66886395603709, 0.1250152653120747, 1.003915326229353),
}


@pytest.mark.parametrize(("dim", "beta"), REFERENCE)
def test_reference_spectra(dim, beta):
    for normalized in (False, True):
        ratio, top = REFERENCE[dim, beta][2 * normalized :][:2]
        values, counts = softmax_attention_spectrum(dim, beta, 5, normalized)
        assert values[0] == pytest.approx(top, rel=1e-12)
        np.testing.assert_allclose(values[1:] / values[:-1], ratio, rtol=1e-12)
        assert counts.tolist() == [math.comb(dim + j - 1, j) for j in range(5)]
    with mpmath.workdps(40):
        variance = mpmath.mpf(beta) / mpmath.sqrt(dim)
        half = mpmath.sqrt(variance**-2 + 2) / 2
        rho = half - mpmath.sqrt(half**2 - 1)
        expected = [float((rho / variance) ** (mpmath.mpf(dim) / 2) * rho**j) for j in range(5)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("variance", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("normalized", [True, False])
def test_spectrum_in_one_and_two_dimensions_by_quadrature(variance, normalized):
    """Oracle: the singular values of the integral operator on Gauss-Hermite nodes; the plane is a Kronecker product."""
    nodes, weights = special.roots_hermitenorm(80)
    root = np.sqrt(weights / weights.sum())
    y = math.sqrt(variance) * nodes
    kernel = np.exp(np.outer(y, y)) * root
    if normalized:
        kernel /= np.exp(variance * y**2 / 2)[:, None]  # the mean of e^{q·k} over all keys
    measured = np.linalg.svd(root[:, None] * kernel, compute_uv=False)[:6]
    np.testing.assert_allclose(softmax_attention_spectrum(1, variance, 6, normalized).values, measured, rtol=1e-6)
    plane = np.sort(np.outer(measured, measured).ravel())[::-1][:10]
    theory = softmax_attention_spectrum(2, variance * math.sqrt(2), 4, normalized)
    np.testing.assert_allclose(np.repeat(*theory), plane, rtol=1e-6)


@pytest.mark.parametrize(("dim", "beta"), [(4, 0.5), (16, 1.0)])
def test_spectrum_of_a_measured_attention_matrix(dim, beta):
    """Geometric means of the first two steps of the staircase within 5 %; deeper ones are low because N is finite."""
    q, k = np.random.default_rng(0).normal(size=(2, 1000, dim))
    measured = np.linalg.svd(softmax_weights(q, k, beta / math.sqrt(dim)), compute_uv=False)
    values, counts = softmax_attention_spectrum(dim, beta, 3)
    start = 0
    for value, count, tolerance in zip(values, counts, (0.05, 0.05, 0.15), strict=True):
        level = np.exp(np.log(measured[start : start + count]).mean())
        assert level == pytest.approx(value, rel=tolerance)
        start += count


@pytest.mark.parametrize(("dim", "beta"), REFERENCE)
def test_squares_add_up_to_the_frobenius_norm(dim, beta):
    values, counts = softmax_attention_spectrum(dim, beta, 18)
    variance = beta / math.sqrt(dim)
    assert counts @ values**2 == pytest.approx((1 - 2 * variance**2) ** (-dim / 2), rel=1e-6)


def test_energy_by_level_is_negative_binomial():
    values, counts = softmax_attention_spectrum(64, 1.0, 18)
    energy = counts * values**2
    rho2 = (values[1] / values[0]) ** 2
    np.testing.assert_allclose(energy / energy.sum(), stats.nbinom.pmf(np.arange(18), 64, 1 - rho2), atol=1e-10)
    np.testing.assert_allclose(
        (energy / energy.sum())[:5], [0.36489597, 0.3649851, 0.18538927, 0.063743127, 0.016686846], rtol=1e-6
    )


def test_the_limit_exists_up_to_a_temperature():
    edge = math.sqrt(0.5) * 4
    assert np.isfinite(softmax_attention_spectrum(16, edge * (1 - 1e-12), 3).values).all()
    assert np.isfinite(softmax_attention_spectrum(16, 2 * (1 - 1e-12), 3, normalized=False).values).all()
    most = softmax_attention_spectrum(16, 1.0, 111).multiplicities
    assert (most.dtype, int(most[-1])) == (np.int64, math.comb(125, 110))
    with pytest.raises(ValueError, match=r"^beta must keep beta/√dim below 1/√2, where the limit ends, got 0.70"):
        softmax_attention_spectrum(16, edge * (1 + 1e-12), 3)
    with pytest.raises(ValueError, match=r"^beta must keep beta/√dim below 1/2, where the limit ends, got 0.5$"):
        softmax_attention_spectrum(16, 2.0, 3, normalized=False)


# --- degrees of the score -------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.3, 1.0, 2.5])
def test_energy_by_degree_is_poisson(s):
    energy = score_degree_energy(s, 12)
    np.testing.assert_allclose(energy, stats.poisson.pmf(np.arange(13), s**2), rtol=1e-11)
    for order in (0, 3, 12):
        assert energy[: order + 1].sum() == pytest.approx(1 - poisson_tail(order, s**2), rel=1e-12)
    assert score_degree_energy(s, 0).tolist() == [pytest.approx(math.exp(-(s**2)))]


@pytest.mark.parametrize(("s", "order"), [(1, 4), (2, 9), (4, 26), (8, 83)])
def test_order_that_leaves_less_than_one_percent_of_the_energy(s, order):
    assert poisson_tail(order, s**2) < 0.01 <= poisson_tail(order - 1, s**2)


def test_energy_by_degree_by_quadrature():
    """Oracle: projections of e^x on Hermite polynomials by Gauss-Hermite quadrature."""
    nodes, weights = special.roots_hermitenorm(80)
    weights = weights / weights.sum()
    y = np.exp(0.8 * nodes)
    shares = [(weights @ (y * special.eval_hermitenorm(k, nodes))) ** 2 / math.factorial(k) for k in range(5)]
    np.testing.assert_allclose(score_degree_energy(0.8, 4), np.array(shares) / (weights @ y**2), rtol=1e-10)
