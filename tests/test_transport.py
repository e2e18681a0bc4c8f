"""Distances between distributions, against quadrature, brute force and closed forms."""

import itertools
import math
import re

import numpy as np
import pytest
from scipy import integrate, stats

from helpers.wgan import (
    maximum_mean_discrepancy,
    mode_coverage,
    total_variation_gaussian_1d,
    wasserstein1_1d,
    wasserstein1_assignment,
    wasserstein1_gaussian_1d,
)

# --- Gaussians --------------------------------------------------------------------------------------------

REFERENCE = {  # mpmath, 30 digits: W₁; TV between the roots of p = q
    (0, 1, 1, 1): (1, 0.382924922548026),
    (0, 1, 0, 2): (0.797884560803, 0.322674568834769),
    (0, 1, 1, 2): (1.16663094118, 0.390065660121056),
    (0, 1, 3, 1): (3, 0.866385597462284),
    (0, 1, 5, 1): (5, 0.987580669348448),
}


@pytest.mark.parametrize("pair", REFERENCE)
def test_reference_values(pair):
    w1, tv = REFERENCE[pair]
    assert wasserstein1_gaussian_1d(*pair) == pytest.approx(w1, rel=1e-11)
    assert total_variation_gaussian_1d(*pair) == pytest.approx(tv, rel=1e-11)


@pytest.mark.parametrize(
    "pair", [*REFERENCE, (2.5, 0.3, -1, 4), (-1, 3, 1, 2.9), (0, 1, 1e-3, 1), (5, 2, 1, 1), (1, 2, 5, 1), (0, 3, 0, 1)]
)
def test_gaussians_by_integration(pair):
    """Oracle: ∫|F - G| and ½∫|p - q| by the trapezoidal rule."""
    m1, s1, m2, s2 = pair
    x = np.linspace(-40, 40, 160_001)
    p, q = stats.norm(m1, s1), stats.norm(m2, s2)
    area = integrate.trapezoid(np.abs(p.cdf(x) - q.cdf(x)), x)
    half = integrate.trapezoid(np.abs(p.pdf(x) - q.pdf(x)), x) / 2
    assert wasserstein1_gaussian_1d(*pair) == pytest.approx(area, rel=1e-6)
    assert total_variation_gaussian_1d(*pair) == pytest.approx(half, rel=1e-6)


def test_gaussian_distances_are_symmetric_and_do_not_depend_on_the_unit():
    for m1, s1, m2, s2 in [*REFERENCE, (2.5, 0.3, -1, 4)]:
        for function, factor in ((wasserstein1_gaussian_1d, 8), (total_variation_gaussian_1d, 1)):
            here = function(m1, s1, m2, s2)
            assert function(m2, s2, m1, s1) == pytest.approx(here, rel=1e-13)
            assert function(-m1, s1, -m2, s2) == pytest.approx(here, rel=1e-13)
            assert function(8 * m1, 8 * s1, 8 * m2, 8 * s2) == pytest.approx(factor * here, rel=1e-13)
            assert type(here) is float


def test_gaussian_distances_are_continuous_at_equal_widths():
    for m in (0.5, 2.0, -2.0):
        for function in (wasserstein1_gaussian_1d, total_variation_gaussian_1d):
            same = function(0, 1, m, 1)
            assert same > 0.1
            for s in (1 + 1e-9, 1 - 1e-9):
                assert function(0, 1, m, s) == pytest.approx(same, rel=1e-7)
    for function in (wasserstein1_gaussian_1d, total_variation_gaussian_1d):
        assert function(3, 2, 3, 2) == 0
    assert total_variation_gaussian_1d(0, 1, 1000, 2) == 1
    assert total_variation_gaussian_1d(0, 1, 1000, 1) == 1
    assert wasserstein1_gaussian_1d(0, 1, 1000, 2) == 1000


# --- samples ---------------------------------------------------------------------------------------------


def test_line_is_the_mean_distance_of_the_sorted_samples():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    assert wasserstein1_1d(a, b) == pytest.approx(np.abs(np.sort(a) - np.sort(b)).mean(), rel=1e-12)
    assert wasserstein1_1d(np.repeat(a, 3), b) == pytest.approx(wasserstein1_1d(a, b), rel=1e-12)
    assert wasserstein1_1d([0, 3], [1, 1, 4]) == pytest.approx(7 / 6, rel=1e-14)  # areas 1/2, 2/6, 1/3
    assert wasserstein1_assignment(a[:, None], b[:, None]) == pytest.approx(wasserstein1_1d(a, b), rel=1e-12)
    assert type(wasserstein1_1d(a, b)) is type(wasserstein1_assignment(a[:, None], b[:, None])) is float


def test_assignment_is_the_cheapest_of_all_pairings():
    rng = np.random.default_rng(1)
    for _ in range(5):
        A, B = rng.normal(size=(2, 6, 3))
        costs = np.sqrt(((A[:, None] - B[None]) ** 2).sum(-1))
        due = min(costs[range(6), order].mean() for order in itertools.permutations(range(6)))
        assert wasserstein1_assignment(A, B) == pytest.approx(due, rel=1e-13)


def test_assignment_of_a_translation_is_its_length():
    A = np.random.default_rng(2).normal(size=(60, 2))
    assert wasserstein1_assignment(A, A[::-1] + np.array([3, -4])) == pytest.approx(5, rel=1e-12)
    assert wasserstein1_assignment(A, A[::-1]) == 0


def test_mmd_by_a_double_loop():
    rng = np.random.default_rng(3)
    A, B = rng.normal(size=(5, 2)), rng.normal(size=(7, 2)) + 1
    bandwidths = [0.5, 2.0, 3.0]

    def kernel(a, b):
        return sum(math.exp(-sum((a - b) ** 2) / (2 * h**2)) for h in bandwidths) / 3

    def mean(X, Y, same):
        return np.mean([kernel(x, y) for i, x in enumerate(X) for j, y in enumerate(Y) if not (same and i == j)])

    due = mean(A, A, True) + mean(B, B, True) - 2 * mean(A, B, False)
    assert maximum_mean_discrepancy(A, B, bandwidths) == pytest.approx(due, rel=1e-12)
    assert type(maximum_mean_discrepancy(A, B, bandwidths)) is float


def test_mmd_is_unbiased():
    """Oracle: N(0,1) and N(m,1) on the line have E k = √(h²/(h² + 2)) exp(-m²/(2(h² + 2))); 2,000 small samples."""
    rng = np.random.default_rng(4)
    for shift in (0.0, 1.5):
        draws = [maximum_mean_discrepancy(*_pair(rng, shift), [1.0]) for _ in range(1000)]
        gain = math.sqrt(1 / 3)
        due = 2 * gain * (1 - math.exp(-(shift**2) / 6))
        assert abs(np.mean(draws) - due) < 4 * np.std(draws) / math.sqrt(len(draws))
        if shift == 0:
            assert min(draws) < 0


def _pair(rng: np.random.Generator, shift: float) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(4, 1)), rng.normal(size=(3, 1)) + shift


# --- modes -----------------------------------------------------------------------------------------------


def test_modes_and_quality_by_hand():
    centers = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]]
    samples = np.array([[0.0, 0.3]] * 9 + [[10.0, 0.38]] * 2 + [[0.0, 9.63]] + [[5.0, 5.0]] * 3 + [[10.0, 10.5]])
    assert mode_coverage(samples, centers, 0.1) == (3, 12 / 16)  # fair is 4 of 16, a quarter of it is 1
    assert mode_coverage(samples, centers, 0.1, share=0.26) == (2, 12 / 16)
    assert mode_coverage(samples, centers, 0.1, share=0.5) == (2, 12 / 16)
    assert mode_coverage(samples, centers, 0.1, share=1.0) == (1, 12 / 16)
    assert mode_coverage(samples, centers, 0.1, radius=5.5) == (4, 13 / 16)
    assert mode_coverage(samples, centers, 0.1, radius=3.5) == (1, 9 / 16)
    assert mode_coverage(samples, centers, 1.0, radius=100.0) == (4, 1.0)
    modes, quality = mode_coverage(samples, centers, 0.1)
    assert type(modes) is int
    assert type(quality) is float


def test_radius_is_included_and_rows_belong_to_the_nearest_centre_alone():
    assert mode_coverage([[1.0]], [[0.0]], std=0.5, radius=2.0) == (1, 1.0)
    assert mode_coverage([[1.0 + 1e-9]], [[0.0]], std=0.5, radius=2.0) == (0, 0.0)
    assert mode_coverage([[0.4]] * 4, [[0.0], [1.0]], std=1.0, radius=3.0) == (1, 1.0)
    assert mode_coverage([[9.0]], [[0.0], [1.0], [2.0]], std=1.0) == (0, 0.0)


# --- bad input ---------------------------------------------------------------------------------------------

A = [[0.0, 1.0], [2.0, 3.0]]
FINITE = "must be a finite number"
BAD = [
    (lambda: wasserstein1_gaussian_1d(math.nan, 1, 0, 1), f"m1 {FINITE}, got nan"),
    (lambda: wasserstein1_gaussian_1d(0, 0, 0, 1), f"s1 {FINITE} > 0, got 0"),
    (lambda: total_variation_gaussian_1d(0, 1, math.inf, 1), f"m2 {FINITE}, got inf"),
    (lambda: total_variation_gaussian_1d(0, 1, 0, -1.0), f"s2 {FINITE} > 0, got -1.0"),
    (lambda: total_variation_gaussian_1d(0, 1, 0, math.inf), f"s2 {FINITE} > 0, got inf"),
    (lambda: wasserstein1_1d([], [1.0]), "a must hold at least one number, got an empty array"),
    (lambda: wasserstein1_1d([1.0], []), "b must hold at least one number, got an empty array"),
    (lambda: wasserstein1_1d(A, [1.0]), "a must have 1 dimension(s), got shape (2, 2)"),
    (lambda: wasserstein1_1d([0.0], [math.nan]), "b must be finite, got 1 NaN or infinite value(s)"),
    (lambda: wasserstein1_assignment(A, A[:1]), "A and B must have as many rows as each other, got 2 and 1"),
    (lambda: wasserstein1_assignment(A, [[1.0]]), "B must have 2 columns, got 1"),
    (lambda: wasserstein1_assignment([[math.inf]], [[1.0]]), "A must be finite, got 1 NaN or infinite value(s)"),
    (lambda: maximum_mean_discrepancy(A[:1], A, [1.0]), "A must have at least 2 rows, got 1"),
    (lambda: maximum_mean_discrepancy(A, A[:1], [1.0]), "B must have at least 2 rows, got 1"),
    (lambda: maximum_mean_discrepancy(A, A, []), "bandwidths must hold at least one number, all > 0, got []"),
    (
        lambda: maximum_mean_discrepancy(A, A, [1, 0]),
        "bandwidths must hold at least one number, all > 0, got [1.0, 0.0]",
    ),
    (lambda: maximum_mean_discrepancy(A, A, 1.0), "bandwidths must have 1 dimension(s), got shape ()"),
    (lambda: mode_coverage(A, [[0.0]], 1.0), "centers must have 2 columns, got 1"),
    (lambda: mode_coverage([0.0], A, 1.0), "samples must have 2 dimension(s), got shape (1,)"),
    (lambda: mode_coverage(A, [0.0], 1.0), "centers must have 2 dimension(s), got shape (1,)"),
    (lambda: mode_coverage(A, A, 0.0), f"std {FINITE} > 0, got 0.0"),
    (lambda: mode_coverage(A, A, 1.0, radius=math.inf), f"radius {FINITE} > 0, got inf"),
    (lambda: mode_coverage(A, A, 1.0, share=0.0), "share must be in (0, 1], got 0.0"),
    (lambda: mode_coverage(A, A, 1.0, share=1.1), "share must be in (0, 1], got 1.1"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
