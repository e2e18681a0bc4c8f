"""Plausible wrong answers to the exercises of notebook 01 must be refused, each for the right reason."""

import numpy as np

from helpers import discriminant as ld
from helpers.exercises import discriminant as exercises
from tests.wrong_answers import refused


def t_of(p1):
    return np.log(p1 / (1 - p1))


def least_squares(X, y, factor):
    """Slope of the 0/1 regression divided by factor(p1, share unexplained), and Bayes' offset."""
    design = np.column_stack([X, np.ones(len(X))])
    beta, p1 = np.linalg.lstsq(design, y.astype(float))[0], y.mean()
    w = beta[:-1] / factor(p1, np.var(y - design @ beta) / (p1 * (1 - p1)))
    return w, -w @ (X[y == 0].mean(axis=0) + X[y == 1].mean(axis=0)) / 2 + t_of(p1)


def covariance_minus_means(X, y, covariance, centre):
    for c in (0, 1):
        gap = X[y == c].mean(axis=0) - centre
        covariance = covariance - np.mean(y == c) * np.outer(gap, gap)
    return covariance


def two_points(n, a):
    return np.tile([-1.0, -1.0, 1.0, 1.0], n // 4), np.tile([a, a, a, -3 * a], n // 4)


WRONG = [
    (exercises.thresholds, "sign of the total-covariance cut",
     lambda p1, mahalanobis2: (t_of(p1) * (1 + p1 * (1 - p1) * mahalanobis2), -np.sinh(t_of(p1))), "total-covariance"),
    (exercises.thresholds, "least squares cut like the discriminant",
     lambda p1, mahalanobis2: (-t_of(p1) * (1 + p1 * (1 - p1) * mahalanobis2), -t_of(p1)), "least squares"),
    (exercises.thresholds, "one number instead of two", lambda p1, mahalanobis2: -t_of(p1), "wrong form"),
    (exercises.samples_needed, "multiplied instead of divided",
     lambda n, delta: n * ld.efron_relative_efficiency(delta), "never fewer"),
    (exercises.samples_needed, "squared efficiency",
     lambda n, delta: n / ld.efron_relative_efficiency(delta) ** 2, "equally precise"),
    (exercises.merge_scatter, "the means forgotten",
     lambda n_a, mean_a, scatter_a, n_b, mean_b, scatter_b: scatter_a + scatter_b, "all rows together"),
    (exercises.merge_scatter, "weight n instead of the harmonic one",
     lambda n_a, mean_a, scatter_a, n_b, mean_b, scatter_b:
     scatter_a + scatter_b + (n_a + n_b) * np.outer(mean_b - mean_a, mean_b - mean_a), "all rows together"),
    (exercises.merge_scatter, "an outer product of different vectors",
     lambda n_a, mean_a, scatter_a, n_b, mean_b, scatter_b: scatter_a + np.outer(mean_a, mean_b), "symmetric"),
    (exercises.from_least_squares, "the total-covariance slope",
     lambda X, y: least_squares(X, y, lambda p1, rest: p1 * (1 - p1)), "slope"),
    (exercises.from_least_squares, "the slope of least squares itself",
     lambda X, y: least_squares(X, y, lambda p1, rest: 1.0), "slope"),
    (exercises.from_least_squares, "without the prior",
     lambda X, y: (lambda w, b: (w, b - t_of(y.mean())))(*least_squares(X, y, lambda p1, rest: p1 * (1 - p1) * rest)),
     "offset"),
    (exercises.find_the_bug, "the bug left in",
     lambda X, y: covariance_minus_means(X, y, np.cov(X.T), X.mean(axis=0)), "within-class covariance"),
    (exercises.find_the_bug, "means around zero instead of the grand mean",
     lambda X, y: covariance_minus_means(X, y, np.cov(X.T, bias=True), 0.0), "within-class covariance"),
    (exercises.find_the_bug, "one class only", lambda X, y: np.cov(X[y == 0].T, bias=True), "within-class covariance"),
    (exercises.find_the_bug, "half a matrix", lambda X, y: np.triu(np.cov(X.T, bias=True)), "symmetric"),
    (exercises.same_moments, "the same sample twice", lambda n: (two_points(n, 3**-0.5)[0],) * 2, "different maximum"),
    (exercises.same_moments, "another variance", lambda n: two_points(n, 0.5), "variance 1"),
    (exercises.same_moments, "too few values", lambda n: two_points(4 * n, 3**-0.5), "n values"),
]  # fmt: skip


test_a_plausible_wrong_answer_is_refused, test_every_exercise_has_two_wrong_answers = refused(exercises, WRONG)
