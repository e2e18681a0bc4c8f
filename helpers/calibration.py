"""Are the probabilities right? Reliability curve and expected calibration error."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from helpers.inputs import Array, checked_array, checked_integer, checked_labels, checked_rows


class ReliabilityCurve(NamedTuple):
    """Per bin that holds at least one prediction: mean prediction, observed frequency, number of predictions."""

    confidence: Array
    frequency: Array
    count: Array


def reliability_curve(p: ArrayLike, y: ArrayLike, n_bins: int = 10) -> ReliabilityCurve:
    """Observed frequency against predicted probability in equal-width bins (lo, hi] of [0, 1]; empty bins are left out.

    Parameters
    ----------
    p, y : predicted probabilities of label 1 [n], and labels 0 or 1 [n].
    n_bins : >= 1.

    Raises
    ------
    ValueError : p outside [0, 1], bad labels, lengths or n_bins.

    >>> [column.tolist() for column in reliability_curve([0.25, 0.75, 1.0], [0, 0, 1], n_bins=2)]
    [[0.25, 0.875], [0.0, 0.5], [1, 2]]
    """
    p = checked_array("p", p, 1)
    if p.size == 0 or p.min() < 0 or p.max() > 1:
        raise ValueError(f"p must hold at least one number, all in [0, 1], got {p}")
    y = checked_labels(y, len(p), 2)
    n_bins = checked_integer("n_bins", n_bins, 1)
    bins = np.searchsorted(np.arange(1, n_bins) / n_bins, p)
    count, total, hits = (np.bincount(bins, weights) for weights in (None, p, y))
    full = count > 0
    return ReliabilityCurve(total[full] / count[full], hits[full] / count[full], count[full])


def expected_calibration_error(proba: ArrayLike, y: ArrayLike, n_bins: int = 15) -> float:
    """Mean over rows of |accuracy - confidence| in their bin; confidence is the largest probability (Guo et al. 2017).

    Noisy and dependent on the bins for a few hundred rows: look at the reliability curve and the log-loss too.

    Parameters
    ----------
    proba, y : probabilities [n, C] whose rows sum to 1, and labels [n].
    n_bins : equal-width bins (lo, hi] of [0, 1], >= 1.

    Raises
    ------
    ValueError : proba outside [0, 1] or rows not summing to 1, bad labels, lengths or n_bins.

    >>> expected_calibration_error([[0.75, 0.25], [0.25, 0.75]], [0, 0])
    0.25
    """
    proba = checked_rows("proba", proba)
    if proba.min() < 0 or np.abs(proba.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError(f"proba must hold probabilities whose rows sum to 1, got row sums {proba.sum(axis=1)}")
    y = checked_labels(y, len(proba), proba.shape[1])
    correct = (proba.argmax(axis=1) == y).astype(np.int64)
    curve = reliability_curve(np.minimum(proba.max(axis=1), 1), correct, n_bins)
    return float(curve.count @ np.abs(curve.frequency - curve.confidence) / len(proba))
