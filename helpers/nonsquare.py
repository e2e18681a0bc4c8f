"""Chains of layers of unequal width: what a choice of variances does to the second moment, forward and backward.

Article: Su Jianlin, https://kexue.fm/archives/8725 (18 Oct 2021; only its beginning was at hand). Papers: Defazio &
Bottou (2019), arXiv:1906.04267; Marchenko & Pastur (1967, singular values). Widths n_0, ..., n_L; layer l maps
n_{l-1} inputs to n_l outputs and has independent weights of mean 0 and variance v_l, no biases. Whatever the scheme,
the forward gain Π n_{l-1} v_l over the backward gain Π n_l v_l is n_0/n_L. Second moments are means over coordinates.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from helpers.inputs import Array, checked_choice, checked_integer, checked_number
from helpers.scaling import init_variance

Scheme = str | Callable[[int, int], float]
"""A mode of `init_variance`, or a function of (fan_in, fan_out), such as a weighted geometric mean."""


def second_moment_gains(widths: Sequence[int], mode: Scheme, activation: str = "linear") -> tuple[Array, Array]:
    """Exact expected second moments along a chain: (E h_l²/E h_0², E g_l²/E g_L²), l = 0..L, each [L + 1].

    h_l is the output of layer l, g_l the gradient with respect to it, for a random g_L that is independent of the
    weights. With "relu" all layers but the last are followed by a ReLU and have twice the variance of the scheme: the
    two factors cancel, and the numbers are those of "linear".

    Parameters
    ----------
    widths : n_0, ..., n_L, at least two.
    mode : mode of `init_variance`, or a function (fan_in, fan_out) -> variance.
    activation : "linear" or "relu".

    Raises
    ------
    ValueError : fewer than two widths, a width that is no integer >= 1, unknown mode or activation, a variance <= 0.

    >>> [gains.tolist() for gains in second_moment_gains([64, 256, 64], "fan_geo_avg")]
    [[1.0, 0.5, 1.0], [1.0, 0.5, 1.0]]
    """
    n, v = _layers(widths, mode)
    checked_choice("activation", activation, "linear", "relu")
    forward = np.concatenate([[1.0], np.cumprod(n[:-1] * v)])
    backward = np.concatenate([np.cumprod((n[1:] * v)[::-1])[::-1], [1.0]])
    return forward, backward


def relative_gradient_profile(widths: Sequence[int], mode: Scheme, activation: str = "linear") -> Array:
    """E (dE/dw)²/E w² for each layer, per sample, at unit second moments of input and top gradient: [L].

    It measures how far one step of gradient descent moves a layer relative to its weights. The geometric mean makes it
    √(n_0 n_L) in every layer of a linear chain. ReLU, as in `second_moment_gains`, divides all but the last by 4.

    Raises
    ------
    ValueError : as in `second_moment_gains`.

    >>> relative_gradient_profile([100, 300, 50, 200, 10], "fan_geo_avg").round(6).tolist()
    [31.622777, 31.622777, 31.622777, 31.622777]
    """
    forward, backward = second_moment_gains(widths, mode, activation)
    _, v = _layers(widths, mode)
    profile = forward[:-1] * backward[1:] / v
    profile[:-1] /= 1 if activation == "linear" else 4
    return profile


def log_gain_moments(widths: Sequence[int], mode: Scheme) -> tuple[float, float]:
    """Exact mean and variance of log(|h_L|²/n_L) - log(|h_0|²/n_0) for a linear chain with Gaussian weights.

    A layer multiplies |h|²/n by n_{l-1} v_l χ²/n_l, χ² having n_l degrees of freedom and being independent of h. The
    mean log is below the log of the mean gain: narrow layers make the typical signal smaller than the average one.

    Raises
    ------
    ValueError : as in `second_moment_gains`.

    >>> [round(moment, 6) for moment in log_gain_moments([64] + [16, 64] * 5, "fan_geo_avg")]
    [-0.397532, 0.824402]
    """
    n, v = _layers(widths, mode)
    half = n[1:] / 2
    mean = np.sum(np.log(n[:-1] * v) + special.digamma(half) - np.log(half))
    return float(mean), float(np.sum(special.polygamma(1, half)))


def simulate_second_moments(
    widths: Sequence[int],
    mode: Scheme,
    activation: str = "linear",
    batch: int = 16,
    seeds: int = 20,
    generator: np.random.Generator | None = None,
    orthogonal: bool = False,
) -> tuple[Array, Array]:
    """Measured counterparts of `second_moment_gains` for `seeds` draws of the weights: two arrays [seeds, L + 1].

    Each draw has its own Gaussian weights, inputs [batch, n_0] and top gradients [batch, n_L], drawn in an order that
    depends on widths and batch alone: schemes can be compared on the same draws.

    Parameters
    ----------
    widths, mode, activation : as in `second_moment_gains`.
    generator : source of the randomness; None takes fresh entropy.
    orthogonal : semi-orthogonal weights, scaled to the variance of the scheme. Mode "max" then is
        torch.nn.init.orthogonal_, "fan_geo_avg" its repair.

    Raises
    ------
    ValueError : as in `second_moment_gains`; batch or seeds no integer >= 1.

    >>> forward, backward = simulate_second_moments([4, 8], "max", generator=np.random.default_rng(0), orthogonal=True)
    >>> forward.shape, forward[0].round(12).tolist()  # 8 coordinates share the |h|² of 4
    ((20, 2), [1.0, 0.5])
    """
    n, v = _layers(widths, mode)
    checked_choice("activation", activation, "linear", "relu")
    batch, seeds = checked_integer("batch", batch, 1), checked_integer("seeds", seeds, 1)
    rng = np.random.default_rng() if generator is None else generator
    if activation == "relu":
        v[:-1] *= 2
    forward, backward = np.empty((seeds, len(n))), np.empty((seeds, len(n)))
    for s in range(seeds):
        h, g = rng.standard_normal((batch, n[0])), rng.standard_normal((batch, n[-1]))
        draws = [rng.standard_normal(shape) for shape in pairwise(n)]
        if orthogonal:
            draws = [semi_orthogonal(W) * math.sqrt(max(W.shape)) for W in draws]
        weights = [math.sqrt(value) * W for value, W in zip(v, draws, strict=True)]
        alive, signals, gradients = [], [h], [g]
        for layer, W in enumerate(weights, start=1):
            h = h @ W
            alive.append(h > 0 if activation == "relu" and layer < len(weights) else np.True_)
            h = h * alive[-1]
            signals.append(h)
        for W, mask in zip(weights[::-1], alive[::-1], strict=True):
            gradients.append((gradients[-1] * mask) @ W.T)
        forward[s] = [np.mean(signal**2) for signal in signals]
        backward[s] = [np.mean(gradient**2) for gradient in gradients[::-1]]
    return forward / forward[:, :1], backward / backward[:, -1:]


def semi_orthogonal(G: Array) -> Array:
    """The matrix with orthonormal rows or columns, whichever are fewer, that Gram and Schmidt make of Gaussian G.

    It is uniformly distributed (Mezzadri 2007, arXiv:math-ph/0609050): signs are fixed by a positive diagonal of R.
    """
    tall = G if G.shape[0] >= G.shape[1] else G.T
    Q, R = np.linalg.qr(tall)
    Q = Q * np.sign(np.diag(R))
    return Q if G.shape[0] >= G.shape[1] else Q.T


def marchenko_pastur_edges(fan_in: int, fan_out: int, variance: float) -> tuple[float, float]:
    """√v (√M ∓ √k) with M = max, k = min of the fans: where the singular values of a large random matrix lie.

    Their ratio, the condition number, does not depend on the variance.

    Raises
    ------
    ValueError : a fan that is no integer >= 1, variance <= 0.

    >>> marchenko_pastur_edges(64, 256, 1.0)
    (8.0, 24.0)
    """
    M, k, std = _spectrum(fan_in, fan_out, variance)
    return std * (math.sqrt(M) - math.sqrt(k)), std * (math.sqrt(M) + math.sqrt(k))


def singular_value_density(s: ArrayLike, fan_in: int, fan_out: int, variance: float) -> Array:
    """Limiting density of the min(fan_in, fan_out) singular values at s, an array of any shape; 0 outside the edges.

    √((hi² - s²)(s² - lo²))/(π v k s); its mean of s² is M v. Square matrices: a quarter of a circle, from s = 0 on.

    Raises
    ------
    ValueError : s negative or not finite; as in `marchenko_pastur_edges`.

    >>> singular_value_density([0.0, 1.0, 3.0], 100, 100, 0.01).round(6).tolist()
    [0.63662, 0.551329, 0.0]
    """
    _, k, std = _spectrum(fan_in, fan_out, variance)
    low, high = marchenko_pastur_edges(fan_in, fan_out, variance)
    s = np.asarray(s, dtype=np.float64)
    if not ((s >= 0) & np.isfinite(s)).all():
        raise ValueError(f"s must be finite and >= 0, got {s}")
    if low == 0:
        return np.sqrt(np.maximum(high**2 - s**2, 0)) / (math.pi * std**2 * k)
    inside = (low < s) & (s < high)
    t = np.where(inside, s, high)
    return np.sqrt((high**2 - t**2) * (t**2 - low**2)) / (math.pi * std**2 * k * t)


def _layers(widths: Sequence[int], mode: Scheme) -> tuple[np.ndarray, Array]:
    """Widths [L + 1] and variances of the scheme [L]."""
    n = [checked_integer("widths", width, 1) for width in widths]
    if len(n) < 2:
        raise ValueError(f"widths must hold at least two numbers, got {len(n)}")
    scheme = mode if callable(mode) else lambda fan_in, fan_out: init_variance(fan_in, fan_out, mode)
    v = [
        checked_number("the variance of mode", scheme(*fans), "a finite number > 0", lambda value: 0 < value < math.inf)
        for fans in pairwise(n)
    ]
    return np.array(n), np.array(v)


def _spectrum(fan_in: int, fan_out: int, variance: float) -> tuple[int, int, float]:
    m, n = checked_integer("fan_in", fan_in, 1), checked_integer("fan_out", fan_out, 1)
    v = checked_number("variance", variance, "a finite number > 0", lambda value: 0 < value < math.inf)
    return max(m, n), min(m, n), math.sqrt(v)
