"""Data: the bundled sets as scikit-learn describes them, and splits against its own scaler."""

import fnmatch
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from helpers.lab import data

SHAPES = {"iris": (150, 4, 3), "wine": (178, 13, 3), "breast_cancer": (569, 30, 2), "digits": (1797, 64, 10)}


@pytest.mark.parametrize("name", SHAPES)
def test_load(name):
    features, labels = data.load(name)
    rows, columns, classes = SHAPES[name]
    assert (features.shape, features.dtype) == ((rows, columns), np.float64)
    assert (labels.shape, labels.dtype) == ((rows,), np.int64)
    assert set(labels) == set(range(classes))


@pytest.mark.parametrize("name", ["mnist", "", "Iris", None])
def test_load_refuses(name, refuses):
    message = f"name must be one of ('iris', 'wine', 'breast_cancer', 'digits'), got {name!r}"
    with refuses(ValueError, message):
        data.load(name)


ROOT = Path(__file__).parents[2]


def test_an_installed_copy_has_every_package_and_every_stored_result():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    helpers = ROOT / "helpers"
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in helpers.rglob("__init__.py")}
    assert set(setuptools["packages"]) == packages
    stored = [path.relative_to(helpers).as_posix() for path in (helpers / "stored").iterdir()]
    assert stored
    patterns = setuptools["package-data"]["helpers"]
    assert [name for name in stored if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


@pytest.mark.parametrize(("name", "options"), [("iris", {}), ("wine", {"test_size": 0.5, "seed": 3})])
def test_splits_against_sklearn(name, options):
    features, labels = data.load(name)
    options = {"test_size": 0.3, "seed": 0} | options
    splitter = StratifiedShuffleSplit(4, test_size=options["test_size"], random_state=options["seed"])
    parts = data.splits(features, labels, 4, **({} if name == "iris" else options))
    assert len(parts) == 4
    for (train, test), (x_train, y_train, x_test, y_test) in zip(splitter.split(features, labels), parts, strict=True):
        scaler = StandardScaler().fit(features[train])
        np.testing.assert_allclose(x_train, scaler.transform(features[train]), atol=1e-12)
        np.testing.assert_allclose(x_test, scaler.transform(features[test]), atol=1e-12)
        np.testing.assert_array_equal(y_train, labels[train])
        np.testing.assert_array_equal(y_test, labels[test])


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 0.3, 1e9 + 0.1])
def test_columns_constant_in_training_are_left_out_of_both_parts(constant):
    features, labels = data.load("iris")
    extended = np.insert(features, 1, constant, axis=1)
    for plain, more in zip(data.splits(features, labels, 2), data.splits(extended, labels, 2), strict=True):
        for left, right in zip(plain, more, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_column_constant_in_training_only_is_left_out():
    features, labels = data.load("iris")
    train, test = next(StratifiedShuffleSplit(1, test_size=0.3, random_state=0).split(features, labels))
    features[train, 2] = 5.0
    features[test, 2] = np.arange(len(test))
    x_train, _, x_test, _ = data.splits(features, labels, 1)[0]
    assert (x_train.shape, x_test.shape) == ((105, 3), (45, 3))
    assert np.isfinite(x_test).all()


def test_a_column_that_hardly_varies_is_kept():
    features, labels = data.load("iris")
    features[:, 0] = 1 + 1e-9 * features[:, 0]
    assert data.splits(features, labels, 1)[0][0].shape == (105, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_column_that_is_not_finite_is_refused_not_left_out(bad, refuses):
    features, labels = data.load("iris")
    features[:2, 1] = bad
    with refuses(ValueError, "features must be finite, got 2 entries that are not"):
        data.splits(features, labels, 1)


def test_labels_and_features_must_match():
    features, labels = data.load("iris")
    with pytest.raises(ValueError, match=r"inconsistent|length"):
        data.splits(features, labels[:-1], 1)


def test_inputs_are_left_as_they_were():
    features, labels = data.load("iris")
    before = features.copy(), labels.copy()
    data.splits(features, labels, 2)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_random_features_by_their_definition():
    """Oracle: scikit-learn's scaler, and a matrix product written as a sum."""
    features, _ = data.load("digits")  # with columns that are constant
    scaled = StandardScaler().fit_transform(features[:, np.ptp(features, axis=0) > 0])
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((scaled.shape[1], 5)) / scaled.shape[1] ** 0.5
    shift = 0.5 * rng.standard_normal(5)
    expected = np.clip(np.einsum("ij,jk->ik", scaled, weights) + shift, 0, None)
    np.testing.assert_allclose(data.random_features(features, 5, seed=3), expected, atol=1e-12)


def test_random_features_shape_sign_and_seed():
    features, _ = data.load("iris")
    default = data.random_features(features, 7)
    assert default.shape == (150, 7)
    assert (default >= 0).all()
    assert 0.2 < (default > 0).mean() < 0.8  # the ReLU cuts about half
    assert np.array_equal(default, data.random_features(features, 7, seed=0))
    assert not np.array_equal(default, data.random_features(features, 7, seed=1))
    assert data.random_features(features, 1).shape == (150, 1)


@pytest.mark.parametrize("n_features", [0, -3])
def test_random_features_refuses(n_features, refuses):
    with refuses(ValueError, f"n_features must be at least 1, got {n_features}"):
        data.random_features(data.load("iris")[0], n_features)


def test_interleaved_lets_the_classes_take_turns():
    labels = np.repeat([0, 1, 2], [5, 3, 4])
    features = np.arange(12.0)[:, None]
    rows, names = data.interleaved(features, labels, seed=0)
    assert [sorted(names[k : k + 3].tolist()) for k in (0, 3, 6)] == [[0, 1, 2]] * 3
    assert sorted(names[9:11].tolist()) == [0, 2]
    assert names[11] == 0
    assert sorted(rows[:, 0].tolist()) == features[:, 0].tolist()  # every row once
    assert np.array_equal(names, labels[rows[:, 0].astype(int)])  # with its own label


def test_interleaved_is_random_by_seed():
    features, labels = data.load("iris")
    one, again, other = (data.interleaved(features, labels, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    rows, names = data.interleaved(np.arange(150)[:, None], labels, seed=0)
    first = rows[names == 0, 0]
    assert not np.array_equal(first, np.sort(first))
    assert len(set(map(tuple, names.reshape(50, 3)))) > 1  # the classes take turns in no fixed order


def test_interleaved_keeps_the_random_order_within_a_turn():
    """Every processor sorts ties alike: rows of one turn stand as the generator's permutation has them."""
    labels = np.repeat(np.arange(40), 10)
    rows, _ = data.interleaved(np.arange(400)[:, None], labels, seed=0)
    place = np.argsort(np.random.default_rng(0).permutation(400))
    for turn in place[rows[:, 0]].reshape(10, 40):
        assert np.all(np.diff(turn) > 0)
