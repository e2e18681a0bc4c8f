"""What an activation does to a standard normal: moments, exact gains, stability of the second moment, kernels.

Article: Su Jianlin, https://kexue.fm/archives/8620 (17 Aug 2021). Papers: Klambauer et al. (2017), arXiv:1706.02515
(SELU); Cho & Saul (2009, arc-cosine kernel); Poole et al. (2016), arXiv:1606.05340 (iterated maps of second moments).

z is standard normal. A layer whose input has second moment v gives pre-activations √v z; after the activation f and a
factor g the second moment is g² E f(√v z)². The same factor g² E f'(√v z)² multiplies squared gradients.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from helpers.inputs import Array, checked_integer, checked_number

Activation = Callable[[Array], Array]


def selu_constants() -> tuple[float, float]:
    """(λ, α) of SELU f(x) = λ x for x > 0, λ α (eˣ - 1) else: the solution of E f(z) = 0, E f(z)² = 1.

    α = √(2/π) / (1 - √e erfc(1/√2)); λ then follows from E f² = 1. Article, section on activations.

    >>> [round(value, 12) for value in selu_constants()]
    [1.050700987355, 1.673263242354]
    """
    alpha = math.sqrt(2 / math.pi) / (1 - math.sqrt(math.e) * math.erfc(1 / math.sqrt(2)))
    below = math.e**2 * special.ndtr(-2) - 2 * math.sqrt(math.e) * special.ndtr(-1) + 0.5  # E (e^z - 1)² for z < 0
    return float((0.5 + alpha**2 * below) ** -0.5), alpha


_LAMBDA, _ALPHA = selu_constants()

ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: _LAMBDA * np.where(x > 0, x, _ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x * special.expit(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)),
    "silu": lambda x: x * special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
}


class ActivationMoments(NamedTuple):
    """E f(√v z), E f(√v z)² and E f'(√v z)²."""

    mean: float
    second_moment: float
    derivative_second_moment: float


class Stability(NamedTuple):
    """Slope of v -> g² E f(√v z)² at its fixed point 1, and the factor g² E f'(z)² of squared gradients per layer."""

    slope: float
    backward: float


def activation_moments(f: Activation, variance: float = 1.0, n_nodes: int = 400) -> ActivationMoments:
    """Moments of f(√v z) for z standard normal, to about 1e-13 of E f² (1e-12 for the derivative).

    Gauss-Legendre quadrature on panels that end at 0, at ±1, ±2, ±4, ... and at whole multiples of √v up to ±10 √v, so
    that the kinks of ReLU, SELU, hardtanh, ... lie on ends; f' is that of the polynomials through the nodes of a panel.
    Gauss-Hermite nodes ignore kinks: 200 of them give 0.3998 for the mean of ReLU, 0.3989.

    Parameters
    ----------
    f : elementwise function of an array, smooth except at those ends; `ACTIVATIONS` holds the usual ones.
    variance : v > 0.
    n_nodes : at least 40, of which n_nodes // 20 are in each panel.

    Raises
    ------
    TypeError : f is not callable.
    ValueError : f does not return finite numbers of its input's shape; bad variance or n_nodes.

    >>> [round(moment, 12) for moment in activation_moments(ACTIVATIONS["relu"])]
    [0.398942280401, 0.5, 0.5]
    """
    _, weights, y, slope = _sampled(f, variance, n_nodes)
    return ActivationMoments(*(float(np.sum(weights * values)) for values in (y, y**2, slope**2)))


def gain(f: Activation, center: bool = False) -> float:
    """g with E (g f(z))² = 1; with center, g that makes the variance of g f(z) one (subtract E f(z) first).

    Raises
    ------
    TypeError : f is not callable.
    ValueError : f is constant (0, without center); as in `activation_moments`.

    >>> round(gain(ACTIVATIONS["tanh"]), 12)  # torch.nn.init.calculate_gain says 5/3
    1.592537419723
    """
    return _normalized(f, center)[0]


def fixed_point_stability(f: Activation, center: bool = False) -> Stability:
    """How layers with the exact gain react: does a wrong second moment heal (slope < 1), and what happens to gradients?

    With center, f - E f(z) is looked at; the backward factor is then never below 1 (Gaussian Poincaré inequality:
    Var f(z) <= E f'(z)²), and 1 for a linear f only.

    Raises
    ------
    TypeError, ValueError : as in `gain`.

    >>> [round(value, 9) for value in fixed_point_stability(ACTIVATIONS["gelu"])]
    [1.144063197, 1.072031598]
    """
    g, mean = _normalized(f, center)
    u, weights, y, slope = _sampled(f, 1.0, 400)
    return Stability(float(g**2 * np.sum(weights * (y - mean) * slope * u)), float(g**2 * np.sum(weights * slope**2)))


def moment_map(f: Activation, v: ArrayLike, gain: float) -> Array:
    """gain² E f(√v z)² for each v > 0: the second moment after a layer, given the one before it. Same shape as v.

    Raises
    ------
    TypeError : f is not callable.
    ValueError : v or gain is not a finite number > 0; as in `activation_moments`.

    >>> moment_map(ACTIVATIONS["relu"], [0.5, 2.0], 2**0.5).round(12).tolist()
    [0.5, 2.0]
    """
    g = checked_number("gain", gain, "a finite number > 0", lambda value: 0 < value < math.inf)
    v = np.asarray(v, dtype=np.float64)
    moments = [activation_moments(f, float(value)).second_moment for value in v.flat]
    return g**2 * np.reshape(moments, v.shape)


def gelu_kernel(variance: ArrayLike, correlation: ArrayLike = 1.0) -> tuple[Array, Array]:
    """E f(u)f(v) and E f'(u)f'(v) for f = GELU(x) = x Φ(x) and jointly normal u, v of mean 0, in closed form.

    u and v have the variance a and the correlation r, arrays that broadcast together; r = 1 gives E f², E f'². With
    P = 1/4 + asin(r a/(1+a))/2π, D = (1+a)² - r²a² and Q = 1/(2π√D) they are r a P + a² Q (1 + r²(1-a)/(1+a)) and
    P + 2 r a Q/(1+a) + r a Q/D, by Stein's lemma; they are computed without cancellation, for a up to 1e150. See also
    Tsuchida et al. (2021), arXiv:2002.08517.

    Raises
    ------
    ValueError : variance negative or not finite, correlation outside [-1, 1].

    >>> [round(float(value), 12) for value in gelu_kernel(1.0)]
    [0.42522148257, 0.455850865649]
    """
    a, r = _checked_kernel(variance, correlation)
    c = r * a
    D = (1 + a * (1 + r)) * (1 + a * (1 - r))
    P = np.arctan2(np.sqrt(D), -c) / (2 * math.pi)
    Q = 1 / (2 * math.pi * np.sqrt(D))
    value = c * P + a**2 * Q * (1 + r**2 + a * (1 - r) * (1 + r)) / (1 + a)
    return value, P + 2 * c * Q / (1 + a) + c * Q / D


def relu_kernel(variance: ArrayLike, correlation: ArrayLike = 1.0) -> tuple[Array, Array]:
    """E f(u)f(v) and E f'(u)f'(v) for f = ReLU: the arc-cosine kernels of Cho & Saul (2009), orders 1 and 0.

    With cos θ = r they are a (sin θ + (π - θ) cos θ)/2π and (π - θ)/2π; arguments and errors as in `gelu_kernel`.

    >>> [round(float(value), 12) for value in relu_kernel(2.0, 0.0)]
    [0.318309886184, 0.25]
    """
    a, r = _checked_kernel(variance, correlation)
    angle = np.arccos(r)
    return a * (np.sin(angle) + (math.pi - angle) * r) / (2 * math.pi), (math.pi - angle) / (2 * math.pi)


def _checked_kernel(variance: ArrayLike, correlation: ArrayLike) -> tuple[Array, Array]:
    a, r = np.asarray(variance, dtype=np.float64), np.asarray(correlation, dtype=np.float64)
    if not ((a >= 0) & np.isfinite(a)).all():
        raise ValueError(f"variance must be finite and >= 0, got {variance}")
    if not (np.abs(r) <= 1).all():
        raise ValueError(f"correlation must be in [-1, 1], got {correlation}")
    a, r = np.broadcast_arrays(a, r)
    return a, r


def _normalized(f: Activation, center: bool) -> tuple[float, float]:
    """(gain, what is subtracted from f)."""
    _, weights, y, _ = _sampled(f, 1.0, 400)
    mean = float(np.sum(weights * y)) if center else 0.0
    power, total = np.sum(weights * (y - mean) ** 2), np.sum(weights * y**2)
    if not power > 1e-24 * total:
        raise ValueError(f"f must not be {'constant' if center else 'zero'} almost everywhere, got E f² = {total:g}")
    return float(power**-0.5), mean


def _sampled(f: Activation, variance: float, n_nodes: int) -> tuple[Array, Array, Array, Array]:
    """Nodes u, weights of the density of N(0, variance), f(u) and f'(u), each [panels, nodes per panel]."""
    if not callable(f):
        raise TypeError(f"f must be a function of an array, got {f!r}")
    v = checked_number("variance", variance, "a finite number > 0", lambda value: 0 < value < math.inf)
    x, w, D = _legendre(checked_integer("n_nodes", n_nodes, 40) // 20)
    std = math.sqrt(v)
    doubling = 2.0 ** np.arange(max(0, math.ceil(math.log2(10 * std))))  # 1, 2, 4, ... below 10 std
    half = np.union1d(std * np.arange(11), doubling)
    edges = np.concatenate([-half[:0:-1], half])
    radius, centre = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    u = centre + radius * x
    y = np.asarray(f(u), dtype=np.float64)
    if y.shape != u.shape or not np.isfinite(y).all():
        raise ValueError(f"f must return finite numbers of its input's shape {u.shape}, got shape {y.shape}")
    return u, radius * w * np.exp(-(u**2) / (2 * v)) / math.sqrt(2 * math.pi * v), y, y @ D.T / radius


@lru_cache(maxsize=8)
def _legendre(k: int) -> tuple[Array, Array, Array]:
    """Gauss-Legendre nodes and weights on [-1, 1], and the matrix that differentiates the polynomial through them."""
    x, w = np.polynomial.legendre.leggauss(k)
    barycentric = (-1.0) ** np.arange(k) * np.sqrt((1 - x**2) * w)  # Wang & Xiang (2012), Math. Comp. 81
    gap = x[:, None] - x + np.eye(k)
    D = barycentric / barycentric[:, None] / gap
    np.fill_diagonal(D, 0)
    np.fill_diagonal(D, -D.sum(axis=1))
    return x, w, D
