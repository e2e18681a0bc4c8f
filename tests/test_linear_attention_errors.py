"""Bad input: each error names the argument, the rule and the value."""

import math
import re

import numpy as np
import pytest

from helpers.linear_attention import (
    attention_matrix,
    effective_rank,
    gaussian_random_matrix,
    hermite_coefficients,
    hyperbolic_random_features,
    limit_coefficients,
    linear_attention,
    numerical_rank,
    poisson_tail,
    polynomial_feature_dim,
    polynomial_feature_map,
    polynomial_score_error,
    positive_random_features,
    random_feature_relative_variance,
    scaled_tokens,
    score_degree_energy,
    shifted_taylor_coefficients,
    softmax_attention,
    softmax_attention_spectrum,
    taylor_coefficients,
    taylor_root,
    trigonometric_random_features,
)

A = np.ones((3, 2))
RNG = np.random.default_rng(0)


def attend(q=A, k=A, v=A, **options):
    return linear_attention(q, k, v, **options)


BAD = {
    # vectors
    "x is text": (lambda: scaled_tokens("abc"), "x must be an array of numbers: "),
    "x is complex": (lambda: scaled_tokens([1j]), "x must be an array of numbers: "),
    "x is ragged": (lambda: scaled_tokens([[1.0], [1.0, 2.0]]), "x must be an array of numbers: "),
    "x is a number": (
        lambda: scaled_tokens(1.0),
        "x must have at least 1 dimension(s), none of them empty, got shape ()",
    ),
    "x is empty": (
        lambda: polynomial_feature_map(np.empty((0, 2)), [1.0]),
        "x must have at least 1 dimension(s), none of them empty, got shape (0, 2)",
    ),
    "x has no entries": (
        lambda: polynomial_feature_map(np.empty((2, 0)), [1.0]),
        "x must have at least 1 dimension(s), none of them empty, got shape (2, 0)",
    ),
    "x is not finite": (
        lambda: polynomial_feature_map([1.0, np.nan, np.inf], [1.0]),
        "x must be finite, got 2 NaN or infinite value(s)",
    ),
    "beta is 0": (lambda: scaled_tokens(A, 0.0), "beta must be finite and > 0, got 0.0"),
    "beta is infinite": (lambda: scaled_tokens(A, np.inf), "beta must be finite and > 0, got inf"),
    # polynomials
    "order is negative": (lambda: taylor_coefficients(-1), "order must be an integer >= 0, got -1"),
    "order is float": (lambda: taylor_coefficients(2.0), "order must be an integer >= 0, got 2.0"),
    "order is bool": (lambda: taylor_coefficients(True), "order must be an integer >= 0, got True"),
    "limit of order 0": (lambda: limit_coefficients(0), "order must be an integer >= 1, got 0"),
    "hermite order": (lambda: hermite_coefficients(-1, 1.0), "order must be an integer >= 0, got -1"),
    "score_std is 0": (lambda: hermite_coefficients(2, 0), "score_std must be finite and > 0, got 0"),
    "score_std is nan": (lambda: hermite_coefficients(2, np.nan), "score_std must be finite and > 0, got nan"),
    "score_std is infinite": (lambda: hermite_coefficients(2, np.inf), "score_std must be finite and > 0, got inf"),
    "shift is negative": (
        lambda: shifted_taylor_coefficients(2, -0.1),
        "shift must be finite and >= 0, got -0.1",
    ),
    "shift is infinite": (
        lambda: shifted_taylor_coefficients(2, np.inf),
        "shift must be finite and >= 0, got inf",
    ),
    "shifted order": (lambda: shifted_taylor_coefficients(-1, 1.0), "order must be an integer >= 0, got -1"),
    "tail order": (lambda: poisson_tail(-1, 1.0), "order must be an integer >= 0, got -1"),
    "tail left of 0": (lambda: poisson_tail(1, [1.0, -1.0]), "x must be finite and >= 0, got [ 1. -1.]"),
    "tail at infinity": (lambda: poisson_tail(1, np.inf), "x must be finite and >= 0, got inf"),
    "error of nothing": (
        lambda: polynomial_score_error([], 1.0),
        "coefficients must have at least one entry, got none",
    ),
    "error of nan": (
        lambda: polynomial_score_error([np.nan], 1.0),
        "coefficients must be finite, got 1 NaN or infinite value(s)",
    ),
    "error of a matrix": (
        lambda: polynomial_score_error([[1.0]], 1.0),
        "coefficients must have 1 dimension(s), got shape (1, 1)",
    ),
    "error at no width": (lambda: polynomial_score_error([1.0], 0.0), "score_std must be finite and > 0, got 0.0"),
    "root of order 0": (lambda: taylor_root(0), "order must be an integer >= 1, got 0"),
    "root of an even order": (lambda: taylor_root(4), "order must be odd (an even order has no real root), got 4"),
    "dim is 0": (lambda: polynomial_feature_dim(0, 2), "dim must be an integer >= 1, got 0"),
    "features of negative order": (lambda: polynomial_feature_dim(2, -1), "order must be an integer >= 0, got -1"),
    "no coefficients": (
        lambda: polynomial_feature_map(A, []),
        "coefficients must have 1 to 171 entries, got 0",
    ),
    "too many coefficients": (
        lambda: polynomial_feature_map([1.0], taylor_coefficients(171)),
        "coefficients must have 1 to 171 entries, got 172",
    ),
    "infinite coefficient": (
        lambda: polynomial_feature_map(A, [1.0, np.inf]),
        "coefficients must be finite, got 1 NaN or infinite value(s)",
    ),
    "matrix of coefficients": (
        lambda: polynomial_feature_map(A, [[1.0]]),
        "coefficients must have 1 dimension(s), got shape (1, 1)",
    ),
    "negative coefficient": (
        lambda: polynomial_feature_map(A, hermite_coefficients(2, 2.0)),
        "coefficients must be >= 0, features hold their square roots; got -1 at degree 0 "
        "(Hermite coefficients turn negative where score_std² > 2)",
    ),
    "two negative coefficients": (
        lambda: polynomial_feature_map(A, [1.0, -0.25, -0.5, 2.0]),
        "coefficients must be >= 0, features hold their square roots; got -0.5 at degree 2 "
        "(Hermite coefficients turn negative where score_std² > 2)",
    ),
    # random features
    "no rows": (lambda: gaussian_random_matrix(0, 2, rng=RNG), "num_features must be an integer >= 1, got 0"),
    "no columns": (lambda: gaussian_random_matrix(2, 0, rng=RNG), "dim must be an integer >= 1, got 0"),
    "projection of other width": (
        lambda: positive_random_features(A, np.ones((4, 3))),
        "x must have 3 entries along its last axis, got 2",
    ),
    "projection is a vector": (
        lambda: hyperbolic_random_features(A, np.ones(2)),
        "projection must have 2 dimension(s), got shape (2,)",
    ),
    "projection is empty": (
        lambda: trigonometric_random_features(A, np.empty((0, 2))),
        "projection must have at least one row and one column, got shape (0, 2)",
    ),
    "projection is not finite": (
        lambda: positive_random_features(A, [[1.0, np.inf]]),
        "projection must be finite, got 1 NaN or infinite value(s)",
    ),
    "q and k differ": (
        lambda: random_feature_relative_variance([1.0], [1.0, 2.0], 3),
        "q and k must have the same number of entries, at least 1, got 1 and 2",
    ),
    "q and k are empty": (
        lambda: random_feature_relative_variance([], [], 3),
        "q and k must have the same number of entries, at least 1, got 0 and 0",
    ),
    "q is a matrix": (
        lambda: random_feature_relative_variance([[1.0]], [1.0], 3),
        "q must have 1 dimension(s), got shape (1, 1)",
    ),
    "k is a matrix": (
        lambda: random_feature_relative_variance([1.0], [[1.0]], 3),
        "k must have 1 dimension(s), got shape (1, 1)",
    ),
    "variance of no features": (
        lambda: random_feature_relative_variance([1.0], [1.0], 0),
        "num_features must be an integer >= 1, got 0",
    ),
    "another kind": (
        lambda: random_feature_relative_variance([1.0], [1.0], 3, "negative"),
        "kind must be one of ('positive', 'hyperbolic', 'trigonometric'), got 'negative'",
    ),
    # attention
    "q is a vector": (
        lambda: softmax_attention(np.ones(2), A, A),
        "q must have at least 2 dimension(s), none of them empty, got shape (2,)",
    ),
    "k is a vector": (
        lambda: softmax_attention(A, np.ones(2), A),
        "k must have at least 2 dimension(s), none of them empty, got shape (2,)",
    ),
    "v is a vector": (
        lambda: softmax_attention(A, A, np.ones(3)),
        "v must have at least 2 dimension(s), none of them empty, got shape (3,)",
    ),
    "k of other width": (
        lambda: softmax_attention(A, np.ones((3, 4)), A),
        "k must have 2 entries along its last axis, got 4",
    ),
    "values of other length": (
        lambda: softmax_attention(A, A, np.ones((4, 2))),
        "v must have as many rows as k (3), got 4",
    ),
    "k of other width in a batch": (
        lambda: softmax_attention(A[None], np.ones((1, 3, 4)), A[None]),
        "k must have 2 entries along its last axis, got 4",
    ),
    "queries of other batch": (
        lambda: softmax_attention(A[None], A, A),
        "q, k, v must have the same leading axes, got shapes (1, 3, 2), (3, 2), (3, 2)",
    ),
    "values of other batch": (
        lambda: softmax_attention(A, A, A[None]),
        "q, k, v must have the same leading axes, got shapes (3, 2), (3, 2), (1, 3, 2)",
    ),
    "causal with fewer queries": (
        lambda: softmax_attention(A[:2], A, A, causal=True),
        "causal attention needs as many queries as keys, got 2 and 3",
    ),
    "scale is 0": (lambda: softmax_attention(A, A, A, scale=0.0), "scale must be finite and > 0, got 0.0"),
    "scale is infinite": (lambda: softmax_attention(A, A, A, scale=np.inf), "scale must be finite and > 0, got inf"),
    "features of other widths": (
        lambda: attend(k=np.ones((3, 5))),
        "phi_k must have 2 entries along its last axis, got 5",
    ),
    "phi_q is not finite": (
        lambda: attend(q=np.full((3, 2), np.nan)),
        "phi_q must be finite, got 6 NaN or infinite value(s)",
    ),
    "linear values of other length": (lambda: attend(v=A[:1]), "v must have as many rows as phi_k (3), got 1"),
    "linear keys of other batch": (
        lambda: attend(k=A[None]),
        "phi_q, phi_k, v must have the same leading axes, got shapes (3, 2), (1, 3, 2), (3, 2)",
    ),
    "linear causal": (
        lambda: attend(q=A[:1], causal=True),
        "causal attention needs as many queries as keys, got 1 and 3",
    ),
    "chunk_size is 0": (lambda: attend(chunk_size=0), "chunk_size must be an integer >= 1, got 0"),
    "another check": (
        lambda: attend(check="all"),
        "check must be one of ('denominators', 'weights', 'none'), got 'all'",
    ),
    "feature map changes the shape": (
        lambda: attend(feature_map=lambda x: x[:2]),
        "feature_map must turn (3, 2) into (3, 'D'), got shape (2, 2)",
    ),
    "feature map drops a head": (
        lambda: linear_attention(*[np.ones((4, 3, 2))] * 3, feature_map=lambda x: x[1:]),
        "feature_map must turn (4, 3, 2) into (4, 3, 'D'), got shape (3, 3, 2)",
    ),
    "feature map returns NaN": (
        lambda: attend(feature_map=lambda x: x * np.nan),
        "the result of feature_map must be finite, got 6 NaN or infinite value(s)",
    ),
    "feature map returns nothing": (
        lambda: attend(feature_map=lambda x: None),
        "the result of feature_map must be an array of numbers: ",
    ),
    "matrix of other widths": (
        lambda: attention_matrix(A, np.ones((3, 1))),
        "phi_k must have 2 entries along its last axis, got 1",
    ),
    "matrix of other batches": (
        lambda: attention_matrix(A[None], A),
        "phi_q, phi_k must have the same leading axes, got shapes (1, 3, 2), (3, 2)",
    ),
    "causal matrix": (
        lambda: attention_matrix(A, A[:2], causal=True),
        "causal attention needs as many queries as keys, got 3 and 2",
    ),
    # spectrum
    "rank of a vector": (lambda: numerical_rank(np.ones(3), 0.1), "a must have 2 dimension(s), got shape (3,)"),
    "rtol is 1": (lambda: numerical_rank(A, 1.0), "rtol must be in [0, 1), got 1.0"),
    "rtol is negative": (lambda: numerical_rank(A, -0.1), "rtol must be in [0, 1), got -0.1"),
    "effective rank of nan": (
        lambda: effective_rank([[np.nan]]),
        "a must be finite, got 1 NaN or infinite value(s)",
    ),
    "effective rank of zero": (
        lambda: effective_rank(np.zeros((2, 2))),
        "a must have an entry other than 0, got none",
    ),
    "spectrum without dimensions": (
        lambda: softmax_attention_spectrum(0, 0.1, 2),
        "dim must be an integer >= 1, got 0",
    ),
    "spectrum without levels": (
        lambda: softmax_attention_spectrum(4, 0.1, 0),
        "num_levels must be an integer >= 1, got 0",
    ),
    "spectrum at beta 0": (
        lambda: softmax_attention_spectrum(4, 0.0, 2),
        "beta must be finite and > 0, got 0.0",
    ),
    "spectrum at infinite beta": (
        lambda: softmax_attention_spectrum(4, np.inf, 2),
        "beta must be finite and > 0, got inf",
    ),
    "too cold": (
        lambda: softmax_attention_spectrum(16, 3.0, 2),
        "beta must keep beta/√dim below 1/√2, where the limit ends, got 0.75",
    ),
    "too cold for the kernel": (
        lambda: softmax_attention_spectrum(16, 2.4, 2, normalized=False),
        "beta must keep beta/√dim below 1/2, where the limit ends, got 0.6",
    ),
    "too many levels": (
        lambda: softmax_attention_spectrum(64, 1.0, 40),
        f"num_levels must keep the multiplicities below 2^63, got {math.comb(102, 39)} at level 39",
    ),
    "one level too many": (
        lambda: softmax_attention_spectrum(16, 1.0, 112),
        f"num_levels must keep the multiplicities below 2^63, got {math.comb(126, 111)} at level 111",
    ),
    "energy at no width": (lambda: score_degree_energy(0.0, 2), "score_std must be finite and > 0, got 0.0"),
    "energy at infinite width": (lambda: score_degree_energy(np.inf, 2), "score_std must be finite and > 0, got inf"),
    "energy of negative degree": (lambda: score_degree_energy(1.0, -1), "max_degree must be an integer >= 0, got -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match="^" + re.escape(message) + ("" if message.endswith(": ") else "$")):
        call()


def test_a_seed_is_not_a_generator():
    with pytest.raises(TypeError, match=r"^rng must be a numpy.random.Generator, got int$"):
        gaussian_random_matrix(2, 2, rng=0)


# --- memory ---------------------------------------------------------------------------------------

BIG = np.broadcast_to(np.float64(0), (2, 1000, 64))
TOO_BIG = {  # bytes needed
    "features": (lambda: polynomial_feature_map(BIG, taylor_coefficients(4)), (2, 1000, 814385), 13_030_160_000),
    "all tensor powers": (
        lambda: polynomial_feature_map(BIG, taylor_coefficients(3), symmetric=False),
        (2, 1000, 266305),
        4_260_880_000,
    ),
    "features in float32": (
        lambda: polynomial_feature_map(BIG.astype(np.float32), taylor_coefficients(4)),
        (2, 1000, 814385),
        6_515_080_000,
    ),
    "features beyond any machine": (
        lambda: polynomial_feature_map(np.ones(1000), taylor_coefficients(20)),
        (math.comb(1020, 20),),
        8 * math.comb(1020, 20),
    ),
}


@pytest.mark.parametrize("case", TOO_BIG)
def test_what_cannot_fit_is_refused_with_its_size(case):
    call, shape, needed = TOO_BIG[case]
    message = f"features of shape {shape} would need {needed} bytes, more than max_bytes = 2147483648"
    with pytest.raises(MemoryError, match="^" + re.escape(message) + "$"):
        call()


LIMITED = {
    "polynomial": (lambda limit: polynomial_feature_map(A, [1.0, 1.0], max_bytes=limit), "features", (3, 3)),
    "positive": (lambda limit: positive_random_features(A, A, max_bytes=limit), "features", (3, 3)),
    "batch": (lambda limit: positive_random_features([A, A], A, max_bytes=limit), "features", (2, 3, 3)),
    "hyperbolic": (lambda limit: hyperbolic_random_features(A, A, max_bytes=limit), "features", (3, 6)),
    "trigonometric": (lambda limit: trigonometric_random_features(A, A, max_bytes=limit), "features", (3, 6)),
    "softmax": (
        lambda limit: softmax_attention(A[:2], A, A, return_weights=True, max_bytes=limit)[1],
        "weights",
        (2, 3),
    ),
    "matrix": (lambda limit: attention_matrix(A[None], A[None], max_bytes=limit), "weights", (1, 3, 3)),
    "half double": (lambda limit: attention_matrix(A, A.astype(np.float32), max_bytes=limit), "weights", (3, 3)),
    "other half": (lambda limit: attention_matrix(A.astype(np.float32), A, max_bytes=limit), "weights", (3, 3)),
}


@pytest.mark.parametrize("case", LIMITED)
def test_the_limit_is_the_largest_allowed_size(case):
    call, what, shape = LIMITED[case]
    needed = 8 * int(np.prod(shape))
    assert call(needed).shape == shape
    message = f"{what} of shape {shape} would need {needed} bytes, more than max_bytes = {needed - 1}"
    with pytest.raises(MemoryError, match="^" + re.escape(message) + "$"):
        call(needed - 1)


def test_weights_that_are_not_asked_for_need_no_memory():
    assert softmax_attention(A, A, A, max_bytes=0).shape == (3, 2)
    single = A.astype(np.float32)
    assert attention_matrix(single, single, max_bytes=4 * 9).nbytes == 36
    with pytest.raises(MemoryError, match=r"^weights of shape .* would need 144 bytes"):
        softmax_attention(np.stack([A, A]), np.stack([A, A]), np.stack([A, A]), return_weights=True, max_bytes=143)


# --- overflow -------------------------------------------------------------------------------------


def test_features_that_overflow_are_refused():
    x, W = np.array([[3.0, 4.0]]), np.array([[300.0, 0.0]])
    with pytest.raises(
        FloatingPointError, match="^x must give features " + re.escape("below e^710, got e^888: scale x down") + "$"
    ):
        positive_random_features(x, W)
    with pytest.raises(
        FloatingPointError, match="^x must give features " + re.escape("below e^710, got e^887: scale x down") + "$"
    ):
        hyperbolic_random_features(-x, W)
    with pytest.raises(
        FloatingPointError, match="^x must give features " + re.escape("below e^89, got e^112: scale x down") + "$"
    ):
        trigonometric_random_features(3 * x.astype(np.float32), W)
    assert np.isfinite(trigonometric_random_features(3 * x, W)).all()
