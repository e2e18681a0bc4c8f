"""How far apart two distributions are: Wasserstein-1 exactly, total variation, maximum mean discrepancy, lost modes.

W₁(p, q) is the least mean distance over which mass must be carried from p to q, and by Kantorovich and Rubinstein the
largest E_p f - E_q f of any f with |f(x) - f(y)| ≤ |x - y|: the number a WGAN's critic is trained to report
(https://arxiv.org/abs/1701.07875). NumPy and SciPy only. Every function raises ValueError for what is not finite, of
another shape, or out of range.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, spatial, special, stats

from helpers.inputs import Array, checked_array, checked_number, checked_rows


def wasserstein1_gaussian_1d(m1: float, s1: float, m2: float, s2: float) -> float:
    """W₁ of N(m1, s1²) and N(m2, s2²): E|m + s z| with m = |m1 - m2|, s = |s1 - s2|, z ~ N(0, 1).

    The quantile functions differ by m + s z, hence s√(2/π) exp(-m²/(2s²)) + m(1 - 2Φ(-m/s)).

    >>> round(wasserstein1_gaussian_1d(0, 1, 1, 2), 6)
    1.166631
    """
    _check_gaussians(m1, s1, m2, s2)
    m, s = abs(m1 - m2), abs(s1 - s2)
    if s == 0:
        return float(m)
    return float(s * math.sqrt(2 / math.pi) * math.exp(-((m / s) ** 2) / 2) + m * special.erf(m / s / math.sqrt(2)))


def total_variation_gaussian_1d(m1: float, s1: float, m2: float, s2: float) -> float:
    """TV = ½∫|p - q| of N(m1, s1²) and N(m2, s2²), exact: the densities cross at the roots of a quadratic.

    2·TV is the supremum of E_p f - E_q f over |f| ≤ 1, hence of the objective of a critic normalised by gn.

    >>> round(total_variation_gaussian_1d(0, 1, 1, 1), 6)
    0.382925
    """
    _check_gaussians(m1, s1, m2, s2)
    if s1 == s2:
        return float(special.erf(abs(m1 - m2) / s1 / math.sqrt(8)))
    if s1 > s2:
        m1, s1, m2, s2 = m2, s2, m1, s1
    # log p - log q = 0 at x = m1 + s1 t, with r = s2/s1 > 1 and d = (m2 - m1)/s1: (r² - 1)t² + 2dt - d² - 2r² log r = 0
    r, d = s2 / s1, (m2 - m1) / s1
    a, c = (r - 1) * (r + 1), d * d + 2 * r * r * math.log(r)
    far = -(abs(d) + math.sqrt(d * d + a * c)) * (1 if d >= 0 else -1)  # the sum without cancellation, then Vieta
    low, high = sorted((far / a, -c / far))
    inside_p = special.ndtr(high) - special.ndtr(low)
    inside_q = special.ndtr((high - d) / r) - special.ndtr((low - d) / r)
    return float(inside_p - inside_q)


def wasserstein1_1d(a: ArrayLike, b: ArrayLike) -> float:
    """W₁ between two samples [n], [m] of numbers, exact: the area between their distribution functions.

    >>> wasserstein1_1d([0.0, 1.0], [2.0])
    1.5
    """
    a, b = checked_array("a", a, 1), checked_array("b", b, 1)
    for name, sample in (("a", a), ("b", b)):
        if not len(sample):
            raise ValueError(f"{name} must hold at least one number, got an empty array")
    return float(stats.wasserstein_distance(a, b))


def wasserstein1_assignment(A: ArrayLike, B: ArrayLike) -> float:
    """W₁ between two samples [n, d] of equal size, exact: the cheapest pairing. O(n³), about 0.1 s at n = 1000.

    >>> wasserstein1_assignment([[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [3.0, 0.0]])
    1.5
    """
    A, B = _two_samples(A, B)
    if len(A) != len(B):
        raise ValueError(f"A and B must have as many rows as each other, got {len(A)} and {len(B)}")
    distances = spatial.distance.cdist(A, B)
    return float(distances[optimize.linear_sum_assignment(distances)].mean())


def maximum_mean_discrepancy(A: ArrayLike, B: ArrayLike, bandwidths: ArrayLike) -> float:
    """Unbiased estimate of the squared MMD between samples [n, d], [m, d]; negative values occur when p = q.

    Kernel: the mean over the bandwidths h of exp(-|a - b|²/(2h²)) (Gretton et al. 2012, equation 3).

    Parameters
    ----------
    A, B : at least 2 rows each. bandwidths : [k], each > 0.

    >>> round(maximum_mean_discrepancy([[0.0], [0.0]], [[2.0], [2.0]], [1.0]), 6)
    1.729329
    """
    A, B = _two_samples(A, B)
    h = checked_array("bandwidths", bandwidths, 1)
    if not len(h) or not (h > 0).all():
        raise ValueError(f"bandwidths must hold at least one number, all > 0, got {h.tolist()}")
    for name, sample in (("A", A), ("B", B)):
        if len(sample) < 2:
            raise ValueError(f"{name} must have at least 2 rows, got {len(sample)}")

    def kernel(X: Array, Y: Array) -> Array:
        squares = spatial.distance.cdist(X, Y, "sqeuclidean")
        return np.mean([np.exp(squares / (-2 * width * width)) for width in h], axis=0)

    def within(X: Array) -> float:
        return (kernel(X, X).sum() - len(X)) / (len(X) * (len(X) - 1))  # less the diagonal, where the kernel is 1

    return float(within(A) + within(B) - 2 * kernel(A, B).mean())


def mode_coverage(
    samples: ArrayLike, centers: ArrayLike, std: float, radius: float = 4.0, share: float = 0.25
) -> tuple[int, float]:
    """Modes that a sample [n, d] of a mixture of Gaussians has, and the fraction of it that lies near any mode.

    A row belongs to its nearest centre if that is within radius·std. A mode is covered by at least share of the n/k
    rows that would be fair among k centres.

    Parameters
    ----------
    centers : [k, d]. std : of each Gaussian, > 0. radius : > 0. share : in (0, 1].

    Returns
    -------
    modes : covered, 0..k. quality : fraction of rows within radius·std, 0..1.

    >>> mode_coverage([[0.0], [0.1], [9.0], [5.0]], [[0.0], [5.0], [7.0]], std=0.1)
    (2, 0.75)
    """
    samples = checked_rows("samples", samples)
    centers = checked_rows("centers", centers, samples.shape[1])
    reach = checked_number("radius", radius, "a finite number > 0", _positive)
    reach *= checked_number("std", std, "a finite number > 0", _positive)
    checked_number("share", share, "in (0, 1]", lambda value: 0 < value <= 1)
    distance, nearest = spatial.KDTree(centers).query(samples)
    near = distance <= reach
    counts = np.bincount(nearest[near])
    return int(np.count_nonzero(counts * len(centers) >= share * len(samples))), float(near.mean())


def _two_samples(A: ArrayLike, B: ArrayLike) -> tuple[Array, Array]:
    A = checked_rows("A", A)
    return A, checked_rows("B", B, A.shape[1])


def _check_gaussians(m1: float, s1: float, m2: float, s2: float) -> None:
    for name, mean in (("m1", m1), ("m2", m2)):
        checked_number(name, mean, "a finite number", math.isfinite)
    for name, std in (("s1", s1), ("s2", s2)):
        checked_number(name, std, "a finite number > 0", _positive)


def _positive(value: float) -> bool:
    return 0 < value < math.inf
