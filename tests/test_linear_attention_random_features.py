"""Random features: means and variances against quadrature, mpmath and Monte Carlo, directions against SciPy's laws."""

import math

import mpmath
import numpy as np
import pytest
from scipy import integrate, special, stats

from helpers.linear_attention import (
    gaussian_random_matrix,
    hyperbolic_random_features,
    positive_random_features,
    random_feature_relative_variance,
    trigonometric_random_features,
)

FEATURES = {
    "positive": positive_random_features,
    "hyperbolic": hyperbolic_random_features,
    "trigonometric": trigonometric_random_features,
}


def relative_variance(s: float, d: int, m: int, kind: str = "positive", orthogonal: bool = False) -> float:
    """At |q + k|² = s for positive and hyperbolic features, |q - k|² = s for trigonometric ones."""
    q = np.zeros(d)
    q[0] = math.sqrt(s) / 2
    return random_feature_relative_variance(q, -q if kind == "trigonometric" else q, m, kind, orthogonal)


# --- directions -----------------------------------------------------------------------------------


def test_independent_directions_are_the_generator_s_own():
    expected = np.random.default_rng(5).standard_normal((7, 3))
    np.testing.assert_array_equal(gaussian_random_matrix(7, 3, rng=np.random.default_rng(5)), expected)


@pytest.mark.parametrize(("m", "d"), [(4, 4), (3, 5), (10, 4), (1, 1), (5, 1), (8, 2)])
def test_rows_are_orthogonal_within_a_block_and_only_there(m, d):
    W = gaussian_random_matrix(m, d, orthogonal=True, rng=np.random.default_rng(m))
    assert W.shape == (m, d)
    products = np.abs(W @ W.T)
    block = np.arange(m) // d
    same = block[:, None] == block
    assert products[same & ~np.eye(m, dtype=bool)].max(initial=0) < 1e-13
    assert products[~same].min(initial=1) > 1e-6


def test_orthogonal_rows_have_the_law_of_independent_ones():
    """Kolmogorov-Smirnov: squared lengths χ²_d, each entry N(0, 1); lengths within a block are uncorrelated."""
    W = gaussian_random_matrix(12_000, 3, orthogonal=True, rng=np.random.default_rng(0))
    squares = (W**2).sum(axis=1)
    assert stats.kstest(squares, stats.chi2(3).cdf).pvalue > 0.01
    for column in W.T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    np.testing.assert_allclose(np.corrcoef(squares.reshape(-1, 3).T), np.eye(3), atol=0.06)


@pytest.mark.parametrize("d", [2, 4])
def test_directions_are_haar_where_plain_qr_is_not(d):
    """E[Q_11] = 0; without the signs of R, -Γ(d/2)/(√π Γ((d + 1)/2)) of the first row of Q."""
    count = 20_000
    rng = np.random.default_rng(1)
    W = gaussian_random_matrix(count * d, d, orthogonal=True, rng=rng).reshape(count, d, d)
    entries = (W / np.linalg.norm(W, axis=2, keepdims=True)).reshape(count, -1)
    error = 1 / math.sqrt(count * d)  # of a mean: the entries have variance 1/d
    assert np.abs(entries.mean(axis=0)).max() < 5 * error
    np.testing.assert_allclose(np.cov(entries.T), np.eye(d * d) / d, atol=0.03)
    Q = np.linalg.qr(rng.standard_normal((count, d, d)))[0]
    biased = -special.gamma(d / 2) / (math.sqrt(math.pi) * special.gamma((d + 1) / 2))
    assert biased == pytest.approx({2: -2 / math.pi, 4: -0.4244131815783876}[d], rel=1e-14)
    assert Q[:, 0, 0].mean() == pytest.approx(biased, abs=5 * error)


def test_the_same_seed_gives_the_same_directions():
    one, two = (gaussian_random_matrix(9, 4, True, rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - gaussian_random_matrix(9, 4, True, rng=np.random.default_rng(4))).max() > 0.1


# --- features -------------------------------------------------------------------------------------


def test_features_one_by_one():
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(3, 2)), rng.normal(size=(4, 5, 2))
    scores = np.einsum("md,abd->abm", W, x)
    half = (x[..., :1] ** 2 + x[..., 1:] ** 2) / 2
    positive = np.exp(scores) * np.exp(-half) / math.sqrt(3)
    mirrored = np.exp(-scores) * np.exp(-half) / math.sqrt(3)
    np.testing.assert_allclose(positive_random_features(x, W), positive, rtol=1e-13)
    hyperbolic = np.concatenate([positive, mirrored], axis=-1) / math.sqrt(2)
    np.testing.assert_allclose(hyperbolic_random_features(x, W), hyperbolic, rtol=1e-13)
    waves = np.concatenate([np.cos(scores), np.sin(scores)], axis=-1)
    np.testing.assert_allclose(trigonometric_random_features(x, W), np.exp(half) * waves / math.sqrt(3), rtol=1e-13)


def test_exact_cases():
    """q = k for trigonometric features; k = -q for the other two: every draw gives e^{q·k}."""
    rng = np.random.default_rng(2)
    W, q = rng.normal(size=(5, 3)), rng.normal(size=3)
    for kind, k in (("trigonometric", q), ("positive", -q), ("hyperbolic", -q)):
        assert FEATURES[kind](q, W) @ FEATURES[kind](k, W) == pytest.approx(math.exp(q @ k), rel=1e-13)
        assert random_feature_relative_variance(q, k, 5, kind) == 0
        assert random_feature_relative_variance(q, k, 5, kind, orthogonal=True) == 0


@pytest.mark.parametrize("kind", FEATURES)
def test_float32_stays(kind):
    rng = np.random.default_rng(1)
    x, W = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    single = FEATURES[kind](x.astype(np.float32), W)
    assert (single.dtype, FEATURES[kind](x, W.astype(np.float32)).dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, FEATURES[kind](x, W), rtol=1e-4, atol=1e-6)


def pair_estimates(kind: str, q, k, W) -> np.ndarray:
    """φ(q)·φ(k)/e^{q·k} of each row of W by itself."""
    products = np.sqrt(len(W)) * FEATURES[kind](q, W) * np.sqrt(len(W)) * FEATURES[kind](k, W) / math.exp(q @ k)
    return products.reshape(-1, len(W)).sum(axis=0)


@pytest.mark.parametrize("kind", FEATURES)
def test_mean_and_variance_by_quadrature(kind):
    """Oracle: Gauss-Hermite quadrature over w in two dimensions, its nodes as the projection."""
    nodes, weights = special.roots_hermitenorm(60)
    W = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    weights = np.outer(weights, weights).ravel() / (2 * math.pi)
    q, k = np.array([0.4, -0.9]), np.array([0.8, 0.3])
    estimates = pair_estimates(kind, q, k, W)
    assert weights @ estimates == pytest.approx(1, rel=1e-11)
    variance = weights @ (estimates - 1) ** 2
    assert random_feature_relative_variance(q, k, 1, kind) == pytest.approx(variance, rel=1e-9)
    assert random_feature_relative_variance(q, k, 7, kind) == pytest.approx(variance / 7, rel=1e-9)


POSITIVE = {
    0.5: 0.6487212707001281,
    1: 1.718281828459045,
    4: 53.59815003314424,
    8: 2979.957987041728,
    16: 8886109.520507873,
}
HYPERBOLIC = {
    0.5: 0.1276259652063808,
    1: 0.5430806348152438,
    4: 26.30823283601649,
    8: 1489.479161252178,
    16: 4443054.260253993,
}


@pytest.mark.parametrize("s", POSITIVE)
def test_reference_variances(s):
    assert relative_variance(s, 3, 1) == pytest.approx(POSITIVE[s], rel=1e-13)
    assert relative_variance(s, 3, 1) == pytest.approx(float(mpmath.exp(s) - 1), rel=1e-13)
    for kind in ("hyperbolic", "trigonometric"):
        assert relative_variance(s, 3, 1, kind) == pytest.approx(HYPERBOLIC[s], rel=1e-13)
        assert relative_variance(s, 3, 1, kind) == pytest.approx(float(2 * mpmath.sinh(s / mpmath.mpf(2)) ** 2))


# 1F1(d; d/2; s/2), and orthogonal over independent variance at m = d
KUMMER = {
    (4, 1): (2.541778625662698, 0.8866334406831485),
    (8, 2): (6.345893649533557, 0.845323505764477),
    (16, 2): (6.73078494706539, 0.7908439570617786),
    (64, 2): (7.180366854731836, 0.7215065723810258),
    (64, 4): (48.96673700884041, 0.8787643897908989),
    (64, 16): (2269206.654088193, 0.9999947207527487),
}


@pytest.mark.parametrize(("d", "s"), KUMMER)
def test_reference_variances_of_orthogonal_features(d, s):
    kummer, ratio = KUMMER[d, s]
    assert float(mpmath.hyp1f1(d, d / 2, s / 2)) == pytest.approx(kummer, rel=1e-13)
    orthogonal, independent = relative_variance(s, d, d, orthogonal=True), relative_variance(s, d, d)
    assert orthogonal / independent == pytest.approx(ratio, rel=1e-12)
    assert orthogonal - independent == pytest.approx((d - 1) / d * (kummer / math.exp(s) - 1), rel=1e-9)


@pytest.mark.parametrize("s", [1e-6, 0.02, 0.0999, 0.1001, 1, 5, 30, 300])
@pytest.mark.parametrize("d", [1, 2, 5, 64, 127])
@pytest.mark.parametrize("kind", FEATURES)
def test_orthogonal_variance_against_mpmath(kind, d, s):
    m = 2 * d + d // 2
    with mpmath.workdps(60):
        size = ((math.sqrt(s) / 2) * 2) ** 2  # as it comes out of rounding
        z = mpmath.mpf(-size if kind == "trigonometric" else size)
        pairs = 2 * d * (d - 1) + (d // 2) * (d // 2 - 1)
        alone = mpmath.expm1(z) if kind == "positive" else 2 * mpmath.sinh(z / 2) ** 2
        shared = mpmath.hyp1f1(d, mpmath.mpf(d) / 2, z / 2, zeroprec=400) * mpmath.exp(-z) - 1
        expected = float(alone / m + pairs * shared / m**2)
    assert relative_variance(s, d, m, kind, orthogonal=True) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("s", [0.3, 2.0])
def test_two_orthogonal_directions_by_quadrature(s):
    """Oracle: in the plane, mean over the angle of E e^{r a} E e^{r b}, r of Rayleigh's law; cosines likewise."""

    def rise(a):
        return 1 + a * math.sqrt(math.pi / 2) * math.exp(a * a / 2) * (1 + math.erf(a / math.sqrt(2)))

    def wave(a):
        return 1 - math.sqrt(2) * a * special.dawsn(a / math.sqrt(2))

    u = math.sqrt(s)
    for kind, mean, z in (("positive", rise, s), ("hyperbolic", rise, s), ("trigonometric", wave, -s)):
        shared = integrate.quad(lambda t, mean=mean: mean(u * math.cos(t)) * mean(u * math.sin(t)), 0, 2 * math.pi)[0]
        covariance = shared / (2 * math.pi) / math.exp(z) - 1
        expected = relative_variance(s, 2, 2, kind) + 2 / 4 * covariance
        assert relative_variance(s, 2, 2, kind, orthogonal=True) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("m", [8, 20])
def test_orthogonal_variance_by_monte_carlo(m):
    """At s = 1.5 the tail is still light enough for 16 000 draws; whole blocks, then two and a half of them."""
    d, repeats, s = 8, 16_000, 1.5
    blocks = -(-m // d)
    rng = np.random.default_rng(0)
    W = gaussian_random_matrix(repeats * blocks * d, d, orthogonal=True, rng=rng)
    W = W.reshape(repeats, blocks * d, d)[:, :m].reshape(-1, d)
    q = np.full(d, math.sqrt(s / d) / 2)
    ratios = pair_estimates("positive", q, q, W).reshape(repeats, m).mean(axis=1)
    assert ratios.mean() == pytest.approx(1, abs=5 * math.sqrt(relative_variance(s, d, m) / repeats))
    squares = (ratios - 1) ** 2
    exact = relative_variance(s, d, m, orthogonal=True)
    assert squares.mean() == pytest.approx(exact, abs=4 * squares.std() / math.sqrt(repeats))
    assert squares.mean() < relative_variance(s, d, m) - 4 * squares.std() / math.sqrt(repeats)


@pytest.mark.parametrize("kind", FEATURES)
def test_independent_variance_by_monte_carlo(kind):
    q, k = np.array([0.3, -0.2, 0.4, 0.1]), np.array([0.1, 0.5, -0.1, 0.2])
    W = gaussian_random_matrix(400_000, 4, rng=np.random.default_rng(0))
    squares = (pair_estimates(kind, q, k, W) - 1) ** 2
    exact = random_feature_relative_variance(q, k, 1, kind)
    assert squares.mean() == pytest.approx(exact, abs=4 * squares.std() / math.sqrt(len(W)))


def test_orthogonality_helps_least_where_help_is_needed():
    gains = [relative_variance(s, 64, 266, orthogonal=True) / relative_variance(s, 64, 266) for s in (1, 4, 8, 16)]
    np.testing.assert_allclose(gains, [0.740, 0.883, 0.993, 0.999995], atol=1e-3)
    assert 1 - gains[3] == pytest.approx(5.1e-6, abs=1e-7)


def test_a_variance_beyond_the_largest_float_is_infinite():
    q = np.full(4, 20.0)
    for kind, k in (("positive", q), ("hyperbolic", q), ("trigonometric", -q)):
        for orthogonal in (False, True):
            assert random_feature_relative_variance(q, k, 9, kind, orthogonal) == math.inf
    assert isinstance(random_feature_relative_variance([1], [1], 1), float)
