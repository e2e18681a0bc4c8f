"""Polynomials in place of e^x, and the finite feature maps that turn them into inner products.

Σ_j a_j (q·k)^j = φ(q)·φ(k) for any coefficients a_j >= 0: every polynomial of degree n lives in the same features, the
monomials of degree <= n; Taylor, limit and Hermite differ in the weights only. Article: Su Jianlin,
https://kexue.fm/archives/8601, sections on Taylor expansion and on the limit. Coefficients run from degree 0 to n.
"""

import math

import numpy as np
from numpy.polynomial import hermite_e
from numpy.typing import ArrayLike
from scipy import optimize, special

from helpers.attention_inputs import MAX_BYTES, Vectors, checked_allocation, checked_vectors
from helpers.inputs import Array, checked_array, checked_integer, checked_number


def taylor_coefficients(order: int) -> Array:
    """a_j = 1/j!: e^x cut after degree n. Article, Taylor section. Returns [order + 1].

    Raises
    ------
    ValueError : order not an integer >= 0.

    >>> taylor_coefficients(2).tolist()
    [1.0, 1.0, 0.5]
    """
    order = checked_integer("order", order, 0)
    return 1 / special.factorial(np.arange(order + 1))


def limit_coefficients(order: int) -> Array:
    """a_j = C(n, j)/n^j, from (1 + x/n)^n -> e^x. Article, section on the limit. Returns [order + 1].

    That is Taylor's 1/j! times Π_{i<j} (1 - i/n) <= 1.

    Raises
    ------
    ValueError : order not an integer >= 1.

    >>> limit_coefficients(2).tolist()
    [1.0, 1.0, 0.25]
    """
    order = checked_integer("order", order, 1)
    steps = (1 - np.arange(order) / order) / np.arange(1, order + 1)
    return np.concatenate([[1.0], np.cumprod(steps)])


def hermite_coefficients(order: int, score_std: float) -> Array:
    """a_j = (1/j!) Σ_{i <= (n-j)/2} (-s²/2)^i/i!: nearest to e^x on average over scores x ~ N(0, s²).

    e^x = e^{s²/2} Σ_k (s^k/k!) He_k(x/s), cut after degree n; e^{s²/2} is left out, it cancels in attention. From
    order 2 on, a coefficient is negative if and only if s² > 2: then there is no real feature map.

    Parameters
    ----------
    order : degree n >= 0.
    score_std : standard deviation s > 0 of the scores.

    Raises
    ------
    ValueError : order or score_std out of range.

    >>> hermite_coefficients(2, 1.0).tolist()  # (1 + x)²/2
    [0.5, 1.0, 0.5]
    """
    order = checked_integer("order", order, 0)
    variance = _checked_std(score_std) ** 2
    i = np.arange(order // 2 + 1)
    sums = np.cumsum((-variance / 2) ** i / special.factorial(i))
    return taylor_coefficients(order) * sums[np.arange(order, -1, -1) // 2]


def shifted_taylor_coefficients(order: int, shift: float) -> Array:
    """Coefficients of e^{-c} T_n(x + c), T_n the Taylor polynomial: positive and rising for all x >= -c.

    a_j = e^{-c} T_{n-j}(c)/j! = P(Poisson(c) <= n - j)/j!.

    Parameters
    ----------
    order : degree n >= 0.
    shift : c >= 0; 0 is Taylor itself.

    Raises
    ------
    ValueError : order or shift out of range.

    >>> shifted_taylor_coefficients(1, 2.0).round(6).tolist()  # (3 + x)/e²
    [0.406006, 0.135335]
    """
    order = checked_integer("order", order, 0)
    shift = checked_number("shift", shift, "finite and >= 0", lambda value: 0 <= value < math.inf)
    return special.gammaincc(np.arange(order + 1, 0, -1), shift) * taylor_coefficients(order)


def poisson_tail(order: int, x: ArrayLike) -> Array | float:
    """P(Poisson(x) > n) = 1 - e^{-x} T_n(x): the relative error of Taylor's order n at a score x >= 0.

    Its square root at x = s² is the relative error, on average over scores N(0, s²), of the best degree n.

    Parameters
    ----------
    order : n >= 0.
    x : >= 0, a number or an array.

    Raises
    ------
    ValueError : order or x out of range.

    >>> round(poisson_tail(2, 1.0), 12)
    0.080301397071
    """
    order = checked_integer("order", order, 0)
    x = np.asarray(x, dtype=np.float64)
    if not ((x >= 0) & np.isfinite(x)).all():
        raise ValueError(f"x must be finite and >= 0, got {x}")
    result = special.gammainc(order + 1, x)
    return result if result.ndim else float(result)


def polynomial_score_error(coefficients: ArrayLike, score_std: float) -> float:
    """Root mean square of p(x) - e^x over scores x ~ N(0, s²), divided by that of e^x.

    From the expansion in Hermite polynomials: Σ_{k<=n} (√k! b_k e^{-s²} - √P(k))² + P(> n), P = Poisson(s²), b_k the
    coefficient of He_k(x/s) in p. Attention ignores a common factor, this does not: multiply `hermite_coefficients` by
    e^{s²/2}, then the sum is zero and only the tail is left.

    Parameters
    ----------
    coefficients : of p, degree 0 first [n + 1].
    score_std : s > 0.

    Raises
    ------
    ValueError : coefficients empty or not finite, score_std out of range.

    >>> round(polynomial_score_error([1.0, 1.0, 0.5], 1.0), 12)
    0.410763132774
    """
    a = checked_array("coefficients", coefficients, 1)
    if a.size == 0:
        raise ValueError("coefficients must have at least one entry, got none")
    s = _checked_std(score_std)
    k = np.arange(len(a))
    log_factorial = special.gammaln(k + 1)
    ours = hermite_e.poly2herme(a * s**k) * np.exp(log_factorial / 2 - s**2)
    exact = np.exp(k * math.log(s) - (log_factorial + s**2) / 2)  # √ of the Poisson probabilities
    return math.sqrt(((ours - exact) ** 2).sum() + poisson_tail(len(a) - 1, s**2))


def taylor_root(order: int) -> float:
    """The only real root of Taylor's polynomial of odd order n: left of it, attention weights are negative.

    The derivative of an odd order is the even one before it, which is positive, hence one root. It is also where the
    even order n + 1 has its minimum. Solves (1/n!) ∫_0^y u^n e^u du = 1 for y = -x, an integral without cancellation.

    Raises
    ------
    ValueError : order not odd and >= 1.

    >>> round(taylor_root(3), 12)
    -1.596071637983
    """
    order = checked_integer("order", order, 1)
    if order % 2 == 0:
        raise ValueError(f"order must be odd (an even order has no real root), got {order}")

    def log_integral(y: float) -> float:
        tail = special.hyp1f1(1, order + 2, -y)
        return (order + 1) * math.log(y) + y - special.gammaln(order + 2) + math.log(tail)

    return -optimize.brentq(log_integral, 0.2 * order, 2.0 * order, xtol=1e-14, rtol=1e-15)


def polynomial_feature_dim(dim: int, order: int, symmetric: bool = True) -> int:
    """Number of features D: C(d+n, n) monomials, or Σ_{j<=n} d^j entries of all tensor powers.

    Raises
    ------
    ValueError : dim not an integer >= 1, order not an integer >= 0.

    >>> polynomial_feature_dim(64, 2), polynomial_feature_dim(64, 2, symmetric=False)
    (2145, 4161)
    """
    dim, order = checked_integer("dim", dim, 1), checked_integer("order", order, 0)
    return math.comb(dim + order, order) if symmetric else sum(dim**j for j in range(order + 1))


def polynomial_feature_map(
    x: ArrayLike, coefficients: ArrayLike, symmetric: bool = True, max_bytes: float = MAX_BYTES
) -> Vectors:
    """Features φ with φ(q)·φ(k) = Σ_j a_j (q·k)^j, exactly.

    All tensor powers √a_j x^{⊗j} one after another (article), or each monomial once with weight √(a_j j!/α!), by the
    multinomial theorem: the same products in about 1/n! of the space. Blocks by degree, each in the order of
    itertools.product or itertools.combinations_with_replacement. Neither scales x: the scores are q·k as they come.

    Parameters
    ----------
    x : vectors (..., d). float32 stays float32.
    coefficients : a_j >= 0, degree 0 first [n + 1].
    symmetric : each monomial once.
    max_bytes : largest result.

    Returns
    -------
    (..., D), D = `polynomial_feature_dim`. For speed its last axis is not the contiguous one.

    Raises
    ------
    ValueError : x empty or not finite, a coefficient negative or not finite, none or more than 171 of them.
    MemoryError : the result would be larger than max_bytes; raised before anything is made.

    >>> polynomial_feature_map([3.0, 4.0], [1.0, 1.0, 0.5]).round(6).tolist()  # 1, a, b, a²/√2, ab, b²/√2
    [1.0, 3.0, 4.0, 6.363961, 12.0, 11.313708]
    """
    x = checked_vectors("x", x)
    a = checked_array("coefficients", coefficients, 1)
    if not 1 <= len(a) <= 171:  # 171! is no float any more
        raise ValueError(f"coefficients must have 1 to 171 entries, got {len(a)}")
    if (a < 0).any():
        degree = int(np.argmin(a))
        raise ValueError(
            f"coefficients must be >= 0, features hold their square roots; got {a[degree]:g} at degree {degree} "
            "(Hermite coefficients turn negative where score_std² > 2)"
        )
    *batch, d = x.shape
    shape = (*batch, polynomial_feature_dim(d, len(a) - 1, symmetric))
    checked_allocation("features", shape, x.dtype, max_bytes)
    columns = np.ascontiguousarray(x.reshape(-1, d).T)  # features first: long products of whole rows, not of short ones
    features = np.empty((shape[-1], columns.shape[1]), dtype=x.dtype)
    (_fill_monomials if symmetric else _fill_tensor_powers)(features, columns, a)
    return features.reshape(shape[-1], *batch).transpose(*range(1, len(shape)), 0)


def _fill_tensor_powers(features: Vectors, columns: Vectors, coefficients: Array) -> None:
    """Rows √a_j x^{⊗j} from columns (d, N), in place."""
    power, end = np.ones_like(features[:1]), 0
    for degree, coefficient in enumerate(coefficients):
        if degree:
            power = (power[:, None] * columns).reshape(-1, columns.shape[1])
        np.multiply(power, math.sqrt(coefficient), out=features[end : end + len(power)])
        end += len(power)


def _fill_monomials(features: Vectors, columns: Vectors, coefficients: Array) -> None:
    """Rows √(a_j j!/α!) x^α from columns (d, N), in place.

    The monomials of degree j whose first factor is x_i are x_i times those of degree j - 1 whose first factor is x_i or
    a later one: a contiguous piece. Only where that first factor is x_i too, its exponent and so α! changes.
    """
    d = len(columns)
    features[0] = 1
    lower, end = features[:1], 1  # the block of one degree less
    starts, exponents = [0] * d + [1], np.zeros(1, dtype=np.int64)  # in it: first row of each x_i; power of that x_i
    for _ in coefficients[1:]:
        block, row, new_starts, new_exponents = features[end:], 0, [], []
        for i, column in enumerate(columns):
            piece = lower[starts[i] :]
            np.multiply(piece, column, out=block[row : row + len(piece)])
            repeated = exponents[starts[i] : starts[i + 1]] + 1
            block[row : row + len(repeated)] /= np.sqrt(repeated)[:, None]
            new_starts.append(row)
            new_exponents += [repeated, np.ones(len(piece) - len(repeated), dtype=np.int64)]
            row += len(piece)
        lower, end = block[:row], end + row
        starts, exponents = [*new_starts, row], np.concatenate(new_exponents)
    end = 0
    for degree, coefficient in enumerate(coefficients):
        start, end = end, end + math.comb(d + degree - 1, degree)
        weight = math.sqrt(coefficient * math.factorial(degree))
        if weight != 1:  # Taylor needs no further pass
            features[start:end] *= weight


def _checked_std(score_std: float) -> float:
    return checked_number("score_std", score_std, "finite and > 0", lambda value: 0 < value < math.inf)
