"""Softmax at random logits against quadrature, exact expansions, extreme-value constants and Monte Carlo."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from helpers.initialization import (
    attention_entropy,
    attention_weights,
    expected_maximum,
    expected_softmax_statistics,
    softmax_jacobian,
)

quick = settings(max_examples=20, deadline=None, derandomize=True)


def normal_mean(f) -> float:
    return sum(
        integrate.quad(lambda z: f(z) * stats.norm.pdf(z), low, high, epsabs=1e-14, epsrel=1e-13)[0]
        for low, high in ((-12, -1), (-1, 0), (0, 1), (1, 12))
    )


@pytest.mark.parametrize("s", [0.01, 0.5, 1.0, 1.5, 8.0, 100.0])
def test_two_keys_are_a_single_integral(s):
    """p = σ(√2 s z): E log Σ = E softplus(√2 s z), E (1 - Σp²) = 2 E p(1 - p)."""
    c = math.sqrt(2) * s
    logsumexp, entropy, trace = expected_softmax_statistics(2, s)

    def p(z: float) -> float:
        return 1 / (1 + math.exp(-c * z)) if c * z > -700 else 0.0

    assert logsumexp == pytest.approx(normal_mean(lambda z: np.logaddexp(0, c * z)), rel=1e-10)
    assert trace == pytest.approx(normal_mean(lambda z: 2 * p(z) * p(-z)), rel=1e-7, abs=1e-12)
    assert entropy == pytest.approx(normal_mean(lambda z: attention_entropy([p(z), 1 - p(z)])), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "s", "trace"),
    [
        (2, 0.5, 0.449246735987280),
        (2, 1, 0.363161846031631),
        (2, 8, 0.069640910267097),
        (16, 0.5, 0.92180239),
        (16, 1, 0.86754778),
        (16, 2, 0.68354948),
        (16, 4, 0.41364795),
        (16, 8, 0.21748220),
        (16, 32, 0.05514108),
        (128, 0.5, 0.99000306),
        (128, 1, 0.97980828),
        (128, 2, 0.89013603),
        (128, 4, 0.59557413),
        (128, 8, 0.31885133),
        (128, 16, 0.16156346),
        (128, 32, 0.08101134),
        (512, 1, 0.99476541),
        (512, 4, 0.68773511),
        (512, 8, 0.37354720),
        (512, 32, 0.09503874),
    ],
)
def test_reference_traces(n, s, trace):
    logsumexp, entropy, ours = expected_softmax_statistics(n, s)
    assert ours == pytest.approx(trace, abs=6e-9)
    assert entropy == pytest.approx(logsumexp - s**2 * ours, rel=1e-11)
    assert 0 < ours <= min(1 - 1 / n, expected_maximum(n) / s)


@pytest.mark.parametrize(("s", "entropy"), [(1, 4.36564169), (4, 1.54703623), (8, 0.65756985), (0, math.log(128))])
def test_reference_entropies(s, entropy):
    assert expected_softmax_statistics(128, s)[1] == pytest.approx(entropy, abs=6e-9)


@pytest.mark.parametrize(("n", "s"), [(5, 0.7), (5, 3.0), (40, 1.0), (40, 6.0)])
def test_drawn_softmaxes(n, s):
    z = s * np.random.default_rng(0).standard_normal((20_000, n))
    p = attention_weights(np.eye(1), np.ones((n, 1)))  # uniform, to fix the shape
    assert p.shape == (1, n)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    samples = np.log(np.exp(z).sum(axis=1)), attention_entropy(p), 1 - (p**2).sum(axis=1)
    for measured, exact in zip(samples, expected_softmax_statistics(n, s), strict=True):
        assert abs(measured.mean() - exact) < 5 * measured.std() / math.sqrt(len(measured))


@pytest.mark.parametrize("n", [2, 7, 128])
def test_small_logits_follow_the_expansion(n):
    s = 0.01
    logsumexp, entropy, trace = expected_softmax_statistics(n, s)
    assert logsumexp == pytest.approx(math.log(n) + (1 - 1 / n) * s**2 / 2 - (n - 1) * s**4 / (4 * n**2), abs=1e-11)
    assert entropy == pytest.approx(math.log(n) - (1 - 1 / n) * s**2 / 2 + 3 * (n - 1) * s**4 / (4 * n**2), abs=1e-11)
    assert trace == pytest.approx((1 - 1 / n) * (1 - s**2 / n), abs=1e-8)
    assert expected_softmax_statistics(n, 0.0) == pytest.approx((math.log(n), math.log(n), 1 - 1 / n), rel=1e-13)


@pytest.mark.parametrize("n", [2, 16, 1000])
def test_large_logits_follow_the_largest(n):
    for s in (1e3, 1e6):
        logsumexp, entropy, trace = expected_softmax_statistics(n, s)
        assert logsumexp / s == pytest.approx(expected_maximum(n), rel=1e-4)
        assert s * trace == pytest.approx(expected_maximum(n), rel=1e-4)
        if n == 2:  # of the gap between the two only the part near 0 counts, and ∫ entropy d(gap) = π²/3
            assert s * entropy == pytest.approx(math.pi**1.5 / 6, rel=1e-3)


def test_one_key_takes_everything():
    for s in (0.0, 0.6, 3.0, 500.0):
        np.testing.assert_allclose(expected_softmax_statistics(1, s), 0, atol=1e-9 * (1 + s**2))


@quick
@given(n=st.integers(1, 3000), s=st.floats(0.05, 40))
def test_slope_of_the_log_sum_is_the_trace(n, s):
    """F'(s) = s E tr J, F by central difference; F is convex, entropy falls."""
    h = 1e-3 * s
    low, middle, high = (expected_softmax_statistics(n, s + k * h) for k in (-1, 0, 1))
    assert (high[0] - low[0]) / (2 * h) == pytest.approx(s * middle[2], rel=1e-5, abs=1e-8)
    assert high[0] + low[0] >= 2 * middle[0] - 1e-10
    assert high[1] <= low[1] + 1e-10
    assert 0 <= middle[1] + 1e-11 <= math.log(n) + 1e-10


def test_the_two_ways_of_integrating_agree_where_they_meet():
    for n in (2, 100, 10_000):
        below, above = (expected_softmax_statistics(n, 1 + d) for d in (0.0, 1e-9))
        np.testing.assert_allclose(below, above, rtol=1e-8)


def test_condensation():
    """Beyond √(2 log n) the entropy no longer grows with n; well below it is log n - s²/2."""
    small, large = (expected_softmax_statistics(n, 8.0)[1] for n in (128, 1024))
    assert large - small < 0.2 * math.log(8)
    assert expected_softmax_statistics(10**6, 1.0)[1] == pytest.approx(math.log(10**6) - 0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("n", "value"),
    [
        (1, 0.0),
        (2, 1 / math.sqrt(math.pi)),
        (3, 1.5 / math.sqrt(math.pi)),
        (4, 6 * math.atan(math.sqrt(2)) / math.pi**1.5),
        (16, 1.7659913931),
        (64, 2.3437334651),
        (128, 2.5945973686),
        (512, 3.0439031612),
    ],
)
def test_expected_maximum(n, value):
    assert expected_maximum(n) == pytest.approx(value, abs=6e-11)


def test_expected_maximum_of_many():
    for n in (10**4, 10**8):  # by parts: E max = ∫ (1 - Φⁿ) over x > 0 less ∫ Φⁿ over x < 0
        above = integrate.quad(lambda x, n=n: -math.expm1(n * stats.norm.logcdf(x)), 0, 12, epsabs=1e-11, limit=200)[0]
        assert expected_maximum(n) == pytest.approx(above, rel=1e-8)


# --- weights, entropy, Jacobian -------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 2**32), n=st.integers(1, 5), m=st.integers(1, 6), d=st.integers(1, 9))
def test_attention_weights_are_the_softmax_of_scaled_products(seed, n, m, d):
    rng = np.random.default_rng(seed)
    q, k = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    for scale, factor in (("sqrt", 1 / math.sqrt(d)), (None, 1.0), (0.3, 0.3), (-2, -2.0)):
        e = np.exp(factor * (q @ k.T))
        np.testing.assert_allclose(attention_weights(q, k, scale), e / e.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(attention_weights(q, k), attention_weights(q, k, "sqrt"))


def test_attention_weights_survive_large_logits():
    np.testing.assert_allclose(attention_weights([[1e4]], [[1.0], [0.0]]), [[1.0, 0.0]], atol=1e-300)
    np.testing.assert_allclose(
        attention_weights([[1e4]], [[1.0], [1.0 - 1e-4]]), [[0.7310585786, 0.2689414214]], rtol=1e-9
    )


def test_entropy():
    p = np.random.default_rng(0).dirichlet(np.ones(6), size=(2, 3))
    np.testing.assert_allclose(attention_entropy(p), stats.entropy(p, axis=-1), rtol=1e-12)
    assert attention_entropy(p).shape == (2, 3)
    assert attention_entropy([1.0, 0.0]) == 0
    assert attention_entropy([0.25 + 5e-7, 0.25, 0.25, 0.25]) == pytest.approx(math.log(4), rel=1e-5)


@quick
@given(seed=st.integers(0, 2**32), n=st.integers(1, 6))
def test_jacobian_is_the_derivative_of_softmax(seed, n):
    z = np.random.default_rng(seed).standard_normal(n)

    def softmax(z):
        return np.exp(z) / np.exp(z).sum()

    p, h = softmax(z), 1e-5
    columns = [(softmax(z + h * e) - softmax(z - h * e)) / (2 * h) for e in np.eye(n)]
    J = softmax_jacobian(p)
    np.testing.assert_allclose(J, np.array(columns).T, atol=1e-9)
    assert np.trace(J) == pytest.approx(1 - (p**2).sum(), abs=1e-14)
    frobenius = (p**2).sum() - 2 * (p**3).sum() + (p**2).sum() ** 2
    assert (J**2).sum() == pytest.approx(frobenius, abs=1e-14)


def test_frobenius_norm_of_the_jacobian_first_rises_with_the_logits():
    uniform, tie = np.full(128, 1 / 128), np.array([0.5, 0.5] + [0.0] * 126)
    assert np.linalg.norm(softmax_jacobian(uniform)) == pytest.approx(0.088, abs=5e-4)
    assert np.linalg.norm(softmax_jacobian(tie)) == pytest.approx(0.5, rel=1e-12)
