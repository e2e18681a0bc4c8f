"""Logistic regression by maximum likelihood, and what it costs against the closed form. NumPy and SciPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from helpers.inputs import (
    Array,
    checked_array,
    checked_integer,
    checked_labels,
    checked_number,
    checked_rows,
    singular,
    standardized,
)

_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class NewtonInfo:
    """How `logistic_mle` went. The paths have iterations + 1 entries: start, then after each step.

    separable: a plane with every row strictly on its side was met, or the gradient vanished while the log-odds kept
    growing. Without ridge the maximum then lies at infinity, `converged` is False, the result only the last iterate.
    """

    converged: bool
    separable: bool
    iterations: int
    weight_norms: Array
    gradient_norms: Array
    losses: Array


def logistic_mle(
    X: ArrayLike,
    y: ArrayLike,
    init: tuple[ArrayLike, float] | None = None,
    ridge: float = 0.0,
    tol: float = 1e-10,
    max_iter: int = 100,
) -> tuple[Array, float, NewtonInfo]:
    """Maximum-likelihood (or ridge) logistic regression by Newton's method with step halving.

    Minimises the mean of -log p(y|x) plus ridge/2 |w|² (scikit-learn's C is 1/(n ridge)); the bias is not penalised.
    Returns w [d], b and a NewtonInfo. Separable data raise nothing: see NewtonInfo.

    Parameters
    ----------
    X, y : rows [n, d] and labels 0 or 1 [n], both present.
    init : (w [d], b) to start from, such as the closed form; zeros by default.
    ridge : >= 0, in the units of X.
    tol : bound on the Euclidean norm of the gradient with respect to the standardised features.
    max_iter : largest number of Newton steps, >= 0.

    Raises
    ------
    ValueError : bad shapes, labels or options, only one class present.
    LinAlgError : constant or collinear features with ridge = 0.

    >>> w, b, info = logistic_mle([[-1.0], [0.0], [0.0], [1.0]], [0, 1, 0, 1], ridge=0.1)
    >>> info.converged, abs(b) < 1e-9
    (True, True)
    """
    X = checked_rows("X", X)
    y = checked_labels(y, len(X), 2)
    if y.min() == y.max():
        raise ValueError(f"y must contain both classes, got only {y[0]}")
    ridge = checked_number("ridge", ridge, "finite and >= 0", lambda value: 0 <= value < np.inf)
    tol = checked_number("tol", tol, "finite and > 0", lambda value: 0 < value < np.inf)
    max_iter = checked_integer("max_iter", max_iter, 0)
    n, d = X.shape
    Z, center, scale = standardized(X)
    Z = np.column_stack([np.ones(n), Z])
    if ridge == 0:
        eigenvalues = linalg.eigvalsh(Z.T @ Z / n)
        rank = np.count_nonzero(eigenvalues > 64 * d * _EPS)
        if rank <= d:
            raise singular("the design [1, X]", rank, d + 1, "use ridge > 0 or drop constant or collinear columns")
    penalty = np.concatenate([[0.0], ridge / scale**2])  # ridge in the units of X, seen from the standardised features
    theta = np.zeros(d + 1)
    if init is not None:
        w, b = checked_array("init[0]", init[0], 1), checked_array("init[1]", init[1], 0)
        if w.shape != (d,):
            raise ValueError(f"init[0] must have shape ({d},), got {w.shape}")
        theta = np.concatenate([[b + center @ w], w * scale])
    sign = 2.0 * y - 1

    def loss_of(theta: Array) -> float:
        return np.logaddexp(0, -sign * (Z @ theta)).mean() + penalty @ theta**2 / 2

    path, separable = [], False
    for iteration in range(max_iter + 1):
        margin = sign * (Z @ theta)
        missed = np.exp(-np.logaddexp(0, margin))  # 1 - p(y|x)
        gradient = penalty * theta - Z.T @ (sign * missed) / n
        size, loss = linalg.norm(gradient), loss_of(theta)
        path.append((linalg.norm(theta[1:] / scale), size, loss))
        eigenvalues, V = linalg.eigh((Z.T * (missed * (1 - missed))) @ Z / n + np.diag(penalty))
        kept = eigenvalues > (d + 1) * _EPS * eigenvalues[-1]
        step = V[:, kept] @ ((gradient @ V[:, kept]) / eigenvalues[kept])
        # On separable data the gradient vanishes too, but each step still adds about 1 to the log-odds.
        settled = np.abs(Z @ step).max() < 0.1
        vanished = not settled and size < 1e-12
        separable = bool(separable or margin.min() > 0 or vanished)
        if vanished or (settled and size <= tol) or iteration == max_iter:
            break
        t, rounding = 1.0, 4 * _EPS * loss
        while loss_of(theta - t * step) > loss - 1e-4 * t * gradient @ step + rounding:
            t /= 2
        theta = theta - t * step
    converged = bool(settled and size <= tol and (ridge > 0 or not separable))
    w = theta[1:] / scale
    return w, float(theta[0] - center @ w), NewtonInfo(converged, separable, iteration, *np.array(path).T)


def efron_relative_efficiency(delta: ArrayLike) -> Array | float:
    """Asymptotic efficiency of logistic regression relative to linear discriminant analysis on Gaussian classes.

    (1 + Δ²/4) exp(-Δ²/8) ∫ φ(x)/cosh(Δx/2) dx for balanced classes, whatever d: the sample size with which the closed
    form has the error of maximum likelihood, divided by the latter's. Efron (1975).

    Parameters
    ----------
    delta : Mahalanobis distance Δ between the means, >= 0; a number or an array.

    Raises
    ------
    ValueError : delta negative or not finite.

    >>> round(efron_relative_efficiency(2.0), 12)
    0.899199018413
    """
    delta = np.asarray(delta, dtype=np.float64)
    if not ((delta >= 0) & np.isfinite(delta)).all():
        raise ValueError(f"delta must be finite and >= 0, got {delta}")
    # The trapezoidal rule converges exponentially for this analytic integrand; 1/cosh in a form that does not overflow.
    x, h = np.linspace(-10, 10, 2001, retstep=True)
    decay = np.exp(-delta[..., None] * np.abs(x) / 2)
    integral = (np.exp(-(x**2) / 2) * 2 * decay / (1 + decay**2)).sum(axis=-1) * h / np.sqrt(2 * np.pi)
    result = (1 + delta**2 / 4) * np.exp(-(delta**2) / 8) * integral
    return result if result.ndim else float(result)
