"""Training of unequal widths: starts by their variances, losses against torch, steps against gradients by hand."""

import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from helpers import initialization as ini
from helpers import nonsquare_training as training
from helpers.nonsquare_training import initial_weights, network_losses, network_outputs, train_networks

WIDTHS = [40, 160, 40, 10]
VARIANCES = {  # of the three layers, by hand
    "fan_in": (1 / 40, 1 / 160, 1 / 40), "fan_out": (1 / 160, 1 / 40, 1 / 10), "Xavier": (0.01, 0.01, 0.04),
    "geometric": (1 / 80, 1 / 80, 1 / 20), "harmonic": (1 / 64, 1 / 64, 1 / 16),
    "quadratic": (200 / 27200, 200 / 27200, 50 / 1700), "orthogonal": (1 / 160, 1 / 160, 1 / 40),
    "repaired": (1 / 80, 1 / 80, 1 / 20), "default": (1 / 120, 1 / 480, 1 / 120),
}  # fmt: skip


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((12, 3)))
    return x, torch.tensor(rng.standard_normal((12, 2))), torch.tensor(rng.integers(0, 2, 12))


class TestStart:
    def test_there_are_nine(self):
        assert set(VARIANCES) == set(training.SCHEMES)

    @pytest.mark.parametrize("scheme", training.SCHEMES)
    @pytest.mark.parametrize("activation", ["relu", "tanh", "linear"])
    def test_variances(self, scheme, activation):
        weights = initial_weights(WIDTHS, scheme, range(8), activation, dtype=torch.float64)
        double = 2 if activation == "relu" and scheme != "default" else 1
        for W, shape, v, factor in zip(
            weights, [(40, 160), (160, 40), (40, 10)], VARIANCES[scheme], [double, double, 1], strict=True
        ):
            assert W.shape == (8, *shape)
            assert W.dtype == torch.float64
            assert float(W.square().mean()) == pytest.approx(factor * v, rel=0.1)
            if scheme in ("orthogonal", "repaired"):
                assert float(W.square().mean()) == pytest.approx(factor * v, rel=1e-12)
                assert np.ptp(np.linalg.svd(W.numpy(), compute_uv=False)) < 1e-12

    def test_gaussian_schemes_are_multiples_of_each_other(self):
        one, two = (initial_weights(WIDTHS, scheme, [3], "linear") for scheme in ("fan_in", "Xavier"))
        for W, V, factor in zip(one, two, (0.4, 1.6, 1.6), strict=True):
            torch.testing.assert_close(V, W * math.sqrt(factor))

    def test_a_seed_is_what_it_is_alone(self):
        both, alone = (initial_weights(WIDTHS, "repaired", seeds) for seeds in ([0, 5], [5]))
        for W, V in zip(both, alone, strict=True):
            assert torch.equal(W[1:], V)
            assert not torch.allclose(W[0], W[1])

    def test_only_the_last_layer_is_scaled(self):
        plain, small = (initial_weights(WIDTHS, "Xavier", [0], last_scale=scale) for scale in (1.0, 0.1))
        assert all(torch.equal(W, V) for W, V in zip(plain[:-1], small[:-1], strict=True))
        torch.testing.assert_close(small[-1], 0.1 * plain[-1])
        assert small[0].dtype == torch.float32

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"scheme": "He"}, "scheme must be one of .*got 'He'"),
            ({"activation": "gelu"}, "activation must be one of .*got 'gelu'"),
            ({"widths": [4]}, "widths must hold at least two numbers, got 1"),
            ({"widths": [4, 0]}, "widths must be an integer >= 1, got 0"),
            ({"seeds": []}, r"seeds must be different and at least one, got \[\]"),
            ({"seeds": [1, 1]}, r"seeds must be different and at least one, got \[1, 1\]"),
            ({"seeds": [-1]}, "seeds must be an integer >= 0, got -1"),
            ({"last_scale": 0}, "last_scale must be a finite number > 0, got 0"),
            ({"last_scale": math.inf}, "last_scale must be a finite number > 0, got inf"),
        ],
    )
    def test_bad_input(self, changes, message):
        with pytest.raises(ValueError, match=message):
            initial_weights(**({"widths": [4, 3], "scheme": "Xavier", "seeds": [0]} | changes))


class TestOutputsAndLosses:
    @pytest.mark.parametrize(
        ("name", "function"), [("relu", lambda z: np.maximum(z, 0)), ("tanh", np.tanh), ("linear", lambda z: z)]
    )
    def test_outputs_against_numpy(self, toy, name, function):
        weights = initial_weights([3, 5, 4, 2], "fan_in", [0, 1], name, dtype=torch.float64)
        x = toy[0].numpy()
        out = network_outputs(weights, toy[0], name).numpy()
        for s in (0, 1):
            A, B, C = (W[s].numpy() for W in weights)
            np.testing.assert_allclose(out[s], function(function(x @ A) @ B) @ C, rtol=1e-12)
        with pytest.raises(ValueError, match="activation must be one of"):
            network_outputs(weights, toy[0], "sine")
        assert network_outputs(weights, toy[0].float(), name).dtype == torch.float64

    def test_losses_against_torch(self, toy):
        _, y, labels = toy
        outputs = torch.stack([y, 3 * y])
        for s in (0, 1):
            entropy = torch.nn.functional.cross_entropy(outputs[s], labels)
            assert float(network_losses(outputs, labels)[s]) == pytest.approx(float(entropy))
            assert float(network_losses(outputs, 2 * y)[s]) == pytest.approx(float(((outputs[s] - 2 * y) ** 2).mean()))
        per_seed = torch.stack([labels, 1 - labels])
        assert float(network_losses(outputs, per_seed)[1]) == pytest.approx(
            float(torch.nn.functional.cross_entropy(outputs[1], 1 - labels))
        )


def by_hand(x, y, rate, steps, total, seed, batch):
    """Gradient descent on the squared error of one linear layer, from its closed-form gradient."""
    W = initial_weights([3, 2], "Xavier", [seed], "linear", dtype=torch.float64)[0][0].numpy()
    rng, losses, order = np.random.default_rng([seed, 1]), [], None
    for step in range(steps):
        k = step % (len(x) // batch)
        order = rng.permutation(len(x)) if k == 0 else order
        rows = order[k * batch : (k + 1) * batch]
        error = x[rows] @ W - y[rows]
        losses.append(np.mean(error**2))
        W = W - rate * (1 - step / total) * 2 / error.size * x[rows].T @ error
    return W, losses


class TestTraining:
    SETTINGS: ClassVar = {
        "widths": [3, 2],
        "scheme": "Xavier",
        "learning_rate": 0.3,
        "epochs": 3,
        "activation": "linear",
    }

    def train(self, toy, seeds=(0, 4), **changes):
        options = {"batch_size": 5, "dtype": torch.float64} | self.SETTINGS | changes
        return train_networks(toy[0], toy[1], seeds=seeds, **options)

    def test_every_step_against_the_gradient_by_hand(self, toy):
        run = self.train(toy)
        assert run.losses.shape == (6, 2)  # 12 rows hold two batches of 5
        for k, seed in enumerate((0, 4)):
            W, losses = by_hand(toy[0].numpy(), toy[1].numpy(), 0.3, 6, 6, seed, 5)
            np.testing.assert_allclose(run.losses[:, k], losses, rtol=1e-10)
            np.testing.assert_allclose(run.weights[0][k], W, rtol=1e-10)
        assert not run.weights[0].requires_grad

    def test_stopping_early_keeps_the_schedule(self, toy):
        run, part = self.train(toy), self.train(toy, steps=4)
        assert part.losses.shape == (4, 2)
        assert torch.equal(part.losses, run.losses[:4])
        assert len(self.train(toy, steps=100).losses) == 6
        assert len(self.train(toy, steps=0).losses) == 0

    def test_adam_begins_with_steps_of_the_learning_rate(self, toy):
        start = initial_weights([3, 2], "Xavier", [0], "linear", dtype=torch.float64)[0]
        moved = self.train(toy, seeds=[0], optimizer="Adam", steps=1).weights[0] - start
        np.testing.assert_allclose(moved.abs(), 0.3, rtol=1e-5)

    def test_labels_and_seeds(self, toy):
        options = self.SETTINGS | {"activation": "relu", "widths": [3, 8, 2], "batch_size": 6}
        both = train_networks(toy[0].float(), toy[2], seeds=[0, 1], **options)
        alone = train_networks(toy[0].float(), toy[2], seeds=[1], **options)
        assert both.losses.dtype == torch.float32
        torch.testing.assert_close(both.losses[:, 1:], alone.losses)
        start = initial_weights([3, 8, 2], "Xavier", [1])
        rows = np.random.default_rng([1, 1]).permutation(12)[:6]
        first = network_losses(network_outputs(start, toy[0].float()[rows]), toy[2][rows])
        assert float(alone.losses[0, 0]) == pytest.approx(float(first[0]))

    def test_progress_wraps_the_steps(self, toy):
        seen = []
        self.train(toy, progress=lambda steps: (seen.append(step) or step for step in steps))
        assert seen == list(range(6))

    def test_divergence_is_kept_as_it_is(self, toy):
        run = self.train(toy, learning_rate=1e200)
        assert not torch.isfinite(run.losses[-1]).any()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"learning_rate": 0}, "learning_rate must be a finite number > 0, got 0"),
            ({"learning_rate": math.inf}, "learning_rate must be a finite number > 0, got inf"),
            ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
            ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
            ({"batch_size": 13}, "batch_size must be at most the number of inputs, 12, got 13"),
            ({"optimizer": "RMSprop"}, "optimizer must be one of .*got 'RMSprop'"),
            ({"steps": -1}, "steps must be an integer >= 0, got -1"),
            ({"scheme": "He"}, "scheme must be one of"),
        ],
    )
    def test_bad_input(self, toy, changes, message):
        with pytest.raises(ValueError, match=message):
            self.train(toy, **changes)

    def test_the_whole_batch_may_be_one(self, toy):
        assert len(self.train(toy, batch_size=12).losses) == 3


def test_digits_are_centred_and_scaled_by_one_number():
    train, labels, test, test_labels = training.digits_split()
    assert (train.shape, test.shape) == ((1347, 64), (450, 64))
    assert (len(labels), len(test_labels)) == (1347, 450)
    assert train.dtype == torch.float32
    assert float(train.mean(dim=0).abs().max()) < 1e-5
    assert float(train.square().mean()) == pytest.approx(1, rel=1e-5)
    assert 0.9 < float(test.square().mean()) < 1.1
    levels = np.unique(np.round(train[:, 20].numpy(), 5))  # 17 grey levels, one step apart
    assert len(levels) <= 17
    assert np.ptp(np.diff(levels)) < 1e-4
    share = np.bincount(labels) / 1347 - np.bincount(test_labels) / 450
    assert np.abs(share).max() < 3e-3


def test_measured_gains_follow_the_exact_ones():
    weights = initial_weights([64, 256, 64, 256, 64], "Xavier", range(20), "relu")
    x = torch.tensor(np.random.default_rng(0).standard_normal((50, 64)), dtype=torch.float32)
    gain = network_outputs(weights, x).square().mean(dim=(1, 2)) / x.square().mean()
    exact = ini.second_moment_gains([64, 256, 64, 256, 64], "fan_avg", "relu")[0][-1]
    assert float(gain.mean()) == pytest.approx(exact, rel=0.15)
