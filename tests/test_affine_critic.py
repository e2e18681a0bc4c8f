"""Gradient normalisation on affine pieces, against mpmath (the definitions and their derivatives) and brute force."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from mpmath import mp
from scipy import integrate, optimize

from helpers.wgan import (
    MODES,
    boundary_jump,
    gradient_norm_affine,
    gradient_penalty_slopes,
    max_boundary_jump,
    normalized_value,
    two_piece_gradients,
    two_piece_norm,
    two_piece_value,
)

OF_VALUE = [mode for mode in MODES if mode != "inner"]
DEFINITIONS = {  # D, n, ε
    "raw": lambda D, n, eps: D,
    "gn": lambda D, n, eps: D / (n + abs(D)),
    "gran": lambda D, n, eps: D * n / (n**2 + eps),
    "plain": lambda D, n, eps: D / n,
    "add_eps": lambda D, n, eps: D / (n + eps),
}


def test_six_modes():
    assert MODES == ("raw", "gn", "gran", "plain", "add_eps", "inner")


# D = ⟨(3, 4), x⟩ + 2 at (1, 0) and (-2, 0); ε = 0.1 where it matters. Exact fractions.
REFERENCE = {
    "raw": (5, 5, -4, 5),
    "gn": (1 / 2, 1 / 4, -4 / 9, 25 / 81),
    "gran": (250 / 251, 250 / 251, -200 / 251, 250 / 251),
    "plain": (1, 1, -4 / 5, 1),
    "add_eps": (50 / 51, 50 / 51, -40 / 51, 50 / 51),
}


@pytest.mark.parametrize("mode", OF_VALUE)
def test_values_and_norms_of_an_affine_critic(mode):
    value, norm, other, other_norm = REFERENCE[mode]
    np.testing.assert_allclose(normalized_value([5.0, -4.0], 5.0, mode), [value, other], rtol=1e-14)
    np.testing.assert_allclose(gradient_norm_affine([5.0, -4.0], 5.0, mode), [norm, other_norm], rtol=1e-14)


def test_inner_has_norm_one_and_no_value_of_its_own():
    assert gradient_norm_affine([3.0, 0.0], 2.0, "inner").tolist() == [1.0, 1.0]
    for function in (lambda: normalized_value(1.0, 1.0, "inner"), lambda: boundary_jump(1.0, 1.0, 2.0, "inner")):
        with pytest.raises(ValueError, match=re.escape(f"mode must be one of {tuple(OF_VALUE)}, got 'inner'")):
            function()


@pytest.mark.parametrize("mode", OF_VALUE)
@pytest.mark.parametrize("value", [-7.0, -0.3, 0.0, 0.3, 1e-9, 2.0])
@pytest.mark.parametrize("n", [0.02, 1.0, 30.0])
def test_local_norm_is_the_derivative_along_the_gradient(mode, value, n):
    """D = n·u along the unit gradient: oracle mpmath's derivative of the definition by u."""
    with mp.workdps(40):
        h = mp.mpf(10) ** -18
        u = mp.mpf(value) / n
        above, below = (DEFINITIONS[mode](n * (u + side * h), mp.mpf(n), mp.mpf(0.3)) for side in (1, -1))
        due = float(abs(above - below) / (2 * h))
    assert gradient_norm_affine(value, n, mode, 0.3).item() == pytest.approx(due, rel=1e-12)


@pytest.mark.parametrize("mode", OF_VALUE)
@pytest.mark.parametrize(
    ("value", "n1", "n2"), [(1.1, 1.0, 2.5), (-3.0, 0.2, 7.0), (0.0, 1.0, 5.0), (4.0, 3.0, 3.0), (2.0, 5.0, 0.5)]
)
def test_jump_is_the_difference_of_the_two_sides(mode, value, n1, n2):
    with mp.workdps(40):
        exact = [DEFINITIONS[mode](mp.mpf(value), mp.mpf(n), mp.mpf(0.3)) for n in (n1, n2)]
        due = float(exact[1] - exact[0])
    assert boundary_jump(value, n1, n2, mode, 0.3).item() == pytest.approx(due, rel=1e-13, abs=1e-16)


def test_small_jump_of_gn_keeps_its_digits():
    n2 = 1 + 1e-12
    with mp.workdps(40):
        due = float(1 / (mp.mpf(n2) + 1) - mp.mpf(1) / 2)
    assert boundary_jump(1.0, 1.0, n2).item() == pytest.approx(due, rel=1e-14)


def test_largest_jump_of_gn():
    """Brute force over |D|; the closed form is (√n₂ - √n₁)/(√n₂ + √n₁), reached at √(n₁ n₂)."""
    values = np.geomspace(1e-4, 1e4, 20001)
    for n1, n2 in ((1.0, 4.0), (3.0, 0.2), (1.0, 1.0), (1e-3, 50.0)):
        bound = max_boundary_jump(n1, n2).item()
        sizes = np.abs(boundary_jump(values, n1, n2))
        assert sizes.max() <= bound * (1 + 1e-14)
        assert sizes.max() == pytest.approx(bound, rel=1e-6, abs=1e-12)
        assert abs(boundary_jump(-math.sqrt(n1 * n2), n1, n2).item()) == pytest.approx(bound, rel=1e-13)
        root1, root2 = math.sqrt(n1), math.sqrt(n2)
        assert bound == pytest.approx(abs(root2 - root1) / (root2 + root1), rel=1e-13)
    assert max_boundary_jump([1.0, 4.0], [4.0, 1.0]).tolist() == pytest.approx([1 / 3, 1 / 3], rel=1e-14)
    assert max_boundary_jump(1e-300, 1e300).item() == 1


def test_jump_of_gran_is_bounded_by_its_gain_at_root_eps():
    n = np.geomspace(1e-4, 1e4, 4001)
    gain = normalized_value(1.0, n, "gran", 0.1)
    assert gain.max() == pytest.approx(1 / (2 * math.sqrt(0.1)), rel=1e-6)
    assert n[gain.argmax()] == pytest.approx(math.sqrt(0.1), rel=1e-2)
    assert np.abs(boundary_jump(2.0, n[:, None], n[None, ::50], "gran", 0.1)).max() <= 2 / (2 * math.sqrt(0.1))


def test_defaults_are_gn_and_a_tenth():
    assert normalized_value(1.0, 1.0) == 0.5
    assert gradient_norm_affine(1.0, 1.0) == 0.25
    assert boundary_jump(1.0, 1.0, 3.0) == -0.25
    for function in (normalized_value, gradient_norm_affine):
        assert function(1.0, 1.0, "add_eps") == function(1.0, 1.0, "add_eps", 0.1)
    assert boundary_jump(1.0, 1.0, 2.0, "gran") == boundary_jump(1.0, 1.0, 2.0, "gran", 0.1)
    assert two_piece_gradients(0.8, 1.0, 1.5, 0.3) == two_piece_gradients(0.8, 1.0, 1.5, 0.3, "gn")
    gran = two_piece_gradients(0.8, 1.0, 1.5, 0.3, "gran")
    assert gran == two_piece_gradients(0.8, 1.0, 1.5, 0.3, "gran", 0.1)
    assert gradient_penalty_slopes(1.0) == gradient_penalty_slopes(1.0, 10.0)


def test_eps_of_zero_is_plain_except_for_gran():
    assert normalized_value(3.0, 2.0, "add_eps", 0) == normalized_value(3.0, 2.0, "plain")
    with pytest.raises(ValueError, match=r"^eps must be > 0 for gran, got 0$"):
        normalized_value(3.0, 2.0, "gran", 0)


def test_shapes_broadcast():
    values, norms = np.ones((3, 1)), np.ones(4)
    for mode in OF_VALUE:
        assert gradient_norm_affine(values, norms, mode).shape == (3, 4)
        assert boundary_jump(values, norms, norms, mode).shape == (3, 4)
    for mode in OF_VALUE[1:]:
        assert normalized_value(values, norms, mode).shape == (3, 4)
    assert gradient_norm_affine(values, 2.0, "inner").tolist() == [[1.0]] * 3


# --- the penalty's bias ------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "weight"), [(0.0, 3.0), (1.0, 10.0), (5.0, 10.0), (1.0, 1.0), (3.9, 2.0)])
def test_penalty_slopes_are_the_minima_of_the_loss(shift, weight):
    """Oracle: scipy's bounded minimisation of -aW + λ(|a| - 1)² on either side of 0."""

    def minimum(low: float, high: float) -> float:
        loss = lambda a: -a * shift + weight * (abs(a) - 1) ** 2  # noqa: E731
        return optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x

    right, wrong = gradient_penalty_slopes(shift, weight)
    assert right == pytest.approx(minimum(0, 10), abs=1e-6)
    assert wrong == pytest.approx(minimum(-10, 0), abs=1e-6)


def test_wrong_slope_vanishes_at_a_shift_of_twice_the_weight():
    assert gradient_penalty_slopes(5.0, 2.5) == (2.0, None)
    assert gradient_penalty_slopes(5.0, 2.0) == (2.25, None)
    assert gradient_penalty_slopes(5.0, 2.51)[1] == pytest.approx(-1 + 5 / 5.02, rel=1e-13)


# --- two pieces on the line --------------------------------------------------------------------------


def test_two_piece_critic():
    x = np.array([-2.0, 0.3, 1.3])
    assert two_piece_value(x, 0.8, 1.0, 1.5, 0.3).tolist() == pytest.approx([-1.2, 1.1, 3.6], rel=1e-14)
    assert two_piece_norm(x, 1.0, -3.5, 0.3).tolist() == [1.0, 1.0, 2.5]
    assert two_piece_norm(x, -1.0, 0.25, -5.0).tolist() == [0.75] * 3
    points = np.linspace(-3, 3, 7)
    slopes = (two_piece_value(points + 1e-6, 0.8, -1.0, 3.0, 0.3) - two_piece_value(points, 0.8, -1.0, 3.0, 0.3)) / 1e-6
    np.testing.assert_allclose(np.abs(slopes), two_piece_norm(points, -1.0, 3.0, 0.3), rtol=1e-8)


EXAMPLE = {  # sympy and mpmath, 20 digits: the true derivative, the one of autograd
    "raw": (-0.5731328667, -0.5731328667),
    "plain": (0.02246281152, -0.2292531467),
    "gn": (0.02411192869, -0.05912747548),
    "gran": (-0.009422997029, -0.2256428609),
}


@pytest.mark.parametrize("mode", EXAMPLE)
def test_reference_example(mode):
    assert two_piece_gradients(0.8, 1.0, 1.5, 0.3, mode) == pytest.approx(EXAMPLE[mode], rel=1e-9)


@pytest.mark.parametrize("mode", OF_VALUE)
@pytest.mark.parametrize(
    "numbers",
    [
        (0.8, 1.0, 1.5, 0.3),
        (-1.0, -0.5, 2.0, -0.7),
        (0.5, 2.0, -5.0, 0.4),
        (-3.0, 1.0, 1.0, 0.2),
        (1.0, 1.0, -3.0, -9.0),
    ],
)
def test_gradient_of_the_expectation(mode, numbers):
    """Oracle: a central difference of ∫D̂φ by scipy's quadrature, split at the kink and at the zeros of D."""
    offset, slope, bend, kink = numbers

    def expectation(t: float) -> float:
        def integrand(x: float) -> float:
            D = offset + slope * x + bend * max(x - t, 0)
            return (
                DEFINITIONS[mode](D, abs(slope + bend) if x > t else abs(slope), 0.1)
                * math.exp(-x * x / 2)
                / math.sqrt(2 * math.pi)
            )

        ends = sorted([-9, -2, 0, 2, 9, *np.clip([t, -offset / slope, (bend * t - offset) / (slope + bend)], -9, 9)])
        return sum(integrate.fixed_quad(np.vectorize(integrand), a, b, n=40)[0] for a, b in pairwise(ends))

    h = 1e-4
    due = (expectation(kink + h) - expectation(kink - h)) / (2 * h)
    true, _ = two_piece_gradients(*numbers, mode)
    assert true == pytest.approx(due, rel=1e-6, abs=1e-8)


def test_nothing_is_missed_where_the_normalised_critic_is_continuous():
    for mode in OF_VALUE:
        assert two_piece_gradients(0.8, 1.0, 0.0, 0.3, mode) == (0.0, 0.0)  # no bend
        true, autograd = two_piece_gradients(0.8, 1.0, -2.0, 0.3, mode)  # a reflection
        assert true == autograd != 0
        true, autograd = two_piece_gradients(0.5, 1.0, 1.5, -0.5, mode)  # D = 0 at the kink
        assert true == autograd != 0


@pytest.mark.parametrize("kink", [-1000.0, -45.0, 45.0, 1000.0])
def test_kink_far_out(kink):
    """D = x + relu(x - kink). All mass before the kink: no effect. All after it: D = 2x - kink."""
    true, autograd = two_piece_gradients(0.0, 1.0, 1.0, kink)
    assert true == autograd
    due = -2 / (2 + abs(kink)) ** 2 if kink < 0 else 0.0  # the kink moves D by -1, and D ≈ |kink| where the mass is
    assert autograd == pytest.approx(due, rel=0.02, abs=1e-300)


def test_eps_counts_in_both_terms():
    """gran and add_eps are linear in D inside a piece: both terms in closed form."""
    tail, density = 0.3820885778110474, 0.3813878154605241  # 1 - Φ(0.3), φ(0.3)
    for mode, factor in (("gran", lambda n: n / (n**2 + 0.7)), ("add_eps", lambda n: 1 / (n + 0.7))):
        inside = -1.5 * factor(2.5) * tail
        due = (inside - 1.1 * (factor(2.5) - factor(1)) * density, inside)
        assert two_piece_gradients(0.8, 1.0, 1.5, 0.3, mode, 0.7) == pytest.approx(due, rel=1e-13)


def test_zero_far_out_is_no_obstacle():
    near = two_piece_gradients(1e6, 0.5, 0.5, 0.0)[1]
    assert near == pytest.approx(-0.5 * 0.5 / (1 + 1e6) ** 2, rel=1e-5)


# --- bad input ---------------------------------------------------------------------------------------

POSITIVE = "must be > 0, got"
BAD = [
    (lambda: normalized_value(math.nan, 1.0), "value must be finite, got 1 NaN or infinite value(s)"),
    (lambda: normalized_value(1.0, [1.0, 0.0]), f"grad_norm {POSITIVE} 0.0"),
    (lambda: normalized_value(1.0, math.inf), "grad_norm must be finite, got 1 NaN or infinite value(s)"),
    (lambda: normalized_value(1.0, 1.0, "gp"), f"mode must be one of {tuple(OF_VALUE)}, got 'gp'"),
    (lambda: gradient_norm_affine(1.0, 1.0, "gp"), f"mode must be one of {MODES}, got 'gp'"),
    (lambda: gradient_norm_affine([math.inf, 1.0], 1.0), "value must be finite, got 1 NaN or infinite value(s)"),
    (lambda: gradient_norm_affine(1.0, [-1.0, 2.0, -3.0]), f"grad_norm {POSITIVE} -3.0"),
    (lambda: gradient_norm_affine(1.0, 1.0, "gn", -0.1), "eps must be a finite number >= 0, got -0.1"),
    (lambda: gradient_norm_affine(1.0, 1.0, "gn", math.inf), "eps must be a finite number >= 0, got inf"),
    (lambda: gradient_norm_affine(1.0, 1.0, "gran", 0.0), "eps must be > 0 for gran, got 0.0"),
    (lambda: boundary_jump(math.nan, 1.0, 1.0), "value must be finite, got 1 NaN or infinite value(s)"),
    (lambda: boundary_jump(1.0, 0.0, 1.0), f"n1 {POSITIVE} 0.0"),
    (lambda: boundary_jump(1.0, 1.0, -1.0), f"n2 {POSITIVE} -1.0"),
    (lambda: max_boundary_jump(0.0, 1.0), f"n1 {POSITIVE} 0.0"),
    (lambda: max_boundary_jump(1.0, 0.0), f"n2 {POSITIVE} 0.0"),
    (lambda: gradient_penalty_slopes(-1.0), "shift must be a finite number >= 0, got -1.0"),
    (lambda: gradient_penalty_slopes(math.inf), "shift must be a finite number >= 0, got inf"),
    (lambda: gradient_penalty_slopes(1.0, 0.0), "weight must be a finite number > 0, got 0.0"),
    (lambda: gradient_penalty_slopes(1.0, math.inf), "weight must be a finite number > 0, got inf"),
    (lambda: two_piece_value([math.nan], 1, 1, 1, 1), "x must be finite, got 1 NaN or infinite value(s)"),
    (lambda: two_piece_norm([math.nan], 1, 1, 1), "x must be finite, got 1 NaN or infinite value(s)"),
    (lambda: two_piece_gradients(math.nan, 1, 1, 1), "offset must be a finite number, got nan"),
    (lambda: two_piece_gradients(1, math.nan, 1, 1), "slope must be a finite number, got nan"),
    (lambda: two_piece_gradients(1, 1, 1, math.inf), "kink must be a finite number, got inf"),
    (lambda: two_piece_gradients(1, 1, None, 1), "bend must be a finite number, got None"),
    (lambda: two_piece_gradients(1, 0, 1, 1), f"|slope| {POSITIVE} 0.0"),
    (lambda: two_piece_gradients(1, 1, -1, 1), f"|slope + bend| {POSITIVE} 0.0"),
    (lambda: two_piece_gradients(1, 1, 1, 1, "inner"), f"mode must be one of {tuple(OF_VALUE)}, got 'inner'"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
