"""Softmax attention, and linear attention with features whose inner products stand in for its e^{q·k}.

Article: Su Jianlin, https://kexue.fm/archives/8601 (6 Aug 2021). Its whole subject under one name:
helpers.polynomial_features, helpers.random_features and helpers.attention_spectrum hold the parts.

Shapes: queries (..., N, d), keys (..., M, d), values (..., M, d_v), features (..., N, D); leading axes (batch, heads)
must agree. float32 stays float32, all else is computed in float64. Only softmax attention has a scale of its own; for
all else q and k carry it, each multiplied by √β d^{-1/4}: see `scaled_tokens`.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from helpers.attention_inputs import MAX_BYTES, Vectors, checked_allocation, checked_vectors
from helpers.attention_spectrum import (
    Spectrum,
    effective_rank,
    numerical_rank,
    score_degree_energy,
    softmax_attention_spectrum,
)
from helpers.inputs import checked_choice, checked_integer, checked_number
from helpers.polynomial_features import (
    hermite_coefficients,
    limit_coefficients,
    poisson_tail,
    polynomial_feature_dim,
    polynomial_feature_map,
    polynomial_score_error,
    shifted_taylor_coefficients,
    taylor_coefficients,
    taylor_root,
)
from helpers.random_features import (
    gaussian_random_matrix,
    hyperbolic_random_features,
    positive_random_features,
    random_feature_relative_variance,
    trigonometric_random_features,
)

__all__ = [  # the whole subject of the article, under one name
    "Spectrum",
    "attention_matrix",
    "effective_rank",
    "gaussian_random_matrix",
    "hermite_coefficients",
    "hyperbolic_random_features",
    "limit_coefficients",
    "linear_attention",
    "numerical_rank",
    "poisson_tail",
    "polynomial_feature_dim",
    "polynomial_feature_map",
    "polynomial_score_error",
    "positive_random_features",
    "random_feature_relative_variance",
    "scaled_tokens",
    "score_degree_energy",
    "shifted_taylor_coefficients",
    "softmax_attention",
    "softmax_attention_spectrum",
    "taylor_coefficients",
    "taylor_root",
    "trigonometric_random_features",
]

FeatureMap = Callable[[Vectors], ArrayLike]

_BLOCK = 2**19  # weights computed at a time where the whole matrix is not asked for: a few MiB
_TOKENS = 1024  # mapped to features at a time: for fewer, the calls themselves take longest
_REMEDY = "take an even order or positive features, or centre the keys"


def scaled_tokens(x: ArrayLike, beta: float = 1.0) -> Vectors:
    """√β d^{-1/4} x: done to queries and to keys, their inner products become the scores β q·k/√d.

    Parameters
    ----------
    x : vectors (..., d).
    beta : inverse temperature β > 0.

    Raises
    ------
    ValueError : x empty or not finite, beta out of range.

    >>> scaled_tokens([[2.0, 0.0, 0.0, 0.0]], beta=2.0).round(12).tolist()
    [[2.0, 0.0, 0.0, 0.0]]
    """
    x = checked_vectors("x", x)
    beta = checked_number("beta", beta, "finite and > 0", lambda value: 0 < value < math.inf)
    return x * (math.sqrt(beta) / x.shape[-1] ** 0.25)


def softmax_attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    scale: float | None = None,
    causal: bool = False,
    return_weights: bool = False,
    max_bytes: float = MAX_BYTES,
) -> Vectors | tuple[Vectors, Vectors]:
    """Σ_j a_ij v_j, a_ij = e^{scale q_i·k_j}/Σ_j e^{scale q_i·k_j}. Article, first equation.

    Takes N M operations, but block by block: the N × M weights exist at once only if they are asked for.

    Parameters
    ----------
    q, k, v : (..., N, d), (..., M, d), (..., M, d_v).
    scale : > 0; 1/√d by default.
    causal : query i sees keys 0 to i; needs N = M.
    return_weights : also return the weights.
    max_bytes : largest matrix of weights.

    Returns
    -------
    (..., N, d_v), with return_weights also (..., N, M).

    Raises
    ------
    ValueError : shapes that do not fit together, values that are not finite, scale out of range.
    MemoryError : weights were asked for and would be larger than max_bytes.

    >>> softmax_attention([[0.0]], [[1.0], [2.0]], [[1.0], [3.0]]).tolist()
    [[2.0]]
    """
    q, k, v = _checked_tokens(("q", "k", "v"), q, k, v, causal)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scale = checked_number("scale", scale, "finite and > 0", lambda value: 0 < value < math.inf)
    *batch, n, _ = q.shape
    shape, dtype = (*batch, n, k.shape[-2]), np.result_type(q, k, v)
    weights = None
    if return_weights:
        checked_allocation("weights", shape, dtype, max_bytes)
        weights = np.zeros(shape, dtype)
    out = np.empty((*batch, n, v.shape[-1]), dtype)
    for rows, seen in _blocks(shape, causal):
        scores = (q[..., rows, :] * scale) @ k[..., seen, :].swapaxes(-2, -1)
        if causal:
            np.copyto(scores, -np.inf, where=_future(rows, seen))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        out[..., rows, :] = scores @ v[..., seen, :]
        if weights is not None:
            weights[..., rows, seen] = scores
    return out if weights is None else (out, weights)


def linear_attention(
    phi_q: ArrayLike,
    phi_k: ArrayLike,
    v: ArrayLike,
    causal: bool = False,
    chunk_size: int = 128,
    return_denominator: bool = False,
    *,
    feature_map: FeatureMap | None = None,
    check: str = "denominators",
) -> Vectors | tuple[Vectors, Vectors]:
    """Σ_j w_ij v_j / Σ_j w_ij, w_ij = φ(q_i)·φ(k_j), in time proportional to N: the sums over keys are taken first.

    Article, second equation. Numerator and denominator share the state Σ_j φ(k_j) [v_j, 1]', D (d_v + 1) numbers.
    Causal: within a chunk of tokens the masked weights, across chunks the state; the result does not depend on the
    chunk size (up to rounding), the time does. Nothing is added to the denominators.

    Parameters
    ----------
    phi_q, phi_k : features (..., N, D) and (..., M, D).
    v : values (..., M, d_v).
    causal : query i sees keys 0 to i; needs N = M.
    chunk_size : tokens in a chunk, >= 1.
    return_denominator : also return Σ_j w_ij.
    feature_map : phi_q and phi_k are then queries and keys (..., d), turned into features one chunk at a time: the
        N × D features never exist at once.
    check : "denominators" (all must be positive), "weights" (they also must not be negative, which takes N M D
        operations to see) or "none" (whatever comes out, be it infinite or NaN).

    Returns
    -------
    (..., N, d_v), with return_denominator also (..., N).

    Raises
    ------
    ValueError : shapes that do not fit together, values that are not finite, chunk_size < 1, another check.
    FloatingPointError : denominators that are not positive or weights that are negative, and how many.

    >>> linear_attention([[1.0], [1.0]], [[1.0], [3.0]], [[0.0], [4.0]], causal=True).tolist()
    [[0.0], [3.0]]
    """
    q, k, v = _checked_tokens(("phi_q", "phi_k", "v"), phi_q, phi_k, v, causal)
    chunk_size = checked_integer("chunk_size", chunk_size, 1)
    checked_choice("check", check, "denominators", "weights", "none")
    features, size = (_checked_map(feature_map), _TOKENS) if feature_map else (_identity, max(q.shape[-2], k.shape[-2]))
    # A column of ones: the denominators come out beside the numerators.
    v1 = np.concatenate([v, np.ones((*v.shape[:-1], 1), v.dtype)], axis=-1)
    state, sums = 0.0, []
    if causal:
        for rows, phi, psi in _chunks(features, chunk_size, q, k):
            values = v1[..., rows, :]
            own = np.tril(phi @ psi.swapaxes(-2, -1)) @ values
            sums.append(own + phi @ state if rows.start else own)
            if rows.stop < q.shape[-2]:
                state = state + psi.swapaxes(-2, -1) @ values
    else:
        for rows, psi in _chunks(features, size, k):
            state = state + psi.swapaxes(-2, -1) @ v1[..., rows, :]
        sums = [phi @ state for _, phi in _chunks(features, size, q)]
    sums = np.concatenate(sums, axis=-2)
    denominator = sums[..., -1]
    if check != "none":
        _require_positive(denominator)
    if check == "weights":
        _require_no_negative_weight(features, q, k, causal)
    with np.errstate(divide="ignore", invalid="ignore"):  # reached with check="none" only
        out = sums[..., :-1] / denominator[..., None]
    return (out, denominator) if return_denominator else out


def attention_matrix(
    phi_q: ArrayLike, phi_k: ArrayLike, causal: bool = False, normalize: bool = True, max_bytes: float = MAX_BYTES
) -> Vectors:
    """Weights φ(q_i)·φ(k_j), divided by their row sums: what `linear_attention` applies without ever making it.

    Parameters
    ----------
    phi_q, phi_k : features (..., N, D) and (..., M, D).
    causal : weights of keys after the query are 0; needs N = M.
    normalize : rows sum to 1; otherwise the weights as they are, of whatever sign.
    max_bytes : largest result.

    Returns
    -------
    (..., N, M).

    Raises
    ------
    ValueError : shapes that do not fit together, values that are not finite.
    MemoryError : the result would be larger than max_bytes.
    FloatingPointError : normalize, and row sums that are not positive.

    >>> attention_matrix([[1.0], [1.0]], [[1.0], [3.0]], causal=True).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    q, k = _checked_tokens(("phi_q", "phi_k"), phi_q, phi_k, None, causal)
    checked_allocation("weights", (*q.shape[:-1], k.shape[-2]), np.result_type(q, k), max_bytes)
    weights = q @ k.swapaxes(-2, -1)
    weights = np.tril(weights) if causal else weights
    if normalize:
        sums = weights.sum(axis=-1, keepdims=True)
        _require_positive(sums)
        weights /= sums
    return weights


def _checked_tokens(names: tuple[str, ...], q: ArrayLike, k: ArrayLike, v: ArrayLike | None, causal: bool) -> list:
    q = checked_vectors(names[0], q, least=2)
    k = checked_vectors(names[1], k, least=2, width=q.shape[-1])
    arrays = [q, k] if v is None else [q, k, checked_vectors(names[2], v, least=2)]
    if any(array.shape[:-2] != q.shape[:-2] for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"{', '.join(names)} must have the same leading axes, got shapes {shapes}")
    if v is not None and arrays[2].shape[-2] != k.shape[-2]:
        raise ValueError(f"{names[2]} must have as many rows as {names[1]} ({k.shape[-2]}), got {arrays[2].shape[-2]}")
    if causal and q.shape[-2] != k.shape[-2]:
        raise ValueError(f"causal attention needs as many queries as keys, got {q.shape[-2]} and {k.shape[-2]}")
    return arrays


def _identity(x: Vectors) -> Vectors:
    return x


def _checked_map(feature_map: FeatureMap) -> Callable[[Vectors], Vectors]:
    def features(x: Vectors) -> Vectors:
        phi = checked_vectors("the result of feature_map", feature_map(x))
        if phi.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"feature_map must turn {x.shape} into {(*x.shape[:-1], 'D')}, got shape {phi.shape}")
        return phi

    return features


def _chunks(features: Callable, size: int, *arrays: Vectors) -> Iterator[tuple]:
    """Slices of `size` tokens, with the features of each array there; mapped for about _TOKENS tokens at a time."""
    n = arrays[0].shape[-2]
    for block in _slices(0, n, size * max(1, _TOKENS // size)):
        mapped = [features(array[..., block, :]) for array in arrays]
        for rows in _slices(block.start, block.stop, size):
            yield rows, *(phi[..., rows.start - block.start : rows.stop - block.start, :] for phi in mapped)


def _slices(start: int, stop: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, stop)) for first in range(start, stop, step)]


def _blocks(shape: tuple[int, ...], causal: bool) -> list[tuple[slice, slice]]:
    """Rows, and the columns that they see, of weights of this shape, in blocks of bounded size."""
    *batch, n, m = shape
    rows = _slices(0, n, max(1, _BLOCK // (m * math.prod(batch))))
    return [(block, slice(0, block.stop if causal else m)) for block in rows]


def _future(rows: slice, seen: slice) -> np.ndarray:
    return np.arange(seen.start, seen.stop) > np.arange(rows.start, rows.stop)[:, None]


def _require_positive(denominator: Vectors) -> None:
    bad = ~(denominator > 0)  # NaN, from an overflow, is not positive either
    if bad.any():
        count = f"{np.count_nonzero(bad)} of {denominator.size}"
        raise FloatingPointError(f"{count} denominators are <= 0, the lowest {denominator.min():.3g}: {_REMEDY}")


def _require_no_negative_weight(features: Callable, q: Vectors, k: Vectors, causal: bool) -> None:
    negative, lowest = 0, 0.0
    for rows, phi in _chunks(features, _TOKENS, q):
        for seen, psi in _chunks(features, _TOKENS, k[..., : rows.stop, :] if causal else k):
            weights = phi @ psi.swapaxes(-2, -1)
            if causal:
                np.copyto(weights, 0, where=_future(rows, seen))
            negative += np.count_nonzero(weights < 0)
            lowest = min(lowest, float(weights.min()))
    if negative:
        raise FloatingPointError(f"{negative} weights are negative, the lowest {lowest:.3g}: {_REMEDY}")
