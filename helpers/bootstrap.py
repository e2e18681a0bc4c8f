"""Accuracies with bootstrap intervals: classes count the same however many documents they have."""

import numpy as np
from numpy.typing import ArrayLike

from helpers.inputs import checked_array, checked_integer, checked_labels, checked_number


def balanced_accuracy(correct: ArrayLike, groups: ArrayLike) -> float:
    """Mean over groups of the mean of `correct` inside: with the true classes as groups, the mean recall.

    Parameters
    ----------
    correct : [N], 1 where the answer was right and 0 elsewhere, or the difference of two methods.
    groups : integers >= 0, [N].

    Raises
    ------
    ValueError : no finite 1-D array with an entry, groups of another length or no integers >= 0.

    >>> balanced_accuracy([1, 1, 1, 0], groups=[0, 0, 0, 1])
    0.5
    """
    return float(np.mean([part.mean() for part in _parts(correct, groups)]))


def bootstrap_ci(
    correct: ArrayLike, groups: ArrayLike | None = None, n: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of `balanced_accuracy`: documents are drawn again with replacement in each group.

    For two methods on the same documents give the difference of their `correct`: the interval of a difference is
    narrower than the two intervals suggest.

    Parameters
    ----------
    correct, groups : as in `balanced_accuracy`; without groups, the plain mean.
    n : draws, >= 1.
    seed : of the draws.
    level : in (0, 1).

    Raises
    ------
    ValueError : as `balanced_accuracy`; bad n, seed or level.

    >>> bootstrap_ci([1, 1, 1, 1], groups=[0, 0, 1, 1])
    (1.0, 1.0)
    """
    level = checked_number("level", level, "in (0, 1)", lambda value: 0 < value < 1)
    n, rng = checked_integer("n", n, 1), np.random.default_rng(checked_integer("seed", seed, 0))
    parts = _parts(correct, np.zeros(len(np.atleast_1d(correct)), np.int64) if groups is None else groups)
    means = np.mean([rng.choice(part, (n, len(part))).mean(axis=1) for part in parts], axis=0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _parts(correct: ArrayLike, groups: ArrayLike) -> list[np.ndarray]:
    """The values of `correct` in each group."""
    correct = checked_array("correct", correct, 1)
    if correct.size == 0:
        raise ValueError("correct must hold at least one entry, got none")
    groups = checked_labels(groups, len(correct), None)
    return [correct[groups == group] for group in np.unique(groups)]
