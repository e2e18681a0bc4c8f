"""Polynomials in place of e^x and their feature maps against SymPy, mpmath, SciPy and brute-force tensor powers."""

import itertools
import math
from collections import Counter

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.polynomial import polyval
from scipy import special, stats

from helpers.linear_attention import (
    hermite_coefficients,
    limit_coefficients,
    poisson_tail,
    polynomial_feature_dim,
    polynomial_feature_map,
    polynomial_score_error,
    shifted_taylor_coefficients,
    taylor_coefficients,
    taylor_root,
)

x = sympy.Symbol("x")
quick = settings(max_examples=30, deadline=None, derandomize=True)


def exact(expression, order: int) -> list[float]:
    """Coefficients of a SymPy polynomial in x, degree 0 first."""
    polynomial = sympy.Poly(sympy.expand(expression), x)
    return [float(polynomial.coeff_monomial(x**j)) for j in range(order + 1)]


# --- coefficients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1, 2, 5, 12])
def test_taylor_is_the_series_of_sympy(order):
    expected = exact(sympy.series(sympy.exp(x), x, 0, order + 1).removeO(), order)
    np.testing.assert_allclose(taylor_coefficients(order), expected, rtol=1e-15)


@pytest.mark.parametrize("order", [1, 2, 3, 7, 20])
def test_limit_is_the_power_expanded_by_sympy(order):
    np.testing.assert_allclose(limit_coefficients(order), exact((1 + x / order) ** order, order), rtol=1e-14)


@pytest.mark.parametrize("variance", [sympy.Rational(1, 4), sympy.Integer(1), sympy.Integer(3)])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 7])
def test_hermite_is_the_expansion_cut_after_the_order(order, variance):
    """Oracle: Σ_k (s^k/k!) He_k(x/s) with He_k from the physicists' polynomials of SymPy."""
    s = sympy.sqrt(variance)
    series = sum(
        s**k / sympy.factorial(k) * 2 ** sympy.Rational(-k, 2) * sympy.hermite(k, x / s / sympy.sqrt(2))
        for k in range(order + 1)
    )
    np.testing.assert_allclose(hermite_coefficients(order, float(s)), exact(series, order), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_shifted_taylor_is_taylor_at_a_shifted_score(order):
    shift = sympy.Rational(7, 4)
    series = sum((x + shift) ** j / sympy.factorial(j) for j in range(order + 1))
    expected = np.array(exact(series, order)) * math.exp(-1.75)
    np.testing.assert_allclose(shifted_taylor_coefficients(order, 1.75), expected, rtol=1e-13)


def test_shift_zero_is_taylor():
    np.testing.assert_array_equal(shifted_taylor_coefficients(6, 0.0), taylor_coefficients(6))


@quick
@given(order=st.integers(1, 12), shift=st.floats(0.1, 8), step=st.floats(0, 3))
def test_a_shifted_polynomial_is_positive_and_rises_right_of_minus_the_shift(order, shift, step):
    a = shifted_taylor_coefficients(order, shift)
    low, high = polyval([step - shift, step - shift + 0.1], a)
    assert 0 < low < high


def test_taylor_lies_above_the_limit_for_positive_scores_and_both_below_the_exponential():
    scores = np.linspace(0.3, 6, 50)
    for order in range(2, 9):
        limit, taylor = polyval(scores, limit_coefficients(order)), polyval(scores, taylor_coefficients(order))
        assert (limit < taylor).all()
        assert (taylor < np.exp(scores)).all()


@pytest.mark.parametrize(
    ("order", "crossing"),
    [
        (2, -0.932338177409),
        (3, -9 / 7),
        (4, -1.61937207067),
        (6, -2.25580054868),
        (8, -2.86956897848),
        (16, -5.23119727192),
    ],
)
def test_left_of_a_negative_score_the_limit_is_the_closer_one(order, crossing):
    def distance(coefficients, score):
        return abs(polyval(score, coefficients) - math.exp(score))

    def lead(score):
        return distance(limit_coefficients(order), score) - distance(taylor_coefficients(order), score)

    assert abs(lead(crossing)) < 1e-12
    assert lead(crossing - 0.05) < 0 < lead(crossing + 0.05)


@pytest.mark.parametrize("order", range(9))
def test_only_beyond_variance_2_does_a_hermite_coefficient_turn_negative(order):
    assert hermite_coefficients(order, math.sqrt(2) - 1e-6).min() > 0
    assert (hermite_coefficients(order, math.sqrt(2) + 1e-6).min() < 0) == (order >= 2)


RELATIVE = {  # orders 1, 2, 3, 4, 6, 8
    (taylor_coefficients, -2): [-8.3890561, 6.3890561, -3.4630187, 1.4630187, 0.14940873, 0.0086648008],
    (limit_coefficients, -2): [-8.3890561, -1, -0.72633126, -0.53818399, -0.35130372, -0.26026005],
    (taylor_coefficients, 2): [-0.59399415, -0.32332358, -0.14287654, -0.052653017, -0.0045338055, -0.00023744733],
    (limit_coefficients, 2): [-0.59399415, -0.45865887, -0.37344776, -0.31486513, -0.23959764, -0.19333885],
}


# --- errors ---------------------------------------------------------------------------------------


TAILS = {
    (2, 1): 0.080301397071394196,
    (4, 3): 0.184736755476227934,
    (8, 4): 0.0213634344879841634,
    (3, 2): 0.142876539501452951,
}


@pytest.mark.parametrize(("order", "score"), [*TAILS, (0, 0.3), (20, 5), (40, 36)])
def test_poisson_tail_is_the_relative_error_of_taylor(order, score):
    with mpmath.workdps(40):
        expected = 1 - mpmath.fsum(mpmath.mpf(score) ** j / mpmath.factorial(j) for j in range(order + 1)) / mpmath.exp(
            score
        )
    assert poisson_tail(order, score) == pytest.approx(float(expected), rel=1e-12)
    assert poisson_tail(order, score) == pytest.approx(TAILS.get((order, score), float(expected)), rel=1e-14)


def test_poisson_tail_of_arrays_and_numbers():
    scores = np.array([[0.0, 0.5], [2.0, 9.0]])
    np.testing.assert_allclose(poisson_tail(3, scores), stats.poisson.sf(3, scores), rtol=1e-12)
    assert type(poisson_tail(3, 2)) is float
    assert poisson_tail(0, 0) == 0


@pytest.mark.parametrize("score", [-2, 2])
@pytest.mark.parametrize("family", [taylor_coefficients, limit_coefficients])
def test_relative_errors_at_two_and_minus_two(family, score):
    measured = [polyval(score, family(n)) / math.exp(score) - 1 for n in (1, 2, 3, 4, 6, 8)]
    np.testing.assert_allclose(measured, RELATIVE[family, score], rtol=1e-6)
    exact = {
        taylor_coefficients: lambda n: mpmath.gammainc(n + 1, score, regularized=True) - 1,
        limit_coefficients: lambda n: (1 + mpmath.mpf(score) / n) ** n * mpmath.exp(-score) - 1,
    }[family]
    np.testing.assert_allclose(measured, [float(mpmath.re(exact(n))) for n in (1, 2, 3, 4, 6, 8)], rtol=1e-9)


@pytest.mark.parametrize(
    ("reach", "right", "left", "limit"), [(1, 4, 5, 50), (2, 6, 8, 198), (4, 9, 15, 794), (8, 15, 30, 3179)]
)
def test_smallest_order_for_one_percent(reach, right, left, limit):
    def smallest(family, score):
        return next(n for n in itertools.count(1) if abs(polyval(score, family(n)) / math.exp(score) - 1) < 0.01)

    assert smallest(taylor_coefficients, reach) == right
    assert smallest(taylor_coefficients, -reach) == left
    error = [1 - polyval(reach, limit_coefficients(n)) / math.exp(reach) for n in (limit - 1, limit)]
    assert error[0] >= 0.01 > error[1]


BEST = {
    0.5: [0.4703182082, 0.1627851995, 0.04649189918, 0.01154857786, 0.00257132467, 0.0005232719784, 9.866368032e-05],
    1.0: [0.7950600976, 0.5140438869, 0.2833750114, 0.1377975213, 0.0604966679, 0.0243759065, 0.009123658767],
    2.0: [0.9907998593, 0.9531116438, 0.8728669397, 0.7526817918, 0.6092315363, 0.4635403035, 0.3326769881],
}
TAYLOR = [0.8301053927, 0.6149389611, 0.4107631328, 0.2508873365, 0.1417445684, 0.07476480679, 0.03709362331]
LIMIT = [0.6149389611, 0.4980590055, 0.4274633, 0.375593174, 0.3354766051, 0.3033768686]


def score_error_by_moments(coefficients, s) -> float:
    """√(E p² - 2 E p e^x + E e^{2x})/√(E e^{2x}) from the moments of N(0, s²) and N(s², s²), 40 digits."""
    with mpmath.workdps(40):
        s, a = mpmath.mpf(s), [mpmath.mpf(value) for value in coefficients]

        def moment(k, mean):
            return mpmath.fsum(
                mpmath.binomial(k, 2 * i) * mean ** (k - 2 * i) * s ** (2 * i) * mpmath.fac2(2 * i - 1)
                for i in range(k // 2 + 1)
            )

        square = mpmath.fsum(p * q * moment(i + j, mpmath.mpf(0)) for i, p in enumerate(a) for j, q in enumerate(a))
        mixed = mpmath.exp(s**2 / 2) * mpmath.fsum(p * moment(i, s**2) for i, p in enumerate(a))
        whole = mpmath.exp(2 * s**2)
        return float(mpmath.sqrt((square - 2 * mixed + whole) / whole))


@pytest.mark.parametrize("s", BEST)
@pytest.mark.parametrize("order", range(7))
def test_best_polynomial_has_the_error_of_a_poisson_tail(order, s):
    best = hermite_coefficients(order, s) * math.exp(s**2 / 2)
    assert polynomial_score_error(best, s) == pytest.approx(score_error_by_moments(best, s), rel=1e-10)
    assert polynomial_score_error(best, s) == pytest.approx(math.sqrt(poisson_tail(order, s**2)), rel=1e-10)
    assert polynomial_score_error(best, s) == pytest.approx(BEST[s][order], rel=1e-9)


@pytest.mark.parametrize("order", range(7))
def test_taylor_and_limit_in_the_same_norm(order):
    taylor = taylor_coefficients(order)
    assert polynomial_score_error(taylor, 1.0) == pytest.approx(TAYLOR[order], rel=1e-9)
    if order:
        assert polynomial_score_error(limit_coefficients(order), 1.0) == pytest.approx(LIMIT[order - 1], rel=1e-9)
    assert polynomial_score_error(taylor, 0.7) == pytest.approx(score_error_by_moments(taylor, 0.7), rel=1e-11)


@quick
@given(a=st.lists(st.floats(-2, 2), min_size=1, max_size=5), s=st.floats(0.2, 1.5))
def test_no_polynomial_beats_the_hermite_coefficients(a, s):
    error = polynomial_score_error(a, s)
    assert error == pytest.approx(score_error_by_moments(a, s), rel=1e-9)
    assert error >= math.sqrt(poisson_tail(len(a) - 1, s**2)) * (1 - 1e-12)


def test_a_polynomial_error_by_quadrature():
    """Oracle: Gauss-Hermite quadrature over the scores."""
    nodes, weights = special.roots_hermitenorm(80)
    weights = weights / weights.sum()
    a = [0.3, -1.0, 2.0, 0.1]
    squares = weights @ (polyval(0.6 * nodes, a) - np.exp(0.6 * nodes)) ** 2 / (weights @ np.exp(1.2 * nodes))
    assert polynomial_score_error(a, 0.6) == pytest.approx(math.sqrt(squares), rel=1e-12)


# --- roots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 3, 5, 7, 11, 15, 21, 31, 51, 101])
def test_root_of_an_odd_order(order):
    with mpmath.workdps(60):
        expected = mpmath.findroot(
            lambda score: mpmath.fsum(score**j / mpmath.factorial(j) for j in range(order + 1)), -0.3 * order - 0.7
        )
    assert taylor_root(order) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize("order", [1, 3, 5, 7])
def test_it_is_the_only_real_root_and_the_weights_change_sign_there(order):
    (root,) = sympy.Poly(sum(x**j / sympy.factorial(j) for j in range(order + 1)), x).real_roots()
    assert taylor_root(order) == pytest.approx(float(root), rel=1e-14)
    left, right = polyval([taylor_root(order) - 1e-6, taylor_root(order) + 1e-6], taylor_coefficients(order))
    assert left < 0 < right


def test_a_large_root_follows_its_law():
    """-(W n + W/(1 + W) (ln(2πn)/2 + ln((1 + W)/W))), W = W(1/e), is off by O(log²n/n)."""
    W = special.lambertw(1 / math.e).real
    for order in (101, 1001, 5001):
        law = -(W * order + W / (1 + W) * (math.log(2 * math.pi * order) / 2 + math.log((1 + W) / W)))
        assert 0 < law - taylor_root(order) < 0.1 * math.log(order) ** 2 / order


@pytest.mark.parametrize("order", [2, 4, 6, 12])
def test_even_orders_are_positive_and_turn_at_the_root_below(order):
    a, bottom = taylor_coefficients(order), taylor_root(order - 1)
    lowest = polyval(bottom, a)
    assert lowest == pytest.approx(bottom**order / math.factorial(order), rel=1e-10)
    assert lowest == pytest.approx({2: 0.5, 4: 0.270394765205184608, 6: 0.149324841731051193}.get(order, lowest))
    scores = np.linspace(-4 * order, 4, 2001)
    values = polyval(scores, a)
    assert values.min() >= lowest
    assert (np.diff(values)[scores[1:] < bottom] < 0).all()
    assert (np.diff(values)[scores[:-1] > bottom] > 0).all()


@pytest.mark.parametrize(
    ("order", "score"), [(2, -2), (4, -2.78529356340528), (6, -3.5534412584623), (8, -4.31362722777438)]
)
def test_an_opposite_key_that_weighs_as_much_as_an_orthogonal_one(order, score):
    assert polyval(score, taylor_coefficients(order)) == pytest.approx(1, abs=1e-12)


# --- feature maps ---------------------------------------------------------------------------------


def brute_force(vector, coefficients, symmetric: bool) -> list[float]:
    """One feature after another, from the definitions."""
    features = []
    for degree, a in enumerate(coefficients):
        if not symmetric:
            for indices in itertools.product(range(len(vector)), repeat=degree):
                features.append(math.sqrt(a) * math.prod(vector[i] for i in indices))
            continue
        for indices in itertools.combinations_with_replacement(range(len(vector)), degree):
            arrangements = math.factorial(degree) / math.prod(map(math.factorial, Counter(indices).values()))
            features.append(math.sqrt(a * arrangements) * math.prod(vector[i] for i in indices))
    return features


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    "coefficients", [[2.0], [1, 1, 0.5], [0.0, 0.0, 3.0], [1, 4, 2.0], [0.5, 0.0, 0.25, 0.0, 1.5], [0, 2.0]]
)
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_features_one_by_one(dim, coefficients, symmetric):
    vectors = np.random.default_rng(dim).normal(size=(4, dim))
    expected = [brute_force(vector, coefficients, symmetric) for vector in vectors]
    features = polynomial_feature_map(vectors, coefficients, symmetric=symmetric)
    np.testing.assert_allclose(features, expected, rtol=1e-13, atol=1e-300)
    assert features.shape[1] == polynomial_feature_dim(dim, len(coefficients) - 1, symmetric)


@quick
@given(
    seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 6), order=st.integers(0, 6), batch=st.lists(st.integers(1, 3))
)
def test_inner_products_are_the_polynomial(seed, dim, order, batch):
    batch = batch[:3]
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 2, order + 1) * rng.integers(0, 2, order + 1)
    q, k = rng.normal(size=(2, *batch, dim))
    expected = polyval((q * k).sum(axis=-1), a)
    size = polyval(np.linalg.norm(q, axis=-1) * np.linalg.norm(k, axis=-1), a)
    for symmetric in (True, False):
        phi, psi = (polynomial_feature_map(vector, a, symmetric) for vector in (q, k))
        assert phi.shape == (*batch, polynomial_feature_dim(dim, order, symmetric))
        assert (np.abs((phi * psi).sum(axis=-1) - expected) <= 1e-13 * size).all()


def test_the_highest_order():
    """Of one number, so that 170 degrees are few features; beyond, 1/j! itself underflows."""
    a = taylor_coefficients(170)
    for symmetric in (True, False):
        phi = polynomial_feature_map([3.0], a, symmetric)
        assert phi @ phi == pytest.approx(math.exp(9), rel=1e-12)
    assert taylor_coefficients(2000)[-1] == 0


def test_the_article_s_tensor_powers_of_the_limit():
    """[1, q/√n]^{⊗n}, the other way to write the same features: equal inner products."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 3))
    powers = []
    for vector in (q, k):
        extended = np.concatenate([[1.0], vector / math.sqrt(4)])
        powers.append(np.einsum("a,b,c,d->abcd", *4 * [extended]).ravel())
    phi, psi = (polynomial_feature_map(vector, limit_coefficients(4)) for vector in (q, k))
    assert phi @ psi == pytest.approx(powers[0] @ powers[1], rel=1e-12)
    assert (len(phi), len(powers[0])) == (35, 256)


def test_float32_stays_and_everything_else_becomes_float64():
    vectors = np.random.default_rng(1).normal(size=(2, 5, 7)).astype(np.float32)
    for symmetric in (True, False):
        for a in (taylor_coefficients(3), limit_coefficients(3)):
            single = polynomial_feature_map(vectors, a, symmetric)
            double = polynomial_feature_map(vectors.astype(np.float64), a, symmetric)
            assert (single.dtype, double.dtype) == (np.float32, np.float64)
            np.testing.assert_allclose(single, double, rtol=2e-6)
    assert polynomial_feature_map([1, 2], [1, 1]).dtype == np.float64
    assert polynomial_feature_map(np.ones(2, np.float16), [1, 1]).dtype == np.float64


def test_the_input_is_left_alone():
    vectors, a = np.ones((3, 2)), taylor_coefficients(2)
    polynomial_feature_map(vectors, a)[:] = 7
    np.testing.assert_array_equal(vectors, np.ones((3, 2)))
    np.testing.assert_array_equal(a, [1, 1, 0.5])


COUNTS = [  # dimension, order, all tensor powers, each monomial once
    (2, 4, 31, 15),
    (4, 4, 341, 70),
    (5, 0, 1, 1),
    (8, 3, 585, 165),
    (16, 2, 273, 153),
    (16, 3, 4369, 969),
    (16, 4, 69905, 4845),
    (64, 2, 4161, 2145),
    (64, 3, 266305, 47905),
    (64, 4, 17043521, 814385),
    (128, 2, 16513, 8385),
]


@pytest.mark.parametrize(("dim", "order", "full", "symmetric"), COUNTS)
def test_numbers_of_features(dim, order, full, symmetric):
    assert polynomial_feature_dim(dim, order, symmetric=False) == full
    assert polynomial_feature_dim(dim, order) == symmetric
