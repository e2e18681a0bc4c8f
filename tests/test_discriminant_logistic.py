"""Maximum likelihood, Efron's efficiency and calibration against SciPy, mpmath and scikit-learn."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from helpers.discriminant import (
    ClassMoments,
    efron_relative_efficiency,
    expected_calibration_error,
    linear_discriminant,
    logistic_mle,
    reliability_curve,
)

quick = settings(max_examples=25, deadline=None, derandomize=True)


def gaussian_classes(seed: int, n: int, d: int, delta: float):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    X = rng.normal(size=(n, d))
    X[:, 0] += delta * (y - 0.5)
    return X, y


def score(X, y, w, b, ridge=0.0):
    """Gradient of the mean log-loss with respect to (b, w), written out."""
    p = 1 / (1 + np.exp(-(X @ w + b)))
    return np.concatenate([[np.mean(p - y)], X.T @ (p - y) / len(y) + ridge * w])


# --- maximum likelihood ---------------------------------------------------------------------------

A = 1 / np.sqrt(3)
TRIPLE = {
    "symmetric": ([-1, -1, 1, 1], 0.9081842625600951, -0.4540921312800475),
    "left tail": ([A, A, A, -3 * A], 0.9877266981077682, -0.5664483097741817),
    "right tail": ([-A, -A, -A, 3 * A], 0.9877266981077682, -0.4212783883335865),
}


@pytest.mark.parametrize(("base", "w", "b"), TRIPLE.values(), ids=TRIPLE)
def test_equal_moments_have_one_closed_form_and_three_maxima(base, w, b):
    """Oracle: mpmath's root of the score equations."""
    X = np.concatenate([base, np.add(base, 1)])[:, None]
    y = np.repeat([0, 1], 4)
    slope, bias = linear_discriminant(ClassMoments.from_data(X, y)).to_binary()
    assert (slope[0], bias) == pytest.approx((1, -0.5), rel=1e-13)
    with mpmath.workdps(30):
        rows = list(zip(map(mpmath.mpf, X[:, 0].tolist()), y.tolist(), strict=True))

        def equations(w, b):
            errors = [(1 / (1 + mpmath.exp(-w * x - b)) - label, x) for x, label in rows]
            return [sum(e for e, _ in errors), sum(e * x for e, x in errors)]

        root = mpmath.findroot(equations, (1, -0.5))
    ours, intercept, info = logistic_mle(X, y, tol=1e-13)
    assert (ours[0], intercept) == pytest.approx((float(root[0]), float(root[1])), rel=1e-12)
    assert (ours[0], intercept) == pytest.approx((w, b), rel=1e-10)
    assert info.converged
    assert not info.separable
    assert type(intercept) is float


def test_unequal_variances_in_the_population():
    """N(0, 1) against N(2, 4): quantiles stand for the population; here maximum likelihood is not the closed form."""
    u = (np.arange(20_000) + 0.5) / 20_000
    X = np.concatenate([stats.norm.ppf(u), stats.norm.ppf(u, 2, 2)])[:, None]
    w, b, info = logistic_mle(X, np.repeat([0, 1], 20_000))
    assert (w[0], b) == pytest.approx((0.85645556666202301, -0.74451208347544805), rel=1e-4)
    assert info.losses[-1] == pytest.approx(0.52012278248333041, rel=1e-4)


@quick
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 4), ridge=st.sampled_from([0.0, 0.01, 1.0]))
def test_the_score_vanishes_at_the_maximum(seed, d, ridge):
    """Oracles: the score equations, SciPy's BFGS minimum of the same objective."""
    X, y = gaussian_classes(seed, 120, d, 1.0)
    X = X * np.geomspace(0.1, 10, d) + 3
    w, b, info = logistic_mle(X, y, ridge=ridge)
    assert info.converged
    np.testing.assert_allclose(score(X, y, w, b, ridge), 0, atol=1e-8)

    def objective(theta):
        return np.logaddexp(0, (1 - 2 * y) * (X @ theta[1:] + theta[0])).mean() + ridge / 2 * theta[1:] @ theta[1:]

    best = optimize.minimize(objective, np.zeros(d + 1), jac=lambda t: score(X, y, t[1:], t[0], ridge), tol=1e-9)
    np.testing.assert_allclose(np.concatenate([[b], w]), best.x, rtol=1e-3, atol=1e-4)
    assert info.losses[-1] == pytest.approx(objective(np.concatenate([[b], w])), rel=1e-12)
    assert info.losses[-1] <= best.fun + 1e-12
    assert info.weight_norms[-1] == pytest.approx(np.linalg.norm(w), rel=1e-12)


def test_ridge_equals_scikit_learn():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(X, y)
    w, b, info = logistic_mle(X, y, ridge=1 / (0.5 * len(y)))
    assert info.converged
    np.testing.assert_allclose(w, theirs.coef_[0], atol=2e-5)
    assert b == pytest.approx(theirs.intercept_[0], abs=2e-5)


@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_affine_maps_change_no_probability_and_no_iteration_count(seed):
    X, y = gaussian_classes(seed, 200, 3, 1.0)
    scale, shift = np.array([1e-3, 1.0, 1e4]), np.array([5.0, -2.0, 1e6])
    w, b, info = logistic_mle(X, y)
    v, c, other = logistic_mle(X * scale + shift, y)
    np.testing.assert_allclose(v * scale, w, rtol=1e-6, atol=1e-9)
    assert c + v @ shift == pytest.approx(b, abs=1e-6)
    assert info.iterations == other.iterations
    np.testing.assert_allclose(other.losses, info.losses, rtol=1e-9)


def test_the_path_starts_at_zero_and_goes_down():
    X, y = gaussian_classes(0, 400, 3, 2.0)
    w, _, info = logistic_mle(X, y)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    assert info.losses[0] == pytest.approx(np.log(2), rel=1e-14)
    assert info.weight_norms[0] == 0
    assert info.gradient_norms[0] == pytest.approx(np.linalg.norm(score(Z, y, np.zeros(3), 0.0)), rel=1e-12)
    assert info.gradient_norms[-1] <= 1e-10 < info.gradient_norms[-2]
    assert (np.diff(info.losses) <= 1e-15).all()
    assert len(info.losses) == len(info.weight_norms) == len(info.gradient_norms) == info.iterations + 1
    first, bias, short = logistic_mle(X, y, max_iter=1)
    assert (short.iterations, short.converged, short.separable) == (1, False, False)
    # One Newton step from zero is least squares on 4(y - 1/2).
    target = np.linalg.lstsq(np.column_stack([np.ones(400), X]), 4 * (y - 0.5), rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([[bias], first]), target, rtol=1e-10, atol=1e-12)
    nothing, zero, none = logistic_mle(X, y, max_iter=0)
    assert (nothing.tolist(), zero, none.iterations, none.converged) == ([0, 0, 0], 0, 0, False)
    loose, _, info = logistic_mle(X, y, tol=1e-3)
    assert info.gradient_norms[-1] <= 1e-3
    assert 1e-9 < np.abs(loose - w).max() < 0.1


@pytest.mark.parametrize(("delta", "from_zero", "from_closed"), [(1, 5, 3), (2, 6, 3), (3, 8, 4), (4, 10, 5)])
def test_the_closed_form_is_a_good_start(delta, from_zero, from_closed):
    X, y = gaussian_classes(0, 2000, 10, delta)
    w, b, info = logistic_mle(X, y)
    closed = linear_discriminant(ClassMoments.from_data(X, y)).to_binary()
    v, c, warm = logistic_mle(X, y, init=closed)
    assert warm.converged
    np.testing.assert_allclose(np.append(v, c), np.append(w, b), rtol=1e-7, atol=1e-8)
    assert info.iterations <= from_zero
    assert warm.iterations <= from_closed < info.iterations
    assert warm.weight_norms[0] == pytest.approx(np.linalg.norm(closed[0]), rel=1e-12)
    logits = X @ closed[0] + closed[1]
    assert warm.losses[0] == pytest.approx(np.logaddexp(0, (1 - 2 * y) * logits).mean(), rel=1e-12)
    gap = warm.losses[:2] - info.losses[-1]
    assert 0 < gap[1] < gap[0] / 10


def test_step_halving_saves_a_start_from_which_newton_diverges():
    X, y = gaussian_classes(1, 100, 1, 1.0)
    w, b, _ = logistic_mle(X, y)
    v, c, info = logistic_mle(X, y, init=([8.0], 3.0))
    assert info.converged
    assert (np.diff(info.losses) < 1e-15).all()
    assert (v[0], c) == pytest.approx((w[0], b), rel=1e-9)
    # The full first step would have gone uphill.
    Z = np.column_stack([np.ones(100), X])
    p = 1 / (1 + np.exp(-(Z @ [3.0, 8.0])))
    theta = np.array([3.0, 8.0]) - np.linalg.solve((Z.T * (p * (1 - p))) @ Z, Z.T @ (p - y))
    assert np.logaddexp(0, (1 - 2 * y) * (Z @ theta)).mean() > info.losses[0]


def test_a_saturated_start_is_reported_not_hidden():
    X, y = gaussian_classes(1, 100, 2, 1.0)
    _, _, info = logistic_mle(X, y, init=([5e6, -3e7], 1e5))
    assert not info.converged
    assert not info.separable
    assert info.iterations == 100


# --- separable data --------------------------------------------------------------------------------


def test_on_separable_data_the_norm_grows_and_the_closed_form_stays_finite():
    X, y = gaussian_classes(0, 40, 2, 6.0)
    norms = []
    for steps in (4, 10, 20):
        _, _, info = logistic_mle(X, y, max_iter=steps)
        assert info.separable
        assert not info.converged
        assert info.iterations == steps
        norms.append(info.weight_norms[-1])
    assert norms[0] * 1.5 < norms[1] < norms[2] / 1.5
    w, b, info = logistic_mle(X, y)
    assert info.separable
    assert not info.converged
    assert info.iterations < 40
    assert ((2 * y - 1) * (X @ w + b) > 0).all()
    assert np.linalg.norm(linear_discriminant(ClassMoments.from_data(X, y)).to_binary()[0]) < 20


def test_one_step_from_zero_already_proves_separability():
    """After it each row has log-odds on its side, of size below 1 for some: no iteration to infinity is needed."""
    X = np.array([[-5.0], [-0.4], [0.4], [5.0]])
    y = np.array([0, 0, 1, 1])
    w, b, info = logistic_mle(X, y, max_iter=1)
    assert 0 < ((2 * y - 1) * (X[:, 0] * w[0] + b)).min() < 1
    assert info.separable


@pytest.mark.parametrize("d", [1, 3])
def test_quasi_separable_data_have_no_maximum_either(d):
    """A feature that is 1 for some rows of class 1 only; the other rows overlap. No plane separates strictly."""
    X, y = gaussian_classes(2, 100, d, 1.0)
    X = np.column_stack([X, (y == 1) & (np.arange(100) % 3 == 0)]).astype(float)
    w, b, info = logistic_mle(X, y)
    assert ((2 * y - 1) * (X @ w + b)).min() < 0
    assert info.separable
    assert not info.converged
    assert w[-1] > 15


def test_quasi_separation_in_one_dimension():
    w, b, info = logistic_mle([[0], [1], [1], [2]], [0, 0, 1, 1])
    assert (info.separable, info.converged) == (True, False)
    assert w[0] + b == pytest.approx(0, abs=1e-6)
    assert info.losses[-1] == pytest.approx(np.log(2) / 2, rel=1e-9)  # the two tied rows keep log 2 each


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6])
def test_almost_separable_data_are_not_called_separable(gap):
    """One pair of rows overlaps by `gap`; the maximum exists, however steep. Oracle: the score equations."""
    X = np.array([[0.0], [1.0], [1.0 + gap], [2.0]])
    y = np.array([0, 1, 0, 1])
    w, b, info = logistic_mle(X, y)
    assert info.converged
    assert not info.separable
    np.testing.assert_allclose(score(X, y, w, b), 0, atol=1e-9)


def test_ridge_gives_separable_data_a_maximum():
    X, y = gaussian_classes(0, 40, 2, 6.0)
    w, b, info = logistic_mle(X, y, ridge=1e-3)
    assert info.converged
    assert info.separable  # the plane that was found separates the training rows
    np.testing.assert_allclose(score(X, y, w, b, 1e-3), 0, atol=1e-9)


def test_ridge_makes_collinear_features_identifiable():
    X, y = gaussian_classes(0, 100, 1, 1.0)
    doubled = np.column_stack([X, X, np.full(100, 0.1)])
    w, _, info = logistic_mle(doubled, y, ridge=0.1)
    assert info.converged
    single, _, _ = logistic_mle(X, y, ridge=0.05)  # two equal slopes w: ridge/2 · 2w² = (ridge/2)/2 · (2w)²
    assert w == pytest.approx([single[0] / 2, single[0] / 2, 0], abs=1e-9)


# --- Efron's efficiency -----------------------------------------------------------------------------

EFRON = {
    0.5: 0.9998699009881219,
    1.0: 0.9949321679581246,
    1.5: 0.9676047488144028,
    2.0: 0.8991990184133457,
    2.5: 0.7859825087794088,
    3.0: 0.6410381321481856,
    3.5: 0.4863225572812215,
    4.0: 0.3429870439536941,
    5.0: 0.1374008898317205,
    6.0: 0.04151079739903514,
}


@pytest.mark.parametrize(("delta", "value"), EFRON.items())
def test_efron_reference_values(delta, value):
    ours = efron_relative_efficiency(delta)
    assert type(ours) is float
    assert ours == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("delta", [0, 0.01, 2.2, 8, 20, 50])
def test_efron_against_mpmath(delta):
    with mpmath.workdps(25):
        D = mpmath.mpf(delta)
        integral = 2 * mpmath.quad(lambda x: mpmath.npdf(x) / mpmath.cosh(D * x / 2), [0, 0.1, 0.5, 1, 2, 4, 8, 16])
        expected = float((1 + D**2 / 4) * mpmath.exp(-(D**2) / 8) * integral)
    assert efron_relative_efficiency(delta) == pytest.approx(expected, rel=1e-12)


def test_efron_of_arrays_and_its_meaning():
    values = efron_relative_efficiency([[0.0, 2.0], [3.0, 500.0]])
    assert values.shape == (2, 2)
    np.testing.assert_allclose(values, [[1, EFRON[2.0]], [EFRON[3.0], 0]], rtol=1e-13)
    curve = efron_relative_efficiency(np.linspace(0, 10, 200))
    assert (np.diff(curve) < 1e-15).all()
    # Published to three digits (Efron 1975, table 1), Δ = 1 … 4 in halves.
    assert [round(efron_relative_efficiency(d), 3) for d in (2, 2.5, 3, 3.5, 4)] == [0.899, 0.786, 0.641, 0.486, 0.343]
    assert round(1000 / efron_relative_efficiency(3.0)) == 1560
    # Fisher information of the bias, A = E[s(1 - s)]: the efficiency is (4 + Δ²) A.
    grid = np.linspace(-15, 15, 20_001)
    density = (stats.norm.pdf(grid, -1) + stats.norm.pdf(grid, 1)) / 2
    information = np.trapezoid(density / (4 * np.cosh(grid) ** 2), grid)
    assert information == pytest.approx(0.1123998773016682, rel=1e-12)
    assert efron_relative_efficiency(2.0) == pytest.approx(8 * information, rel=1e-12)


# --- calibration ------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 2**32 - 1), n_bins=st.integers(1, 20))
def test_reliability_curve_equals_scikit_learn(seed, n_bins):
    rng = np.random.default_rng(seed)
    p, y = rng.random(50) ** 2, rng.integers(0, 2, 50)
    frequency, confidence = calibration_curve(y, p, n_bins=n_bins)
    ours = reliability_curve(p, y, n_bins)
    np.testing.assert_allclose(ours.frequency, frequency, rtol=1e-13)
    np.testing.assert_allclose(ours.confidence, confidence, rtol=1e-13)
    assert ours.count.sum() == 50
    assert (ours.count > 0).all()


def test_reliability_bins_are_open_below_and_closed_above():
    curve = reliability_curve([0.0, 0.5, 0.5000001, 1.0], [0, 1, 0, 1], n_bins=2)
    assert curve.count.tolist() == [2, 2]
    assert curve.frequency.tolist() == [0.5, 0.5]
    assert curve.confidence.tolist() == pytest.approx([0.25, 0.75000005], rel=1e-12)
    assert len(reliability_curve(np.linspace(0.05, 0.95, 10), [0] * 10).count) == 10  # ten bins by default
    only = reliability_curve([0.95, 1.0], [1, 1])
    assert (only.confidence.tolist(), only.frequency.tolist(), only.count.tolist()) == ([0.975], [1], [2])


@quick
@given(seed=st.integers(0, 2**32 - 1), n_bins=st.integers(1, 20))
def test_calibration_error_is_the_definition_bin_by_bin(seed, n_bins):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(3) / 2, size=60)
    y = rng.integers(0, 3, 60)
    confidence, correct = proba.max(axis=1), proba.argmax(axis=1) == y
    expected = 0.0
    for k in range(n_bins):
        inside = (confidence > k / n_bins) & (confidence <= (k + 1) / n_bins)
        if inside.any():
            expected += abs(correct[inside].mean() - confidence[inside].mean()) * inside.mean()
    assert expected_calibration_error(proba, y, n_bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(sure, [0, 1]) == 0
    assert expected_calibration_error(sure, [1, 0]) == 1
    value = expected_calibration_error([[0.9, 0.1], [0.4, 0.6]], [0, 0])
    assert value == pytest.approx((0.1 + 0.6) / 2, rel=1e-12)
    assert type(value) is float
    # 0.64 and 0.68 share one of 15 bins (0.6, 0.667] no longer: |1 - 0.64|/2 + |0 - 0.68|/2; in one bin |1/2 - 0.66|.
    proba = [[0.64, 0.36], [0.68, 0.32]]
    assert expected_calibration_error(proba, [0, 1]) == pytest.approx(0.52, rel=1e-12)
    assert expected_calibration_error(proba, [0, 1], n_bins=1) == pytest.approx(0.16, rel=1e-12)
    rounded = np.nextafter(1.0, 2.0)  # a softmax may exceed 1 by a rounding error
    assert expected_calibration_error([[rounded, 0.0]], [0]) == 0


def test_the_total_covariance_is_underconfident_by_one_minus_r_squared():
    X, y = gaussian_classes(0, 20_000, 2, 2.0)
    moments = ClassMoments.from_data(X, y)
    error = {
        covariance: expected_calibration_error(np.exp(linear_discriminant(moments, covariance).log_proba(X)), y)
        for covariance in ("within", "total")
    }
    assert error["within"] < 0.01
    assert error["total"] == pytest.approx(0.107, abs=0.01)
