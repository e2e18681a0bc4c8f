"""Random features: e^{q·k} as the mean of a product of a function of q and a function of k, and how far that mean errs.

With s = |q + k|² and t = |q - k|², w ~ N(0, I): e^{q·k} = E[e^{w·q - |q|²/2} e^{w·k - |k|²/2}] (positive features;
article, first construction; Choromanski et al., arXiv:2009.14794), and likewise with cosh w·(q + k) or cos w·(q - k).
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from helpers.attention_inputs import MAX_BYTES, Vectors, checked_allocation, checked_vectors
from helpers.inputs import Array, checked_array, checked_choice, checked_integer, checked_rows


def gaussian_random_matrix(num_features: int, dim: int, orthogonal: bool = False, *, rng: np.random.Generator) -> Array:
    """Directions w_r ~ N(0, I), one a row [m, d].

    orthogonal: in blocks of d rows they are orthogonal to each other, each row still N(0, I): Haar-distributed
    directions times independent χ_d lengths. Without the signs of R, the Q of a QR decomposition is not Haar (its
    first entry is never positive), and the estimates are biased. Yu et al., arXiv:1610.09072.

    Parameters
    ----------
    num_features, dim : m, d >= 1.
    rng : the generator to draw from.

    Raises
    ------
    ValueError : num_features or dim < 1.
    TypeError : rng is not a NumPy Generator.

    >>> W = gaussian_random_matrix(3, 4, orthogonal=True, rng=np.random.default_rng(0))
    >>> abs(np.triu(W @ W.T, 1)).max().round(12)
    np.float64(0.0)
    """
    m, d = checked_integer("num_features", num_features, 1), checked_integer("dim", dim, 1)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    if not orthogonal:
        return rng.standard_normal((m, d))
    Q, R = np.linalg.qr(rng.standard_normal((-(-m // d), d, d)))
    haar = Q * np.sign(np.diagonal(R, axis1=-2, axis2=-1))[:, None]
    lengths = np.sqrt(rng.chisquare(d, size=m))
    return haar.swapaxes(-2, -1).reshape(-1, d)[:m] * lengths[:, None]


def positive_random_features(x: ArrayLike, projection: ArrayLike, max_bytes: float = MAX_BYTES) -> Vectors:
    """φ(x) = e^{w_r·x - |x|²/2}/√m: all positive, E[φ(q)·φ(k)] = e^{q·k}.

    Parameters
    ----------
    x : vectors (..., d). float32 stays float32.
    projection : w_r, one a row [m, d], as from `gaussian_random_matrix`.
    max_bytes : largest result.

    Returns
    -------
    (..., m).

    Raises
    ------
    ValueError : x or projection empty or not finite, d differs.
    MemoryError : the result would be larger than max_bytes.
    FloatingPointError : a feature overflows.

    >>> positive_random_features([2.0, 0.0], [[1.0, 5.0]]).tolist()  # e^(2 - 2)
    [1.0]
    """
    x, W = _checked_projection(x, projection, 1, max_bytes)
    scores = x @ W.T
    scores -= _half_square(x) + math.log(len(W)) / 2
    return _exp(scores)


def hyperbolic_random_features(x: ArrayLike, projection: ArrayLike, max_bytes: float = MAX_BYTES) -> Vectors:
    """φ(x) = e^{±w_r·x - |x|²/2}/√(2m): the positive features of W and -W together, with less variance.

    Parameters and errors as `positive_random_features`. Returns (..., 2m), first +, then -.

    >>> hyperbolic_random_features([0.0, 0.0], [[1.0, 5.0]]).round(6).tolist()
    [0.707107, 0.707107]
    """
    x, W = _checked_projection(x, projection, 2, max_bytes)
    scores, offset = x @ W.T, _half_square(x) + math.log(2 * len(W)) / 2
    return _exp(np.concatenate([scores - offset, -scores - offset], axis=-1))


def trigonometric_random_features(x: ArrayLike, projection: ArrayLike, max_bytes: float = MAX_BYTES) -> Vectors:
    """φ(x) = e^{|x|²/2} (cos w_r·x, sin w_r·x)/√m: exact for q = k, but a product may come out negative.

    Rahimi & Recht (2007). Parameters and errors as `positive_random_features`. Returns (..., 2m), first all cosines.

    >>> trigonometric_random_features([0.0, 0.0], [[1.0, 5.0]]).tolist()
    [1.0, 0.0]
    """
    x, W = _checked_projection(x, projection, 2, max_bytes)
    scores = x @ W.T
    return np.concatenate([np.cos(scores), np.sin(scores)], axis=-1) * _exp(_half_square(x) - math.log(len(W)) / 2)


def random_feature_relative_variance(
    q: ArrayLike, k: ArrayLike, num_features: int, kind: str = "positive", orthogonal: bool = False
) -> float:
    """Exact variance of φ(q)·φ(k)/e^{q·k}, whose mean is 1; infinite where it exceeds the largest float.

    For m independent rows of the projection: (e^s - 1)/m ("positive"), 2 sinh²(s/2)/m ("hyperbolic"), 2 sinh²(t/2)/m
    ("trigonometric"), with s = |q + k|², t = |q - k|². For orthogonal rows add P/m² (E[e^{(w_i + w_j)·u}]/e^z - 1)
    over the P ordered pairs that share a block, with E[…] = 1F1(d; d/2; z/2), Kummer's function, z = s or -t.

    Parameters
    ----------
    q, k : one query and one key [d].
    num_features : m, the number of rows of the projection; "hyperbolic" and "trigonometric" make two features of each.
    kind : "positive", "hyperbolic" or "trigonometric".
    orthogonal : as in `gaussian_random_matrix`.

    Raises
    ------
    ValueError : shapes that differ, values that are not finite, num_features < 1, another kind.

    >>> round(random_feature_relative_variance([1.0, 0.0], [0.0, 1.0], 10), 12)  # (e² - 1)/10
    0.638905609893
    """
    q, k = checked_array("q", q, 1), checked_array("k", k, 1)
    if q.shape != k.shape or q.size == 0:
        raise ValueError(f"q and k must have the same number of entries, at least 1, got {q.size} and {k.size}")
    m, d = checked_integer("num_features", num_features, 1), q.size
    checked_choice("kind", kind, "positive", "hyperbolic", "trigonometric")
    z = -((q - k) ** 2).sum() if kind == "trigonometric" else ((q + k) ** 2).sum()
    with np.errstate(over="ignore"):
        variance = float(np.expm1(z) if kind == "positive" else 2 * np.sinh(z / 2) ** 2) / m
    if orthogonal and variance < math.inf:
        blocks, rest = divmod(m, d)
        variance += (blocks * d * (d - 1) + rest * (rest - 1)) / m**2 * _block_covariance(d, z)
    return variance


def _block_covariance(d: int, z: float) -> float:
    """1F1(d; d/2; z/2) e^{-z} - 1."""
    if abs(z) > 0.1:  # Kummer's transformation: nothing overflows
        return float(np.exp(-z / 2) * special.hyp1f1(-d / 2, d / 2, -z / 2)) - 1
    k = np.arange(12)  # the first two terms of the difference vanish: sum the rest
    moments = np.cumprod(np.concatenate([[1.0], (d + k[:-1]) / (d + 2 * k[:-1])]))
    return float(((moments - 1)[2:] * z ** k[2:] / special.factorial(k[2:])).sum() * np.exp(-z))


def _checked_projection(x: ArrayLike, projection: ArrayLike, per_row: int, max_bytes: float) -> tuple[Vectors, Vectors]:
    W = checked_rows("projection", projection)
    x = checked_vectors("x", x, width=W.shape[1])
    checked_allocation("features", (*x.shape[:-1], per_row * len(W)), x.dtype, max_bytes)
    return x, W.astype(x.dtype)


def _half_square(x: Vectors) -> Vectors:
    return (x * x).sum(axis=-1, keepdims=True) / 2


def _exp(exponent: Vectors) -> Vectors:
    limit = math.log(np.finfo(exponent.dtype).max)
    if exponent.max() > limit:
        raise FloatingPointError(f"x must give features below e^{limit:.0f}, got e^{exponent.max():.0f}: scale x down")
    return np.exp(exponent, out=exponent)
