"""Sampling laws and the rules for the variance, against mpmath, sympy, scipy.stats and brute force."""

import math
import subprocess
import sys
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from helpers.initialization import (
    MODES,
    gain_loss,
    init_variance,
    power_mean_variance,
    sample_weight,
    truncated_normal,
    truncated_normal_variance,
    weighted_geometric_variance,
)

quick = settings(max_examples=25, deadline=None, derandomize=True)
fans = st.integers(1, 5000)


def test_none_of_this_needs_torch():
    modules = "helpers.initialization, helpers.residual_theory, helpers.optimizer_steps"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'matplotlib', 'sklearn'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the truncated normal -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cutoff", "gamma"),
    [
        (1, 0.29112509477279321119),
        (1.5, 0.55152441576155131413),
        (2, 0.77374130354992324718),
        (2.5, 0.91125636093539193480),
        (3, 0.97333692466254147659),
        (4, 0.99892929037247382432),
    ],
)
def test_truncated_variance_is_the_quotient_of_the_integrals(cutoff, gamma):
    with mpmath.workdps(25):
        second, mass = (mpmath.quad(lambda x, k=k: x**k * mpmath.exp(-(x**2) / 2), [-cutoff, cutoff]) for k in (2, 0))
        assert float(second / mass) == pytest.approx(gamma, rel=1e-15)
    assert truncated_normal_variance(cutoff) == pytest.approx(gamma, rel=1e-14)
    assert stats.truncnorm(-cutoff, cutoff).var() == pytest.approx(truncated_normal_variance(cutoff), rel=1e-12)


def test_truncated_variance_at_its_ends():
    assert truncated_normal_variance() == truncated_normal_variance(2.0)
    assert truncated_normal_variance(40.0) == 1.0
    for cutoff in (1e-200, 1e-9, 1.1e-8, 1e-3):  # γ = c²/3 - 2c⁴/45 + ...
        assert truncated_normal_variance(cutoff) == pytest.approx(cutoff**2 / 3, rel=2e-7)
    assert truncated_normal_variance(9e-9) == (9e-9) ** 2 / 3  # the first term alone
    assert optimize.brentq(lambda c: truncated_normal_variance(c) - 0.9, 2, 3) == pytest.approx(2.44327, abs=5e-6)


def test_truncation_is_not_clipping():
    clipped = 2 * stats.norm.expect(lambda x: min(x, 2.0) ** 2, lb=0)
    assert clipped == pytest.approx(0.920536925636323, rel=1e-9)


@quick
@given(seed=st.integers(0, 2**32), std=st.floats(0.01, 10), cutoff=st.floats(0.05, 6))
def test_truncated_samples_are_the_quantiles_of_scipy(seed, std, cutoff):
    """Oracle: scipy.stats.truncnorm.ppf of the same uniform numbers."""
    x = truncated_normal((3, 40), std, cutoff, rng=np.random.default_rng(seed))
    u = (np.random.default_rng(seed).uniform(-1, 1, (3, 40)) + 1) / 2
    np.testing.assert_allclose(x, stats.truncnorm(-cutoff, cutoff, scale=std).ppf(u), rtol=1e-6, atol=1e-9 * std)
    scaled = truncated_normal((3, 40), std, cutoff, rescale=True, rng=np.random.default_rng(seed))
    np.testing.assert_allclose(scaled * math.sqrt(truncated_normal_variance(cutoff)), x, rtol=1e-13)
    assert np.abs(x).max() <= cutoff * std * (1 + 1e-15)


def test_truncated_samples_have_the_stated_deviation():
    x = truncated_normal(200_000, 0.02, rng=np.random.default_rng(0))
    assert x.std() == pytest.approx(0.017592513220684794, rel=0.005)
    assert x.mean() == pytest.approx(0, abs=2e-4)
    assert np.mean(x**4) / np.mean(x**2) ** 2 == pytest.approx(2.36553671712965, rel=0.01)
    rescaled = truncated_normal(200_000, 0.02, rescale=True, rng=np.random.default_rng(0))
    assert rescaled.std() == pytest.approx(0.02, rel=0.005)
    assert truncated_normal(3, 0.0, rng=np.random.default_rng(0)).tolist() == [0, 0, 0]
    assert truncated_normal((2, 0)).shape == (2, 0)
    plain, full = (
        truncated_normal(5, rng=np.random.default_rng(3)),
        truncated_normal(5, 1, 2, rng=np.random.default_rng(3)),
    )
    np.testing.assert_array_equal(plain, full)
    assert len(set(truncated_normal(50).tolist()) | set(truncated_normal(50).tolist())) == 100  # fresh entropy


def test_the_lowest_uniform_number_gives_the_cut_and_not_infinity():
    class Lowest:
        def uniform(self, low, high, shape):
            return np.full(shape, low, dtype=float)

    assert truncated_normal(2, 1.0, 3.0, rng=Lowest()).tolist() == pytest.approx([-3.0, -3.0], rel=1e-12)
    assert truncated_normal(1, 1.0, 40.0, rng=Lowest()).tolist() == [-40.0]


@pytest.mark.parametrize(
    ("distribution", "kurtosis", "largest"),
    [("normal", 3, None), ("uniform", 1.8, math.sqrt(3)), ("truncated_normal", 2.3655367, 2 * 1.1368472343385565)],
)
def test_sampled_weights_have_the_variance_of_the_rule_under_each_law(distribution, kurtosis, largest):
    W = sample_weight((300, 200), distribution, "fan_geo_avg", gain=1.5, rng=np.random.default_rng(1))
    std = 1.5 * (300 * 200) ** -0.25
    assert W.shape == (300, 200)
    assert W.std() == pytest.approx(std, rel=0.01)
    assert np.mean(W**4) / np.mean(W**2) ** 2 == pytest.approx(kurtosis, rel=0.03)
    if largest is not None:
        assert np.abs(W).max() / std == pytest.approx(largest, rel=1e-3)
    default = sample_weight((4, 1), rng=np.random.default_rng(2))  # normal, 1/fan_in
    np.testing.assert_allclose(default, np.random.default_rng(2).standard_normal((4, 1)) / 2, rtol=1e-15)
    other = sample_weight([300, 200], "truncated_normal", cutoff=1.0, rng=np.random.default_rng(1))
    assert np.abs(other).max() * math.sqrt(300) == pytest.approx(1.8533616766221866, rel=1e-3)
    assert sample_weight((2, 2), distribution).shape == (2, 2)
    again = sample_weight((300, 200), distribution, "fan_geo_avg", gain=1.5, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(W, again)


# --- the rules ------------------------------------------------------------------------------------


def test_rules_at_64_to_256():
    expected = {
        "fan_in": 0.015625,
        "fan_out": 0.00390625,
        "max": 0.00390625,
        "quadratic": 0.00459558823529,
        "wasserstein": 0.005625,
        "fan_avg": 0.00625,
        "fan_geo_avg": 0.0078125,
        "fan_harmonic": 0.009765625,
        "reciprocal_quadratic": 0.01328125,
        "min": 0.015625,
        "isometry": 0.00311526479751,
    }
    assert set(MODES) == set(expected)
    for mode, value in expected.items():
        assert init_variance(64, 256, mode) == pytest.approx(value, rel=1e-11)
        assert init_variance(64, 256, mode, gain=3.0) == pytest.approx(9 * value, rel=1e-11)
        if mode not in ("fan_in", "fan_out"):
            assert init_variance(256, 64, mode) == init_variance(64, 256, mode)
    assert init_variance(64, 256) == 1 / 64
    assert init_variance(784, 10, "fan_avg") == pytest.approx(0.00251889168766, rel=1e-11)
    assert init_variance(784, 10, "fan_geo_avg") == pytest.approx(0.0112938487863, rel=1e-11)
    assert init_variance(784, 10, "quadratic") == pytest.approx(0.00129156933808, rel=1e-11)
    assert init_variance(784, 10, "fan_harmonic") == pytest.approx(0.050637755102, rel=1e-11)


SYMBOLIC = {
    "fan_avg": lambda a: (a - sympy.log(a) - 1) / 2,
    "fan_geo_avg": lambda a: sympy.log(a) ** 2,
    "fan_harmonic": lambda a: (1 / a + sympy.log(a) - 1) / 2,
    "quadratic": lambda a: (a - 1) ** 2,
    "reciprocal_quadratic": lambda a: (1 / a - 1) ** 2,
    "wasserstein": lambda a: (sympy.sqrt(a) - 1) ** 2,
    "max": lambda a: sympy.Abs(a - 1),
    "min": lambda a: sympy.Abs(1 / a - 1),
}


@pytest.mark.parametrize("mode", SYMBOLIC)
def test_each_rule_minimises_its_loss(mode):
    """Oracles: the losses typed in sympy; SciPy's minimiser over log v."""
    assert gain_loss(np.float32([0.5, 2.0]), mode).dtype == np.float64
    a = [0.2, 1.0, 1.7, 30.0]
    exact = [float(SYMBOLIC[mode](sympy.Float(x, 30))) for x in a]
    np.testing.assert_allclose(gain_loss(a, mode), exact, rtol=1e-12, atol=1e-30)
    for m, n in ((7, 7), (3, 50), (784, 10)):
        best = init_variance(m, n, mode)
        found = optimize.minimize_scalar(
            lambda x, m=m, n=n: gain_loss([m * math.exp(x), n * math.exp(x)], mode).sum(),
            bounds=(-math.log(max(m, n)) - 1, 1),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert math.exp(found.x) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("mode", [mode for mode in SYMBOLIC if mode not in ("max", "min")])
def test_the_derivative_of_the_loss_is_zero_at_the_rule(mode):
    v = sympy.symbols("v", positive=True)
    slope = sympy.diff(SYMBOLIC[mode](3 * v) + SYMBOLIC[mode](50 * v), v)
    rule = {
        "fan_avg": sympy.Rational(2, 53),
        "fan_geo_avg": 1 / sympy.sqrt(150),
        "fan_harmonic": sympy.Rational(53, 300),
        "quadratic": sympy.Rational(53, 2509),
        "reciprocal_quadratic": sympy.Rational(2509, 150 * 53),
        "wasserstein": (sympy.sqrt(3) + sympy.sqrt(50)) ** 2 / 53**2,
    }[mode]
    assert sympy.simplify(slope.subs(v, rule)) == 0
    assert init_variance(3, 50, mode) == pytest.approx(float(rule), rel=1e-14)


def test_the_arithmetic_mean_is_also_the_minimax_of_the_deviations():
    m, n = 3, 50
    v = np.exp(np.linspace(-6, 0, 200_001))
    worst = np.maximum(np.abs(m * v - 1), np.abs(n * v - 1))
    assert v[worst.argmin()] == pytest.approx(init_variance(m, n, "fan_avg"), rel=1e-4)


def test_isometry_against_drawn_matrices():
    """min over v of E|vA - I|², A = G'G, is at E tr A / E tr A², for either side."""
    G = np.random.default_rng(0).standard_normal((20_000, 3, 5))
    for A in (G @ G.transpose(0, 2, 1), G.transpose(0, 2, 1) @ G):
        best = np.trace(A, axis1=1, axis2=2).mean() / np.sum(A**2, axis=(1, 2)).mean()
        assert best == pytest.approx(init_variance(3, 5, "isometry"), rel=0.02)


@quick
@given(m=fans, n=fans)
def test_order_of_the_rules(m, n):
    order = ("max", "quadratic", "wasserstein", "fan_avg", "fan_geo_avg", "fan_harmonic", "reciprocal_quadratic", "min")
    values = [init_variance(m, n, mode) for mode in order]
    assert all(low <= high * (1 + 1e-14) for low, high in pairwise(values))
    assert init_variance(m, n, "isometry") <= values[3] / 2
    if m == n:
        np.testing.assert_allclose(values, 1 / m, rtol=1e-14)


@quick
@given(m=fans, n=fans, alpha=st.floats(0, 1))
def test_weighted_geometric_family(m, n, alpha):
    v = weighted_geometric_variance(m, n, alpha)
    assert m * v == pytest.approx((m / n) ** alpha, rel=1e-12)
    assert n * v == pytest.approx((n / m) ** (1 - alpha), rel=1e-12)
    for end, mode in ((0, "fan_in"), (0.5, "fan_geo_avg"), (1, "fan_out")):
        assert weighted_geometric_variance(m, n, end) == pytest.approx(init_variance(m, n, mode), rel=1e-14)


@quick
@given(m=fans, n=fans, p=st.floats(-80, 80))
def test_power_means_in_high_precision(m, n, p):
    """Oracle: the definition in mpmath with enough digits for p near 0."""
    with mpmath.workdps(400):
        exact = mpmath.sqrt(m * n) if p == 0 else ((mpmath.mpf(m) ** p + mpmath.mpf(n) ** p) / 2) ** (1 / mpmath.mpf(p))
        assert power_mean_variance(m, n, p) == pytest.approx(float(1 / exact), rel=1e-12)


def test_power_means_by_name_and_near_the_geometric_one():
    for p, mode in ((1, "fan_avg"), (0, "fan_geo_avg"), (-1, "fan_harmonic"), (math.inf, "max"), (-math.inf, "min")):
        assert power_mean_variance(64, 256, p) == pytest.approx(init_variance(64, 256, mode), rel=1e-15)
    assert power_mean_variance(64, 256, 1e4) == pytest.approx(1 / 256, rel=1e-3)
    assert power_mean_variance(64, 256, -1e4) == pytest.approx(1 / 64, rel=1e-3)
    t = math.log(256 / 64)
    for p in (0.1, -0.2):
        series = -p * t**2 / 8 + p**3 * t**4 / 192
        change = math.log(power_mean_variance(64, 256, p) / init_variance(64, 256, "fan_geo_avg"))
        assert change == pytest.approx(series, rel=1e-3)
    assert power_mean_variance(1, 1000, 1e-12) == pytest.approx(1000**-0.5, rel=1e-10)
    # both ways of writing log cosh, where one takes over from the other
    u = 30 * 2 / math.log(4)
    near = [power_mean_variance(64, 256, u * factor) for factor in (1 - 1e-9, 1 + 1e-9)]
    assert near[0] == pytest.approx(near[1], rel=1e-9)
