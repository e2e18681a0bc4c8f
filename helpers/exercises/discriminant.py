"""What a right answer to each exercise of notebook 01 must satisfy."""

from typing import Any

import numpy as np

from helpers import discriminant as ld
from helpers.lab import Exercise

Generator = np.random.Generator


def _thresholds_input(rng: Generator) -> dict[str, Any]:
    return {"p1": round(float(rng.uniform(0.05, 0.95)), 2), "mahalanobis2": round(float(rng.uniform(0.1, 9)), 2)}


def _pair(answer: Any) -> tuple[float, float]:
    first, second = answer
    return float(first), float(second)


def _two_classes(rng: Generator) -> dict[str, Any]:
    rows = int(rng.integers(20, 60))
    labels = np.repeat([0, 1], [rows // 3, rows - rows // 3])
    features = rng.standard_normal((rows, 3)) @ rng.standard_normal((3, 3)) + np.outer(labels, rng.uniform(-1, 1, 3))
    return {"X": features + rng.uniform(-5, 5, 3), "y": labels}


def _split_rows(rng: Generator) -> dict[str, Any]:
    n_a, n_b = (int(n) for n in rng.integers(3, 9, size=2))
    a, b = rng.standard_normal((n_a, 2)) + 3, rng.standard_normal((n_b, 2)) - 2
    scatter = lambda rows: (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))  # noqa: E731
    return {
        "n_a": n_a, "mean_a": a.mean(axis=0), "scatter_a": scatter(a),
        "n_b": n_b, "mean_b": b.mean(axis=0), "scatter_b": scatter(b),
    }  # fmt: skip


def _merged(n_a: int, mean_a: Any, scatter_a: Any, n_b: int, mean_b: Any, scatter_b: Any) -> np.ndarray:
    part_a, part_b = (
        ld.ClassMoments(np.array([float(n)]), mean[None], scatter)
        for n, mean, scatter in ((n_a, mean_a, scatter_a), (n_b, mean_b, scatter_b))
    )
    return part_a.merge(part_b).scatter


def _discriminant(X: Any, y: Any) -> tuple[np.ndarray, float]:
    return ld.linear_discriminant(ld.ClassMoments.from_data(X, y, n_classes=2)).to_binary()


thresholds = Exercise(
    "Exercise 1: two thresholds",
    _thresholds_input,
    {
        "the total-covariance rule cuts at -t/(1-R²)": lambda answer, p1, mahalanobis2: np.isclose(
            _pair(answer)[0], ld.decision_thresholds(p1, mahalanobis2).total, rtol=1e-6, atol=1e-9
        ),
        "least squares cuts where p1 alone decides, at -sinh t": lambda answer, p1, mahalanobis2: np.isclose(
            _pair(answer)[1], ld.decision_thresholds(p1, mahalanobis2).least_squares, rtol=1e-6, atol=1e-9
        ),
    },
)

samples_needed = Exercise(
    "Exercise 2: how many samples does maximum likelihood need",
    lambda rng: {"n": int(rng.integers(100, 5000)), "delta": round(float(rng.uniform(0.5, 4)), 2)},
    {
        "never fewer than the closed form needs": lambda answer, n, delta: answer >= n,
        "both are then equally precise: needed times efficiency is n": lambda answer, n, delta: np.isclose(
            answer * ld.efron_relative_efficiency(delta), n, rtol=1e-4
        ),
    },
)

merge_scatter = Exercise(
    "Exercise 3: merge two workers",
    _split_rows,
    {
        "the result is symmetric": lambda answer, **given: np.allclose(answer, np.transpose(answer)),
        "it is the scatter of all rows together, whoever comes first": lambda answer, **given: (
            np.shape(answer) == (2, 2) and np.allclose(answer, _merged(**given), rtol=1e-8)
        ),
    },
)

from_least_squares = Exercise(
    "Exercise 4: the discriminant from least squares",
    _two_classes,
    {
        "the slope is that of the within-class rule": lambda answer, X, y: np.allclose(
            answer[0], _discriminant(X, y)[0], rtol=1e-5
        ),
        "the offset is that of the within-class rule": lambda answer, X, y: np.isclose(
            answer[1], _discriminant(X, y)[1], rtol=1e-5
        ),
    },
)

find_the_bug = Exercise(
    "Exercise 5: find the bug",
    _two_classes,
    {
        "the matrix is symmetric": lambda answer, X, y: np.allclose(answer, np.transpose(answer)),
        "it is the within-class covariance with divisor n, wherever the data lie": lambda answer, X, y: np.allclose(
            answer, ld.ClassMoments.from_data(X, y).within_cov(), rtol=1e-7
        ),
    },
)


def _moments(sample: Any) -> list[float]:
    values = np.asarray(sample, dtype=float)
    return [values.mean(), values.var()]


same_moments = Exercise(
    "Exercise 6: same moments, another slope",
    lambda rng: {"n": 4 * int(rng.integers(1, 6))},
    {
        "both samples have n values": lambda answer, n: [np.size(sample) for sample in answer] == [n, n],
        "both have mean 0 and variance 1": lambda answer, n: np.allclose(
            [_moments(sample) for sample in answer], [[0, 1], [0, 1]], atol=1e-9
        ),
        "as noise around class means 0 and 1 they give different maximum-likelihood slopes": lambda answer, n: (
            abs(_slope(answer[0]) - _slope(answer[1])) > 1e-3
        ),
    },
)


def _slope(sample: Any) -> float:
    noise = np.asarray(sample, dtype=float)
    features = np.concatenate([noise, noise + 1])[:, None]
    return float(ld.logistic_mle(features, np.repeat([0, 1], noise.size))[0][0])
