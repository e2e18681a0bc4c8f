"""Classes from ranks and shares, beside brute force; intervals beside the binomial distribution."""

import itertools
import re

import numpy as np
import pytest
from scipy import stats

from helpers.bootstrap import balanced_accuracy, bootstrap_ci
from helpers.samples_contrast import (
    apply_thresholds,
    batched_samples_contrast,
    quantile_thresholds,
    samples_contrast,
)


def test_ranks_and_shares():
    scores = [5.0, -1.0, 2.0, 0.0, 9.0, 2.0]
    assert samples_contrast(scores, [0.5, 0.5]).tolist() == [1, 0, 0, 0, 1, 1]
    assert samples_contrast(scores, [1 / 3, 1 / 3, 1 / 3]).tolist() == [2, 0, 1, 0, 2, 1]
    assert samples_contrast(scores, [0, 1]).tolist() == [1] * 6
    assert samples_contrast(scores, [1]).tolist() == [0] * 6
    assert samples_contrast([], [0.5, 0.5]).shape == (0,)
    assert samples_contrast(scores, [0.5, 0.5]).dtype == np.int64


@pytest.mark.parametrize("n", [1, 2, 5, 10, 37])
def test_counts_are_the_nearest_to_the_shares(n):
    """Oracle: largest remainders minimise the sum of squared errors over all counts that sum to n."""
    rng = np.random.default_rng(n)
    shares = rng.dirichlet([1, 1, 1])
    counts = np.bincount(samples_contrast(rng.normal(size=n), shares), minlength=3)
    possible = [c for c in itertools.product(range(n + 1), repeat=3) if sum(c) == n]
    best = min(np.square(np.array(c) - n * shares).sum() for c in possible)
    assert np.square(counts - n * shares).sum() == pytest.approx(best, abs=1e-9)


def test_equal_remainders_go_to_the_lower_class():
    assert samples_contrast([1.0, 0.0, 2.0], [0.5, 0.5]).tolist() == [0, 0, 1]
    assert np.bincount(samples_contrast(np.arange(4.0), [1 / 3] * 3)).tolist() == [2, 1, 1]
    assert np.bincount(samples_contrast(np.arange(10.0), [0.15, 0.25, 0.6])).tolist() == [2, 2, 6]


def test_batches():
    scores = [1.0, 2.0, 8.0, 9.0, 0.0]
    assert batched_samples_contrast(scores, [0.5, 0.5], 2).tolist() == [0, 1, 0, 1, 0]
    assert batched_samples_contrast(scores, [0.2, 0.8], 1).tolist() == [1] * 5
    whole = samples_contrast(scores, [0.4, 0.6]).tolist()
    assert batched_samples_contrast(scores, [0.4, 0.6], 5).tolist() == whole
    assert batched_samples_contrast(scores, [0.4, 0.6], 100).tolist() == whole
    empty = batched_samples_contrast([], [0.5, 0.5], 2)
    assert (empty.shape, empty.dtype) == ((0,), np.int64)


def test_thresholds():
    """Oracle: numpy's quantiles of the sorted scores, by hand."""
    dev = [3.0, 0.0, 1.0, 2.0, 4.0]
    assert quantile_thresholds(dev, [0.5, 0.25, 0.25]).tolist() == [2, 3]
    assert quantile_thresholds(dev, [0.125, 0.875]).tolist() == [0.5]
    assert quantile_thresholds(dev, [1.0]).tolist() == []
    assert quantile_thresholds(dev, [0.7, 0.2 + 0.1, 0.0]).tolist() == pytest.approx([2.8, 4.0])
    assert apply_thresholds([1.9, 2.0, 3.0, 2.5], [2.0, 3.0]).tolist() == [0, 1, 2, 1]
    assert apply_thresholds([1.0], []).tolist() == [0]
    assert apply_thresholds([1.0, 0.5], [1.0, 1.0]).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: samples_contrast([[1.0]], [1]), "scores must have 1 dimension(s), got shape (1, 1)"),
        (lambda: samples_contrast([np.nan], [1]), "scores must be finite, got 1 NaN or infinite value(s)"),
        (lambda: samples_contrast([1.0], [0.5, 0.6]), "shares must be >= 0 with sum 1, got [0.5, 0.6]"),
        (lambda: samples_contrast([1.0], [0.5, 0.4]), "shares must be >= 0 with sum 1, got [0.5, 0.4]"),
        (lambda: samples_contrast([1.0], [1.5, -0.5]), "shares must be >= 0 with sum 1, got [1.5, -0.5]"),
        (lambda: samples_contrast([1.0], [0.5, 0.500002]), "shares must be >= 0 with sum 1, got [0.5, 0.500002]"),
        (lambda: samples_contrast([1.0], []), "shares must be >= 0 with sum 1, got []"),
        (lambda: batched_samples_contrast([], [0.5], 2), "shares must be >= 0 with sum 1, got [0.5]"),
        (lambda: batched_samples_contrast([1.0], [1], 0), "batch_size must be an integer >= 1, got 0"),
        (lambda: batched_samples_contrast([[1.0]], [1], 1), "scores must have 1 dimension(s), got shape (1, 1)"),
        (lambda: quantile_thresholds([], [1]), "scores_dev must hold at least one score, got none"),
        (lambda: quantile_thresholds([np.inf], [1]), "scores_dev must be finite, got 1 NaN or infinite value(s)"),
        (lambda: quantile_thresholds([1.0], [2]), "shares must be >= 0 with sum 1, got [2.0]"),
        (lambda: apply_thresholds([1.0], [2.0, 1.0]), "thresholds must ascend, got [2.0, 1.0]"),
        (lambda: apply_thresholds([np.nan], [2.0]), "scores must be finite, got 1 NaN or infinite value(s)"),
        (lambda: apply_thresholds([1.0], [np.nan]), "thresholds must be finite, got 1 NaN or infinite value(s)"),
        (lambda: balanced_accuracy([], []), "correct must hold at least one entry, got none"),
        (lambda: balanced_accuracy([1], [0, 1]), "y must have shape (1,), one label per row, got (2,)"),
        (lambda: balanced_accuracy([1], [-1]), "y must hold labels >= 0, got -1"),
        (lambda: balanced_accuracy([[1]], [0]), "correct must have 1 dimension(s), got shape (1, 1)"),
        (lambda: bootstrap_ci([]), "correct must hold at least one entry, got none"),
        (lambda: bootstrap_ci([1], n=0), "n must be an integer >= 1, got 0"),
        (lambda: bootstrap_ci([1], seed=-1), "seed must be an integer >= 0, got -1"),
        (lambda: bootstrap_ci([1], level=1), "level must be in (0, 1), got 1"),
        (lambda: bootstrap_ci([1], level=0), "level must be in (0, 1), got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_shares_may_be_off_by_rounding():
    assert samples_contrast([1.0, 0.0], [0.5, 0.5 + 5e-7]).tolist() == [1, 0]


def test_balanced_accuracy_is_the_mean_recall():
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    true, given = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    assert balanced_accuracy(given == true, true) == pytest.approx(balanced_accuracy_score(true, given))


def test_interval_is_that_of_the_binomial():
    """Oracle: resampling a sample of zeros and ones gives binomial counts."""
    correct = np.arange(200) < 140
    low, high = bootstrap_ci(correct, n=20_000, seed=1)
    due = stats.binom.ppf([0.025, 0.975], 200, 0.7) / 200
    np.testing.assert_allclose([low, high], due, atol=0.006)
    narrow = bootstrap_ci(correct, n=20_000, level=0.5)
    np.testing.assert_allclose(narrow, stats.binom.ppf([0.25, 0.75], 200, 0.7) / 200, atol=0.006)
    assert bootstrap_ci(correct) == bootstrap_ci(correct, np.zeros(200, int), n=1000, seed=0, level=0.95)
    assert bootstrap_ci(correct) != bootstrap_ci(correct, seed=1)


def test_groups_count_the_same_in_the_interval():
    """Oracle: the variance of the mean of two means, normal approximation."""
    correct = np.concatenate([np.arange(400) < 200, np.arange(50) < 40])
    groups = np.repeat([3, 7], [400, 50])
    low, high = bootstrap_ci(correct, groups, n=20_000)
    error = np.sqrt(0.25 / 400 + 0.16 / 50) / 2
    np.testing.assert_allclose([low, high], 0.65 + 1.96 * error * np.array([-1, 1]), atol=0.006)


def test_interval_of_a_difference():
    better, worse = np.arange(100) < 60, np.arange(100) < 55
    low, high = bootstrap_ci(better.astype(float) - worse, n=5000)
    assert 0 < low < 0.05 < high < 0.11
