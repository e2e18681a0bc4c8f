"""Real data that ships with scikit-learn: nothing is downloaded."""

import numpy as np
from numpy.typing import NDArray

NAMES = ("iris", "wine", "breast_cancer", "digits")


def load(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features, shape (n, d), and integer labels, shape (n,), of a bundled data set, as they come.

    Raises
    ------
    ValueError
        When the name is not in `NAMES`.

    Examples
    --------
    >>> features, labels = load("iris")
    >>> features.shape
    (150, 4)
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {NAMES}, got {name!r}")
    from sklearn import datasets  # here, because it takes longer to import than the rest of the lab together

    features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return features.astype(float), labels.astype(np.int64)


def splits(
    features: NDArray[np.float64], labels: NDArray[np.int64], n_splits: int, *, test_size: float = 0.3, seed: int = 0
) -> list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]]:
    """Stratified random splits, standardised by the training part: (X_train, y_train, X_test, y_test) each.

    Columns that are constant in the training part are left out of both parts: they carry no information there and
    cannot be standardised.

    Examples
    --------
    >>> [part.shape for part in splits(*load("iris"), n_splits=1)[0]]
    [(105, 4), (105,), (45, 4), (45,)]
    """
    if not np.isfinite(features).all():
        raise ValueError(f"features must be finite, got {(~np.isfinite(features)).sum()} entries that are not")
    from sklearn.model_selection import StratifiedShuffleSplit

    parts = []
    splitter = StratifiedShuffleSplit(n_splits, test_size=test_size, random_state=seed)
    for train, test in splitter.split(features, labels):
        scale = features[train].std(axis=0)
        kept = np.ptp(features[train], axis=0) > 0
        mean = features[train].mean(axis=0)[kept]
        standardise = lambda rows, kept=kept, mean=mean, scale=scale: (features[rows][:, kept] - mean) / scale[kept]  # noqa: E731
        parts.append((standardise(train), labels[train], standardise(test), labels[test]))
    return parts


def random_features(features: NDArray[np.float64], n_features: int, *, seed: int = 0) -> NDArray[np.float64]:
    """ReLU of random projections of the standardised features: a stand-in for a frozen network, shape (n, n_features).

    Raises
    ------
    ValueError
        When n_features is below 1.

    Examples
    --------
    >>> random_features(load("digits")[0], 768).shape
    (1797, 768)
    """
    if n_features < 1:
        raise ValueError(f"n_features must be at least 1, got {n_features}")
    rng = np.random.default_rng(seed)
    scale = features.std(axis=0)
    kept = np.ptp(features, axis=0) > 0
    inputs = (features[:, kept] - features[:, kept].mean(axis=0)) / scale[kept]
    projection = rng.standard_normal((kept.sum(), n_features)) / np.sqrt(kept.sum())
    return np.maximum(0.0, inputs @ projection + 0.5 * rng.standard_normal(n_features))


def interleaved(
    features: NDArray[np.float64], labels: NDArray[np.int64], *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rows in a random order in which the classes take turns, so that the first rows hold all of them.

    Examples
    --------
    >>> sorted(interleaved(*load("digits"), seed=0)[1][:10].tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for c in np.unique(labels):
        members = order[labels[order] == c]
        turn[members] = np.arange(members.size)
    order = order[np.argsort(turn[order], kind="stable")]
    return features[order], labels[order]
