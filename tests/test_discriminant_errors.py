"""Bad input: each error names the argument, the rule and the value."""

import re

import numpy as np
import pytest

from helpers.discriminant import (
    ClassMoments,
    LinearClassifier,
    canonical_axes,
    decision_thresholds,
    efron_relative_efficiency,
    expected_calibration_error,
    gaussian_regression,
    linear_discriminant,
    logistic_mle,
    reliability_curve,
    within_slope_from_total,
)

X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 3.0], [3.0, 1.0], [5.0, 4.0], [4.0, 4.0]])
Y = np.array([0, 0, 0, 0, 1, 1, 1])
MOMENTS = ClassMoments.from_data(X, Y)
ONE = ClassMoments.from_data(X, np.zeros(7, int))
GAP = ClassMoments.from_data(X, Y * 2, n_classes=5)
NOTHING = ClassMoments.empty(2, 2)
PLANE = LinearClassifier([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 0.0, 0.0])
NAN = np.array([[np.nan, 0.0], [np.inf, 1.0]])


def fit(**options):
    return linear_discriminant(MOMENTS, **options)


BAD = {
    # moments
    "X is 1-D": (lambda: ClassMoments.from_data([1.0, 2.0], [0, 1]), "X must have 2 dimension(s), got shape (2,)"),
    "X is 3-D": (lambda: ClassMoments.from_data(X[None], Y), "X must have 2 dimension(s), got shape (1, 7, 2)"),
    "X has no rows": (
        lambda: ClassMoments.from_data(np.empty((0, 2)), np.empty(0, int)),
        "X must have at least one row and one column, got shape (0, 2)",
    ),
    "X has no columns": (
        lambda: ClassMoments.from_data(np.empty((2, 0)), [0, 1]),
        "X must have at least one row and one column, got shape (2, 0)",
    ),
    "X is not finite": (
        lambda: ClassMoments.from_data(NAN, [0, 1]),
        "X must be finite, got 2 NaN or infinite value(s)",
    ),
    "X is text": (lambda: ClassMoments.from_data([["a", "b"]], [0]), "X must be an array of numbers: "),
    "X is ragged": (lambda: ClassMoments.from_data([[1.0], [1.0, 2.0]], [0, 1]), "X must be an array of numbers: "),
    "y too short": (
        lambda: ClassMoments.from_data(X, Y[:6]),
        "y must have shape (7,), one label per row, got (6,)",
    ),
    "y is a column": (
        lambda: ClassMoments.from_data(X, Y[:, None]),
        "y must have shape (7,), one label per row, got (7, 1)",
    ),
    "y is float": (
        lambda: ClassMoments.from_data(X, Y.astype(float)),
        "y must hold integer labels, got dtype float64",
    ),
    "y is bool": (lambda: ClassMoments.from_data(X, Y == 1), "y must hold integer labels, got dtype bool"),
    "y is negative": (lambda: ClassMoments.from_data(X, Y - 2), "y must hold labels >= 0, got -2"),
    "y out of range": (
        lambda: ClassMoments.from_data(X, Y + 2, n_classes=3),
        "y must hold labels below 3, the number of classes, got 3",
    ),
    "n_classes is 0": (
        lambda: ClassMoments.from_data(X, Y, n_classes=0),
        "n_classes must be an integer >= 1, got 0",
    ),
    "n_classes is float": (
        lambda: ClassMoments.from_data(X, Y, n_classes=2.0),
        "n_classes must be an integer >= 1, got 2.0",
    ),
    "n_classes is bool": (
        lambda: ClassMoments.from_data(X, Y * 0, n_classes=True),
        "n_classes must be an integer >= 1, got True",
    ),
    "empty without classes": (lambda: ClassMoments.empty(0, 2), "n_classes must be an integer >= 1, got 0"),
    "empty without features": (lambda: ClassMoments.empty(2, -1), "n_features must be an integer >= 1, got -1"),
    "update with other width": (lambda: MOMENTS.update([[1.0]], [0]), "X must have 2 columns, got 1"),
    "update with new label": (
        lambda: MOMENTS.update(X[:1], [2]),
        "y must hold labels below 2, the number of classes, got 2",
    ),
    "merge of other shapes": (
        lambda: MOMENTS.merge(ClassMoments.empty(3, 2)),
        "other must have (classes, features) (2, 2), got (3, 2)",
    ),
    "count has wrong length": (
        lambda: ClassMoments([1.0], [[0.0], [1.0]], [[1.0]]),
        "count, mean, scatter must have shapes (C,), (C, d), (d, d), got (1,), (2, 1), (1, 1)",
    ),
    "scatter has wrong shape": (
        lambda: ClassMoments([1.0, 1.0], [[0.0], [1.0]], np.eye(2)),
        "count, mean, scatter must have shapes (C,), (C, d), (d, d), got (2,), (2, 1), (2, 2)",
    ),
    "count is negative": (lambda: ClassMoments([1.0, -2.0], [[0.0], [1.0]], [[1.0]]), "count must be >= 0, got -2.0"),
    "count is 2-D": (
        lambda: ClassMoments([[1.0]], [[0.0]], [[1.0]]),
        "count must have 1 dimension(s), got shape (1, 1)",
    ),
    "mean is nan": (
        lambda: ClassMoments([1.0], [[np.nan]], [[1.0]]),
        "mean must be finite, got 1 NaN or infinite value(s)",
    ),
    "moments without classes": (
        lambda: ClassMoments([], np.empty((0, 1)), [[1.0]]),
        "mean must have at least one row and one column, got shape (0, 1)",
    ),
    "scatter is asymmetric": (
        lambda: ClassMoments([1.0], [[0.0, 0.0]], [[2.0, 0.5], [5.0, 1.0]]),
        "scatter must be symmetric, got asymmetry 4.5",
    ),
    "scatter is slightly asymmetric": (
        lambda: ClassMoments([1.0], [[0.0, 0.0]], [[2.0, 0.5], [0.5001, 1.0]]),
        "scatter must be symmetric, got asymmetry 0.0001",
    ),
    "ddof is n": (lambda: MOMENTS.within_cov(ddof=7), "ddof must be in [0, n = 7), got 7"),
    "ddof is negative": (lambda: MOMENTS.within_cov(ddof=-1), "ddof must be in [0, n = 7), got -1"),
    "covariance of nothing": (lambda: NOTHING.within_cov(), "ddof must be in [0, n = 0), got 0"),
    "priors of nothing": (lambda: NOTHING.priors, "count must have a positive sum, got no rows at all"),
    "sum of another shape": (
        lambda: MOMENTS.all_reduced(lambda array: array[:1]),
        "the result of all_reduce_sum must have shape (2, 3), got (1, 3)",
    ),
    "sum returns nothing": (
        lambda: MOMENTS.all_reduced(lambda array: None),
        "the result of all_reduce_sum must have 2 dimension(s), got shape ()",
    ),
    # closed form
    "one class": (lambda: linear_discriminant(ONE), "moments must have at least 2 classes, got 1"),
    "empty classes": (lambda: linear_discriminant(GAP), "moments must have rows in every class, got none in [1, 3, 4]"),
    "nothing at all": (
        lambda: linear_discriminant(NOTHING),
        "moments must have rows in every class, got none in [0, 1]",
    ),
    "covariance": (lambda: fit(covariance="both"), "covariance must be one of ('within', 'total'), got 'both'"),
    "solver": (
        lambda: fit(solver="svd"),
        "solver must be one of ('eigh', 'cholesky', 'qr', 'pinv'), got 'svd'",
    ),
    "shrinkage name": (
        lambda: fit(shrinkage="auto"),
        "shrinkage must be one of ('ledoit_wolf', 'oas'), got 'auto'",
    ),
    "qr without rows": (lambda: fit(solver="qr"), "X and y must be given for solver 'qr' and shrinkage 'ledoit_wolf'"),
    "qr without y": (lambda: fit(solver="qr", X=X), "X and y must be given"),
    "lw without X": (lambda: fit(shrinkage="ledoit_wolf", y=Y), "X and y must be given"),
    "qr with other labels": (
        lambda: fit(solver="qr", X=X, y=1 - Y),
        "X and y must be the rows that moments was made from, got other class counts or means",
    ),
    "qr with other rows": (
        lambda: fit(solver="qr", X=X + 1e-4, y=Y),
        "X and y must be the rows that moments was made from, got other class counts or means",
    ),
    "qr with other width": (lambda: fit(solver="qr", X=X[:, :1], y=Y), "X must have 2 columns, got 1"),
    # classifier
    "weights are 1-D": (lambda: LinearClassifier([1.0], [0.0]), "weights must have 2 dimension(s), got shape (1,)"),
    "bias too long": (
        lambda: LinearClassifier([[1.0]], [0.0, 1.0]),
        "bias must have 1 entries, one per class, got 2",
    ),
    "bias is nan": (
        lambda: LinearClassifier([[1.0]], [np.nan]),
        "bias must be finite, got 1 NaN or infinite value(s)",
    ),
    "logits of other width": (lambda: PLANE.logits([[1.0]]), "X must have 2 columns, got 1"),
    "log_proba of nan": (lambda: PLANE.log_proba(NAN), "X must be finite, got 2 NaN or infinite value(s)"),
    "binary of three": (lambda: PLANE.to_binary(), "to_binary needs exactly 2 classes, got 3"),
    # regression
    "regression lengths": (
        lambda: gaussian_regression(X, X[:6]),
        "Y must have as many rows as X (7), got 6",
    ),
    "regression 1-D": (lambda: gaussian_regression(X, Y), "Y must have 2 dimension(s), got shape (7,)"),
    "mle of nan": (lambda: logistic_mle(NAN, [0, 1]), "X must be finite, got 2"),
    "regression nan": (lambda: gaussian_regression(NAN, X[:2]), "X must be finite, got 2"),
    # laws
    "slope shapes": (
        lambda: within_slope_from_total([1.0], [0.0, 0.0], [1.0, 1.0], 0.5),
        "w_total, mean0, mean1 must have equal shapes, got (1,), (2,), (2,)",
    ),
    "slope mean shapes": (
        lambda: within_slope_from_total([1.0], [0.0], [1.0, 1.0], 0.5),
        "w_total, mean0, mean1 must have equal shapes, got (1,), (1,), (2,)",
    ),
    "slope R²": (
        lambda: within_slope_from_total([4.0], [0.0], [1.0], 0.5),
        "w_total must have R² = p0 p1 (mean1 - mean0)'w_total below 1, got 1.0",
    ),
    "axes of one class": (lambda: canonical_axes(ONE), "moments must have at least 2 classes, got 1"),
    "axes of empty classes": (lambda: canonical_axes(GAP), "moments must have rows in every class"),
    "thresholds D²": (
        lambda: decision_thresholds(0.5, [1.0, -4.0]),
        "mahalanobis2 must be finite and >= 0, got [ 1. -4.]",
    ),
    "thresholds infinite D²": (
        lambda: decision_thresholds(0.5, np.inf),
        "mahalanobis2 must be finite and >= 0, got inf",
    ),
    # maximum likelihood
    "mle of one class": (lambda: logistic_mle(X, Y * 0), "y must contain both classes, got only 0"),
    "mle of the other class": (lambda: logistic_mle(X, Y * 0 + 1), "y must contain both classes, got only 1"),
    "mle of three classes": (
        lambda: logistic_mle(X, Y * 2),
        "y must hold labels below 2, the number of classes, got 2",
    ),
    "mle lengths": (lambda: logistic_mle(X, Y[:3]), "y must have shape (7,), one label per row, got (3,)"),
    "init shape": (lambda: logistic_mle(X, Y, init=([1.0], 0.0)), "init[0] must have shape (2,), got (1,)"),
    "init dimensions": (
        lambda: logistic_mle(X, Y, init=(1.0, 0.0)),
        "init[0] must have 1 dimension(s), got shape ()",
    ),
    "init bias": (
        lambda: logistic_mle(X, Y, init=([1.0, 1.0], [0.0])),
        "init[1] must have 0 dimension(s), got shape (1,)",
    ),
    "init nan": (lambda: logistic_mle(X, Y, init=([1.0, np.nan], 0.0)), "init[0] must be finite, got 1"),
    # efficiency and calibration
    "efron negative": (
        lambda: efron_relative_efficiency([2.0, -1.0]),
        "delta must be finite and >= 0, got [ 2. -1.]",
    ),
    "efron nan": (lambda: efron_relative_efficiency(np.nan), "delta must be finite and >= 0, got nan"),
    "efron infinite": (lambda: efron_relative_efficiency(np.inf), "delta must be finite and >= 0, got inf"),
    "p above 1": (
        lambda: reliability_curve([0.5, 1.5], [0, 1]),
        "p must hold at least one number, all in [0, 1], got [0.5 1.5]",
    ),
    "p below 0": (
        lambda: reliability_curve([0.5, -0.5], [0, 1]),
        "p must hold at least one number, all in [0, 1], got [ 0.5 -0.5]",
    ),
    "p empty": (
        lambda: reliability_curve([], np.empty(0, int)),
        "p must hold at least one number, all in [0, 1], got []",
    ),
    "p is 2-D": (lambda: reliability_curve([[0.5]], [0]), "p must have 1 dimension(s), got shape (1, 1)"),
    "p and y": (lambda: reliability_curve([0.5, 0.5], [0]), "y must have shape (2,), one label per row, got (1,)"),
    "y is not binary": (
        lambda: reliability_curve([0.5], [2]),
        "y must hold labels below 2, the number of classes, got 2",
    ),
    "proba sums": (
        lambda: expected_calibration_error([[0.5, 0.5], [0.5, 0.6]], [0, 1]),
        "proba must hold probabilities whose rows sum to 1, got row sums [1.  1.1]",
    ),
    "proba sums a little off": (
        lambda: expected_calibration_error([[0.5, 0.50001]], [0]),
        "proba must hold probabilities whose rows sum to 1",
    ),
    "proba negative": (
        lambda: expected_calibration_error([[1.5, -0.5]], [0]),
        "proba must hold probabilities whose rows sum to 1",
    ),
    "proba label": (
        lambda: expected_calibration_error([[0.5, 0.5]], [2]),
        "y must hold labels below 2, the number of classes, got 2",
    ),
    "proba is 1-D": (lambda: expected_calibration_error([0.5], [0]), "proba must have 2 dimension(s), got shape (1,)"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()


SHRINKAGE = "in [0, 1], 'ledoit_wolf', 'oas' or None"


@pytest.mark.parametrize(
    ("name", "call", "rule", "bad", "good"),
    [
        (
            "shrinkage",
            lambda v: fit(shrinkage=v),
            SHRINKAGE,
            (-0.01, 1.01, np.nan, True, [0.5]),
            (0, 1, np.float32(0.5)),
        ),
        ("p1", lambda v: within_slope_from_total([1.0], [0.0], [1.0], v), "in (0, 1)", (0, 1, 1.5, np.nan), (0.5,)),
        ("ridge", lambda v: logistic_mle(X, Y, ridge=v), "finite and >= 0", (-1e-9, np.inf, "1", None), (0, 1, 0.5)),
        ("tol", lambda v: logistic_mle(X, Y, tol=v), "finite and > 0", (0.0, -1.0, np.inf, np.nan), (1, 1e-3)),
        ("max_iter", lambda v: logistic_mle(X, Y, max_iter=v), "an integer >= 0", (-1, 2.0, True), (0, np.int64(3))),
        (
            "n_bins",
            lambda v: reliability_curve([0.5], [0], v),
            "an integer >= 1",
            (0, 1.5, False, None),
            (1, np.int32(2)),
        ),
        (
            "n_bins",
            lambda v: expected_calibration_error([[0.5, 0.5]], [0], v),
            "an integer >= 1",
            (0, 1.5, False, "3"),
            (1, 2),
        ),
    ],
)
def test_numbers_out_of_range(name, call, rule, bad, good):
    for value in bad:
        with pytest.raises(ValueError, match="^" + re.escape(f"{name} must be {rule}, got {value!r}") + "$"):
            call(value)
    for value in good:
        call(value)


@pytest.mark.parametrize("p1", [0, 1, -0.1, 1.1, np.nan, [0.5, 1.0]])
def test_thresholds_need_two_possible_classes(p1):
    with pytest.raises(ValueError, match=r"^p1 must be in \(0, 1\), got "):
        decision_thresholds(p1, 1.0)


def test_merge_needs_moments():
    with pytest.raises(TypeError, match=r"^other must be a ClassMoments, got ndarray$"):
        MOMENTS.merge(X)


def test_singular_designs():
    collinear = np.column_stack([X, X.sum(axis=1), np.full(7, 0.1)])
    message = "the covariance of X is singular: rank 2 of 4; drop constant or collinear columns, or add rows"
    with pytest.raises(np.linalg.LinAlgError, match="^" + re.escape(message) + "$"):
        gaussian_regression(collinear, X)
    message = "the design [1, X] is singular: rank 3 of 5; use ridge > 0 or drop constant or collinear columns"
    with pytest.raises(np.linalg.LinAlgError, match="^" + re.escape(message) + "$"):
        logistic_mle(collinear, Y)
    message = "the covariance is singular: rank 2 of 4; use shrinkage (0 < shrinkage <= 1, 'oas' or 'ledoit_wolf'), "
    for call in (canonical_axes, linear_discriminant):
        with pytest.raises(np.linalg.LinAlgError, match="^" + re.escape(message) + "fewer features or more rows$"):
            call(ClassMoments.from_data(collinear, Y))


def test_one_collinear_column_among_many_rows():
    """x_4 = x_1 + 2 x_2 + 3 x_3 up to rounding, which must not pass for variance."""
    rng = np.random.default_rng(0)
    free = rng.normal(size=(2000, 3))
    collinear = np.column_stack([free, free @ [1.0, 2.0, 3.0]])
    y = rng.integers(0, 2, 2000)
    with pytest.raises(np.linalg.LinAlgError, match="rank 3 of 4"):
        gaussian_regression(collinear, y[:, None])
    with pytest.raises(np.linalg.LinAlgError, match="rank 4 of 5"):
        logistic_mle(collinear, y)


def test_a_good_neighbour_of_each_refusal():
    """The rules are as wide as they say: values at the border that must be accepted."""
    assert MOMENTS.within_cov(ddof=0).shape == (2, 2)
    assert np.isfinite(MOMENTS.within_cov(ddof=6.5)).all()
    assert ClassMoments([0.0, 1.0], [[0.0], [1.0]], [[0.0]]).n == 1
    assert ClassMoments([1.0], [[0.0, 0.0]], [[2.0, 0.5], [0.5 + 1e-10, 1.0]]).n == 1
    big = ClassMoments.from_data(1000 * X, Y)
    for shift in (1e-7, 1e-4):
        assert linear_discriminant(big, solver="qr", X=1000 * X + shift, y=Y).weights.shape == (2, 2)
    with pytest.raises(ValueError, match="must be the rows"):
        linear_discriminant(big, solver="qr", X=1000 * X + 0.1, y=Y)
    assert ClassMoments.from_data([[1.0]], [0]).n == 1
    assert reliability_curve([0.0, 1.0], [0, 1]).count.tolist() == [1, 1]
    assert expected_calibration_error([[1.0, 0.0]], [0]) == 0
    assert expected_calibration_error([[0.5, 0.5 + 5e-7]], [1]) == pytest.approx(0.5, abs=1e-5)
