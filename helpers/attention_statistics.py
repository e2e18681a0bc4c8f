"""Softmax attention over n keys at random logits: entropy, and how much of the gradient the softmax lets through.

Article: Su Jianlin, https://kexue.fm/archives/8620 (17 Aug 2021), section on the factor 1/√d of Vaswani et al. (2017).
With queries and keys of unit variance in d dimensions the logits are about s g, g standard normal, s = √d before and 1
after the division. The Jacobian of p = softmax(z) is diag(p) - pp', its trace 1 - Σp² is 0 for a one-hot p.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from helpers.inputs import Array, checked_array, checked_integer, checked_number, checked_rows


def attention_weights(q: ArrayLike, k: ArrayLike, scale: str | float | None = "sqrt") -> Array:
    """softmax(scale q k') over the keys: rows [n, m] of queries q [n, d] and keys k [m, d], each summing to 1.

    Parameters
    ----------
    scale : "sqrt" for 1/√d, None for 1, or the factor itself.

    Raises
    ------
    ValueError : bad shapes, different d, a scale that is none of these.

    >>> attention_weights([[0.0, 0.0]], [[1.0, 0.0], [0.0, 5.0]]).tolist()
    [[0.5, 0.5]]
    """
    q, k = checked_rows("q", q), checked_rows("k", k)
    if q.shape[1] != k.shape[1]:
        raise ValueError(f"k must have as many columns as q ({q.shape[1]}), got {k.shape[1]}")
    if scale is None or scale == "sqrt":
        factor = 1.0 if scale is None else q.shape[1] ** -0.5
    else:
        factor = checked_number("scale", scale, "'sqrt', None or a finite number", math.isfinite)
    return special.softmax(factor * (q @ k.T), axis=1)


def attention_entropy(p: ArrayLike) -> Array:
    """-Σ p log p in nats over the last axis: p [..., n] gives [...]; from 0 (one-hot) to log n (uniform).

    Raises
    ------
    ValueError : p negative or not summing to 1 within 1e-6 over the last axis.

    >>> attention_entropy([[1.0, 0.0], [0.5, 0.5]]).round(6).tolist()
    [0.0, 0.693147]
    """
    return special.entr(_checked_distribution(p)).sum(axis=-1)


def softmax_jacobian(p: ArrayLike) -> Array:
    """diag(p) - pp' [n, n], the derivative of p = softmax(z) [n] with respect to z.

    Raises
    ------
    ValueError : p not one-dimensional, negative or not summing to 1 within 1e-6.

    >>> softmax_jacobian([0.5, 0.5]).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    p = _checked_distribution(checked_array("p", p, 1))
    return np.diag(p) - np.outer(p, p)


def expected_softmax_statistics(n: int, std: float) -> tuple[float, float, float]:
    """Exact E log Σ exp(z), E entropy and E (1 - Σp²) for n independent logits z = std g, p = softmax(z).

    Adding independent standard Gumbel noise to the logits and taking the largest draws from the softmax, whatever s.
    E log Σ is the mean of that largest value and E entropy the mean of the winner's noise, both less Euler's γ, since
    the noise is independent of log Σ. With F(s) = E log Σ exp(s g), Stein's lemma gives E (1 - Σp²) = F'(s)/s and
    E entropy = F - s F'. The integrals over the density of the largest are computed to about 1e-12.

    F is convex and F' below E max of n normals (`expected_maximum`), so E (1 - Σp²) <= E max / s.

    Parameters
    ----------
    n : number of keys, >= 1.
    std : s >= 0, the standard deviation of the logits.

    Raises
    ------
    ValueError : n no integer >= 1, std not finite or negative.

    >>> [round(value, 6) for value in expected_softmax_statistics(128, 8.0)]
    [21.064055, 0.65757, 0.318851]
    """
    n = checked_integer("n", n, 1)
    s = checked_number("std", std, "a finite number >= 0", lambda value: 0 <= value < math.inf)
    # All integrals by the trapezoidal rule, whose error falls exponentially in width/step for these analytic densities.
    spread = math.sqrt(2 * math.log(n))
    step = 0.25 * max(1, s / (1 + spread))  # the largest of n has a density of about this width
    x = np.arange(-9 * s - 6, (9 + spread) * s + math.log(n) + 44, step)
    if s <= 1:  # over g, a Gaussian that is wide in comparison
        g = np.arange(-9, 9.25, 0.25)
        weight = 0.25 * np.exp(-(g**2) / 2) / math.sqrt(2 * math.pi)
        t = np.exp(-np.subtract.outer(x, s * g))
        largest = step * n * (np.exp(-t) @ weight) ** (n - 1)
        logsumexp = float(largest @ (x * ((t * np.exp(-t)) @ weight))) - np.euler_gamma
        trace = 1 - float(largest @ ((t**2 * np.exp(-t)) @ weight))
        return logsumexp, logsumexp - s**2 * trace, trace
    y = np.arange(-6, 44.25, 0.25)  # over the noise of the winner
    weight = 0.25 * np.exp(-y - np.exp(-y))
    z = np.subtract.outer(x, y) / s
    bell = np.exp(-(z**2) / 2) / (s * math.sqrt(2 * math.pi))
    largest = step * n * (special.ndtr(z) @ weight) ** (n - 1)
    logsumexp = float(largest @ (x * (bell @ weight))) - np.euler_gamma
    entropy = float(largest @ (bell @ (y * weight))) - np.euler_gamma
    return logsumexp, entropy, (logsumexp - entropy) / s**2


def expected_maximum(n: int) -> float:
    """Mean of the largest of n independent standard normals, the limit of F'(s) for large s.

    >>> round(expected_maximum(2) * math.pi**0.5, 12), round(expected_maximum(128), 9)
    (1.0, 2.594597369)
    """
    n = checked_integer("n", n, 1)
    x = np.arange(-9, 9.05, 0.05) + math.sqrt(2 * math.log(n))
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return float(0.05 * np.sum(x * n * density * special.ndtr(x) ** (n - 1)))


def _checked_distribution(p: ArrayLike) -> Array:
    p = np.asarray(p, dtype=np.float64)
    if p.ndim == 0 or p.size == 0:
        raise ValueError(f"p must have at least one entry along its last axis, got shape {p.shape}")
    if not (p >= 0).all():
        raise ValueError(f"p must be >= 0, got {p.min()}")
    error = np.abs(p.sum(axis=-1) - 1).max()
    if not error <= 1e-6:
        raise ValueError(f"p must sum to 1 within 1e-6 over its last axis, got an error of {error:g}")
    return p
