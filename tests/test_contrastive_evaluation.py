"""What encoders are worth, against sorted distances, scikit-learn by hand and the features moved by hand."""

import math

import numpy as np
import pytest
import torch

from helpers.contrastive_evaluation import digits_split, encoder_accuracies, knn_accuracy, linear_probe_accuracy
from helpers.contrastive_training import Encoders, augment, train_encoders
from helpers.lab import data

DOUBLE = torch.float64


@pytest.fixture(scope="module")
def digits():
    """Images in 0..1 and labels: 300 to train on, 200 to test."""
    images, labels = data.interleaved(*data.load("digits"), seed=0)
    images = torch.tensor(images / 16)
    return images[:300], labels[:300], images[300:500], labels[300:500]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nearest_by_hand(train, labels, test, k):
    """Most frequent label among the k nearest rows; the least of several."""
    answers = []
    for row in test:
        near = np.argsort(((train - row) ** 2).sum(axis=1), kind="stable")[:k]
        answers.append(np.bincount(labels[near]).argmax())
    return np.array(answers)


@pytest.mark.parametrize("options", [{}, {"neighbours": 1}, {"neighbours": 4}])
def test_knn_against_sorted_distances(digits, options):
    train, known, test, asked = (np.asarray(part) for part in digits)
    blurred = train[:, :6], known, test[:, :6] + 0.01, asked  # few pixels: neighbours disagree
    expected = nearest_by_hand(*blurred[:3], options.get("neighbours", 5)) == asked
    assert 0.1 < expected.mean() < 0.9
    unambiguous = np.random.default_rng(0).uniform(0, 1e-6, blurred[0].shape)  # no two distances alike
    expected = nearest_by_hand(blurred[0] + unambiguous, *blurred[1:3], options.get("neighbours", 5)) == asked
    assert knn_accuracy(blurred[0] + unambiguous, *blurred[1:], **options) == expected.mean()


def test_probe_against_scikit_learn_by_hand(digits):
    from sklearn.linear_model import LogisticRegression

    train, known, test, asked = (np.asarray(part) for part in digits)
    train, test = train[:, 8:24] * np.linspace(0.1, 50, 16), test[:, 8:24] * np.linspace(0.1, 50, 16)
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    model = LogisticRegression(max_iter=1000).fit((train - train.mean(axis=0)) / scale, known)
    expected = (model.predict((test - train.mean(axis=0)) / scale) == asked).mean()
    assert linear_probe_accuracy(train, known, test, asked) == expected
    assert 0.3 < expected < 0.99


@pytest.mark.parametrize("measure", [knn_accuracy, linear_probe_accuracy])
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, [1.0] * 6, "train_features must have 2 dimension"),
        (0, [[0.0], [1.0], [math.nan], [0.0], [1.0], [0.0]], "train_features must be finite"),
        (1, [0, 1, 0, 1, 0], r"y must have shape \(6,\)"),
        (1, [0.0, 1, 0, 1, 0, 1], "y must hold integer labels"),
        (2, [[0.0, 1.0], [1.0, 1.0]], "test_features must have 1 columns, got 2"),
        (2, [[math.inf], [0.0]], "test_features must be finite"),
        (3, [0], r"y must have shape \(2,\)"),
        (3, [0, -1], "y must hold labels >= 0"),
    ],
)
def test_accuracies_refuse(measure, place, value, message):
    good = [[[0.0], [1.0], [0.1], [0.9], [0.2], [0.8]], [0, 1, 0, 1, 0, 1], [[0.0], [1.0]], [0, 1]]
    assert measure(*good) == 1
    with pytest.raises(ValueError, match=f"^{message}"):
        measure(*good[:place], value, *good[place + 1 :])


@pytest.mark.parametrize(
    ("neighbours", "message"), [(0, "an integer >= 1, got 0"), (7, "at most the number of training rows, got 7")]
)
def test_knn_refuses_neighbours(neighbours, message):
    good = [[[0.0], [1.0], [0.1], [0.9], [0.2], [0.8]], [0, 1, 0, 1, 0, 1], [[0.0], [1.0]], [0, 1]]
    assert knn_accuracy(*good, neighbours=6) == 0.5  # a tie of three against three: the least label
    with pytest.raises(ValueError, match=f"^neighbours must be {message}$"):
        knn_accuracy(*good, neighbours=neighbours)


def test_encoders_are_judged_on_the_same_moved_images(digits):
    train, known, test, asked = digits
    one = train_encoders(train, "exact", 4, 0, [0], dtype=DOUBLE).encoders
    two = Encoders(*(tuple(torch.cat([part, part]) for part in parts) for parts in one))
    source = generator(0)
    moved = one.h(augment(train, source, 1.4))[0], one.h(augment(torch.cat([test] * 4), source, 1.4))[0]
    given = moved[0].numpy(), known, moved[1].numpy(), np.concatenate([asked] * 4)
    judged = encoder_accuracies(two, train, known, test, asked)
    assert set(judged) == {"knn", "probe"}
    assert judged["knn"].tolist() == [knn_accuracy(*given)] * 2
    assert judged["probe"].tolist() == [linear_probe_accuracy(*given)] * 2
    other = encoder_accuracies(two, train, known, test, asked, seed=1)
    assert other["knn"][0] != judged["knn"][0]


def test_encoders_judged_on_the_images_as_they_are(digits):
    train, known, test, asked = digits
    encoders = train_encoders(train, "exact", 4, 0, [0], dtype=DOUBLE).encoders
    judged = encoder_accuracies(encoders, train, known, test, asked, strength=0, copies=1)
    plain = encoders.h(train)[0].numpy(), known, encoders.h(test)[0].numpy(), asked
    assert judged["knn"].tolist() == [knn_accuracy(*plain)]
    with pytest.raises(ValueError, match=r"^copies must be an integer >= 1, got 0$"):
        encoder_accuracies(encoders, train, known, test, asked, copies=0)


def test_the_split_is_that_of_the_stored_runs():
    images, labels = data.load("digits")
    train, train_labels, test, test_labels = digits_split(images, labels)
    assert (train.shape, test.shape) == ((1297, 64), (500, 64))
    assert (train.min(), train.max()) == (0, 1)
    assert np.ptp(np.bincount(test_labels)) <= 3
    found = knn_accuracy(train.numpy(), train_labels, test.numpy(), test_labels)
    assert found > 0.95  # undistorted pixels are too easy
