"""Samples contrast: ordered classes from one score per sample and the known shares of the classes.

Paper: Sun et al., NSP-BERT, arXiv:2109.03564, section 3.2. It is used where a task has no prompts to compare: pairs of
sentences that follow one another or not.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.inputs import Array, checked_array, checked_integer

Classes = NDArray[np.int64]


def samples_contrast(scores: ArrayLike, shares: ArrayLike) -> Classes:
    """The classes 0..M-1 of N samples, by rank of the score: the lowest share_0 N of them get class 0, and so on.

    The counts share_j N are rounded to integers that sum to N by largest remainders, equal ones lower class first;
    samples of one score keep their order.

    Parameters
    ----------
    scores : [N].
    shares : [M], each >= 0, sum 1.

    Raises
    ------
    ValueError : scores no finite 1-D array; shares negative, or with a sum off 1 by more than 1e-6.

    >>> samples_contrast([0.3, -2.0, 5.0, 1.0], shares=[0.5, 0.5]).tolist()
    [0, 0, 1, 1]
    """
    scores, shares = checked_array("scores", scores, 1), _checked_shares(shares)
    exact = shares * len(scores)
    counts = np.floor(exact).astype(np.int64)
    remainders = (exact - counts).round(9)  # thirds of one sample count as equal
    counts[np.argsort(-remainders, kind="stable")[: len(scores) - counts.sum()]] += 1
    classes = np.empty(len(scores), np.int64)
    classes[np.argsort(scores, kind="stable")] = np.repeat(np.arange(len(shares)), counts)
    return classes


def _checked_shares(shares: ArrayLike) -> Array:
    shares = checked_array("shares", shares, 1)
    if shares.size == 0 or shares.min() < 0 or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"shares must be >= 0 with sum 1, got {shares.tolist()}")
    return shares


def batched_samples_contrast(scores: ArrayLike, shares: ArrayLike, batch_size: int) -> Classes:
    """`samples_contrast` within each batch of consecutive samples: what is left if test samples arrive in batches.

    A last, smaller batch is cut by the same shares. In a batch of one there is nothing to contrast: it gets the
    class of the largest share.

    Parameters
    ----------
    scores, shares : as in `samples_contrast`.
    batch_size : >= 1.

    Raises
    ------
    ValueError : as `samples_contrast`, bad batch_size.

    >>> batched_samples_contrast([1.0, 2.0, 8.0, 9.0], [0.5, 0.5], batch_size=2).tolist()
    [0, 1, 0, 1]
    """
    scores, size = checked_array("scores", scores, 1), checked_integer("batch_size", batch_size, 1)
    _checked_shares(shares)
    parts = [samples_contrast(scores[start : start + size], shares) for start in range(0, len(scores), size)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def quantile_thresholds(scores_dev: ArrayLike, shares: ArrayLike) -> Array:
    """tau_j = Q(share_0 + … + share_j) of the scores of other samples, [M-1], ascending, with linear interpolation.

    Parameters
    ----------
    scores_dev : [N], N >= 1.
    shares : as in `samples_contrast`.

    Raises
    ------
    ValueError : as `samples_contrast`; no scores.

    >>> quantile_thresholds([0.0, 1.0, 2.0, 3.0, 4.0], [0.25, 0.75]).tolist()
    [1.0]
    """
    scores, shares = checked_array("scores_dev", scores_dev, 1), _checked_shares(shares)
    if scores.size == 0:
        raise ValueError("scores_dev must hold at least one score, got none")
    return np.quantile(scores, np.minimum(np.cumsum(shares)[:-1], 1))


def apply_thresholds(scores: ArrayLike, thresholds: ArrayLike) -> Classes:
    """The number of thresholds at or below each score, [N].

    Parameters
    ----------
    scores : [N].
    thresholds : [M-1], ascending.

    Raises
    ------
    ValueError : no finite 1-D arrays, thresholds that fall.

    >>> apply_thresholds([0.5, 1.0, 3.0], [1.0, 2.0]).tolist()
    [0, 1, 2]
    """
    scores, thresholds = checked_array("scores", scores, 1), checked_array("thresholds", thresholds, 1)
    if (np.diff(thresholds) < 0).any():
        raise ValueError(f"thresholds must ascend, got {thresholds.tolist()}")
    return np.searchsorted(thresholds, scores, side="right")
