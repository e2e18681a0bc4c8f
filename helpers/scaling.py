"""One number per weight matrix: which average of fan_in and fan_out its variance should be the inverse of.

Article: Su Jianlin, https://kexue.fm/archives/8725 (18 Oct 2021; only its beginning was at hand). The geometric mean:
Defazio & Bottou (2019), arXiv:1906.04267. A layer y_j = Σ_i x_i w_ij has m = fan_in inputs and n = fan_out outputs;
with independent weights of mean 0 and variance v the second moment is multiplied by a = m v forward and by b = n v
backward. Mode names follow jax.nn.initializers.variance_scaling where that has them: v is gain² over the mean named.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from helpers.inputs import Array, checked_integer, checked_number

_VARIANCES = {
    "fan_in": lambda m, n: 1 / m,
    "fan_out": lambda m, n: 1 / n,
    "fan_avg": lambda m, n: 2 / (m + n),
    "fan_geo_avg": lambda m, n: 1 / math.sqrt(m * n),
    "fan_harmonic": lambda m, n: (1 / m + 1 / n) / 2,
    "quadratic": lambda m, n: (m + n) / (m**2 + n**2),
    "reciprocal_quadratic": lambda m, n: (m / n + n / m) / (m + n),
    "wasserstein": lambda m, n: (math.sqrt(m) + math.sqrt(n)) ** 2 / (m + n) ** 2,
    "max": lambda m, n: 1 / max(m, n),
    "min": lambda m, n: 1 / min(m, n),
    "isometry": lambda m, n: 1 / (m + n + 1),
}
_LOSSES = {
    "fan_avg": lambda a: (a - np.log(a) - 1) / 2,
    "fan_geo_avg": lambda a: np.log(a) ** 2,
    "fan_harmonic": lambda a: (1 / a + np.log(a) - 1) / 2,
    "quadratic": lambda a: (a - 1) ** 2,
    "reciprocal_quadratic": lambda a: (1 / a - 1) ** 2,
    "wasserstein": lambda a: (np.sqrt(a) - 1) ** 2,
    "max": lambda a: np.abs(a - 1),
    "min": lambda a: np.abs(1 / a - 1),
}
MODES = tuple(_VARIANCES)


def init_variance(fan_in: int, fan_out: int, mode: str = "fan_in", gain: float = 1.0) -> float:
    """Variance of the weights of a dense layer with fan_in inputs and fan_out outputs: gain² times the rule of `mode`.

    ======================  =========================  ==========================================================
    mode                    variance (gain 1)          what it minimises, summed over the gains a = m v, b = n v
    ======================  =========================  ==========================================================
    "fan_in"                1/m                        keeps the second moment forward (LeCun; He with gain √2)
    "fan_out"               1/n                        keeps it backward
    "fan_avg"               2/(m + n)                  Kullback-Leibler of N(0, a) from N(0, 1) (Glorot, "Xavier")
    "fan_geo_avg"           1/√(m n)                   (log a)²
    "fan_harmonic"          (1/m + 1/n)/2              Kullback-Leibler the other way round
    "quadratic"             (m + n)/(m² + n²)          (a - 1)²
    "reciprocal_quadratic"  (m² + n²)/(m n (m + n))    (1/a - 1)²
    "wasserstein"           (√m + √n)²/(m + n)²        squared Wasserstein distance, (√a - 1)²
    "max", "min"            1/max(m, n), 1/min(m, n)   |a - 1|, |1/a - 1|; "max" is what `orthogonal_` has
    "isometry"              1/(m + n + 1)              E|W'W - I|² and E|WW' - I|² of Gaussian W (Frobenius norm)
    ======================  =========================  ==========================================================

    Raises
    ------
    ValueError : a fan that is no integer >= 1, an unknown mode, gain <= 0.

    >>> init_variance(64, 256), init_variance(64, 256, "fan_geo_avg"), init_variance(64, 256, "fan_avg")
    (0.015625, 0.0078125, 0.00625)
    """
    m, n = checked_integer("fan_in", fan_in, 1), checked_integer("fan_out", fan_out, 1)
    return variance_of_fans(m, n, mode, gain)


def variance_of_fans(m: float, n: float, mode: str, gain: float = 1.0) -> float:
    """`init_variance` for fans that need not be whole, such as those of `conv_fans` with a stride."""
    if mode not in _VARIANCES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    gain = checked_number("gain", gain, "a finite number > 0", lambda value: 0 < value < math.inf)
    return gain**2 * _VARIANCES[mode](m, n)


def gain_loss(gains: ArrayLike, mode: str) -> Array:
    """The loss of one gain whose sum over a = m v and b = n v `init_variance(m, n, mode)` makes smallest.

    It is 0 at gain 1 and applied elementwise to `gains` > 0. The modes "fan_in" and "fan_out" look at one gain only,
    "isometry" at the whole matrix: they have none.

    Raises
    ------
    ValueError : gains that are not finite numbers > 0, a mode without such a loss.

    >>> gain_loss([0.5, 1.0, 2.0], "quadratic").tolist()
    [0.25, 0.0, 1.0]
    """
    if mode not in _LOSSES:
        raise ValueError(f"mode must be one of {tuple(_LOSSES)}, got {mode!r}")
    a = np.asarray(gains, dtype=np.float64)
    if not ((a > 0) & np.isfinite(a)).all():
        raise ValueError(f"gains must be finite numbers > 0, got {gains}")
    return _LOSSES[mode](a)


def weighted_geometric_variance(fan_in: int, fan_out: int, alpha: float) -> float:
    """v = m^(α-1) n^(-α), the schemes whose forward and backward gains depend on the two ends of a chain alone.

    Through widths n_0, ..., n_L they are (n_0/n_L)^α and (n_L/n_0)^(1-α): fan_in is α = 0, the geometric mean 1/2 (the
    only symmetric one), fan_out 1.

    Raises
    ------
    ValueError : a fan that is no integer >= 1, alpha outside [0, 1].

    >>> weighted_geometric_variance(64, 256, 0.5), weighted_geometric_variance(64, 256, 1.0)
    (0.0078125, 0.00390625)
    """
    m, n = checked_integer("fan_in", fan_in, 1), checked_integer("fan_out", fan_out, 1)
    alpha = checked_number("alpha", alpha, "in [0, 1]", lambda value: 0 <= value <= 1)
    return 1 / (m ** (1 - alpha) * n**alpha)


def power_mean_variance(fan_in: int, fan_out: int, p: float) -> float:
    """v = 1/M_p(m, n) with the power mean M_p = ((m^p + n^p)/2)^(1/p).

    p = 1 is fan_avg, 0 (the limit) the geometric mean, -1 fan_harmonic, +inf and -inf the modes "max" and "min".
    Beside the geometric mean, log v changes by -p t²/8 + p³t⁴/192 - ... with t = log(n/m).

    Raises
    ------
    ValueError : a fan that is no integer >= 1, p not a number.

    >>> [power_mean_variance(64, 256, p) for p in (1, 0, -1)]
    [0.00625, 0.0078125, 0.009765625]
    """
    m, n = checked_integer("fan_in", fan_in, 1), checked_integer("fan_out", fan_out, 1)
    p = checked_number("p", p, "a number or ±inf", lambda value: not math.isnan(value))
    if math.isinf(p):
        return 1 / (max(m, n) if p > 0 else min(m, n))
    # M_p = √(mn) cosh(p t/2)^(1/p): near p = 0 the definition itself loses all digits
    u = p * math.log(n / m) / 2
    log_cosh = math.log1p(2 * math.sinh(u / 2) ** 2) if abs(u) < 30 else abs(u) - math.log(2)
    return 1 / (math.sqrt(m * n) * math.exp(log_cosh / p if p else 0.0))


def conv_fans(
    weight: ArrayLike, stride: int | Sequence[int] = 1, groups: int = 1, transposed: bool = False
) -> tuple[float, float]:
    """Numbers of terms in an output and in an input gradient of a dense or convolutional layer, away from the border.

    Fans are averages over positions and need not be whole: with stride s an input reaches only one output in s per
    axis. torch.nn.init reads the shape alone: fan_out is too large by the product of the strides and by groups, and for
    transposed convolutions, whose weight is laid out the other way round, the two are exchanged as well.

    Parameters
    ----------
    weight : tensor or array in torch's layout, [out, in] or [out, in/groups, *kernel]; transposed
        [in, out/groups, *kernel]. Its shape alone is used.
    stride : one number, or one per axis of the kernel.
    groups : of channels that do not see each other.
    transposed : True for torch.nn.ConvTranspose.

    Raises
    ------
    ValueError : fewer than two dimensions, an empty one; stride or groups no integers >= 1; a dense layer with them.

    >>> conv_fans(np.empty((64, 16, 3, 3)), stride=2)  # torch: 144, 576
    (144.0, 144.0)
    """
    shape = tuple(np.shape(weight))
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"weight must have at least two dimensions and no empty one, got shape {shape}")
    kernel = shape[2:]
    steps = (stride,) * len(kernel) if not isinstance(stride, Sequence) else tuple(stride)
    groups = checked_integer("groups", groups, 1)
    if len(steps) != len(kernel):
        raise ValueError(f"stride must have {len(kernel)} entries, one per axis of the kernel, got {len(steps)}")
    if not kernel and (stride not in (1, ()) or groups != 1 or transposed):
        raise ValueError("weight must have kernel dimensions for a stride, groups or transposed, got a dense layer")
    if shape[0] % groups:
        raise ValueError(f"groups must divide the first dimension of weight, {shape[0]}, got {groups}")
    positions = math.prod(kernel)
    thinning = math.prod(checked_integer("stride", step, 1) for step in steps)
    # the layout is [A, B/groups, *kernel]: a B side sees A/groups channels, thinned out by the stride
    fan_a, fan_b = shape[0] / groups * positions / thinning, float(shape[1] * positions)
    return (fan_a, fan_b) if transposed else (fan_b, fan_a)
