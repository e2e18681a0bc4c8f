"""Checked inputs of the attention modules: vectors in float32 or float64, and arrays that must fit into memory."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.floating]

MAX_BYTES = 2**31
"""Largest array that these modules make without being asked twice: 2 GiB."""


def checked_vectors(name: str, value: ArrayLike, least: int = 1, width: int | None = None) -> Vectors:
    """Finite array (..., d) with at least `least` axes, none empty; float32 stays float32, all else becomes float64."""
    try:
        array = np.asarray(value)
        if array.dtype != np.float32:
            array = array.astype(np.float64, casting="same_kind", copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from error
    if array.ndim < least or array.size == 0:
        raise ValueError(f"{name} must have at least {least} dimension(s), none of them empty, got shape {array.shape}")
    if width is not None and array.shape[-1] != width:
        raise ValueError(f"{name} must have {width} entries along its last axis, got {array.shape[-1]}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {np.count_nonzero(~np.isfinite(array))} NaN or infinite value(s)")
    return array


def checked_allocation(what: str, shape: tuple[int, ...], dtype: np.dtype, max_bytes: float) -> None:
    """Refuse an array before it is made: an operating system that overcommits memory would kill the process instead."""
    needed = math.prod(shape) * dtype.itemsize
    if needed > max_bytes:
        raise MemoryError(f"{what} of shape {shape} would need {needed} bytes, more than max_bytes = {max_bytes}")
