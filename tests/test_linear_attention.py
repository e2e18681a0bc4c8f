"""Softmax and linear attention against PyTorch, SciPy and the masked quadratic form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.polynomial import polyval
from scipy import special

from helpers import linear_attention as module
from helpers.linear_attention import (
    attention_matrix,
    gaussian_random_matrix,
    hermite_coefficients,
    linear_attention,
    polynomial_feature_map,
    polynomial_score_error,
    positive_random_features,
    scaled_tokens,
    softmax_attention,
    taylor_coefficients,
    taylor_root,
)

quick = settings(max_examples=40, deadline=None, derandomize=True)


def tokens(seed: int, *shape: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *shape))


def positive(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1, size=shape)


def quadratic(phi, psi, v, causal=False):
    """Weights first, one row at a time."""
    out = np.empty((*phi.shape[:-1], v.shape[-1]))
    for index in np.ndindex(phi.shape[:-1]):
        last = index[-1] + 1 if causal else v.shape[-2]
        weights = psi[index[:-1]][:last] @ phi[index]
        out[index] = weights @ v[index[:-1]][:last] / weights.sum()
    return out


# --- scale ----------------------------------------------------------------------------------------


def test_scaled_tokens_have_the_scores_of_attention():
    q, k = tokens(0, 2, 5, 8, count=2)
    scores = scaled_tokens(q, 3.0) @ scaled_tokens(k, 3.0).swapaxes(-2, -1)
    np.testing.assert_allclose(scores, 3 * q @ k.swapaxes(-2, -1) / math.sqrt(8), rtol=1e-12)
    np.testing.assert_array_equal(scaled_tokens(q), scaled_tokens(q, 1))
    assert scaled_tokens(q.astype(np.float32), 2).dtype == np.float32


# --- softmax --------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("block", [2**20, 40])
@pytest.mark.parametrize("shape", [(6, 3), (2, 7, 4), (2, 3, 5, 1)])
def test_softmax_attention_is_pytorch_s(monkeypatch, shape, block, scale, causal):
    monkeypatch.setattr(module, "_BLOCK", block)
    q, k, v = tokens(len(shape), *shape)
    v = v[..., :2] + 5
    expected = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, (q, k, v)), is_causal=causal, scale=scale
    ).numpy()
    out, weights = softmax_attention(q, k, v, scale, causal, return_weights=True)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(softmax_attention(q, k, v, scale, causal), out)
    scores = (1 / math.sqrt(shape[-1]) if scale is None else scale) * np.einsum("...id,...jd->...ij", q, k)
    if causal:
        scores = np.where(np.tri(shape[-2], dtype=bool), scores, -np.inf)
    np.testing.assert_allclose(weights, special.softmax(scores, axis=-1), rtol=1e-12)
    assert out.dtype == weights.dtype == np.float64


def test_softmax_attention_of_fewer_queries_than_keys():
    q, k, v = tokens(0, 3, 2)[0], *tokens(1, 9, 2, count=2)
    expected = special.softmax(q @ k.T / math.sqrt(2), axis=1) @ v
    np.testing.assert_allclose(softmax_attention(q, k, v), expected, rtol=1e-13)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_without_weights_softmax_attention_works_in_blocks(monkeypatch, batch, causal):
    """No block holds more weights than allowed, unless a single row does; causal ones leave out what no row sees."""
    monkeypatch.setattr(module, "_BLOCK", 100)
    seen = []
    blocks = module._blocks

    def spy(*arguments):
        seen.extend(result := blocks(*arguments))
        return result

    monkeypatch.setattr(module, "_blocks", spy)
    softmax_attention(*tokens(0, *batch, 20, 2), causal=causal)
    heads = math.prod(batch)
    rows = [block.stop - block.start for block, _ in seen]
    assert sum(rows) == 20
    assert [columns.stop for _, columns in seen] == [block.stop if causal else 20 for block, _ in seen]
    assert max(rows) * 20 * heads <= 100 or max(rows) == 1
    assert (max(rows) + 1) * 20 * heads > 100


def test_scores_of_any_size_and_a_shift_of_the_keys():
    """e^1000 overflows, softmax does not; adding a vector to all keys changes no weight, but a Taylor weight."""
    q, k, v = tokens(0, 4, 3)
    out = softmax_attention(1e3 * q, k, v, scale=1.0)
    best = (q @ k.T).argmax(axis=1)
    np.testing.assert_allclose(out, v[best], rtol=1e-6)
    c = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(softmax_attention(q, k + c, v), softmax_attention(q, k, v), rtol=1e-11)
    taylor = [attention_matrix(*features(2, q, keys)) for keys in (k, k + c)]
    assert np.abs(taylor[0] - taylor[1]).max() > 0.01


def test_float32_stays_float32_and_is_as_exact_as_pytorch():
    q, k, v = tokens(0, 2, 30, 8).astype(np.float32)
    out, weights = softmax_attention(q, k, v, causal=True, return_weights=True)
    assert out.dtype == weights.dtype == np.float32
    exact = softmax_attention(*(array.astype(np.float64) for array in (q, k, v)), causal=True)
    np.testing.assert_allclose(out, exact, atol=2e-6)
    for i in range(3):
        mixed = [array.astype(np.float64) if i == j else array for j, array in enumerate((q, k, v))]
        assert softmax_attention(*mixed).dtype == np.float64
        assert linear_attention(*mixed, check="none").dtype == np.float64
    phi, psi = features(2, q, k)
    linear = linear_attention(phi, psi, v, causal=True, chunk_size=8)
    assert linear.dtype == attention_matrix(phi, psi).dtype == np.float32
    np.testing.assert_allclose(linear, quadratic(*map(np.float64, (phi, psi, v)), causal=True), atol=1e-5)


# --- linear ---------------------------------------------------------------------------------------


def features(order, *arrays):
    return [polynomial_feature_map(array, taylor_coefficients(order)) for array in arrays]


@quick
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    D=st.integers(1, 6),
    dv=st.integers(1, 3),
    chunk=st.integers(1, 45),
    batch=st.lists(st.integers(1, 3), max_size=2),
)
def test_any_chunk_size_gives_the_masked_quadratic_form(seed, n, D, dv, chunk, batch):
    phi, psi = positive(seed, 2, *batch, n, D)
    v = np.random.default_rng(seed).normal(size=(*batch, n, dv))
    for causal in (True, False):
        out, denominator = linear_attention(phi, psi, v, causal, chunk, return_denominator=True)
        expected = quadratic(phi, psi, v, causal)
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
        matrix = attention_matrix(phi, psi, causal)
        np.testing.assert_allclose(matrix @ v, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(matrix.sum(axis=-1), 1, rtol=1e-13)
        raw = attention_matrix(phi, psi, causal, normalize=False)
        np.testing.assert_allclose(denominator, raw.sum(axis=-1), rtol=1e-12)
        assert out.shape == (*batch, n, dv)
        assert denominator.shape == (*batch, n)


@pytest.mark.parametrize("chunk", [1, 7, 64, 128, 299, 300, 1000])
def test_causal_taylor_attention_of_order_2(chunk):
    q, k, v = tokens(0, 300, 5)
    phi, psi = features(2, q, k)
    out = linear_attention(phi, psi, v, causal=True, chunk_size=chunk)
    np.testing.assert_allclose(out, quadratic(phi, psi, v, causal=True), rtol=1e-12, atol=1e-12)
    weights = np.tril(polyval(q @ k.T, taylor_coefficients(2)))
    np.testing.assert_allclose(out, weights @ v / weights.sum(axis=1, keepdims=True), rtol=1e-12, atol=1e-12)


def test_the_default_chunk_is_128():
    phi, psi = positive(0, 2, 300, 3)
    v = tokens(1, 300, 2)[0]
    np.testing.assert_array_equal(
        linear_attention(phi, psi, v, causal=True), linear_attention(phi, psi, v, causal=True, chunk_size=128)
    )


def test_fewer_queries_than_keys_and_more():
    for n, m in ((3, 8), (8, 3)):
        phi, psi, v = positive(0, n, 4), positive(1, m, 4), tokens(2, m, 2)[0]
        np.testing.assert_allclose(linear_attention(phi, psi, v), quadratic(phi, psi, v), rtol=1e-12)
        for size in (1, 5):
            mapped = linear_attention(phi, psi, v, chunk_size=size, feature_map=lambda x: x)
            np.testing.assert_allclose(mapped, quadratic(phi, psi, v), rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 12, 50])
@pytest.mark.parametrize("causal", [False, True])
def test_feature_map_gives_the_same_and_sees_few_tokens_at_a_time(monkeypatch, causal, chunk):
    monkeypatch.setattr(module, "_TOKENS", 12)
    q, k, v = tokens(3, 2, 40, 3)
    seen = []

    def feature_map(x):
        seen.append(x.shape[-2])
        return polynomial_feature_map(x, taylor_coefficients(2))

    out, denominator = linear_attention(
        q, k, v, causal, chunk, return_denominator=True, feature_map=feature_map, check="weights"
    )
    expected = linear_attention(*features(2, q, k), v, causal, return_denominator=True)
    np.testing.assert_allclose(out, expected[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(denominator, expected[1], rtol=1e-12)
    assert max(seen) <= max(12, chunk)
    seen.clear()
    linear_attention(q, k, v, causal, chunk, feature_map=feature_map)
    assert sum(seen) == 80
    assert max(seen) == min(40, {1: 12, 7: 7, 12: 12, 50: 50}[chunk] if causal else 12)


def test_the_result_has_the_precision_of_the_features():
    q = k = v = np.ones((3, 2), np.float32)
    for causal in (False, True):
        assert linear_attention(q, k, v, causal, feature_map=lambda x: x).dtype == np.float32
        assert linear_attention(q, k, v, causal, feature_map=np.float64).dtype == np.float64


def test_the_future_changes_no_bit_of_the_past():
    q, k, v = tokens(4, 50, 3)
    for call in (
        lambda k, v: softmax_attention(q, k, v, causal=True),
        lambda k, v: linear_attention(*features(2, q, k), v, causal=True, chunk_size=16),
    ):
        before, k2, v2 = call(k, v), k.copy(), v.copy()
        k2[33:] *= 10
        v2[33:] -= 5
        after = call(k2, v2)
        np.testing.assert_array_equal(after[:33], before[:33])
        assert np.abs(after[33:] - before[33:]).max() > 0.1


def test_the_inputs_are_left_alone():
    phi, psi = positive(0, 2, 9, 3)
    v = tokens(1, 9, 2)[0]
    copies = phi.copy(), psi.copy(), v.copy()
    for causal in (False, True):
        linear_attention(phi, psi, v, causal, 4, check="weights")
        softmax_attention(phi, psi, v, causal=causal)
        attention_matrix(phi, psi, causal)
    for array, copy in zip((phi, psi, v), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_many_random_features_come_close_to_softmax():
    q, k, v = tokens(5, 40, 4)
    q, k = scaled_tokens(q, 0.5), scaled_tokens(k, 0.5)
    W = gaussian_random_matrix(20_000, 4, rng=np.random.default_rng(0))
    out = linear_attention(positive_random_features(q, W), positive_random_features(k, W), v, causal=True)
    error = out - softmax_attention(q, k, v, scale=1.0, causal=True)
    assert math.sqrt((error**2).mean()) < 0.03


def test_hermite_predicts_the_error_of_the_attention_matrix():
    """Scores N(0, 1): relative error √P(Poisson(1) > n); order 0 is uniform attention, from 2 on Taylor is worse."""
    q, k = scaled_tokens(tokens(6, 400, 64, count=2))
    _, exact = softmax_attention(q, k, k, scale=1.0, return_weights=True)

    def error(coefficients):
        weights = polyval(q @ k.T, coefficients)
        weights /= weights.sum(axis=1, keepdims=True)
        return np.linalg.norm(weights - exact) / np.linalg.norm(exact)

    for order, rel in ((0, 0.03), (1, 0.03), (2, 0.06), (3, 0.1)):
        best = hermite_coefficients(order, 1.0)
        predicted = polynomial_score_error(best * math.sqrt(math.e), 1.0)
        assert error(best) == pytest.approx(predicted, rel=rel)
        assert order < 2 or error(best) < error(taylor_coefficients(order))


# --- signs ----------------------------------------------------------------------------------------

ADVICE = ": take an even order or positive features, or centre the keys$"
# One feature, two tokens. Weights 1 and -3 of the first query, -1 and 3 of the second.
SIGNED = np.array([[1.0], [-1.0]]), np.array([[1.0], [-3.0]]), np.array([[1.0], [2.0]])
# Weights 1 and -0.5 of both queries: the sums are positive.
MIXED = np.array([[1.0], [1.0]]), np.array([[1.0], [-0.5]]), np.array([[1.0], [2.0]])


def test_denominators_that_are_not_positive_are_counted():
    for call in (linear_attention, lambda phi, psi, v: attention_matrix(phi, psi)):
        with pytest.raises(FloatingPointError, match="^1 of 2 denominators are <= 0, the lowest -2" + ADVICE):
            call(*SIGNED)
        with pytest.raises(FloatingPointError, match="^2 of 2 denominators are <= 0, the lowest 0" + ADVICE):
            call(SIGNED[0], np.zeros((2, 1)), SIGNED[2])
    with pytest.raises(FloatingPointError, match="^1 of 2 denominators are <= 0, the lowest -1" + ADVICE):
        linear_attention(-SIGNED[0], -SIGNED[1] + 2, SIGNED[2], causal=True)  # weight -1 alone; then 1 + 5
    with pytest.raises(FloatingPointError, match=r"^2 of 4 denominators"):
        linear_attention(*(np.stack([array, array]) for array in SIGNED))


def test_on_request_linear_attention_returns_what_comes_out():
    out, denominator = linear_attention(*SIGNED, return_denominator=True, check="none")
    assert denominator.tolist() == [-2.0, 2.0]
    assert out.tolist() == [[2.5], [2.5]]
    out, denominator = linear_attention(
        [[1.0], [0.0]], [[1.0], [-1.0]], [[1.0], [1.0]], return_denominator=True, check="none"
    )
    assert denominator.tolist() == [0.0, 0.0]
    assert np.isnan(out).all()
    assert np.isinf(linear_attention([[1.0]], [[1.0], [-1.0]], [[1.0], [2.0]], check="none")).all()
    assert attention_matrix(*SIGNED[:2], normalize=False).tolist() == [[1.0, -3.0], [-1.0, 3.0]]


@pytest.mark.parametrize("block", [1024, 1])
def test_negative_weights_are_counted_on_request(monkeypatch, block):
    monkeypatch.setattr(module, "_TOKENS", block)
    assert linear_attention(*MIXED).tolist() == [[0.0], [0.0]]
    with pytest.raises(FloatingPointError, match="^2 weights are negative, the lowest -0.5" + ADVICE):
        linear_attention(*MIXED, check="weights")
    with pytest.raises(FloatingPointError, match="^1 weights are negative, the lowest -0.5" + ADVICE):
        linear_attention(*MIXED, causal=True, check="weights")
    with pytest.raises(FloatingPointError, match="^1 weights are negative, the lowest -1" + ADVICE):
        linear_attention(*SIGNED, causal=True, check="weights")
    with pytest.raises(FloatingPointError, match=r"^1 of 2 denominators"):  # these come first
        linear_attention(*SIGNED, check="weights")
    with pytest.raises(FloatingPointError, match=r"^4 weights are negative"):
        linear_attention(*(np.stack([array, array]) for array in MIXED), check="weights")
    zero = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert linear_attention(zero, zero, zero, check="weights").tolist() == zero.tolist()


def test_odd_orders_get_negative_weights_and_even_ones_do_not():
    q, k, v = tokens(7, 200, 6)
    q, k = scaled_tokens(q, 2.0), scaled_tokens(k, 2.0)
    for order in (2, 4, 6):
        linear_attention(*features(order, q, k), v, causal=True, check="weights")
    for order in (1, 3, 5):
        expected = np.tril(q @ k.T < taylor_root(order)).sum()
        with pytest.raises(FloatingPointError) as raised:
            linear_attention(*features(order, q, k), v, causal=True, check="weights")
        message = str(raised.value)
        assert "denominators" in message or message.startswith(f"{expected} weights are negative")
        raw = attention_matrix(*features(order, q, k), causal=True, normalize=False)
        assert (raw < 0).sum() == expected > 0


def test_centred_keys_have_no_bad_denominators():
    q, k, v = tokens(8, 256, 64)
    q, k = scaled_tokens(q), scaled_tokens(k + 0.5)
    with pytest.raises(FloatingPointError, match="of 256 denominators are <= 0"):
        linear_attention(*features(1, q, k), v)
    linear_attention(*features(1, q, k - k.mean(axis=0)), v)


def test_an_overflow_is_not_a_positive_denominator():
    huge = np.full((2, 1), 1e200)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(FloatingPointError, match=r"^2 of 2 denominators"):
        linear_attention(huge, np.array([[1e200], [-1e200]]), np.ones((2, 1)), chunk_size=1, causal=False)
