"""ClassMoments and the closed forms against exact arithmetic (sympy), mpmath, NumPy, SciPy and scikit-learn."""

import threading

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from sklearn.covariance import OAS, ledoit_wolf_shrinkage
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression

from helpers.discriminant import (
    ClassMoments,
    LinearClassifier,
    canonical_axes,
    decision_thresholds,
    gaussian_regression,
    linear_discriminant,
    within_slope_from_total,
)

TOY_X = [[0, 0], [2, 0], [0, 2], [2, 3], [3, 1], [5, 4], [4, 4]]
TOY_Y = [0, 0, 0, 0, 1, 1, 1]
REAL = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}
quick = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def sample(seed: int, n: int = 60, d: int = 3, C: int = 3, offset: float = 0.0):
    """Gaussian classes with a common covariance that is neither diagonal nor well scaled; every class has rows."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(C), rng.integers(0, C, n - C)])
    mix = rng.normal(size=(d, d)) + 2 * np.eye(d)
    return rng.normal(size=(C, d))[y] + rng.normal(size=(n, d)) @ mix + offset, y


def log_loss(classifier: LinearClassifier, X, y) -> float:
    return -classifier.log_proba(X)[np.arange(len(y)), y].mean()


def assert_same_moments(a: ClassMoments, b: ClassMoments, rtol: float = 1e-12, scale: float = 1.0):
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_allclose(a.mean, b.mean, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(a.scatter, b.scatter, rtol=rtol, atol=rtol * np.abs(b.scatter).max())


# --- regression -----------------------------------------------------------------------------------


def test_regression_of_iris_petal_width_matches_the_reference():
    X = load_iris().data
    W, b, cov = gaussian_regression(X[:, :3], X[:, 3:])
    np.testing.assert_allclose(W[:, 0], [-0.20726607375743, 0.22282854386093, 0.52408311477843], rtol=1e-12)
    np.testing.assert_allclose(b, [-0.24030738911226], rtol=1e-12)
    np.testing.assert_allclose(cov, [[0.035868651138185]], rtol=1e-12)


@quick
@given(seed=seeds, d=st.integers(1, 4), m=st.integers(1, 3))
def test_regression_is_the_formula_of_the_joint_covariance_and_least_squares(seed, d, m):
    """Oracles: the partitioned covariance of NumPy (ddof 0), scikit-learn's LinearRegression."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, d)) * 3 + 5
    Y = X @ rng.normal(size=(d, m)) + rng.normal(size=(40, m)) - 2
    W, b, cov = gaussian_regression(X, Y)
    S = np.cov(np.hstack([X, Y]).T, ddof=0)
    expected = np.linalg.inv(S[:d, :d]) @ S[:d, d:]
    np.testing.assert_allclose(W, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(cov, S[d:, d:] - S[d:, :d] @ expected, rtol=1e-8, atol=1e-10)
    ols = LinearRegression().fit(X, Y)
    np.testing.assert_allclose(W.T, ols.coef_.reshape(m, d), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(b, ols.intercept_, rtol=1e-8, atol=1e-10)


def test_regression_keeps_its_digits_at_a_large_offset_and_in_other_units():
    rng = np.random.default_rng(0)
    X = rng.integers(-8, 8, size=(50, 2)).astype(float)  # exactly representable after the shift
    Y = X @ [[1.0], [-2.0]] + rng.normal(size=(50, 1))
    W, _, cov = gaussian_regression(X, Y)
    shifted, _, shifted_cov = gaussian_regression(X * [1e-6, 1e6] + [1e3, 1e12], Y)
    np.testing.assert_allclose(shifted * [[1e-6], [1e6]], W, rtol=1e-6)
    np.testing.assert_allclose(shifted_cov, cov, rtol=1e-6)


# --- moments: construction ------------------------------------------------------------------------


@quick
@given(seed=seeds, d=st.integers(1, 4), C=st.integers(1, 4))
def test_moments_are_what_numpy_computes_class_by_class(seed, d, C):
    X, y = sample(seed, d=d, C=C, offset=3.0)
    moments = ClassMoments.from_data(X, y)
    np.testing.assert_array_equal(moments.count, np.bincount(y))
    np.testing.assert_allclose(moments.mean, [X[y == c].mean(axis=0) for c in range(C)], rtol=1e-12)
    scatter = sum(np.cov(X[y == c].T, ddof=0).reshape(d, d) * (y == c).sum() for c in range(C) if (y == c).any())
    np.testing.assert_allclose(moments.scatter, scatter, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(moments.total_cov(), np.cov(X.T, ddof=0).reshape(d, d), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moments.within_cov(ddof=C), scatter / (60 - C), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(moments.within_cov(), scatter / 60, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(moments.grand_mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.priors, np.bincount(y) / 60, rtol=1e-15)
    np.testing.assert_allclose(
        moments.between_cov(), moments.total_cov() - moments.within_cov(), rtol=1e-10, atol=1e-10
    )
    assert moments.n == 60.0


def test_everything_is_float64_and_inputs_are_left_alone():
    X, y = np.array(TOY_X, dtype=np.float32), np.array(TOY_Y, dtype=np.uint8)
    before = X.copy()
    moments = ClassMoments.from_data(X, y)
    assert {moments.count.dtype, moments.mean.dtype, moments.scatter.dtype} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(X, before)
    classifier = linear_discriminant(moments, solver="qr", shrinkage="ledoit_wolf", X=X, y=y)
    np.testing.assert_array_equal(X, before)
    assert classifier.log_proba(X).dtype == np.float64
    assert ClassMoments([1, 2], [[1], [2]], [[3]]).count.dtype == np.float64
    assert LinearClassifier([[1], [2]], [3, 4]).bias.dtype == np.float64


def test_a_class_without_rows_has_count_and_mean_zero():
    moments = ClassMoments.from_data([[5.0, 1.0], [7.0, 1.0]], [2, 2], n_classes=4)
    assert moments.count.tolist() == [0, 0, 2, 0]
    assert moments.mean.tolist() == [[0, 0], [0, 0], [6, 1], [0, 0]]
    assert moments.scatter.tolist() == [[2, 0], [0, 0]]
    assert moments.between_cov().tolist() == [[0, 0], [0, 0]]
    assert ClassMoments.from_data([[5.0], [7.0]], [0, 2]).count.tolist() == [1, 0, 1]


def test_an_exact_merge():
    """By hand: means (1, 5/4) and (5/2, 3), counts 4 and 2, so 4·2/6 δδ' joins the scatters."""
    a = ClassMoments.from_data([[0, 0], [2, 0], [0, 2], [2, 3]], [0, 0, 0, 0])
    b = ClassMoments.from_data([[1, 5], [4, 1]], [0, 0])
    for merged in (a.merge(b), b.merge(a), a.update([[1, 5], [4, 1]], [0, 0])):
        assert merged.count.tolist() == [6]
        np.testing.assert_allclose(merged.mean, [[3 / 2, 11 / 6]], rtol=1e-15)
        np.testing.assert_allclose(merged.scatter, [[23 / 2, -3 / 2], [-3 / 2, 113 / 6]], rtol=1e-15)


def test_moments_are_immutable_and_update_returns_a_new_object():
    a = ClassMoments.from_data(TOY_X, TOY_Y)
    count, mean, scatter = a.count.copy(), a.mean.copy(), a.scatter.copy()
    b = a.update([[9.0, 9.0]], [1])
    a.merge(b)
    assert b is not a
    assert b.count.tolist() == [4, 4]
    assert_same_moments(a, ClassMoments(count, mean, scatter), rtol=0)
    with pytest.raises(AttributeError):
        a.count = count


# --- moments: streaming, merging, distributing ----------------------------------------------------


@quick
@given(
    seed=seeds, cuts=st.lists(st.integers(1, 59), min_size=1, max_size=6, unique=True), offset=st.sampled_from([0, 1e4])
)
def test_chunked_update_and_merge_equal_the_one_pass_moments(seed, cuts, offset):
    X, y = sample(seed, C=4, offset=offset)
    parts = [p for p in np.split(np.arange(60), sorted(cuts)) if len(p)]
    whole = ClassMoments.from_data(X, y)
    stream = ClassMoments.empty(4, 3)
    for part in parts:
        stream = stream.update(X[part], y[part])
    assert_same_moments(stream, whole, 1e-10 if offset else 1e-12)
    pieces = [ClassMoments.from_data(X[part], y[part], n_classes=4) for part in parts]
    merged = pieces[-1]
    for piece in pieces[-2::-1]:
        merged = piece.merge(merged)
    assert_same_moments(merged, whole, 1e-10 if offset else 1e-12)


@quick
@given(seed=seeds)
def test_merge_is_commutative_and_associative(seed):
    X, y = sample(seed, n=45)
    a, b, c = (ClassMoments.from_data(X[i::3], y[i::3], n_classes=3) for i in range(3))
    assert_same_moments(a.merge(b), b.merge(a), 1e-13)
    assert_same_moments(a.merge(b).merge(c), a.merge(b.merge(c)), 1e-12)
    nothing = ClassMoments.empty(3, 3)
    assert_same_moments(a.merge(nothing), a, rtol=0)
    assert_same_moments(nothing.merge(a), a, rtol=0)


def test_weights_below_one_merge_like_counts():
    """Dividing all counts and the scatter by 100 changes neither means nor covariances."""
    X, y = sample(0)
    parts = [ClassMoments.from_data(X[i::2], y[i::2], n_classes=3) for i in range(2)]
    light = [ClassMoments(part.count / 100, part.mean, part.scatter / 100) for part in parts]
    whole = ClassMoments.from_data(X, y)
    for merged in (light[0].merge(light[1]), *run_workers(light)[0]):
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.within_cov(), whole.within_cov(), rtol=1e-12)
        np.testing.assert_allclose(merged.total_cov(), whole.total_cov(), rtol=1e-12)


def run_workers(shards: list[ClassMoments]) -> tuple[list[ClassMoments], list[tuple[int, ...]]]:
    """all_reduced on one thread per shard, with a sum that waits for all of them as a real all-reduce does."""
    barrier, slots, shapes = threading.Barrier(len(shards)), [None] * len(shards), []
    results: list = [None] * len(shards)

    def work(rank: int) -> None:
        def all_reduce_sum(array):
            assert array.dtype == np.float64
            slots[rank] = array
            barrier.wait(5)
            total = sum(slots)
            barrier.wait(5)
            if rank == 0:
                shapes.append(array.shape)
            return total

        results[rank] = shards[rank].all_reduced(all_reduce_sum)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(shards))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, shapes


@pytest.mark.parametrize(("offset", "rtol"), [(0.0, 1e-12), (1e6, 1e-8)])
def test_all_reduced_gives_every_worker_the_moments_of_all_rows(offset, rtol):
    X, y = sample(1, n=90, d=5, C=4, offset=offset)
    order = np.argsort(y, kind="stable")  # sorted by class, so that most workers lack some class
    shards = [ClassMoments.from_data(X[part], y[part], n_classes=4) for part in np.array_split(order, 3)]
    shards.append(ClassMoments.empty(4, 5))
    results, shapes = run_workers(shards)
    assert shapes == [(4, 6), (5, 5)]
    for result in results:
        assert_same_moments(result, ClassMoments.from_data(X, y), rtol)


def test_all_reduced_keeps_a_class_that_nobody_has_empty():
    shard = ClassMoments.from_data([[1.0], [3.0]], [0, 2], n_classes=4)
    (result, _), _ = run_workers([shard, shard])
    assert result.count.tolist() == [2, 0, 2, 0]
    assert result.mean.tolist() == [[1], [0], [3], [0]]
    assert result.scatter.tolist() == [[0]]


def test_streaming_survives_an_offset_at_which_sums_of_squares_do_not():
    """Oracle: the same integers without the offset. Σxx' - n m m' would be off by more than its value here."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(-9, 10, size=(4000, 2)).astype(float), rng.integers(0, 2, 4000)
    stream = ClassMoments.empty(2, 2)
    for part in np.array_split(np.arange(4000), 100):
        stream = stream.update(X[part] + 1e8, y[part])
    expected = ClassMoments.from_data(X, y)
    np.testing.assert_allclose(stream.scatter, expected.scatter, rtol=1e-7, atol=1e-7 * expected.scatter.max())
    big = X + 1e8
    naive = big.T @ big - 4000 * np.outer(big.mean(axis=0), big.mean(axis=0))
    assert np.abs(naive - 4000 * np.cov(X.T, ddof=0)).max() > expected.scatter.max() / 100


# --- the binary closed form -----------------------------------------------------------------------


def exact_toy(covariance: str, ddof: int = 0):
    """Sympy: slope and bias of the closed form on the toy, in rational numbers (bias without log 3/4)."""
    X = [sympy.Matrix([row]) for row in TOY_X]
    groups = {c: [x for x, label in zip(X, TOY_Y, strict=True) if label == c] for c in (0, 1)}
    mean = {c: sum(rows[1:], rows[0]) / len(rows) for c, rows in groups.items()}
    grand = sum(X[1:], X[0]) / 7
    centre = mean if covariance == "within" else {0: grand, 1: grand}
    S = sympy.zeros(2, 2)
    for c, rows in groups.items():
        for x in rows:
            S += (x - centre[c]).T * (x - centre[c])
    S /= 7 - ddof
    w = S.inv() * (mean[1] - mean[0]).T
    return S, w, (-(mean[0] + mean[1]) * w / 2)[0], mean


def test_toy_in_exact_rationals():
    moments = ClassMoments.from_data(TOY_X, TOY_Y)
    for covariance, S_given, w_given, b_given in (
        ("within", [["6/7", "4/7"], ["4/7", "51/28"]], ["875/242", "-21/121"], "-763/88"),
        ("total", [["150/49", "13/7"], ["13/7", "18/7"]], ["6125/6068", "-147/3034"], "-58751/24272"),
    ):
        S, w, b, _ = exact_toy(covariance)
        assert sympy.Matrix(S_given) == S
        assert sympy.Matrix(w_given) == w
        assert sympy.Rational(b_given) == b
        ours = moments.within_cov() if covariance == "within" else moments.total_cov()
        np.testing.assert_allclose(ours, np.array(S, dtype=float), rtol=1e-14)
        for solver in ("eigh", "cholesky", "qr", "pinv"):
            slope, bias = linear_discriminant(moments, covariance, solver=solver, X=TOY_X, y=TOY_Y).to_binary()
            np.testing.assert_allclose(slope, np.array(w, dtype=float)[:, 0], rtol=1e-13)
            assert bias == pytest.approx(float(b + sympy.log(sympy.Rational(3, 4))), rel=1e-13)
            assert type(bias) is float
    assert linear_discriminant(moments).to_binary()[1] == pytest.approx(-8.958136617906326, rel=1e-13)
    assert linear_discriminant(moments, "total").to_binary()[1] == pytest.approx(-2.708207781087246, rel=1e-13)


def test_toy_probabilities_and_the_unbiased_covariance():
    moments = ClassMoments.from_data(TOY_X, TOY_Y)
    point = [[2.0, 2.0]]
    assert np.exp(linear_discriminant(moments).log_proba(point))[0, 1] == pytest.approx(0.11166564568628478, rel=1e-13)
    total = linear_discriminant(moments, "total")
    assert np.exp(total.log_proba(point))[0, 1] == pytest.approx(0.31295884895381568, rel=1e-13)
    unbiased = ClassMoments(moments.priors, moments.mean, moments.within_cov(ddof=2))
    w, b = linear_discriminant(unbiased).to_binary()
    _, exact_w, exact_b, _ = exact_toy("within", ddof=2)
    assert sympy.Matrix(["625/242", "-15/121"]) == exact_w
    np.testing.assert_allclose(w, np.array(exact_w, dtype=float)[:, 0], rtol=1e-13)
    assert b == pytest.approx(-6.480863890633599, rel=1e-13)
    assert b == pytest.approx(float(exact_b) + np.log(3 / 4), rel=1e-13)


def test_toy_laws_of_the_total_covariance_and_least_squares():
    moments = ClassMoments.from_data(TOY_X, TOY_Y)
    w, _ = linear_discriminant(moments).to_binary()
    w_total, _ = linear_discriminant(moments, "total").to_binary()
    delta, p1 = moments.mean[1] - moments.mean[0], 3 / 7
    D2 = delta @ w
    assert pytest.approx(5103 / 484, rel=1e-13) == D2
    np.testing.assert_allclose(w_total, 847 / 3034 * w, rtol=1e-13)  # the factor is 1 - R²
    np.testing.assert_allclose(within_slope_from_total(w_total, *moments.mean, p1), w, rtol=1e-13)
    beta, intercept, residual = gaussian_regression(TOY_X, np.array(TOY_Y)[:, None])
    np.testing.assert_allclose(beta[:, 0], [375 / 1517, -18 / 1517], rtol=1e-12)
    assert intercept[0] == pytest.approx(-171 / 1517, rel=1e-12)
    assert 1 - residual[0, 0] / (p1 * (1 - p1)) == pytest.approx(2187 / 3034, rel=1e-12)
    np.testing.assert_allclose(beta[:, 0], p1 * (1 - p1) * w_total, rtol=1e-12)
    assert decision_thresholds(p1, D2).least_squares == pytest.approx(7 / 24, rel=1e-13)


def test_population_moments_binary_and_three_classes():
    S, means = [[2, 0.5], [0.5, 1]], [[0, 0], [2, 1], [-1, 2]]
    w, b = linear_discriminant(ClassMoments([0.7, 0.3], means[:2], S)).to_binary()
    np.testing.assert_allclose(w, [6 / 7, 4 / 7], rtol=1e-14)
    assert b == pytest.approx(-8 / 7 + np.log(3 / 7), rel=1e-14)
    assert 1 / (1 + np.exp(-(w.sum() + b))) == pytest.approx(0.36318113032940957, rel=1e-14)
    assert w @ means[1] == pytest.approx(16 / 7, rel=1e-14)

    moments = ClassMoments([0.5, 0.3, 0.2], means, S)
    classifier = linear_discriminant(moments)
    expected = [0.5346266327021474, 0.4268605087301711, 0.0385128585676815]
    np.testing.assert_allclose(np.exp(classifier.log_proba([[1, 1]]))[0], expected, rtol=1e-13)
    # The textbook's parametrisation: add the common vector S⁻¹m to the weights and the same number to all biases.
    textbook = classifier.weights + np.linalg.solve(S, moments.grand_mean)
    np.testing.assert_allclose(textbook, [[0, 0], [6 / 7, 4 / 7], [-8 / 7, 18 / 7]], atol=1e-14)
    bias = classifier.bias - classifier.bias[0] + np.log(0.5)
    np.testing.assert_allclose(bias, [-0.6931471805599453, -2.3468299471830788, -4.7522950552912432], rtol=1e-13)
    np.testing.assert_allclose(moments.priors @ classifier.weights, 0, atol=1e-15)


def test_unequal_variances_in_the_population():
    """N(0, 1) against N(2, 4): W = 5/2, T = 7/2. Log-losses by SciPy's quadrature in the reference values."""
    moments = ClassMoments([0.5, 0.5], [[0], [2]], [[2.5]])
    grid = np.linspace(-40, 60, 200_001)
    for covariance, slope, loss in (("within", 0.8, 0.52142846131450192), ("total", 4 / 7, 0.53379125481026460)):
        classifier = linear_discriminant(moments, covariance)
        w, b = classifier.to_binary()
        assert (w[0], b) == pytest.approx((slope, -slope), rel=1e-14)
        logp = classifier.log_proba(grid[:, None])
        density = 0.5 * np.stack([stats.norm.pdf(grid, 0, 1), stats.norm.pdf(grid, 2, 2)], axis=1)
        assert -np.trapezoid((density * logp).sum(axis=1), grid) == pytest.approx(loss, rel=1e-10)


# --- real data and scikit-learn -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "covariance", "correct", "loss"),
    [
        ("iris", "within", 147, 0.0437170601285406),
        ("iris", "total", 130, 0.449531312859789),
        ("wine", "within", 178, 0.00456264500956264),
        ("wine", "total", 178, 0.197034714719127),
        ("breast_cancer", "within", 549, 0.0912574361872229),
        ("breast_cancer", "total", 534, 0.22490370382285),
    ],
)
@pytest.mark.parametrize("solver", ["eigh", "cholesky", "qr"])
def test_training_set_numbers_of_real_data(name, covariance, correct, loss, solver):
    X, y = REAL[name](return_X_y=True)
    classifier = linear_discriminant(ClassMoments.from_data(X, y), covariance, solver=solver, X=X, y=y)
    assert (classifier.logits(X).argmax(axis=1) == y).sum() == correct
    assert log_loss(classifier, X, y) == pytest.approx(loss, rel=1e-11)


def test_iris_in_fifty_digits():
    """Oracle: mpmath, from the raw table."""
    X, y = load_iris(return_X_y=True)
    with mpmath.workdps(50):
        rows = [mpmath.matrix([mpmath.mpf(repr(float(v))) for v in row]) for row in X]
        means = [sum((rows[i] for i in np.flatnonzero(y == c)), mpmath.zeros(4, 1)) / 50 for c in range(3)]
        W = mpmath.zeros(4, 4)
        for row, label in zip(rows, y, strict=True):
            W += (row - means[label]) * (row - means[label]).T / 150
        slopes = [mpmath.lu_solve(W, mean) for mean in means]
        total = mpmath.mpf(0)
        for row, label in zip(rows, y, strict=True):
            logits = [(w.T * (row - mean / 2))[0] for w, mean in zip(slopes, means, strict=True)]
            total += mpmath.log(sum(mpmath.exp(v - logits[label]) for v in logits)) / 150
    classifier = linear_discriminant(ClassMoments.from_data(X, y))
    assert log_loss(classifier, X, y) == pytest.approx(float(total), rel=1e-12)


@pytest.mark.parametrize("name", REAL)
def test_equal_to_scikit_learn(name):
    """Standardised, because scikit-learn's lsqr keeps only 8 digits of the raw breast cancer table."""
    X, y = REAL[name](return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    for solver in ("eigh", "cholesky", "qr"):
        ours = linear_discriminant(ClassMoments.from_data(X, y), solver=solver, X=X, y=y).logits(X)
        ours = ours[:, 1] - ours[:, 0] if name == "breast_cancer" else ours - ours[:, :1]
        for theirs in ("svd", "lsqr", "eigen"):
            scores = LinearDiscriminantAnalysis(solver=theirs).fit(X, y).decision_function(X)
            scores = scores - (0 if scores.ndim == 1 else scores[:, :1])
            np.testing.assert_allclose(ours, scores, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_fixed_shrinkage_equals_scikit_learn(shrinkage):
    X, y = load_wine(return_X_y=True)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X, y)
    contrast = theirs.coef_ - theirs.coef_[0]
    for solver in ("eigh", "cholesky", "qr", "pinv"):
        ours = linear_discriminant(ClassMoments.from_data(X, y), shrinkage=shrinkage, solver=solver, X=X, y=y)
        np.testing.assert_allclose(ours.weights - ours.weights[0], contrast, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            ours.bias - ours.bias[0], theirs.intercept_ - theirs.intercept_[0], rtol=1e-9, atol=1e-9
        )


def shrunk_by_hand(X, y, covariance, a):
    """Textbook closed form on the shrunk covariance, by NumPy's inverse: contrasts of the weights against class 0."""
    moments = ClassMoments.from_data(X, y)
    R = X - (moments.mean[y] if covariance == "within" else X.mean(axis=0))
    S = R.T @ R / len(X)
    S = (1 - a) * S + a * np.trace(S) / len(S) * np.eye(len(S))
    return (moments.mean - moments.mean[0]) @ np.linalg.inv(S), R


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("covariance", ["within", "total"])
def test_estimated_shrinkage_equals_scikit_learn(name, covariance):
    """Oracle for the intensity: sklearn.covariance on the residuals."""
    X, y = REAL[name](return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    moments = ClassMoments.from_data(X, y)
    _, R = shrunk_by_hand(X, y, covariance, 0.5)
    intensity = {
        "ledoit_wolf": ledoit_wolf_shrinkage(R, assume_centered=True),
        "oas": OAS(assume_centered=True).fit(R).shrinkage_,
    }
    for shrinkage, a in intensity.items():
        assert 0.001 < a < 0.3
        expected, _ = shrunk_by_hand(X, y, covariance, a)
        for solver in ("eigh", "qr"):
            ours = linear_discriminant(moments, covariance, shrinkage, solver, X=X, y=y).weights
            np.testing.assert_allclose(ours - ours[0], expected, rtol=1e-8, atol=1e-9)
    ours = linear_discriminant(moments, covariance, "oas").weights  # needs no rows
    np.testing.assert_allclose(ours - ours[0], expected, rtol=1e-8, atol=1e-9)


def test_shrinkage_intensities_of_raw_and_standardised_data():
    """Ledoit-Wolf towards a multiple of I depends on the units (values measured with scikit-learn)."""
    for name, raw, standardised in (
        ("iris", 0.039858958, 0.036829959),
        ("wine", 0.015467, 0.186388),
        ("breast_cancer", 0.018650, 0.040806),
    ):
        X, y = REAL[name](return_X_y=True)
        for data, a in ((X, raw), ((X - X.mean(axis=0)) / X.std(axis=0), standardised)):
            moments = ClassMoments.from_data(data, y)
            ours = linear_discriminant(moments, shrinkage="ledoit_wolf", X=data, y=y)
            fixed = linear_discriminant(moments, shrinkage=a)
            np.testing.assert_allclose(ours.logits(data), fixed.logits(data), rtol=1e-3, atol=1e-3)


def test_one_feature_has_nothing_to_shrink():
    moments = ClassMoments.from_data([[0.0], [1.0], [5.0], [7.0]], [0, 0, 1, 1])  # d = 1: S is its own target
    for shrinkage in ("oas", 1.0, 0.25):
        assert linear_discriminant(moments, shrinkage=shrinkage).to_binary() == linear_discriminant(moments).to_binary()


def test_estimated_intensity_is_at_most_one():
    """White noise is so close to a multiple of I that both estimates would shrink by more than everything."""
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    moments = ClassMoments.from_data(X, y)
    R = X - moments.mean[y]
    assert OAS(assume_centered=True).fit(R).shrinkage_ == ledoit_wolf_shrinkage(R, assume_centered=True) == 1.0
    full = linear_discriminant(moments, shrinkage=1.0).weights
    for shrinkage in ("oas", "ledoit_wolf"):
        ours = linear_discriminant(moments, shrinkage=shrinkage, X=X, y=y).weights
        np.testing.assert_allclose(ours, full, rtol=1e-12)


# --- properties of the closed form ----------------------------------------------------------------


@quick
@given(seed=seeds, covariance=st.sampled_from(["within", "total"]), solver=st.sampled_from(["eigh", "cholesky", "qr"]))
def test_affine_maps_of_the_features_change_no_probability(seed, covariance, solver):
    X, y = sample(seed)
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    mapped = (X @ A) * [1e-3, 1.0, 1e3] + rng.normal(size=3) * 10
    before = linear_discriminant(ClassMoments.from_data(X, y), covariance, solver=solver, X=X, y=y).log_proba(X)
    after = linear_discriminant(ClassMoments.from_data(mapped, y), covariance, solver=solver, X=mapped, y=y)
    np.testing.assert_allclose(after.log_proba(mapped), before, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("solver", ["eigh", "cholesky", "qr", "pinv"])
def test_units_do_not_matter(solver):
    X, y = sample(0)
    before = fit(X, y, solver=solver).log_proba(X)
    units = X * [1e-12, 1.0, 1e12]
    np.testing.assert_allclose(fit(units, y, solver=solver).log_proba(units), before, rtol=1e-9, atol=1e-10)


@quick
@given(seed=seeds)
def test_a_common_vector_changes_no_probability_and_rows_sum_to_one(seed):
    X, y = sample(seed)
    classifier = linear_discriminant(ClassMoments.from_data(X, y))
    shifted = LinearClassifier(classifier.weights + np.array([3.0, -1.0, 2.0]), classifier.bias - 7.0)
    np.testing.assert_allclose(shifted.log_proba(X), classifier.log_proba(X), atol=1e-10)
    np.testing.assert_allclose(np.exp(classifier.log_proba(X)).sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(classifier.logits(X), X @ classifier.weights.T + classifier.bias, rtol=1e-14)


@quick
@given(seed=seeds)
def test_relabelling_the_classes_permutes_the_probabilities(seed):
    X, y = sample(seed)
    permutation = np.random.default_rng(seed).permutation(3)
    before = linear_discriminant(ClassMoments.from_data(X, y)).log_proba(X)
    after = linear_discriminant(ClassMoments.from_data(X, permutation[y])).log_proba(X)
    np.testing.assert_allclose(after[:, permutation], before, rtol=1e-9, atol=1e-10)


@quick
@given(seed=seeds, d=st.integers(1, 4))
def test_total_slope_is_one_minus_r_squared_times_the_within_slope(seed, d):
    X, y = sample(seed, d=d, C=2)
    moments = ClassMoments.from_data(X, y)
    w, _ = linear_discriminant(moments).to_binary()
    w_total, b_total = linear_discriminant(moments, "total").to_binary()
    r2 = LinearRegression().fit(X, y).score(X, y)  # scikit-learn's R²
    np.testing.assert_allclose(w_total, (1 - r2) * w, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        within_slope_from_total(w_total, *moments.mean, moments.priors[1]), w, rtol=1e-8, atol=1e-12
    )
    midpoint = moments.mean.mean(axis=0)
    assert w_total @ midpoint + b_total == pytest.approx(np.log(moments.priors[1] / moments.priors[0]), abs=1e-9)


def test_log_proba_is_finite_where_probabilities_underflow():
    classifier = LinearClassifier([[0.0], [1.0], [-1.0]], [0.0, 0.0, 0.0])
    logp = classifier.log_proba([[5000.0], [-5000.0]])
    np.testing.assert_array_equal(logp, [[-5000, 0, -10000], [-5000, -10000, 0]])


def test_features_with_a_large_offset_keep_their_probabilities():
    """S⁻¹μ_c as it stands does not: its logits are of the order 1e14 here, which leaves two digits after the point."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = rng.integers(-20, 20, size=(300, 2)).astype(float) + 10 * y[:, None]
    before = linear_discriminant(ClassMoments.from_data(X, y)).log_proba(X)
    for solver in ("eigh", "qr"):
        big = X + 1e8
        moments = ClassMoments.from_data(big, y)
        after = linear_discriminant(moments, solver=solver, X=big, y=y).log_proba(big)
        np.testing.assert_allclose(after, before, atol=1e-6)
    textbook = moments.mean @ np.linalg.inv(moments.within_cov())
    bias = np.log(moments.priors) - (moments.mean * textbook).sum(axis=1) / 2
    naive = LinearClassifier(textbook, bias).log_proba(big)
    assert np.abs(naive - before).max() > 0.01


@pytest.mark.parametrize("solver", ["eigh", "cholesky", "qr"])
def test_little_variance_is_not_taken_for_none(solver):
    """Within-class deviations of 1e-6 of the distance between classes, or of 1e-12 of the offset, are data."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    integers = rng.integers(-9, 10, size=(200, 2)) + 3.0 * y[:, None]
    before = fit(integers, y, solver=solver).log_proba(integers)
    offset = integers / 1024 + [2.0**33, -(2.0**32)]  # exact
    np.testing.assert_allclose(fit(offset, y, solver=solver).log_proba(offset), before, atol=0.05)
    apart = rng.normal(size=(200, 1)) * 1e-6 + y[:, None]
    w, _ = fit(apart, y, solver=solver).to_binary()
    expected = (apart[y == 1].mean() - apart[y == 0].mean()) / np.var(apart[:, 0] - np.array([0, 1])[y], ddof=0)
    assert w[0] == pytest.approx(expected, rel=0.05)


def test_cholesky_needs_no_eigenvalues_and_the_others_no_cholesky(monkeypatch):
    X, y = sample(0)
    expected = fit(X, y).log_proba(X)

    def refuse(*_, **__):
        raise AssertionError("not this solver's factorisation")

    with monkeypatch.context() as patch:
        patch.setattr(linalg, "eigh", refuse)
        for solver in ("cholesky", "qr"):
            np.testing.assert_allclose(fit(X, y, solver=solver).log_proba(X), expected, rtol=1e-10, atol=1e-12)
    with monkeypatch.context() as patch:
        patch.setattr(linalg, "cholesky", refuse)
        for solver in ("eigh", "pinv", "qr"):
            np.testing.assert_allclose(fit(X, y, solver=solver).log_proba(X), expected, rtol=1e-10, atol=1e-12)


def test_canonical_axes_diagonalise_both_covariances_and_explain_the_total_covariance():
    """Oracle: scipy's generalised symmetric eigenproblem; logits rebuilt axis by axis."""
    for name, expected in (("iris", (32.191929198, 0.285391043)), ("wine", (9.081739435, 4.128469046))):
        X, y = REAL[name](return_X_y=True)
        moments = ClassMoments.from_data(X, y)
        eigenvalues, axes, shrink = canonical_axes(moments)
        np.testing.assert_allclose(eigenvalues, expected, rtol=3e-9)
        oracle = linalg.eigh(moments.between_cov(), moments.within_cov(), eigvals_only=True)[::-1][:2]
        np.testing.assert_allclose(eigenvalues, oracle, rtol=1e-9)
        np.testing.assert_allclose(axes.T @ moments.within_cov() @ axes, np.eye(2), atol=1e-10)
        np.testing.assert_allclose(axes.T @ moments.between_cov() @ axes, np.diag(eigenvalues), atol=1e-9)
        np.testing.assert_allclose(shrink, 1 / (1 + eigenvalues), rtol=1e-14)
        z, centres = (X - moments.grand_mean) @ axes, (moments.mean - moments.grand_mean) @ axes
        for covariance, factor in (("within", 1.0), ("total", shrink)):
            rebuilt = (factor * (z[:, None] * centres - centres**2 / 2)).sum(axis=2) + np.log(moments.priors)
            logits = linear_discriminant(moments, covariance).logits(X)
            np.testing.assert_allclose(
                rebuilt - rebuilt.mean(axis=1, keepdims=True), logits - logits.mean(axis=1, keepdims=True), atol=1e-8
            )


def test_canonical_axes_of_many_classes_in_few_dimensions_and_of_two_classes():
    X, y = sample(3, n=200, d=2, C=5)
    result = canonical_axes(ClassMoments.from_data(X, y))
    assert result.eigenvalues.shape == (2,)
    assert result.axes.shape == (2, 2)
    assert (np.diff(result.eigenvalues) <= 0).all()
    X, y = load_breast_cancer(return_X_y=True)
    moments = ClassMoments.from_data(X, y)
    eigenvalues, axes, shrink = canonical_axes(moments)
    w, _ = linear_discriminant(moments).to_binary()
    D2 = (moments.mean[1] - moments.mean[0]) @ w
    assert pytest.approx(14.677747845932, rel=1e-10) == D2
    np.testing.assert_allclose(eigenvalues, [moments.priors.prod() * D2], rtol=1e-10)
    np.testing.assert_allclose(shrink, [0.225675347358], rtol=1e-10)
    assert axes.shape == (30, 1)


# --- thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p1", "t", "sinh"),
    [
        (0.6, 0.4054651081081644, 0.4166666666666667),
        (0.7, 0.8472978603872036, 0.9523809523809524),
        (0.9, 2.197224577336219, 4.444444444444444),
        (0.99, 4.595119850134590, 49.49494949494949),
    ],
)
def test_thresholds(p1, t, sinh):
    within, total, least_squares = decision_thresholds(p1, 4.0)
    assert within == pytest.approx(-t, rel=1e-13)
    assert total == pytest.approx(-t * (1 + 4 * p1 * (1 - p1)), rel=1e-13)
    assert least_squares == pytest.approx(-sinh, rel=1e-12)
    assert decision_thresholds(1 - p1, 4.0) == pytest.approx((-within, -total, -least_squares), rel=1e-12)


def test_thresholds_by_hand_and_as_arrays():
    assert decision_thresholds(0.3, 4.0) == pytest.approx((0.8472978604, 1.5590280631, 0.9523809524), rel=1e-9)
    assert decision_thresholds(0.5, 9.0) == (0.0, 0.0, 0.0)
    assert decision_thresholds(0.3, 0.0).total == decision_thresholds(0.3, 0.0).within
    arrays = decision_thresholds([0.3, 0.6], 4.0)
    assert [values.shape for values in arrays] == [(2,)] * 3
    for i, p1 in enumerate((0.3, 0.6)):
        assert tuple(values[i] for values in arrays) == pytest.approx(decision_thresholds(p1, 4.0), rel=1e-14)


@quick
@given(seed=seeds)
def test_thresholds_are_where_the_three_fitted_rules_switch(seed):
    X, y = sample(seed, C=2, d=2, n=100)
    moments = ClassMoments.from_data(X, y)
    w, b = linear_discriminant(moments).to_binary()
    D2 = (moments.mean[1] - moments.mean[0]) @ w
    thresholds = decision_thresholds(moments.priors[1], D2)
    beta, a, _ = gaussian_regression(X, y[:, None])
    w_total, b_total = linear_discriminant(moments, "total").to_binary()
    midpoint = moments.mean.mean(axis=0)
    rules = ((w, b), (w_total, b_total), (beta[:, 0], a[0] - 0.5))
    for (slope, bias), threshold in zip(rules, thresholds, strict=True):
        at = midpoint + threshold * w / (w @ w)  # the point with u = threshold
        assert slope @ at + bias == pytest.approx(0, abs=1e-8 * max(1, abs(threshold)))


@pytest.mark.parametrize(
    ("p1", "delta", "errors"),
    [
        (0.7, 2, (0.1387485299708658, 0.1501283391484684, 0.1390241222209125)),
        (0.9, 2, (0.0700606858585391, 0.0746209308053692, 0.0894912218476874)),
        (0.7, 3, (0.0596458110061290, 0.0813090824708035, 0.0597500751604851)),
        (0.9, 3, (0.0336510851364936, 0.0452031242488671, 0.0505521185013626)),
    ],
)
def test_error_rates_of_the_three_rules_on_gaussian_classes(p1, delta, errors):
    """Oracle: the normal distribution function; u ~ N(±Δ²/2, Δ²)."""
    for threshold, error in zip(decision_thresholds(p1, delta**2), errors, strict=True):
        missed = p1 * stats.norm.cdf((threshold - delta**2 / 2) / delta)
        false_alarm = (1 - p1) * stats.norm.sf((threshold + delta**2 / 2) / delta)
        assert missed + false_alarm == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    ("p1", "within", "total"),
    [(0.7, 0.319006784142095, 0.356036423798537), (0.9, 0.183062567024888, 0.190031958749131)],
)
def test_log_losses_on_gaussian_classes(p1, within, total):
    grid = np.linspace(-12, 14, 100_001)
    moments = ClassMoments([1 - p1, p1], [[0], [2]], [[1]])
    density = np.stack([(1 - p1) * stats.norm.pdf(grid), p1 * stats.norm.pdf(grid, 2)], axis=1)
    for covariance, loss in (("within", within), ("total", total)):
        logp = linear_discriminant(moments, covariance).log_proba(grid[:, None])
        assert -np.trapezoid((density * logp).sum(axis=1), grid) == pytest.approx(loss, rel=1e-10)


# --- singular and ill-conditioned covariances -----------------------------------------------------


def fit(X, y, **options):
    return linear_discriminant(ClassMoments.from_data(X, y), X=X, y=y, **options)


@pytest.mark.parametrize("solver", ["eigh", "cholesky", "qr"])
@pytest.mark.parametrize(
    "case", ["constant", "constant within classes", "collinear", "duplicate", "few rows", "all constant"]
)
def test_singular_covariance_names_its_rank_and_the_remedy(solver, case):
    X, y = sample(0, n=2000)
    rank = 3
    if case == "constant":
        X = np.column_stack([X, np.full(2000, 0.1)])
    elif case == "constant within classes":
        X = np.column_stack([X, np.array([0.1, 0.7, 1 / 3])[y]])
    elif case == "collinear":
        X = np.column_stack([X, X @ [1.0, 2.0, 3.0]])
    elif case == "duplicate":
        X = np.column_stack([X, X[:, 0] * 1e6])
    elif case == "few rows":
        X, y, rank = np.random.default_rng(0).normal(size=(10, 12)), np.arange(10) % 2, 8
    else:
        X, y, rank = np.array([[0.1], [0.1], [0.3], [0.3]]), np.array([0, 0, 1, 1]), 0
    message = rf"covariance is singular: rank {rank} of {X.shape[1]}; use shrinkage"
    with pytest.raises(np.linalg.LinAlgError, match=message):
        fit(X, y, solver=solver)
    if case != "all constant":
        for remedy in (0.1, "oas", "ledoit_wolf"):
            assert np.isfinite(fit(X, y, solver=solver, shrinkage=remedy).log_proba(X)).all()


def test_digits_are_singular_and_the_pseudo_inverse_drops_what_is_constant():
    """Three pixels of the digits are constant; oracle for the rest: scikit-learn's svd solver, which drops them too."""
    X, y = load_digits(return_X_y=True)
    with pytest.raises(np.linalg.LinAlgError, match="rank 61 of 64"):
        fit(X, y)
    varying = X.std(axis=0) > 0
    classifier = fit(X, y, solver="pinv")
    np.testing.assert_allclose(classifier.log_proba(X), fit(X[:, varying], y).log_proba(X[:, varying]), atol=1e-9)
    assert (classifier.weights[:, ~varying] == 0).all()
    theirs = LinearDiscriminantAnalysis().fit(X[:, varying], y)
    assert (classifier.logits(X).argmax(axis=1) == theirs.predict(X[:, varying])).all()
    assert (classifier.logits(X).argmax(axis=1) == y).mean() == pytest.approx(0.9638, abs=5e-5)


def test_pseudo_inverse_with_fewer_rows_than_features():
    """Oracle: NumPy's pinv of the correlation matrix, rescaled."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 40)) * np.geomspace(1, 1e3, 40), np.arange(20) % 2
    moments = ClassMoments.from_data(X, y)
    scale = np.sqrt(np.diag(moments.within_cov()))
    inverse = np.linalg.pinv(moments.within_cov() / np.outer(scale, scale), rcond=1e-10, hermitian=True)
    expected = ((moments.mean[1] - moments.mean[0]) / scale) @ inverse / scale
    np.testing.assert_allclose(linear_discriminant(moments, solver="pinv").to_binary()[0], expected, rtol=1e-8)


def ill_conditioned(kappa: float):
    """Features of condition number kappa that no diagonal scaling repairs, and p(1|x) in 60 digits (mpmath)."""
    rng = np.random.default_rng(5)
    n, d = 60, 3
    y = np.arange(n) % 2
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2))
    X = (rng.normal(size=(n, d)) + 0.5 * y[:, None]) @ (left * np.geomspace(1, 1 / kappa, d)) @ right
    with mpmath.workdps(60):
        rows = [mpmath.matrix([mpmath.mpf(float(v)) for v in row]) for row in X]
        means = [sum((rows[i] for i in np.flatnonzero(y == c)), mpmath.zeros(d, 1)) / (n // 2) for c in (0, 1)]
        W = mpmath.zeros(d, d)
        for row, label in zip(rows, y, strict=True):
            W += (row - means[label]) * (row - means[label]).T / n
        w = mpmath.lu_solve(W, means[1] - means[0])
        p = [float(1 / (1 + mpmath.exp(-(w.T * (row - (means[0] + means[1]) / 2))[0]))) for row in rows]
    return X, y, np.array(p)


def test_not_forming_the_covariance_saves_half_the_digits():
    X, y, p = ill_conditioned(1e5)
    error = {s: np.abs(np.exp(fit(X, y, solver=s).log_proba(X)[:, 1]) - p).max() for s in ("eigh", "cholesky", "qr")}
    assert error["qr"] < 1e-10
    assert 1e-9 < error["eigh"] < 1e-4
    assert 1e-9 < error["cholesky"] < 1e-4


def test_beyond_half_the_digits_only_qr_answers():
    X, y, p = ill_conditioned(1e9)
    for solver in ("eigh", "cholesky"):
        with pytest.raises(np.linalg.LinAlgError, match=r"rank [12] of 3"):
            fit(X, y, solver=solver)
    assert np.abs(np.exp(fit(X, y, solver="qr").log_proba(X)[:, 1]) - p).max() < 1e-5
