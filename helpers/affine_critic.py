"""Gradient normalisation on one affine piece of a critic, in closed form: local norms, jumps, what autograd misses.

Article: Su Jianlin, https://kexue.fm/archives/8757. Papers: GN (Wu et al. 2021), https://arxiv.org/abs/2109.02235;
GraN (Bhaskara et al. 2022), https://arxiv.org/abs/2111.03162; gradient penalty (Gulrajani et al. 2017),
https://arxiv.org/abs/1704.00028.

On a piece where the critic is D = ⟨g, x⟩ + b the norm n = |g| is constant, and D̂ is a function of D alone:

    raw D · plain D/n · gn D/(n + |D|) · gran D n/(n² + ε) · add_eps D/(n + ε)

All functions broadcast over arrays and return float64. They raise ValueError for what is not finite, a norm ≤ 0, an
unknown mode, ε < 0 and, for gran, ε = 0.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate, special

from helpers.inputs import Array, checked_choice, checked_number

MODES = ("raw", "gn", "gran", "plain", "add_eps", "inner")
"""The ways to rewrite a critic; inner, ⟨g/n, x⟩, is not a function of D and n."""
_FAR = 39.0  # beyond it the normal density underflows


def normalized_value(value: ArrayLike, grad_norm: ArrayLike, mode: str = "gn", eps: float = 0.1) -> Array:
    """D̂ from the value D and the gradient norm n > 0 of the critic (article, the formulas for D̂).

    gn is the softsign of s = D/n, the signed distance to where the piece is zero: D̂ = s/(1 + |s|).

    >>> normalized_value(5.0, 5.0, "gn").item()
    0.5
    """
    check_mode(mode, eps, *MODES[:-1])
    return _normalized(_finite("value", value), _positive("grad_norm", grad_norm), mode, eps)


def gradient_norm_affine(value: ArrayLike, grad_norm: ArrayLike, mode: str = "gn", eps: float = 0.1) -> Array:
    """|∇D̂| inside an affine piece: plain and inner 1, gn (n/(n + |D|))², gran n²/(n² + ε), add_eps n/(n + ε), raw n.

    gn reaches 1 only where D = 0, gran nowhere.

    >>> gradient_norm_affine(5.0, 5.0, "gn").item()
    0.25
    """
    check_mode(mode, eps, *MODES)
    value, n = np.broadcast_arrays(_finite("value", value), _positive("grad_norm", grad_norm))
    return n * slope_factor(value, n, mode, eps)


def boundary_jump(value: ArrayLike, n1: ArrayLike, n2: ArrayLike, mode: str = "gn", eps: float = 0.1) -> Array:
    """Jump of D̂ where two pieces of norms n1, n2 meet at the common value D: D̂ on the side of n2 less D̂ on that of n1.

    plain D(1/n2 - 1/n1), unbounded in D; gn D(n1 - n2)/((n1 + |D|)(n2 + |D|)), below `max_boundary_jump`; all jumps are
    0 where D = 0 or n1 = n2 (the gradient of one side is the mirror image of the other).

    >>> round(boundary_jump(1.1, 1.0, 2.5, "plain").item(), 12)
    -0.66
    """
    check_mode(mode, eps, *MODES[:-1])
    value, n1, n2 = _finite("value", value), _positive("n1", n1), _positive("n2", n2)
    if mode == "gn":  # the difference of the two values would lose the digits of a small jump
        return value * (n1 - n2) / ((n1 + np.abs(value)) * (n2 + np.abs(value)))
    return _normalized(value, n2, mode, eps) - _normalized(value, n1, mode, eps)


def max_boundary_jump(n1: ArrayLike, n2: ArrayLike) -> Array:
    """Largest |jump| of gn between pieces of norms n1, n2: tanh(¼|ln(n2/n1)|) < 1, at |D| = √(n1 n2).

    >>> round(max_boundary_jump(1.0, 4.0).item(), 12)
    0.333333333333
    """
    return np.tanh(np.abs(np.log(_positive("n2", n2)) - np.log(_positive("n1", n1))) / 4)


def gradient_penalty_slopes(shift: float, weight: float = 10.0) -> tuple[float, float | None]:
    """Where a straight critic of slope a ends under -aW + λ(|a| - 1)², two-sided penalty, data shifted by W.

    Returns the minimum 1 + W/(2λ), so that W(1 + W/(2λ)) is what the critic reports, and the second, local minimum
    -1 + W/(2λ) of the wrong sign, None where it has vanished (2λ ≤ W). The one-sided penalty has the first alone.

    Parameters
    ----------
    shift : W ≥ 0. weight : λ > 0.

    >>> gradient_penalty_slopes(5.0, weight=10.0)
    (1.25, -0.75)
    """
    excess = checked_number("shift", shift, "a finite number >= 0", lambda value: 0 <= value < math.inf) / (
        2 * checked_number("weight", weight, "a finite number > 0", lambda value: 0 < value < math.inf)
    )
    return 1 + excess, excess - 1 if excess < 1 else None


def two_piece_value(x: ArrayLike, offset: float, slope: float, bend: float, kink: float) -> Array:
    """D(x) = offset + slope·x + bend·relu(x - kink), the smallest critic with a boundary.

    >>> round(two_piece_value(0.3, 0.8, 1.0, 1.5, 0.3).item(), 12)
    1.1
    """
    x = _finite("x", x)
    return offset + slope * x + bend * np.maximum(x - kink, 0)


def two_piece_norm(x: ArrayLike, slope: float, bend: float, kink: float) -> Array:
    """|D'(x)| of `two_piece_value`: |slope| up to the kink, |slope + bend| after it.

    >>> two_piece_norm([0.0, 1.0], 1.0, 1.5, 0.3).tolist()
    [1.0, 2.5]
    """
    return np.where(_finite("x", x) > kink, abs(slope + bend), abs(slope))


def two_piece_gradients(
    offset: float, slope: float, bend: float, kink: float, mode: str = "gn", eps: float = 0.1
) -> tuple[float, float]:
    """dE[D̂(x)]/dkink for x ~ N(0, 1) and D of `two_piece_value`: the true derivative, and the one autograd averages.

    Autograd differentiates inside the pieces. When the kink moves, the jump there sweeps over mass as well (Leibniz):
    true = autograd + (D̂ before - D̂ after)(kink)·φ(kink). The second term vanishes only for a continuous D̂.

    Raises
    ------
    ValueError : a number that is not finite, slope = 0 or slope + bend = 0 (no gradient), mode inner.

    >>> print(*(f"{each:.4f}" for each in two_piece_gradients(0.8, 1.0, 1.5, 0.3, "gn")))
    0.0241 -0.0591
    """
    check_mode(mode, eps, *MODES[:-1])
    numbers = {"offset": offset, "slope": slope, "bend": bend, "kink": kink}
    for name, number in numbers.items():
        checked_number(name, number, "a finite number", math.isfinite)
    n1, n2 = _positive("|slope|", abs(slope)), _positive("|slope + bend|", abs(slope + bend))
    if mode == "gn":
        zero = kink - (offset + slope * kink) / (slope + bend)  # of D after the kink: |D| bends there
        low = min(max(kink, -_FAR), _FAR)
        ends = [low, *(end for end in sorted((-6.0, 0.0, 6.0, zero)) if low < end < _FAR), _FAR]

        def integrand(x: float) -> float:
            return slope_factor(offset + slope * x + bend * (x - kink), n2, mode, eps) * _density(x)

        mean = sum(integrate.quad(integrand, a, b)[0] for a, b in pairwise(ends))
    else:
        mean = slope_factor(0.0, n2, mode, eps) * special.ndtr(-kink)
    inside = -bend * mean
    jump = boundary_jump(offset + slope * kink, n1, n2, mode, eps)
    return float(inside - jump * _density(kink)), float(inside)


def check_mode(mode: str, eps: float, *modes: str) -> None:
    """Raises ValueError unless mode is one of modes and eps is finite and ≥ 0 (gran: > 0)."""
    checked_choice("mode", mode, *modes)
    checked_number("eps", eps, "a finite number >= 0", lambda value: 0 <= value < math.inf)
    if mode == "gran":
        checked_number("eps", eps, "> 0 for gran", lambda value: value > 0)


def slope_factor(value, n, mode: str, eps: float):
    """dD̂/dD at constant n, unchecked, of arrays and tensors: ∇D̂ = slope_factor·g (gn n/(n + |D|)², raw 1, …)."""
    if mode == "gn":
        return n / (n + abs(value)) ** 2
    if mode == "gran":
        return n / (n * n + eps)
    if mode == "add_eps":
        return 1 / (n + eps)
    return 1 / n if mode in ("plain", "inner") else 0 * n + 1


def _normalized(value: Array, n: Array, mode: str, eps: float) -> Array:
    return value / (n + abs(value)) if mode == "gn" else value * slope_factor(value, n, mode, eps)


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _finite(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {np.count_nonzero(~np.isfinite(array))} NaN or infinite value(s)")
    return array


def _positive(name: str, value: ArrayLike) -> Array:
    array = _finite(name, value)
    if not (array > 0).all():
        raise ValueError(f"{name} must be > 0, got {array.min()}")
    return array
