"""What an attention matrix can express: ranks, and the singular values of softmax attention over Gaussian tokens.

Spectrum: Mehler's formula, applied to e^{q·k} over q, k ~ N(0, σ²I), σ² = β/√d, as the number of tokens grows.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from helpers.inputs import Array, checked_integer, checked_number, checked_rows


def numerical_rank(a: ArrayLike, rtol: float) -> int:
    """Number of singular values above rtol times the largest.

    A tolerance at rounding level, NumPy's default, measures the precision of floats and not what the matrix expresses.

    Parameters
    ----------
    a : matrix [n, m].
    rtol : in [0, 1).

    Raises
    ------
    ValueError : a empty or not finite, rtol out of range.

    >>> numerical_rank([[1.0, 0.0], [0.0, 0.001]], rtol=0.01)
    1
    """
    rtol = checked_number("rtol", rtol, "in [0, 1)", lambda value: 0 <= value < 1)
    values = np.linalg.svd(checked_rows("a", a), compute_uv=False)
    return int(np.count_nonzero(values > rtol * values[0]))


def effective_rank(a: ArrayLike) -> float:
    """e^H, H the entropy of the singular values divided by their sum. Roy & Vetterli (2007).

    Parameters
    ----------
    a : matrix [n, m], not all zero.

    Raises
    ------
    ValueError : a empty, not finite or all zero.

    >>> round(effective_rank(np.eye(3)), 12)
    3.0
    """
    values = np.linalg.svd(checked_rows("a", a), compute_uv=False)
    if values[0] == 0:
        raise ValueError("a must have an entry other than 0, got none")
    return float(np.exp(special.entr(values / values.sum()).sum()))


class Spectrum(NamedTuple):
    """Singular values, descending, and how often each occurs; level j belongs to the monomials of degree j."""

    values: Array
    multiplicities: NDArray[np.int64]


def softmax_attention_spectrum(dim: int, beta: float, num_levels: int, normalized: bool = True) -> Spectrum:
    """Singular values of softmax attention over N -> ∞ tokens q, k ~ N(0, I), scores β q·k/√d.

    s_0^d ρ^j, C(d + j - 1, j) times: a staircase with steps as wide as the blocks of the Taylor features. ρ + 1/ρ =
    √(σ^{-4} + 2), s_0 = √(ρ/σ²), σ² = β/√d. For normalized=False, of the matrix e^{q·k}/N, ρ + 1/ρ = σ^{-2}.

    Parameters
    ----------
    dim : d >= 1.
    beta : inverse temperature β > 0.
    num_levels : how many distinct values, from the largest down, >= 1.
    normalized : rows divided by their sums.

    Raises
    ------
    ValueError : dim, num_levels < 1; β/√d >= 1/√2 (normalized=False: 1/2), where no such limit exists; a
        multiplicity of 2^63 or more.

    >>> values, multiplicities = softmax_attention_spectrum(16, 1.0, 3)
    >>> values.round(4).tolist(), multiplicities.tolist()
    ([1.0158, 0.2545, 0.0637], [1, 16, 136])
    """
    d, levels = checked_integer("dim", dim, 1), checked_integer("num_levels", num_levels, 1)
    beta = checked_number("beta", beta, "finite and > 0", lambda value: 0 < value < math.inf)
    variance = beta / math.sqrt(d)
    name, bound = ("1/√2", math.sqrt(0.5)) if normalized else ("1/2", 0.5)
    if variance >= bound:
        raise ValueError(f"beta must keep beta/√dim below {name}, where the limit ends, got {variance:g}")
    total = math.sqrt(variance**-2 + 2) if normalized else 1 / variance
    rho = 2 / (total + math.sqrt(total**2 - 4))  # the smaller root of ρ + 1/ρ = total
    counts = [math.comb(d + j - 1, j) for j in range(levels)]
    if counts[-1] >= 2**63:
        raise ValueError(f"num_levels must keep the multiplicities below 2^63, got {counts[-1]} at level {levels - 1}")
    return Spectrum((rho / variance) ** (d / 2) * rho ** np.arange(levels), np.array(counts, dtype=np.int64))


def score_degree_energy(score_std: float, max_degree: int) -> Array:
    """Share of each degree k in E[e^{2x}], x ~ N(0, s²): the Poisson probabilities of mean s² [max_degree + 1].

    What degrees above n hold is lost by every feature map of order n: see `poisson_tail`.

    Parameters
    ----------
    score_std : s > 0.
    max_degree : >= 0.

    Raises
    ------
    ValueError : score_std or max_degree out of range.

    >>> score_degree_energy(1.0, 2).round(6).tolist()
    [0.367879, 0.367879, 0.18394]
    """
    s = checked_number("score_std", score_std, "finite and > 0", lambda value: 0 < value < math.inf)
    k = np.arange(checked_integer("max_degree", max_degree, 0) + 1)
    return np.exp(2 * k * math.log(s) - s**2 - special.gammaln(k + 1))
