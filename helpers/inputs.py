"""Checked inputs: every maths module refuses bad arguments in the same words, naming argument, rule and value."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

Array = NDArray[np.float64]


def checked_array(name: str, value: ArrayLike, ndim: int) -> Array:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from error
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {np.count_nonzero(~np.isfinite(array))} NaN or infinite value(s)")
    return array


def checked_rows(name: str, value: ArrayLike, width: int | None = None) -> Array:
    array = checked_array(name, value, 2)
    if 0 in array.shape:
        raise ValueError(f"{name} must have at least one row and one column, got shape {array.shape}")
    if width is not None and array.shape[1] != width:
        raise ValueError(f"{name} must have {width} columns, got {array.shape[1]}")
    return array


def checked_labels(y: ArrayLike, n_rows: int, n_classes: int | None) -> NDArray[np.integer]:
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(f"y must have shape ({n_rows},), one label per row, got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"y must hold integer labels, got dtype {labels.dtype}")
    if labels.min() < 0:
        raise ValueError(f"y must hold labels >= 0, got {labels.min()}")
    if n_classes is not None and labels.max() >= n_classes:
        raise ValueError(f"y must hold labels below {n_classes}, the number of classes, got {labels.max()}")
    return labels


def checked_number(name: str, value: float, rule: str, accept: Callable[[float], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not accept(value):
        raise ValueError(f"{name} must be {rule}, got {value!r}")
    return float(value)


def checked_integer(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)


def singular(what: str, rank: int, size: int, remedy: str) -> linalg.LinAlgError:
    return linalg.LinAlgError(f"{what} is singular: rank {rank} of {size}; {remedy}")


def checked_choice(name: str, value: str, *choices: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def standardized(X: Array) -> tuple[Array, Array, Array]:
    """Columns of mean 0 and variance 1 (constant columns: exactly 0), their means and their standard deviations."""
    Z = X - X[0]  # a pivot: makes constant columns exactly zero and keeps the digits of columns with a large offset
    mean = Z.mean(axis=0)
    Z -= mean
    scale = Z.std(axis=0)
    scale[scale == 0] = 1
    return Z / scale, X[0] + mean, scale
