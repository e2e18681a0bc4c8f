"""What contrastive encoders are worth: nearest neighbours and a linear probe on their features of distorted digits.

A k-nearest-neighbour vote and a logistic regression on frozen features are the usual judges since SimCLR (Chen et al.
2020), https://arxiv.org/abs/2002.05709.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from helpers.contrastive_training import Encoders, augment
from helpers.inputs import Array, checked_integer, checked_labels, checked_rows


def digits_split(images: Array, labels: NDArray) -> tuple[Tensor, NDArray, Tensor, NDArray]:
    """Training images [1297, 64] and labels, test images [500, 64] and labels: stratified, pixels from 0 to 1.

    Parameters
    ----------
    images, labels : scikit-learn's digits, pixels from 0 to 16.

    >>> from sklearn.datasets import load_digits
    >>> [len(part) for part in digits_split(*load_digits(return_X_y=True))]
    [1297, 1297, 500, 500]
    """
    from sklearn.model_selection import train_test_split  # here, because training needs torch alone

    train, test, train_labels, test_labels = train_test_split(
        images / 16, labels, test_size=500, stratify=labels, random_state=0
    )
    train, test = (torch.tensor(pixels, dtype=torch.float32) for pixels in (train, test))
    return train, train_labels, test, test_labels


def knn_accuracy(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    neighbours: int = 5,
) -> float:
    """Share of test rows whose label is the commonest among the nearest training rows (Euclidean, ties: least label).

    Parameters
    ----------
    train_features, test_features : [n, d] and [m, d].
    train_labels, test_labels : integers >= 0, [n] and [m].
    neighbours : 1 to n.

    Raises
    ------
    ValueError : bad or non-finite arrays, widths or lengths that differ, bad neighbours.

    >>> knn_accuracy([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1], [[0.4], [7.0], [0.6]], [0, 1, 1], neighbours=1)
    0.6666666666666666
    """
    from sklearn.neighbors import KNeighborsClassifier

    if checked_integer("neighbours", neighbours, 1) > len(train_features):
        raise ValueError(f"neighbours must be at most the number of training rows, got {neighbours}")
    return _accuracy(KNeighborsClassifier(neighbours), train_features, train_labels, test_features, test_labels)


def linear_probe_accuracy(
    train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike, test_labels: ArrayLike
) -> float:
    """Share of test rows that a logistic regression on the standardised training features gets right (C = 1).

    Parameters and errors are those of `knn_accuracy`; the training labels must hold two classes.

    >>> linear_probe_accuracy([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1], [[0.4], [7.0]], [0, 1])
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return _accuracy(probe, train_features, train_labels, test_features, test_labels)


def _accuracy(model: object, *data: ArrayLike) -> float:
    train, test = checked_rows("train_features", data[0]), checked_rows("test_features", data[2], np.shape(data[0])[1])
    train_labels, test_labels = checked_labels(data[1], len(train), None), checked_labels(data[3], len(test), None)
    return float(model.fit(train, train_labels).score(test, test_labels))


def encoder_accuracies(
    encoders: Encoders,
    train_images: Tensor,
    train_labels: ArrayLike,
    test_images: Tensor,
    test_labels: ArrayLike,
    *,
    strength: float = 1.4,
    copies: int = 4,
    seed: int = 0,
) -> dict[str, Array]:
    """Accuracies "knn" [seeds] and "probe" [seeds] on features h of images moved at random, the same for all encoders.

    The digits as they are would be too easy: raw pixels are as good as any encoder there. Each test image is moved
    `copies` times, which takes out most of the luck of the moves; `strength` 0 judges the images as they are.

    Raises
    ------
    ValueError : as `augment` and `knn_accuracy`; bad copies.

    >>> from helpers.contrastive_training import train_encoders
    >>> images, labels = torch.eye(64), [0, 1] * 32
    >>> untrained = train_encoders(images, "exact", batch_size=2, steps=0, seeds=[0, 1]).encoders
    >>> {name: each.shape for name, each in encoder_accuracies(untrained, images, labels, images, labels).items()}
    {'knn': (2,), 'probe': (2,)}
    """
    generator = torch.Generator().manual_seed(seed)
    copies = checked_integer("copies", copies, 1)
    train = encoders.h(augment(train_images, generator, strength)).numpy()
    test = encoders.h(augment(test_images.repeat(copies, 1), generator, strength)).numpy()
    known, asked = np.asarray(train_labels), np.tile(test_labels, copies)
    return {
        name: np.array([measure(a, known, b, asked) for a, b in zip(train, test, strict=True)])
        for name, measure in (("knn", knn_accuracy), ("probe", linear_probe_accuracy))
    }
