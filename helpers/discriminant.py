"""Closed-form logistic regression: linear discriminants from first and second moments.

Article: Su Jianlin, https://kexue.fm/archives/8578 (22 Jul 2021). Papers: Fisher (1936),
doi:10.1111/j.1469-1809.1936.tb02137.x; Efron (1975), doi:10.1080/01621459.1975.10480319.

Symbols: n rows, d features, C classes, p_c priors, μ_c class means, m grand mean; W within-class, B between-class and
T = W + B total covariance. With two classes δ = μ_1 - μ_0, D² = δ'W⁻¹δ, t = log p_1/p_0, and R² = p_0 p_1 δ'T⁻¹δ =
1 - 1/(1 + p_0 p_1 D²) is that of the least-squares regression of the 0/1 label. All in float64; covariances: ddof 0.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from helpers.calibration import ReliabilityCurve, expected_calibration_error, reliability_curve
from helpers.inputs import (
    Array,
    checked_array,
    checked_choice,
    checked_integer,
    checked_labels,
    checked_number,
    checked_rows,
    singular,
    standardized,
)
from helpers.logistic import NewtonInfo, efron_relative_efficiency, logistic_mle

__all__ = [  # the whole subject of the article, under one name
    "CanonicalAxes",
    "ClassMoments",
    "LinearClassifier",
    "NewtonInfo",
    "ReliabilityCurve",
    "Thresholds",
    "canonical_axes",
    "decision_thresholds",
    "efron_relative_efficiency",
    "expected_calibration_error",
    "gaussian_regression",
    "linear_discriminant",
    "logistic_mle",
    "reliability_curve",
    "within_slope_from_total",
]

_EPS = np.finfo(np.float64).eps
_SHRINK = "use shrinkage (0 < shrinkage <= 1, 'oas' or 'ledoit_wolf'), fewer features or more rows"


def gaussian_regression(X: ArrayLike, Y: ArrayLike) -> tuple[Array, Array, Array]:
    """Conditional mean and covariance of Y given X when (X, Y) is jointly Gaussian.

    Returns W = S_xx⁻¹S_xy [d, m], b = μ_y - W'μ_x [m] and Cov[Y|X] = S_yy - S_yx W [m, m]. This is the least-squares
    fit, and computed as such, without forming S_xx. Article, section on linear regression.

    Parameters
    ----------
    X, Y : paired rows [n, d] and [n, m].

    Raises
    ------
    ValueError : bad shapes, non-finite values.
    LinAlgError : S_xx is singular.

    >>> W, b, cov = gaussian_regression([[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]])
    >>> W.round(12).tolist(), b.round(12).tolist()
    ([[2.0]], [1.0])
    """
    X, Y = checked_rows("X", X), checked_rows("Y", Y)
    if len(X) != len(Y):
        raise ValueError(f"Y must have as many rows as X ({len(X)}), got {len(Y)}")
    Z, center, scale = standardized(X)
    mean_y = Y.mean(axis=0)
    slopes, _, rank, _ = linalg.lstsq(Z, Y - mean_y, cond=max(X.shape) * _EPS)
    if rank < X.shape[1]:
        raise singular("the covariance of X", rank, X.shape[1], "drop constant or collinear columns, or add rows")
    W = slopes / scale[:, None]
    residual = Y - mean_y - Z @ slopes
    return W, mean_y - center @ W, residual.T @ residual / len(X)


@dataclass(frozen=True, eq=False)
class ClassMoments:
    """Sufficient statistics of Gaussian classes that share a covariance: they stream, merge and travel.

    Immutable (`update` and `merge` return a new object) and C + C d + d² numbers large, whatever the number of rows.

    Attributes
    ----------
    count : rows per class [C], or any weights >= 0: ClassMoments(priors, means, covariance) stands for a population.
    mean : class means [C, d], 0 for a class without rows.
    scatter : Σ (x - μ_y)(x - μ_y)' over all rows [d, d], pooled over classes, not divided by n.

    Raises
    ------
    ValueError : shapes that disagree, non-finite or negative values, an asymmetric scatter.

    >>> moments = ClassMoments.from_data([[0.0], [2.0], [5.0]], [0, 0, 1])
    >>> moments.count.tolist(), moments.mean.tolist(), moments.scatter.tolist()
    ([2.0, 1.0], [[1.0], [5.0]], [[2.0]])
    """

    count: Array
    mean: Array
    scatter: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", checked_array("count", self.count, 1))
        object.__setattr__(self, "mean", checked_rows("mean", self.mean))
        object.__setattr__(self, "scatter", checked_rows("scatter", self.scatter))
        C, d = self.mean.shape
        if self.count.shape != (C,) or self.scatter.shape != (d, d):
            shapes = f"{self.count.shape}, {self.mean.shape}, {self.scatter.shape}"
            raise ValueError(f"count, mean, scatter must have shapes (C,), (C, d), (d, d), got {shapes}")
        if (self.count < 0).any():
            raise ValueError(f"count must be >= 0, got {self.count.min()}")
        asymmetry = np.abs(self.scatter - self.scatter.T).max()
        if asymmetry > 1e-8 * np.abs(self.scatter).max():
            raise ValueError(f"scatter must be symmetric, got asymmetry {asymmetry:g}")

    @classmethod
    def empty(cls, n_classes: int, n_features: int) -> Self:
        """Moments of no rows: the start of a stream."""
        C, d = checked_integer("n_classes", n_classes, 1), checked_integer("n_features", n_features, 1)
        return cls(np.zeros(C), np.zeros((C, d)), np.zeros((d, d)))

    @classmethod
    def from_data(cls, X: ArrayLike, y: ArrayLike, n_classes: int | None = None) -> Self:
        """Moments of X [n, d] with integer labels y [n] in 0..n_classes-1 (default: largest label + 1), n >= 1.

        Classes without rows are allowed here, since a chunk of a stream may lack one. Temporaries take n (C + 3d)
        numbers: `update` chunk by chunk where that is too much.
        """
        X = checked_rows("X", X)
        C = None if n_classes is None else checked_integer("n_classes", n_classes, 1)
        y = checked_labels(y, len(X), C)
        C = C or int(y.max()) + 1
        member = (y[:, None] == np.arange(C)).astype(np.float64)  # class sums as one matrix product: np.add.at is slow
        count = member.sum(axis=0)
        Z = X - X[0]  # as in standardized
        offset = member.T @ Z / np.maximum(count, 1)[:, None]
        Z -= offset[y]
        return cls(count, np.where(count[:, None] > 0, X[0] + offset, 0), Z.T @ Z)

    def update(self, X: ArrayLike, y: ArrayLike) -> Self:
        """New moments that also cover the rows X [n, d], y [n]."""
        X = checked_rows("X", X, self.mean.shape[1])
        return self.merge(type(self).from_data(X, y, n_classes=len(self.count)))

    def merge(self, other: Self) -> Self:
        """Moments of both data sets together; associative and commutative (Chan, Golub & LeVeque 1983, by class)."""
        if not isinstance(other, ClassMoments):
            raise TypeError(f"other must be a ClassMoments, got {type(other).__name__}")
        if other.mean.shape != self.mean.shape:
            raise ValueError(f"other must have (classes, features) {self.mean.shape}, got {other.mean.shape}")
        count = self.count + other.count
        share = other.count / np.where(count > 0, count, 1)
        step = other.mean - self.mean
        spread = np.sqrt(self.count * share)[:, None] * step
        return type(self)(count, self.mean + share[:, None] * step, self.scatter + other.scatter + spread.T @ spread)

    def all_reduced(self, all_reduce_sum: Callable[[Array], Array]) -> Self:
        """Moments of the rows of all workers together, the same on each of them.

        `all_reduce_sum(array)` returns the float64 array summed over the workers (torch.distributed, MPI, ...). It is
        called twice, with [C, 1 + d] and [d, d] numbers whatever the rows. C and d must be the same on all workers.
        """

        def total(array: Array) -> Array:
            result = checked_array("the result of all_reduce_sum", all_reduce_sum(array), 2)
            if result.shape != array.shape:
                raise ValueError(f"the result of all_reduce_sum must have shape {array.shape}, got {result.shape}")
            return result

        sums = total(np.column_stack([self.count, self.count[:, None] * self.mean]))
        count = sums[:, 0]
        mean = sums[:, 1:] / np.where(count > 0, count, 1)[:, None]
        step = np.sqrt(self.count)[:, None] * (self.mean - mean)
        return type(self)(count, mean, total(self.scatter + step.T @ step))

    @property
    def n(self) -> float:
        """Number of rows (sum of the counts)."""
        return float(self.count.sum())

    @property
    def priors(self) -> Array:
        """Relative frequency p_c of each class [C]."""
        if self.n == 0:
            raise ValueError("count must have a positive sum, got no rows at all")
        return self.count / self.n

    @property
    def grand_mean(self) -> Array:
        """m = Σ_c p_c μ_c [d]."""
        return self.priors @ self.mean

    def within_cov(self, ddof: float = 0) -> Array:
        """W = scatter / (n - ddof) [d, d]; ddof = C makes it unbiased."""
        checked_number("ddof", ddof, f"in [0, n = {self.n:g})", lambda value: 0 <= value < self.n)
        return self.scatter / (self.n - ddof)

    def between_cov(self) -> Array:
        """B = Σ_c p_c (μ_c - m)(μ_c - m)' [d, d]."""
        spread = np.sqrt(self.priors)[:, None] * (self.mean - self.grand_mean)
        return spread.T @ spread

    def total_cov(self) -> Array:
        """T = W + B [d, d], the law of total covariance."""
        return self.within_cov() + self.between_cov()


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Softmax classifier: log p(c|x) = logit_c - logsumexp(logits), logit_c = weights[c]'x + bias[c].

    A vector added to all weights [C, d], or a number to all of bias [C], changes no probability.

    >>> LinearClassifier([[0.0], [1.0]], [0.0, 0.0]).log_proba([[0.0]]).round(4).tolist()
    [[-0.6931, -0.6931]]
    """

    weights: Array
    bias: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_rows("weights", self.weights))
        object.__setattr__(self, "bias", checked_array("bias", self.bias, 1))
        if len(self.bias) != len(self.weights):
            raise ValueError(f"bias must have {len(self.weights)} entries, one per class, got {len(self.bias)}")

    def logits(self, X: ArrayLike) -> Array:
        """Scores [n, C] of the rows of X [n, d]; the largest is the predicted class."""
        return checked_rows("X", X, self.weights.shape[1]) @ self.weights.T + self.bias

    def log_proba(self, X: ArrayLike) -> Array:
        """Logarithms of the class probabilities [n, C], finite where the probabilities themselves underflow to 0."""
        logits = self.logits(X)
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def to_binary(self) -> tuple[Array, float]:
        """(w [d], b) with log p(1|x)/p(0|x) = w'x + b; two classes only."""
        if len(self.bias) != 2:
            raise ValueError(f"to_binary needs exactly 2 classes, got {len(self.bias)}")
        return self.weights[1] - self.weights[0], float(self.bias[1] - self.bias[0])


def linear_discriminant(
    moments: ClassMoments,
    covariance: str = "within",
    shrinkage: float | str | None = None,
    solver: str = "eigh",
    *,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
) -> LinearClassifier:
    """Softmax classifier of Gaussian classes with a shared covariance S, in closed form.

    weights[c] = S⁻¹(μ_c - m), bias[c] = log p_c - (μ_c + m)'weights[c]/2. That is the textbook's S⁻¹μ_c less S⁻¹m,
    common to all classes: no probability changes, and features with a large offset keep their digits. Article, softmax.

    Parameters
    ----------
    moments : of at least two classes, none of them empty.
    covariance : "within" (S = W: linear discriminant analysis) or "total" (S = T: the article's first version).
    shrinkage : a in [0, 1] replaces S by (1 - a) S + a tr(S)/d I, in the units of X; "ledoit_wolf" (needs X, y;
        doi:10.1016/S0047-259X(03)00096-4) and "oas" (doi:10.1109/TSP.2010.2053029) estimate a.
    solver : "eigh", "cholesky", "qr" (of the residuals, needs X, y; its error grows with the condition number of the
        data, not with its square) or "pinv" ("eigh", but drops directions without variance instead of raising). All
        rescale the features to variance 1 first, so that units do not matter.
    X, y : the rows that `moments` was made from.

    Raises
    ------
    ValueError : bad choice, fewer than two classes, an empty class, X, y missing or not the rows of `moments`.
    LinAlgError : S is singular.

    >>> moments = ClassMoments(count=[0.7, 0.3], mean=[[0, 0], [2, 1]], scatter=[[2, 0.5], [0.5, 1]])
    >>> linear_discriminant(moments).to_binary()[0].round(6).tolist()
    [0.857143, 0.571429]
    """
    checked_choice("covariance", covariance, "within", "total")
    checked_choice("solver", solver, "eigh", "cholesky", "qr", "pinv")
    _require_classes(moments)
    rows = _residuals(moments, covariance, X, y) if solver == "qr" or shrinkage == "ledoit_wolf" else None
    S = moments.within_cov() if covariance == "within" else moments.total_cov()
    a = _intensity(shrinkage, S, moments.n, rows)
    ridge = a * np.trace(S) / len(S) * np.eye(len(S))
    if solver == "qr":
        P = _inverse_root_qr(np.vstack([np.sqrt((1 - a) / moments.n) * rows, np.sqrt(ridge)]), _noise(moments))
    else:
        P = _inverse_root((1 - a) * S + ridge, _noise(moments), solver)
    weights = (moments.mean - moments.grand_mean) @ P @ P.T
    midpoints = (moments.mean + moments.grand_mean) / 2
    return LinearClassifier(weights, np.log(moments.priors) - (midpoints * weights).sum(axis=1))


def _require_classes(moments: ClassMoments) -> None:
    if len(moments.count) < 2:
        raise ValueError(f"moments must have at least 2 classes, got {len(moments.count)}")
    empty = np.flatnonzero(moments.count == 0)
    if empty.size:
        raise ValueError(f"moments must have rows in every class, got none in {empty.tolist()}")


def _residuals(moments: ClassMoments, covariance: str, X: ArrayLike | None, y: ArrayLike | None) -> Array:
    if X is None or y is None:
        raise ValueError("X and y must be given for solver 'qr' and shrinkage 'ledoit_wolf', which need the rows")
    X = checked_rows("X", X, moments.mean.shape[1])
    own = ClassMoments.from_data(X, y, n_classes=len(moments.count))
    means_differ = np.abs(own.mean - moments.mean).max() > 1e-6 * np.abs(X).max()
    if means_differ or not np.array_equal(own.count, moments.count):
        raise ValueError("X and y must be the rows that moments was made from, got other class counts or means")
    return X - (own.mean[y] if covariance == "within" else own.grand_mean)


def _intensity(shrinkage: float | str | None, S: Array, n: float, rows: Array | None) -> float:
    if shrinkage is None:
        return 0.0
    if not isinstance(shrinkage, str):
        return checked_number(
            "shrinkage", shrinkage, "in [0, 1], 'ledoit_wolf', 'oas' or None", lambda value: 0 <= value <= 1
        )
    checked_choice("shrinkage", shrinkage, "ledoit_wolf", "oas")
    square, trace = (S**2).sum(), np.trace(S)
    if shrinkage == "oas":
        error = (square + trace**2) / (n + 1)
    else:
        error = (((rows**2).sum(axis=1) ** 2).mean() - square) / n  # squared error of S, from the rows' fourth moments
    distance = square - trace**2 / len(S)  # squared Frobenius distance from S to the target
    return float(min(error / distance, 1)) if distance > 0 else 0.0


def _noise(moments: ClassMoments) -> Array:
    """Variances [d] at which a feature is constant within classes, up to the rounding errors of its class means."""
    return (1e-10 * np.ptp(moments.mean, axis=0)) ** 2 + (16 * _EPS * np.abs(moments.mean).max(axis=0)) ** 2


def _inverse_root(S: Array, noise: Array, solver: str = "eigh") -> Array:
    """P [d, k] with P P' = S⁻¹ (a pseudo-inverse for "pinv"), from the correlation matrix of S."""
    scale = np.where(np.diag(S) > noise, np.sqrt(np.diag(S)), np.inf)  # dividing by infinity leaves an exact zero
    K = S / scale[:, None] / scale
    tolerance = 64 * len(S) * _EPS
    if solver == "cholesky":
        with suppress(linalg.LinAlgError):
            root = linalg.solve_triangular(linalg.cholesky(K, lower=True), np.eye(len(K)), lower=True)
            if len(K) * tolerance * (root**2).sum() < 1:  # tr K⁻¹ bounds 1/λ_min; in doubt, let the eigenvalues decide
                return root.T / scale[:, None]
    eigenvalues, V = linalg.eigh(K)
    kept = eigenvalues > tolerance * eigenvalues.max()
    if not kept.all() and solver != "pinv":
        raise singular("the covariance", np.count_nonzero(kept), len(S), _SHRINK)
    return V[:, kept] / np.sqrt(eigenvalues[kept]) / scale[:, None]


def _inverse_root_qr(rows: Array, noise: Array) -> Array:
    """P [d, d] with P P' = (rows' rows)⁻¹, without forming that product."""
    variances = (rows**2).sum(axis=0)
    scale = np.where(variances > noise, np.sqrt(variances), np.inf)
    R, order = linalg.qr(rows / scale, mode="r", pivoting=True)
    rank = np.count_nonzero(np.abs(np.diag(R)) > max(rows.shape) * _EPS)
    if rank < rows.shape[1]:
        raise singular("the covariance", rank, rows.shape[1], _SHRINK)
    P = np.empty((rank, rank))
    P[order] = linalg.solve_triangular(R[:rank], np.eye(rank))
    return P / scale[:, None]


def within_slope_from_total(w_total: ArrayLike, mean0: ArrayLike, mean1: ArrayLike, p1: float) -> Array:
    """Slope of linear discriminant analysis from the slope built on the total covariance: w_W = w_T / (1 - R²).

    Sherman-Morrison on T = W + p_0 p_1 δδ'; R² = p_0 p_1 δ'w_T. Returns W⁻¹δ [d].

    Parameters
    ----------
    w_total, mean0, mean1 : T⁻¹δ, μ_0 and μ_1, each [d].
    p1 : prior of class 1, in (0, 1).

    Raises
    ------
    ValueError : bad shapes, p1 outside (0, 1), R² >= 1.

    >>> within_slope_from_total([0.5], [0.0], [2.0], 0.5).tolist()  # R² = 1/4
    [0.6666666666666666]
    """
    w, mean0, mean1 = (
        checked_array("w_total", w_total, 1),
        checked_array("mean0", mean0, 1),
        checked_array("mean1", mean1, 1),
    )
    if not w.shape == mean0.shape == mean1.shape:
        raise ValueError(f"w_total, mean0, mean1 must have equal shapes, got {w.shape}, {mean0.shape}, {mean1.shape}")
    p1 = checked_number("p1", p1, "in (0, 1)", lambda value: 0 < value < 1)
    r2 = p1 * (1 - p1) * (mean1 - mean0) @ w
    if r2 >= 1:
        raise ValueError(f"w_total must have R² = p0 p1 (mean1 - mean0)'w_total below 1, got {r2}")
    return w / (1 - r2)


class Thresholds(NamedTuple):
    """Where three classifiers of the same direction switch to class 1, on the scale of u = w_W'(x - (μ_0 + μ_1)/2)."""

    within: Array
    total: Array
    least_squares: Array


def decision_thresholds(p1: ArrayLike, mahalanobis2: ArrayLike) -> Thresholds:
    """Thresholds -t (within), -t/(1 - R²) = -t (1 + p_0 p_1 D²) (total), -sinh t (least squares on 0/1, cut at 1/2).

    Parameters
    ----------
    p1 : prior of class 1, in (0, 1).
    mahalanobis2 : D² >= 0. Both numbers, or arrays that broadcast together.

    Raises
    ------
    ValueError : p1 or mahalanobis2 out of range.

    >>> [round(float(u), 6) for u in decision_thresholds(0.3, 4.0)]
    [0.847298, 1.559028, 0.952381]
    """
    p1, D2 = np.asarray(p1, dtype=np.float64), np.asarray(mahalanobis2, dtype=np.float64)
    if not ((p1 > 0) & (p1 < 1)).all():
        raise ValueError(f"p1 must be in (0, 1), got {p1}")
    if not ((D2 >= 0) & np.isfinite(D2)).all():
        raise ValueError(f"mahalanobis2 must be finite and >= 0, got {D2}")
    p1, D2 = np.broadcast_arrays(p1, D2)
    t = np.log(p1 / (1 - p1))
    return Thresholds(-t, -t * (1 + p1 * (1 - p1) * D2), -np.sinh(t))


class CanonicalAxes(NamedTuple):
    """λ [k] descending, axes [d, k] with axes'W axes = I, and 1/(1 + λ) [k]."""

    eigenvalues: Array
    axes: Array
    shrink: Array


def canonical_axes(moments: ClassMoments) -> CanonicalAxes:
    """Discriminant axes: B v = λ W v, v'Wv = 1, for the k = min(C - 1, d) largest λ (Fisher 1936, Rao 1948).

    Using T instead of W multiplies what axis j adds to the logits by 1/(1 + λ_j): the best axes lose most.

    Parameters
    ----------
    moments : of at least two classes, none of them empty.

    Raises
    ------
    ValueError : fewer than two classes, an empty class.
    LinAlgError : W is singular.

    >>> canonical_axes(ClassMoments([0.5, 0.5], [[0.0], [2.0]], [[1.0]])).shrink.round(12).tolist()
    [0.5]
    """
    _require_classes(moments)
    P = _inverse_root(moments.within_cov(), _noise(moments))
    spread = np.sqrt(moments.priors)[:, None] * (moments.mean - moments.grand_mean)
    _, s, Vt = linalg.svd(spread @ P, full_matrices=False)
    k = min(len(moments.count) - 1, P.shape[0])
    return CanonicalAxes(s[:k] ** 2, P @ Vt[:k].T, 1 / (1 + s[:k] ** 2))
