"""Moments, gains and kernels against reference values (mpmath, 40 digits), SciPy quadrature and torch."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch.nn import functional as F

from helpers.initialization import (
    ACTIVATIONS,
    activation_moments,
    fixed_point_stability,
    gain,
    gelu_kernel,
    moment_map,
    relu_kernel,
    selu_constants,
)

quick = settings(max_examples=20, deadline=None, derandomize=True)
TORCH = {
    "linear": lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "relu_squared": lambda x: F.relu(x) ** 2,
}
# E f, E f², gain, E f'², slope of the map at 1, backward factor
REFERENCE = {
    "relu": (0.398942280401433, 0.5, 1.41421356237309505, 0.5, 1, 1),
    "leaky_relu": (0.394952857597418, 0.50005, 1.41414285699783545, 0.50005, 1, 1),
    "elu": (0.160520572266556, 0.644945417492923863, 1.24519830070070655, 0.66810200122317, 0.890967972, 1.0359047186),
    "selu": (0, 1, 1, 1.07157499245580, 0.782647883, 1.0715749925),
    "gelu": (0.282094791773878, 0.425221482570298675, 1.53353044119553524, 0.45585086564929, 1.144063197, 1.0720315984),
    "gelu_tanh": (0.282038588078789, 0.425193711033099451, None, 0.45581784596295, None, None),
    "silu": (0.206620964141907, 0.355775519817352156, 1.67653247033109116, 0.37948235163283, 1.172594054, 1.0666342413),
    "mish": (0.240403888374791, 0.452342192375882771, 1.48684758127320810, 0.47908375837397, 1.076338816, 1.0591180006),
    "tanh": (0, 0.394294490397841174, 1.59253741972283143, 0.46440290244827, 0.461070830, 1.1778072323),
    "sigmoid": (0.5, 0.293379035858092963, 1.84622854533860541, 0.04483624135019, 0.106341075, 0.1528270117),
    "softplus": (
        0.80605918334744,
        0.921245908859300279,
        1.04186683553530171,
        0.29337903585809,
        0.492053172,
        0.3184589837,
    ),
    "softsign": (0, 0.183014021266547499, 2.33753336310853966, 0.22767134042218, None, None),
    "hardtanh": (0, 0.516058550961713300, 1.39203614044831, 0.68268949213709, None, None),
    "relu_squared": (0.5, 1.5, 0.81649658092772603, 2, None, None),
}


def test_activations_and_their_slopes_are_those_of_torch():
    assert set(ACTIVATIONS) == set(TORCH)
    x = torch.linspace(-9, 9, 10_000, dtype=torch.float64)
    for name, f in ACTIVATIONS.items():
        np.testing.assert_allclose(f(x.numpy()), TORCH[name](x).numpy(), rtol=1e-10, atol=1e-12)
        for v in (0.3, 1.0, 20.0):
            z = (math.sqrt(v) * x).requires_grad_()
            (slope,) = torch.autograd.grad(TORCH[name](z).sum(), z)
            weight = torch.exp(-(x**2) / 2)
            riemann = float((slope**2 * weight).sum() / weight.sum())
            assert activation_moments(f, v).derivative_second_moment == pytest.approx(riemann, rel=2e-3)
    assert np.isfinite([f(np.array([-800.0, 800.0])) for f in ACTIVATIONS.values()]).all()


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_moments(name):
    f, (mean, second, g, derivative, slope, backward) = ACTIVATIONS[name], REFERENCE[name]
    moments = activation_moments(f)
    assert moments.mean == pytest.approx(mean, rel=1e-13, abs=1e-14)
    assert moments.second_moment == pytest.approx(second, rel=1e-13)
    assert moments.derivative_second_moment == pytest.approx(derivative, rel=1e-12)
    assert gain(f) == pytest.approx(g or second**-0.5, rel=1e-13)
    stability = fixed_point_stability(f)
    assert stability.backward == pytest.approx(backward or derivative / second, rel=1e-9)
    if slope is not None:
        assert stability.slope == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("variance", [0.02, 3.0, 900.0])
def test_moments_at_other_variances(name, variance):
    """Oracle: SciPy's adaptive quadrature, told where the kinks are."""
    f, std = ACTIVATIONS[name], math.sqrt(variance)

    def expected(power: int) -> float:
        def integrand(u: float) -> float:
            return float(f(np.float64(u))) ** power * math.exp(-(u**2) / (2 * variance)) / math.sqrt(2 * math.pi) / std

        knots = sorted({-10 * std, 0.0, 10 * std} | {k for k in (-5.0, -1.0, 1.0, 5.0) if abs(k) < 10 * std})
        return sum(integrate.quad(integrand, *ends, epsabs=0, epsrel=1e-11)[0] for ends in pairwise(knots))

    moments = activation_moments(f, variance)
    assert moments.second_moment == pytest.approx(expected(2), rel=1e-9)
    assert moments.mean == pytest.approx(expected(1), rel=1e-9, abs=1e-9 * std)


@quick
@given(slopes=st.tuples(st.floats(-2, 2), st.floats(-2, 2)), shift=st.floats(-1, 1), v=st.floats(1e-6, 1e6))
def test_moments_of_a_kinked_line_in_closed_form(slopes, shift, v):
    """f = shift + a x for x < 0, shift + b x above: E f = shift + (b-a)√(v/2π), E f'² = (a² + b²)/2."""
    a, b = slopes
    moments = activation_moments(lambda x: shift + np.where(x < 0, a, b) * x, v)
    half = math.sqrt(v / (2 * math.pi))
    assert moments.mean == pytest.approx(shift + (b - a) * half, rel=1e-11, abs=1e-12 * (1 + half))
    second = shift**2 + 2 * shift * (b - a) * half + (a**2 + b**2) * v / 2
    assert moments.second_moment == pytest.approx(second, rel=1e-11, abs=1e-12 * (1 + v))
    noise = 1e-24 * shift**2 / v  # differences of f lose the digits of its constant part
    assert moments.derivative_second_moment == pytest.approx((a**2 + b**2) / 2, rel=1e-10, abs=1e-20 + noise)


def test_number_of_nodes():
    reference = activation_moments(np.tanh)
    errors = [
        abs(activation_moments(np.tanh, n_nodes=n).second_moment / reference.second_moment - 1) for n in (40, 100)
    ]
    assert errors[1] < errors[0] / 10
    assert activation_moments(np.tanh, n_nodes=419) == reference
    assert activation_moments(np.tanh, n_nodes=420) != reference
    seen = []
    activation_moments(lambda x: seen.append(x.shape) or x, 1.0, 40)
    assert seen == [(20, 2)]
    activation_moments(lambda x: seen.append((x.shape, x.min(), x.max())) or x, 4.0, 40)
    shape, low, high = seen[-1]
    assert shape == (22, 2)  # ends at whole multiples of 2 up to 20, and at 1 (4, 8, 16 are among them)
    assert -20 < low < -18
    assert 18 < high < 20


def test_gain_of_centred_activations():
    assert gain(ACTIVATIONS["sigmoid"], center=True) == pytest.approx(4.801313372039962, rel=1e-12)
    assert fixed_point_stability(ACTIVATIONS["sigmoid"], center=True).backward == pytest.approx(1.03359239, rel=1e-9)
    assert gain(lambda x: x + 7, center=True) == pytest.approx(1, rel=1e-12)
    assert gain(lambda x: 0 * x + 7) == pytest.approx(1 / 7, rel=1e-12)
    assert gain(lambda x: 1e-20 * x) == pytest.approx(1e20, rel=1e-12)
    for f in ACTIVATIONS.values():  # Gaussian Poincaré inequality
        assert fixed_point_stability(f, center=True).backward >= 1 - 1e-12
    assert fixed_point_stability(lambda x: 3 * x + 1, center=True) == pytest.approx((1, 1), rel=1e-12)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "tanh", "sigmoid", "selu", "relu_squared"])
def test_slope_is_the_derivative_of_the_map(name, center):
    f = ACTIVATIONS[name]
    shift = activation_moments(f).mean if center else 0.0

    def shifted(x):
        return f(x) - shift

    g = gain(f, center)
    low, fixed, high = moment_map(shifted, [1 - 1e-4, 1.0, 1 + 1e-4], g)
    assert fixed == pytest.approx(1, rel=1e-12)
    assert fixed_point_stability(f, center).slope == pytest.approx((high - low) / 2e-4, rel=1e-6)


def test_moment_map_keeps_the_shape_and_is_the_scaled_moment():
    v = np.array([[0.2, 1.0, 5.0]])
    out = moment_map(ACTIVATIONS["gelu"], v, 1.5)
    assert out.shape == (1, 3)
    np.testing.assert_allclose(out, 2.25 * gelu_kernel(v)[0], rtol=1e-12)
    np.testing.assert_allclose(moment_map(ACTIVATIONS["relu"], v, 2**0.5), v, rtol=1e-12)  # neutral
    assert moment_map(np.tanh, 0.5, 1.0).shape == ()
    single = np.float32([0.3])  # counts with the value that it has
    assert moment_map(np.tanh, single, 1.0)[0] == activation_moments(np.tanh, float(single[0])).second_moment


def test_selu_constants_solve_their_equations():
    with mpmath.workdps(30):
        root = mpmath.sqrt(mpmath.e)
        tail, far = (mpmath.erfc(k / mpmath.sqrt(2)) for k in (1, 2))
        alpha = mpmath.sqrt(2 / mpmath.pi) / (1 - root * tail)
        scale = (0.5 + alpha**2 * (mpmath.e**2 * far / 2 - root * tail + 0.5)) ** -0.5
        assert mpmath.almosteq(alpha, mpmath.mpf("1.67326324235437728481704299167"), 1e-28)
        assert mpmath.almosteq(scale, mpmath.mpf("1.05070098735548049341933498529"), 1e-28)
    assert selu_constants() == pytest.approx((float(scale), float(alpha)), rel=1e-14)


def test_exact_gains_beside_those_of_torch():
    for name in ("linear", "relu", "leaky_relu"):
        assert torch.nn.init.calculate_gain(name) == pytest.approx(gain(ACTIVATIONS[name]), rel=1e-9)
    assert torch.nn.init.calculate_gain("tanh") == pytest.approx(1.6667, abs=1e-4)
    assert gain(np.tanh) == pytest.approx(1.5925, abs=1e-4)
    assert torch.nn.init.calculate_gain("selu") == 0.75
    assert torch.nn.init.calculate_gain("sigmoid") == 1
    with pytest.raises(ValueError, match="gelu"):
        torch.nn.init.calculate_gain("gelu")


# --- kernels --------------------------------------------------------------------------------------


def gauss_hermite(f, a: float, r: float, nodes: int = 80) -> float:
    z, w = np.polynomial.hermite_e.hermegauss(nodes)
    u = math.sqrt(a) * z[:, None]
    v = math.sqrt(a) * (r * z[:, None] + math.sqrt(1 - r**2) * z)
    return float(np.einsum("i,j,ij->", w, w, f(u) * f(v)) / (2 * math.pi))


def gelu_slope(x):
    return torch.autograd.functional.jvp(F.gelu, torch.from_numpy(x), torch.ones_like(torch.from_numpy(x)))[1].numpy()


@pytest.mark.parametrize("a", [0.05, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("r", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_gelu_kernel_against_two_dimensional_quadrature(a, r):
    value, slope = gelu_kernel(a, r)
    assert value == pytest.approx(gauss_hermite(ACTIVATIONS["gelu"], a, r), abs=1e-9)
    assert slope == pytest.approx(gauss_hermite(gelu_slope, a, r), abs=1e-8)


def test_gelu_kernel_on_the_diagonal_and_at_the_ends():
    a = np.array([1e-9, 0.3, 1.0, 8.0, 1e6])
    value, slope = gelu_kernel(a)
    q = 0.25 + np.arcsin(a / (1 + a)) / (2 * np.pi) + a / (np.pi * (1 + a) * np.sqrt(1 + 2 * a))
    np.testing.assert_allclose(value, a * q, rtol=1e-13)
    np.testing.assert_allclose(slope, q + a / (2 * np.pi * (1 + 2 * a) ** 1.5), rtol=1e-12)
    assert gelu_kernel(1.0)[0] == pytest.approx(1 / 3 + 1 / (2 * math.pi * math.sqrt(3)), rel=1e-15)
    assert gelu_kernel(1.0)[0] == pytest.approx(0.425221482570298675, rel=1e-15)
    assert gelu_kernel(0.0) == (0.0, 0.25)
    moments = activation_moments(ACTIVATIONS["gelu"], 0.7)
    assert gelu_kernel(0.7) == pytest.approx((moments.second_moment, moments.derivative_second_moment), rel=1e-12)
    small = 1e-4  # a/4 + 3a²/2π
    assert gelu_kernel(small)[0] == pytest.approx(small / 4 + 3 * small**2 / (2 * math.pi), rel=1e-7)
    gelu = ACTIVATIONS["gelu"]  # u = -v: a single integral
    opposite = integrate.quad(lambda z: float(gelu(z) * gelu(-z)) * math.exp(-(z**2) / 2), -12, 12)[0]
    assert gelu_kernel(1.0, -1.0)[0] == pytest.approx(opposite / math.sqrt(2 * math.pi), rel=1e-9)


@pytest.mark.parametrize("a", [1e-30, 3.0, 1e8, 1e20, 1e120])
@pytest.mark.parametrize("r", [-1.0, -0.999999, 0.0, 0.5, 1 - 1e-12, 1.0])
def test_gelu_kernel_keeps_its_digits(a, r):
    """Oracle: the formulas of the docstring in mpmath."""
    with mpmath.workdps(300):
        a_, r_ = mpmath.mpf(a), mpmath.mpf(r)
        P = mpmath.mpf(1) / 4 + mpmath.asin(r_ * a_ / (1 + a_)) / (2 * mpmath.pi)
        D = (1 + a_) ** 2 - r_**2 * a_**2
        Q = 1 / (2 * mpmath.pi * mpmath.sqrt(D))
        value = r_ * a_ * P + a_**2 * Q * (1 + r_**2 * (1 - a_) / (1 + a_))
        slope = P + 2 * r_ * a_ * Q / (1 + a_) + r_ * a_ * Q / D
        # opposite signs at large variance leave little of either: then digits of the parts count
        expected, parts = (float(value), float(slope)), (float(a_ * abs(P)), 0.25)
    for ours, exact, part in zip(gelu_kernel(a, r), expected, parts, strict=True):
        assert ours == pytest.approx(exact, rel=1e-13, abs=1e-15 * part + 1e-300)


@pytest.mark.parametrize("r", [-1.0, -0.6, 0.0, 0.4, 1.0])
def test_relu_kernel_against_quadrature_over_the_angle(r):
    """u = √a cos φ ρ, v = √a cos(φ - θ) ρ with E ρ² = 2: both integrals are over the angle φ."""
    theta = math.acos(r)
    both = np.linspace(-np.pi, np.pi, 200_001)[:-1] + 1e-9
    u, v = np.cos(both), np.cos(both - theta)
    positive = (u > 0) & (v > 0)
    value, slope = relu_kernel(3.0, r)
    assert value == pytest.approx(3.0 * 2 * np.mean(np.where(positive, u * v, 0)), abs=1e-4)
    assert slope == pytest.approx(positive.mean(), abs=1e-4)


def test_kernels_broadcast():
    for kernel in (gelu_kernel, relu_kernel):
        value, slope = kernel([[0.5], [2.0]], [0.0, 0.5, 1.0])
        assert value.shape == slope.shape == (2, 3)
        assert value[1, 1] == kernel(2.0, 0.5)[0]
        assert slope[0, 2] == kernel(0.5)[1]
        assert kernel([0.5, 2.0])[1].shape == (2,)
        assert kernel(np.float32([0.5]), np.float32([0.3]))[0].dtype == np.float64
