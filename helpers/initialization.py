"""Initial weights: laws with a given standard deviation, and everything that decides which one it should be.

Articles: Su Jianlin, https://kexue.fm/archives/8620 (17 Aug 2021, initialisation of Transformers) and
https://kexue.fm/archives/8725 (18 Oct 2021, matrices that are not square). Sampling stands here; the rules for the
variance are in `helpers.scaling`, chains of layers in `helpers.nonsquare`, moments of activations in
`helpers.activations`, softmax at random logits in `helpers.attention_statistics`, all under this one name.

Dense weights are laid out [fan_in, fan_out], y = x W, as in the articles; torch has the transpose.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from helpers.activations import (
    ACTIVATIONS,
    Activation,
    ActivationMoments,
    Stability,
    activation_moments,
    fixed_point_stability,
    gain,
    gelu_kernel,
    moment_map,
    relu_kernel,
    selu_constants,
)
from helpers.attention_statistics import (
    attention_entropy,
    attention_weights,
    expected_maximum,
    expected_softmax_statistics,
    softmax_jacobian,
)
from helpers.inputs import Array, checked_choice, checked_number
from helpers.nonsquare import (
    log_gain_moments,
    marchenko_pastur_edges,
    relative_gradient_profile,
    second_moment_gains,
    semi_orthogonal,
    simulate_second_moments,
    singular_value_density,
)
from helpers.scaling import (
    MODES,
    conv_fans,
    gain_loss,
    init_variance,
    power_mean_variance,
    variance_of_fans,
    weighted_geometric_variance,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = [  # the whole subject of the articles, under one name
    "ACTIVATIONS",
    "MODES",
    "Activation",
    "ActivationMoments",
    "Stability",
    "activation_moments",
    "attention_entropy",
    "attention_weights",
    "conv_fans",
    "expected_maximum",
    "expected_softmax_statistics",
    "fixed_point_stability",
    "gain",
    "gain_loss",
    "gelu_kernel",
    "geometric_",
    "init_variance",
    "log_gain_moments",
    "marchenko_pastur_edges",
    "moment_map",
    "power_mean_variance",
    "relative_gradient_profile",
    "relu_kernel",
    "sample_weight",
    "scaled_orthogonal_",
    "second_moment_gains",
    "selu_constants",
    "semi_orthogonal",
    "simulate_second_moments",
    "singular_value_density",
    "softmax_jacobian",
    "truncated_normal",
    "truncated_normal_variance",
    "weighted_geometric_variance",
]


def truncated_normal_variance(cutoff: float = 2.0) -> float:
    """γ = Var z given |z| <= cutoff for a standard normal z: 1 - 2c φ(c)/(2Φ(c) - 1).

    Written as a quotient of incomplete gamma functions, it keeps its digits for small cuts, where it is about c²/3.
    Article 8620, section on sampling.

    Raises
    ------
    ValueError : cutoff not a finite number > 0.

    >>> round(truncated_normal_variance(), 12), round(truncated_normal_variance() ** -0.5, 12)
    (0.77374130355, 1.136847234339)
    """
    c = checked_number("cutoff", cutoff, "a finite number > 0", lambda value: 0 < value < math.inf)
    if c < 1e-8:  # the first term is all of it, and below c² would underflow
        return c**2 / 3
    return float(special.gammainc(1.5, c**2 / 2) / special.gammainc(0.5, c**2 / 2))


def truncated_normal(
    shape: int | tuple[int, ...],
    std: float = 1.0,
    cutoff: float = 2.0,
    rescale: bool = False,
    rng: np.random.Generator | None = None,
) -> Array:
    """Normal numbers of standard deviation `std`, redrawn until none exceeds cutoff standard deviations.

    What is left has the standard deviation √γ std (γ: `truncated_normal_variance`), 0.88 std at the usual cut of 2;
    rescale=True divides by √γ, so that it is std, and the largest number possible is cutoff std/√γ. Sampled by
    inverting the distribution function, which has the same result as redrawing.

    Parameters
    ----------
    rng : source of the randomness; None takes fresh entropy.

    Raises
    ------
    ValueError : std not finite or negative, cutoff not a finite number > 0.

    >>> x = truncated_normal(100_000, std=0.02, rng=np.random.default_rng(0))
    >>> round(float(x.std()), 4), bool(abs(x).max() <= 0.04)
    (0.0176, True)
    """
    std = checked_number("std", std, "a finite number >= 0", lambda value: 0 <= value < math.inf)
    gamma = truncated_normal_variance(cutoff)
    u = (np.random.default_rng() if rng is None else rng).uniform(-1, 1, shape)
    # the clip only catches rounding: erfinv is infinite at -1, which u has once in 2^53 draws
    z = np.clip(math.sqrt(2) * special.erfinv(u * special.erf(cutoff / math.sqrt(2))), -cutoff, cutoff)
    return std / math.sqrt(gamma) * z if rescale else std * z


def sample_weight(
    shape: tuple[int, int],
    distribution: str = "normal",
    mode: str = "fan_in",
    gain: float = 1.0,
    cutoff: float = 2.0,
    rng: np.random.Generator | None = None,
) -> Array:
    """Weights [fan_in, fan_out] of mean 0 and variance `init_variance(fan_in, fan_out, mode, gain)`, for y = x W.

    The three laws of article 8620; each has exactly this variance: "uniform" lies within √3 standard deviations,
    "truncated_normal" is rescaled, as in jax.nn.initializers. torch.nn.Linear keeps the transpose of W.

    Raises
    ------
    ValueError : shape not two numbers, unknown distribution; as in `init_variance` and `truncated_normal`.

    >>> sample_weight((2, 3), "uniform", rng=np.random.default_rng(0)).shape
    (2, 3)
    """
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape must be (fan_in, fan_out), got {shape!r}")
    checked_choice("distribution", distribution, "normal", "uniform", "truncated_normal")
    std = math.sqrt(init_variance(*shape, mode, gain))
    rng = np.random.default_rng() if rng is None else rng
    if distribution == "truncated_normal":
        return truncated_normal(tuple(shape), std, cutoff, rescale=True, rng=rng)
    if distribution == "uniform":
        return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)
    return std * rng.standard_normal(shape)


def geometric_(
    tensor: "Tensor",
    gain: float = 1.0,
    generator: "Generator | None" = None,
    stride: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> "Tensor":
    """Fill a torch weight in place with N(0, gain²/√(fan_in fan_out)), fans by `conv_fans`; returns it.

    torch.nn.init has no such rule, and its fans know neither stride nor groups. Transposed convolutions need no word:
    there the two fans change places.

    Raises
    ------
    ValueError : fewer than two dimensions; as in `conv_fans` and `init_variance`.

    >>> import torch
    >>> round(float(geometric_(torch.empty(256, 64), generator=torch.Generator().manual_seed(0)).std()), 2)
    0.09
    """
    std = math.sqrt(variance_of_fans(*conv_fans(tensor, stride, groups), "fan_geo_avg", gain))
    tensor.detach().normal_(0, std, generator=generator)  # detached, it shares the memory and needs no torch.no_grad
    return tensor


def scaled_orthogonal_(tensor: "Tensor", mode: str = "fan_geo_avg", generator: "Generator | None" = None) -> "Tensor":
    """Fill a torch weight in place with a multiple of a semi-orthogonal matrix that has the variance of `mode`.

    torch.nn.init.orthogonal_ has entries of variance 1/max, the smallest of all rules: it loses 3/4 of the signal from
    64 to 256 to 64 features. The geometric mean multiplies it by (max/min)^(1/4). A convolution is seen as the matrix
    [out, in kernel size], as in torch; its fans are those of stride 1 and one group.

    Raises
    ------
    ValueError : fewer than two dimensions; unknown mode.

    >>> import torch
    >>> W = scaled_orthogonal_(torch.empty(4, 1, dtype=torch.float64))
    >>> round(float(W.norm()), 12)  # (4/1)^(1/4)
    1.414213562373
    """
    variance = variance_of_fans(*conv_fans(tensor), mode)
    import torch  # here, since nothing else in this module needs it

    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draw = torch.empty(rows, columns, dtype=torch.float64, device=tensor.device).normal_(generator=generator)
    W = math.sqrt(variance * max(rows, columns)) * semi_orthogonal(draw.numpy(force=True))
    tensor.detach().copy_(torch.from_numpy(W).reshape(tensor.shape))
    return tensor
